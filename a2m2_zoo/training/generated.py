"""Classes that the generator draws to train on: which clips there are, and the episodes made of them.

No video is needed. Every class has some clips in a studio that it shares with others, where what is done is
all that tells them apart, and some that are filmed anywhere. ``drawing`` draws and encodes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Int
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distort import DistortedSource, Distortion, MixedSource
from a2m2_zoo.training.shared_clips import dealt, draws
from a2m2_zoo.training.source import EpisodeSource, FeatureSource, varied

_FITTED, _VALIDATED = 5000, 5100  # the first classes to calibrate and to validate on
_FAMILY = 4  # related classes follow each other; of those to judge by there is one of each family
_MOST_HELD = (_VALIDATED - _FITTED) // _FAMILY
_SOLID, _STICKS = ("scene", "scene", "capsule"), ("stick", "stick", "capsule")


class DrawnClip(NamedTuple):
    """One clip: the arguments of ``synthetic.draw_clip``.

    Attributes:
        label: Number of the class.
        instance: Which clip of it.
        studio: Where it is filmed; None for somewhere of its own.
        style: How it is drawn; None for one of its own.
    """

    label: int
    instance: int
    studio: int | None
    style: str | None


@dataclass(frozen=True)
class Generated(Config):
    """Which classes are drawn, and how episodes are made of them.

    Attributes:
        seed: Of the clips to train on; with the training's own added, of the episodes and of the weights
            that the head does not start with.
        classes: To train on; the first half solid bodies, the second stick figures.
        studio: Classes that share a studio.
        inside: Clips of each class in its studio. One or two more are filmed anywhere.
        in_studio: Batches of a round whose episodes are of one studio each ...
        anywhere: ... and batches of a round over all clips.
        block: Classes whose features lie in one file.
        held: Classes to validate on, and as many others to calibrate on.
        held_clips: Clips of each of those.
        held_seed: Of those clips, and of the episodes of the calibration.
        held_episodes: Of the calibration, for each number of supports.
    """

    seed: int = 21
    classes: int = 1600
    studio: int = 8
    inside: int = 3
    in_studio: int = 7
    anywhere: int = 3
    block: int = 40
    held: int = 20
    held_clips: int = 12
    held_seed: int = 11
    held_episodes: int = 300

    def __post_init__(self) -> None:
        self._integer("classes", low=2, high=_FITTED)
        self._integer("held", low=2, high=_MOST_HELD)
        for name in ("held_clips", "studio", "inside"):
            self._integer(name, low=2)
        for name in ("in_studio", "anywhere", "block", "held_episodes"):
            self._integer(name, low=1)
        for name in ("seed", "held_seed"):
            self._integer(name, low=0, high=2**53)

    @property
    def clips(self) -> list[DrawnClip]:
        """All clips to train on, class by class."""
        return [clip for label in range(self.classes) for clip in self.clips_of(label)]

    def clips_of(self, label: int) -> list[DrawnClip]:
        """The clips of one class: some in its studio, some anywhere."""
        solid, studio = label < self.classes // 2, label // self.studio
        style = (_SOLID if solid else _STICKS)[studio % 3]  # one in each studio
        inside = [DrawnClip(label, i, studio, style) for i in range(self.inside)]
        more = range(self.inside, self.inside + (2 if solid else 1))
        return [*inside, *(DrawnClip(label, i, None, None) for i in more)]

    @property
    def validated(self) -> list[DrawnClip]:
        """Clips to validate on, filmed anywhere."""
        return self._held(_VALIDATED, None)

    @property
    def fitted(self) -> list[DrawnClip]:
        """Clips to calibrate on: scenes filmed anywhere.

        A head trained on generated clips finds them easier than users' clips. Of what is generated, these are
        the hardest and the most like a camera's; factors fitted to others claim too much.
        """
        return self._held(_FITTED, "scene")

    def _held(self, first: int, style: str | None) -> list[DrawnClip]:
        labels = range(first, first + _FAMILY * self.held, _FAMILY)
        return [DrawnClip(c, i, None, style) for c in labels for i in range(self.held_clips)]


@dataclass(frozen=True)
class Drawn:
    """The features of clips to train on.

    Attributes:
        features: Of all clips.
        labels: Class of each.
        inside: Whether each was filmed in its class's studio.
    """

    features: Features
    labels: Int[Tensor, " n"]
    inside: Bool[Tensor, " n"]


def class_name(label: int) -> str:
    """What a drawn class is called.

    >>> class_name(5100)
    'generated 5100'
    """
    return f"generated {label}"


def episodes(
    drawn: Drawn, given: Generated, config: TrainingConfig, distortion: Distortion | None
) -> EpisodeSource:
    """Batches by turns of one studio per episode, its related classes among them, and of all clips.

    Args:
        drawn: The clips' features.
        given: How many classes share a studio, the shares of the batches, and the seed.
        config: Sizes of the episodes; its seed is added to that of ``given``.
        distortion: What is done to the features; None leaves them alone.

    Raises:
        ArgumentError: Sizes do not fit.
        EpisodeError: There are too few classes or clips.
    """
    config = replace(config, seed=given.seed + config.seed)
    return varied(partial(_episodes, drawn, given, distortion), config)


def _episodes(
    drawn: Drawn, given: Generated, distortion: Distortion | None, config: TrainingConfig
) -> EpisodeSource:
    form, inside = draws(config), drawn.inside
    maps = {stage: value[inside] for stage, value in drawn.features.maps.items()}
    studio = FeatureSource(
        Features(maps, drawn.features.pooled[inside]),
        drawn.labels[inside],
        form,
        groups=[label // given.studio for label in range(len(drawn.labels.bincount()))],
        group_share=1.0,
    )
    anywhere = FeatureSource(drawn.features, drawn.labels, replace(form, seed=form.seed + 1))
    source: EpisodeSource = MixedSource([studio, anywhere], [given.in_studio, given.anywhere])
    if distortion is not None:
        source = DistortedSource(source, distortion, seed=config.seed)
    return dealt(source, config)


def of_clips(features: Features, clips: list[DrawnClip]) -> Drawn:
    """The features of ``clips``, in order, with what is known of the clips."""
    if len(features.pooled) != len(clips):
        raise ArgumentError(
            f"there are features of {len(features.pooled)} clips, expected {len(clips)}"
        )
    labels = torch.tensor([clip.label for clip in clips])
    return Drawn(features, labels, torch.tensor([clip.studio is not None for clip in clips]))
