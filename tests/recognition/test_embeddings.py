"""Embeddings and what is done with them: compared, searched, stored, taken by scikit-learn."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import three_classes
from makers_models import tiny_model

from a2m2_zoo import Embeddings, build_bank, load_model
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    BankError,
    CheckpointError,
    VideoError,
)
from a2m2_zoo.evaluation.baselines import build_baseline
from a2m2_zoo.methods.base import as_pairwise
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = three_classes(tmp_path_factory.mktemp("clips"))
    return [root / "right" / "r0.mp4", root / "right" / "r1.mp4", root / "still" / "s0.mp4"]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def found(model: Model, clips: list[Path]) -> Embeddings:
    return model.embed(clips)


def test_what_they_hold(found: Embeddings, model: Model, clips: list[Path]) -> None:
    assert len(found) == 3
    assert found.sources == tuple(map(str, clips))
    assert (found.model, found.weights_hash) == (model.id, model.weights_hash)
    assert set(found.descriptors) == {"moments", "pooled", "people"}
    assert torch.allclose(found.pooled.norm(dim=1), torch.ones(3), atol=1e-5)
    array = found.numpy()
    assert array.dtype == np.float32
    array[:] = 0  # an array of its own
    assert found.pooled.any()
    assert repr(found).startswith("Embeddings(3 clips by a2m2-lite0: moments (140, 528)")
    assert repr(found[0]).startswith("Embeddings(1 clip by")
    assert repr(found).count("pooled (1280,)") == 1
    assert pickle.loads(pickle.dumps(found)) == found


def test_every_form_of_clips_gives_the_same(
    found: Embeddings, model: Model, clips: list[Path]
) -> None:
    again = model.embed(path for path in clips)
    assert again == found
    assert hash(again) == hash(found)
    assert model.embed(clips[0]) == found[0]
    folder = model.embed(clips[0].parent)
    assert folder.sources[:2] == found.sources[:2]
    assert model.embed(str(clips[0].parent / "r[01].mp4")) == found[:2]
    assert replace(found, pooled=found.pooled + 1) != found
    assert found != "something else"


def test_parts_and_wholes(found: Embeddings) -> None:
    assert [len(found[i]) for i in (0, -1, slice(1, None), [2, 0], [])] == [1, 1, 2, 2, 0]
    assert found[[2, 0]].sources == (found.sources[2], found.sources[0])
    for index in ([True, False, True], np.array([0, 2]), torch.tensor([0, 2]), slice(0, 3, 2)):
        assert found[index] == found[[0, 2]]
    assert list(found) == [found[0], found[1], found[2]]
    assert Embeddings.concatenate(found) == found
    assert Embeddings.concatenate(part for part in (found[:1], found[1:])) == found
    with pytest.raises(IndexError, match="3 is out of range: there are 3 clips"):
        found[3]
    for index in (1.5, "a", None, [[0]], [0.5], {"a": 1}):
        with pytest.raises(ArgumentError, match="an index of clips"):
            found[index]
    for parts, message in (([], "no embeddings"), ([found, 3], "expected Embeddings")):
        with pytest.raises(ArgumentError, match=message):
            Embeddings.concatenate(parts)
    with pytest.raises(ArgumentError, match="embeddings of model 'other'"):
        Embeddings.concatenate([found, replace(found, model="other")])


def test_a_file_of_them(found: Embeddings, tmp_path: Path) -> None:
    path = found.save(tmp_path / "found.safetensors")
    assert Embeddings.load(path) == found
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    for bad, message in (
        (tmp_path / "flipped.safetensors", "is damaged"),
        (tmp_path / "none.safetensors", "cannot read"),
        (
            tiny_model(tmp_path) / "model.safetensors",
            "is a file of kind .model.; expected .embeddings.",
        ),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            Embeddings.load(bad)
        assert "\n" not in str(caught.value)
    torn = replace(found, sources=found.sources[:2])
    with pytest.raises(CheckpointError, match="tensors do not match its sources"):
        Embeddings.load(torn.save(tmp_path / "torn.safetensors"))


def test_clips_that_cannot_be_read(model: Model, clips: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        model.embed([clips[0], broken])
    seen: list[tuple[object, A2M2Error | None]] = []
    found = model.embed([clips[0], broken, clips[2]], on_clip=lambda *pair: seen.append(pair))
    assert found.sources == (str(clips[0]), str(clips[2]))
    assert [source for source, _ in seen] == [clips[0], broken, clips[2]]
    assert [error is None for _, error in seen] == [True, False, True]
    with pytest.raises(VideoError, match="no clip could be read"):
        model.embed([broken], on_clip=lambda *_: None)
    for bad in (None, 3, {"a": "x.mp4"}):
        with pytest.raises(ArgumentError, match="clips is"):
            model.embed(bad)


def test_similarity_is_a_kernel_of_pairs_alone(
    found: Embeddings, model: Model, clips: list[Path]
) -> None:
    full = model.similarity(found)
    assert full.diagonal().tolist() == [1.0] * 3
    assert full.equal(full.mT)
    tensors = [full, found.pooled, *found.descriptors.values()]
    assert not any(tensor.is_inference() for tensor in tensors)  # they are the caller's to change
    assert bool((full.abs() <= 1).all())
    part = model.similarity(found[:2], found[1:])
    # Of the same pairs in other company, whose products a processor may round another way.
    torch.testing.assert_close(part, full[:2, 1:], rtol=0, atol=1e-6)
    assert part[1, 0] == 1.0  # the same clip on both sides
    assert model.similarity(found[1:], found[:2]).equal(part.mT)
    assert full[0, 1] > full[0, 2]
    alone = model.similarity(clips[0], clips[2])
    torch.testing.assert_close(alone, full[:1, 2:], rtol=0, atol=1e-6)
    assert model.similarity(found[[]], found).shape == (0, 3)
    with pytest.raises(ArgumentError, match="embeddings of model 'other'"):
        model.similarity(replace(found, model="other"))


def test_similarity_is_what_the_ridge_rule_reads(found: Embeddings, model: Model) -> None:
    from a2m2_zoo.ops.ridge import centred_kernel

    pairs = model.pairs(found.descriptors, found.descriptors)
    assert pairs is not None
    for i, j in ((0, 1), (0, 2), (1, 2)):
        two = pairs[[i, j]][:, [i, j]]
        made = centred_kernel(two, torch.full((2,), 0.5, dtype=torch.float64))
        mean = float((two[0, 1] + two[1, 0]) / 2 / made.most)
        assert float(model.similarity(found)[i, j]) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("name", ["protonet", "bimhm", "otam", "deepemd"])
def test_every_method_of_pairs_has_one(name: str, tiny: Model, clips: list[Path]) -> None:
    other = replace(tiny, method=build_baseline(name, tiny, seed=0).method)
    found = other.similarity(other.embed(clips))
    assert found.diagonal().tolist() == [1.0] * 3
    assert found.equal(found.mT)
    assert float(found.amin()) >= -1
    assert float(found[0, 1]) > 0.5  # two clips of one movement, in the unit of cosines


def test_a_method_of_whole_episodes_has_none(tiny: Model, clips: list[Path]) -> None:
    other = replace(tiny, method=build_baseline("trx", tiny, seed=0).method, method_name="trx")
    assert as_pairwise(other.method) is None
    embedded = other.embed(clips[:2])
    with pytest.raises(ArgumentError, match="two clips alone have no similarity"):
        other.similarity(embedded)


def test_search(model: Model, found: Embeddings, clips: list[Path]) -> None:
    bank = build_bank({"right": clips[:2], "still": clips[2:]}, model=model)
    best = bank.search(clips[2])  # opens the model that the bank names
    assert (best[0].label, best[0].similarity, best[0].index) == ("still", 1.0, 2)
    assert [n.similarity for n in best] == sorted((n.similarity for n in best), reverse=True)
    assert bank.search(found[2], 2, model=model) == best[:2]
    assert model.similarity(found, bank).equal(model.similarity(found))
    for bad, k, message in (
        (clips, 5, "stands for 3 clips"),
        (clips[0], 0, "k is 0"),
        (3, 1, "is"),
    ):
        with pytest.raises(ArgumentError, match=message):
            bank.search(bad, k, model=model)
    with pytest.raises(BankError, match="use that model"):
        bank.search(clips[0], model="protonet-lite0")


def test_a_bank_whose_model_is_not_at_hand(tiny: Model, clips: list[Path], tmp_path: Path) -> None:
    from a2m2_zoo import Recognizer, Stream, classify, spot

    bank = build_bank({"right": clips[:1], "still": clips[2:]}, model=tiny)
    saved = bank.save(tmp_path / "bank.safetensors")
    calls = (
        lambda: bank.search(clips[0]),
        lambda: classify(clips[0], bank),
        lambda: classify(clips[0], saved),
        lambda: Recognizer(None, saved),
        lambda: Stream(None, bank),
        lambda: spot(clips[0], saved),
    )
    for call in calls:
        with pytest.raises(
            BankError, match=r"made by model 'tiny' .* not at hand by that name"
        ) as e:
            call()
        assert "\n" not in str(e.value)


def test_a_bank_brings_its_model(model: Model, clips: list[Path], tmp_path: Path) -> None:
    from a2m2_zoo import Recognizer, classify

    other = load_model("protonet-lite0")
    bank = build_bank({"right": clips[:1], "still": clips[2:]}, model=other)
    saved = bank.save(tmp_path / "bank.safetensors")
    want = Recognizer(other, bank)(clips[1])
    for supports in (bank, saved, str(saved)):
        assert classify(clips[1], supports) == want
    assert Recognizer("protonet-lite0", bank)(clips[1]) == want
    with pytest.raises(BankError, match="use that model"):
        classify(clips[1], bank, model="a2m2-lite0")


def test_what_is_drawn_is_alike_by_its_action(model: Model) -> None:
    drawn = [draw_named(name, i, studio=2) for name in ("kick", "squat") for i in (0, 1)]
    found = model.similarity(model.embed(drawn))
    assert float(found[0, 1]) > float(found[0, 2:].amax())
    assert float(found[2, 3]) > float(found[2, :2].amax())


def test_every_index_of_numpy_and_python_is_taken(found: Embeddings) -> None:
    expected = found[[0, 2]]
    for index in ((0, 2), range(0, 3, 2), np.array([0, 2]), torch.tensor([0, 2]), slice(0, 3, 2)):
        assert found[index] == expected
    for mask in ([True, False, True], np.array([True, False, True])):
        assert found[mask] == expected
    assert found[np.int64(2)] == found[2] == found[np.argmax([0, 0, 1])] == found[-1]
    assert len(found[[]]) == len(found[np.zeros(0)]) == 0
    for mask in ([True], np.ones(4, bool)):
        with pytest.raises(ArgumentError, match=r"truth values; expected 3, one a clip"):
            found[mask]
