"""Drawing and encoding generated clips in blocks, each kept in a file: it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.cores import set_threads, threads
from a2m2_zoo.backbones import Backbone, Features, build_backbone
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.pose import PEOPLE
from a2m2_zoo.training.dataset import gathered
from a2m2_zoo.training.generated import Drawn, DrawnClip, Generated, class_name, of_clips
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.video import Preprocess
from a2m2_zoo.zoo.training_free import drawn_features

#: Told what is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Block:
    """Clips whose features lie in one file.

    Attributes:
        name: Of the file.
        seed: Of the generator.
        clips: In order.
        half: Keep float16.
        people: Also look for people.
    """

    name: str
    seed: int
    clips: tuple[DrawnClip, ...]
    half: bool
    people: bool


@dataclass(frozen=True)
class Drawer:
    """What draws blocks into a folder.

    Attributes:
        folder: Where they lie; it is made.
        backbone: In evaluation mode, on any device; clips are encoded on the CPU.
        sha256: Of its weights.
        preprocess: How clips become frames.
    """

    folder: Path
    backbone: Backbone
    sha256: str
    preprocess: Preprocess

    def fill(self, blocks: list[Block], *, workers: int | None, tell: Tell) -> None:
        """Draw and encode the blocks that are not there.

        Args:
            blocks: All that are needed.
            workers: Processes; as many as there are cores to use if None.
            tell: Told how many clips are done.

        Raises:
            SaveError: A block could not be written.
            ArgumentError: A process ended before its work did.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(
                f"cannot make {str(self.folder)!r}: {error.strerror or error}; name a folder"
            ) from error
        missing = [block for block in blocks if not (self.folder / block.name).exists()]
        total = sum(len(block.clips) for block in blocks)
        done = total - sum(len(block.clips) for block in missing)
        for block in self._made(missing, workers or threads()):
            done += len(block.clips)
            tell("drawing and encoding clips", done, total)

    def read(self, block: Block) -> Features:
        """The features of a block.

        Raises:
            ArgumentError: The file holds other clips, or another backbone's features.
            CheckpointError: It is missing or damaged.
        """
        path = self.folder / block.name
        found = checkpoint.load(path, kind="features")
        if dict(found.record) != self._record(block):
            raise ArgumentError(
                f"{str(path)!r} holds clips drawn with other settings; name another folder, or delete it"
            )
        maps = dict(found.tensors)
        return Features(maps, maps.pop("pooled"), maps.pop("people", None))

    def draw(self, block: Block) -> None:
        """Draw and encode one block, and write it."""
        parts: dict[str, list[Tensor]] = {}
        for clip in block.clips:
            [made] = drawn_features(
                self.backbone,
                self.preprocess,
                [(clip.label, clip.instance)],
                seed=block.seed,
                style=clip.style,
                studio=clip.studio,
                people=block.people,
            )
            seen = {} if made.people is None else {"people": made.people}
            for name, value in {**made.maps, "pooled": made.pooled, **seen}.items():
                parts.setdefault(name, []).append(value.half() if block.half else value)
        tensors = {name: torch.cat(some) for name, some in parts.items()}
        record = self._record(block)
        checkpoint.save(self.folder / block.name, tensors, kind="features", record=record)

    def _made(self, missing: list[Block], workers: int) -> Iterator[Block]:
        workers = min(workers, len(missing))
        if workers < 2:
            backbone = _backbone(self.backbone.name, self._weights())
            here = replace(self, backbone=backbone)
            for block in missing:
                here.draw(block)
                yield block
            return
        began = (self.folder, self.backbone.name, self._weights(), self.sha256, self.preprocess)
        # Not forked: a forked process waits for threads that it does not have.
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=began
        )
        try:
            jobs = {pool.submit(_draw, block): block for block in missing}
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        except BrokenProcessPool as error:
            raise ArgumentError(
                "a process that draws clips was ended, perhaps for want of memory; run it again with "
                "fewer --workers, it goes on"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _record(self, block: Block) -> dict[str, Any]:
        return {
            "seed": block.seed,
            "clips": [list(clip) for clip in block.clips],
            "half": block.half,
            **({"people": PEOPLE} if block.people else {}),
            "backbone": self.sha256,
            "preprocess": self.preprocess.to_dict(),
        }

    def _weights(self) -> dict[str, np.ndarray]:
        return {k: v.cpu().numpy() for k, v in self.backbone.state_dict().items()}


def blocks_of(given: Generated) -> tuple[list[Block], Block, Block]:
    """The blocks to train on, the one to validate on, and the one to calibrate on."""
    train = [
        Block(
            f"classes_{first:05}.safetensors",
            given.seed,
            tuple(
                clip
                for label in range(first, min(first + given.block, given.classes))
                for clip in given.clips_of(label)
            ),
            half=True,
            people=False,
        )
        for first in range(0, given.classes, given.block)
    ]
    held, fitted = (
        Block(f"{name}.safetensors", given.held_seed, tuple(clips), half=False, people=True)
        for name, clips in (("validation", given.validated), ("calibration", given.fitted))
    )
    return train, held, fitted


def all_blocks(given: Generated) -> list[Block]:
    """Every block; the two to judge by come first, since one process draws each of them."""
    train, held, fitted = blocks_of(given)
    return [held, fitted, *train]


def drawn(drawer: Drawer, given: Generated) -> Drawn:
    """The features of all clips to train on, in float16, from the blocks."""
    pieces = (drawer.read(block) for block in blocks_of(given)[0])
    clips = given.clips
    found = gathered(pieces, len(clips), half=True, folder=drawer.folder)
    return of_clips(found, clips)


def judged(drawer: Drawer, given: Generated) -> tuple[Validation, Validation]:
    """What is validated on and what is calibrated on, from the blocks."""
    known = [class_name(label) for label in range(given.classes)]
    made = []
    for block in blocks_of(given)[1:]:
        labels = list(dict.fromkeys(clip.label for clip in block.clips))
        made.append(
            Validation.of_features(
                drawer.read(block),
                torch.arange(len(labels)).repeat_interleave(given.held_clips),
                names=[class_name(label) for label in labels],
                training_names=known,
            )
        )
    return made[0], made[1]


_here: Drawer


def _begin(
    folder: Path, name: str, weights: Mapping[str, np.ndarray], sha256: str, how: Preprocess
) -> None:
    """In a process of its own: one core, and the backbone built once."""
    global _here
    set_threads(1)
    torch.set_num_threads(1)
    _here = Drawer(folder, _backbone(name, weights), sha256, how)


def _draw(block: Block) -> None:
    _here.draw(block)


def _backbone(name: str, weights: Mapping[str, np.ndarray]) -> Backbone:
    return build_backbone(name, weights={k: torch.from_numpy(v) for k, v in weights.items()})
