"""What a result says of its data: which clips exactly, what is missing, which are copies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from makers import draw_video, three_classes

from a2m2_zoo.cli import main
from a2m2_zoo.data.lists import Listing, open_dataset
from a2m2_zoo.evaluation.dataset import absent, used
from a2m2_zoo.evaluation.results import Comparison, Copies
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.video.content import content_hash

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = three_classes(tmp_path_factory.mktemp("data") / "clips")
    for clip in root.glob("*/*"):
        os.utime(clip, (1e9, 1e9))  # what is younger than two seconds is hashed each time
    return root


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "clips"))


def test_copies_are_counted_and_no_number_changes(
    data: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(command: str, *more: str) -> tuple[Any, list[str]]:
        capsys.readouterr()
        measured(command, data, cache, tmp_path / "r.json", *more)
        found = json.loads((tmp_path / "r.json").read_text())["copies"]
        return found, [line for line in capsys.readouterr().err.splitlines() if "content" in line]

    assert said("evaluate") == (None, [])
    shutil.copy(data / "back" / "b0.mp4", data / "back" / "c0.mp4")
    first = (
        "a2m2: 2 clips have the same content as another, the first 'back/b0.mp4' and 'back/c0.mp4'"
    )
    found, lines = said("evaluate")
    assert found == {"clips": 2, "across": 0, "first": ["back/b0.mp4", "back/c0.mp4"]}
    assert lines == [f"{first}; see `a2m2 bank check`"]
    for clip in ("r0.mp4", "r1.mp4"):
        shutil.copy(data / "right" / clip, data / "still" / clip)
    page = tmp_path / "page.html"
    both = {"clips": 6, "across": 4, "first": ["right/r0.mp4", "still/r0.mp4"]}
    found, lines = said("compare", "--methods", "protonet-lite0", "--html", str(page))
    assert found == both
    assert "6 clips have the same content as another, 4 of them in different classes" in lines[0]
    assert "4 of them in different classes" in page.read_text(encoding="utf-8")
    kept = Comparison.from_json((tmp_path / "r.json").read_text())
    assert kept.copies == Copies(6, 4, ("right/r0.mp4", "still/r0.mp4"))
    assert said("misalign") == (both, lines)


def measured(command: str, data: Path, cache: Path, out: Path, *more: str) -> dict[str, Any]:
    """What a command writes about the data and the model."""
    sizes = ["--way", "2", "--shot", "1", "--episodes", "120", "--workers", "1"]
    quick = ["--kinds", "shift", "--amounts", "0"] if command == "misalign" else []
    where = ["--cache", str(cache), "--out", str(out)]
    assert main([command, str(data), *sizes, *quick, *where, *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    if command != "misalign":
        return dict(found["receipt"])
    del found["curves"]
    return found


def data_of(receipt: dict[str, Any]) -> dict[str, Any]:
    found = receipt["data"]
    return found if isinstance(found, dict) else receipt


@pytest.mark.parametrize("command", ["evaluate", "compare", "misalign"])
def test_a_receipt_tells_other_contents_apart_and_no_other_place(
    command: str, data: Path, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    more = ["--methods", "protonet-lite0"] if command == "compare" else []
    first = measured(command, data, cache, out, *more)
    facts = data_of(first)
    held = [
        [
            folder.name,
            [hashlib.sha256(c.read_bytes()).hexdigest() for c in sorted(folder.iterdir())],
        ]
        for folder in sorted(data.iterdir())
    ]
    assert facts["content_sha256"] == hashlib.sha256(json.dumps(held).encode()).hexdigest()
    assert (facts["classes"], facts["clips"]) == (3, 9)
    moved = Path(shutil.copytree(data, tmp_path / "elsewhere" / "clips"))
    assert measured(command, moved, cache, out, *more) == first
    shutil.copy(data / "back" / "b0.mp4", data / "still" / "s0.mp4")
    other = data_of(measured(command, data, cache, out, *more))
    assert other["content_sha256"] != facts["content_sha256"]
    assert other["names_sha256"] == facts["names_sha256"]


def test_a_receipt_says_whether_people_were_looked_for(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    def people(command: str, *more: str) -> object:
        found = measured(command, data, cache, tmp_path / "r.json", *more)
        return found["people"] if command == "misalign" else found["model"]["people"]

    assert people("evaluate") is True
    assert people("evaluate", "--no-pose") is False
    assert people("evaluate", "--model", "protonet-lite0") is False, "it never looks for any"
    assert people("misalign") is False, "frames that are moved are kept without people"


def test_a_receipt_names_the_list_and_its_hash(data: Path, cache: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "r.json", tmp_path / "some.txt"
    clips = sorted(data.glob("*/*.mp4"))
    file.write_text("".join(f"{clip.parent.name}/{clip.stem}\n" for clip in clips))
    plain = measured("evaluate", data, cache, out)["data"]
    listed = measured("evaluate", data, cache, out, "--list", str(file), "--split", "val")["data"]
    assert listed == {
        **plain,
        "name": listed["name"],
        "lists": {"some.txt": hashlib.sha256(file.read_bytes()).hexdigest()},
        "split": "val",
    }


def test_a_receipt_counts_what_is_missing(tmp_path: Path) -> None:
    clip = draw_video(tmp_path / "wave" / "a.mp4")
    listing = Listing(
        {"wave": (clip,)},
        missing=("wave/b", "kick/c"),
        listed={"wave": ("a", "b"), "kick": ("c",)},
        benchmark="hmdb51",
        split="test",
        list_name="l.txt",
        list_hash="0" * 64,
    )
    facts = used(listing.classes, listing, content_hash).facts
    assert (facts["missing"], facts["missing_classes"]) == (2, ["kick"])
    assert (facts["benchmark"], facts["split"]) == ("hmdb51", "test")
    (line,) = absent(listing)
    assert str(line) == (
        "left out of list 'l.txt': 2 of 3 listed videos not there: 'wave/b', 'kick/c'; "
        "1 class without any: 'kick'"
    )


def test_class_folders_of_a_benchmark_that_are_not_there(tmp_path: Path) -> None:
    for name in ("fencing", "wave"):
        draw_video(tmp_path / name / "a.mp4")
    (line,) = absent(open_dataset(tmp_path, benchmark="hmdb51"))
    assert str(line).startswith("left out of list 'hmdb51': 9 of 10 classes are not there: 'kick")
    assert absent(open_dataset(tmp_path)) == []


def test_what_the_cache_knows_is_not_hashed_again(
    original: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured("evaluate", original, cache, tmp_path / "r.json")

    def hashed(*_: object, **__: object) -> str:
        pytest.fail("a clip was hashed again")

    monkeypatch.setattr("a2m2_zoo.features.identity.digest", hashed)
    listing = open_dataset(original)
    found = used(listing.classes, listing, Identities(cache / "clips.jsonl").of)
    assert found.contents[0] == content_hash(original / "back" / "b0.mp4")
