"""Folders of real clips whose classes are folders: each clip goes through the backbone once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from a2m2_zoo.data.draws import labelled
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.features import FeatureCache, default_cache, encode_clips
from a2m2_zoo.methods.base import Method
from a2m2_zoo.recognition.model import Model

#: What tells the recording in the names of a set's clips.
SOURCES = {"ut_interaction": r"^(set\d)_\d+_(\d+)_"}


@dataclass(frozen=True)
class Folder:
    """The clips of one folder.

    Attributes:
        name: The folder's.
        clips: Class by class.
        labels: Class of each.
        cache: Their features.
    """

    name: str
    clips: list[Path]
    labels: Tensor
    cache: FeatureCache

    @classmethod
    def open(cls, folder: Path, model: Model, cache: Path | None = None) -> Folder:
        """Encode what is not in the cache; clips that cannot be read end the program."""
        clips, labels = labelled(class_folders(folder))
        kept = FeatureCache(
            cache or default_cache(),
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=["s14", "s7"],
            people=model.method.reads_people,
        )
        for clip, reason in kept.fill(clips).items():
            raise SystemExit(f"{clip}: {reason}")
        return cls(folder.name, clips, labels, kept)

    @property
    def sources(self) -> Tensor | None:
        """Which recording each clip is of, where the set's file names tell; none stands on both sides."""
        if self.name not in SOURCES:
            return None
        found = [re.search(SOURCES[self.name], clip.name) for clip in self.clips]
        names = ["/".join(match.groups()) for match in found if match]
        if len(names) < len(self.clips):
            raise SystemExit(f"{self.name}: a clip's name does not tell its recording")
        return torch.tensor([sorted(set(names)).index(source) for source in names])

    def encoded(self, method: Method) -> dict[str, Tensor]:
        """Descriptors of all clips."""
        return encode_clips(method, self.cache.read(self.clips))


def parser(doc: str | None, *, models: bool = False) -> argparse.ArgumentParser:
    """The options of a benchmark over folders; ``doc`` is its module's.

    Args:
        doc: The module's.
        models: Whether it measures several models.
    """
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("folders", nargs="+", type=Path)
    if models:
        made.add_argument("--models", default="a2m2-lite0,a2m2-lite0-free,protonet-lite0")
    made.add_argument("--episodes", type=int, default=2000)
    made.add_argument("--cache", type=Path)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out")
    return made


def opened(options: argparse.Namespace, model: Model) -> Iterator[Folder]:
    """The folders that the options name, one after the other."""
    for folder in options.folders:
        yield Folder.open(folder, model, options.cache)
