"""Clips that are known by their content: each key's work is done where it was not done before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from a2m2_zoo.engine.place import Engine, Make, Work
from a2m2_zoo.engine.run import run
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.video.content import content_or_none

R = TypeVar("R")


@dataclass(frozen=True)
class Keyed(Generic[R]):
    """A clip, by its content, and what came of it.

    Attributes:
        key: The hash of its content, see ``content_hash``; None where it cannot be read.
        known: Whether the key was known, and nothing was done.
        result: What came of it; None where it was known.
    """

    key: str | None
    known: bool = False
    result: R | A2M2Error | None = None


def run_keyed(
    clips: Iterable[Path], make: Make[Path, R], *, known: frozenset[bytes], engine: Engine = None
) -> Iterator[tuple[int, Keyed[R]]]:
    """What ``run`` gives, with keys; a clip whose key is known is hashed, where the worker is, and left.

    Two clips of one content that is not known are both worked on.

    Args:
        clips: The clips.
        make: Makes the work.
        known: Keys, as bytes. They go to each machine once.
        engine: Where, see ``run``, which also says what is raised.
    """
    for place, found in run(clips, MakeKeyed(make, known), engine=engine):
        yield place, Keyed(None, result=found) if isinstance(found, A2M2Error) else found


@dataclass(frozen=True)
class MakeKeyed(Generic[R]):
    """Makes work that looks at the keys first."""

    make: Make[Path, R]
    known: frozenset[bytes]

    def __call__(self) -> Work[Path, Keyed[R]]:
        """The work."""
        work = self.make()

        def keyed(clips: Iterable[Path]) -> Iterator[Keyed[R]]:
            waiting: deque[Keyed[R]] = deque()  # in order

            def absent() -> Iterator[Path]:
                for clip in clips:
                    key = content_or_none(clip)
                    known = key is not None and bytes.fromhex(key) in self.known
                    waiting.append(Keyed(key, known=known))
                    if not known:
                        yield clip

            for result in work(absent()):
                while waiting[0].known:
                    yield waiting.popleft()
                yield Keyed(waiting.popleft().key, result=result)
            yield from waiting

        return keyed
