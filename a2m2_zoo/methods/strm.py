"""STRM: patches and frames are enriched before TRX compares their tuples.

Thatipelli, Narayan, Khan, Anwer, Khan and Ghanem, "Spatio-temporal Relation Modeling for Few-shot Action
Recognition" (CVPR 2022). The page ``docs/reference/methods/strm.md`` says what differs from the authors'
code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, Method, TrainingBatch, episode_loss
from a2m2_zoo.methods.blocks._config import MOST_FRAMES, Config
from a2m2_zoo.methods.blocks.cross_transformer import CrossTransformers
from a2m2_zoo.methods.blocks.enrichment import FrameEnrichment, PatchEnrichment
from a2m2_zoo.methods.blocks.tuples import TupleDistance, check_cardinalities


@dataclass(frozen=True)
class STRMConfig(Config):
    """STRM over the maps of one stage.

    Attributes:
        stage: Which of the backbone's maps are read.
        channels: Channels of those maps (d).
        out: Channels of keys and values.
        cardinalities: Frames per tuple, one transformer each; all published results are with pairs.
        frames: Frames per clip (T).
        grid: Patches along each side of a frame.
        dropout: On patches, frames and tuples.
        aux_weight: Weight of the distances between tuples of frames before their enrichment, in the
            logits and in the loss; 0 leaves that part out.
        official_loss: Sum the cross entropies over an episode's queries, as the official training does,
            instead of their mean; learning rates are published for the sum.
    """

    stage: str = "layer4"
    channels: int = 2048
    out: int = 1152
    cardinalities: tuple[int, ...] = (2,)
    frames: int = 8
    grid: int = 4
    dropout: float = 0.1
    aux_weight: float = 0.1
    official_loss: bool = False

    def __post_init__(self) -> None:
        self._integer("out", low=1)
        self._integer("frames", low=1, high=MOST_FRAMES)
        self._integer("grid", low=1, high=64)
        self._integer("channels", low=2)
        self._integers("cardinalities", low=1)
        self._number("dropout", low=0.0)
        self._number("aux_weight", low=0.0)
        self._flag("official_loss")
        check_cardinalities(self.cardinalities, frames=self.frames)
        if self.dropout >= 1:
            raise ArgumentError(f"dropout is {self.dropout!r}; expected a probability below 1")

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> STRMConfig:
        """The published configuration over a backbone's deepest maps.

        Raises:
            ArgumentError: The backbone has no maps.
        """
        if not backbone.stages:
            raise ArgumentError(
                f"STRM reads feature maps and {backbone.name} has none; give another backbone"
            )
        stage, channels = list(backbone.stages.items())[-1]
        return cls(stage=stage, channels=channels, cardinalities=(min(2, frames),), frames=frames)


class STRM(Method):
    """Logits of TRX on enriched frames, plus ``aux_weight`` times those of distances before.

    Descriptors of a clip are those of ``CrossTransformers.encode`` and, with an ``aux_weight``,
    ``tuples2`` (M, d/2): the projected tuples of each cardinality.
    """

    def __init__(self, config: STRMConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = (config.stage,)
        dim, frames, dropout = config.channels, config.frames, config.dropout
        self.patches = PatchEnrichment(dim, patches=config.grid**2, dropout=dropout)
        self.frames = FrameEnrichment(dim, frames=frames, dropout=dropout)
        self.transformers = CrossTransformers(
            dim,
            frames=frames,
            cardinalities=config.cardinalities,
            out=config.out,
            dropout=dropout,
        )
        self.distances = nn.ModuleDict(
            {
                str(c): TupleDistance(
                    dim, frames=frames, cardinality=c, out=dim // 2, dropout=dropout
                )
                for c in (config.cardinalities if config.aux_weight else ())
            }
        )

    def encode(self, features: Features) -> Descriptors:
        """Rows of keys and values of every transformer, and the projected tuples, from the maps.

        Raises:
            ArgumentError: The clips have another number of frames or channels than configured.
        """
        maps, wanted = features.maps[self.config.stage], (self.config.frames, self.config.channels)
        if maps.shape[1:3] != wanted:
            raise ArgumentError(
                f"clips are {tuple(maps.shape[1:3])} (frames, channels); this model was built for "
                f"{wanted}"
            )
        patches = functional.adaptive_max_pool2d(maps.float().flatten(0, 1), self.config.grid)
        frames = self.patches(torch.unflatten(patches.flatten(2).mT, 0, maps.shape[:2]))
        tuples = {
            f"tuples{c}": cast(TupleDistance, part).encode(frames)
            for c, part in self.distances.items()
        }
        return {**self.transformers.encode(self.frames(frames)), **tuples}

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Logits of the transformers plus ``aux_weight`` times those of the distances."""
        main: Tensor = self.transformers(query, support, labels=labels, way=way)
        if not self.distances:
            return main
        other = self.auxiliary_logits(query, support, labels=labels, way=way)
        return main.add(other, alpha=self.config.aux_weight)

    def auxiliary_logits(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Minus the distance of tuples to the nearest of each class, mean over the cardinalities."""
        logits = [
            part(query[f"tuples{c}"], support[f"tuples{c}"], labels=labels, way=way)
            for c, part in self.distances.items()
        ]
        return torch.stack(logits).mean(0)

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """Cross entropy of the transformers' logits and, weighted, of the distances'."""
        query, support = batch.by_episode(self.encode(batch.query), self.encode(batch.support))
        times = len(batch.query_labels) if self.config.official_loss else 1
        main = self.transformers(query, support, labels=batch.labels, way=batch.way)
        losses = {"episode": times * episode_loss(main, batch)}
        if self.distances:
            aux = self.auxiliary_logits(query, support, labels=batch.labels, way=batch.way)
            losses["auxiliary"] = self.config.aux_weight * times * episode_loss(aux, batch)
        return losses
