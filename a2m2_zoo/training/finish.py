"""From trained weights to a model that ``load_model`` takes, its probabilities calibrated."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.backbones import Backbone
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.openset import pairs_of
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Method, as_pairwise
from a2m2_zoo.recognition.calibration import best_scale, episodes_scale
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.video import Preprocess

MODEL, BACKBONE = "model.safetensors", "backbone.safetensors"
_SHOTS = (1, 2, 5, 10)


@dataclass(frozen=True)
class BackboneOrigin:
    """Where a backbone's weights come from, as a model's record says it.

    Attributes:
        name: Of these weights in the manifest, or of the architecture.
        sha256: Of their file.
        file: Their own file; None where the manifest names them.
    """

    name: str
    sha256: str
    file: Path | None = None


def save_model(
    out: Path,
    method: Method,
    *,
    name: str,
    method_name: str,
    backbone: Backbone,
    backbone_file: BackboneOrigin | None,
    preprocess: Preprocess,
    scales: Mapping[int, float],
) -> Model:
    """Write a trained head, and its backbone where the manifest has none such, as a model.

    Args:
        out: Folder that gets ``model.safetensors`` and, for weights of its own, ``backbone.safetensors``.
        method: The trained head.
        name: The model's name.
        method_name: Of the method.
        backbone: The backbone it stands on.
        backbone_file: Where its weights come from; None if they were tuned.
        preprocess: How clips become frames.
        scales: From ``calibrated``.

    Raises:
        SaveError: It could not be written.
    """
    beside = None
    if backbone_file is None:
        state = backbone.state_dict()
        record = {"architecture": backbone.name}
        digest = checkpoint.save(out / BACKBONE, state, kind="backbone", record=record)
        backbone_file, beside = BackboneOrigin(backbone.name, digest), BACKBONE
    elif backbone_file.file is not None:
        file, beside = backbone_file.file, BACKBONE
        write_atomically(out / BACKBONE, lambda scratch: shutil.copyfile(file, scratch))
    model = Model(
        id=name,
        weights_hash="",
        backbone_hash=backbone_file.sha256,
        method_name=method_name,
        backbone_name=backbone_file.name,
        backbone=backbone,
        method=method,
        preprocess=preprocess,
        scales=scales,
        backbone_file=beside,
        origin="trained",
    )
    model.save(out / MODEL)
    return model


@dataclass(frozen=True)
class Calibration:
    """What probabilities are fitted on.

    Attributes:
        clips: Of classes that were not trained on.
        episodes: For each number of supports.
        seed: Of the episodes.
    """

    clips: Validation
    episodes: int
    seed: int

    @classmethod
    def of_validation(cls, clips: Validation, config: TrainingConfig) -> Calibration:
        """On the classes that were validated on, in other episodes."""
        return cls(clips, min(config.validate_episodes, 600), config.seed + 1)


@torch.inference_mode()
def calibrated(
    method: Method, backbone: Backbone | None, given: Calibration, config: TrainingConfig
) -> dict[int, float]:
    """Shots → factor on the logits with the best probabilities on classes that were not trained on.

    Args:
        method: The trained head, in evaluation mode.
        backbone: For clips that are frames.
        given: The clips, and how many episodes.
        config: Way, and the shots of the validation.
    """
    validation = given.clips
    clips = validation.descriptors(method, backbone)
    scales: dict[int, float] = {}
    pairwise = as_pairwise(method)
    form = EpisodeForm(way=config.way, episodes=given.episodes, seed=given.seed)
    for shot in sorted({*_SHOTS, *config.validate_shots}):
        try:
            draw = validation.draw(replace(form, shot=shot))
        except EpisodeError:  # too few clips for so many shots; those of fewer stand in
            continue
        if pairwise is None:
            logits = score_draw(method, clips, draw).flatten(0, 1)
            scales[shot] = best_scale(logits, draw.truth.repeat(len(draw)))
            continue
        asked, among = pairs_of(pairwise, clips, draw)
        scales[shot], _ = episodes_scale(pairwise.rule or "mean", asked, among, draw)
    return scales
