"""Train the head of the embedded model as its recipe says, and put it into the package and the manifest.

    python tools/train_lite0.py --work lite0            # again after an interruption: it goes on
    python tools/train_lite0.py --work lite0 --install

It is ``a2m2 train --recipe a2m2-lite0 --cache lite0 --out lite0/run --resume``, and with ``--install`` the
model that this makes becomes the shipped one. No real video is used. Half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from build_free_head import with_models, write_manifest

from a2m2_zoo import load_model
from a2m2_zoo.cli import main as a2m2
from a2m2_zoo.hub.manifest import package_file

NAME = "a2m2-lite0"


def main() -> None:
    """Draw, train, calibrate; write, if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("lite0"))
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args()
    run = options.work / "run"
    words = ["train", "--recipe", NAME, "--cache", options.work, "--out", run, "--resume"]
    if code := a2m2([*map(str, words), "--device", "cpu"]):
        sys.exit(code)
    if options.install:
        made = replace(load_model(run, device="cpu"), id=NAME)
        path = package_file("weights_manifest.json")
        write_manifest(with_models(json.loads(path.read_text()), [made]))


if __name__ == "__main__":
    main()
