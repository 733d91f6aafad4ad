"""What every few-shot method is: encode, score, losses.

Evaluation, banks, the cache and the command line know only these three, so a new method is one file and
one row in the registry. Scores come for many episodes at once: descriptors that are compared carry the
episode as their first axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.rules import fit_rule
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.ops.shots import mean_over_shots

_RIDGE_SCALE = 8.0  # of ridge scores, about 1 - 1/W for the right class, in training

#: What a method keeps of clips: tensors by name. The clip is the first axis of what ``encode`` gives; what
#: is scored has the episode before it.
Descriptors: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainingBatch:
    """E episodes with all that a loss may ask for. Clips lie flat, episode by episode.

    Episodes may share clips. Then ``support_places`` and ``query_places`` say where each episode's lie among
    all clips, those of ``support`` first and those of ``query`` behind them, and a clip that is encoded once
    can be a support of one episode and a query of another.

    Attributes:
        query: Features of E·Q clips.
        support: Features of E·N clips.
        labels: Class of each support within its episode, 0..way-1, the same in all episodes.
        query_labels: Class of each query within its episode.
        way: Classes per episode.
        support_classes: Class of each support among all training classes, where known.
        query_classes: Class of each query among all training classes, where known.
        support_frames: Normalised network inputs of the supports, where they are at hand.
        query_frames: Normalised network inputs of the queries.
        support_places: Clips of each episode's supports, where episodes share clips.
        query_places: Clips of each episode's queries; given if ``support_places`` are.
    """

    query: Features
    support: Features
    labels: Int[Tensor, " n"]
    query_labels: Int[Tensor, " q"]
    way: int
    support_classes: Int[Tensor, " e_n"] | None = None
    query_classes: Int[Tensor, " e_q"] | None = None
    support_frames: Float[Tensor, "e_n t 3 h w"] | None = None
    query_frames: Float[Tensor, "e_q t 3 h w"] | None = None
    support_places: Int[Tensor, "e n"] | None = None
    query_places: Int[Tensor, "e q"] | None = None

    @property
    def episodes(self) -> int:
        """E."""
        if self.query_places is not None:
            return len(self.query_places)
        return len(self.query.pooled) // len(self.query_labels)

    @property
    def clips(self) -> int:
        """Clips that are encoded."""
        return len(self.query.pooled) + len(self.support.pooled)

    def by_episode(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What was found for each clip, given to the episodes it is in.

        Args:
            query: Tensors with one row for each clip of ``query``.
            support: The same of ``support``.

        Returns:
            Tensors (E, Q, ...) of the queries and (E, N, ...) of the supports.
        """
        if self.query_places is None or self.support_places is None:
            return split(query, self.episodes), split(support, self.episodes)
        every = concatenate([support, query])
        return _dealt(every, self.query_places), _dealt(every, self.support_places)


class Method(nn.Module, ABC):
    """A head over the feature maps of a frozen or tuned backbone.

    Attributes:
        stages: Names of the backbone's maps that ``encode`` reads.
        reads_text: Whether ``score`` takes the embedded texts of the classes, as ``text``.
        reads_people: Whether ``encode`` takes the people of the clips, where somebody looked for them.
        extra: Parts that only the losses need, such as a classifier over the training classes; empty until
            ``prepare_training``, never stored with a model, never paid for when one is used.
    """

    stages: tuple[str, ...] = ()
    reads_text: bool = False
    reads_people: bool = False

    #: The frozen dataclass it was built from, with ``to_dict`` and ``from_dict``.
    config: Any

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.ModuleDict()

    @property
    def own_text_weight(self) -> float | None:
        """Share of the class texts in the logits of a method that mixes them in itself; None elsewhere."""
        return None

    @abstractmethod
    def encode(self, features: Features) -> Descriptors:
        """Descriptors of B clips, each computed from that clip alone.

        Args:
            features: Maps (B, T, C, h, w) of every stage in ``stages`` and the pooled (B, T, C).
        """

    @abstractmethod
    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Logits of the queries of E episodes over their W classes.

        Args:
            query: Descriptors (E, Q, ...).
            support: Descriptors (E, N, ...).
            labels: Class of each support, 0..W-1, the same in all episodes.
            way: W.
        """

    def prepare_training(self, *, classes: int) -> None:
        """Add to ``extra`` what the losses need beside ``encode`` and ``score``.

        Args:
            classes: Number of training classes.
        """

    def weights(self) -> dict[str, Tensor]:
        """The state dict without ``extra``: what a stored model consists of."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("extra.")}

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """Named training losses, weighted; their sum is what is minimised."""
        return {"episode": episode_loss(self.episode_logits(batch), batch)}

    def episode_logits(self, batch: TrainingBatch) -> Float[Tensor, "e q w"]:
        """``encode`` and ``score`` of a training batch."""
        query, support = batch.by_episode(self.encode(batch.query), self.encode(batch.support))
        return self.score(query, support, labels=batch.labels, way=batch.way)

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """Transport plan and similarity between the frames of every pair; None where there is none."""
        return None


class PairwiseMethod(Method):
    """A method whose score of a class comes from the scores of its (query, support) pairs.

    Attributes:
        rule: How, one of ``methods.rules.RULES``; None where the configured rule reads no pairs.
        training_rule: How in training, where ``rule`` is ``ridge``: ``"mean"`` or ``"ridge"``.
        context_free: Whether a pair's score depends on that pair alone, not on the other supports; a
            protocol may then compute every pair once for all episodes.
    """

    rule: str | None = "mean"
    training_rule: str = "mean"
    context_free: bool = True

    def episode_logits(self, batch: TrainingBatch) -> Float[Tensor, "e q w"]:
        """``encode`` and ``score`` of a training batch, by ``training_rule`` where ``rule`` is ``ridge``.

        Training learns scores of pairs; their mean over a class leaves them their unit. What ridge
        regression makes of them has none and is multiplied by a constant, as the scores of a closed-form
        solver are by Bertinetto et al. (ICLR 2019).
        """
        if self.rule != "ridge":
            return super().episode_logits(batch)
        query, support = batch.by_episode(self.encode(batch.query), self.encode(batch.support))
        pairs = self.pairs(query, support)
        if self.training_rule == "mean":
            return mean_over_shots(pairs, batch.labels, way=batch.way)
        fitted = Ridge.fit(self.pairs(support, support), batch.labels, way=batch.way)
        return _RIDGE_SCALE * fitted.scores(pairs)

    @abstractmethod
    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Similarity of every query to every support of its episode; larger is more alike.

        Args:
            query: Descriptors (E, Q, ...).
            support: Descriptors (E, N, ...).
        """

    def unrelated(self, query: Descriptors, support: Descriptors) -> float:
        """The score of two clips with nothing in common: 0, unless scores are distances with a minus."""
        return 0.0

    def against(self, support: Descriptors) -> Callable[[Descriptors], Float[Tensor, "e q n"]]:
        """``pairs`` with supports that queries come for again and again.

        A method overrides it where something follows from the supports alone, to compute that once.
        """
        return lambda query: self.pairs(query, support)

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """The pair scores under ``rule``."""
        among = self.pairs(support, support) if self.rule == "ridge" else None
        fitted = fit_rule(self.rule or "mean", among, labels, way=way)
        return fitted.scores(self.pairs(query, support))


def as_pairwise(method: Method) -> PairwiseMethod | None:
    """``method`` if its class score comes from its pair scores, else None."""
    return method if isinstance(method, PairwiseMethod) and method.rule else None


def episode_loss(logits: Float[Tensor, "e q w"], batch: TrainingBatch) -> Float[Tensor, ""]:
    """Cross entropy of the queries' classes within their episodes."""
    truth = batch.query_labels.to(logits.device).repeat(len(logits))
    return functional.cross_entropy(logits.flatten(0, 1), truth)


def take(descriptors: Descriptors, index: Tensor | slice) -> dict[str, Tensor]:
    """The clips at ``index``; an index (E, Q) gives descriptors (E, Q, ...)."""
    return {name: tensor[index] for name, tensor in descriptors.items()}


def cut(descriptors: Descriptors, step: int) -> list[dict[str, Tensor]]:
    """The clips in pieces of ``step``."""
    count = len(next(iter(descriptors.values())))
    return [take(descriptors, slice(start, start + step)) for start in range(0, count, step)]


def split(descriptors: Descriptors, episodes: int) -> dict[str, Tensor]:
    """Flat clips (E·Q, ...) as (E, Q, ...)."""
    return {
        name: torch.unflatten(tensor, 0, (episodes, -1)) for name, tensor in descriptors.items()
    }


def _dealt(descriptors: Descriptors, places: Tensor) -> dict[str, Tensor]:
    # The derivative of index_select adds rows up; that of indexing sorts, and does it one by one.
    return {
        name: torch.unflatten(tensor.index_select(0, places.flatten()), 0, places.shape)
        for name, tensor in descriptors.items()
    }


@apart
@torch.inference_mode()
def encoded_pieces(method: Method, features: Features) -> list[dict[str, Tensor]]:
    """Descriptors of clips, on the CPU: clip by clip where a CPU computes, all at once elsewhere.

    Kernels may sum in another order for another number of clips; this way a CPU's result for a clip is the
    same to the last bit whatever else is encoded with it.
    """
    held = next(chain(method.parameters(), method.buffers()), torch.empty(0))
    size = 1 if held.device.type == "cpu" else len(features.pooled)

    def encode(start: int) -> dict[str, Tensor]:
        chosen = slice(start, start + size)
        maps = {stage: value[chosen].to(held.device) for stage, value in features.maps.items()}
        people = None if features.people is None else features.people[chosen].to(held.device)
        found = method.encode(Features(maps, features.pooled[chosen].to(held.device), people))
        return {name: value.cpu() for name, value in found.items()}

    return list(each(encode, range(0, len(features.pooled), size)))


def concatenate(parts: list[Descriptors]) -> dict[str, Tensor]:
    """The clips of all parts in order."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
