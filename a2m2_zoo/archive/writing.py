"""Rows into an archive's tables: many at a time, each clip after its windows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo.archive.codec import PIECE, Codec
from a2m2_zoo.archive.rows import ClipRows, Window
from a2m2_zoo.archive.schemas import vector_column
from a2m2_zoo.archive.store import Store
from a2m2_zoo.archive.vectors import Basis

if TYPE_CHECKING:
    import pyarrow as pa

    from a2m2_zoo.recognition.model import Model

_ROWS = 256  # windows that are written together
_SECONDS = 5.0  # and no later than this
_ENOUGH = 1024  # windows that a basis is fitted to at last


class Writer:
    """Takes the rows of clips, as they come, and writes them: what one machine, or the last of many, does.

    A clip's windows may be in the archive before the clip is; it counts once ``end_clip`` was written.

    Args:
        store: The archive's tables; its lock is held by the caller.
        model: That made the descriptors.
        codec: The archive's.
    """

    def __init__(self, store: Store, model: Model, codec: Codec) -> None:
        self._store, self._model, self._codec = store, model, codec
        self._rows: list[tuple[str, Window]] = []
        self._clips: list[tuple[ClipRows, int]] = []
        self._written = time.monotonic()
        self._fitted = store.fitted if store.basis is not None else 0
        self._count = store.count

    def put(self, clip: ClipRows) -> None:
        """All of a clip at once."""
        for window in clip.windows:
            self.window(clip.key, window)
        self.end_clip(clip, len(clip.windows))

    def window(self, key: str, window: Window) -> None:
        """One window of the clip called ``key``."""
        self._rows.append((key, window))
        if len(self._rows) >= _ROWS or time.monotonic() > self._written + _SECONDS:
            self.flush()

    def end_clip(self, clip: ClipRows, windows: int) -> None:
        """All windows of a clip were given."""
        self._clips.append((clip, windows))

    def flush(self) -> None:
        """Write what was given: windows first, then the clips that are whole with them."""
        if self._rows:
            packed = [window.descriptors for _, window in self._rows]
            basis = self._store.basis
            if basis is None:
                basis, self._fitted = self._fit(packed), len(packed)
                self._store.rebase(basis, None, windows=self._fitted)
            self._store.add_windows(self._rows, self._vectors(basis, packed))
            self._count += len(self._rows)
            self._rows = []
        if self._clips:
            self._store.add_clips(*map(list, zip(*self._clips, strict=True)))
            self._clips = []
        if self._count >= 2 * self._fitted and 0 < self._fitted < _ENOUGH:
            self._refit()
        self._written = time.monotonic()

    def _refit(self) -> None:
        """A basis that more windows were seen for, as long as all of them are few."""
        rows = self._store.rows("windows", self._store.table("windows").schema.names)
        packed = rows["descriptors"].to_pylist()
        basis, self._fitted = self._fit(packed), len(packed)
        at = rows.schema.get_field_index("vector")
        made: pa.Table = rows.set_column(at, "vector", vector_column(self._vectors(basis, packed)))
        self._store.rebase(basis, made, windows=self._fitted)

    def _fit(self, packed: list[bytes]) -> Basis:
        return Basis.fit(self._model.method, self._unpacked(packed))

    def _vectors(self, basis: Basis, packed: list[bytes]) -> np.ndarray[Any, Any]:
        found = [basis.vectors(self._model.method, some) for some in self._unpacked(packed)]
        vectors: np.ndarray[Any, Any] = torch.cat(found).half().numpy()
        return vectors

    def _unpacked(self, packed: list[bytes]) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(packed), PIECE):
            yield self._codec.unpack(packed[start : start + PIECE])
