"""Decoded clips as a model takes them."""

from __future__ import annotations

from typing import Any

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video import Clip


def check_clips(clips: Any) -> None:
    """Refuse what is no list of decoded clips, above all the path of one that is not decoded."""
    expected = (
        "decoded clips, [read_clip(path, model.preprocess)] with read_clip from a2m2_zoo.video; "
        "build_bank and classify take paths"
    )
    if not isinstance(clips, (list, tuple)):
        raise ArgumentError(f"encode was given {kind(clips)}; expected {expected}")
    if not clips:
        raise ArgumentError(f"encode was given no clip; expected {expected}")
    for clip in clips:
        if not isinstance(clip, Clip):
            raise ArgumentError(f"encode was given a list with {kind(clip)}; expected {expected}")
    sizes = sorted({clip.frames.shape for clip in clips})
    if len(sizes) > 1:
        raise ArgumentError(
            f"clips of shapes {sizes[0]} and {sizes[1]}; read all with one Preprocess"
        )
