"""Spotting: speed and memory over a long video, time from push to event, and quality against a baseline.

    python benchmarks/spotting.py ../shared/videos --out docs/receipts/spotting.json

Speed is measured on a video of ``--minutes``, 640×360 at 25 frames a second, put together from the clips of
``cctv_fight``, spotted in a process of its own. Quality: long videos of clips of 5 classes with stretches of
other classes between, mean average precision at temporal IoU 0.5 per video; the baseline classifies 2 s
windows at the same stride as ``classify`` does, its ``reject_below`` included, and merges equal neighbours.
Its threshold and our rule were both chosen on the generated videos (``generated``), never on the real sets.
``plain`` are our segments without the probability of being of any class; ``blind`` is the same without
people, who count in all the others. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from _receipt import publish, receipt

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.spotting import Rule, Segment, Segmenter, Stream, Window, iter_spot
from a2m2_zoo.spotting.average_precision import mean_average_precision
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.synthetic import draw_clip

WAY, REPEATS = 5, 2  # classes, and how often each occurs in a long video
BASELINE_SECONDS, BASELINE_BELOW = 2.0, 0.2
GENERATED_FPS = 16
SHORTEST = 0.5  # seconds of a window, by default
SPAN = (20, 48)  # frames of a generated clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="?", help="folder of the real sets")
    parser.add_argument("--sets", default="msr_action3d,jhmdb,ut_interaction")
    parser.add_argument("--footage", default="cctv_fight")
    parser.add_argument(
        "--seeds", type=int, default=20, help="long videos of each set; 0 skips them"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--shots", default="1,5")
    parser.add_argument("--generated", type=int, default=0, help="long generated videos")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of the speed video; 0 skips it"
    )
    parser.add_argument("--out")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        json.dump(measured(*options.measure), sys.stdout)
        return
    facts: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()}
    if options.videos and options.minutes:
        facts["speed"] = speed(options.videos, options.footage, options.minutes)
        print(facts["speed"], file=sys.stderr)
    rows: list[dict[str, Any]] = []
    model = load_model()
    for shot in map(int, options.shots.split(",")):
        names = options.sets.split(",") if options.videos and options.seeds else []
        first = options.first_seed
        seeds, drawn = (range(first, first + n) for n in (options.seeds, options.generated))
        rows += [quality(n, shot, seeds, model, options.videos / n) for n in names]
        if options.generated:
            rows.append(quality("generated", shot, drawn, model, None))
    publish(receipt(weights={model.id: model.weights_hash}, **facts, quality=rows), options.out)


# Quality


def quality(
    name: str, shot: int, seeds: Sequence[int], model: Model, folder: Path | None
) -> dict[str, Any]:
    """Mean average precision over a long video of each seed, and its difference to the baseline's."""
    scores, times, blind = [], [], load_model(pose=False)
    for seed in seeds:
        made = generated(seed, shot) if folder is None else real(folder, seed, shot)
        supports, fps, clips, truth = made
        bank = build_bank(supports, model=model)
        found = [*run(model, bank, clips(), fps), run(blind, bank, clips(), fps)[0]]
        found.append(baseline(model, bank, clips(), fps))
        scores.append([100 * mean_average_precision(segments, truth) for segments in found])
        times.append([named_time(segments, truth) for segments in (found[0], found[-1])])
        print(name, shot, seed, [round(s, 1) for s in scores[-1]], file=sys.stderr, flush=True)
    values, share = np.array(scores), np.array(times).mean(0).round(1).tolist()
    return {
        "data": name,
        "shot": shot,
        "videos": len(seeds),
        "seeds": [seeds[0], seeds[-1]],
        "map_50": interval(values[:, 0]),
        "plain_map_50": interval(values[:, 1]),
        "blind_map_50": interval(values[:, 2]),
        "baseline_map_50": interval(values[:, 3]),
        "difference": interval(values[:, 0] - values[:, 3]),
        "people": interval(values[:, 0] - values[:, 2]),
        "right_time": share[0][0],
        "wrong_time_above_half": share[0][1],
        "baseline_right_time": share[1][0],
        "baseline_wrong_time_above_half": share[1][1],
    }


def named_time(segments: Sequence[Segment], truth: Sequence[Segment]) -> tuple[float, float]:
    """Percent of the actions' time that has its right name; percent of all that has a wrong one for sure."""
    moments = np.arange(0, max(action.end for action in truth), 0.05)

    def labels(given: Sequence[Segment]) -> np.ndarray:
        found = np.full(len(moments), "", dtype=object)
        for one in given:
            found[(moments >= one.start) & (moments < one.end)] = one.label
        return found

    actual, said = labels(truth), labels([s for s in segments if s.known])
    sure = labels([s for s in segments if s.known and s.probability > 0.5])
    acted = actual != ""
    return (
        100 * float((said == actual)[acted].mean()),
        100 * float(((sure != "") & (sure != actual)).mean()),
    )


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean, and half the width of its 95 % interval over videos."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return {"mean": round(float(values.mean()), 1), "interval": round(float(half), 1)}


def run(
    model: Model, bank: SupportBank, frames: Iterator[Any], fps: float
) -> tuple[list[Segment], list[Segment]]:
    """Our segments, and those of the same windows without the probability of being of any class."""
    held: list[list[Window]] = []
    stream = Stream(model, bank, on_windows=lambda windows: held.append(list(windows)))
    found = [s for i, frame in enumerate(frames) for s in stream.push(frame, i / fps)]
    found += stream.close()
    plain = Segmenter(bank.class_names, stream.grid, Rule())
    without = [s for w in held for s in plain.push([replace(one, known=None) for one in w])]
    return found, without + plain.close()


def baseline(model: Model, bank: SupportBank, frames: Iterator[Any], fps: float) -> list[Segment]:
    """Windows of 2 s classified one by one; equal neighbours above the threshold are one segment."""
    windows: list[Window] = []
    alike = Rule(known_share=0.5)  # as `classify` takes it
    stream = Stream(model, bank, window=BASELINE_SECONDS, rule=alike, on_windows=windows.extend)
    for i, frame in enumerate(frames):
        stream.push(frame, i / fps)
    stream.close()
    return merged(windows, bank.class_names)


def merged(windows: Sequence[Window], names: Sequence[str]) -> list[Segment]:
    answers = [(int(w.chances.argmax()), float(w.chances.max()), w) for w in windows]
    found = []
    runs = itertools.groupby(answers, key=lambda a: a[0] if a[1] >= BASELINE_BELOW else None)
    for label, group in runs:
        if label is not None:
            held = list(group)
            best = max(p for _, p, _ in held)
            found.append(Segment(held[0][2].start, held[-1][2].end, names[label], best))
    return found


def order(rng: np.random.Generator, outliers: int) -> list[tuple[int | None, int]]:
    """Clips of a long video: (class, occurrence), or (None, outlier) for a clip of another class."""
    seen = [0] * WAY
    plan: list[tuple[int | None, int]] = []
    for label in rng.permutation(np.repeat(np.arange(WAY), REPEATS)).tolist():
        between = rng.choice([0, 1, 2], p=[0.3, 0.4, 0.3])
        plan += [(None, int(rng.integers(outliers))) for _ in range(between)]
        plan.append((label, seen[label]))
        seen[label] += 1
    return plan


def real(folder: Path, seed: int, shot: int) -> tuple[Any, float, Any, list[Segment]]:
    """Supports, frame rate, frames and truth of a long video of real clips."""
    rng = np.random.default_rng(seed)
    classes = class_folders(folder)
    names = [list(classes)[i] for i in rng.permutation(len(classes))]
    clips = {n: [classes[n][i] for i in rng.permutation(len(classes[n]))] for n in names}
    others = [clip for name in names[WAY:] for clip in clips[name]]
    supports = {name: clips[name][:shot] for name in names[:WAY]}
    paths, truth, at, fps = [], [], 0, 15.0
    for label, number in order(rng, len(others)):
        path = others[number] if label is None else clips[names[label]][shot + number]
        with av.open(str(path)) as container:
            fps = float(container.streams.video[0].average_rate)
            count = sum(1 for _ in container.decode(video=0))
        if label is not None:
            truth.append(Segment(at / fps, (at + count) / fps, names[label], 1.0))
        paths.append(path)
        at += count

    def frames() -> Iterator[av.VideoFrame]:
        for path in paths:
            with av.open(str(path)) as container:
                yield from container.decode(video=0)

    return supports, fps, frames, truth


def generated(seed: int, shot: int) -> tuple[Any, float, Any, list[Segment]]:
    """The same of generated clips; one style and place for all clips of a video."""
    rng = np.random.default_rng(seed)
    style = ("stick", "capsule", "stick", "scene")[seed % 4]
    classes = (rng.choice(300, 12, replace=False) * 4).tolist()

    def draw(number: int, instance: int) -> np.ndarray:
        count = int(rng.integers(*SPAN))
        return draw_clip(7, number, instance, frames=count, style=style, studio=seed)

    folder = Path(
        tempfile.mkdtemp(prefix="spotting-")
    )  # as files, so that the bank knows durations
    supports: dict[str, list[Path]] = {}
    for label, number in enumerate(classes[:WAY]):
        for i in range(shot):
            path = folder / f"{label}-{i}.mp4"
            encode(path, iter(draw(number, i)), GENERATED_FPS)
            supports.setdefault(f"class {label}", []).append(path)
    parts, truth, at = [], [], 0
    for place, (what, outlier) in enumerate(order(rng, len(classes) - WAY)):
        part = draw(classes[WAY + outlier] if what is None else classes[what], 100 + place)
        if what is not None:
            span = at / GENERATED_FPS, (at + len(part)) / GENERATED_FPS
            truth.append(Segment(*span, f"class {what}", 1.0))
        parts.append(part)
        at += len(part)
    return supports, GENERATED_FPS, lambda: (f for part in parts for f in part), truth


# Speed


def speed(videos: Path, footage: str, minutes: float) -> dict[str, Any]:
    """Times and memory of a process that spots in a long video."""
    with tempfile.TemporaryDirectory() as scratch:
        video, live, bank = (
            Path(scratch) / n for n in ("long.mp4", "live.mp4", "bank.safetensors")
        )
        clips = [clip for found in class_folders(videos / footage).values() for clip in found]
        encode(video, footage_frames(clips, round(minutes * 60 * 25)), 25)
        classes = class_folders(videos / "msr_action3d")
        named = {name: classes[name] for name in list(classes)[:WAY]}
        acted = [found[5 + i] for i in range(10) for found in named.values()]
        encode(live, footage_frames(acted, 60 * 15, width=480), 15)
        supports = {name: clips[:5] for name, clips in named.items()}
        build_bank(supports, model=load_model()).save(bank)
        command = [sys.executable, __file__, "--measure", str(video), str(live), str(bank)]
        found = [
            subprocess.run([*command, pose], check=True, capture_output=True, text=True).stdout
            for pose in ("pose", "")
        ]
        facts, blind = map(json.loads, found)
        return {"minutes": minutes, "size": "640x360", "fps": 25, **facts, "blind": blind}


def footage_frames(clips: Sequence[Path], count: int, *, width: int = 640) -> Iterator[np.ndarray]:
    given = 0
    for path in itertools.cycle(clips):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if given == count:
                    return
                given += 1
                yield frame.to_ndarray(width=width, height=360, format="rgb24")


def encode(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = None
        for index, picture in enumerate(frames):
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))


def measured(video: str, live: str, bank_path: str, pose: str) -> dict[str, Any]:
    """In a process of its own: the video from end to end, then a minute of known actions frame by frame."""
    model, bank = load_model(pose=bool(pose)), SupportBank.load(bank_path)
    resident: dict[int, float] = {}
    second = -1

    def note(at: float, _: float | None) -> None:
        nonlocal second
        if int(at) > second:
            second, minute = int(at), int(at // 60)
            resident[minute] = max(resident.get(minute, 0.0), memory("VmRSS"))

    started, used = time.perf_counter(), time.process_time()
    found = list(iter_spot(video, bank, model=model, on_progress=note))
    seconds, used = time.perf_counter() - started, time.process_time() - used
    length = open_video_file(video).seconds or 0.0
    peak = memory("VmHWM")
    started = time.perf_counter()
    list(iter_spot(live, bank, model=model, window=SHORTEST))
    short = time.perf_counter() - started
    return {
        "times_real_time": round(length / seconds, 2),
        "cpu_seconds_per_minute": round(60 * used / length, 1),
        "shortest_times_real_time": round((open_video_file(live).seconds or 0.0) / short, 2),
        "segments": len(found),
        "windows_s": [round(s, 3) for s in Stream(model, bank).grid.seconds],
        "peak_mb": round(peak, 1),
        "most_mb_by_minute": [round(resident[k], 1) for k in sorted(resident)],
        **latency(live, model, bank),
    }


def latency(video: str, model: Model, bank: SupportBank) -> dict[str, Any]:
    """Milliseconds from a frame to its events when it scores windows, and seconds from an action's end."""
    scored = [False]
    stream = Stream(model, bank, on_windows=lambda _: scored.__setitem__(0, True))
    times, behind = [], []
    for frame, at in open_video_file(video):
        scored[0] = False
        started = time.perf_counter()
        found = stream.push(frame, at)
        spent = time.perf_counter() - started
        if scored[0]:
            times.append(1000 * spent)
        behind += [at - segment.end for segment in found if segment.known]
    return {
        "push_ms_median": round(statistics.median(times), 1),
        "push_ms_99": round(float(np.percentile(times, 99)), 1),
        "event_seconds_behind_median": round(statistics.median(behind), 2) if behind else None,
        "event_seconds_behind_99": round(float(np.percentile(behind, 99)), 2) if behind else None,
    }


def memory(field: str) -> float:
    """Megabytes that this process holds (VmRSS), or held at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"{field} is not in /proc/self/status; memory is measured on Linux only")


if __name__ == "__main__":
    main()
