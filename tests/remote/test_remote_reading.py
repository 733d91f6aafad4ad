"""Clips at addresses are the clips that they are on a disk."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from remote.alike import SPEC, same
from web import Bucket, Web, forget

from a2m2_zoo._utils.remote import reading
from a2m2_zoo._utils.remote.addresses import RemotePath, place, without_secrets
from a2m2_zoo.data.index import class_folders, find_clips
from a2m2_zoo.errors import (
    VideoError,
    VideoLimitError,
    VideoNotFoundError,
)
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.recognition.records import contents
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.video import Limits, read_clip
from a2m2_zoo.video.content import content_hash


@pytest.mark.parametrize("name", ["0.mp4", "1.mkv", "2.avi", "3.ts"])
def test_a_clip_of_a_server_is_the_clip_of_the_disk(web: Web, work: Path, name: str) -> None:
    same(web.url(name), work / "clips" / name)


@pytest.mark.parametrize("name", ["0.mp4", "1.mkv", "2.avi", "3.ts"])
def test_so_it_is_by_ranges(web: Web, work: Path, in_pieces: None, name: str) -> None:
    same(web.url(name), work / "clips" / name)
    assert any(part and not part.startswith("bytes=0-") for _, _, part in web.seen)


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("stamped", [True, False])
def test_so_it_is_without_ranges(
    web: Web, work: Path, in_pieces: None, sizes: bool, stamped: bool
) -> None:
    web.ranges, web.sizes, web.stamped = False, sizes, stamped
    same(web.url("0.mp4"), work / "clips" / "0.mp4")


def test_so_it_is_in_a_bucket(s3: Bucket, work: Path) -> None:
    folder = s3.put_folder(work / "clips", "some")
    for file in (work / "clips").iterdir():
        same(f"{folder}/{file.name}", file)


def test_so_it_is_in_a_bucket_by_ranges(s3: Bucket, work: Path, in_pieces: None) -> None:
    same(s3.put("pieces/0.mp4", (work / "clips" / "0.mp4").read_bytes()), work / "clips" / "0.mp4")


def test_small_objects_are_fetched_once(web: Web) -> None:
    content_hash(web.url("0.mp4"))
    read_clip(web.url("0.mp4"), SPEC)
    assert [method for method, _, _ in web.seen].count("GET") == 1
    web.files["0.mp4"] = web.files["1.mkv"]  # and anew when they have changed
    assert content_hash(web.url("0.mp4")) == content_hash(web.url("1.mkv"))


def test_contents_are_fetched_several_at_once_and_come_in_order(web: Web) -> None:
    names = sorted(web.files)
    together = threading.Barrier(len(names), timeout=120)  # all of them are asked for, or it fails
    web.change = together.wait
    found = list(contents([place(web.url(name)) for name in names]))
    expected = [hashlib.sha256(web.files[name]).hexdigest() for name in names]
    assert [(clip.name, content) for clip, content in found] == list(
        zip(names, expected, strict=True)
    )


def test_folders_of_a_bucket_are_folders(s3: Bucket, work: Path, tmp_path: Path) -> None:
    supports = s3.put_folder(work / "supports", "supports")
    s3.put("supports/notes.txt", b"no clip")
    found = class_folders(supports)
    assert {name: [str(clip) for clip in clips] for name, clips in found.items()} == {
        name: [f"{supports}/{name}/{i}.mp4" for i in range(2)] for name in ("back", "right")
    }
    every = find_clips(f"{supports}/").clips
    assert [clip.name for clip in every] == ["0.mp4", "1.mp4"] * 2
    assert find_clips(f"{supports}/back/0.mp4").clips == (place(f"{supports}/back/0.mp4"),)


def test_a_folder_of_pictures_is_a_clip_there_too(s3: Bucket, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(12):
        Image.new("RGB", (64, 64), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
    folder = s3.put_folder(tmp_path, "frames")
    assert find_clips(folder).clips == (place(folder),)
    same(folder, tmp_path)


def test_connections_that_break_are_taken_up_again(web: Web, work: Path) -> None:
    web.cut, web.cuts = 1000, 2
    same(web.url("0.mp4"), work / "clips" / "0.mp4")
    web.cut, web.cuts = 3_000_000, 5
    web.files["long.mp4"] = os.urandom(10_000_000)
    assert content_hash(web.url("long.mp4")) == hashlib.sha256(web.files["long.mp4"]).hexdigest()
    starts = [part for method, path, part in web.seen if method == "GET" and path == "/long.mp4"]
    assert len(starts) > 3  # more attempts than are made without getting on
    assert starts[0] is None
    assert all(part and not part.startswith("bytes=0-") for part in starts[1:])


def test_names_and_passwords_come_from_netrc(
    web: Web, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.word = ("me", "word")
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password word\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    same(web.url("0.mp4"), work / "clips" / "0.mp4")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_connections(web: Web, work: Path) -> None:
    same(web.url("0.mp4"), work / "clips" / "0.mp4")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # from Python 3.12 on: there are threads
        child = os.fork()
    if child == 0:
        try:
            same(web.url("1.mkv"), work / "clips" / "1.mkv")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_of_objects_may_look_like_anything(s3: Bucket, work: Path) -> None:
    file = work / "clips" / "0.mp4"
    for name in ("what?.mp4", "50%.mp4", "a b#1.mp4", "é.mp4", "hf@x:y.mp4"):
        assert without_secrets(f"s3://clips/{name}") == f"s3://clips/{name}"
        same(s3.put(f"odd/{name}", file.read_bytes()), file)
    assert len(find_clips("s3://clips/odd").clips) == 5


def test_addresses_are_paths() -> None:
    path = place("s3://bucket/folder/a.mp4")
    assert isinstance(path, RemotePath)
    assert (path.name, path.stem, path.suffix) == ("a.mp4", "a", ".mp4")
    assert (
        str(path.parent / "b.mp4")
        == os.fspath(path.with_name("b.mp4"))
        == "s3://bucket/folder/b.mp4"
    )
    assert place(Path("s3://bucket/folder/a.mp4")) == path  # which has lost a slash
    assert path.relative_to(place("s3://bucket")).as_posix() == "folder/a.mp4"
    assert path.absolute() == path.resolve() == path
    assert not isinstance(place("folder/s3/a.mp4"), RemotePath)


def test_names_of_files_lead_to_no_server(
    web: Web, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that somebody unpacked may be called ``http:``."""
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "http:" / web.address.removeprefix("http://")
    inside.mkdir(parents=True)
    file = inside / "0.mp4"
    file.write_bytes((work / "clips" / "1.mkv").read_bytes())
    for given in (".", "http:", Path("http:")):
        [clip] = find_clips(given).clips
        assert np.array_equal(read_clip(clip, SPEC).frames, read_clip(file, SPEC).frames)
        assert content_hash(clip) == content_hash(file)
        file.unlink()
        with pytest.raises(VideoNotFoundError):
            read_clip(clip, SPEC)
        file.write_bytes((work / "clips" / "1.mkv").read_bytes())
    assert not web.seen
    same(web.url("0.mp4"), work / "clips" / "0.mp4")  # said in full, it is the server's


def test_a_long_video_is_read_by_ranges(web: Web, work: Path, in_pieces: None) -> None:
    there = [(at, frame.to_ndarray()) for frame, at in open_video_file(web.url("0.mp4"))]
    here = [(at, frame.to_ndarray()) for frame, at in open_video_file(work / "clips" / "0.mp4")]
    assert len(there) == len(here) == 6
    assert all(a == b and np.array_equal(x, y) for (a, x), (b, y) in zip(there, here, strict=True))


def test_a_long_video_is_given_as_far_as_it_came(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WHOLE", 0)
    monkeypatch.setattr(reading, "_BLOCK", 20_000)
    plain = b"YUV4MPEG2 W64 H64 F15:1 Ip A1:1 C420jpeg\n"
    web.files["long.y4m"] = plain + 100 * (b"FRAME\n" + os.urandom(64 * 64 * 3 // 2))
    frames = iter(open_video_file(web.url("long.y4m"), Limits(megabytes=0.1)))  # of what is held
    next(frames)
    web.status = 500
    found = []
    with pytest.raises(VideoError, match=r"long\.y4m: after \d+\.\d s: the server failed \(500\)"):
        found.extend(frames)
    assert not found or len(found) < 99
    web.status, web.ranges = None, False
    forget()
    with pytest.raises(VideoLimitError, match="limit is 100,000 bytes"):
        open_video_file(web.url("long.y4m"), Limits(megabytes=0.1))


def test_what_is_known_of_a_version_is_remembered(web: Web, tmp_path: Path) -> None:
    file = tmp_path / "clips.jsonl"
    first = Identities(file)
    found = first.of(place(web.url("0.mp4")))
    first.save()
    forget()
    web.seen.clear()
    assert Identities(file).of(place(web.url("0.mp4"))) == found
    assert not any(method == "GET" for method, _, _ in web.seen)
    web.files["0.mp4"] = web.files["1.mkv"]
    assert Identities(file).of(place(web.url("0.mp4"))) != found
    web.stamped = False  # nothing says whether it changed
    other = Identities(tmp_path / "other.jsonl")
    other.of(place(web.url("0.mp4")))
    other.save()
    assert not (tmp_path / "other.jsonl").exists()
