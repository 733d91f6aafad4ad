"""Classify with an exported model: onnxruntime, numpy and PyAV; neither torch nor this package is needed.

    a2m2 models export a2m2-lite0 --out EXPORTED       # once, where the package is installed
    python examples/onnx_alone.py QUERY.mp4 SUPPORTS EXPORTED

SUPPORTS is a folder with one folder of example clips per class. For clips of a constant frame rate that
need not be turned. With one clip per class the probabilities are the package's own; with more, the package
also fits their sharpness to the supports (docs/howto/export.md).
"""

import json
import sys
from pathlib import Path

import av
import numpy as np
import onnxruntime
from av.video.reformatter import ColorRange, Interpolation

query, supports, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
config = json.loads((folder / "config.json").read_text())
spec = config["preprocess"]
assert (spec["crop"], spec["sampling"]) == ("center", "centres"), "see rules in config.json"
encoder, matcher = (
    onnxruntime.InferenceSession(folder / config["graphs"][name]["file"])
    for name in ("encoder", "matcher")
)
how = Interpolation[spec["interpolation"].upper()].value | 0x40000 | 0x80000  # accurate, bit-exact


def read(path: str | Path) -> np.ndarray:
    """The frames that the model looks at: (T, size, size, 3) uint8."""
    with av.open(str(path)) as video:
        count = sum(1 for _ in video.decode(video=0))
    wanted = [(2 * k + 1) * count // (2 * spec["frames"]) for k in range(spec["frames"])]
    found = {}
    with av.open(str(path)) as video:
        for i, frame in enumerate(video.decode(video=0)):
            if i in wanted:
                short, goal = min(frame.width, frame.height), spec["resize"]
                width, height = (
                    (2 * side * goal + short) // (2 * short) for side in (frame.width, frame.height)
                )
                small = frame.reformat(
                    width, height, "rgb24", interpolation=how, dst_color_range=ColorRange.JPEG
                )
                top, left = (height - spec["size"]) // 2, (width - spec["size"]) // 2
                picture = small.to_ndarray()[top:, left:]
                found[i] = picture[: spec["size"], : spec["size"]]
    return np.stack([found[i] for i in wanted])


def encode(clips: list[np.ndarray], side: str) -> dict[str, np.ndarray]:
    """Descriptors, named as the matcher's inputs."""
    found = encoder.run(None, {"pixels": np.stack(clips)})
    names = config["graphs"]["encoder"]["outputs"]
    return {f"{side}_{name}": value for name, value in zip(names, found, strict=True)}


def rule(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N, W) and constants (W,) that make scores of classes of scores of pairs."""
    count, way = one_hot.shape
    if config["rules"]["classes"]["rule"] == "mean":
        return one_hot / one_hot.sum(0), np.zeros(way)
    share = 1 / (way * (one_hot @ one_hot.sum(0)))
    kernel = (pairs + pairs.T) / 2
    most = kernel.diagonal().max()
    np.fill_diagonal(kernel, most)
    column = kernel @ share
    mean = share @ column
    kernel = kernel - column[:, None] - column + mean
    unit = kernel.trace() / count
    kernel = kernel / unit
    penalty = config["rules"]["classes"]["strength"] + max(0, -np.linalg.eigvalsh(kernel)[0])
    found = np.linalg.solve(kernel + np.diag(penalty / (count * share)), one_hot - 1 / way)
    found = found * (min(unit / most, 1) ** config["rules"]["classes"]["spread"] if most > 0 else 1)
    return (found - share[:, None] * found.sum(0)) / unit, (mean - column) @ found / unit


classes = sorted(path.name for path in supports.iterdir() if path.is_dir())
clips = [(name, path) for name in classes for path in sorted((supports / name).iterdir())]
feed = encode([read(query)], "query") | encode([read(path) for _, path in clips], "support")
one_hot = np.array([[name == label for name in classes] for label, _ in clips], np.float64)
nothing = {"weights": one_hot.astype(np.float32), "constants": np.zeros(len(classes), np.float32)}
among = (
    feed | nothing | {k.replace("support", "query"): v for k, v in feed.items() if "support" in k}
)
weights, constants = rule(matcher.run(["pairs"], among)[0].astype(np.float64))
feed |= {"weights": weights.astype(np.float32), "constants": constants.astype(np.float32)}
logits = matcher.run(["logits"], feed)[0][0].astype(np.float64)

shots = sorted((int(shot), scale) for shot, scale in config["scales"].items())
known, scales = np.log(np.array(shots)).T  # log-linear between the shots that were measured
scaled = logits * np.exp(np.interp(np.log(len(clips) / len(classes)), known, scales))
odds = np.exp(scaled - scaled.max())
for i in np.argsort(-odds):
    print(f"{odds[i] / odds.sum():7.2%}  {classes[i]}")
