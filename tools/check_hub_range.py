"""Fetch with another version of huggingface_hub than the installed one.

    python tools/check_hub_range.py                          # the oldest that setup.cfg allows
    python tools/check_hub_range.py "huggingface_hub==1.9.*"

The version goes into a virtual environment of its own; everything else is taken from the one that runs this,
which is left as it is. Costs a download of a few megabytes and the time of the tests it runs.
"""

from __future__ import annotations

import argparse
import os
import site
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/hub/test_fetch.py", "tests/hub/test_fetch_faults.py", "tests/hub/test_fetch_processes.py",
         "tests/hub/test_pull.py")  # fmt: skip


def main() -> None:
    """Make the environment, say what is in it, run the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirement", nargs="?", default="huggingface_hub==1.0.*")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "venv"
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", options.requirement], check=True)
        # A folder named in a .pth file comes after the environment's own.
        own = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        shared = dict.fromkeys([*site.getsitepackages(), sysconfig.get_path("platlib")])
        (Path(own) / "zz_shared.pth").write_text("\n".join([str(ROOT), *shared]) + "\n")
        told = "import huggingface_hub as h; print('huggingface_hub', h.__version__, h.__file__)"
        subprocess.run([python, "-c", told], check=True)
        parallel = ["-n", "auto", "--dist", "loadfile"]
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel, *options.tests],
            cwd=ROOT,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
