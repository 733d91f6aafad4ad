"""An exported model against torch: largest differences and times in one process, as a JSON receipt.

    python benchmarks/export.py [--model a2m2-lite0] [--clips FOLDER ...] [--out docs/receipts/export.json]

The model is exported to ONNX in a temporary folder, which compares it on noise, a still picture and drawn
clips, and on up to three clips per class of each FOLDER (one folder per class). Then torch and onnxruntime
take turns, two threads each, with a pause after each call so that no thread of the one waits while the
other computes: encoding one clip and four from pixels, and matching episodes from descriptors. Medians,
and the median of the ratios of calls that follow each other, by the clock and of processor time, which other
processes change less (with one thread; the second one of two also counts while it waits).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _receipt import publish, receipt

from a2m2_zoo import load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.methods.base import Descriptors, take
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.video import Clip, read_clip
from a2m2_zoo.zoo.export import export_model

PAUSE = 0.02  # seconds; threads of both runtimes wait actively for a few milliseconds
PER_CLASS = 3
EPISODES = {"5-way 1-shot, 1 query": (1, 5), "5-way 5-shot, 25 queries": (25, 25)}


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Any:
    """Milliseconds of both, taking turns, after three rounds that do not count."""
    clock: list[list[float]] = [[], []]
    busy: list[list[float]] = [[], []]
    for turn in range(rounds + 3):
        for i, call in enumerate((first, second)):
            start, used = time.perf_counter(), time.process_time()
            call()
            if turn >= 3:
                busy[i].append((time.process_time() - used) * 1e3)
                clock[i].append((time.perf_counter() - start) * 1e3)
            time.sleep(PAUSE)
    return {
        "torch_ms": round(statistics.median(clock[0]), 2),
        "onnxruntime_ms": round(statistics.median(clock[1]), 2),
        "onnxruntime_over_torch": _ratio(clock),
        "processor_time_over_torch": _ratio(busy),
        "rounds": rounds,
    }


def _ratio(times: list[list[float]]) -> float:
    return round(statistics.median(b / a for a, b in zip(*times, strict=True)), 3)


def session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def encoding(model: Model, run: Any, clips: list[Clip], rounds: int) -> Any:
    pixels = np.stack([clip.frames for clip in clips])
    return paired(
        lambda: model.encode(clips, batch_size=len(clips)),
        lambda: run.run(None, {"pixels": pixels}),
        rounds,
    )


def answer(
    model: Model, known: SupportSet, query: Descriptors, support: Descriptors
) -> torch.Tensor:
    """Scores of the classes, as a ``Recognizer`` gives them."""
    pairs = model.pairs(query, support)
    assert pairs is not None
    return known.logits(pairs)


def matching(model: Model, run: Any, sides: list[dict[str, torch.Tensor]], rounds: int) -> Any:
    query, support = sides
    count = len(next(iter(support.values())))
    labels = torch.arange(count) % 5
    known = SupportSet.of(model, model.pairs(support, support), labels, way=5)
    rule = [value.float() for value in known.fitted.linear()]
    inputs = [*query.values(), *support.values(), *rule]
    feed = {i.name: x.numpy() for i, x in zip(run.get_inputs(), inputs, strict=True)}
    return paired(
        lambda: answer(model, known, query, support),
        lambda: run.run(None, feed),
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="a2m2-lite0")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of classes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, device="cpu")
    real = {
        folder.name: [
            read_clip(path, model.preprocess)
            for paths in class_folders(folder).values()
            for path in paths[:PER_CLASS]
        ]
        for folder in options.clips
    }
    drawn = [
        read_clip(draw_clip(0, c, i, frames=24, size=256), model.preprocess)
        for c in range(5)
        for i in range(10)
    ]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        clips = [clip for found in real.values() for clip in found]
        made = export_model(model, Path(folder) / "model", clips=clips)
        seconds = time.perf_counter() - begin
        encoder, matcher = (
            session(made.folder / f"{name}.onnx", options.threads)
            for name in ("encoder", "matcher")
        )
        sizes = {file: (made.folder / file).stat().st_size for file in made.sha256}
        encoded = model.encode(drawn)
        publish(
            receipt(
                what="an exported model against torch, taking turns in one process",
                model=model.id,
                runtimes={name: version(name) for name in ("onnx", "onnxruntime", "onnxscript")},
                export_seconds=round(seconds, 1),
                bytes=sizes,
                compared_clips={
                    "drawn or noise": made.clips - len(clips),
                    **{name: len(found) for name, found in real.items()},
                },
                largest_differences=made.differences,
                encode={
                    f"{n} clip{'s' * (n > 1)}": encoding(model, encoder, drawn[:n], options.rounds)
                    for n in (1, 4)
                },
                match={
                    name: matching(
                        model,
                        matcher,
                        [take(encoded, slice(q)), take(encoded, slice(q, q + n))],
                        options.rounds,
                    )
                    for name, (q, n) in EPISODES.items()
                },
            ),
            options.out,
        )


if __name__ == "__main__":
    main()
