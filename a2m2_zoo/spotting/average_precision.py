"""Average precision of segments, by the definition of the ActivityNet challenge.

Caba Heilbron, Escorcia, Ghanem and Niebles, "ActivityNet: A Large-Scale Video Benchmark for Human Activity
Understanding" (CVPR 2015): per class, segments in the order of their scores are matched to true segments at
a temporal intersection over union; precision is made monotone and integrated over recall.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.spotting.segments import Segment


def temporal_iou(one: Segment, other: Segment) -> float:
    """Intersection over union of two stretches of time.

    >>> temporal_iou(Segment(0, 2, "a", 1), Segment(1, 3, "a", 1))
    0.3333333333333333
    """
    shared = min(one.end, other.end) - max(one.start, other.start)
    union = (one.end - one.start) + (other.end - other.start) - shared
    return max(shared, 0.0) / union if union > 0 else 0.0


def average_precision(
    found: Sequence[Segment], truth: Sequence[Segment], *, overlap: float = 0.5
) -> float:
    """Average precision of the segments of one class in one video.

    Args:
        found: What was found; equal scores keep their order.
        truth: What there is, at least one.
        overlap: Temporal intersection over union from which a segment is a hit. A true segment can be hit
            once; further segments on it are misses.

    Raises:
        ArgumentError: There is no true segment.
    """
    if not truth:
        raise ArgumentError("there is no true segment; precision over recall needs one or more")
    used: set[int] = set()
    hits = []
    for segment in sorted(found, key=lambda s: -s.probability):
        ious = [temporal_iou(segment, other) for other in truth]
        free = [(iou, -i) for i, iou in enumerate(ious) if iou >= overlap and i not in used]
        hits.append(bool(free))
        if free:
            used.add(-max(free)[1])
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / len(truth)
    envelope = np.maximum.accumulate(np.asarray(precision)[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def mean_average_precision(
    found: Sequence[Segment], truth: Sequence[Segment], *, overlap: float = 0.5
) -> float:
    """Mean of the average precision over the classes in ``truth``; unknown stretches are no class."""
    labels = sorted({segment.label for segment in truth if segment.known})
    return float(
        np.mean(
            [
                average_precision(
                    [s for s in found if s.known and s.label == label],
                    [s for s in truth if s.known and s.label == label],
                    overlap=overlap,
                )
                for label in labels
            ]
        )
    )
