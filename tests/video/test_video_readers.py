"""The other readers give the same clips, or say what to install."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from video_maker import SPEC, make, number

from a2m2_zoo.errors import DependencyError, VideoError, VideoLimitError
from a2m2_zoo.video import Limits, read_clip

READERS = {"decord": "decord", "torchcodec": "torchcodec.decoders"}


@pytest.mark.parametrize("reader", READERS)
def test_same_clip(tmp_path, reader):
    path = make(tmp_path / "video.mp4", gop=20)
    try:
        clip = read_clip(path, SPEC, reader=reader)
    except DependencyError as error:
        pytest.skip(str(error))
    own = read_clip(path, SPEC)
    assert (clip.indices, clip.count, clip.source) == (own.indices, own.count, own.source)
    assert clip.times == pytest.approx(own.times, abs=2e-3)
    assert [number(frame) for frame in clip.frames] == list(own.indices)
    assert np.abs(clip.frames.astype(int) - own.frames).mean() < 3
    with pytest.raises(VideoLimitError):
        read_clip(path, SPEC, reader=reader, limits=Limits(frames=10))
    path.write_bytes(b"text" * 100)
    with pytest.raises(VideoError, match="not a video"):
        read_clip(path, SPEC, reader=reader)


@pytest.mark.parametrize("reader", READERS)
def test_absent_reader_says_what_to_install(tmp_path, reader, monkeypatch):
    monkeypatch.setitem(sys.modules, READERS[reader], None)
    with pytest.raises(DependencyError) as caught:
        read_clip(make(tmp_path / "video.mp4", count=3), SPEC, reader=reader)
    assert f'pip install "a2m2_zoo[{reader}]"' in str(caught.value)


def test_a_reader_that_does_not_load_says_why(tmp_path, monkeypatch):
    (tmp_path / "decord.py").write_text("raise OSError('libavcodec is missing\\nand more')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "decord", raising=False)
    with pytest.raises(DependencyError, match=r"does not load \(libavcodec is missing\)"):
        read_clip(make(tmp_path / "video.mp4", count=3), SPEC, reader="decord")


def test_a_reader_that_fails_in_its_own_way(tmp_path, monkeypatch):
    class Decord:
        @staticmethod
        def VideoReader(*_args, **_kwargs):
            raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(sys.modules, "decord", Decord)
    with pytest.raises(VideoError, match=r"decord cannot read it: first line$"):
        read_clip(make(tmp_path / "video.mp4", count=3), SPEC, reader="decord")


def test_the_import_is_light():
    code = (
        "import sys, a2m2_zoo.video as v; v.read_clip;"
        "print([m for m in ('torch', 'decord', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
