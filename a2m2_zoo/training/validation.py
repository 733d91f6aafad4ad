"""Accuracy on held-out classes while training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.data.benchmarks import fold
from a2m2_zoo.data.draws import Draw, draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.methods.base import Descriptors, Method, concatenate, encoded_pieces
from a2m2_zoo.training.config import TrainingConfig

_PIECE = 16  # clips that are encoded together


def check_disjoint(names: Iterable[str], training_names: Iterable[str]) -> None:
    """Refuse classes that are trained on and validated on, however their names are written.

    Raises:
        EpisodeError: There are some; they are named.
    """
    trained = set(map(fold, training_names))
    both = sorted(name for name in names if fold(name) in trained)
    if both:
        more = f" and {len(both) - 5} more" if len(both) > 5 else ""
        raise EpisodeError(
            f"{', '.join(map(repr, both[:5]))}{more} is trained on and validated on; validation must be on "
            "classes that training never sees"
        )


@dataclass(frozen=True)
class Validation:
    """Clips of classes that are not trained on; made by ``of_features`` or ``of_frames``.

    Attributes:
        read: From the backbone in its present state to the features of all clips, in pieces.
        labels: Class of each clip, 0..C-1.
        names: Of the C classes.
        training_names: Of the classes that are trained on.
        asked: Which clips are queries, where the others are supports alone; None: any clip may be either.
        kept: Gives the head as it would be kept now, where that differs from the one that is trained.

    Raises:
        EpisodeError: A class is among both, or there are fewer than two.
        ArgumentError: There is not one name per class.
    """

    read: Callable[[Backbone | None], Iterable[Features]]
    labels: Int[Tensor, " n"]
    names: tuple[str, ...]
    training_names: tuple[str, ...]
    asked: Bool[Tensor, " n"] | None = None
    kept: Callable[[], Method] | None = None

    def __post_init__(self) -> None:
        check_disjoint(self.names, self.training_names)
        if len(self.names) < 2:
            raise EpisodeError(
                f"there is {len(self.names)} class to validate on; hold out at least 2"
            )
        if len(self.labels.bincount(minlength=len(self.names))) != len(self.names):
            raise ArgumentError(
                f"labels reach {int(self.labels.max())} and there are {len(self.names)} names; "
                "give one name per class"
            )

    @classmethod
    def of_features(
        cls,
        features: Features,
        labels: Int[Tensor, " n"],
        *,
        names: Sequence[str],
        training_names: Sequence[str],
        asked: Bool[Tensor, " n"] | None = None,
    ) -> Validation:
        """From the features of all clips, for a frozen backbone.

        Args:
            features: In any floating precision, in memory or mapped from a file.
            labels: Class of each clip, 0..C-1.
            names: Of the C classes.
            training_names: Of the classes that are trained on.
            asked: See ``Validation``.
        """
        if len(features.pooled) != len(labels):
            raise ArgumentError(
                f"there are {len(features.pooled)} clips and {len(labels)} labels; give one each"
            )

        def read(backbone: Backbone | None) -> Iterator[Features]:
            for start in range(0, len(labels), _PIECE):
                some = slice(start, start + _PIECE)
                maps = {stage: value[some].float() for stage, value in features.maps.items()}
                people = None if features.people is None else features.people[some].float()
                yield Features(maps, features.pooled[some].float(), people)

        return cls(read, labels, tuple(names), tuple(training_names), asked)

    @classmethod
    def of_frames(
        cls,
        frames: Callable[[], Iterable[Tensor]],
        labels: Int[Tensor, " n"],
        *,
        stages: Sequence[str],
        names: Sequence[str],
        training_names: Sequence[str],
    ) -> Validation:
        """From normalised frames, which go through the backbone each time.

        Args:
            frames: Gives all clips in order, in pieces (b, t, 3, h, w).
            labels: Class of each clip, 0..C-1.
            stages: Maps that the method reads.
            names: Of the C classes.
            training_names: Of the classes that are trained on.
        """

        def read(backbone: Backbone | None) -> Iterator[Features]:
            if backbone is None:
                raise ArgumentError("frames to validate on need a backbone; give train one")
            for piece in frames():
                yield backbone(piece, stages=stages)

        return cls(read, labels, tuple(names), tuple(training_names))

    def draws(self, config: TrainingConfig) -> dict[int, Draw]:
        """Shots → the episodes, the same in every validation.

        Where there are fewer held-out classes than ``config.way``, episodes have as many as there are.

        Raises:
            EpisodeError: A class has too few clips for the shots.
        """
        form = EpisodeForm(way=config.way, episodes=config.validate_episodes, seed=config.seed)
        return {shot: self.draw(replace(form, shot=shot)) for shot in config.validate_shots}

    def draw(self, form: EpisodeForm) -> Draw:
        """Episodes of the form, with as many classes as there are where that is fewer.

        Raises:
            EpisodeError: A class has too few clips for the shots.
        """
        form = replace(form, way=min(form.way, len(self.names)))
        return draw_episodes(self.labels, form, asked=self.asked)

    @torch.inference_mode()
    def descriptors(self, method: Method, backbone: Backbone | None) -> Descriptors:
        """Of all clips, on the CPU; both networks must be in evaluation mode."""
        parts: list[Descriptors] = []
        for piece in self.read(backbone):
            parts += encoded_pieces(method, piece)
        return concatenate(parts)

    def accuracy(
        self, method: Method, backbone: Backbone | None, draws: dict[int, Draw]
    ) -> dict[int, float]:
        """Shots → percent of the queries that are right. Modes of both networks are left as found."""
        modes = [(module, module.training) for module in (method, backbone) if module is not None]
        try:
            for module, _ in modes:
                module.eval()
            method = method if self.kept is None else self.kept()
            clips = self.descriptors(method, backbone)
            return {
                shot: 100
                * float((score_draw(method, clips, draw).argmax(-1) == draw.truth).double().mean())
                for shot, draw in draws.items()
            }
        finally:
            for module, training in modes:
                module.train(training)
