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
from a2m2_zoo.evaluation.openset import open_features, pairs_of
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Descriptors, Method, as_pairwise
from a2m2_zoo.recognition.calibration import best_scale, episodes_scale
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.rejection import Table, fit_table_row
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.video import Preprocess

MODEL, BACKBONE = "model.safetensors", "backbone.safetensors"
_SHOTS = (1, 2, 5, 10)
_WAYS = {2: 400, 5: 300, 10: 60}  # known classes, and as many unknown, and episodes at most


@dataclass(frozen=True)
class BackboneOrigin:
    """Where a backbone's weights come from, as a model's record says it.

    Attributes:
        name: Of these weights in the manifest, or of the architecture.
        sha256: Of their file.
        file: Their own file; None where the manifest names them.
        built: Whether the architecture is built with them; such are written as tuned ones are.
    """

    name: str
    sha256: str
    file: Path | None = None
    built: bool = False


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
    rejection: Table | None = None,
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
        rejection: From ``rejecting``.

    Raises:
        SaveError: It could not be written.
    """
    beside = None
    if backbone_file is None or backbone_file.built:
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
        rejection=rejection,
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
    method: Method, clips: Descriptors, given: Calibration, config: TrainingConfig
) -> dict[int, float]:
    """Shots → factor on the logits with the best probabilities on classes that were not trained on.

    Args:
        method: The trained head, in evaluation mode.
        clips: Descriptors of the clips by it.
        given: Of which classes they are, and how many episodes.
        config: Way, and the shots of the validation.
    """
    validation = given.clips
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


@torch.inference_mode()
def rejecting(method: Method, clips: Descriptors, given: Calibration) -> Table | None:
    """Weights of rejection, fitted to classes that were not trained on: half of the queries are of none.

    Args:
        method: The trained head, in evaluation mode.
        clips: Descriptors of the clips by it.
        given: Of which classes they are, and how many episodes.

    Returns:
        None for a method without scores of pairs, where the classes were trained on, or where there are too
        few classes or clips: a choice of two and two unknown ones, with three clips each, is the least.
    """
    pairwise, labels = as_pairwise(method), given.clips.labels
    ways = [way for way in _WAYS if 2 * way <= len(given.clips.names)]
    fewest = int(labels.bincount().amin())
    shots = [shot for shot in _SHOTS if shot + 2 <= fewest]
    if pairwise is None or not ways or not shots or given.clips.asked is not None:
        return None
    table: dict[int, tuple[float, ...]] = {}
    for shot in shots:
        parts = [
            open_features(
                pairwise,
                clips,
                labels,
                EpisodeForm(
                    way=way,
                    shot=shot,
                    query=2,
                    episodes=min(given.episodes, _WAYS[way]),
                    seed=given.seed,
                ),
            )
            for way in ways
        ]
        features, known = (torch.cat(rows) for rows in zip(*parts, strict=True))
        table[shot] = fit_table_row(features, known)
    return table
