"""An archive through its life: built, added to, kept in step with folders, damaged, read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from archive_maker import changes, kept, noisy, videos
from makers import draw_video
from makers_models import tiny_model
from web import bucket, environment, forget, soon

from a2m2_zoo import load_model
from a2m2_zoo._utils.files import locked
from a2m2_zoo.archive import Archive, Cutting, Writer, clip_rows, writing
from a2m2_zoo.archive.store import open_store
from a2m2_zoo.cli import main
from a2m2_zoo.errors import (
    A2M2Error,
    ArchiveError,
    ArgumentError,
    DependencyError,
    SaveError,
    VideoNotFoundError,
)
from a2m2_zoo.recognition.model import Model

CUTTING = Cutting(whole=2.0, window=1.0, stride=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("archive")
    for name in ("tiny", "other"):
        (made / name).mkdir()
        tiny_model(made / name, name)
    videos(made / "videos")
    return made


@pytest.fixture(scope="module")
def model(root: Path) -> Model:
    return load_model(root / "tiny")


@pytest.fixture(scope="module")
def whole(root: Path, model: Model) -> Path:
    """An archive of all that is there; not to be changed."""
    Archive.build(root / "whole", root / "videos", model=model, cutting=CUTTING)
    return root / "whole"


@pytest.fixture
def clips(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "videos", tmp_path / "videos"))


def test_an_archive_holds_every_clip_and_the_windows_of_a_long_one(
    root: Path, whole: Path, model: Model
) -> None:
    info = Archive.open(whole, model=model).info()
    assert (info.clips, info.model, info.writing) == (7, "tiny", False)
    starts = [(s, e) for key, s, e, _ in kept(whole) if e - s > 0.95]
    long = [place for place in starts if place[1] <= 4.0 and place[1] - place[0] == 1.0]
    assert len(long) >= 6
    assert info.windows == len(kept(whole)) > 12
    assert Archive.open(whole).verify() == []


def test_an_archive_opens_its_model_by_the_name_it_was_given(
    root: Path, model: Model, tmp_path: Path
) -> None:
    given = replace(model, opened_as=str(root / "tiny"))
    clip = root / "videos" / "right" / "0.mp4"
    Archive.build(tmp_path / "made", clip, model=given, cutting=CUTTING)
    found = Archive.open(tmp_path / "made")
    assert found.made_by[0] == "tiny"
    assert found.model.weights_hash == model.weights_hash


def test_an_archive_whose_model_is_not_found_says_which_archive_asks_for_it(
    root: Path, whole: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, uri = root / "videos" / "right" / "0.mp4", tmp_path / "made"
    for name in ("backbone:none", "timm:resnet10t@none.safetensors", "none-at-all"):
        shutil.rmtree(uri, ignore_errors=True)
        Archive.build(uri, clip, model=replace(model, opened_as=name), cutting=CUTTING)
        said = f"the archive {str(uri)!r} was made by model {name!r} "
        with pytest.raises(ArchiveError, match=re.escape(said)):
            Archive.open(uri).model  # noqa: B018 - loading it is what fails
        assert main(["find", str(uri), "--query", str(clip)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"a2m2: {said}")
        assert told.count("\n") == 1
        assert "--model" in told
        assert "--import" in told
        assert main(["find", str(uri), "--query", str(clip), "--model", "not-there"]) == 2
        assert "the archive" not in capsys.readouterr().err  # for nobody but the caller names it
    assert main(["find", str(uri), "--query", str(clip), "--model", str(root / "tiny")]) == 0


def test_what_a_worker_makes_of_a_clip_is_what_the_archive_holds(
    root: Path, whole: Path, model: Model, tmp_path: Path
) -> None:
    """To the bit, so that other machines may make the rows."""
    archive = Archive.open(whole, model=model)
    alone, _ = Archive.build(
        tmp_path / "alone", root / "videos" / "right" / "0.mp4", model=model, cutting=CUTTING
    )
    writer = Writer(alone._store, model, alone._codec)
    for path in (root / "videos" / "long.mp4", root / "videos" / "back" / "1.mp4"):
        rows = clip_rows(path, model, archive._codec, CUTTING)
        held = [row for row in kept(whole) if row[0] == rows.key]
        assert held == [(rows.key, w.start, w.end, w.descriptors) for w in rows.windows]
        assert all(w.poster.startswith(b"\xff\xd8") for w in rows.windows)
        writer.put(rows)
    writer.flush()
    assert alone.info().clips == 3
    assert alone.verify() == []


def test_added_again_nothing_is_encoded_and_a_copy_is_the_same_clip(
    clips: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, first = Archive.build(tmp_path / "a", clips / "right", model=model, cutting=CUTTING)
    assert changes(first) == {"added": 3, "windows": 3}
    shutil.copy(clips / "right" / "0.mp4", clips / "right" / "copy.mp4")
    monkeypatch.setattr(Model, "encode", lambda *_: pytest.fail("encoded again"))
    assert changes(archive.add(clips / "right")) == {"known": 4}
    assert len(archive) == 3


def test_a_copy_of_a_broken_clip_has_failed_too(clips: Path, model: Model, tmp_path: Path) -> None:
    for i in range(4):
        shutil.copy(clips / "broken.mp4", clips / f"broken{i}.mp4")
    _, found = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    assert {path.name for path, _ in found.failed} == {
        "broken.mp4", *(f"broken{i}.mp4" for i in range(4))
    }  # fmt: skip
    assert all(path.name in str(error) for path, error in found.failed)
    assert (found.added, found.known) == (7, 0)


def test_an_archive_of_a_bucket_is_that_of_the_disk(
    clips: Path, whole: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    with bucket() as s3:
        for name, value in environment(s3).items():
            monkeypatch.setenv(name, value)
        soon(monkeypatch)
        forget()
        s3.put_folder(clips, "clips")
        s3.put("clips/copy.mp4", (clips / "long.mp4").read_bytes())
        archive, found = Archive.build(
            tmp_path / "a", "s3://clips/clips", model=model, cutting=CUTTING
        )
        assert changes(found) == {"added": 7, "windows": len(kept(whole)), "known": 1, "failed": 1}
        assert kept(tmp_path / "a") == kept(whole)
        uris = {facts["uri"] for facts in archive._store.clips().values()}
        assert "s3://clips/clips/right/0.mp4" in uris
        assert changes(archive.sync("s3://clips/clips")) == {"known": 8, "failed": 1}
        with pytest.raises(VideoNotFoundError, match="there is no 's3://clips/none'"):
            archive.add("s3://clips/none")
        forget()


def test_a_making_that_ended_before_its_first_window_is_gone_on_with(
    clips: Path, whole: Path, model: Model, tmp_path: Path
) -> None:
    Archive._new(tmp_path / "a", model, CUTTING)  # and nothing more: the process was killed
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(
        tmp_path / "b" / "record.lance" / "_versions"
    )  # or it was killed a little earlier
    for name in ("a", "b"):
        Archive.build(tmp_path / name, clips, model=model, cutting=CUTTING)
        assert kept(tmp_path / name) == kept(whole)
    shutil.rmtree(tmp_path / "b" / "record.lance")
    with pytest.raises(ArchiveError, match="no record of what its rows are"):
        Archive.build(tmp_path / "b", clips, model=model, cutting=CUTTING)


def test_patterns_stand_for_what_they_match(clips: Path, model: Model, tmp_path: Path) -> None:
    pattern = f"{clips}/right/[01].mp4"
    _, found = Archive.build(tmp_path / "a", pattern, model=model, cutting=CUTTING)
    assert changes(found) == {"added": 2, "windows": 2}


def test_sync_follows_new_changed_moved_and_vanished_files(
    clips: Path, model: Model, tmp_path: Path
) -> None:
    elsewhere = draw_video(tmp_path / "elsewhere.mp4", 9, size=(64, 64))
    archive, _ = Archive.build(tmp_path / "a", [clips, elsewhere], model=model, cutting=CUTTING)
    before = archive.info().clips
    (clips / "right" / "0.mp4").unlink()  # vanished
    (clips / "right" / "1.mp4").rename(clips / "back" / "moved.mp4")
    draw_video(clips / "right" / "2.mp4", 14, size=(64, 64), speed=5)  # changed
    draw_video(clips / "right" / "new.mp4", 10, size=(64, 64))
    elsewhere.unlink()  # not under what is synced
    found = changes(archive.sync(clips))
    assert found == {"added": 2, "windows": 2, "known": 5, "moved": 1, "removed": 2, "failed": 1}
    assert archive.info().clips == before
    uris = {Path(f["uri"]).name for f in archive._store.clips().values()}
    assert uris == {
        *("elsewhere.mp4", "moved.mp4", "2.mp4", "new.mp4", "long.mp4"),
        *("0.mp4", "1.mp4"),
    }
    assert archive.verify() == []
    assert changes(archive.sync(clips)) == {"known": 7, "failed": 1}


def test_sync_with_an_empty_or_missing_folder_removes_nothing(
    clips: Path, model: Model, tmp_path: Path
) -> None:
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    before = len(archive)
    shutil.rmtree(clips)
    with pytest.raises(VideoNotFoundError, match="there is no"):
        archive.sync(clips)
    clips.mkdir()
    with pytest.raises(ArgumentError, match="a video is the number 3; expected its path"):
        archive.add([3])  # type: ignore[list-item]
    with pytest.raises(VideoNotFoundError, match="holds no clip"):
        archive.sync(clips)
    assert len(archive) == before


def test_a_damaged_long_video_keeps_what_is_there_and_says_so(model: Model, tmp_path: Path) -> None:
    path = noisy(tmp_path / "noisy.mp4")
    archive, found = Archive.build(tmp_path / "a", path, model=model, cutting=CUTTING)
    assert changes(found)["added"] == 1
    (facts,) = archive._store.clips().values()
    assert "damaged" in facts["warnings"]
    assert facts["windows"] == len(archive) > 2


def test_the_basis_follows_the_first_windows_as_long_as_they_are_few(
    clips: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_ROWS", 2)
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    assert archive._store.fitted > 2
    assert len(archive._store.rows("bases", ["number"])) == 1
    assert archive.verify() == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nothing", "there is no archive"),
        ("file", "is a file"),
        ("folder", "is no archive"),
        ("half", "is damaged"),
        ("future", "update a2m2_zoo"),
        ("record", "record cannot be read"),
        ("s3://127.0.0.1.no-such-bucket.invalid/a", "cannot be read"),
    ],
)
def test_what_is_no_archive_is_one_line(
    whole: Path, tmp_path: Path, uri: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x")
    Path("folder").mkdir()
    for name in ("half", "future", "record"):
        shutil.copytree(whole, name)
    shutil.rmtree("half/clips.lance")
    open_store("future").note(version=99)
    open_store("record").note(codec="none")
    with pytest.raises(A2M2Error, match=said) as caught:
        Archive.open(uri)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert not Path("nothing").exists()


def test_an_archive_of_another_model_is_refused(whole: Path, root: Path) -> None:
    with pytest.raises(ArchiveError, match="made by model 'tiny'"):
        Archive.open(whole, model=load_model(root / "other"))
    with pytest.raises(ArchiveError, match="with people"):
        Archive.open(whole, model=load_model(root / "tiny", pose=False))


def test_nothing_is_built_over_something_else(root: Path, model: Model, whole: Path) -> None:
    one = root / "videos" / "right"
    for place, said in (
        (root / "videos", "holds something else"),
        (one / "0.mp4", "is a file"),
        (whole, "there is an archive"),
    ):
        before = sorted(p for p in place.rglob("*")) if place.is_dir() else []
        with pytest.raises(ArchiveError, match=said):
            Archive.build(place, one, model=model)
        assert before == (sorted(p for p in place.rglob("*")) if place.is_dir() else [])


def test_one_process_writes_at_a_time(whole: Path, model: Model, root: Path) -> None:
    with locked(whole), pytest.raises(SaveError, match="another process"):
        Archive.open(whole, model=model).add(root / "videos")


def test_damage_is_found(whole: Path, model: Model, tmp_path: Path) -> None:
    uri = Path(shutil.copytree(whole, tmp_path / "a"))
    store = open_store(uri)
    some = store.clips()
    key = min(some)
    twice = store.rows("windows", store.table("windows").schema.names, where=f"key = '{key}'")
    store.table("windows").add(twice)
    store.table("clips").delete(f"key = '{max(some)}'")
    store.note(writing=True)
    problems = "\n".join(Archive.open(uri).verify())
    for said in ("half-written", "more windows than were written", "are there twice"):
        assert said in problems


def test_a_file_that_is_cut_off_is_found_without_advice_to_look_for_it(
    whole: Path, tmp_path: Path
) -> None:
    uri = Path(shutil.copytree(whole, tmp_path / "a"))
    largest = max(uri.rglob("*.lance"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    largest.write_bytes(largest.read_bytes()[:3000])
    (problem,) = Archive.open(uri).verify()
    assert "cannot be read" in problem
    assert "rustc" not in problem
    assert "look at it" not in problem
    assert main(["archive", "verify", str(uri)]) == 1


_FULL = """
import resource, sys
from pathlib import Path
from a2m2_zoo import load_model
from a2m2_zoo.archive import Archive
from a2m2_zoo.errors import SaveError
model = load_model(sys.argv[1])
archive, _ = Archive.build(sys.argv[3], sys.argv[2] + "/right", model=model)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
try:
    archive.add(sys.argv[2])
except SaveError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(Archive.open(sys.argv[3], model=model).add(sys.argv[2]).added)
print(Archive.open(sys.argv[3]).verify())
"""


@pytest.mark.skipif(os.name == "nt", reason="limits of files are POSIX's")
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(root: Path, tmp_path: Path) -> None:
    """Every file above 3,000 bytes fails, as it does where no space is left."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            _FULL,
            str(root / "tiny"),
            str(root / "videos"),
            str(tmp_path / "a"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said, added, problems = run.stdout.splitlines()
    assert "no space is left" in said, run.stderr
    assert (added, problems) == ("4", "[]")


def test_info_is_plain_values(whole: Path) -> None:
    told = json.loads(json.dumps(Archive.open(whole).info().to_dict()))
    assert told["cutting"] == {"whole": 2.0, "window": 1.0, "stride": 0.5}


def test_without_lancedb_one_line_says_what_to_install(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(DependencyError, match=r"a2m2_zoo\[archive\]"):
        Archive.open(whole)


def test_a_name_that_is_no_text_and_one_that_would_steer_a_terminal_are_kept(
    root: Path, model: Model, tmp_path: Path
) -> None:
    names = [os.fsdecode(b"\xff.mp4"), "it's\n\x1b[31m.mp4"]
    for i, name in enumerate(names):
        shutil.copy(root / "videos" / "right" / f"{i}.mp4", tmp_path / name)
    archive, _ = Archive.build(
        tmp_path / "a", [tmp_path / name for name in names], model=model, cutting=CUTTING
    )
    hits = archive.like(root / "videos" / "right" / "0.mp4")
    assert {hit.uri for hit in hits} == {str(tmp_path / name) for name in names}
    assert archive.verify() == []
