"""The text cue: prompts, their average, the mixture, and that it costs nothing where it is not asked for."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_maker import clip_model, reference, register
from hypothesis import given
from hypothesis import strategies as st
from makers import three_classes
from safetensors.torch import load_file, save_file

from a2m2_zoo import SupportBank, build_bank, classify, load_model
from a2m2_zoo.backbones.clip import ClipText
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.text import TextCue, TextTower, class_prompts
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return clip_model(tmp_path_factory.mktemp("zoo") / "m")


@pytest.fixture
def model(folder: Path) -> Model:
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def bank(folder: Path, data: Path) -> SupportBank:
    return build_bank(data, model=load_model(folder, device="cpu"))


@pytest.fixture
def prompts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every prompt that goes through a text tower."""
    seen: list[str] = []
    original = ClipText.encode_text

    def encode(self: ClipText, prompts: Sequence[str]) -> Any:
        seen.extend(prompts)
        return original(self, prompts)

    monkeypatch.setattr(ClipText, "encode_text", encode)
    return seen


def unit(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


@torch.inference_mode()
def embedded(prompts: Sequence[str]) -> np.ndarray[Any, Any]:
    """By open_clip itself."""
    tokens = import_open_clip().tokenize(list(prompts))
    return np.asarray(reference("small-vit").encode_text(tokens).double().numpy())


def test_the_answer_is_the_mixture_of_numpy(data: Path, bank: SupportBank, model: Model) -> None:
    query = data / "right" / "r0.mp4"
    clip = read_clip(query, model.preprocess)
    _, vector = model.encode_both([clip])
    templates = ["a photo of {}", "somebody who moves: {}"]
    texts = [unit(embedded([t.format(n) for t in templates])).mean(0) for n in bank.class_names]
    scale = float(reference("small-vit").logit_scale.detach().exp())
    p_text = softmax(scale * unit(np.stack(texts)) @ unit(vector[0].double().numpy()))
    plain = classify(query, bank, model=model)
    p_visual = np.array([plain.probabilities[n] for n in bank.class_names])
    for weight in (0.25, 0.9, 1.0):
        answer = classify(query, bank, model=model, text_weight=weight, templates=templates)
        expected = p_text**weight * p_visual ** (1 - weight)
        found = [answer.probabilities[n] for n in bank.class_names]
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)
        assert answer.text_weight == weight
        ranked = list(answer.probabilities.values())
        assert ranked == sorted(ranked, reverse=True)
        assert answer.margin == pytest.approx(ranked[0] - ranked[1])


@torch.inference_mode()
def test_a_clip_is_the_mean_of_its_unit_frame_vectors(data: Path, model: Model) -> None:
    clip = read_clip(data / "still" / "s0.mp4", model.preprocess)
    descriptors, vectors = model.encode_both([clip, clip], batch_size=1)
    mean, std = (torch.tensor(v) for v in (model.preprocess.mean, model.preprocess.std))
    frames = ((torch.from_numpy(clip.frames) / 255 - mean) / std).movedim(-1, 1)
    each = unit(reference("small-vit").encode_image(frames).double().numpy())
    np.testing.assert_allclose(vectors[0].numpy(), each.mean(0), atol=1e-5)
    assert torch.equal(vectors[0], vectors[1])
    alone = model.encode([clip])
    assert all(torch.equal(value[:1], alone[name]) for name, value in descriptors.items())


def test_without_weight_nothing_of_text_is_looked_at(
    data: Path, bank: SupportBank, model: Model, prompts_read: list[str], folder: Path
) -> None:
    queries = sorted(data.rglob("*.mp4"))
    plain = classify(queries, bank, model=model)
    named = classify(
        queries, bank, model=model, text_weight=0, class_names={"right": "x"}, templates=["{}!"]
    )
    assert [p.probabilities for p in named] == [p.probabilities for p in plain]
    assert prompts_read == []
    no_text = replace(model, text=None)
    assert classify(queries, bank, model=no_text)[0].probabilities == plain[0].probabilities
    assert "text_weight" not in plain[0].to_dict()
    assert plain[0].text_weight == 0
    assert plain[0].prompts == {}


def test_every_prompt_is_embedded_once(
    data: Path, bank: SupportBank, model: Model, prompts_read: list[str]
) -> None:
    query = data / "right" / "r0.mp4"
    for _ in range(2):
        classify([query] * 2, bank, model=model, text_weight=0.5)
    assert sorted(prompts_read) == ["a photo of back", "a photo of right", "a photo of still"]
    classify(query, bank.remove(["still"]), model=model, text_weight=0.5)
    assert len(prompts_read) == 3
    classify(query, bank, model=model, text_weight=0.5, class_names={"back": "return"})
    assert prompts_read[3:] == ["a photo of return"]


def test_the_answer_does_not_depend_on_what_was_asked_before(
    data: Path, bank: SupportBank, folder: Path
) -> None:
    query = data / "right" / "r0.mp4"
    fresh, used = load_model(folder, device="cpu"), load_model(folder, device="cpu")
    assert used.text is not None
    used.text.embed(["a photo of back"])
    used.text.embed(["something else", "a photo of still"])
    one, other = (classify(query, bank, model=m, text_weight=0.5) for m in (fresh, used))
    assert one.probabilities == other.probabilities


def test_other_names_of_classes_only_rename(data: Path, model: Model) -> None:
    clips = {folder.name: sorted(folder.glob("*.mp4")) for folder in data.iterdir()}
    words = dict(zip(sorted(clips), ["go", "come", "rest"], strict=True))
    renamed = {"zxy"[i]: clips[name] for i, name in enumerate(sorted(clips))}
    query = data / "back" / "b0.mp4"
    here = classify(query, clips, model=model, text_weight=0.5, class_names=words)
    there = classify(
        query, renamed, model=model, text_weight=0.5,
        class_names={"zxy"[i]: words[name] for i, name in enumerate(sorted(clips))},
    )  # fmt: skip
    for i, name in enumerate(sorted(clips)):
        assert there.probabilities["zxy"[i]] == pytest.approx(here.probabilities[name], rel=1e-5)


def test_prompts_are_told_in_the_prediction_and_its_json(
    data: Path, bank: SupportBank, model: Model
) -> None:
    answer = classify(
        data / "right" / "r0.mp4", bank, model=model, text_weight=0.5, top_k=2,
        class_names={"right": ["it goes right", "it moves on"], "back": None, "still": "standing still"},
        templates="a clip of {}.",
    )  # fmt: skip
    assert answer.prompts == {
        "back": ("a clip of back.",),
        "right": ("it goes right", "it moves on"),
        "still": ("a clip of standing still.",),
    }
    row = json.loads(json.dumps(answer.to_dict()))
    assert row["text_weight"] == 0.5
    assert list(row["prompts"]) == list(row["probabilities"])
    assert len(row["probabilities"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text_weight": 1.5}, "text_weight is 1.5; expected 0"),
        ({"text_weight": float("nan")}, "text_weight is nan"),
        ({"text_weight": 0.5, "templates": ["no place"]}, "has no {} where the name goes"),
        ({"text_weight": 0.5, "templates": []}, "templates is empty"),
        ({"text_weight": 0.5, "class_names": {"up": "x"}}, "speaks of 'up'; the classes are"),
        ({"text_weight": 0.5, "class_names": {"back": " "}}, "class 'back' has the text ' '"),
        ({"text_weight": 0.5, "class_names": {"back": []}}, r"class 'back' has the text \[\]"),
        ({"text_weight": 0.5, "class_names": {"back": 3}}, "class 'back' has the text 3"),
    ],
)
def test_refusals(
    data: Path, bank: SupportBank, model: Model, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        classify(data / "right" / "r0.mp4", bank, model=model, **options)


def test_models_without_text_name_those_with(data: Path) -> None:
    with pytest.raises(ArgumentError, match=r"a2m2-lite0 has no text tower.*a2m2-clip-vit-b-16"):
        classify(data / "right" / "r0.mp4", data, text_weight=0.5)


def test_the_text_tower_comes_late_from_the_file_that_was_verified(
    data: Path, tmp_path: Path
) -> None:
    register()
    home = clip_model(tmp_path / "m")
    model = load_model(home, device="cpu")
    query, file = data / "right" / "r0.mp4", home / "clip.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    classify(query, data, model=model)
    with pytest.raises(CheckpointError, match=r"'clip\.safetensors' has sha256 .* was announced"):
        classify(query, data, model=model, text_weight=0.5)
    content[-1] ^= 1
    file.write_bytes(content)
    assert classify(query, data, model=model, text_weight=0.5).text_weight == 0.5


def test_a_file_of_an_image_tower_alone_is_told_apart(data: Path, tmp_path: Path) -> None:
    register()
    home = clip_model(tmp_path / "m")
    state = load_file(home / "clip.safetensors")
    save_file(
        {k: v for k, v in state.items() if k.startswith("visual.")}, home / "image.safetensors"
    )
    found = checkpoint.load(home / "model.safetensors", kind="model")
    found.record["backbone"] |= {
        "file": "image.safetensors",
        "sha256": hashlib.sha256((home / "image.safetensors").read_bytes()).hexdigest(),
    }
    checkpoint.save(home / "model.safetensors", found.tensors, kind="model", record=found.record)
    model = load_model(home, device="cpu")
    query = data / "right" / "r0.mp4"
    assert classify(query, data, model=model).label
    with pytest.raises(ArgumentError, match="have no text tower; take a file of the whole model"):
        classify(query, data, model=model, text_weight=0.5)


NAMES = st.text("abcdefgh_-", min_size=1, max_size=8)


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True), st.randoms())
def test_permuted_classes_permute_the_prompts(names: list[str], random: Any) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    here, there = class_prompts(names), class_prompts(shuffled)
    assert list(there) == shuffled
    assert all(there[name] == here[name] for name in names)


def test_permuted_classes_permute_the_probabilities(model: Model) -> None:
    assert model.text is not None
    names = ["archery", "juggling", "rowing", "golf"]
    vectors = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    visual = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)).double()
    visual /= visual.sum(-1, keepdim=True)
    order = [2, 0, 3, 1]
    straight = TextCue.of(model.text, class_prompts(names), weight=0.4).mixed(visual, vectors)
    moved = TextCue.of(model.text, class_prompts([names[i] for i in order]), weight=0.4)
    torch.testing.assert_close(moved.mixed(visual[:, order], vectors), straight[:, order])


def test_a_tower_is_opened_once_by_many_threads() -> None:
    opened: list[int] = []

    class Tower:
        scale = 2.0

        def encode_text(self, prompts: Sequence[str]) -> torch.Tensor:
            return torch.ones(len(prompts), 3)

    def build() -> Any:
        opened.append(1)
        return Tower()

    tower = TextTower(build)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: tower.embed([f"p{i % 3}"]), range(64)))
    assert opened == [1]


@pytest.mark.parametrize(("mode", "own"), [("visual", None), ("combine", 0.9), ("text", 1.0)])
@torch.inference_mode()
def test_clip_fsar_reads_the_texts_itself(
    data: Path, tmp_path: Path, mode: str, own: float | None
) -> None:
    register()
    home = clip_model(
        tmp_path / "m", "clip-fsar", channels=24, heads=2, hidden=32, mode=mode, scale=5.0
    )
    model = load_model(home, device="cpu")
    assert model.method.reads_text
    assert model.method.own_text_weight == own
    bank = build_bank(data, model=model)
    query = data / "right" / "r0.mp4"
    clip = read_clip(query, model.preprocess)
    encoded, _ = model.encode_both([clip])
    texts = torch.from_numpy(embedded([f"a photo of {name}" for name in bank.class_names])).float()
    each = (
        model.method.score(  # type: ignore[call-arg]
            {k: v[None] for k, v in encoded.items()},
            {k: v[None] for k, v in bank.descriptors.items()},
            labels=bank.label_tensor, way=3, text=texts[None],
        )[0, 0].double() * model.scales[1]
    ).softmax(-1)  # fmt: skip
    if own is None:
        answer = classify(query, bank, model=model, text_weight=1e-9)
    else:
        answer = classify(query, bank, model=model, text_weight=own)
        with pytest.raises(ArgumentError, match=f"give text_weight={own}"):
            classify(query, bank, model=model, text_weight=0.5)
        with pytest.raises(ArgumentError, match=f"text_weight is 0.0 .* give text_weight={own}"):
            classify(query, bank, model=model)
    found = [answer.probabilities[name] for name in bank.class_names]
    np.testing.assert_allclose(found, each.detach().numpy(), atol=1e-4)


def test_the_command_line(
    data: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"right": ["it goes right"], "still": "nothing moves"}))
    call = [
        "classify",
        str(data / "right" / "r0.mp4"),
        "--supports",
        str(data),
        "--model",
        str(folder),
    ]
    text = [
        "--text-weight",
        "0.5",
        "--class-names",
        str(names),
        "--class-names",
        "back=the way home",
    ]
    assert main([*call, *text, "--template", "{}", "--template", "see {}", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["prompts"] == {
        "right": ["it goes right"],
        "back": ["the way home", "see the way home"],
        "still": ["nothing moves", "see nothing moves"],
    }
    assert main([*call, *text, "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["text_weight"] == "0.5"
    assert "prompts" not in row
    assert main([*call, "--text-weight", "0", "--class-names", "back=home", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert "text_weight" not in row


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--class-names", "back=x"], "need --text-weight"),
        (["--text-weight", "0.5", "--class-names", "nothing"], "neither CLASS=NAME nor a readable"),
        (["--text-weight", "0.5", "--class-names", "a=b", "--class-names", "a=c"], "'a' twice"),
        (["--text-weight", "0.5", "--template", "x"], "has no {} where the name goes"),
        (["--text-weight", "2"], "less than or equal to 1"),
    ],
)
def test_wrong_calls(
    data: Path, folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["classify", str(data / "right"), "--supports", str(data), "--model", str(folder)]
    assert main([*call, *arguments]) == 2
    found = capsys.readouterr().err
    assert " ".join(said.split()) in " ".join(found.replace("│", " ").split())
    assert "Traceback" not in found
