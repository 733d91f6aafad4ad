from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
from a2m2_zoo.backbones import openclip
from a2m2_zoo.errors import DependencyError
"""


def run(code: str, *, path: Path | None = None) -> str:
    """Run code in a fresh interpreter, with fake packages of `path` before the installed ones."""
    found = [str(path)] if path else []
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*found, str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def package(folder: Path, **sources: str) -> Path:
    for name, source in sources.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(source)
    return folder


BROKEN = """
import torch
import torchvision.half
if not hasattr(torch.ops.torchvision, "nms"):
    raise RuntimeError("operator torchvision::nms does not exist")
whole = True
"""


def test_the_real_combination_imports_without_a_warning() -> None:
    # Whichever torchvision is installed here, sound or not, open_clip and timm come in.
    out = run("""
m = openclip.import_open_clip()
again = openclip.import_open_clip()
import timm, torchvision
print(m is again, "ViT-B-16" in m.list_models(), hasattr(torchvision, "ops"))
""")
    assert out == "True True True"


def test_a_broken_torchvision_is_mended_and_imported_anew(tmp_path: Path) -> None:
    fakes = package(
        tmp_path, open_clip="import torchvision\nseen = torchvision.whole", torchvision=BROKEN
    )
    (tmp_path / "torchvision" / "half.py").write_text("import sys\nsys.stdout.write('loaded ')")
    out = run(
        """
m = openclip.import_open_clip()
print(m.seen, len(openclip._declared), sys.modules["torchvision"].whole)
""",
        path=fakes,
    )
    assert out == "loaded loaded True 1 True"


def test_a_torchvision_that_stays_broken_is_an_error(tmp_path: Path) -> None:
    always = 'raise RuntimeError("operator torchvision::nms does not exist")'
    out = run(
        """
try:
    openclip.import_open_clip()
except DependencyError as error:
    print("reinstall" in str(error), "open_clip" in sys.modules)
""",
        path=package(tmp_path, open_clip=always),
    )
    assert out == "True False"


#: Code of the tests that leave the interpreter as it was but for what they import: one serves them all.
TOGETHER = {
    "nothing": """
import a2m2_zoo.backbones
a2m2_zoo.backbones.build_backbone("lite")
print([m for m in ("open_clip", "timm", "torchvision", "a2m2_zoo.video") if m in sys.modules])
""",
    "missing": """
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "open_clip":
            raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")
sys.meta_path.insert(0, Absent())
try:
    openclip.import_open_clip()
except DependencyError as error:
    print("pip install open_clip_torch" in str(error))
del sys.meta_path[0]
""",
    "another": """
try:
    openclip.import_open_clip()
except DependencyError as error:
    print(str(error).count("\\n"), openclip._declared, error)
""",
    "sound": """
import torch, torchvision
mark = torchvision.mark
openclip.import_open_clip()
print(torchvision.mark is mark, sys.modules["torchvision"] is torchvision, openclip._declared)
print(hasattr(torch.ops.torchvision, "nms"))
""",
}
TOGETHER["libfoo"] = TOGETHER["another"]
FAKES = {
    "another": {"open_clip": 'raise RuntimeError("another\\nproblem")'},
    "libfoo": {"open_clip": 'raise ImportError("libfoo.so missing")'},
    "sound": {"open_clip": "import torchvision", "torchvision": "mark = object()"},
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the code of each prints, one after the other, each with its own fake packages."""
    folder = tmp_path_factory.mktemp("fakes")
    for name, sources in FAKES.items():
        package(folder / name, **sources)
    out = run(f"""
import contextlib, importlib, io, json
said = {{}}
for name, code in {TOGETHER!r}.items():
    sys.path.insert(0, {str(folder)!r} + "/" + name)
    importlib.invalidate_caches()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code)
    said[name] = out.getvalue().strip()
    del sys.path[0]
    for module in ("open_clip", "torchvision"):
        sys.modules.pop(module, None)
print(json.dumps(said))
""")
    answers: dict[str, str] = json.loads(out)
    return answers


def test_importing_the_backbones_loads_neither_open_clip_nor_torchvision(
    said: dict[str, str],
) -> None:
    assert said["nothing"] == "[]"


def test_a_missing_open_clip_says_how_to_get_it(said: dict[str, str]) -> None:
    assert said["missing"] == "True"


def test_other_errors_are_passed_on_in_one_line_and_declare_nothing(said: dict[str, str]) -> None:
    for name, reason in (("another", "another"), ("libfoo", "libfoo.so missing")):
        assert said[name].startswith("0 [] open_clip cannot be imported"), said[name]
        assert reason in said[name]


def test_a_sound_torchvision_is_not_touched(said: dict[str, str]) -> None:
    assert said["sound"] == "True True []\nFalse"
