"""Convert BlazePose once: the published TensorFlow Lite files → the embedded safetensors file.

    npm pack @mediapipe/pose@0.5.1675469404 && tar xf mediapipe-pose-*.tgz
    pip install ai-edge-litert
    python tools/convert_blazepose.py package            # convert, write the golden file, compare
    python tools/convert_blazepose.py package --check    # only compare what is embedded

The folder holds ``pose_landmark_lite.tflite`` and ``pose_solution_packed_assets.data``, the whole of which
is the detector. Weights are in half precision there and stay so, bit for bit; those of the detector's
pointwise convolutions are mostly zero and are stored as the others and a mask. What the landmarks do not
depend on (heatmaps, the outline of the body, points in metres) is left out.

The comparison, with the original runtime on drawn pictures, is printed as JSON; the exit code is 1 if it
fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from a2m2_zoo.pose.blazepose import EMBEDDED, BlazePose, build_blazepose

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "a2m2_zoo" / "weights" / EMBEDDED
GOLDEN = ROOT / "tests" / "pose" / "blazepose_golden.safetensors"
DETECTOR, LANDMARK = "pose_solution_packed_assets.data", "pose_landmark_lite.tflite"
TOLERANCE = 1e-3
MASK_ABOVE = 0.25  # the share of zeros from which on a mask and the others are smaller

KEPT = ([1, 195], [1, 1])  # the landmark network's outputs that are kept, by their shapes

State = dict[str, Tensor]


def main() -> int:
    """Convert (unless ``--check``) and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="the unpacked npm package")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector, landmark = options.folder / DETECTOR, options.folder / LANDMARK
    if not options.check:
        facts = {
            "architecture": "BlazePose, detector and lite landmarks; no heatmaps, no outline",
            "source": f"npm @mediapipe/pose 0.5.1675469404, {DETECTOR} and {LANDMARK}",
            "source_sha256": ", ".join(
                hashlib.sha256(path.read_bytes()).hexdigest() for path in (detector, landmark)
            ),
            "license": "Apache-2.0",
        }
        state = convert(detector, "detector", detector_names())
        state |= convert(landmark, "landmarker", landmark_names())
        save_file(pack(state), WEIGHTS, metadata=facts)
        save_file(golden(detector, landmark), GOLDEN)
        for path in (WEIGHTS, GOLDEN):
            path.chmod(0o644)  # safetensors writes for the owner only; a wheel would keep that
    report = compare(build_blazepose(), golden(detector, landmark, n=6))
    report["bytes"] = WEIGHTS.stat().st_size
    print(json.dumps(report, indent=1))
    return 0 if report["passed"] else 1


def trunk_names(laterals: dict[int, str]) -> list[str]:
    """The trunk's convolutions in the order of the published graph.

    A side branch stands behind the widening of the block that follows.
    """
    names = ["trunk.stem", "trunk.blocks.0.depthwise", "trunk.blocks.0.project"]
    for i in range(1, 15):
        names.append(f"trunk.blocks.{i}.expand")
        if i - 1 in laterals:
            names += [f"{laterals[i - 1]}.lateral.{part}" for part in ("depthwise", "pointwise")]
        names += [f"trunk.blocks.{i}.{part}" for part in ("depthwise", "project")]
    return [*names, "trunk.expand", "trunk.depthwise"]


def separable(name: str) -> list[str]:
    """The two convolutions of `Separable` and `Residual`."""
    return [f"{name}.depthwise", f"{name}.pointwise"]


def detector_names() -> list[str]:
    """The detector's convolutions in the order of the published graph."""
    names = trunk_names({4: "fine", 10: "middle"})
    for level in ("middle", "fine"):
        names += [f"{level}.reduce", *separable(f"{level}.units.0"), *separable(f"{level}.units.1")]
    for i in range(3):
        names += separable(f"logits.{i}") + separable(f"boxes.{i}")
    return names


def landmark_names() -> list[str]:
    """The same of the landmark network, without what is left out."""
    names = trunk_names({}) + separable("reduce")
    for i in range(7):
        names += separable(f"units.{i}")
    return [*names, "points", "presence"]


def runtime(path: Path, **options: Any) -> Any:
    """The original runtime with one network, on one core."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1, **options)
    interpreter.allocate_tensors()
    return interpreter


def convert(path: Path, prefix: str, names: list[str]) -> State:
    """Weights as the runtime unpacks them: half precision made single, zeros put in."""
    from ai_edge_litert.interpreter import OpResolverType

    plain = (
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )  # a delegate keeps its weights to itself
    interpreter = runtime(
        path, experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain
    )
    interpreter.invoke()
    convolutions = [
        op for op in needed(interpreter, path.name == LANDMARK) if "CONV" in op["op_name"]
    ]
    own = {key: value.shape for key, value in getattr(BlazePose(), prefix).state_dict().items()}
    state: State = {}
    for name, op in zip(names, convolutions, strict=True):
        weight, bias = (torch.from_numpy(interpreter.get_tensor(i)) for i in op["inputs"][1:3])
        # (out, h, w, in) → (out, in, h, w); depthwise (1, h, w, out) → (out, 1, h, w).
        deep = op["op_name"] == "DEPTHWISE_CONV_2D"
        weight = weight.permute((3, 0, 1, 2) if deep else (0, 3, 1, 2)).contiguous()
        assert weight.shape == own[f"{name}.weight"], name
        for part, value in (("weight", weight), ("bias", bias)):
            half = value.half()
            assert torch.equal(half.float(), value), f"{name}.{part} is no half precision"
            state[f"{prefix}.{name}.{part}"] = half
    return state


def needed(interpreter: Any, landmark: bool) -> list[dict[str, Any]]:
    """The operations that what we keep depends on, in the order of the graph."""
    outputs = interpreter.get_output_details()
    wanted = {d["index"] for d in outputs if not landmark or d["shape"].tolist() in KEPT}
    kept = []
    for op in reversed(interpreter._get_ops_details()):
        if wanted & set(op["outputs"]):
            wanted |= set(op["inputs"])
            kept.append(op)
    return kept[::-1]


def pack(state: State) -> State:
    """1×1 convolutions of which many weights are zero → the others and a mask."""
    packed: State = {}
    for key, value in state.items():
        where = value != 0
        pointwise = value.shape[2:] == (1, 1) and value.shape[1] % 8 == 0
        if not pointwise or where.float().mean() > 1 - MASK_ABOVE:
            packed[key] = value
            continue
        mask = np.packbits(where[..., 0, 0].numpy(), axis=1)
        packed[key] = value[where]
        packed[key.removesuffix("weight") + "mask"] = torch.from_numpy(mask)
    return packed


def ask(path: Path, pictures: NDArray[np.float32]) -> list[Tensor]:
    """What the original says about pictures (n, h, w, 3): its outputs in the graph's order."""
    interpreter = runtime(path)
    details = interpreter.get_output_details()
    said: list[list[Tensor]] = [[] for _ in details]
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
        interpreter.invoke()
        for mine, detail in zip(said, details, strict=True):
            mine.append(torch.from_numpy(interpreter.get_tensor(detail["index"])[0].copy()))
    return [torch.stack(mine) for mine in said]


def drawn(n: int, side: int) -> Tensor:
    """Moving figures as the package draws them, three in one picture: (n, 3, side, side) in 0..255."""
    from a2m2_zoo.synthetic import draw_clip

    clips = [draw_clip(7, i, 0, frames=2, size=side, style="scene")[1] for i in range(n)]
    return torch.from_numpy(np.stack(clips)).permute(0, 3, 1, 2).float()


def golden(detector: Path, landmark: Path, n: int = 2) -> State:
    """What the published networks say about the drawn pictures, small enough to keep."""
    large, small = drawn(n, 224), drawn(n, 256)
    boxes, logits = ask(detector, (large / 127.5 - 1).permute(0, 2, 3, 1).numpy())
    said = ask(landmark, (small / 255).permute(0, 2, 3, 1).numpy())
    points, presence = (next(x for x in said if [1, *x.shape[1:]] == kept) for kept in KEPT)
    return {
        "boxes": boxes[:, ::8].contiguous(),
        "logits": logits[..., 0].contiguous(),
        "points": points.reshape(n, 39, 5).contiguous(),
        "presence": presence[:, 0].contiguous(),
    }


@torch.inference_mode()
def ours(network: BlazePose, n: int) -> State:
    """The same of ours."""
    boxes, logits = network.detector(drawn(n, 224) / 127.5 - 1)
    points, presence = network.landmarker(drawn(n, 256) / 255)
    return {
        "boxes": boxes[:, ::8],
        "logits": logits,
        "points": points,
        "presence": presence.sigmoid(),
    }


def compare(network: BlazePose, theirs: State) -> dict[str, Any]:
    """Largest differences: boxes and points in sides of the picture, logits and presence as they are.

    Logits are held at ±20, where the probability is 0 or 1 to eight digits: the detector says −100 to −600
    where nothing is, and a float that large is rounded to more than the tolerance.
    """
    mine = ours(network, len(theirs["boxes"]))
    gaps = {
        "boxes": (mine["boxes"] - theirs["boxes"]) / 224,
        "logits": mine["logits"].clamp(-20, 20) - theirs["logits"].clamp(-20, 20),
        "points": (mine["points"] - theirs["points"])[..., :3] / 256,
        "point_logits": (mine["points"] - theirs["points"])[..., 3:],
        "presence": mine["presence"] - theirs["presence"],
    }
    report: dict[str, Any] = {key: float(gap.abs().max()) for key, gap in gaps.items()}
    return report | {"passed": all(value <= TOLERANCE for value in report.values())}


if __name__ == "__main__":
    sys.exit(main())
