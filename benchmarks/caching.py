"""The feature cache: filling it, filling it again, reading it, and opening one of 67,000 clips.

    python benchmarks/caching.py ../shared/videos/msr_action3d --threads 1

Without a folder only the opening is measured, on a made-up cache of small tensors behind 67,000 small
files. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _receipt import publish, receipt

from a2m2_zoo import load_model
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.cli.classify import expand
from a2m2_zoo.features import FeatureCache, encode_clips
from a2m2_zoo.features.filling import SHARD_CLIPS
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.features.shards import Shards
from a2m2_zoo.video import Preprocess


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return round(time.perf_counter() - start, 3), result


def real(data: Path, folder: Path, workers: int) -> dict[str, Any]:
    """Seconds for the clips of ``data`` with the default model."""
    model = load_model(device="cpu")
    clips, _ = expand([data])

    def opened() -> FeatureCache:
        return FeatureCache(
            folder,
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=model.method.stages,
        )

    first, failures = timed(lambda: opened().fill(clips, workers=workers))
    again, _ = timed(lambda: opened().fill(clips, workers=workers))
    sound = [clip for clip in clips if clip not in failures]
    cache = opened()
    cold, _ = timed(lambda: sum(len(piece.pooled) for piece in cache.read(sound)))
    warm, _ = timed(lambda: sum(len(piece.pooled) for piece in cache.read(sound)))
    encode, _ = timed(lambda: encode_clips(model.method, cache.read(sound)))
    return {
        "data": data.name,
        "model": model.id,
        "clips": len(clips),
        "failed": len(failures),
        "workers": workers,
        "bytes": cache.size,
        "fill_s": first,
        "fill_again_s": again,
        "read_and_verify_s": cold,
        "read_s": warm,
        "read_mb_per_s": round(cache.size / 1e6 / warm),
        "read_and_encode_s": encode,
    }


def many(folder: Path, count: int) -> dict[str, Any]:
    """Seconds to open a cache of ``count`` clips and to find that all of them are there."""
    cache = FeatureCache(
        folder / "cache",
        backbone=build_backbone("tiny"),
        backbone_hash="0",
        preprocess=Preprocess(size=32, resize=32),
        stages=["s7"],
    )
    clips = []
    for i in range(count):
        clip = folder / f"{i // 1000:03d}" / f"{i:06d}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(i.to_bytes(8, "little"))
        os.utime(clip, (1e9, 1e9))
        clips.append(clip)
    cache.folder.mkdir(parents=True)
    identities = Identities(cache.folder.parent / "clips.jsonl")
    known = [identities.of(clip) for clip in clips]
    identities.save()
    shards = Shards(cache.folder, key=cache.folder.name)
    for start in range(0, count, SHARD_CLIPS):
        block = known[start : start + SHARD_CLIPS]
        shards.write({clip: {"s7": torch.zeros(4), "pooled": torch.zeros(4)} for clip in block})
    cpu = time.process_time()
    opening, _ = timed(lambda: Shards(cache.folder, key=cache.folder.name).refresh())
    opened = time.process_time()
    everything, missing = timed(lambda: cache.missing(clips))
    found = time.process_time()
    return {
        "clips": count,
        "shards": -(-count // SHARD_CLIPS),
        "missing": len(missing),
        "open_s": opening,
        "open_cpu_s": round(opened - cpu, 3),
        "open_and_find_all_s": everything,
        "open_and_find_all_cpu_s": round(found - opened, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=67_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        facts["many"] = many(Path(folder) / "many", options.clips)
        print(facts["many"], file=sys.stderr)
        if options.data is not None:
            facts["real"] = real(options.data, Path(folder) / "real", options.workers)
    publish(receipt(cores=os.cpu_count(), **facts), options.out)


if __name__ == "__main__":
    main()
