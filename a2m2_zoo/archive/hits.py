"""What an archive answers: places in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Hit:
    """A place in a video.

    Attributes:
        uri: The video.
        start: Where it begins, in seconds from the first frame.
        end: Where it ends; equal to ``start`` where the source has no clock.
        label: The class that it shows; empty for "more like this".
        score: Probability that it shows that class and not something else; for "more like this" the model's
            score of the pair.
        key: Hash of the video's content.
        rate: Frames of the video a second; 0 where it has no clock.
        poster: A small JPEG of its best window.
    """

    uri: str
    start: float
    end: float
    label: str
    score: float
    key: str
    rate: float = field(default=0.0, repr=False)
    poster: bytes = field(default=b"", repr=False)

    @property
    def place(self) -> str:
        """The video with the time as a media fragment, as browsers and players take it."""
        return fragment(self.uri, self.start, self.end)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the poster left out."""
        return {
            "uri": self.uri,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "score": self.score,
            "key": self.key,
        }


def fragment(uri: str, start: float, end: float) -> str:
    """A place in a video as one name: the W3C's media fragment.

    >>> fragment("/videos/a.mp4", 2.0, 4.5), fragment("/clips/b", 0.0, 0.0)
    ('/videos/a.mp4#t=2,4.5', '/clips/b')
    """
    return f"{uri}#t={start:g},{end:g}" if end > start else uri


def merged(hits: Iterable[Hit], count: int, *, share: float = 0.5) -> list[Hit]:
    """The best hits, those of one video and class that overlap taken together.

    A window that overlaps a better place belongs to it: it makes the place longer where it is nearly as good,
    and says nothing new where it is not.

    Args:
        hits: Best first.
        count: How many to give.
        share: Of a place's score, from which on a window makes it longer.

    >>> window = Hit("a.mp4", 0.0, 2.0, "wave", 0.9, "k")
    >>> later = replace(window, start=1.0, end=3.0, score=0.5)
    >>> weak = replace(window, start=2.0, end=4.0, score=0.1)
    >>> [(hit.start, hit.end, hit.score) for hit in merged([window, later, weak], 9)]
    [(0.0, 3.0, 0.9)]
    """
    found: list[Hit] = []
    at: dict[tuple[str, str], list[int]] = {}
    for hit in hits:
        home = at.setdefault((hit.key, hit.label), [])
        near = [i for i in home if hit.start < found[i].end and found[i].start < hit.end]
        if not near:
            home.append(len(found))
            found.append(hit)
        elif hit.score >= share * found[near[0]].score:
            best, joined = found[near[0]], [hit, *(found[i] for i in near)]
            start, end = min(h.start for h in joined), max(h.end for h in joined)
            found[near[0]] = replace(best, start=start, end=end)
            for i in near[1:]:  # it has joined two places
                home.remove(i)
                found[i] = replace(found[i], key="")
    return [hit for hit in found if hit.key][:count]
