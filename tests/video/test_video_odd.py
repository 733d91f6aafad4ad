"""Odd files: the frames taken are those that a plain decode from the first packet gives."""

from __future__ import annotations

import av
import numpy as np
import pytest
from odd_films import CORPUS
from odd_maker import full_decode
from video_maker import number

from a2m2_zoo.video import Preprocess, read_clip, segment_centres
from a2m2_zoo.video.decoder import Decoder
from a2m2_zoo.video.preprocess import Resizer

SPECS = [Preprocess(frames=frames, size=64, crop="stretch") for frames in (1, 8, 13)]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Makes each film once."""
    folder, done = tmp_path_factory.mktemp("odd"), {}

    def get(name: str):
        if name not in done:
            try:
                done[name] = CORPUS[name].make(folder / name)
            except av.codec.codec.UnknownCodecError as error:
                pytest.skip(f"this PyAV cannot encode {error}")
        return done[name]

    return get


@pytest.mark.parametrize("name", CORPUS)
def test_the_frames_of_odd_files_are_those_of_a_full_decode(films, name, monkeypatch):
    path, expected = films(name), CORPUS[name]
    resize = Resizer(SPECS[0])
    frames = [np.array(resize(frame)) for frame in full_decode(path, expected.stream)]
    assert len(frames) == (expected.frames or len(frames)) > 0
    if expected.readable and expected.frames:
        assert [number(frame) for frame in frames] == [
            expected.numbers(index) for index in range(len(frames))
        ]
    fed = []
    feed = Decoder._feed
    monkeypatch.setattr(
        Decoder, "_feed", lambda self, packet: fed.append(packet) or feed(self, packet)
    )
    for spec in SPECS:
        clip = read_clip(path, spec)
        assert clip.count == len(frames)
        if expected.steady:
            assert clip.indices == segment_centres(len(frames), spec.frames)
        for index, frame in zip(clip.indices, clip.frames, strict=True):
            assert (frame == frames[index]).all()
        if expected.warning:
            assert any(expected.warning in warning for warning in clip.warnings), clip.warnings
        elif expected.frames:
            assert clip.warnings == ()
        if expected.quick and spec.frames == 1:
            assert len(fed) <= 2 * len(frames) // 3
