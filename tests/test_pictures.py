"""`make pictures`: what the docs show is what is drawn today, and the notebook runs."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from report import webdriver

pytestmark = pytest.mark.usefixtures("seen_once")

ROOT = Path(__file__).resolve().parent.parent


def made(monkeypatch: pytest.MonkeyPatch, out: Path, *names: str) -> list[Path]:
    """What `tools/pictures.py NAMES --out OUT` writes."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    import pictures

    monkeypatch.setattr(sys, "argv", ["pictures.py", *names, "--out", str(out)])
    pictures.main()
    return sorted(out.iterdir())


def colours(path: Path) -> np.ndarray:
    """The picture in small, for a comparison that no font's rounding changes."""
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB").reduce(8), int)


def test_the_pictures_of_the_docs_are_those_that_are_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("explain", "misalignment", "timeline")
    found = made(monkeypatch, tmp_path, *names)
    assert [path.stem for path in found] == [n + how for n in names for how in ("", "_dark")]
    for path in found:
        drawn, kept = colours(path), colours(ROOT / "docs" / "images" / path.name)
        assert drawn.shape == kept.shape, "run make pictures"
        assert np.abs(drawn - kept).mean() < 2, f"{path.name}: run make pictures"
        paper = drawn[-1, 0].mean()  # a corner
        assert paper < 50 if path.stem.endswith("_dark") else paper > 250


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs gradio: a2m2_zoo[app]")
@pytest.mark.skipif(find_spec("lancedb") is None, reason="needs lancedb: a2m2_zoo[archive]")
@pytest.mark.skipif(
    webdriver.programs() is None,
    reason="needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver",
)
def test_the_picture_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (path,) = made(monkeypatch, tmp_path, "app")
    drawn, kept = colours(path), colours(ROOT / "docs" / "images" / "app.png")
    assert drawn.shape[1] == kept.shape[1] == 1280 / 8
    assert abs(len(drawn) - len(kept)) < 200 / 8  # fonts are the machine's
    assert drawn[-40:, -80:].std() > 30  # why, with its frames


def test_the_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a process of its own, which remembers as this one does."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "seen_once.py").write_text(
        "from remembered import remembered\nseen = remembered()\nseen.__enter__()\n"
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    file = ROOT / "examples" / "tour.ipynb"
    assert file.stat().st_size < 300_000
    (path,) = made(monkeypatch, tmp_path / "made", "tour")
    outputs = [
        [output for cell in book.cells for output in cell.get("outputs", [])]
        for book in (nbformat.read(place, as_version=4) for place in (file, path))
    ]
    kinds = [[(o.output_type, sorted(o.get("data", {}))) for o in of] for of in outputs]
    assert kinds[0] == kinds[1], "run make pictures"
    pictures = [o.data["image/png"] for o in outputs[1] if "image/png" in o.get("data", {})]
    sizes = [Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures]
    assert len(sizes) == 3
    assert min(width for width, _ in sizes) > 500
    printed = [o.get("text", "") for o in outputs[1]]
    assert any(re.search(r"^walk +-> none of these", text, re.MULTILINE) for text in printed)


def test_a_name_of_no_picture_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        made(monkeypatch, tmp_path, "sunset")
    said = capsys.readouterr().err
    assert "'sunset' is none of explain, timeline, misalignment, app, tour" in said
