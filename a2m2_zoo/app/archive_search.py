"""An archive on the page: where a visitor's classes are seen in it, and how those places are played."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo.errors import ArgumentError, EpisodeError, VideoError
from a2m2_zoo.spotting import Segment

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine
    from a2m2_zoo.app.session import Session
    from a2m2_zoo.archive import Hit

#: Places of one class.
MOST = 30
_NO_CLOCK = 10.0  # seconds


def search(engine: Engine, session: Session, count: object) -> list[Hit]:
    """Where the visitor's classes are seen, kept with the visitor.

    Args:
        engine: With an archive.
        session: The visitor.
        count: Places of each class.

    Raises:
        EpisodeError: There is no class yet.
        ArgumentError: ``count`` is out of range.
    """
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not 1 <= count <= MOST:
        raise ArgumentError(f"the number of places is {count!r}; expected 1 to {MOST}")
    if session.bank is None:
        raise EpisodeError("there is no class; add one with a few examples, or try the drawn clips")
    session.hits = engine.find(session.bank, int(count))
    return session.hits


def play(engine: Engine, session: Session, rank: int) -> Path:
    """The place as a clip of its own, in the visitor's folder.

    Args:
        engine: With an archive.
        session: The visitor.
        rank: Of the place among those found, from 0.

    Raises:
        ArgumentError: There is no such place any more.
        VideoError: Its video is not on this machine.
    """
    if not 0 <= rank < len(session.hits):
        raise ArgumentError("these places are of an earlier question; search again")
    hit = session.hits[rank]
    if not Path(hit.uri).is_file():
        raise VideoError(
            f"{Path(hit.uri).name}: the video is not on the machine that runs this page"
        )
    # A clip without a clock is played from its beginning.
    end = hit.end if hit.end > hit.start else hit.start + _NO_CLOCK
    segment = Segment(hit.start, end, hit.label, hit.score)
    return engine.cut(hit.uri, segment, session.new_file("place", ".mp4"))
