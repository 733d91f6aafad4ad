"""Training-free heads for any backbone: statistics of generated clips, no label and no real video.

The projections of the M² blocks are principal components of the backbone's standardised maps on clips that
``a2m2_zoo.synthetic`` draws, the centres are mean descriptors of those clips, and the calibration scales
are fitted on other generated classes. A backbone without maps gets prototypes of its vectors, with the same
calibration. ``computed`` keeps what was made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Descriptors, concatenate, encoded_pieces, take
from a2m2_zoo.methods.blocks import M2Block
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.pose import find_people, people_tensor
from a2m2_zoo.recognition.calibration import episodes_scale
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.video import Clip, Preprocess, normalise, read_clip

#: Called with how many clips are done and how many there are.
Progress = Callable[[int, int], None]
#: What is made for a backbone.
Head = A2M2 | ProtoNet

SEED = 11
_TILE = 8  # episodes scored at once
_STUDIOS = (0, None)  # a set filmed in one studio, and one filmed anywhere: a user's may be either


@dataclass(frozen=True)
class Amounts:
    """How many clips are drawn.

    The defaults keep the first use of a large transformer at a few minutes on two processor cores.

    Attributes:
        statistics: Classes of one clip each, for projections and centres.
        classes: Classes of each of the two sets for calibration.
        clips: Clips of each of those classes; scales are fitted for up to one support fewer.
        episodes: Episodes of each set for every number of supports.
    """

    statistics: int = 40
    classes: int = 6
    clips: int = 6
    episodes: int = 100

    def __post_init__(self) -> None:
        if min(self.statistics, self.classes - 1, self.clips - 1, self.episodes) < 1:
            raise ArgumentError(
                f"there are {self.statistics} clips for statistics and {self.classes} × {self.clips} for "
                f"{self.episodes} episodes of calibration; expected at least 1, 2 × 2 and 1"
            )

    @property
    def total(self) -> int:
        """All clips."""
        return self.statistics + len(_STUDIOS) * self.classes * self.clips


def training_free(
    backbone: Backbone,
    *,
    preprocess: Preprocess | None = None,
    amounts: Amounts | None = None,
    seed: int = SEED,
    progress: Progress | None = None,
) -> tuple[Head, dict[int, float]]:
    """Compute a head for a backbone: A²M², or ``protonet`` where it has no maps.

    Args:
        backbone: In evaluation mode, on any device; the head is on the CPU.
        preprocess: How clips become frames; the backbone's own, 8 frames, if None.
        amounts: How many clips are drawn.
        seed: Of the generator. The same seed gives the same head on the same machine; elsewhere sums may be
            rounded otherwise.
        progress: Called after every clip.

    Returns:
        The head and, by number of supports, the factors on its logits.

    Raises:
        ArgumentError: The backbone is in training mode.
    """
    check(backbone)
    preprocess, amounts = preprocess or own_preprocess(backbone), amounts or Amounts()
    head = head_for(backbone, preprocess.frames)
    done = 0

    def drawn(
        classes: range, clips: int, studio: int | None, *, people: bool = False
    ) -> Iterator[Features]:
        nonlocal done
        pairs = [(c, i) for c in classes for i in range(clips)]
        for made in drawn_features(
            backbone,
            preprocess,
            pairs,
            seed=seed,
            studio=studio,
            stages=head.stages,
            people=people,
        ):
            yield made
            done += 1
            if progress is not None:
                progress(done, amounts.total)

    if isinstance(head, A2M2):
        seen = list(drawn(range(amounts.statistics), 1, None))
        for stage, block in head.blocks.items():
            assert isinstance(block, M2Block)
            set_statistics(block, torch.cat([made.maps[stage] for made in seen]))
        del seen
    else:
        done = amounts.statistics
    # One class of each family of sisters, and none of those that the statistics come from.
    held = range(5000, 5000 + 4 * amounts.classes, 4)
    parts = []
    for studio in _STUDIOS:
        encoded: list[Descriptors] = []
        for made in drawn(held, amounts.clips, studio, people=head.reads_people):
            encoded += encoded_pieces(head, made)
        parts.append(concatenate(encoded))
    shots = [shot for shot in (1, 2, 5, 10) if shot < amounts.clips]
    return head, {shot: _scale(head, parts, amounts, shot, seed) for shot in shots}


def check(backbone: Backbone) -> None:
    """Refuse a backbone in training mode.

    Raises:
        ArgumentError: It is.
    """
    if backbone.training:
        raise ArgumentError(
            f"{backbone.name} is in training mode; a head needs a backbone in evaluation mode"
        )


@apart
def head_for(backbone: Backbone, frames: int) -> Head:
    """The embedded model's choice, in no more dimensions than the smallest of its maps has channels.

    Prototypes of the vector where the backbone has no maps.
    """
    if not backbone.stages:
        return ProtoNet(ProtoNetConfig()).eval()
    config = A2M2Config.for_backbone(backbone, frames=backbone.steps(frames))
    dim = min(m2.channels for m2 in config.m2.values())
    m2 = {name: replace(part, dim=min(part.dim, dim)) for name, part in config.m2.items()}
    return A2M2(replace(config, m2=m2)).eval()


def own_preprocess(backbone: Backbone) -> Preprocess:
    """The clips that a backbone's weights expect."""
    facts = backbone.default_preprocess
    return Preprocess(
        frames=backbone.clip_frames,
        resize=facts["size"],
        size=facts["size"],
        interpolation=facts["interpolation"],
        mean=facts["mean"],
        std=facts["std"],
    )


def drawn_features(
    backbone: Backbone,
    preprocess: Preprocess,
    clips: Sequence[tuple[int, int]],
    *,
    seed: int,
    style: str | None = None,
    studio: int | None = None,
    stages: Sequence[str] | None = None,
    grid: int = 7,
    people: bool = False,
) -> Iterator[Features]:
    """Features of generated clips, one entry each, on the CPU, large maps already on the grid of the heads.

    Args:
        backbone: In evaluation mode.
        preprocess: How clips become frames.
        clips: Class and instance of each.
        seed: Of the generator.
        style: One of ``a2m2_zoo.synthetic.STYLES``; each clip its own if None.
        studio: Where all are filmed; each somewhere else if None.
        stages: Maps to keep; all if None.
        grid: Side of the maps, unless they are smaller.
        people: Also look for people.
    """
    for label, instance in clips:
        frames = draw_clip(
            seed,
            label,
            instance,
            frames=preprocess.frames,
            size=preprocess.size,
            style=style,
            studio=studio,
        )
        clip = read_clip(frames, preprocess)
        found = _features(backbone, preprocess, clip, stages, grid)
        yield (
            replace(found, people=people_tensor(find_people(clip.wide))[None]) if people else found
        )


@apart
@torch.inference_mode()
def _features(
    backbone: Backbone,
    preprocess: Preprocess,
    clip: Clip,
    stages: Sequence[str] | None,
    grid: int,
) -> Features:
    pixels = normalise(torch.from_numpy(clip.frames)[None], preprocess)
    made = backbone(pixels, stages=stages)
    if not all(bool(x.isfinite().all()) for x in (*made.maps.values(), made.pooled)):
        raise CheckpointError(
            f"the backbone {backbone.name!r} gives values that are not finite: its weights or code are bad"
        )
    maps = {stage: _on_grid(value.cpu(), grid) for stage, value in made.maps.items()}
    return Features(maps, made.pooled.cpu())


def _on_grid(maps: Tensor, grid: int) -> Tensor:
    if max(maps.shape[-2:]) <= grid:
        return maps
    return functional.adaptive_avg_pool2d(maps[0], grid)[None]


@apart
def set_statistics(block: M2Block, maps: Float[Tensor, "b t c h w"]) -> None:
    """Make a block project onto the principal components of standardised maps, and centre on their mean.

    Args:
        block: With a linear reduction to no more channels than the maps have.
        maps: Of generic clips.
    """
    x = maps.movedim(2, -1).flatten(0, -2).double()
    mean, deviation = x.mean(0), x.std(0).clamp_min(1e-4)
    z = x.sub_(mean).div_(deviation)
    _, vectors = torch.linalg.eigh(z.mT @ z / len(z))
    components = vectors.flip(1)[:, : block.config.dim]
    # The sign of an eigenvector is the solver's choice; fixed here, so that the head does not depend on it.
    largest = components.abs().argmax(0, keepdim=True)
    components = components * components.gather(0, largest).sign()
    weight = (components / deviation[:, None]).mT
    reduce: Any = block.reduce
    reduce.weight.data = weight[..., None, None].float()
    reduce.bias.data = -(weight @ mean).float()
    with torch.inference_mode():
        means = torch.stack([block.mean_moments(part) for part in torch.split(maps, 1)])
    block.centre.copy_(means.mean(0))


@apart
@torch.inference_mode()
def _scale(
    head: Head, parts: list[dict[str, Tensor]], amounts: Amounts, shot: int, seed: int
) -> float:
    """The factor on the logits under which episodes of generated classes are most probable."""
    form = EpisodeForm(way=min(5, amounts.classes), shot=shot, episodes=amounts.episodes, seed=seed)
    draw = draw_episodes(torch.arange(amounts.classes).repeat_interleave(amounts.clips), form)
    tiles = [slice(i, i + _TILE) for i in range(0, amounts.episodes, _TILE)]

    def pairs(first: Tensor) -> Tensor:
        return torch.cat(
            [
                head.pairs(take(part, first[tile]), take(part, draw.support[tile]))
                for part in parts
                for tile in tiles
            ]
        )

    return episodes_scale(head.rule or "mean", pairs(draw.query), pairs(draw.support), draw)[0]
