"""Shapes in the annotations of the numerical core are checked while the tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports them. Configurations check their own fields, with one line for a person.
install_import_hook(
    ["a2m2_zoo.ops", "a2m2_zoo.modules", "a2m2_zoo.calibration", "a2m2_zoo.methods"],
    "shapes.check",
)
install_import_hook(
    [f"a2m2_zoo.modules.{name}" for name in ("_config", "a2_config", "m2_config")], None
)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder of real clips; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("A2M2_VIDEOS", ROOT.parent / "shared" / "videos"))
    if not folder.is_dir():
        pytest.skip("needs the real clips: set A2M2_VIDEOS to their folder")
    return folder
