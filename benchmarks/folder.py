"""A folder of clips against a bank of supports, all cores: the whole, its floors, peers on the same clips.

    python benchmarks/folder.py --work WORK --out docs/receipts/folder.json [--against CHECKOUT] [--quick]

120 clips of 320 x 240 against 144 supports of 12 drawn classes (kept in WORK for the next run). Contestants
are processes of their own that take turns, so that what else the machine does falls on all alike: this
package by torch and, where installed, by onnxruntime, with and without a look for people; an earlier CHECKOUT
of it; and, where their packages are installed, torchvision's r3d_18 (16 frames of 112 x 112) and open_clip's
ViT-B/32 (8 frames of 224 x 224, their mean). Peers have random weights, whose speed is that of trained ones;
this package decodes for them, ahead, and they encode batches of eight clips on all cores. Nobody's supports
count, being encoded before.

``decode`` and ``encode`` are the floors, each alone on one thread: reading all clips; and people, descriptors
and scores of clips that have been read. ``of_floors`` is the whole's time over the floors' sum divided by the
cores, ``cpu_of_floors`` the same of the processor's time. Prints a receipt.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _receipt import publish, receipt

from a2m2_zoo.errors import A2M2Error

ROOT = Path(__file__).resolve().parent.parent
CLASSES, SUPPORTS, QUERIES = 12, 12, 10  # clips of each class
BATCH = 8  # clips that peers encode together
LARGE = 1000  # supports of a large bank, the same with noise
MODELS: dict[str, dict[str, Any]] = {
    "torch": {},
    "torch_no_people": {"pose": False},
    "onnxruntime": {"runtime": "onnxruntime"},
    "onnxruntime_no_people": {"runtime": "onnxruntime", "pose": False},
}
PEERS = {"r3d_18": ("torchvision",), "vit_b_32": ("open_clip",)}
EARLIER = "earlier"


def draw(work: Path) -> None:
    """The clips, if they are not there."""
    from a2m2_zoo.synthetic import draw_clip
    from a2m2_zoo.synthetic.write import write_video

    for folder, clips, first in (("supports", SUPPORTS, 0), ("queries", QUERIES, 100)):
        for number in range(CLASSES):
            (work / folder / f"class_{number:02d}").mkdir(parents=True, exist_ok=True)
            for i in range(clips):
                path = work / folder / f"class_{number:02d}" / f"clip_{i:03d}.mp4"
                if not path.exists():
                    drawn = draw_clip(0, number, first + i, frames=64, size=320, style="scene")
                    write_video(path, drawn[:, 40:280], fps=25)


def ours(options: dict[str, Any], clips: list[Path], work: Path) -> dict[str, Callable[[], str]]:
    """The whole, its floors, and a warm-up, of this package."""
    import a2m2_zoo
    from a2m2_zoo import Recognizer, SupportBank, build_bank, load_model

    model, file = load_model(**options), work / "bank.safetensors"
    if not file.exists():
        build_bank(work / "supports", model=load_model()).save(file)
    recognizer = Recognizer(model, SupportBank.load(file))
    held: list[Any] = []

    def whole() -> str:
        found = [(a.label, a.probabilities) for a in recognizer.classify(clips)]
        return hashlib.sha256(repr(found).encode()).hexdigest()

    def decode() -> str:
        from a2m2_zoo.video import read_clip

        held[:] = [read_clip(clip, model.preprocess) for clip in clips]
        return ""

    def encode() -> str:
        a2m2_zoo.set_threads(1)
        for clip in held:
            recognizer.scores(model.encode([clip]))
        held.clear()
        a2m2_zoo.set_threads(None)
        return ""

    def warm() -> str:
        recognizer.classify(clips[:4])
        return ""

    return {"warm": warm, "whole": whole, "decode": decode, "encode": encode}


def peer(name: str, clips: list[Path], work: Path) -> dict[str, Callable[[], str]]:
    """The whole of another network, mean features of clips to the nearest of the classes."""
    import torch

    from a2m2_zoo.backbones.openclip import import_open_clip
    from a2m2_zoo.video import Preprocess, normalise, read_clips

    open_clip = import_open_clip()  # and mends a torchvision that is built for another torch
    torch.set_num_threads(cores())
    torch.manual_seed(0)
    if name == "r3d_18":
        from torchvision.models.video import r3d_18

        network, spec = r3d_18(), Preprocess(frames=16, resize=112, size=112)
        network.fc = torch.nn.Identity()

        def features(pixels: Any) -> Any:
            return network(pixels.transpose(1, 2))
    else:
        network = open_clip.create_model("ViT-B-32", pretrained=None).visual
        spec = Preprocess(frames=8, resize=224, size=224)

        def features(pixels: Any) -> Any:
            return network(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2]).mean(1)

    network.eval()

    @torch.inference_mode()
    def encoded(paths: list[Path]) -> Any:
        found, batch = [], []
        for i, clip in enumerate(read_clips(paths, spec), start=1):
            if isinstance(clip, A2M2Error):
                raise clip
            batch.append(torch.from_numpy(clip.frames))
            if len(batch) == BATCH or i == len(paths):
                pixels = normalise(torch.stack(batch), spec)
                found.append(torch.nn.functional.normalize(features(pixels), dim=-1))
                batch = []
        return torch.cat(found)

    supports = sorted((work / "supports").rglob("*.mp4"))[:: SUPPORTS // 2]
    names = sorted({path.parent.name for path in supports})
    labels = torch.tensor([names.index(path.parent.name) for path in supports])
    answer = classifier(encoded(supports), labels)

    def whole() -> str:
        answer(encoded(clips))
        return ""

    def warm() -> str:
        encoded(clips[:BATCH])
        return ""

    return {"warm": warm, "whole": whole}


def large_bank(work: Path) -> dict[str, Callable[[], str]]:
    """A recogniser over many supports, and one query of it."""
    import torch

    from a2m2_zoo import Recognizer, SupportBank, load_model
    from a2m2_zoo.methods.base import take

    model, bank = load_model(), SupportBank.load(work / "bank.safetensors")
    chosen = torch.arange(LARGE) % len(bank.labels)
    noise = torch.Generator().manual_seed(0)
    grown = {
        name: value * (1 + 0.05 * torch.rand(value.shape, generator=noise))
        for name, value in take(bank.descriptors, chosen).items()
    }
    many = dataclasses.replace(
        bank,
        labels=tuple(bank.labels[i] for i in chosen),
        descriptors=grown,
        thumbnails=bank.thumbnails[chosen],
        sources=("",) * LARGE,
        durations=(),
        shapes=(),
    )
    held: list[Recognizer] = []
    query = take(bank.descriptors, slice(0, 1))

    def fit() -> str:
        held[:] = [Recognizer(model, many)]
        held[0].scores(query)
        return ""

    def ask() -> str:
        held[0].scores(query)
        return ""

    return {"warm": lambda: "", "fit": fit, "ask": ask}


def classifier(features: Any, labels: Any) -> Callable[[Any], Any]:
    """Logistic regression of scikit-learn; where that is not installed, the nearest mean."""
    import torch

    if find_spec("sklearn") is not None:
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(max_iter=1000).fit(features.numpy(), labels.numpy())
        return lambda queries: fitted.predict(queries.numpy())
    means = torch.stack([features[labels == label].mean(0) for label in labels.unique()])
    return lambda queries: (queries @ means.T).argmax(-1)


def cores() -> int:
    """Cores that may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def used() -> float:
    """Processor seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(name: str, work: Path, count: int) -> None:
    """In a process of its own: do what is asked on stdin, and say how long it took."""
    clips = sorted((work / "queries").rglob("*.mp4"))[:count]
    if name == "large bank":
        made = large_bank(work)
    elif name in PEERS:
        made = peer(name, clips, work)
    else:
        made = ours(MODELS.get(name, {}), clips, work)
    print(json.dumps(sorted(made)), flush=True)
    for line in sys.stdin:
        started, before = time.perf_counter(), used()
        digest = made[line.strip()]()
        spent = [time.perf_counter() - started, used() - before]
        print(json.dumps([*spent, digest]), flush=True)


class Contestant:
    """A process that measures itself."""

    def __init__(self, name: str, work: Path, count: int, checkout: Path) -> None:
        call = [
            sys.executable,
            __file__,
            "--serve",
            name,
            "--work",
            str(work),
            "--clips",
            f"{count}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(call, env=environment, **pipes)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{name}: its process did not start")
        self.can = [what for what in json.loads(line) if what != "warm"]
        self.took: dict[str, list[tuple[float, float]]] = {what: [] for what in self.can}
        self.answers: set[str] = set()
        self.ask("warm")

    def ask(self, what: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended while it was to {what}")
        seconds, cpu, digest = json.loads(line)
        if what != "warm":
            self.took[what].append((seconds, cpu))
        if digest:
            self.answers.add(digest)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def facts(self, count: int) -> dict[str, Any]:
        """Medians over the rounds."""
        medians = {
            what: [statistics.median(part) for part in zip(*took, strict=True)]
            for what, took in self.took.items()
        }
        found: dict[str, Any] = {
            what: {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}
            for what, (wall, cpu) in medians.items()
        }
        if "whole" not in medians:
            return found
        wall, cpu = medians["whole"]
        found["clips_per_second"] = round(count / wall, 2)
        found["cpu_ms_per_clip"] = round(1000 * cpu / count)
        if "encode" in medians:
            floor, floor_cpu = map(sum, zip(medians["decode"], medians["encode"], strict=True))
            found["of_floors"] = round(wall / (floor / cores()), 2)
            found["cpu_of_floors"] = round(cpu / floor_cpu, 2)
        return found


def contestants(against: Path | None) -> Iterator[tuple[str, Path, str]]:
    """Name, checkout, and why it is left out, if it is."""
    for name in MODELS:
        missing = name.startswith("onnxruntime") and find_spec("onnxruntime") is None
        yield name, ROOT, "onnxruntime is not installed" if missing else ""
    if against is not None:
        yield EARLIER, against.resolve(), ""
    for name, packages in PEERS.items():
        missing_packages = [package for package in packages if find_spec(package) is None]
        yield name, ROOT, f"{missing_packages[0]} is not installed" if missing_packages else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--clips", type=int, default=CLASSES * QUERIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of twelve clips")
    parser.add_argument("--against", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--only", nargs="*", help="these contestants and torch")
    parser.add_argument("--out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.work, options.clips)
        return
    count, rounds = (12, 1) if options.quick else (options.clips, options.rounds)
    draw(options.work)
    running: dict[str, Contestant] = {}
    left_out: dict[str, str] = {}
    try:
        for name, checkout, why in contestants(options.against):
            if options.only is not None and name not in ("torch", *options.only):
                continue
            if why:
                left_out[name] = why
            else:
                running[name] = Contestant(name, options.work, count, checkout)
        for _ in range(rounds):
            for what in ("whole", "decode", "encode"):
                for one in running.values():
                    if what in one.can:
                        one.ask(what)
    finally:
        for one in running.values():
            one.close()
    bank = Contestant("large bank", options.work, count, ROOT)
    for _ in range(rounds):
        bank.ask("fit")
        bank.ask("ask")
    bank.close()
    results = {name: one.facts(count) for name, one in running.items()}
    torch_whole = results["torch"]["whole"]
    for found in results.values():
        found["times_torch"] = round(torch_whole["seconds"] / found["whole"]["seconds"], 2)
        found["cpu_times_torch"] = round(
            torch_whole["cpu_seconds"] / found["whole"]["cpu_seconds"], 2
        )
    facts: dict[str, Any] = {
        "cores": cores(),
        "load_at_the_end": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "rounds": rounds,
        "clips": count,
        "supports": CLASSES * SUPPORTS,
        "pixels": "320 x 240",
        "peers_classify_by": "scikit-learn" if find_spec("sklearn") else "the nearest class mean",
        "left_out": left_out,
        "results": results,
        "large_bank": {"supports": LARGE, **bank.facts(count)},
        "same_answers_every_round": all(len(one.answers) <= 1 for one in running.values()),
    }
    if EARLIER in running:
        facts["earlier_answers_are_the_same"] = running[EARLIER].answers == running["torch"].answers
    publish(receipt(**facts), options.out)


if __name__ == "__main__":
    main()
