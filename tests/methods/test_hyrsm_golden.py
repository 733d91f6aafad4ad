from __future__ import annotations

from typing import Any

import pytest
import torch
from golden import close, golden_tensors, official_state
from torch import Tensor
from torch.nn import functional

from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.methods.blocks.attention import channel_positions
from a2m2_zoo.methods.blocks.relation import coherence_weights
from a2m2_zoo.methods.hyrsm import HyRSM, HyRSMConfig, HyRSMPlusPlus, HyRSMPlusPlusConfig
from a2m2_zoo.zoo.convert.hyrsm import convert_hyrsm, convert_hyrsm_plus_plus

FILE = "hyrsm_golden.safetensors"
RUNS = [
    ("CNN_HyRSM_1shot", 1),
    ("CNN_HyRSM_1shot", 5),
    ("CNN_HyRSM_5shot", 5),
    ("CNN_HyRSM_plusplus_1shot", 1),
    ("CNN_HyRSM_plusplus_5shot", 5),
]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return golden_tensors(FILE)


def official(golden: dict[str, Tensor], kind: str, **changes: Any) -> HyRSM:
    state = official_state(golden)
    plus = "plusplus" in kind
    converted = (convert_hyrsm_plus_plus if plus else convert_hyrsm)(state, source="golden")
    shots = "videos" if kind.endswith("1shot") else "prototypes"
    values = {**converted.config.to_dict(), "shots": shots, **changes}
    method = (
        HyRSMPlusPlus(HyRSMPlusPlusConfig.from_dict(values))
        if plus
        else HyRSM(HyRSMConfig.from_dict(values))
    )
    method.load_state_dict(converted.head)
    return method.eval()


def official_batch(golden: dict[str, Tensor], shot: int) -> TrainingBatch:
    generator = torch.Generator().manual_seed(0)
    return TrainingBatch(
        query=Features({}, golden[f"in{shot}.target_features"]),
        support=Features({}, golden[f"in{shot}.support_features"]),
        labels=golden[f"in{shot}.support_labels"].long(),
        query_labels=golden[f"in{shot}.target_labels"].long(),
        way=5,
        support_classes=torch.randint(64, (5 * shot,), generator=generator),
        query_classes=torch.randint(64, (10,), generator=generator),
    )


@pytest.mark.parametrize(("kind", "shot"), RUNS)
def test_scores_are_the_official_ones(golden: dict[str, Tensor], kind: str, shot: int) -> None:
    method, batch, name = official(golden, kind), official_batch(golden, shot), f"{kind}.{shot}shot"
    expected = golden[f"{name}.logits"]
    close(method.episode_logits(batch)[0], expected, f"{name}.logits")
    losses = method.losses(batch)
    truth = functional.cross_entropy(expected, batch.query_labels)
    close(losses["episode"], truth, f"{name}.logits by losses")


@pytest.mark.parametrize(("kind", "shot"), RUNS)
def test_every_frame_is_classified_as_officially(
    golden: dict[str, Tensor], kind: str, shot: int
) -> None:
    method, batch, name = official(golden, kind), official_batch(golden, shot), f"{kind}.{shot}shot"
    expected = golden[f"{name}.class_logits"]
    method.prepare_training(classes=64)
    classifier = method.extra["classifier"]
    for part in ("weight", "bias"):
        getattr(classifier, part).data.copy_(golden[f"sd.classification_layer.{part}"])
    both = torch.cat([method.frames(batch.support), method.frames(batch.query)])
    close(classifier(both).flatten(0, 1), expected, f"{name}.class_logits")
    assert batch.support_classes is not None
    assert batch.query_classes is not None
    truth = torch.cat([batch.support_classes, batch.query_classes]).repeat_interleave(8)
    loss = method.config.classification_weight * functional.cross_entropy(expected, truth)
    close(method.losses(batch)["frames"], loss, f"{name}.class_logits by losses")


@pytest.mark.parametrize(("kind", "shot"), RUNS[3:])
@pytest.mark.parametrize("recipe", ["", "w1_t51_b20."])
def test_temporal_coherence_is_the_official_one(
    golden: dict[str, Tensor], kind: str, shot: int, recipe: str
) -> None:
    window, falloff, contrast = (1, 51.0, 20.0) if recipe else (3, 23.0, 10.0)
    method = official(
        golden, kind, window=window, falloff=falloff, contrast=contrast, coherence_weight=0.5
    )
    name = f"{kind}.{shot}shot.{recipe}loss_temporal_regular"
    found = method.losses(official_batch(golden, shot))["coherence"]
    close(found / 0.5, golden[name], name)


@pytest.mark.parametrize(("window", "falloff"), [(3, 23.0), (1, 51.0)])
def test_coherence_weights_are_the_official_ones(
    golden: dict[str, Tensor], window: int, falloff: float
) -> None:
    name = f"hyrsmpp.weight_w{window}_t{falloff:.0f}"
    close(coherence_weights(8, window=window, falloff=falloff), golden[name], name)


def test_positions_are_the_official_ones(golden: dict[str, Tensor]) -> None:
    close(channel_positions(20, 64), golden["sd.pe.pe"][0], "sd.pe.pe")
