"""Pages with blocks of code, for the tests that run them as they stand."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from a2m2_zoo.cli import main

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<why>[^>]+) -->\n)?^(?P<in> *)```(?P<lang>\w*)\n(?P<code>.*?)^(?P=in)```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page, and why it is not run, if it is not."""

    language: str
    code: str
    why: str | None

    @property
    def commands(self) -> list[str]:
        """The lines after a prompt, continued ones joined."""
        joined = re.sub(r"\\\n\s*", "", self.code)
        return [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page."""
    return [Block(m["lang"], m["code"], m["why"]) for m in FENCE.finditer(page.read_text())]


def run_page(page: Path) -> None:
    """Run all blocks of a page but those that say why not, in the folder where the process stands."""
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.why is None and block.language == "python":
            exec(compile(block.code, page.name, "exec"), names)
        elif block.why is None and block.language == "console":
            assert block.commands, block.code
            for command in block.commands:
                run(command)


def run(command: str) -> None:
    """Run one command of a page in this process; ``> FILE`` takes what it writes."""
    program, *words = shlex.split(command)
    assert program == "a2m2", command
    *words, target = (*words[:-2], words[-1]) if words[-2:-1] == [">"] else (*words, "")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(words)
    assert code == 0, (command, code)
    if target:
        Path(target).write_text(out.getvalue())
        assert out.getvalue(), command


def run_script(script: Path, *arguments: object) -> tuple[int, str, str]:
    """Run a file as ``python script …`` does, in this process: its exit code, and what it writes."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(str(script), run_name="__main__")
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
                if isinstance(ended.code, str):
                    print(ended.code, file=sys.stderr)
    return code, out.getvalue(), err.getvalue()
