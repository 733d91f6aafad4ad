"""What `--help` says, as it stands on a screen."""

from __future__ import annotations

from itertools import pairwise

import pytest

from a2m2_zoo.cli import main


@pytest.mark.parametrize("command", ["demo", "features"])
def test_help_breaks_its_lines_where_the_screen_ends(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out.partition("╭")[0].strip().splitlines()
    words = [line.strip() for line in said]
    for line, after in pairwise(words):
        if line and after:
            assert len(line) + 1 + len(after.split()[0]) > 78
