"""Time per frame of the pose networks beside the embedded backbone, and who is found, as a JSON receipt.

    python benchmarks/pose.py [--rounds 9] [--out FILE] [FOLDER …]

One thread, float32; the rounds of all contestants alternate, so that a busy machine slows them all; median
and best of the rounds. The networks get one frame at a time, as `find_people` gives them, the backbone four.
For every folder of clips: the share of its frames (eight of a clip, whole pictures) in which somebody is
found, or two people, and the time `find_people` takes for a frame. Where ai-edge-litert is installed and
A2M2_BLAZEPOSE names the unpacked npm package (see tools/convert_blazepose.py), the original runtime is
timed, too, and the networks' answers to the folders' frames are compared with its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _receipt import publish, receipt

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.pose import build_blazepose, find_people
from a2m2_zoo.pose.blazepose import DETECTOR_SIDE, LANDMARK_SIDE
from a2m2_zoo.pose.regions import squares, whole
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import Clip, Preprocess, read_clips

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".mp4", ".avi", ".mkv", ".webm")
COMPARED = 24  # frames of a folder that the original runtime sees, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of clips, of any depth")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clips", type=int, default=40, help="at most so many of a folder")
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(1)

    original = runtimes()
    times: dict[str, list[float]] = {}
    with torch.inference_mode():
        contestants = networks() | {f"{n}, original": run for n, (run, _) in original.items()}
        for _ in range(options.rounds + 1):
            for name, (frames, run) in contestants.items():
                start = time.perf_counter()
                run()
                times.setdefault(name, []).append((time.perf_counter() - start) * 1000 / frames)
        folders = {
            folder.name: found(folder, options.clips, original) for folder in options.folders
        }
    publish(
        receipt(
            what="milliseconds per frame on one thread; shares of frames with people",
            rounds=options.rounds,
            median_ms={n: round(statistics.median(t[1:]), 2) for n, t in times.items()},
            best_ms={n: round(min(t[1:]), 2) for n, t in times.items()},
            folders=folders,
        ),
        options.out,
    )


def networks() -> dict[str, tuple[int, Callable[[], object]]]:
    """What is timed, and how many frames each call has."""
    pose, lite = build_blazepose(), build_backbone("lite")
    large = torch.rand(1, 3, LANDMARK_SIDE, LANDMARK_SIDE)
    small = torch.rand(1, 3, DETECTOR_SIDE, DETECTOR_SIDE)
    four = torch.rand(1, 4, 3, 224, 224)
    drawn = draw_named("kick", 2, seed=3, frames=8, size=224, style="scene")
    return {
        "lite": (4, lambda: lite(four)),
        "detector": (1, lambda: pose.detector(small)),
        "landmarks": (1, lambda: pose.landmarker(large)),
        "find_people, one of one": (8, lambda: find_people(drawn, most=1)),
        "find_people, one of two": (8, lambda: find_people(drawn)),
    }


def found(folder: Path, most: int, original: dict[str, Any]) -> dict[str, Any]:
    """How often somebody is found in the folder's clips, and how near the networks are to the original."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    read = read_clips(paths[:: max(1, len(paths) // most)][:most], Preprocess(), workers=1)
    clips = [clip.wide for clip in read if isinstance(clip, Clip)]
    start = time.perf_counter()
    people = [find_people(clip) for clip in clips]
    seconds = time.perf_counter() - start
    count = torch.cat([poses.found.sum(0) for poses in people])
    facts = {
        "clips": len(clips),
        "frames": len(count),
        "somebody": round(float((count > 0).float().mean()), 3),
        "two": round(float((count > 1).float().mean()), 3),
        "ms_per_frame": round(seconds * 1000 / len(count), 1),
    }
    if original:
        facts |= gaps((clip[len(clip) // 2] for clip in clips[:COMPARED]), original)
    return facts


def runtimes() -> dict[str, Any]:
    """The original runtime's networks: (a call to be timed, a call that answers)."""
    folder = Path(os.environ.get("A2M2_BLAZEPOSE", "-"))
    try:
        import ai_edge_litert  # noqa: F401
    except ImportError:
        return {}
    if not folder.is_dir():
        return {}
    sys.path.insert(0, str(ROOT / "tools"))
    import convert_blazepose as tool

    found = {}
    for name, file, side in (
        ("detector", tool.DETECTOR, DETECTOR_SIDE),
        ("landmarks", tool.LANDMARK, LANDMARK_SIDE),
    ):
        network = tool.runtime(folder / file)
        given = np.random.default_rng(0).random((1, side, side, 3), np.float32)
        network.set_tensor(network.get_input_details()[0]["index"], given)
        found[name] = ((1, network.invoke), lambda x, file=file: tool.ask(folder / file, x))
    return found


def gaps(pictures: Iterable[np.ndarray], original: dict[str, Any]) -> dict[str, float]:
    """Largest differences: places in sides of the square, logits (held at ±20) as they are."""
    pose = build_blazepose()
    worst = {"box_gap": 0.0, "logit_gap": 0.0, "point_gap": 0.0, "visibility_logit_gap": 0.0}
    for picture in pictures:
        given = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
        small = squares(given, whole(*given.shape[-2:]), DETECTOR_SIDE) / 127.5 - 1
        large = squares(given, whole(*given.shape[-2:]), LANDMARK_SIDE) / 255
        boxes, logits = original["detector"][1](small.permute(0, 2, 3, 1).numpy())
        said = original["landmarks"][1](large.permute(0, 2, 3, 1).numpy())
        points = next(x for x in said if x.shape[1:] == (195,)).reshape(-1, 39, 5)
        our_boxes, our_logits = pose.detector(small)
        our_points, _ = pose.landmarker(large)
        now = {
            "box_gap": (our_boxes - boxes) / DETECTOR_SIDE,
            "logit_gap": our_logits.clamp(-20, 20) - logits[..., 0].clamp(-20, 20),
            "point_gap": (our_points - points)[..., :3] / LANDMARK_SIDE,
            "visibility_logit_gap": (our_points - points)[..., 3:],
        }
        worst = {key: max(value, float(now[key].abs().max())) for key, value in worst.items()}
    return {key: float(f"{value:.1e}") for key, value in worst.items()}


if __name__ == "__main__":
    main()
