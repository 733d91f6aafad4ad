"""What every receipt says: versions, machine, command."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "av", "pot", "safetensors")


def receipt(**facts: Any) -> dict[str, Any]:
    """The facts, with what they were measured with."""
    import torch

    return {
        "a2m2_zoo": version("a2m2_zoo"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in PACKAGES},
        **facts,
    }


def publish(facts: dict[str, Any], out: str | None = None) -> None:
    """Print the receipt and, if asked, write it to a file."""
    text = json.dumps(facts, indent=2)
    print(text)
    if out:
        Path(out).write_text(text + "\n")
    sys.stdout.flush()
