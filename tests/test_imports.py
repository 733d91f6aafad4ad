"""Imports run one way, and the light names stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "a2m2_zoo"

# What each room may import; the drawing is in docs/explanation/architecture.md.
BASE = {
    *("errors", "_typing", "_files", "_scratch", "_json", "_printable", "_cores", "_version"),
    *("_arguments", "_locks", "_workers"),
}
ALLOWED = {
    "errors": {"_printable"},
    "_typing": set(),
    "_version": set(),
    "_files": BASE,
    "_scratch": set(),
    "_json": {"_files"},
    "_printable": set(),
    "_heads": BASE | {"methods", "modules", "video"},
    "_arguments": {"errors"},
    "_streams": {"_printable"},
    "_console": {"_printable", "_streams"},
    "_cores": {"errors", "_files"},
    "_locks": set(),
    "_workers": {"_cores", "_locks"},
    "ops": BASE,
    "video": BASE,
    "hub": BASE,
    "data": BASE | {"video"},
    "modules": BASE | {"ops"},
    "backbones": BASE | {"ops", "hub"},
    "calibration": BASE,
    "methods": BASE | {"ops", "modules", "backbones"},
    "episode": BASE | {"data", "video"},
    "text": BASE | {"backbones", "ops"},
    "model": BASE | {"backbones", "methods", "hub", "video", "calibration", "text"},
    "rejection": BASE | {"methods", "hub", "model"},
    "free": BASE
    | {"backbones", "calibration", "data", "features", "hub", "methods"}
    | {"model", "modules", "text", "video"},
    "bank": BASE | {"model", "methods", "hub", "video", "data"},
    "convert": BASE | {"data", "methods", "modules", "backbones", "hub", "video", "model"},
    "features": BASE | {"backbones", "hub", "methods", "video"},
    "evaluation": BASE
    | {
        "backbones",
        "methods",
        "hub",
        "video",
        "data",
        "model",
        "episode",
        "calibration",
        "features",
        "loading",
        "rejection",
    },
    "training": BASE
    | {"backbones", "methods", "modules", "hub", "video", "data", "evaluation"}
    | {"_console", "calibration", "features", "model"},
    "loading": BASE | {"_heads", "model", "methods", "backbones", "hub", "video", "text", "free"},
    "choice": BASE | {"hub", "loading", "model"},
    "pulling": BASE | {"hub", "loading"},
    "publishing": BASE | {"data", "hub", "loading", "model"},
    "api": BASE
    | {"bank", "choice", "data", "episode", "loading", "model", "rejection", "text", "video"},
    "spotting": BASE
    | {"api", "backbones", "bank", "choice", "episode", "methods", "model", "rejection", "video"},
    "bank_check": BASE | {"bank", "calibration", "data", "model", "video"},
    "report": BASE | {"api", "bank", "episode", "evaluation", "model", "spotting", "video"},
    "export": BASE | {"backbones", "data", "methods", "model", "ops", "video"},
    "app": BASE | {"api", "bank", "data", "episode", "model", "report", "spotting", "video"},
}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            depth = len(path.relative_to(PACKAGE).parts) - node.level
            above = path.relative_to(PACKAGE).parts[:depth]
            base = ".".join(("a2m2_zoo", *above))
            names = (
                [f"{base}.{node.module}"]
                if node.module
                else [f"{base}.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "a2m2_zoo":
                names = [f"a2m2_zoo.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("a2m2_zoo.")}
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "__main__", "cli"):
        return  # the front door and the command line may reach every room
    strangers = imported(path) - ALLOWED[here] - {here}
    assert not strangers, f"{here} must not import {strangers}"


def test_methods_do_not_import_each_other() -> None:
    shared = {"base", "__init__"}
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem in shared:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "a2m2_zoo.methods."
            ):
                assert node.module.split(".")[2] in shared, path


@pytest.mark.parametrize(
    "code", ["import a2m2_zoo", "from a2m2_zoo.cli import main; main(['--help'])"]
)
def test_light_entrances_load_nothing_heavy(code: str) -> None:
    heavy = (
        "torch",
        "open_clip",
        "ot",
        "matplotlib",
        "av",
        "numpy",
        "huggingface_hub",
        "gradio",
        "onnx",
    )
    probe = f"import sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; {probe}"], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_public_names_resolve() -> None:
    import a2m2_zoo

    for name in a2m2_zoo.__all__:
        assert getattr(a2m2_zoo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = a2m2_zoo.nonsense
