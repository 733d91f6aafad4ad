"""Finding actions in long video and live streams: when each begins and ends, and which it is."""

from __future__ import annotations

from a2m2_zoo.spotting.segments import UNKNOWN, Rule, Segment, Segmenter
from a2m2_zoo.spotting.spot import iter_spot, spot
from a2m2_zoo.spotting.stream import Stream, default_threshold
from a2m2_zoo.spotting.windows import Grid, Window, make_grid, window_lengths

__all__ = [
    "UNKNOWN",
    "Grid",
    "Rule",
    "Segment",
    "Segmenter",
    "Stream",
    "Window",
    "default_threshold",
    "iter_spot",
    "make_grid",
    "spot",
    "window_lengths",
]
