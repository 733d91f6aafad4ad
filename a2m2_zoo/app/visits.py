"""All visitors of the page: who is there, who was forgotten."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from a2m2_zoo.app.session import LOST, Session
from a2m2_zoo.app.store import ANYONE, owner_of
from a2m2_zoo.errors import ArgumentError

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine


class Sessions:
    """All visitors.

    Args:
        engine: What computes for them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, Session] = {}
        self._gone: deque[str] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def of(self, key: str | None) -> Session:
        """The session of a visitor, a new one for who is new; whoever was away longest makes room.

        Raises:
            ArgumentError: The visitor was forgotten.
        """
        oldest = None
        with self._lock:
            if not key or key in self._gone:
                raise ArgumentError(LOST)
            if key not in self._held:
                if len(self._held) >= self._engine.limits.sessions:
                    oldest = min(self._held, key=lambda k: self._held[k].used)
                self._held[key] = Session(self._engine, key)
            found = self._held[key]
            found.used = time.monotonic()
        self.drop(oldest)
        return found

    def still(self, key: str | None) -> Session | None:
        """``of``, and None for a visitor who was forgotten: what the page asks by itself is not an error."""
        try:
            return self.of(key)
        except ArgumentError:
            return None

    def drop(self, key: str | None) -> None:
        """Forget a session; with the last one of a visitor goes what they sent and never used."""
        if not key:
            return
        with self._lock:
            self._gone.append(key)  # what it still asks is answered by nobody
            session = self._held.pop(key, None)
        if session is not None:
            session.close()
        owner = owner_of(key)
        with self._lock:
            here = any(owner_of(other) == owner for other in self._held)
        # Of no one in particular nobody knows when they are gone: their files go by age.
        if owner != ANYONE and not here:
            self._engine.store.forget_unused(owner)

    def sweep(self, now: float | None = None) -> None:
        """Forget visitors and delete files that nobody touched for long.

        Args:
            now: Seconds on the clock of files (``time.time``), for those who test.
        """
        age = 60 * self._engine.limits.minutes
        clock = time.time() if now is None else now
        shift = clock - time.time()
        with self._lock:
            late = time.monotonic() + shift - age
            old = [key for key, session in self._held.items() if session.used < late]
        for key in old:
            self.drop(key)
        self._engine.store.sweep(clock - age)
