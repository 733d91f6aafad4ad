"""Install into a virtual environment, several times faster than pip where uv can be had.

    .venv/bin/python tools/install.py --constraint constraints.txt --editable ".[dev]"
    .venv/bin/python tools/install.py --python other/bin/python --compile-bytecode numpy

Takes what ``pip install`` and ``uv pip install`` both take. uv comes from the package index, by pip, unless
it is there. It does not read pip's settings, so it is told them: both must take the same files, such as
PyTorch without CUDA from a folder of wheels. Where that cannot be said, or uv is not to be had or gives up,
pip installs.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What pip calls it, the variable by which uv knows it, and what uv puts between several.
KNOWN = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}
#: They change nothing about what is installed.
HARMLESS = {
    "cache-dir", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color", "no-input",
    "progress-bar", "quiet", "retries", "root-user-action", "timeout", "verbose",
}  # fmt: skip


def settings(listed: str) -> dict[str, str] | None:
    """What ``pip config list`` printed, as variables for uv; ``None`` if uv could not be told all of it."""
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        where, equals, value = line.partition("=")
        section, _, name = where.rpartition(".")
        if not equals or section not in (":env:", "global", "install") or name in HARMLESS:
            continue  # other sections are of other commands
        if name not in KNOWN:
            return None
        found.setdefault(name, []).extend(ast.literal_eval(value).split())
    told = {
        KNOWN[name][0]: KNOWN[name][1].join(dict.fromkeys(values)) for name, values in found.items()
    }
    return {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        **told,
    }  # as pip does: the newest of all indexes


def quiet_pip(*arguments: str) -> str | None:
    """What this environment's pip says; ``None`` if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout


def find_uv() -> str | None:
    """The program, of this environment or on the path; installed here if there is none."""
    here = sysconfig.get_path("scripts")
    for _ in range(2):
        if found := shutil.which("uv", path=here) or shutil.which("uv"):
            return found
        if quiet_pip("install", "--constraint", str(ROOT / "constraints.txt"), "uv") is None:
            break
    return None


def install(python: str, arguments: list[str]) -> int:
    """The exit status."""
    listed = quiet_pip("config", "list")
    told = None if listed is None else settings(listed)
    if told is not None and (uv := find_uv()):
        command = [uv, "pip", "install", "--quiet", "--python", python, *arguments]
        # What a person has set for uv stays.
        if subprocess.run(command, env={**told, **os.environ}, check=False).returncode == 0:
            return 0
        print("install.py: uv gave up, see above; pip installs instead", file=sys.stderr)
    arguments = [
        part for part in arguments if part != "--compile-bytecode"
    ]  # which pip always does
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    """Install what the command line says."""
    arguments, python = sys.argv[1:], sys.executable
    if arguments[:1] == ["--python"]:
        python, arguments = arguments[1], arguments[2:]
    if not arguments:
        raise SystemExit(__doc__)
    sys.exit(install(python, arguments))


if __name__ == "__main__":
    main()
