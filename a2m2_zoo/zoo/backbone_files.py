"""Where the weights of a model's backbone lie: named by the manifest, or in a file beside the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones import (
    Backbone,
    ClipText,
    build_backbone,
    build_text,
    has_text,
    needed_keys,
    split,
)
from a2m2_zoo.backbones.bounds import weights_of
from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.manifest import Manifest
from a2m2_zoo.hub.source import HF
from a2m2_zoo.recognition.text import TextTower

#: Bytes of a backbone's file on this machine, which may be joined of several of the Hub.
MAX_WEIGHTS = 32 << 30


@dataclass(frozen=True)
class BackboneFile:
    """Where a backbone's weights lie, and what is said of them.

    Attributes:
        name: Of the weights in the manifest, or the architecture.
        architecture: Name that ``build_backbone`` knows.
        path: Their file; None for those that the architecture is built with.
        sha256: Its hash.
        beside: What it is called beside a checkpoint; None where the manifest names it.
        config: What else ``build_backbone`` needs.
    """

    name: str
    architecture: str
    path: Path | None
    sha256: str
    beside: str | None = None
    config: Mapping[str, Any] | None = None

    @apart
    def build(self) -> Backbone:
        """The network, on the CPU."""
        if self.path is None:
            return build_backbone(self.architecture)
        weights = self._weights(text=False)
        library, _ = split(self.architecture)
        numbers = sum(value.numel() for value in weights.values()) if library else 1 << 60
        with weights_of(numbers, self.path.name):
            return build_backbone(
                self.architecture, weights=weights, adopt=True, config=self.config
            )

    def text(self) -> TextTower | None:
        """The text tower in the same file, read when it is first asked."""
        return TextTower(self._build_text) if has_text(self.architecture) else None

    @apart
    def _build_text(self) -> ClipText:
        return build_text(self.architecture, weights=self._weights(text=True), adopt=True)

    def _weights(self, *, text: bool) -> dict[str, Tensor]:
        assert self.path is not None
        return checkpoint.read_tensors(
            self.path,
            sha256=self.sha256,
            keep=partial(needed_keys, self.architecture, text=text),
            max_bytes=MAX_WEIGHTS,
        )


@dataclass(frozen=True)
class BackboneFiles:
    """Where the backbones of checkpoints are.

    Attributes:
        manifest: Names them.
        offline: Never use the network.
        beside: The path of a file beside the checkpoint, by its plain name and its hash; None where there is
            nothing beside it.
    """

    manifest: Manifest
    offline: bool | None = None
    beside: Callable[[str, str], Path] | None = None

    def find(self, record: Any, source: str) -> BackboneFile:
        """The backbone that a checkpoint's record asks for.

        Raises:
            CheckpointError: The record is broken, or the backbone is not to be had.
        """
        return self.named(record, source) if isinstance(record, str) else self._near(record, source)

    def named(self, name: str, source: str) -> BackboneFile:
        """A backbone of the manifest.

        Raises:
            CheckpointError: It is not listed, or has no file.
        """
        entry = self.manifest.backbones.get(name)
        if entry is None:
            raise CheckpointError(
                f"{source!r} stands on backbone {name!r}; this version has "
                f"{', '.join(self.manifest.backbones)}"
            )
        if entry.source is None or entry.sha256 is None:
            raise CheckpointError(
                f"{source!r} stands on backbone {name!r}, whose weights are not distributed; expected them "
                "in a file beside the checkpoint"
            )
        if entry.architecture.startswith(HF):
            # Its configuration is fetched, too.
            from a2m2_zoo.zoo.any_backbone import find_backbone

            found = find_backbone(entry.architecture, offline=self.offline, sha256=entry.sha256)
            return replace(found, name=name, beside=None)
        path = fetch(
            entry.source,
            root=self.manifest.root,
            sha256=entry.sha256,
            offline=self.offline,
            name=entry.id,
        )
        return BackboneFile(name, entry.architecture, path, entry.sha256, config=entry.config)

    def _near(self, record: Any, source: str) -> BackboneFile:
        """A backbone in a file beside the checkpoint; the record is hostile until checked."""
        keys = ("architecture", "file", "sha256")
        if (
            not isinstance(record, Mapping)
            or set(record) - {"config"} != set(keys)
            or not all(isinstance(record[key], str) for key in keys)
            or not isinstance(record.get("config", {}), Mapping)
            or not re.fullmatch(r"[\w-][\w.+-]*\.safetensors", record["file"], re.ASCII)
            or not re.fullmatch(r"[0-9a-f]{64}", record["sha256"])
        ):
            raise CheckpointError(
                f"the header of {source!r} does not say where its backbone lies; expected architecture, "
                "file (a plain name ending in .safetensors) and sha256"
            )
        if self.beside is None:
            raise CheckpointError(
                f"{source!r} needs {record['file']!r} beside it; load it from its folder"
            )
        return BackboneFile(
            name=record["architecture"],
            architecture=record["architecture"],
            path=self.beside(record["file"], record["sha256"]),
            sha256=record["sha256"],
            beside=record["file"],
            config=record.get("config"),
        )
