from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import three_classes

from a2m2_zoo import (
    Prediction,
    SupportBank,
    build_bank,
    build_episode,
    classify,
    load_model,
)
from a2m2_zoo.api import default_model, iter_classify
from a2m2_zoo.cli import main
from a2m2_zoo.data.index import find_clips
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    BankError,
    CheckpointError,
    EpisodeError,
    ModelNotFoundError,
    VideoError,
    VideoNotFoundError,
    WeightsNotReleased,
)
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import package_file, read_manifest
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.synthetic.write import write_picture
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def model() -> Model:
    return default_model()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def bank(data: Path, model: Model) -> SupportBank:
    return build_bank(data, model=model)


@pytest.fixture(scope="module")
def few(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of each class."""
    root = tmp_path_factory.mktemp("few")
    for folder in data.iterdir():
        (root / folder.name).mkdir()
        shutil.copy(min(folder.glob("*.mp4")), root / folder.name)
    return root


@pytest.fixture(scope="module")
def few_bank(few: Path, model: Model) -> SupportBank:
    return build_bank(few, model=model)


def answers(found: list[Prediction]) -> list[tuple[str, dict[str, float]]]:
    return [(p.label, p.probabilities) for p in found]


def test_a_prediction_says_everything(data: Path, bank: SupportBank, model: Model) -> None:
    query = data / "right" / "r0.mp4"
    assert classify(query, bank, model=model).plans == {}
    answer = classify(query, bank, model=model, plans=True)
    assert isinstance(answer, Prediction)
    assert answer.query == str(query)
    assert answer.label == "right"
    ranked = list(answer.probabilities.values())
    assert ranked == sorted(ranked, reverse=True)
    assert sum(ranked) == pytest.approx(1)
    assert answer.margin == pytest.approx(ranked[0] - ranked[1])
    assert answer.probability == ranked[0]
    assert answer.frames == (1, 3, 6, 8, 11, 13, 16, 18)
    assert answer.seconds > 0
    assert set(answer.plans) == {"right", "back", "still"}
    for name, plan in answer.plans.items():
        assert bank.class_names[bank.labels[plan.support]] == name
        assert plan.transport.shape == plan.similarity.shape == (8, 8)
        assert plan.transport.min() >= 0
        assert plan.transport.sum() == pytest.approx(1, abs=1e-4)
        assert np.abs(plan.similarity).max() <= 1 + 1e-5


def test_every_form_of_supports_gives_the_same_answer(
    data: Path, few: Path, few_bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    query = data / "back" / "b1.mp4"
    mapping = {folder.name: sorted(folder.glob("*.mp4")) for folder in few.iterdir()}
    saved = few_bank.save(tmp_path / "bank.safetensors")
    forms = [few, str(few), mapping, build_episode(supports=mapping), saved, few_bank]
    found = [classify(query, form, model=model) for form in forms]
    assert all(answer.probabilities == found[0].probabilities for answer in found)


def test_arrays_files_and_frame_folders_agree(data: Path, bank: SupportBank, model: Model) -> None:
    clip = draw_named("wave", 0, frames=12, size=224)
    supports = {
        "wave": [clip, clip[::-1]],
        "jump": [draw_named("jump", 0, frames=12, size=224)] * 2,
    }
    answer = classify(clip, supports, model=model)
    assert answer.label == "wave"
    assert answer.query == "array of 12 frames"


def test_a_folder_of_clips_is_answered_clip_by_clip_as_on_the_command_line(
    data: Path,
    bank: SupportBank,
    model: Model,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queries, saved = tmp_path / "queries", bank.save(tmp_path / "bank.safetensors")
    for folder in data.iterdir():
        shutil.copytree(folder, queries / folder.name)
    write_picture(queries / "contact_sheet.png", np.zeros((96, 96, 3), np.uint8))
    (queries / "notes.txt").write_text("x")
    (queries / "back" / "loop").symlink_to(queries)
    found = classify(queries, bank, model=model)
    clips = find_clips(queries).clips
    assert [p.query for p in found] == [str(clip) for clip in clips]
    assert len(clips) == len(list(data.rglob("*.mp4")))
    assert answers(found) == answers(classify(clips, bank, model=model))
    assert main(["classify", str(queries), "--supports", str(saved), "--json"]) == 0
    said = capsys.readouterr()
    assert [p["query"] for p in json.loads(said.out)] == [p.query for p in found]
    (line,) = said.err.splitlines()
    assert line.startswith(f"a2m2: left out of {queries}: ")
    for part in ("notes.txt (no video by its name)", "back/loop (a link to a folder around it)"):
        assert part in line
        assert part in caplog.text
    # A list has an answer for each of its items, so a folder of clips in it is an error in its place.
    first, second = classify([queries, clips[0]], bank, model=model, on_error="return")
    assert isinstance(first, VideoError)
    assert "a folder of clips, and no clip itself" in str(first)
    assert isinstance(second, Prediction)
    with pytest.raises(VideoError, match="a folder of clips, and no clip itself"):
        build_bank({"a": [queries], "b": [clips[0]]}, model=model)
    (tmp_path / "none").mkdir()
    with pytest.raises(VideoNotFoundError, match="holds no clip"):
        classify(tmp_path / "none", bank, model=model)
    with pytest.raises(VideoNotFoundError, match="an empty path"):
        classify("", bank, model=model)


@pytest.mark.usefixtures("computed_anew")
def test_answers_do_not_depend_on_batch_size_or_workers(
    data: Path, bank: SupportBank, model: Model
) -> None:
    queries = sorted(data.rglob("*.mp4"))[::3]
    reference = classify(queries, bank, model=model, batch_size=1, workers=1)
    for batch_size, workers in ((1, 4), (2, 2), (100, 3)):
        found = classify(queries, bank, model=model, batch_size=batch_size, workers=workers)
        assert answers(found) == answers(reference)


@pytest.mark.usefixtures("computed_anew")
def test_many_threads_get_the_answers_of_one(data: Path, bank: SupportBank, model: Model) -> None:
    queries = sorted(data.rglob("*.mp4"))[::5]
    reference = answers(classify(queries, bank, model=model))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: answers(classify(queries, bank)), range(4)))
    assert all(one == reference for one in found)
    assert default_model() is model


def test_top_k_and_rejection(data: Path, bank: SupportBank, model: Model) -> None:
    query = data / "still" / "s0.mp4"
    short = classify(query, bank, model=model, top_k=1, reject_below=1.0)
    assert list(short.probabilities) == ["still"]
    assert short.rejected
    assert not classify(query, bank, model=model, reject_below=0.0).rejected


def test_a_broken_query_is_raised_or_returned(
    data: Path, bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"junk")
    queries = [data / "right" / "r0.mp4", broken, tmp_path / "none.mp4", data / "back" / "b0.mp4"]
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        classify(queries, bank, model=model)
    found = classify(queries, bank, model=model, on_error="return", batch_size=4)
    assert [type(f) is Prediction for f in found] == [True, False, False, True]
    assert isinstance(found[2], VideoNotFoundError)
    assert isinstance(found[2], FileNotFoundError)
    assert [f.label for f in found if isinstance(f, Prediction)] == ["right", "back"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"reject_below": 1.5}, "reject_below is 1.5"),
        ({"on_error": "shrug"}, "on_error is 'shrug'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_options_out_of_range(
    data: Path, bank: SupportBank, model: Model, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        classify([data / "right" / "r0.mp4"], bank, model=model, **options)  # type: ignore[call-overload]


def test_a_bank_survives_its_file_and_refuses_others(
    bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    found = SupportBank.load(bank.save(tmp_path / "b.safetensors"))
    for field in ("class_names", "labels", "sources", "model", "weights_hash"):
        assert getattr(found, field) == getattr(bank, field)
    assert found.thumbnails.equal(bank.thumbnails)
    found.check(model)
    foreign = dataclasses.replace(bank, weights_hash="0" * 64)
    with pytest.raises(BankError, match="weights 000000000000"):
        classify(np.zeros((9, 32, 32, 3), np.uint8), foreign, model=model)
    with pytest.raises(BankError, match="cannot be added"):
        bank.add(foreign)
    with pytest.raises(BankError, match="every class would be removed"):
        bank.remove(bank.class_names)
    with pytest.raises(BankError, match="No such file"):
        SupportBank.load(tmp_path / "none.safetensors")
    with pytest.raises(BankError, match=r"is a file of kind .model.; expected .bank."):
        SupportBank.load(package_file("weights/a2m2_lite0.safetensors"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"labels": [0, 1]}, "labels do not match its classes"),
        ({"labels": "x"}, "not a sound support bank"),
        ({"sources": ["only one"]}, "tensors do not match its labels"),
        ({"class_names": None}, "not a sound support bank"),
    ],
)
def test_a_bank_with_a_broken_record_is_refused(
    bank: SupportBank, tmp_path: Path, record: dict[str, object], message: str
) -> None:
    path = bank.save(tmp_path / "b.safetensors")
    found = checkpoint.load(path, kind="bank")
    checkpoint.save(path, found.tensors, kind="bank", record={**found.record, **record})
    with pytest.raises(BankError, match=message):
        SupportBank.load(path)


def test_adding_and_removing_classes_leaves_the_others_alone(bank: SupportBank) -> None:
    less = bank.remove(["right"])
    more = less.add(bank.remove(["back", "still"]))
    assert more.counts() == bank.counts()
    for name in bank.class_names:
        ours = [i for i, label in enumerate(more.labels) if more.class_names[label] == name]
        theirs = [i for i, label in enumerate(bank.labels) if bank.class_names[label] == name]
        for key, tensor in bank.descriptors.items():
            assert more.descriptors[key][ours].equal(tensor[theirs])


def test_answers_one_by_one_are_those_of_classify_whatever_the_supports_are_given_as(
    data: Path, few: Path, few_bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    clips = sorted(data.rglob("*.mp4"))[:2]
    folders = {name: few / name for name in few_bank.class_names}
    for supports in (
        folders,
        few,
        build_episode(supports=few),
        few_bank,
        few_bank.save(tmp_path / "b.safetensors"),
    ):
        assert list(iter_classify(clips, supports, model=model)) == classify(
            clips, supports, model=model
        )
    with pytest.raises(ArgumentError, match="a clip; expected a folder"):
        iter_classify(clips, clips[0], model=model)  # as it is called, not with the first answer


def test_one_class_is_no_choice(bank: SupportBank, model: Model) -> None:
    one = bank.remove(["right", "back"])
    with pytest.raises(EpisodeError, match="one class, 'still'"):
        next(iter(iter_classify([], one, model=model)))


def test_more_shots_fit_the_scale_to_the_supports(bank: SupportBank, model: Model) -> None:
    labels, way = bank.label_tensor, 3
    fitted = SupportSet.encoded(model, bank.descriptors, labels, way=way).scale
    single = {name: tensor[::3] for name, tensor in bank.descriptors.items()}
    shipped = SupportSet.encoded(model, single, labels[::3], way=way).scale
    assert shipped == model.scales[1]
    assert fitted > 0
    assert fitted != shipped


EMBEDDED = [m.id for m in read_manifest().models.values() if m.status == "embedded"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_model_loads_and_its_header_agrees_with_the_manifest(name: str) -> None:
    entry = read_manifest().model(name)
    loaded = load_model(name)
    assert loaded.id == name
    assert not loaded.backbone.training
    assert not loaded.method.training
    record = json.loads(json.dumps(loaded.record()))
    assert record["config"] == entry.config
    assert record["preprocess"] == entry.preprocess
    assert (record["method"], record["backbone"]) == (entry.method, entry.backbone)


def test_a_model_saves_and_loads_from_a_file_and_a_folder(
    model: Model, data: Path, bank: SupportBank, tmp_path: Path
) -> None:
    path = tmp_path / "head.safetensors"
    model.save(path)
    for source in (path, tmp_path):
        loaded = load_model(source)
        assert loaded.weights_hash == model.weights_hash
        query = data / "right" / "r2.mp4"
        assert (
            classify(query, bank, model=loaded).probabilities
            == classify(query, bank, model=model).probabilities
        )
    model.save(tmp_path / "second.safetensors")
    with pytest.raises(CheckpointError, match=r"holds 2 .safetensors files"):
        load_model(tmp_path)


def test_loading_refuses_what_is_not_the_model_it_says(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    tensors, record = dict(model.method.state_dict()), model.record()
    name = next(iter(tensors))

    def load(tensors: dict[str, torch.Tensor], **changes: object) -> None:
        checkpoint.save(path, tensors, kind="model", record={**record, **changes})
        load_model(path)

    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        load({k: v for k, v in tensors.items() if k != name})
    with pytest.raises(CheckpointError, match="has the unknown extra"):
        load({**tensors, "extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=f"wrong shape of {name}"):
        load({**tensors, name: torch.zeros(7)})
    with pytest.raises(CheckpointError, match="does not describe a model"):
        load(tensors, config={"colour": "blue"})
    with pytest.raises(CheckpointError, match="stands on backbone 'other'"):
        load(tensors, backbone="other")
    with pytest.raises(CheckpointError, match="no sound calibration scales"):
        load(tensors, scales={"1": 0})
    with pytest.raises((CheckpointError, ModelNotFoundError), match="nonsense"):
        load(tensors, method="nonsense")
    with pytest.raises(ModelNotFoundError, match="Models to use now: a2m2-lite0"):
        load_model("nobody")
    with pytest.raises(WeightsNotReleased, match="a2m2 train"):
        load_model("a2m2-resnet50-ssv2-full")
    with pytest.raises(ArgumentError, match="cannot be used here"):
        load_model(device="cuda:77")


@pytest.mark.usefixtures("computed_anew")
def test_half_precision_backbone_gives_nearly_the_same_descriptors(
    model: Model, data: Path
) -> None:
    clip = read_clip(data / "right" / "r0.mp4", model.preprocess)
    exact = model.encode([clip])["moments"]
    half = load_model(dtype=torch.bfloat16).encode([clip])["moments"]
    assert half.dtype == exact.dtype == torch.float32
    cosine = (exact * half).sum(-1)
    assert cosine.mean() > 0.95


def test_errors_are_one_family() -> None:
    for kind in (VideoNotFoundError, BankError, EpisodeError, CheckpointError, ModelNotFoundError):
        assert issubclass(kind, A2M2Error)
