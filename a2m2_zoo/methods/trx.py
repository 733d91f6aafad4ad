"""TRX: every ordered tuple of a query's frames looks for itself in the tuples of a class.

Perrett, Masullo, Burghardt, Mirmehdi and Damen, "Temporal-Relational CrossTransformers for Few-Shot
Action Recognition" (CVPR 2021). The page ``docs/reference/methods/trx.md`` says what differs from the
authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, Method, TrainingBatch, episode_loss
from a2m2_zoo.methods.blocks._config import MOST_FRAMES, Config
from a2m2_zoo.methods.blocks.cross_transformer import CrossTransformers
from a2m2_zoo.methods.blocks.tuples import check_cardinalities


@dataclass(frozen=True)
class TRXConfig(Config):
    """A transformer per cardinality over frame vectors.

    Attributes:
        channels: Length of the backbone's pooled vectors (d).
        out: Channels of keys and values (D).
        cardinalities: Frames per tuple, one transformer each (Ω).
        frames: Frames per clip (T).
        dropout: On the frames after the encoding of time.
        official_loss: Sum the cross entropy over an episode's queries, as the official training does,
            instead of their mean; learning rates are published for the sum.
    """

    channels: int = 2048
    out: int = 1152
    cardinalities: tuple[int, ...] = (2, 3)
    frames: int = 8
    dropout: float = 0.1
    official_loss: bool = False

    def __post_init__(self) -> None:
        self._integer("channels", low=1)
        self._integer("out", low=1)
        self._integer("frames", low=1, high=MOST_FRAMES)
        self._integers("cardinalities", low=1)
        self._number("dropout", low=0.0)
        self._flag("official_loss")
        check_cardinalities(self.cardinalities, frames=self.frames)
        if self.dropout >= 1:
            raise ArgumentError(f"dropout is {self.dropout!r}; expected a probability below 1")

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> TRXConfig:
        """The published configuration over a backbone's pooled vectors.

        Pairs and triples of frames, as far as a clip has so many.
        """
        some = tuple(c for c in (2, 3) if c <= frames) or (1,)
        return cls(channels=backbone.pooled_channels, cardinalities=some, frames=frames)


class TRX(Method):
    """Mean over the cardinalities of the cross-transformers' logits.

    Descriptors of a clip are those of ``CrossTransformer.encode``, the cardinality in their names:
    ``keys2`` (2T, D), ``scale2`` (M,), ``offset2`` (M,), ``values2`` (2T, D), ``keys3`` and so on.
    """

    def __init__(self, config: TRXConfig) -> None:
        super().__init__()
        self.config = config
        self.transformers = CrossTransformers(
            config.channels,
            frames=config.frames,
            cardinalities=config.cardinalities,
            out=config.out,
            dropout=config.dropout,
        )

    def encode(self, features: Features) -> Descriptors:
        """Rows of keys and values of every transformer, from the pooled vectors.

        Raises:
            ArgumentError: The clips have another number of frames or channels than configured.
        """
        frames, wanted = features.pooled.float(), (self.config.frames, self.config.channels)
        if frames.shape[1:] != wanted:
            raise ArgumentError(
                f"clips are {tuple(frames.shape[1:])} (frames, channels); this model was built "
                f"for {wanted}"
            )
        return self.transformers.encode(frames)

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Minus the mean squared distance of the query's tuples to what they found in each class."""
        found: Tensor = self.transformers(query, support, labels=labels, way=way)
        return found

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """Cross entropy: the mean, or the sum over the queries of an episode (``official_loss``)."""
        loss = episode_loss(self.episode_logits(batch), batch)
        return {"episode": loss * len(batch.query_labels) if self.config.official_loss else loss}
