"""One export of the default model to ONNX, by the command line, for all tests that read it."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from a2m2_zoo.cli import main


@dataclass(frozen=True)
class OnnxFolder:
    path: Path
    said: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        return found


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> OnnxFolder:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs pip install 'a2m2_zoo[export]'")
    path, out = tmp_path_factory.mktemp("export") / "lite0", io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["models", "export", "a2m2-lite0", "--out", str(path), "--json"]) == 0
    return OnnxFolder(path, json.loads(out.getvalue()))
