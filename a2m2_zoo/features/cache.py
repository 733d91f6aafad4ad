"""The cache: clips in, features out, the backbone run once for each."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from a2m2_zoo._utils.arguments import whole
from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.engine import Engine, as_engine
from a2m2_zoo.errors import ArgumentError, CheckpointError, VideoError
from a2m2_zoo.features.encoder import NOTES, PEOPLE_SEEN, POOLED, Encoder, MakeFeatures
from a2m2_zoo.features.filling import Filling
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.features.notes import recalled
from a2m2_zoo.features.shards import FORMAT, Shards, make_folder
from a2m2_zoo.pose import PEOPLE
from a2m2_zoo.video import Clip, Limits, Preprocess

_NAMED = 8  # clips that an error lists


def default_cache() -> Path:
    """Where features are kept if nobody says: ``A2M2_CACHE``, or the platform's place for caches.

    Raises:
        ArgumentError: This user has no home folder.
    """
    if own := os.environ.get("A2M2_CACHE"):
        return Path(own)
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if xdg.is_absolute():  # The XDG specification ignores others.
            base = xdg
        elif sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path.home() / ".cache"
    except RuntimeError as error:
        raise ArgumentError("there is no home folder; set A2M2_CACHE to a folder") from error
    return base / "a2m2" / "features"


class FeatureCache:
    """Features of clips on disk, for one backbone, one preprocessing and one choice of stages.

    Each combination has its own folder below ``folder``, with a readable ``key.json``. Clips are known by
    their content, so they may be moved and renamed. Several processes may fill and read one folder at
    once; one object belongs to one thread.

    Args:
        folder: Where caches lie, see ``default_cache``.
        backbone: Network in evaluation mode, on its device.
        backbone_hash: sha256 that stands for its weights.
        preprocess: How clips become frames.
        stages: Maps to keep; the pooled vectors are always kept.
        half: Keep float16 and so half the bytes. Without it features come back bit by bit.
        people: Also look for people in the clips, and keep them: what ``Model.pose`` says, for
            descriptors as the model's own. Without, a head that compares people compares pictures alone.

    Attributes:
        folder: This cache's own folder.

    Raises:
        ArgumentError: The backbone has no such stage, or frames are sampled at random.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        backbone: Backbone,
        backbone_hash: str,
        preprocess: Preprocess,
        stages: Sequence[str],
        half: bool = False,
        people: bool = False,
    ) -> None:
        unexpected = [stage for stage in stages if stage not in backbone.stages]
        if isinstance(stages, str) or unexpected:
            raise ArgumentError(
                f"stages is {stages!r}; expected a list out of {', '.join(backbone.stages) or 'none'}"
            )
        if preprocess.sampling != "centres":
            raise ArgumentError(
                f"sampling is {preprocess.sampling!r}: every read would give other frames; "
                "a cache needs sampling='centres'"
            )
        self._backbone, self._preprocess, self._half = backbone, preprocess, half
        self._people = people
        self._stages = [stage for stage in backbone.stages if stage in stages]
        self._dtype = next(backbone.parameters()).dtype
        self._facts = {
            "format": FORMAT,
            "backbone_hash": backbone_hash,
            "preprocess": preprocess.to_dict(),
            "stages": sorted(self._stages),
            "half": half,
            "precision": str(self._dtype).removeprefix("torch."),
            **({"people": PEOPLE} if people else {}),
            **({} if backbone.runtime == "torch" else {"runtime": backbone.runtime}),
        }
        key = hashlib.sha256(json.dumps(self._facts, sort_keys=True).encode()).hexdigest()
        if isinstance(place(folder), RemotePath):
            raise ArgumentError(
                f"the cache is {str(folder)!r}; expected a folder of this machine, which keeps what clips at "
                "addresses hold, too"
            )
        self.folder = Path(folder) / key
        self._shards = Shards(self.folder, key=key)
        self._identities = Identities(Path(folder) / "clips.jsonl")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        self._shards.refresh()
        return self._shards.size

    def content(self, clip: Path) -> str:
        """The hash that a clip is known by.

        Raises:
            VideoError: It cannot be read.
        """
        return self._identities.of(clip)

    def missing(self, clips: Sequence[Path]) -> list[Path]:
        """The clips whose features are not there, in the order given.

        A clip whose file is gone or cannot be read counts, for nobody can tell what it was.
        """
        self._shards.refresh()
        return [
            clip
            for clip, identity in zip(clips, self._identify(clips), strict=True)
            if identity not in self._shards
        ]

    def fill(
        self,
        clips: Sequence[Path],
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        progress: Callable[[int, int], None] | None = None,
        engine: Engine = None,
    ) -> dict[Path, str]:
        """Encode the clips that are missing or damaged and write them, a few dozen at a time.

        Clips are decoded side by side in threads, and encoded side by side in the package's own. What is
        finished is on disk whatever happens: an error and Ctrl-C write it and go on up, and a killed
        process loses the last shard it had not written. Call it again to go on.

        Args:
            clips: Video files and folders of frames.
            workers: Clips decoded in parallel; by default one per processor, at most 8.
            limits: Bounds on each file.
            progress: Called after every clip with the number of clips done, those that were there
                already and those that failed included, and of all clips.
            engine: ``ray``, or an ``a2m2_zoo.engine.Ray`` that says more: clips are encoded by the machines
                of a Ray cluster, which must have them under the same paths, and written here.

        Returns:
            For every clip that failed one line that says why.

        Raises:
            SaveError: The folder cannot be written or the disk is full. Finished shards stay.
            ArgumentError: ``workers`` is below 1, or the backbone is in training mode.
            DependencyError: ``engine`` is ``ray``, which is not installed.
            EngineError: The cluster is not there, or a machine of it lacks what is needed.
        """
        if self._backbone.training:
            raise ArgumentError("the backbone is in training mode; call its eval() first")
        self._shards.refresh()
        run = Filling(
            clips,
            shards=self._shards,
            identities=self._identities,
            progress=progress or (lambda done, total: None),
        )
        encoder = Encoder(
            self._backbone,
            self._preprocess,
            self._stages,
            self._half,
            self._people,
            whole("workers", workers),
            limits,
        )
        where = as_engine(engine)
        self._describe()
        if where is None:
            return run.here(encoder.work)
        make = MakeFeatures(encoder.to("cpu"))
        return run.far(make, known=self._shards.known(), engine=where)

    def read(self, clips: Sequence[Path], *, batch: int = 16) -> Iterator[Features]:
        """Features of clips, in the order given, on the CPU, in the backbone's precision.

        A shard's hash is compared before it is first parsed in a process. One that is damaged is set
        aside with a `DamagedShardWarning`, and its clips count as missing.

        Args:
            clips: Video files and folders of frames, as given to ``fill``.
            batch: Clips per piece.

        Yields:
            Maps of the cache's stages (b, t, c, h, w) and pooled vectors (b, t, c) of up to ``batch``
            clips.

        Raises:
            CheckpointError: Clips are missing; the message names them. At the call, or, where damage
                is found, later.
            ArgumentError: ``batch`` is below 1.
        """
        if batch < 1:
            raise ArgumentError(f"batch is {batch}; expected 1 or more")
        self._shards.refresh()
        identities = self._identify(clips)
        self._check(clips, identities)
        return self._pieces(clips, identities, batch)

    def recall(self, clip: Path) -> tuple[Clip, Features]:
        """A clip that ``fill`` has seen, without its frames, and its features, as ``read`` gives them.

        Raises:
            CheckpointError: It is not there, or what is there is damaged.
        """
        identities = self._identify([clip])
        found = self._shards.read(identities)
        if not found:
            self._check([clip], identities)
            raise CheckpointError(
                f"the cache lacks {str(clip)!r}; call fill with it and read again"
            )
        features = self._features_of([found[identities[0]]])
        return recalled(found[identities[0]][NOTES], source=str(clip)), features

    def _pieces(
        self, clips: Sequence[Path], identities: list[str], batch: int
    ) -> Iterator[Features]:
        for start in range(0, len(clips), batch):
            wanted = identities[start : start + batch]
            found = self._shards.read(wanted)
            if len(found) < len(set(wanted)):
                self._check(clips, identities)
            yield self._features_of([found[identity] for identity in wanted])

    def _features_of(self, clips: Sequence[Mapping[str, Tensor]]) -> Features:
        rows = {
            name: torch.stack([clip[name] for clip in clips]).to(self._dtype)
            for name in (*self._stages, POOLED)
        }
        pooled = rows.pop(POOLED)
        people = torch.stack([clip[PEOPLE_SEEN] for clip in clips]) if self._people else None
        return Features(rows, pooled, people)

    def _check(self, clips: Sequence[Path], identities: list[str]) -> None:
        gone = [
            clip
            for clip, identity in zip(clips, identities, strict=True)
            if identity not in self._shards
        ]
        if gone:
            names = ", ".join(repr(str(clip)) for clip in gone[:_NAMED])
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            raise CheckpointError(
                f"the cache lacks {len(gone)} of {len(clips)} clips: {names}{more}; "
                "call fill with them and read again"
            )

    def _identify(self, clips: Sequence[Path]) -> list[str]:
        """Identities; an empty one, which no clip has, where there is nothing to read."""

        def identify(clip: Path) -> str:
            try:
                return self._identities.of(clip)
            except VideoError:
                return ""

        found = [identify(clip) for clip in clips]
        self._identities.save()
        return found

    def _describe(self) -> None:
        """Write ``key.json``, for people."""
        file = self.folder / "key.json"
        if not file.exists():
            make_folder(self.folder)
            text = (
                json.dumps(
                    {"backbone": self._backbone.name, **self._facts}, indent=2, allow_nan=False
                )
                + "\n"
            )
            write_atomically(file, lambda scratch: scratch.write_text(text))
