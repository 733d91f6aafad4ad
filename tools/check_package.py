"""Install a built wheel and an sdist in clean environments and use them as a stranger would.

    python tools/check_package.py dist --constraint constraints.txt

The wheel is installed with its dependencies in a new virtual environment and runs the demo elsewhere.
The sdist must build the same wheel: names and bytes of the package's files are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

NEEDED = (
    "a2m2_zoo/weights_manifest.json",
    "a2m2_zoo/hub/manifest.schema.json",
    "a2m2_zoo/py.typed",
    "a2m2_zoo/weights/NOTICE",
    "a2m2_zoo/weights/a2m2_lite0.safetensors",
    "a2m2_zoo/weights/efficientnet_lite0.safetensors",
)


def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def contents(wheel: Path) -> dict[str, bytes]:
    """The package's files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.startswith("a2m2_zoo/")}


def only(folder: Path, pattern: str) -> Path:
    """The one file that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} holds {len(found)} files like {pattern}; expected one")
    return found[0].resolve()


def main() -> None:
    """Check both archives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path)
    parser.add_argument("--constraint", type=Path, required=True)
    options = parser.parse_args()
    wheel, sdist = only(options.dist, "*.whl"), only(options.dist, "*.tar.gz")
    missing = [name for name in NEEDED if name not in contents(wheel)]
    if missing:
        raise SystemExit(f"the wheel lacks {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pip = (
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            folder / "again",
        )
        run(*pip, sdist, cwd=folder)
        if contents(only(folder / "again", "*.whl")) != contents(wheel):
            raise SystemExit("the sdist builds another wheel than the tree")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        install = (
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--constraint",
            options.constraint.resolve(),
        )
        run(*install, f"{wheel}[pictures]", cwd=folder)
        a2m2 = folder / "venv" / "bin" / "a2m2"
        assert "a2m2-lite0" in run(a2m2, "models", "list", cwd=folder)
        print(run(a2m2, "demo", "--out", "demo", cwd=folder))
        if not (folder / "demo" / "why.png").is_file():
            raise SystemExit("the demo drew no picture")
    print(f"{wheel.name} and {sdist.name} install and run")


if __name__ == "__main__":
    main()
