"""What an archive answers, with the default model on drawn actions; and the commands around it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archive_maker import videos
from makers_models import tiny_model

from a2m2_zoo import classify, load_model
from a2m2_zoo.archive import Archive, Cutting, Hit
from a2m2_zoo.archive.asking import ELSE
from a2m2_zoo.archive.codec import Codec, rounded
from a2m2_zoo.archive.exporting import FORMATS, export
from a2m2_zoo.archive.vectors import DIMS, Basis
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, BankError, CheckpointError, SaveError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named, write_video
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once")
NAMES = ("wave", "jump", "squat")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three supports of each action; two other clips of each; a video in which each happens once."""
    made = tmp_path_factory.mktemp("find")
    for name in NAMES:
        for i in range(5):
            folder = made / ("supports" if i < 3 else "videos") / name
            folder.mkdir(parents=True, exist_ok=True)
            write_video(folder / f"{i}.mp4", draw_named(name, i, frames=16, studio=2))
    parts = [draw_named(name, 10, frames=32, studio=2) for name in NAMES]
    write_video(made / "videos" / "long.mp4", np.concatenate(parts))
    return made


@pytest.fixture(scope="module")
def archive(root: Path, model: Model, seen_once: None) -> Archive:
    cutting = Cutting(whole=2.0, window=2.0, stride=1.0)
    made, _ = Archive.build(root / "archive", root / "videos", model=model, cutting=cutting)
    return made


@pytest.fixture(scope="module")
def bank(root: Path, archive: Archive, seen_once: None) -> SupportBank:
    return archive.bank(root / "supports")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes no time, in a folder with videos, supports and an archive of the videos."""
    made = tiny_model(tmp_path_factory.mktemp("tiny"))
    videos(made / "videos")
    for name in ("right", "back"):
        shutil.copytree(made / "videos" / name, made / "supports" / name)
    Archive.build(made / "archive", made / "videos", model=load_model(made))
    return made


@pytest.fixture
def run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: Any) -> Any:
        named = () if {"info", "verify", "compact"} & {*arguments[1:2]} else ("--model", str(tiny))
        code = main([*map(str, arguments), *named])
        return code, *capsys.readouterr()

    return called


def test_three_examples_of_one_action_find_it(archive: Archive, bank: SupportBank) -> None:
    """In the clips of it first, and in that third of the long video where it happens."""
    for at, name in enumerate(NAMES):
        hits = archive.find(bank.remove([other for other in NAMES if other != name]))
        assert {hit.label for hit in hits} == {name}
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert 0.5 < scores[0] <= 1
        folders = [Path(hit.uri).parent.name for hit in hits[:3]]
        assert folders.count(name) == 2
        long = next(hit for hit in hits if "long" in hit.uri)
        assert 2 * at - 1 <= (long.start + long.end) / 2 <= 2 * at + 3


def test_places_of_one_video_do_not_overlap(archive: Archive, bank: SupportBank) -> None:
    hits = [h for h in archive.find(bank, k=50) if "long" in h.uri]
    assert len(hits) >= 3
    for name in NAMES:
        spans = sorted((h.start, h.end) for h in hits if h.label == name)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_clip_of_the_archive_is_most_like_itself(root: Path, archive: Archive) -> None:
    query = root / "videos" / "jump" / "4.mp4"
    hits = archive.like(query, k=3)
    assert hits[0].uri == str(query)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[1].score < 0.9 * hits[0].score


def test_labels_are_those_of_the_clips_themselves(
    root: Path,
    archive: Archive,
    bank: SupportBank,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no frame of the archive's videos is decoded for them."""
    clips = sorted((root / "videos").glob("*/*.mp4"))
    there = {a.query: a for a in classify(clips, bank, model=model)}
    monkeypatch.setattr("a2m2_zoo.video.decode.read_clip", lambda *_, **__: pytest.fail("decoded"))
    found = {answer.query: answer for answer in archive.classify(bank)}
    assert len(found) == len(archive) > len(clips)
    for query, answer in there.items():
        assert found[query].label == answer.label
        assert found[query].probability == pytest.approx(answer.probability, abs=0.1)
    assert sum("long.mp4#t=" in query for query in found) == len(found) - len(clips)


def test_suggestions_are_places_of_their_own_and_follow_the_supports(
    archive: Archive, bank: SupportBank
) -> None:
    found = archive.suggest(bank, k=4)
    assert len({(hit.uri, hit.start) for hit in found}) == len(found) == 4
    assert {hit.label for hit in found} <= {*NAMES, ELSE}
    asking = archive._asking()
    scored = asking.scored(bank, 4)
    assert scored is not None
    top = scored[2].topk(2, -1).values
    least = int((top[:, 0] - top[:, 1]).argmin())
    assert found[0].place == scored[0].hit(scored[1][least], "", 0.0).place


def test_a_method_without_pairs_is_asked_too(tiny: Path) -> None:
    made = Archive.open(tiny / "archive", model=load_model(tiny))
    hits = made.find({"right": [tiny / "videos" / "right" / "0.mp4"]}, k=3)
    assert Path(hits[0].uri) == tiny / "videos" / "right" / "0.mp4"
    assert made.like(tiny / "videos" / "back" / "1.mp4", k=1)[0].uri.endswith("1.mp4")


def test_in_few_windows_several_actions_are_told_apart_as_classify_does(
    root: Path, model: Model, bank: SupportBank, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of so few windows would stand for everything else, whatever they show."""
    clips = [root / "videos" / name / "3.mp4" for name in NAMES]
    few, _ = Archive.build(tmp_path / "few", clips, model=model)
    hits = few.find(bank, k=1)
    assert {hit.uri: hit.label for hit in hits} == {
        str(clip): name for clip, name in zip(clips, NAMES, strict=True)
    }
    assert all(hit.score > 0.1 for hit in hits)
    assert "too few to show what else happens" in caplog.text


def test_an_archive_without_windows_finds_nothing(tiny: Path, tmp_path: Path) -> None:
    broken = tiny / "videos" / "broken.mp4"
    made, found = Archive.build(tmp_path / "a", broken, model=load_model(tiny))
    assert len(found.failed) == 1
    supports = tiny / "supports" / "right"
    assert made.find(supports) == made.suggest(supports) == made.like(supports / "0.mp4") == []
    assert list(made.classify({"a": [supports / "0.mp4"], "b": [supports / "1.mp4"]})) == []
    assert made.verify() == []


def test_supports_of_another_model_and_numbers_out_of_range_are_refused(
    archive: Archive, bank: SupportBank, tiny: Path
) -> None:
    with pytest.raises(ArgumentError, match="k is 0"):
        archive.find(bank, k=0)
    with pytest.raises(BankError, match="use that model"):
        Archive.open(tiny / "archive", model=load_model(tiny)).find(bank)
    for window, stride in ((2.0, 3.0), (0.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(ArgumentError):
            Cutting(window=window, stride=stride)


def test_descriptors_come_back_nearly_as_they_were(root: Path, model: Model) -> None:
    clips = [root / "supports" / name / "0.mp4" for name in NAMES]
    real = model.encode([read_clip(clip, model.preprocess) for clip in clips])
    codec = Codec.of(real)
    assert codec.size <= 40_000
    assert Codec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    found = rounded(real, codec)
    for name, value in real.items():
        assert found[name].shape == value.shape
        zero = value == 0
        assert torch.equal(found[name][zero], value[zero])
    pairs, again = model.pairs(real, real), model.pairs(found, real)
    assert pairs is not None
    assert again is not None
    assert (pairs - again).abs().max() < 0.05 * pairs.abs().max()
    assert rounded({"x": torch.tensor([[1.0, -3.0, 7.0]])}, Codec.of({"x": torch.ones(1, 3)}))[
        "x"
    ].tolist()[0] == pytest.approx([1.0, -3.0, 7.0], abs=0.05)
    odd = {"x": torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))}
    four = Codec.of(odd, budget=10)
    assert four.size == 3 * (2 + 3)
    assert (rounded(odd, four)["x"] - odd["x"]).abs().max() < odd["x"].abs().max() / 13
    with pytest.raises(CheckpointError, match="not finite"):
        codec.pack({name: value * float("nan") for name, value in real.items()})
    with pytest.raises(ArgumentError, match="bytes"):
        codec.unpack([b"short"])


def test_search_vectors_rank_as_the_scores_do(archive: Archive, model: Model) -> None:
    store = archive._store
    packed = store.rows("windows", ["descriptors"])["descriptors"].to_pylist()
    descriptors = archive._codec.unpack(packed)
    basis = Basis.fit(model.method, [descriptors])
    assert basis.axes.shape[1] == DIMS
    vectors = basis.vectors(model.method, descriptors)
    pairs = model.pairs(descriptors, descriptors)
    assert pairs is not None
    off = ~torch.eye(len(pairs), dtype=torch.bool)
    seen = torch.stack([(vectors @ vectors.mT)[off], pairs[off]])
    assert torch.corrcoef(seen)[0, 1] > 0.85
    again = Basis.from_bytes(basis.to_bytes()).vectors(model.method, descriptors)
    assert torch.equal(again, vectors)
    for damaged in (b"", basis.to_bytes()[:-1], b"no basis"):
        with pytest.raises(ValueError):
            Basis.from_bytes(damaged)


def test_hits_are_written_in_every_form(tiny: Path, run: Run, tmp_path: Path) -> None:
    uri, right = tiny / "archive", tiny / "supports" / "right"
    asked = ("find", uri, "--supports", right, "-k", 3)
    code, out, _ = run(*asked, "--json", "--html", tmp_path / "hits.html")
    rows = json.loads(out)
    assert (code, len(rows), rows[0]["label"]) == (0, 3, "right")
    page = (tmp_path / "hits.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,/9j/") == 3
    assert "http" not in page.replace("http-equiv", "")
    _, out, _ = run(*asked, "--jsonl")
    assert [json.loads(line) for line in out.splitlines()] == rows
    _, out, _ = run(*asked, "--csv")
    assert [row["key"] for row in csv.DictReader(io.StringIO(out))] == [r["key"] for r in rows]
    _, out, _ = run(*asked)
    assert max(map(len, out.splitlines())) <= 80
    code, _, err = run(*asked, "--srt")
    assert (code, "several" in err) == (2, True)
    shutil.copytree(right, tmp_path / "some")
    (tmp_path / "some" / "bad.mp4").write_bytes(b"")
    code, out, err = run("find", uri, "--supports", tmp_path / "some", "-k", 3, "--jsonl")
    assert (code, "support left out" in err, len(out.splitlines())) == (1, True, 3)
    code, out, _ = run("find", uri, "--query", right / "0.mp4", "-k", 1, "--srt")
    assert (code, out.splitlines()[1][:12]) == (0, "00:00:00,000")


def test_commands_say_what_they_did(tiny: Path, run: Run, tmp_path: Path) -> None:
    uri = tmp_path / "archive"
    code, out, err = run("archive", "build", tiny / "supports" / "right", "--out", uri)
    assert (code, "3 added with 3 windows; 3 windows in all" in out) == (0, True), err
    (tmp_path / "more").mkdir()
    shutil.copy(tiny / "supports" / "back" / "0.mp4", tmp_path / "more")
    (tmp_path / "more" / "bad.mp4").write_bytes(b"")
    code, out, err = run("archive", "add", uri, tmp_path / "more")
    assert (code, "1 added" in out, "1 failed" in out) == (1, True, True)
    assert "bad.mp4" in err
    (tmp_path / "more" / "0.mp4").unlink()
    code, out, _ = run("archive", "sync", uri, tmp_path / "more")
    assert (code, "1 taken out" in out) == (1, True)
    code, out, _ = run("archive", "info", uri, "--json")
    assert (code, json.loads(out)["clips"]) == (0, 3)
    assert run("archive", "compact", uri)[0] == 0
    assert run("archive", "verify", uri)[:2] == (0, "nothing to act on\n")
    code, _, err = run("archive", "build", tiny / "supports" / "right", "--out", uri)
    assert (code, "there is an archive" in err) == (2, True)
    code, _, err = run("find", tmp_path / "none", "--supports", tiny / "supports")
    assert (code, err.count("\n"), "there is no archive" in err) == (2, 1, True)


def test_an_archive_is_labelled_on_the_command_line(tiny: Path, run: Run, tmp_path: Path) -> None:
    uri, supports = tiny / "archive", tiny / "supports"
    code, out, _ = run("classify", "--archive", uri, "--supports", supports, "--json")
    rows = json.loads(out)
    file = tmp_path / "a.jsonl"
    assert (
        run("classify", "--archive", uri, "--supports", supports, "--jsonl", file)[0] == code == 0
    )
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows
    for more in (("--shard", "1/2"), ("--transductive",), (tiny / "videos",), ("--no-pose",)):
        code, _, err = run("classify", "--archive", uri, "--supports", supports, *more)
        assert (code, err.count("\n")) == (2, 1)
    assert run("classify", "--supports", supports)[0] == 2
    assert run("classify", "--archive", uri, "--supports", supports, "--jsonl", file)[0] == 2


def test_suggestions_are_written_for_annotation_tools(tiny: Path, run: Run, tmp_path: Path) -> None:
    for form in FORMATS:
        asked = ("suggest", tiny / "archive", "--supports", tiny / "supports", "-k", 4)
        code, out, _ = run(*asked, "--format", form, "--out", tmp_path / form)
        assert (code, "4 window(s)" in out) == (0, True)
    before = {path: path.read_bytes() for path in (tiny / "videos").rglob("*.mp4")}
    for call in (
        ("find", tiny / "archive", "--supports", tiny / "supports", "--html", min(before)),
        (*asked, "--format", "label-studio", "--out", min(before)),
        (*asked, "--format", "fiftyone", "--out", tmp_path / "fiftyone"),
    ):
        code, out, err = run(*call)
        assert (code > 0, out, err.count("\n")) == (True, "", 1)
    assert before == {path: path.read_bytes() for path in before}
    tasks = json.loads((tmp_path / "label-studio").read_text())
    assert sum(len(task["predictions"][0]["result"]) for task in tasks) == 4
    for task in tasks:
        for one in task["predictions"][0]["result"]:
            (span,) = one["value"]["ranges"]
            assert 1 <= span["start"] < span["end"]
            assert Path(task["data"]["video"]).exists()
    places = json.loads((tmp_path / "fiftyone" / "data.json").read_text())
    labels = json.loads((tmp_path / "fiftyone" / "labels.json").read_text())["labels"]
    assert places.keys() == labels.keys()
    files = list((tmp_path / "cvat").glob("*.json"))
    assert len(files) == len(tasks)
    for file in files:
        told = json.loads(file.read_text())
        count = len(told["categories"]["label"]["labels"])
        ids = [item["id"] for item in told["items"]]
        assert ids == sorted(set(ids))
        assert all(a["label_id"] < count for item in told["items"] for a in item["annotations"])


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    hit = Hit('a"b\n.mp4', 1.0, 2.0, "wave", 0.5, "00")
    with pytest.raises(ArgumentError, match="expected one of"):
        export([hit], tmp_path / "x", form="xml")
    with pytest.raises(SaveError):
        export([hit], tmp_path / "no" / "x", form="label-studio")
    export([hit], tmp_path / "x", form="cvat")
    with pytest.raises(SaveError, match="exists"):
        export([hit], tmp_path / "x", form="cvat")
