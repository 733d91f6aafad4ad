"""CLIP-FSAR: prototypes modulated by the text of their class, aligned in order.

Wang et al., "CLIP-guided Prototype Modulating for Few-shot Action Recognition" (IJCV 2024), after the
official code. ``docs/reference/methods/clip-fsar.md`` has the equations, the recipes and what differs.
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
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.methods.blocks.attention import FeedForward, SelfAttention
from a2m2_zoo.ops.alignment import cosine_eps, otam_distance, otam_plan
from a2m2_zoo.ops.shots import class_prototypes


@dataclass(frozen=True)
class ClipFSARConfig(Config):
    """Everything that decides what a ``ClipFSAR`` computes.

    Attributes:
        channels: Length d of a frame vector and of a class text, a multiple of ``heads``.
        heads: Heads of the attention.
        hidden: Channels inside the feed-forward layers.
        depth: Attention and feed-forward pairs.
        attention_dropout: After the attention.
        dropout: In the feed-forward layers.
        merge_before: Average the shots before the modulation (the official 5-shot recipes), not after.
        softening: λ of OTAM.
        both: Align in both directions, or the queries' rows only.
        mode: ``"visual"``: logits are negative distances. ``"text"``: log probabilities of the class
            texts alone. ``"combine"``: p_text^α · p_visual^(1−α), its logarithm.
        text_weight: α.
        scale: Start of the learned scale of video-text cosines.
        classification_weight: λ of the cross entropy of videos over the texts of the training classes.
    """

    channels: int = 1024
    heads: int = 8
    hidden: int = 2048
    depth: int = 1
    attention_dropout: float = 0.2
    dropout: float = 0.05
    merge_before: bool = False
    softening: float = 0.5
    both: bool = True
    mode: str = "visual"
    text_weight: float = 0.9
    scale: float = 1.0
    classification_weight: float = 1.5

    def __post_init__(self) -> None:
        self._choice("mode", ("visual", "text", "combine"))
        self._flag("merge_before", "both")
        for name in ("channels", "heads", "hidden"):
            self._integer(name, low=1)
        self._integer("depth", low=1, high=64)
        if self.channels % self.heads:
            raise ArgumentError(
                f"channels is {self.channels}; expected a multiple of the {self.heads} heads"
            )
        for name in ("attention_dropout", "dropout", "text_weight", "classification_weight"):
            self._number(name, low=0.0)
        for name in ("softening", "scale"):
            self._number(name, low=0.0, above=True)
        for name in ("attention_dropout", "dropout"):
            if getattr(self, name) >= 1:
                raise ArgumentError(f"{name} is {getattr(self, name)}; expected less than 1")
        if self.text_weight > 1:
            raise ArgumentError(f"text_weight is {self.text_weight}; expected 0 to 1")

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> ClipFSARConfig:
        """The published choices over the frame vectors of ``backbone``; any number of frames will do."""
        return cls(channels=backbone.pooled_channels)


class ClipFSAR(Method):
    """Prototype modulation and ordered temporal alignment over frame vectors.

    Without class texts (a backbone that has no text tower) the frames of a support are modulated by each
    other alone, as those of a query are: a variant of ours, for comparison on other backbones.

    Attributes:
        context: Transformer over the frames of a video and the text of its class.
        scale: Of the cosines between videos and class texts.
    """

    reads_text = True

    def __init__(self, config: ClipFSARConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = nn.Parameter(torch.tensor([float(config.scale)]))
        self.context = nn.Sequential(
            *(
                nn.Sequential(
                    SelfAttention(
                        config.channels, heads=config.heads, dropout=config.attention_dropout
                    ),
                    FeedForward(config.channels, hidden=config.hidden, dropout=config.dropout),
                )
                for _ in range(config.depth)
            )
        )

    @property
    def own_text_weight(self) -> float | None:
        """α where the mode mixes; ``visual`` only lets the texts modulate the prototypes."""
        config: ClipFSARConfig = self.config
        return {"visual": None, "text": 1.0, "combine": config.text_weight}[config.mode]

    def encode(self, features: Features) -> Descriptors:
        """Frame vectors (B, T, d) as they come and in the context of their own video.

        Raises:
            ArgumentError: The frame vectors have another length than configured.
        """
        frames = features.pooled.float()
        if frames.shape[-1] != self.config.channels:
            raise ArgumentError(
                f"frame vectors have {frames.shape[-1]} channels; this head was built for "
                f"{self.config.channels}, build it with channels={frames.shape[-1]}"
            )
        return {"frames": frames, "context": self.context(frames)}

    def score(
        self,
        query: Descriptors,
        support: Descriptors,
        *,
        labels: Int[Tensor, " n"],
        way: int,
        text: Float[Tensor, "e w c"] | None = None,
    ) -> Float[Tensor, "e q w"]:
        """Logits of the queries by the configured ``mode``.

        Args:
            query: Descriptors (E, Q, ...).
            support: Descriptors (E, N, ...).
            labels: Class of each support, 0..W-1, the same in all episodes.
            way: W.
            text: Embedded class names in ascending order of label, such as CLIP's of "a photo of
                {class}", of any length (they are not normalised here or there).

        Raises:
            ArgumentError: The mode needs texts and there are none, or they have another shape.
        """
        mode = self.config.mode
        if text is None and mode != "visual":
            raise ArgumentError(
                f"mode {mode!r} needs class texts and none were given; "
                "give text= or take mode='visual'"
            )
        if text is None:
            return self._visual(query, support, labels, way, None)
        self._check_text(text, len(query["frames"]), way)
        if mode == "text":
            return self._text_log_probabilities(query["frames"], text)
        logits = self._visual(query, support, labels, way, text)
        if mode == "visual":
            return logits
        share, frames = self.config.text_weight, query["frames"].shape[-2]
        visual = (logits / frames).log_softmax(-1)
        spoken = self._text_log_probabilities(query["frames"], text)
        mixed: Tensor = share * spoken + (1 - share) * visual
        return mixed

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]]:
        """Expected path and cosine of each support taken for itself and without text."""
        cosine = _frame_cosine(query["context"], support["context"])
        return otam_plan(1 - cosine, softening=self.config.softening), cosine

    def class_logits(
        self, features: Features, text: Float[Tensor, "classes c"]
    ) -> Float[Tensor, "b classes"]:
        """Scaled cosine of each video's mean frame, before any context, with each text."""
        logits: Tensor = self.scale * cosine_eps(
            features.pooled.float().mean(1), text.to(self.scale)
        )
        return logits

    def prepare_training(
        self, *, classes: int, text: Float[Tensor, "classes c"] | None = None
    ) -> None:
        """Keep the texts of the training classes, where there are any.

        Args:
            classes: Number of training classes.
            text: Their embedded names; frozen. Without them there is no video-text loss, and
                prototypes are modulated without text.

        Raises:
            ArgumentError: There is not one text per class, of the configured length.
        """
        if text is None:
            return
        if text.shape != (classes, self.config.channels):
            raise ArgumentError(
                f"text has the shape {tuple(text.shape)}; expected one row per training class, "
                f"({classes}, {self.config.channels})"
            )
        self.extra["text"] = nn.Embedding(
            classes,
            self.config.channels,
            _weight=text.detach().clone().to(self.scale),
            _freeze=True,
        )

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """``episode``: cross entropy of the aligned queries. ``text``: λ · that of all videos.

        The official code divides both by its batch of 4 episodes and adds up the gradients of those:
        the mean over E episodes that is taken here.
        """
        query, support = batch.by_episode(self.encode(batch.query), self.encode(batch.support))
        table = cast(Tensor, self.extra["text"].weight) if "text" in self.extra else None
        supports, queries, text = batch.support_classes, batch.query_classes, None
        found: dict[str, Tensor] = {}
        if table is not None and supports is not None and queries is not None:
            classes = torch.cat([supports, queries]).to(table.device).long()
            texts, count = table[classes], len(supports)
            sides = {"text": texts[count:]}, {"text": texts[:count]}
            each = batch.by_episode(*sides)[1]["text"][:, :, None]  # (E, N, 1, d)
            text = class_prototypes(each, batch.labels, way=batch.way)[:, :, 0]
            spoken = [self.class_logits(side, table) for side in (batch.support, batch.query)]
            found["text"] = self.config.classification_weight * functional.cross_entropy(
                torch.cat(spoken), classes
            )
        logits = self._visual(query, support, batch.labels, batch.way, text)
        return {"episode": episode_loss(logits, batch), **found}

    def _visual(
        self,
        query: Descriptors,
        support: Descriptors,
        labels: Tensor,
        way: int,
        text: Tensor | None,
    ) -> Tensor:
        """Negative OTAM distance between the queries and the modulated prototypes."""
        prototypes = self._prototypes(support, labels, way, text)
        queries = query["context"]
        distance = 1 - _frame_cosine(queries, prototypes)
        found = otam_distance(distance, softening=self.config.softening)
        if self.config.both:
            found = found + otam_distance(distance.mT, softening=self.config.softening)
        return -found

    def _prototypes(
        self, support: Descriptors, labels: Tensor, way: int, text: Tensor | None
    ) -> Tensor:
        """Modulated frames of each class (E, W, T, d)."""
        if self.config.merge_before:
            frames = class_prototypes(support["frames"], labels, way=way)
            return self._modulated(frames, text)
        if text is None:
            return class_prototypes(support["context"], labels, way=way)
        modulated = self._modulated(support["frames"], text[:, labels])
        return class_prototypes(modulated, labels, way=way)

    def _modulated(self, frames: Tensor, text: Tensor | None) -> Tensor:
        """Frames after the transformer over them and a text token, which is then taken off."""
        tokens = frames if text is None else torch.cat([frames, text[:, :, None].to(frames)], 2)
        found: Tensor = self.context(tokens)[:, :, : frames.shape[2]]
        return found

    def _text_log_probabilities(self, frames: Tensor, text: Tensor) -> Tensor:
        video = functional.normalize(frames.mean(2), dim=-1)
        cosine = video @ functional.normalize(text.to(frames), dim=-1).mT
        return (self.scale * cosine).log_softmax(-1)

    def _check_text(self, text: Tensor, episodes: int, way: int) -> None:
        if text.shape != (episodes, way, self.config.channels):
            raise ArgumentError(
                f"text has the shape {tuple(text.shape)}; expected one embedding per class of each "
                f"episode, ({episodes}, {way}, {self.config.channels})"
            )


def _frame_cosine(query: Tensor, other: Tensor) -> Tensor:
    """Cosine between all frames: (E, Q, T, d) and (E, N, S, d) → (E, Q, N, T, S)."""
    cosine = cosine_eps(query.flatten(1, 2), other.flatten(1, 2))
    cosine = torch.unflatten(cosine, 2, (other.shape[1], -1))  # (E, Q·T, N, S)
    return torch.unflatten(cosine, 1, (query.shape[1], -1)).transpose(2, 3)
