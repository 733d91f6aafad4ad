"""MoLo: motion-augmented long-short contrastive learning.

Wang et al., "MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition" (CVPR
2023). Frames, and the changes between them, each pass a temporal encoder with a global token; clips are
compared by set matching of the local tokens of both. ``docs/reference/methods/molo.md`` says what
differs from the official code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, Method, TrainingBatch, episode_loss
from a2m2_zoo.methods.blocks._config import MOST_FRAMES, Config
from a2m2_zoo.methods.blocks.global_token import GlobalTokenEncoder
from a2m2_zoo.methods.blocks.motion_autodecoder import MotionBranch, MotionDecoder, picture_changes
from a2m2_zoo.ops.alignment import bimhm_distance, frame_cosines, otam_distance
from a2m2_zoo.ops.shots import class_prototypes

_PARTS = ("appearance", "motion")


@dataclass(frozen=True)
class MoLoConfig(Config):
    """A MoLo head. Defaults are those of the official SSv2-Small configuration on ResNet-50.

    Weights of losses are relative to a cross entropy averaged over the episodes of an optimiser step.

    Attributes:
        stage: Stage of the backbone whose maps are read.
        channels: Channels d of those maps.
        motion_channels: Channels r of the differential features.
        frames: Frames per clip (T), at least 2.
        heads: Heads of the temporal encoders.
        hidden: Channels between the layers of their feed-forward parts.
        position_scale: A: tokens are multiplied by √(d/A) before the position is added.
        position_weight: B: weight of the position.
        matching: ``"bimhm"`` or ``"otam"``.
        single_direct: From the query to the class only, instead of both directions.
        softening: λ of OTAM.
        motion_weight: Weight of the motion's distance beside the appearance's.
        class_weight: Weight of the classification of every clip among the training classes.
        contrast_weight: Weight of each of the four long-short contrastive terms.
        reconstruction_weight: Weight of the mean squared error of the decoder's pictures. The official
            code does not divide this term by its 4 episodes per step: 4·λ of its configurations.
    """

    stage: str = "layer4"
    channels: int = 2048
    motion_channels: int = 256
    frames: int = 8
    heads: int = 8
    hidden: int = 2048
    position_scale: float = 10.0
    position_weight: float = 1.0
    matching: str = "bimhm"
    single_direct: bool = False
    softening: float = 0.1
    motion_weight: float = 0.3
    class_weight: float = 0.15
    contrast_weight: float = 0.05
    reconstruction_weight: float = 0.2

    def __post_init__(self) -> None:
        self._choice("matching", ("bimhm", "otam"))
        self._flag("single_direct")
        self._integer("frames", low=2, high=MOST_FRAMES)
        for name in ("channels", "motion_channels", "heads", "hidden"):
            self._integer(name, low=1)
        for name in ("position_scale", "softening"):
            self._number(name, low=0.0, above=True)
        for name in ("position", "motion", "class", "contrast", "reconstruction"):
            self._number(f"{name}_weight", low=0.0)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> MoLoConfig:
        """The head for the deepest maps of ``backbone`` and clips of ``frames`` frames.

        Raises:
            ArgumentError: The backbone has no maps, or ``frames`` is below 2.
        """
        if not backbone.stages:
            raise ArgumentError(
                f"{backbone.name} gives no maps and MoLo reads maps; choose another backbone"
            )
        stage, channels = list(backbone.stages.items())[-1]
        return cls(
            stage=stage, channels=channels, motion_channels=max(1, channels // 8), frames=frames
        )


class MoLo(Method):
    """MoLo's head over the maps of one stage.

    Descriptors of a clip are ``appearance`` (T + 1, d), the encoded frames, and ``motion`` (T, d), the
    encoded changes between them; token 0 of each is the global one.
    """

    config: MoLoConfig

    def __init__(self, config: MoLoConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = (config.stage,)
        self.motion = MotionBranch(config.channels, config.motion_channels)
        self.encoders = nn.ModuleDict(
            {
                part: GlobalTokenEncoder(
                    config.channels,
                    length=length,
                    heads=config.heads,
                    hidden=config.hidden,
                    position_scale=config.position_scale,
                    position_weight=config.position_weight,
                )
                for part, length in zip(_PARTS, (config.frames, config.frames - 1), strict=True)
            }
        )

    def encode(self, features: Features) -> Descriptors:
        """Tokens of B clips.

        Raises:
            ArgumentError: The clips have another number of frames than configured.
        """
        return self._encode(features)[0]

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Minus the weighted distance of the local tokens to those of the class prototypes.

        A prototype is the mean over the shots of the encoded tokens.
        """
        classes = self._prototypes(support, labels, way)
        return self._logits(
            {
                part: 1 - frame_cosines(query[part][:, :, 1:], classes[part][:, :, 1:])
                for part in _PARTS
            }
        )

    def prepare_training(self, *, classes: int) -> None:
        """Add the decoder, the scales of the contrastive logits and the classifier."""
        dim = self.config.channels
        self.extra = nn.ModuleDict(
            {
                "decoder": MotionDecoder(self.config.motion_channels),
                "scales": nn.ParameterDict({part: torch.ones(()) for part in _PARTS}),
                "classifier": nn.Linear(dim, classes),
            }
        ).to(self.motion.up.weight.device)

    def losses(self, batch: TrainingBatch) -> dict[str, Float[Tensor, ""]]:
        """``episode``, ``contrast``, ``class`` and ``reconstruction``, each already weighted.

        Those whose part, input or weight is absent are left out. Batch normalisation in the decoder takes
        its statistics over supports and queries together, and over all episodes of the batch (the official
        code has one).

        Raises:
            ArgumentError: Clips or pictures have another number of frames than configured.
        """
        support, support_change = self._encode(batch.support)
        query, query_change = self._encode(batch.query)
        queries, shots = batch.by_episode(query, support)
        classes = self._prototypes(shots, batch.labels, batch.way)
        distances = {part: 1 - frame_cosines(queries[part], classes[part]) for part in _PARTS}
        logits = self._logits({part: d[..., 1:, 1:] for part, d in distances.items()})
        found = {"episode": episode_loss(logits, batch)}
        config = self.config
        if "scales" in self.extra and config.contrast_weight:
            terms = [episode_loss(logits, batch) for logits in self._contrasts(distances)]
            found["contrast"] = config.contrast_weight * torch.stack(terms).sum()
        classes_of = _if_all(batch.support_classes, batch.query_classes)
        if "classifier" in self.extra and config.class_weight and classes_of:
            logits = torch.cat([self._class_logits(support), self._class_logits(query)])
            truth = torch.cat(classes_of).to(logits.device)
            found["class"] = config.class_weight * functional.cross_entropy(logits, truth)
        frames = _if_all(batch.support_frames, batch.query_frames)
        if "decoder" in self.extra and config.reconstruction_weight and frames:
            change = torch.cat([support_change, query_change])
            pictures = self.extra["decoder"](change.flatten(0, 1))
            drawn = torch.cat([self._changes(side, pictures) for side in frames])
            error = functional.mse_loss(pictures, drawn)
            found["reconstruction"] = config.reconstruction_weight * error
        return found

    def _encode(self, features: Features) -> tuple[dict[str, Tensor], Tensor]:
        """Descriptors, and the differential features (B, T − 1, r, h, w) that the decoder draws from."""
        maps = features.maps[self.config.stage].to(self.motion.up.weight.dtype)
        self._check(maps.shape[1], "clips")
        change, movement = self.motion(maps)
        return {
            "appearance": self.encoders["appearance"](maps.mean((-2, -1))),
            "motion": self.encoders["motion"](movement),
        }, change

    def _prototypes(self, support: Descriptors, labels: Tensor, way: int) -> dict[str, Tensor]:
        return {part: class_prototypes(support[part], labels, way=way) for part in _PARTS}

    def _logits(self, distances: Mapping[str, Tensor]) -> Tensor:
        """Logits (E, Q, W) from distances (E, Q, W, S, S) between the local tokens of both parts."""
        appearance, motion = (self._match(distances[part]) for part in _PARTS)
        return -(appearance + self.config.motion_weight * motion)

    def _match(self, distance: Tensor) -> Tensor:
        both = not self.config.single_direct
        if self.config.matching == "bimhm":
            return bimhm_distance(distance, both=both)
        softening = self.config.softening
        forth = otam_distance(distance, softening=softening)
        return forth + otam_distance(distance.mT, softening=softening) if both else forth

    def _contrasts(self, distances: Mapping[str, Tensor]) -> list[Tensor]:
        """Long-short contrastive logits (E, Q, W): one side as a whole, the other token by token.

        For appearance and then motion: query against class, class against query.
        """
        found = []
        for part, scale in zip(_PARTS, self._scales(), strict=True):
            found += [
                -scale * distances[part][..., 0, 1:].sum(-1),
                -scale * distances[part][..., 1:, 0].sum(-1),
            ]
        return found

    def _scales(self) -> list[Tensor]:
        scales = self.extra["scales"]
        assert isinstance(scales, nn.ParameterDict)
        return [scales[part] for part in _PARTS]

    def _class_logits(self, clips: Descriptors) -> Tensor:
        whole = clips["appearance"].mean(1) + clips["motion"].mean(1)
        logits: Tensor = self.extra["classifier"](whole)
        return logits

    def _changes(self, frames: Tensor, pictures: Tensor) -> Tensor:
        """What the decoder should have drawn, in the size, precision and place of what it drew."""
        self._check(frames.shape[1], "pictures of clips")
        height, width = pictures.shape[-2:]
        return picture_changes(frames.to(pictures), size=(height, width))

    def _check(self, frames: int, what: str) -> None:
        if frames != self.config.frames:
            raise ArgumentError(
                f"{what} have {frames} frames; this model was built for {self.config.frames}"
            )


def _if_all(*tensors: Tensor | None) -> list[Tensor]:
    given = [tensor for tensor in tensors if tensor is not None]
    return given if len(given) == len(tensors) else []
