"""Write what follows from code: the manifest's JSON Schema, its planned and computed models, Hub backbones.

    python tools/write_manifest.py

Embedded models keep their entries, which tools/build_free_head.py and tools/train_lite0.py write. Run it
after a recipe changed; ``tests/hub/test_manifest.py`` says when that is due.
"""

from __future__ import annotations

import json
from typing import Any

from build_free_head import DATA, write_manifest

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.data.benchmarks import list_benchmarks
from a2m2_zoo.hub.manifest import json_schema, package_file
from a2m2_zoo.hub.source import HF
from a2m2_zoo.training.recipes import Recipe, recipe

OTHERS = "published by its authors; commit and hash as others recorded them, not yet fetched by us"


def transformers(name: str, repo_id: str, commit: str, **facts: Any) -> dict[str, Any]:
    """A backbone that its repository describes for transformers."""
    source = {"repo_id": repo_id, "commit": commit, "file": "model.safetensors"}
    facts["origin"] = f"{facts['origin']}, {OTHERS}"
    return {"id": name, "architecture": f"{HF}{repo_id}@{commit}", "source": source, **facts}


TIMM = "published by timm; commit and hash as others recorded them, not yet fetched by us"
BACKBONES: list[dict[str, Any]] = [
    {
        "id": "clip-vit-b-16",
        "architecture": "clip:ViT-B-16-quickgelu",
        "source": {
            "repo_id": "timm/vit_base_patch16_clip_224.openai",
            "commit": "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d",
            "file": "open_clip_model.safetensors",
        },
        "sha256": "4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
        "size": None,
        "license": "MIT",
        "origin": "CLIP ViT-B/16 (Radford et al., ICML 2021), OpenAI's weights in open_clip's form, "
        + TIMM,
    },
    {
        "id": "clip-rn50",
        "architecture": "clip:RN50-quickgelu",
        "source": {
            "repo_id": "timm/resnet50_clip.openai",
            "commit": "ec3d92cf63a5f9d591f0d611b736895966c73076",
            "file": "open_clip_model.safetensors",
        },
        "sha256": "da0baa37fb2211eee5729ab69ed587eb10d48f5b7076ceeed01552fc3d4cb4ee",
        "size": 408291932,
        "license": "MIT",
        "origin": "CLIP RN50 (Radford et al., ICML 2021), OpenAI's weights in open_clip's form, "
        + TIMM,
    },
    transformers(
        "dinov2-small",
        "facebook/dinov2-small",
        "ed25f3a31f01632728cabb09d1542f84ab7b0056",
        sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
        size=88_249_960,
        license="Apache-2.0",
        origin="DINOv2 ViT-S/14 (Oquab et al., TMLR 2024)",
    ),
    transformers(
        "siglip2-base",
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        sha256="612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
        size=1_500_800_904,
        license="Apache-2.0",
        origin="SigLIP 2 ViT-B/16 (Tschannen et al., 2025)",
    ),
    transformers(
        "vjepa2-vitl",
        "facebook/vjepa2-vitl-fpc64-256",
        "b3c1679b7c34d3255ef3547f27c7b226aefab26f",
        sha256="25466aef85727d16546c6cf8c99f12fcfad9cbca8225d45f23685e2e025b786b",
        size=1_303_947_864,
        license="MIT",
        origin="V-JEPA 2 ViT-L (Assran et al., 2025)",
    ),
    {
        "id": "resnet50-imagenet",
        "architecture": "resnet50",
        "source": None,
        "sha256": None,
        "size": None,
        "license": "BSD-3-Clause",
        "origin": "ResNet-50 trained on ImageNet-1k, torchvision's ResNet50_Weights.IMAGENET1K_V1; give the "
        "file with --backbone-weights",
    },
]
COMPUTED = {
    "a2m2-clip-vit-b-16": ("clip-vit-b-16", "CLIP ViT-B/16"),
    "a2m2-clip-rn50": ("clip-rn50", "CLIP RN50"),
    "a2m2-dinov2-small": ("dinov2-small", "DINOv2 ViT-S/14"),
    "a2m2-siglip2-base": ("siglip2-base", "SigLIP 2 ViT-B/16"),
    "a2m2-vjepa2-vitl": ("vjepa2-vitl", "V-JEPA 2 ViT-L"),
}
PLANNED = ("a2m2-resnet50", "a2m2-clip-vit-b-16", "molo-resnet50", "clip-fsar-rn50")
NAMES = {"a2m2": "A2M2", "molo": "MoLo", "clip-fsar": "CLIP-FSAR"}


def computed(name: str, backbone: str, title: str) -> dict[str, Any]:
    """A training-free model on a backbone of the Hub."""
    cue = ", with a text cue" if backbone.startswith("clip") else ""
    return {
        "id": name,
        "status": "computed",
        "summary": f"A2M2 on {title}, training-free{cue}; needs the network once",
        "method": "a2m2",
        "benchmark": None,
        "backbone": backbone,
        "source": None,
        "sha256": None,
        "size": None,
        "license": "Apache-2.0",
        "data": DATA["training-free"],
        "config": {},
        "preprocess": {},
        "metrics": [],
        "trained_with": None,
    }


def planned(made: Recipe) -> dict[str, Any]:
    """What a recipe would make on the day that somebody has the videos."""
    backbone = next(entry["id"] for entry in BACKBONES if entry["architecture"] == made.backbone)
    weights = " --backbone-weights FILE" if backbone == "resnet50-imagenet" else ""
    head = made.build_method(build_backbone(made.backbone, text=False))
    return {
        "id": made.name,
        "status": "planned",
        "summary": f"{NAMES[made.method]} on {backbone}, for {made.benchmark}: nobody has trained it yet",
        "method": made.method,
        "benchmark": made.benchmark,
        "backbone": backbone,
        "source": None,
        "sha256": None,
        "size": None,
        "license": "Apache-2.0",
        "data": f"The training classes of {made.benchmark}, on the terms of that data set.",
        "config": head.config.to_dict(),
        "preprocess": made.preprocess.to_dict(),
        "metrics": [],
        "trained_with": f"a2m2 train VIDEOS --list LIST --benchmark {made.benchmark} --recipe {made.name}"
        f"{weights} --out RUN",
    }


def main() -> None:
    """Keep what is embedded or released, write the rest anew."""
    path = package_file("weights_manifest.json")
    held = json.loads(path.read_text())
    own = {entry["id"] for entry in BACKBONES}
    kept = [m for m in held["models"] if m["status"] in ("embedded", "released")]
    names = [f"{stem}-{benchmark}" for stem in PLANNED for benchmark in list_benchmarks()]
    held["backbones"] = [b for b in held["backbones"] if b["id"] not in own] + BACKBONES
    held["models"] = [
        *kept,
        *(computed(name, *of) for name, of in COMPUTED.items()),
        *(planned(recipe(name)) for name in names),
    ]
    write_manifest(held)
    schema = json.dumps(json_schema(), indent=1)
    package_file("hub/manifest.schema.json").write_text(f"{schema}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
