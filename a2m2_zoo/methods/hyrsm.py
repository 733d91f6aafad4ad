"""HyRSM and HyRSM++: frames related within a video and across the episode, matched as sets.

Wang et al., "Hybrid Relation Guided Set Matching for Few-shot Action Recognition" (CVPR 2022), and
"HyRSM++: Hybrid Relation Guided Temporal Set Matching for Few-shot Action Recognition" (2023), after the
official code. ``docs/reference/methods/hyrsm.md`` has the equations, the recipes and what differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod, TrainingBatch, episode_loss
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.methods.blocks.attention import SelfAttention, channel_positions
from a2m2_zoo.methods.blocks.relation import ShiftedFrames, VideoRelation, temporal_coherence
from a2m2_zoo.ops.alignment import bimhm_distance, bimhm_plan
from a2m2_zoo.ops.shots import mean_over_shots


@dataclass(frozen=True)
class HyRSMConfig(Config):
    """Everything that decides what a ``HyRSM`` computes.

    Attributes:
        channels: Length d of a frame vector, a multiple of ``heads``.
        heads: Heads of both attentions.
        shots: ``"videos"``: every support is matched, distances are averaged over a class (the official
            1-shot class); ``"prototypes"``: the mean frames of a class are (the official 5-shot class).
        feature_scale: A of the position encoding x·√(d/A) + B·P.
        position_scale: B.
        position_dropout: After the position encoding.
        attention_dropout: After the attention over frames.
        classification_weight: λ of the cross entropy of every frame over the training classes.
    """

    channels: int = 2048
    heads: int = 8
    shots: str = "videos"
    feature_scale: float = 10.0
    position_scale: float = 1.0
    position_dropout: float = 0.1
    attention_dropout: float = 0.2
    classification_weight: float = 0.15

    def __post_init__(self) -> None:
        self._choice("shots", ("videos", "prototypes"))
        self._integer("heads", low=1)
        self._integer("channels", low=1)
        if self.channels % self.heads:
            raise ArgumentError(
                f"channels is {self.channels}; expected a multiple of the {self.heads} heads"
            )
        self._number("feature_scale", low=0.0, above=True)
        self._number("position_scale", low=0.0)
        for name in ("position_dropout", "attention_dropout"):
            self._number(name, low=0.0)
            if getattr(self, name) >= 1:
                raise ArgumentError(f"{name} is {getattr(self, name)}; expected less than 1")
        self._number("classification_weight", low=0.0)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> HyRSMConfig:
        """The published choices over the frame vectors of ``backbone``; any number of frames will do."""
        return cls(channels=backbone.pooled_channels)


class HyRSM(PairwiseMethod):
    """Hybrid relations and set matching over frame vectors.

    Attributes:
        temporal: Attention over the frames of a video (intra-relation).
        relation: Attention over the videos of an episode (inter-relation).
        fuse: Frame and related video to one vector, W·[f; z] + b.
    """

    #: A pair is seen in the light of all supports of its episode.
    context_free = False

    def __init__(self, config: HyRSMConfig) -> None:
        super().__init__()
        self.config = config
        self.rule = "mean" if config.shots == "videos" else None
        self.position_dropout = nn.Dropout(config.position_dropout)
        self.temporal = SelfAttention(
            config.channels, heads=config.heads, dropout=config.attention_dropout
        )
        self.relation = VideoRelation(config.channels, heads=config.heads)
        self.fuse = nn.Linear(2 * config.channels, config.channels)

    def encode(self, features: Features) -> Descriptors:
        """The frame's part of the fused features (B, T, d) and the video's mean frame (B, d)."""
        return self._describe(self.frames(features))

    def frames(self, features: Features) -> Float[Tensor, "b t d"]:
        """Frames after the intra-relation: ReLU(u + Attn(LN u)), u = x·√(d/A) + B·P.

        Raises:
            ArgumentError: The frame vectors have another length than configured.
        """
        pooled, config = features.pooled.float(), self.config
        if pooled.shape[-1] != config.channels:
            raise ArgumentError(
                f"frame vectors have {pooled.shape[-1]} channels; this head was built for "
                f"{config.channels}, build it with channels={pooled.shape[-1]}"
            )
        positions = channel_positions(pooled.shape[1], config.channels).to(pooled)
        scaled = pooled * math.sqrt(config.channels / config.feature_scale)
        found: Tensor = self.temporal(
            self.position_dropout(scaled + config.position_scale * positions)
        )
        return found.relu()

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Logits by the configured rule over shots."""
        return self._logits(*self._compared(query, support, labels, way), labels, way)

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Negative Bi-MHM distance of every query to every support, given all supports."""
        queries, supports = self._fused(query, support)
        return -bimhm_distance(1 - supports.cosine_from(queries))

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]]:
        """Nearest frames in both directions, and the cosine, of each support taken for itself."""
        queries, supports = self._fused(query, support)
        cosine = supports.cosine_from(queries)
        there = torch.ones_like(cosine[..., 0], dtype=torch.bool)
        return bimhm_plan(cosine, there, there), cosine

    def prepare_training(self, *, classes: int) -> None:
        """Add the classifier of single frames over the training classes."""
        self.extra["classifier"] = nn.Linear(self.config.channels, classes)

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """``episode``: cross entropy of the queries. ``frames``: λ · that of every frame's class.

        The official code divides both by its batch of 4 episodes and adds up the gradients of those:
        the mean over E episodes that is taken here.
        """
        support_frames, query_frames = self.frames(batch.support), self.frames(batch.query)
        query, support = batch.by_episode(
            self._describe(query_frames), self._describe(support_frames)
        )
        queries, supports = self._compared(query, support, batch.labels, batch.way)
        logits = self._logits(queries, supports, batch.labels, batch.way)
        found = {"episode": episode_loss(logits, batch)} | self._fused_losses(queries, supports)
        of_supports, of_queries = batch.support_classes, batch.query_classes
        if "classifier" in self.extra and of_supports is not None and of_queries is not None:
            frames = torch.cat([support_frames, query_frames])
            classes = torch.cat([of_supports, of_queries]).to(frames.device).long()
            found["frames"] = self.config.classification_weight * functional.cross_entropy(
                self.extra["classifier"](frames).flatten(0, 1),
                classes.repeat_interleave(frames.shape[1]),
            )
        return found

    def _fused_losses(self, query: Tensor, support: ShiftedFrames) -> dict[str, Tensor]:
        """Losses on the fused features; HyRSM has none."""
        return {}

    def _describe(self, frames: Tensor) -> dict[str, Tensor]:
        # W·[f; z] + b is linear: f's part belongs to the clip alone and is computed once.
        weight = self.fuse.weight[:, : self.config.channels]
        fused = functional.linear(frames, weight, self.fuse.bias)
        return {"frames": fused, "mean": frames.mean(1)}

    def _compared(
        self, query: Descriptors, support: Descriptors, labels: Tensor, way: int
    ) -> tuple[Tensor, ShiftedFrames]:
        """Fused queries, and what they are matched with: the supports, or the means of classes."""
        if not self.rule:
            support = {
                name: mean_over_shots(tensor.movedim(1, -1), labels, way=way).movedim(-1, 1)
                for name, tensor in support.items()
            }
        return self._fused(query, support)

    def _logits(self, query: Tensor, supports: ShiftedFrames, labels: Tensor, way: int) -> Tensor:
        scores = -bimhm_distance(1 - supports.cosine_from(query))
        return mean_over_shots(scores, labels, way=way) if self.rule else scores

    def _fused(self, query: Descriptors, support: Descriptors) -> tuple[Tensor, ShiftedFrames]:
        """Fused frames of the queries (E, Q, T, d) and, for each query, of the supports."""
        related = self.relation(support["mean"], query["mean"]).relu()
        shift = functional.linear(related, self.fuse.weight[:, self.config.channels :])
        queries = query["frames"] + shift[:, :, -1:]
        return queries, ShiftedFrames(support["frames"], shift[:, :, :-1])


@dataclass(frozen=True)
class HyRSMPlusPlusConfig(HyRSMConfig):
    """A ``HyRSMConfig`` and the temporal coherence regulariser's weights.

    Attributes:
        window: w: frames at most so far apart count as neighbours.
        falloff: τ: how soon the weight of distant frames reaches one.
        contrast: γ: weight of distant frames that are too alike.
        coherence_weight: μ: weight of the regulariser.
    """

    window: int = 3
    falloff: float = 23.0
    contrast: float = 10.0
    coherence_weight: float = 0.3
    classification_weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._integer("window", low=0)
        self._number("falloff", low=0.0, above=True)
        self._number("contrast", low=0.0)
        self._number("coherence_weight", low=0.0)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> HyRSMPlusPlusConfig:
        """The published choices over the frame vectors of ``backbone``; any number of frames will do."""
        return cls(channels=backbone.pooled_channels)


class HyRSMPlusPlus(HyRSM):
    """HyRSM trained so that near frames are alike and distant ones are not. Scores as HyRSM does."""

    config: HyRSMPlusPlusConfig

    def __init__(self, config: HyRSMPlusPlusConfig) -> None:
        super().__init__(config)

    def _fused_losses(self, query: Tensor, support: ShiftedFrames) -> dict[str, Tensor]:
        unit = functional.normalize(query, dim=-1)
        config = self.config
        supports, queries = (
            temporal_coherence(
                1 - cosine, window=config.window, falloff=config.falloff, contrast=config.contrast
            )
            for cosine in (support.cosine_within(), unit @ unit.mT)
        )
        return {"coherence": config.coherence_weight * (supports + queries)}
