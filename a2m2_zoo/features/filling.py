"""One run over a list of clips: find what is missing, decode, encode, write."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

from torch import Tensor

from a2m2_zoo.engine import Make, Ray, Work, run_keyed
from a2m2_zoo.errors import A2M2Error, SaveError, VideoError
from a2m2_zoo.features.encoder import Made
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.features.shards import Shards

#: A shard is written when it has one of these; so this much is lost at most to a crash.
SHARD_CLIPS = 32
SHARD_BYTES = 64 << 20
SHARD_SECONDS = 20.0


class Filling:
    """What one call of ``FeatureCache.fill`` keeps track of.

    Args:
        clips: The clips to have in the end.
        shards: Where they go.
        identities: What they are.
        progress: Called with the number of clips done and of all clips.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        *,
        shards: Shards,
        identities: Identities,
        progress: Callable[[int, int], None],
    ) -> None:
        self._clips = clips
        self._shards = shards
        self._identities = identities
        self._progress = progress
        self._done = 0
        self._names: dict[str, list[Path]] = {}  # identity → every name it was given by
        self._waiting: deque[str] = deque()  # being decoded, in order
        self._encoded: dict[str, dict[str, Tensor]] = {}
        self._written = time.monotonic()
        self._unreadable: dict[Path, str] = {}
        self._failed: dict[str, str] = {}

    def here(self, work: Work[Path, Made]) -> dict[Path, str]:
        """Do it in this process; clip → reason for those that failed."""
        try:
            with closing(cast("Generator[Made, None, None]", work(self._absent()))) as made:
                for one in made:
                    self._keep(self._waiting.popleft(), one)
        finally:
            self._write()
        return self._reasons()

    def far(
        self, make: Make[Path, Made], *, known: frozenset[bytes], engine: Ray
    ) -> dict[Path, str]:
        """Do it on a cluster, whose machines also hash the clips; clip → reason for those that failed."""
        try:
            for place, found in run_keyed(self._clips, make, known=known, engine=engine):
                clip = self._clips[place]
                if found.key is None or isinstance(found.result, A2M2Error):
                    self._unreadable[clip] = str(found.result)
                    self._step()
                    continue
                names = self._names.setdefault(found.key, [])
                names.append(clip)
                if found.known or (len(names) > 1 and found.key not in self._failed):
                    self._step()
                else:
                    assert found.result is not None
                    self._keep(found.key, found.result)
        finally:
            self._write()
        return self._reasons()

    def _reasons(self) -> dict[Path, str]:
        reasons = dict(self._unreadable)
        for identity, why in self._failed.items():
            reasons |= dict.fromkeys(self._names[identity], why)
        return {clip: reasons[clip] for clip in self._clips if clip in reasons}

    def _absent(self) -> Iterator[Path]:
        """The clips to decode, drawn as they are needed: each is hashed just before it is decoded."""
        for clip in self._clips:
            try:
                identity = self._identities.of(clip)
            except VideoError as error:
                self._unreadable[clip] = str(error)
                self._step()
                continue
            names = self._names.setdefault(identity, [])
            names.append(clip)
            if len(names) > 1 or self._shards.holds(identity):
                self._step()
                continue
            self._waiting.append(identity)
            yield clip

    def _keep(self, identity: str, made: Made) -> None:
        if isinstance(made, str):
            self._failed[identity] = made
        else:
            self._failed.pop(identity, None)
            self._encoded[identity] = made
        self._step()
        size = sum(t.nbytes for tensors in self._encoded.values() for t in tensors.values())
        late = time.monotonic() - self._written > SHARD_SECONDS
        if len(self._encoded) >= SHARD_CLIPS or size >= SHARD_BYTES or late:
            self._write()

    def _write(self) -> None:
        if self._encoded:
            try:
                self._shards.write(self._encoded)
            except SaveError:
                self._encoded.clear()  # Once is enough; Ctrl-C instead leaves them for another try.
                raise
            self._encoded.clear()
        self._identities.save()
        self._written = time.monotonic()

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, len(self._clips))
