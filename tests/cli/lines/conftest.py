"""Clips that are classified line by line."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.lines.answer_lines import Run
from makers import draw_video
from makers_models import tiny_model

from a2m2_zoo.cli import main
from a2m2_zoo.recognition.recognizer import Recognizer


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that take no time, supports of two classes, six clips, two of them broken."""
    root = tmp_path_factory.mktemp("lines")
    for name in ("tiny", "other"):
        (root / name).mkdir()
        tiny_model(root / name, name)
    for i in range(2):
        draw_video(root / "supports" / "right" / f"{i}.mp4", 6 + i, size=(64, 64))
        draw_video(root / "supports" / "back" / f"{i}.mp4", 6 + i, size=(64, 64), speed=-7)
    for i in range(4):
        draw_video(root / "clips" / f"{i}.mp4", 6 + i, size=(64, 64), speed=3 - i)
    (root / "clips" / "broken.mp4").write_bytes(b"no video")
    (root / "clips" / "empty.mp4").write_bytes(b"")
    return root


@pytest.fixture
def clips(work: Path, tmp_path: Path) -> Path:
    """The clips, to do with as a test likes."""
    return Path(shutil.copytree(work / "clips", tmp_path / "clips"))


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: Any, model: str = "tiny", supports: str = "supports") -> Any:
        fixed = ("--model", work / model, "--supports", work / supports, "--batch-size", 1)
        code = main(["classify", *map(str, (*arguments, *fixed))])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are read."""
    seen: list[str] = []
    real = Recognizer.iter_classify

    def counted(self: Recognizer, clips: Iterable[Path], **options: Any) -> Any:
        def noted() -> Iterator[Path]:
            for clip in clips:
                seen.append(clip.name)
                yield clip

        return real(self, noted(), **options)

    monkeypatch.setattr(Recognizer, "iter_classify", counted)
    return seen
