"""The values of every recipe, each as official or ours.

Official are, beside the tables: ``run.py`` of TRX (commit 390c20a), and for OTAM the defaults of the
few-shot-action-recognition library (3687f3a). Where published code does another thing than its configuration
says, the value here is what the code does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from a2m2_zoo.data.benchmarks import list_benchmarks, official_preprocess
from a2m2_zoo.training import recipe_tables as tables

_RESNET = "ImageNet weights of ResNet-50 (torchvision's ResNet50_Weights.IMAGENET1K_V1)"
_CLIP_RN50 = "OpenAI's weights of CLIP RN50 (open_clip's tag openai)"
_CLIP_VIT = "OpenAI's weights of CLIP ViT-B/16 (open_clip's tag openai)"
_Statistics = tuple[Sequence[float], Sequence[float]]

# fmt: off
_IMAGENET: _Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: _Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# Steps of four episodes.
_A2M2_STEPS = {"kinetics100": 3000, "ssv2-full": 12500, "ssv2-small": 5000, "hmdb51": 1500, "ucf101": 2000}

_CROP_ALONE = {"augment.flip": 0.0, "augment.brightness": 0.0, "augment.contrast": 0.0,
               "augment.saturation": 0.0, "augment.hue": 0.0, "augment.grayscale": 0.0,
               "augment.sides": "query"}
_QUERY_COLOUR = {"augment.flip": 0.5, "augment.brightness": 0.5, "augment.contrast": 0.5,
                 "augment.saturation": 0.5, "augment.hue": 0.25, "augment.grayscale": 0.3,
                 "augment.sides": "query"}
_FLIP = _CROP_ALONE | {"augment.flip": 0.5, "augment.sides": "both"}
# What MoLo, CLIP-FSAR and HyRSM share. The decay is OPTIMIZER's, whatever SOLVER says; HyRSM's was not seen.
_ADAM = {"training.way": 5, "training.shot": 1, "training.batch": 1, "training.optimiser": "adam",
         "training.betas": (0.9, 0.999), "training.freeze_norms": False}
_DECAY = {"training.weight_decay": 1e-3}
# What no published code has: validation on the validation classes, and no clipping was seen there.
_WATCH = {"training.clip": 0.0, "training.patience": 0, "training.validate_episodes": 1000,
          "training.precision": "float32"}
# Frames of tests are drawn at random in the official code; here tests can be repeated.
_SAMPLING = {"preprocess.sampling": "centres"}
# fmt: on


@dataclass(frozen=True)
class Values:
    """A recipe as written down; ``recipes.Recipe`` says what the fields are.

    Attributes:
        official: Dotted field → value.
        ours: Dotted field → value.
    """

    name: str
    method: str
    backbone: str
    weights: str
    benchmark: str | None
    source: str
    prompt: str = ""
    start: str | None = None
    cautious: bool = False
    official: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)


def all_values() -> list[Values]:
    """Every recipe, those of A²M² first."""
    makers = (_a2m2_resnet, _a2m2_clip, _molo, _clip_fsar, _clip_fsar_vit, _hyrsm, _trx, _otam)
    return [make(name) for make in makers for name in list_benchmarks()] + [_lite(), _small()]


def _molo(name: str) -> Values:
    far, schedule = name == "kinetics100", tables.MOLO[name]
    return Values(
        f"molo-resnet50-{name}", "molo", "resnet50", _RESNET, name,
        source=f"MoLo, configuration of {name}. {schedule.stated}",
        official=_images("molo") | _ADAM | _DECAY | _QUERY_COLOUR | schedule.effective(per_step=4) | {
            "training.query": 6,
            "method.class_weight": tables.MOLO_CLASS[name],
            "method.contrast_weight": 0.05,
            "method.reconstruction_weight": tables.MOLO_PICTURE[name],
            "method.position_scale": 2048.0 if far else 10.0,
            "method.position_weight": 0.02 if far else 1.0,
        },
        ours=_SAMPLING | _WATCH | _every(schedule.episodes // 4),
    )  # fmt: skip


def _clip_fsar(name: str) -> Values:
    colours = _QUERY_COLOUR if name == "kinetics100" else _CROP_ALONE
    schedule = tables.CLIP_FSAR[name]
    return Values(
        f"clip-fsar-rn50-{name}", "clip-fsar", "clip:RN50-quickgelu", _CLIP_RN50, name,
        source=f"CLIP-FSAR, configuration of {name}. {schedule.stated}",
        prompt="a photo of {}",
        official=_images("clip-fsar") | _ADAM | _DECAY | colours | schedule.effective(per_step=4) | {
            "training.query": 5,
            "method.classification_weight": tables.CLIP_TEXT[name],
        },
        ours=_SAMPLING | _WATCH | _every(schedule.episodes // 4),
    )  # fmt: skip


def _clip_fsar_vit(name: str) -> Values:
    given = _clip_fsar(name)
    images = {k: v for k, v in given.official.items() if k.startswith("preprocess.")}
    rest = {k: v for k, v in given.official.items() if k not in images}
    return Values(
        f"clip-fsar-vit-b-16-{name}", "clip-fsar", "clip:ViT-B-16-quickgelu", _CLIP_VIT, name,
        source="Settings for ViT-B/16 were never published; these are CLIP-FSAR's for RN50.",
        prompt=given.prompt, official=images, ours=rest | dict(given.ours),
    )  # fmt: skip


def _hyrsm(name: str) -> Values:
    far, per_step = name == "kinetics100", 2 if name == "hmdb51" else 4
    written = tables.HYRSM[name]
    return Values(
        f"hyrsm-resnet50-{name}", "hyrsm", "resnet50", _RESNET, name,
        source=f"HyRSM, 1-shot configuration of {name}. {written.stated} For 5-shot training set shot 5, "
        "query 3 and the method's shots to prototypes.",
        official=_images("molo") | _ADAM | _QUERY_COLOUR | written.effective(per_step=per_step) | {
            "training.query": 7,
            "method.shots": "videos",
            "method.classification_weight": tables.HYRSM_FRAMES[name],
            "method.feature_scale": 2048.0 if far else 10.0,
            "method.position_scale": 0.01 if far else 1.0,
        },
        ours=_SAMPLING | _DECAY | _WATCH | _every(written.episodes // per_step),
    )  # fmt: skip


def _trx(name: str) -> Values:
    known = name == "ssv2-full"
    count = (75_000 if name.startswith("ssv2") else 10_000) // 16
    steps = {"training.steps": count}
    return Values(
        f"trx-resnet50-{name}", "trx", "resnet50", _RESNET, name,
        source="TRX, defaults of run.py, which are for SSv2 with OTAM's split (75,000 episodes, 16 a step); "
        "the number of episodes elsewhere is ours. The loss is a sum over queries, as the rate supposes.",
        official=_images("trx") | _FLIP | (steps if known else {}) | {
            "training.way": 5, "training.shot": 5, "training.query": 5,
            "training.batch": 1, "training.accumulate": 16,
            "training.lr": 1e-3, "training.backbone_lr": 1e-3, "training.optimiser": "sgd",
            "training.weight_decay": 0.0, "training.schedule": "steps", "training.warmup": 0,
            "method.official_loss": True,
        },
        ours=_SAMPLING | _WATCH | _every(count) | ({} if known else steps),
    )  # fmt: skip


def _otam(name: str) -> Values:
    known = name == "ssv2-full"
    count = 50_000 if known else 10_000
    rates = {
        "training.batch": 1, "training.accumulate": 1, "training.lr": 1e-3,
        "training.backbone_lr": 1e-3, "training.optimiser": "sgd",
        "training.steps": count,
    }  # fmt: skip
    return Values(
        f"otam-resnet50-{name}", "otam", "resnet50", _RESNET, name,
        source="The authors' code was not released. For SSv2 the few-shot-action-recognition library trains "
        "50,000 episodes, one a step, by SGD at 1e-3 (16 a step collapse); the rest is ours.",
        official=rates if known else {},
        ours=_ours_images(_IMAGENET) | _FLIP | _WATCH | _every(count) | {
            "training.way": 5, "training.shot": 1, "training.query": 5,
            "training.weight_decay": 0.0, "training.schedule": "steps", "training.warmup": 0,
            "training.freeze_norms": True,
        } | ({} if known else rates),
    )  # fmt: skip


def _a2m2_resnet(name: str) -> Values:
    return _a2m2(name, "resnet50", "resnet50", _RESNET, statistics=_IMAGENET, backbone_lr=1e-5)


def _a2m2_clip(name: str) -> Values:
    return _a2m2(
        name, "clip-vit-b-16", "clip:ViT-B-16-quickgelu", _CLIP_VIT,
        statistics=_CLIP, backbone_lr=2e-6,
    )  # fmt: skip


def _a2m2(
    name: str,
    short: str,
    backbone: str,
    weights: str,
    *,
    statistics: _Statistics,
    backbone_lr: float,
) -> Values:
    mirror = 0.0 if name.startswith("ssv2") else 0.5  # "from left to right" is a class there
    steps = _A2M2_STEPS[name]
    return Values(
        f"a2m2-{short}-{name}", "a2m2", backbone, weights, name,
        source="No code of the paper is public: every number is ours.",
        ours=_ours_images(statistics) | _every(steps) | {
            "augment.flip": mirror, "augment.brightness": 0.4, "augment.contrast": 0.4,
            "augment.saturation": 0.4, "augment.hue": 0.1, "augment.grayscale": 0.2,
            "augment.sides": "both",
            "training.way": 5, "training.shot": 1, "training.query": 5,
            "training.batch": 1, "training.accumulate": 4, "training.steps": steps,
            "training.lr": 2e-4, "training.backbone_lr": backbone_lr, "training.warmup": steps // 20,
            "training.weight_decay": 0.05, "training.clip": 1.0, "training.precision": "bfloat16",
            "training.freeze_norms": True, "training.validate_episodes": 1000, "training.patience": 0,
            "method.m2.*.dim": 64, "method.m2.*.reduce": "mlp", "method.a2.learn_weights": True,
            "method.centring": 5.0, "after.centring": 0.0,  # as the shipped head, see below
        },
    )  # fmt: skip


def _lite() -> Values:
    return Values(
        "a2m2-lite0", "a2m2", "lite", "", None,
        source="Ours: the shipped head, on the embedded EfficientNet-Lite0, trained on generated classes.",
        start="a2m2-lite0-free",
        ours=_ours_images(([127 / 255] * 3, [128 / 255] * 3)) | {
            "preprocess.resize": 224,
            "training.way": 5, "training.shot": 1, "training.query": 2, "training.batch": 4,
            "training.steps": 800, "training.lr": 2e-3, "training.warmup": 30,
            "training.weight_decay": 0.0, "training.clip": 1.0, "training.patience": 0,
            "training.validate_every": 200, "training.validate_episodes": 400,
            "method.m2.*.dim": 32, "method.m2.*.reduce": "context",
            "method.a2.temperature": 3.83, "method.a2.learn_temperature": True,
            "method.a2.weights": [1.0] * 4, "method.pool": 0.2, "method.centring": 5.0,
            "distortion.moved": 0.3, "distortion.domain": 0.3,
            "generated.seed": 21, "generated.classes": 1600, "generated.studio": 8,
            "generated.inside": 3, "generated.in_studio": 7, "generated.anywhere": 3,
            "generated.held": 20, "generated.held_clips": 12, "generated.held_seed": 11,
            "generated.held_episodes": 300,
            # Training takes off what the supports share, since it hides what is easy; of answers, ridge
            # regression takes care.
            "after.centring": 0.0, "after.pool": 0.0, "after.pose": 1.0,
        },
    )  # fmt: skip


def _small() -> Values:
    return Values(
        "small", "a2m2", "lite", "", None,
        source="Ours, for about ten classes of twenty clips: chosen on generated classes alone.",
        start="a2m2-lite0", cautious=True,
        ours=_ours_images(([127 / 255] * 3, [128 / 255] * 3)) | {
            "preprocess.resize": 224,
            "training.way": 5, "training.shot": 1, "training.query": 2,
            "training.batch": 6, "training.deals": 6, "training.pool": 8,
            "training.steps": 60, "training.lr": 1e-3, "training.warmup": 10,
            "training.weight_decay": 0.0, "training.clip": 1.0, "training.patience": 0,
            "training.validate_every": 20, "training.validate_episodes": 400,
            # As the shipped head was trained; what is kept has the model's own again.
            "method.centring": 5.0, "method.pool": 0.2,
            "distortion.moved": 0.3, "distortion.domain": 0.3,
        },
    )  # fmt: skip


def _images(family: str) -> dict[str, Any]:
    """What a family feeds its backbone, but for the sampling of test frames."""
    found = {f"preprocess.{k}": v for k, v in official_preprocess(family).items()}
    return {k: v for k, v in found.items() if k not in _SAMPLING}


def _ours_images(statistics: _Statistics) -> dict[str, Any]:
    """256 on the short side, the middle 224, and the statistics the backbone was trained with."""
    mean, std = statistics
    return _images("trx") | _SAMPLING | {"preprocess.mean": list(mean), "preprocess.std": list(std)}


def _every(steps: int) -> dict[str, Any]:
    return {"training.validate_every": max(10, steps // 20)}
