"""Train the default model's head further on your own clips; see what that brings on classes it never saw.

FOLDER holds one folder of clips per class. A share of the classes is held out: the head is measured on them
before, while and after it is trained, and the best weights are kept, be they the first ones. OUT gets the
run and its model, which every command and `load_model` take.

python examples/train_on_folders.py FOLDER OUT [--steps 2000] [--hold-out 0.2] [--set lr=3e-4 ...]
"""

import argparse
import json
from pathlib import Path

from a2m2_zoo.cli import main

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("out", type=Path)
parser.add_argument("--steps", default="2000")
parser.add_argument("--hold-out", default="0.2")
parser.add_argument("--cache", help="folder for what the backbone gives")
parser.add_argument(
    "--set", nargs="*", default=[], help="settings; see docs/explanation/training.md"
)
options = parser.parse_args()

# The command line from Python: the same checks, the same progress, the same exit codes.
call = ["train", options.folder, "--out", str(options.out), "--steps", options.steps]
call += ["--hold-out", options.hold_out]
call += ["--cache", options.cache] if options.cache else []
for setting in options.set:
    call += ["--set", setting]
if code := main(call):
    raise SystemExit(code)

result = json.loads((options.out / "receipt.json").read_text())["result"]
for row in result["curve"]:
    shots = ", ".join(f"{shot}-shot {value:.1f} %" for shot, value in row.items() if shot != "step")
    kept = "  <- kept" if row["step"] == result["best_step"] else ""
    print(f"held-out classes after step {row['step']}: {shots}{kept}")
