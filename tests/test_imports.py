"""Imports run one way, and the light names stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "a2m2_zoo"

# What each room may import; the drawing is in docs/explanation/architecture.md.
BASE = {"errors", "_utils", "_version"}
ALLOWED = {
    "_version": set(),
    "errors": {"_utils"},  # the text for terminals alone, which imports nothing
    "_utils": BASE,
    "ops": BASE,
    "video": BASE,
    "synthetic": BASE,
    "hub": BASE,
    "data": BASE | {"video"},
    "engine": BASE | {"video"},
    "backbones": BASE | {"hub"},
    "pose": BASE | {"backbones"},
    "methods": BASE | {"ops", "backbones", "pose"},
    "testing": BASE | {"backbones", "methods"},
    "features": BASE | {"backbones", "engine", "hub", "methods", "pose", "video"},
    "recognition": BASE | {"backbones", "data", "engine", "hub", "methods", "ops", "pose", "video"},
    "zoo": BASE
    | {
        "backbones",
        "data",
        "features",
        "hub",
        "methods",
        "pose",
        "recognition",
        "synthetic",
        "video",
    },
    "evaluation": BASE
    | {"backbones", "data", "features", "hub", "methods", "recognition", "video", "zoo"},
    "training": BASE
    | {
        "backbones",
        "data",
        "evaluation",
        "features",
        "hub",
        "methods",
        "pose",
        "recognition",
        "video",
        "zoo",
    },
    "api": BASE | {"recognition", "zoo"},
    "sklearn": BASE | {"recognition", "video", "zoo"},
    "spotting": BASE | {"backbones", "pose", "recognition", "video", "zoo"},
    "archive": BASE
    | {"data", "engine", "methods", "pose", "recognition", "spotting", "video", "zoo"},
    "report": BASE | {"api", "archive", "evaluation", "pose", "recognition", "spotting", "video"},
    "app": BASE
    | {"api", "archive", "data", "recognition", "report", "spotting", "synthetic", "video"},
}


#: The only step up, and a late one: names of models are opened by the zoo.
UPWARDS = {"recognition/named.py": {"zoo"}}


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
    upwards = UPWARDS.get(path.relative_to(PACKAGE).as_posix(), set())
    unexpected = imported(path) - ALLOWED[here] - {here} - upwards
    assert not unexpected, f"{here} must not import {unexpected}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(("a2m2_zoo", *path.relative_to(PACKAGE).with_suffix("").parts))
        graph[name.removesuffix(".__init__")] = set(at_import(path))
    done: set[str] = set()

    def follow(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name in done or name not in graph:
            return
        for other in sorted(graph[name]):
            follow(other, (*above, name))
        done.add(name)

    for name in sorted(graph):
        follow(name, ())


def at_import(path: Path) -> Iterator[str]:
    """Modules of the package that are imported when a file is, those for type checking left out."""
    names = {
        ".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in PACKAGE.rglob("*.py")
    }
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("a2m2_zoo."):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in inside if name in names] or [str(node.module)]


def test_methods_do_not_import_each_other() -> None:
    shared = {"base", "__init__", "blocks"}
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
        "jinja2",
        "lancedb",
        "msgspec",
        "pyarrow",
        "ray",
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
