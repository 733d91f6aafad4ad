"""Lines of answers, for the tests of what writes them and goes on with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Run = Callable[..., tuple[int, str, str]]


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def answers(found: Iterable[dict[str, Any]]) -> list[str]:
    """What a run says, the time it took and the order aside."""
    return sorted(json.dumps({**row, "seconds": 0}, sort_keys=True) for row in found)
