"""One run over a list of clips: find what is missing, decode, encode, write."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias, cast

from torch import Tensor

from a2m2_zoo.errors import A2M2Error, SaveError, VideoError
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.features.shards import Shards
from a2m2_zoo.video import Clip

#: A shard is written when it has one of these; so this much is lost at most to a crash.
SHARD_CLIPS = 32
SHARD_BYTES = 64 << 20
SHARD_SECONDS = 20.0

#: Decodes clips as they are asked for, in order, errors in their place.
Read: TypeAlias = Callable[[Iterable[Path]], Iterator[Clip | A2M2Error]]


class Filling:
    """What one call of ``FeatureCache.fill`` keeps track of.

    Args:
        clips: The clips to have in the end.
        shards: Where they go.
        identities: What they are.
        encode: Clips to tensors by name, for each clip.
        progress: Called with the number of clips done and of all clips.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        *,
        shards: Shards,
        identities: Identities,
        encode: Callable[[Sequence[Clip]], list[dict[str, Tensor]]],
        progress: Callable[[int, int], None],
    ) -> None:
        self._clips = clips
        self._shards = shards
        self._identities = identities
        self._encode = encode
        self._progress = progress
        self._done = 0
        self._names: dict[str, list[Path]] = {}  # identity → every name it was given by
        self._waiting: deque[str] = deque()  # being decoded, in order
        self._decoded: list[tuple[str, Clip]] = []
        self._encoded: dict[str, dict[str, Tensor]] = {}
        self._written = time.monotonic()
        self._unreadable: dict[Path, str] = {}
        self._failed: dict[str, str] = {}

    def __call__(self, read: Read, *, batch: int) -> dict[Path, str]:
        """Do it; clip → reason for those that failed."""
        try:
            # Closed at once, also on Ctrl-C, so that no decoder runs on while the rest is written.
            with closing(
                cast("Generator[Clip | A2M2Error, None, None]", read(self._absent()))
            ) as clips:
                for clip in clips:
                    identity = self._waiting.popleft()
                    if isinstance(clip, A2M2Error):
                        self._fail(identity, str(clip))
                        continue
                    self._decoded.append((identity, clip))
                    if len(self._decoded) == batch:
                        self._encode_decoded()
            self._encode_decoded()
        finally:
            self._write()
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
            if identity in self._shards or len(names) > 1:
                self._step()
                continue
            self._waiting.append(identity)
            yield clip

    def _encode_decoded(self) -> None:
        if not self._decoded:
            return
        made = self._encode([clip for _, clip in self._decoded])
        for (identity, clip), tensors in zip(self._decoded, made, strict=True):
            if all(tensor.isfinite().all() for tensor in tensors.values()):
                self._encoded[identity] = tensors
                self._step()
            else:
                self._fail(
                    identity,
                    f"{clip.source}: its features are not finite; check the backbone, and in half "
                    "precision try full",
                )
        self._decoded.clear()
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

    def _fail(self, identity: str, reason: str) -> None:
        self._failed[identity] = reason
        self._step()

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, len(self._clips))
