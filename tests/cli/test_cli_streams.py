"""What leaves the command line: whatever the names, the encoding and the state of stdout and stderr are."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers import draw_video

from a2m2_zoo import build_bank, load_model
from a2m2_zoo._utils.console import SafeConsole
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo._utils.streams import Stream
from a2m2_zoo.cli import main, output
from a2m2_zoo.cli.spot import subtitles
from a2m2_zoo.spotting import Segment

pytestmark = pytest.mark.usefixtures("seen_once")

FORMULA = "=cmd|'C calc'!A0"
STEERS = "wave\x1b[2J\x9b[31m\r\n\u202e:car: [bold]"
BYTES = os.fsdecode(b"caf\xff$x")
HAN = "洗手"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    for i, name in enumerate((FORMULA, STEERS, BYTES, HAN)):
        draw_video(root / "s" / name / "a.mp4", speed=4 * i)
    draw_video(root / QUERY, speed=4)
    build_bank(root / "s", model=load_model()).save(root / "bank.safetensors")
    return root


QUERY = os.fsdecode(b"q\xff\x1b[2J.mp4")
MISSING = "none\x1b[31m.mp4"


class Replaced:
    """stdout and stderr of another encoding, kept as bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        self._kept = [io.TextIOWrapper(raw, encoding=encoding) for raw in (self.out, self.err)]
        monkeypatch.setattr(sys, "stdout", self._kept[0])
        monkeypatch.setattr(sys, "stderr", self._kept[1])


def steering(text: str) -> set[str]:
    return {c for c in text if c != "\n" and not c.isprintable()}


def ask(work: Path, *arguments: str) -> int:
    bank = str(work / "bank.safetensors")
    queries = [str(work / MISSING), str(work / QUERY)]
    return main(["classify", *queries, "--supports", bank, *arguments])


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_form_is_written_in_every_encoding(
    work: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    with monkeypatch.context() as patch:
        got = Replaced(patch, encoding)
        codes = [ask(work, form) for form in ("--json", "--csv")]
        machine = got.out.getvalue().decode("utf-8")
        codes.append(ask(work))
    table = got.out.getvalue()[len(machine.encode()) :].decode(encoding)
    said = got.err.getvalue().decode(encoding)
    assert codes == [1, 1, 1]
    assert steering(machine + table + said) == set()
    assert [line[:6] for line in said.splitlines()] == ["a2m2: "] * 3
    answers, rest = json.JSONDecoder().raw_decode(machine)
    assert list(answers[0]) == ["query", "error"], "failures stand in their place"
    assert "no such file" in answers[0]["error"]
    assert os.fsencode(answers[1]["query"]) == os.fsencode(work / QUERY)
    assert set(answers[1]["probabilities"]) == {FORMULA, STEERS, BYTES, HAN}
    failed, row = csv.DictReader(io.StringIO(machine[rest:].strip() + "\n"))
    assert failed["error"].endswith("check the path")
    assert not failed["label"]
    assert not row["error"]
    assert float(row[f"probability:{HAN}"]) >= 0
    assert "q\\udcff\\x1b[2J.mp4" in row["query"]
    assert "q\\udcff\\x1b[2J.mp4" in table


def test_pictures_pages_banks_and_clips_take_such_names(
    work: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    bank, query = str(work / "bank.safetensors"), str(work / QUERY)
    assert ask(work, "--explain", str(tmp_path / "why.png")) == 1
    assert (tmp_path / "why.png").exists()
    cut = ["--cut", str(tmp_path / "cut"), "--plot", str(tmp_path / "plot.png"), "--csv"]
    for reject in ("0", "1"):
        assert main(["spot", query, "--supports", bank, "--reject-below", reject, *cut]) == 0
    assert (tmp_path / "plot.png").exists()
    for clip in (tmp_path / "cut").iterdir():
        assert clip.name.isprintable()
        assert clip.name.startswith("001_")
    for form in ([], ["--json"]):
        assert main(["bank", "show", bank, *form]) == 0
    folder = [str(work / "s"), "--way", "2", "--shot", "1", "--episodes", "5"]
    written = ["--out", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    draw_video(work / "s" / HAN / "b.mp4", speed=12)
    draw_video(work / "s" / BYTES / "b.mp4", speed=8)
    names = ["--methods", "protonet", "--cache", str(tmp_path / "cache")]
    assert main(["compare", *folder, *names, *written]) in (0, 1)
    assert BYTES in json.loads((tmp_path / "r.json").read_bytes())["class_names"]
    assert steering((tmp_path / "r.html").read_text("utf-8")) <= {"\t"}
    out, err = capfdbinary.readouterr()
    assert steering((out + err).decode("utf-8")) == set()


def test_wrong_calls_echo_nothing_that_steers(capsys: pytest.CaptureFixture[str]) -> None:
    for call in (
        ["cl\x1b[2Jassify"], ["classify", "--\x1b[2Jx"], ["models", "show", "\x1b[2J"],
        ["models", "list", "--method", "\x9bx"], ["classify", "q", "--supports", "\x1b[2J\nx"],
        ["spot", "x", "--supports", "y", "--stride", "\x1b"], ["bank", "show", "\x1b"],
        ["data", "synth", "--out", "x", "--style", "\x1b"], ["bank", "create", "\x1b", "--out"],
        ["compare", "x", "--shot", "\x1b[1m"], ["classify", "x", "--supports"],
    ):  # fmt: skip
        assert main(call) == 2, call
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("a2m2: ")
        assert err.count("\n") == 1, "one line"
        assert steering(err) == set()


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def closed() -> Any:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


@pytest.mark.parametrize("broken", [lambda: None, Broken, closed], ids=["none", "full", "closed"])
def test_a_stream_that_is_not_there_costs_no_answer(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[], Any]
) -> None:
    bank = str(work / "bank.safetensors")
    call = ["classify", str(work / QUERY), "--supports", bank, "--json"]
    with monkeypatch.context() as patch:
        got = Replaced(patch, "utf-8")
        patch.setattr(sys, "stderr", broken())
        assert main(call) == 0
    assert len(json.loads(got.out.getvalue())) == 1
    with monkeypatch.context() as patch:
        got = Replaced(patch, "utf-8")
        patch.setattr(sys, "stdout", broken())
        assert main([*call, "--explain", str(tmp_path / "why.png")]) == 1
    assert (tmp_path / "why.png").exists(), "files are written all the same"
    (line,) = [x for x in got.err.getvalue().decode().splitlines() if x.startswith("a2m2: ")]
    assert line.startswith("a2m2: the answers could not be written to stdout: ")


def test_real_processes_with_closed_and_full_streams() -> None:
    """Nothing is left in a buffer that Python would try again, and complain of, at exit."""
    call = f"{sys.executable} -m a2m2_zoo models list --json"
    script = f"""
        {call} >&-; echo "out closed $?"
        {call} 2>&- >/dev/null; echo "err closed $?"
        {call} >/dev/full; echo "out full $?"
        PYTHONIOENCODING=ascii {call} 2>/dev/full | wc -c
        {call} | head -c 1; echo; {call} >&- 2>&-; echo "both $?" """
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    assert lines[:3] == ["out closed 1", "err closed 0", "out full 1"]
    assert int(lines[3]) > 1000
    assert lines[4:] == ["[", "both 1"]
    assert run.stderr.splitlines() == [
        "a2m2: the answers could not be written to stdout: it is closed",
        "a2m2: the answers could not be written to stdout: No space left on device",
    ]


def test_spreadsheets_compute_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [
        "=1+1",
        "+1+1",
        "-x.mp4",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "-1.5",
        "+3e5",
        "plain",
    ]
    output.write_csv([{"n": -2.5, "text": cell} for cell in cells])
    text = capsys.readouterr().out
    rows = [row["text"] for row in csv.DictReader(io.StringIO(text))]
    assert rows == [
        "'=1+1", "'+1+1", "'-x.mp4", "'@SUM(A1)", "'\\t=1", "'\\r=1", "'\\n=1", "'＝1",
        "-1.5", "+3e5", "plain",
    ]  # fmt: skip
    assert {row["n"] for row in csv.DictReader(io.StringIO(text))} == {"-2.5"}
    output.write_csv([{"=head": 1}])
    assert capsys.readouterr().out.startswith("'=head\n")


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    value: dict[str, Any] = {
        "a": [float("nan"), float("inf"), 1.5],
        BYTES: STEERS + "\u2028",
        HAN: None,
    }
    output.write_json(value)
    text = capsys.readouterr().out
    assert steering(text) == set()
    assert HAN in text
    assert json.loads(text) == {**value, "a": [None, None, 1.5]}
    assert json.loads(escaped_json(json.dumps(value["a"][2:]))) == [1.5]


def test_subtitles_are_lines() -> None:
    made = subtitles([Segment(0, 1, "a\x1b[2J\n\n2\n00:00 --> 00:01\u2028x", 1.0)])
    assert made.count("\n") == 4
    assert steering(made) == set()


def test_terminals_get_styles_and_no_moves_of_others() -> None:
    """A stand-in for a terminal: rich's own escapes pass, those of names do not."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    before, sys.stdout = sys.stdout, Stream(shown)
    try:
        console = SafeConsole(force_terminal=True, color_system="standard", width=60)
        made = output.table("a")
        made.add_row(f"[bold]{output.escape(STEERS)}[/]")
        made.add_row("\x1b]0;title\x07 :car:")
        console.print(made)
        with console.status("load \x1b[2J\x9b"):
            pass
        print("from a library \x1b[31m \x1b[2J \x9b")
    finally:
        sys.stdout = before
    text = shown.getvalue()
    assert "\x1b[1m" in text
    assert "wave\\x1b[2J\\x9b[31m\\r\\n\\u202e:car: [bold]" in text
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert not {"\x07", "\x9b"} & set(text)
    assert "from a library \x1b[31m \\x1b[2J \\x9b" in text


def test_a_reader_who_leaves_ends_a_stream_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", Stream(pipe))
        assert not output.lost()
        output.write_json({"a": 1}, indent=None)
        assert output.lost()
        assert isinstance(getattr(sys.stdout, "fault", None), BrokenPipeError)
