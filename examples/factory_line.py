"""Check the steps of an assembly line, filmed by a fixed camera, one clip per step.

STEPS is a folder with one folder of example clips per step, named 01_take, 02_screw, ...: the order of the
names is the order of the work. The examples are checked and encoded once, into BANK; a step that is added
to STEPS later is encoded alone. Every clip of the line gets a line of CSV: what was done, how sure that is,
and whether it is the step that was due. Exit code 1: at least one was not.

python examples/factory_line.py STEPS BANK.safetensors CLIP.mp4 ... [--sure 0.5]
"""

import argparse
import csv
import sys
from pathlib import Path

from a2m2_zoo import Prediction, SupportBank, build_bank, classify, load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.evaluation.bank_check import check_supports

parser = argparse.ArgumentParser()
parser.add_argument("steps", type=Path)
parser.add_argument("bank", type=Path)
parser.add_argument("clips", nargs="+")
parser.add_argument("--sure", type=float, default=0.5, help="below it a person should look")
options = parser.parse_args()

model = load_model()
clips = class_folders(options.steps)
order = sorted(clips)
bank = SupportBank.load(options.bank) if options.bank.exists() else None
new = {name: clips[name] for name in order if not bank or name not in bank.class_names}
if new:
    for finding in check_supports(options.steps, model=model).findings:
        print(f"{finding.clip}: {finding.kind}: {finding.detail}", file=sys.stderr)
    added = build_bank(new, model=model)
    bank = bank.add(added) if bank else added
    bank.save(options.bank)
assert bank is not None  # there is a step

table = csv.writer(sys.stdout, lineterminator="\n")
table.writerow(["clip", "step", "confidence", "verdict"])
due, faults = 0, 0
answers = classify(options.clips, bank, model=model, reject_below=options.sure, on_error="return")
for clip, answer in zip(options.clips, answers, strict=True):
    if not isinstance(answer, Prediction):
        row = ["", "", f"no answer: {answer}"]
    elif answer.rejected:
        row = [answer.label, f"{answer.confidence:.2f}", "look at it"]
    elif answer.label != order[due]:
        row = [answer.label, f"{answer.confidence:.2f}", f"{order[due]} was due"]
    else:
        row = [answer.label, f"{answer.confidence:.2f}", "ok"]
    if isinstance(answer, Prediction) and not answer.rejected:
        due = (order.index(answer.label) + 1) % len(order)
    faults += row[-1] != "ok"
    table.writerow([clip, *row])
raise SystemExit(faults > 0)
