"""Time and memory of loading, as a JSON receipt.

    OMP_NUM_THREADS=1 python benchmarks/loading.py [--rounds 5] [--out docs/receipts/loading.json]

The embedded model: seconds of ``load_model`` in fresh processes that have imported torch already, the
import of the package included; by the clock, and of processor time, which other processes change less.
CLIP ViT-B/16: a file with both towers and random weights is written to a temporary folder (600 MB); a
fresh process that has imported torch and open_clip loads the model that stands on it, and then the text
tower; how much its peak memory grew, over the size of the file and over that of the tower.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _receipt import publish, receipt

ARCHITECTURE = "clip:ViT-B-16-quickgelu"

EMBEDDED = """
import json, time
import torch
start, busy = time.perf_counter(), time.process_time()
from a2m2_zoo import load_model
model = load_model()
print(json.dumps({
    "seconds": time.perf_counter() - start, "cpu": time.process_time() - busy, "model": model.id,
}))
"""

LARGE = """
import json, resource, sys, time
import torch
from a2m2_zoo.backbones.openclip import import_open_clip
import_open_clip()

def peak():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024

from a2m2_zoo import load_model
load_model()  # what any model needs is no part of what this one does
before, start = peak(), time.perf_counter()
model = load_model(sys.argv[1], device="cpu")
image, seconds = peak(), time.perf_counter() - start
model.text.embed(["a photo of archery"])
text = peak()
weights = sum(p.nbytes for p in model.backbone.parameters())
print(json.dumps({
    "seconds": seconds, "tower_bytes": weights,
    "peak_bytes_beyond_imports": image - before, "with_text_peak_bytes": text - before,
}))
"""


def measured(code: str, *arguments: str) -> dict[str, Any]:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


WRITE = """
import sys
from pathlib import Path
import torch
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.zoo.training_free import own_preprocess
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods import build_method
architecture, folder = sys.argv[1], Path(sys.argv[2])
torch.manual_seed(0)
backbone = build_backbone(architecture, text=True)
state = {k.removeprefix("text."): v for k, v in backbone.state_dict().items()}
digest = checkpoint.save(folder / "clip.safetensors", state, kind="backbone", record={})
record = {
    "id": "large", "method": "protonet", "config": build_method("protonet", {}).config.to_dict(),
    "backbone": {"architecture": architecture, "file": "clip.safetensors", "sha256": digest},
    "preprocess": own_preprocess(backbone).to_dict(), "scales": {"1": 1.0},
}
checkpoint.save(folder / "model.safetensors", {}, kind="model", record=record)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()

    small = [measured(EMBEDDED) for _ in range(options.rounds)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", WRITE, ARCHITECTURE, folder], check=True)
        size = (Path(folder) / "clip.safetensors").stat().st_size
        large = [measured(LARGE, folder) for _ in range(options.rounds)]
    seconds = [run["seconds"] for run in small]
    peak = max(run["peak_bytes_beyond_imports"] for run in large)
    both = max(run["with_text_peak_bytes"] for run in large)
    tower = large[0]["tower_bytes"]
    publish(
        receipt(
            what="time and memory of loading, fresh processes",
            rounds=options.rounds,
            embedded={
                "model": small[0]["model"],
                "median_seconds_beyond_torch": round(statistics.median(seconds), 3),
                "best_seconds_beyond_torch": round(min(seconds), 3),
                "median_cpu_seconds_beyond_torch": round(
                    statistics.median(run["cpu"] for run in small), 3
                ),
            },
            large={
                "architecture": ARCHITECTURE,
                "file_bytes": size,
                "tower_bytes": tower,
                "median_seconds": round(statistics.median(r["seconds"] for r in large), 3),
                "peak_bytes_beyond_imports": peak,
                "peak_over_file": round(peak / size, 3),
                "peak_over_tower": round(peak / tower, 3),
                "peak_over_file_with_text": round(both / size, 3),
            },
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
