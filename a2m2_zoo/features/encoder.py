"""From clips to what is stored of each, in this process or in a worker of a cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor

from a2m2_zoo._utils.workers import ahead, apart, each
from a2m2_zoo.backbones import Backbone
from a2m2_zoo.engine import Work
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.features.notes import noted
from a2m2_zoo.pose import embedded_pose, find_people, people_tensor
from a2m2_zoo.video import Clip, Limits, Preprocess, normalise, read_clips

# With a space, which no stage's name has.
POOLED, PEOPLE_SEEN, NOTES = "pooled vectors", "their people", "what was read"
_ACCELERATOR_CLIPS = 16

#: A clip's tensors by name, or why there are none.
Made: TypeAlias = "dict[str, Tensor] | str"


@dataclass(frozen=True, eq=False)
class Encoder:
    """Clips to tensors.

    Attributes:
        backbone: Network in evaluation mode, on its device.
        preprocess: How clips become frames.
        stages: Maps to keep.
        half: Keep float16.
        people: Also look for people.
        workers: Clips decoded in parallel; None for the default of ``read_clips``.
        limits: Bounds on each file.
    """

    backbone: Backbone
    preprocess: Preprocess
    stages: Sequence[str]
    half: bool
    people: bool
    workers: int | None = None
    limits: Limits | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.backbone.parameters()).device

    @apart
    @torch.inference_mode()
    def encode(self, clips: Sequence[Clip]) -> list[dict[str, Tensor]]:
        """What is stored of each clip; computed as `Model.encode` does, for the last bit counts."""
        frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
        features = self.backbone(normalise(frames, self.preprocess), stages=self.stages)
        tensors = {**features.maps, POOLED: features.pooled}
        kept = {
            name: value.to("cpu", torch.float16 if self.half else value.dtype)
            for name, value in tensors.items()
        }
        if self.people:
            look = partial(find_people, network=embedded_pose(self.backbone.runtime))
            seen = list(each(lambda clip: people_tensor(look(clip.wide)), clips))
            kept[PEOPLE_SEEN] = torch.stack(seen)
        return [
            {NOTES: noted(clip), **{name: value[i].clone() for name, value in kept.items()}}
            for i, clip in enumerate(clips)
        ]

    def work(self, clips: Iterable[Path]) -> Iterator[Made]:
        """What is made of clips, in their order, while those that follow are read."""
        decoded = read_clips(
            clips, self.preprocess, workers=self.workers, limits=self.limits or Limits()
        )
        size = 1 if self.device.type == "cpu" else _ACCELERATOR_CLIPS
        # Closed at once, also on Ctrl-C, so that no decoder runs on while the rest is written.
        with closing(cast("Generator[Clip | A2M2Error, None, None]", decoded)) as coming:
            batches = iter(lambda: list(islice(coming, size)), [])
            for made in ahead(self._made, batches, device=self.device):
                yield from made

    def _made(self, batch: Sequence[Clip | A2M2Error]) -> list[Made]:
        read = [clip for clip in batch if isinstance(clip, Clip)]
        tensors = iter(self.encode(read) if read else ())
        return [
            _sound(clip, next(tensors)) if isinstance(clip, Clip) else str(clip) for clip in batch
        ]

    def to(self, device: str) -> Encoder:
        """The same elsewhere."""
        return replace(self, backbone=deepcopy(self.backbone).to(device=device))


@dataclass(frozen=True)
class MakeFeatures:
    """Makes an encoder's work, see ``a2m2_zoo.engine.Make``.

    Attributes:
        encoder: On the CPU; each worker moves it to where it computes.
    """

    encoder: Encoder

    def __call__(self) -> Work[Path, Made]:
        """The work."""
        from a2m2_zoo.engine.worker import own_device

        device = own_device() if self.encoder.backbone.runtime == "torch" else "cpu"
        return self.encoder.to(device).work


def _sound(clip: Clip, tensors: dict[str, Tensor]) -> dict[str, Tensor] | str:
    if all(tensor.isfinite().all() for tensor in tensors.values()):
        return tensors
    return f"{clip.source}: its features are not finite; check the backbone, and in half precision try full"
