"""Install a built wheel and an sdist in clean environments and use them as a stranger would.

    python tools/check_package.py dist --constraint constraints.txt

The wheel's metadata must be complete, and its page on the package index must have no dead relative link. The
sdist must hold the tree as it is under version control, pass tests where it is unpacked, and build the same
wheel: names and bytes of the package's files are compared. The wheel is then installed with its
dependencies in a new virtual environment and runs the demo elsewhere, and mypy finds nothing in the examples
there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from readme_renderer import markdown

ROOT = Path(__file__).resolve().parent.parent
NEEDED = (
    "a2m2_zoo/weights_manifest.json",
    "a2m2_zoo/hub/manifest.schema.json",
    "a2m2_zoo/hub/templates/card.md",
    "a2m2_zoo/report/templates/page.html",
    "a2m2_zoo/py.typed",
    "a2m2_zoo/weights/NOTICE",
    "a2m2_zoo/weights/a2m2_lite0.safetensors",
    "a2m2_zoo/weights/efficientnet_lite0.safetensors",
    "a2m2_zoo/weights/blazepose.safetensors",
    "a2m2_zoo/weights/joints_head.safetensors",
)
URLS = {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
FIELDS = (
    "Author", "Summary", "Keywords", "License-Expression", "Requires-Python", "Classifier",
    "Description-Content-Type",
)  # fmt: skip
#: Quick ones, run where the sdist was unpacked: they read the files beside the package, and the weights.
TESTS = (
    "tests/test_project_files.py", "tests/test_imports.py", "tests/_utils/test_files.py",
    "tests/hub/test_manifest.py::test_every_file_is_there_with_its_size_and_hash",
)  # fmt: skip


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """The standard output of a command that must succeed; ``path`` comes first among the imports."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, check=True, stdout=subprocess.PIPE, env=environment
    )
    return done.stdout.decode()


def contents(wheel: Path) -> dict[str, bytes]:
    """The package's files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.startswith("a2m2_zoo/")}


def metadata(wheel: Path) -> Message:
    """What a wheel says about itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def only(folder: Path, pattern: str) -> Path:
    """The one file that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} holds {len(found)} files like {pattern}; expected one")
    return found[0].resolve()


def check_wheel(wheel: Path) -> None:
    """Files, metadata, and the page on the index, rendered as the index does it."""
    if missing := [name for name in NEEDED if name not in contents(wheel)]:
        raise SystemExit(f"the wheel lacks {', '.join(missing)}")
    said = metadata(wheel)
    if missing := [field for field in FIELDS if not said[field]]:
        raise SystemExit(f"the metadata lacks {', '.join(missing)}")
    urls = {line.split(",")[0] for line in said.get_all("Project-URL", [])}
    if missing := sorted(URLS - urls):
        raise SystemExit(f"the metadata lacks the addresses {', '.join(missing)}")
    text = said.get_payload(decode=True)
    assert isinstance(text, bytes)
    page = markdown.render(text.decode())
    if page is None:
        raise SystemExit("the package index could not render the README")
    targets = re.findall(r'(?:href|src)="([^"]+)"', page)
    if dead := [t for t in targets if not t.startswith(("https://", "http://", "mailto:", "#"))]:
        raise SystemExit(f"dead links on the package index: {', '.join(dead)}")
    print(f"the page on the index has {len(targets)} links and pictures, none of them relative")


def check_sdist(sdist: Path, scratch: Path) -> None:
    """All that is under version control, and tests that pass where it is unpacked."""
    with tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
    (tree,) = scratch.iterdir()
    if (ROOT / ".git").exists():
        listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
        if missing := [name for name in listed if name and not (tree / name).is_file()]:
            raise SystemExit(f"MANIFEST.in leaves out {', '.join(missing)}")
    ours = run(
        sys.executable, "-c", "import a2m2_zoo; print(a2m2_zoo.__file__)", cwd=tree, path=tree
    )
    if not Path(ours.strip()).is_relative_to(tree):
        raise SystemExit(f"the unpacked tests would test {ours.strip()}")
    print(run(sys.executable, "-m", "pytest", "-q", "--no-header", *TESTS, cwd=tree, path=tree))


def check_same_wheel(sdist: Path, wheel: Path, scratch: Path) -> None:
    """The sdist builds the wheel that was given."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, sdist,
        cwd=scratch)  # fmt: skip
    again = only(scratch, "*.whl")
    if contents(again) != contents(wheel) or str(metadata(again)) != str(metadata(wheel)):
        raise SystemExit("the sdist builds another wheel than the tree")


def check_installed(wheel: Path, constraint: Path, scratch: Path) -> None:
    """The wheel in an environment of its own, from the command line."""
    venv.create(scratch / "venv", with_pip=True, symlinks=os.name != "nt")
    programs = scratch / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, ROOT / "tools" / "install.py", "--python", programs / "python",
        "--constraint", constraint.resolve(), f"{wheel}[pictures]", cwd=scratch)  # fmt: skip
    assert "a2m2-lite0" in run(programs / "a2m2", "models", "list", cwd=scratch)
    print(run(programs / "a2m2", "demo", "--out", "demo", cwd=scratch))
    if not (scratch / "demo" / "why.png").is_file():
        raise SystemExit("the demo drew no picture")
    check_types(programs / "python", scratch)


def check_types(python: Path, scratch: Path) -> None:
    """The examples as mypy sees them at somebody's who has installed the package."""
    shutil.copytree(ROOT / "examples", scratch / "examples")
    # onnx_alone.py needs it and not this package.
    (scratch / "mypy.ini").write_text(
        "[mypy]\n[mypy-onnxruntime.*]\nignore_missing_imports = True\n"
    )
    programs = sorted((scratch / "examples").glob("*.py"))
    run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, *programs,
        scratch / "examples" / "plugin", cwd=scratch)  # fmt: skip
    print(f"mypy --strict has nothing against the {len(programs)} examples and the plugin")


def main() -> None:
    """Check both archives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path)
    parser.add_argument("--constraint", type=Path, required=True)
    options = parser.parse_args()
    wheel, sdist = only(options.dist, "*.whl"), only(options.dist, "*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        scratch = [Path(name).resolve() / part for part in ("unpacked", "again", "installed")]
        for folder in scratch:
            folder.mkdir()
        check_wheel(wheel)
        check_sdist(sdist, scratch[0])
        check_same_wheel(sdist, wheel, scratch[1])
        check_installed(wheel, options.constraint, scratch[2])
    print(f"{wheel.name} and {sdist.name} install and run")


if __name__ == "__main__":
    main()
