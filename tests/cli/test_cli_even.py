"""What all commands have alike: options, metavars, exit codes, tables, completion."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from makers import draw_video, three_classes
from makers_models import tiny_model
from typer.main import get_command

from a2m2_zoo import SupportBank, build_bank, load_model
from a2m2_zoo._utils.console import SafeConsole
from a2m2_zoo.cli import main, output
from a2m2_zoo.cli.app import app


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, found in group.commands.items():
        here = f"{path} {name}".strip()
        if hasattr(found, "commands"):
            yield from commands(found, here)
        else:
            yield here, found


ALL = dict(commands(get_command(app)))
#: Those that open a model which is not given by --model.
OPENS = [f"models {name}" for name in ("show", "verify", "pull", "publish", "export")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, a model that takes no time, and a bank of both."""
    root = tmp_path_factory.mktemp("even")
    three_classes(root / "clips")
    tiny_model(root)
    bank = build_bank(root / "clips", model=load_model(root))
    bank.save(root / "bank.safetensors")
    return root


@pytest.mark.parametrize("name", ALL)
def test_options_are_alike(name: str) -> None:
    options = {o: p for p in ALL[name].params if p.param_type_name == "option" for o in p.opts}
    assert {"--quiet", "-q", "--verbose", "-v"} <= set(options)
    if "--json" in options:
        assert options["--json"].is_flag
    assert "--json" in options or name == "app"  # which answers nobody but a browser
    if "--out" in options:
        assert "-o" in options["--out"].opts
        assert options["--out"].metavar in ("FILE", "DIR")
    for shown in ("--device", "--model", "--seed", "--workers", "--cache", "--supports"):
        if shown in options and not options[shown].is_flag:
            wanted = {
                "--device": "DEVICE",
                "--model": "MODEL",
                "--cache": "DIR",
                "--supports": "SUPPORTS",
            }
            assert options[shown].metavar == wanted.get(shown, "N")
    if "--model" in options or name in OPENS:
        assert "--import" in options
    for parameter in options.values():
        kind = parameter.metavar
        assert parameter.is_flag or parameter.opts == ["--help", "-h"] or kind, parameter.opts
        assert kind is None or not kind.startswith("<")


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_stands_for_a_value_and_nothing_of_flags(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert "--help" in said
    assert "<bool>" not in said
    for parameter in ALL[name].params:
        if parameter.param_type_name == "argument":
            assert str(parameter.metavar).isupper(), parameter.name
            assert "[" not in parameter.metavar  # which the usage line puts around it


@pytest.mark.parametrize("name", ALL)
def test_wrong_calls_exit_2_with_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--no-such-option"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith("a2m2: ")
    assert said.out == ""


@pytest.mark.parametrize(
    "words",
    [
        "compare CLIPS --way 9 --methods protonet",
        "compare CLIPS --shot x",
        "evaluate CLIPS --way 9",
        "evaluate none",
        "misalign CLIPS --kinds none --model a2m2-lite0",
        "misalign CLIPS --amounts x --model a2m2-lite0",
        "misalign CLIPS --way 0",
        "episode CLIPS --way 9",
        "bank remove BANK",
        "bank remove BANK nobody",
        "bank remove BANK --clip none.mp4",
        "bank show none.safetensors",
        "classify CLIPS --supports none.safetensors",
        "classify CLIPS --supports BANK --quiet --verbose",
        "models show none",
        "models verify none",
        "data synth --out OUT --style none",
        "features none",
        "embed CLIPS --out OUT.txt",
        "train none --out OUT",
        "train CLIPS --out OUT --way 1",
    ],
)
def test_calls_that_ask_for_what_there_is_not_exit_2(
    words: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stands = {"CLIPS": place / "clips", "BANK": place / "bank.safetensors", "OUT": tmp_path / "out"}
    for word, path in stands.items():
        words = words.replace(word, str(path))
    model = ["--model", str(place)]
    if "--model" in words or words.split()[0] in ("bank", "models", "data"):
        model = []
    assert main([*words.split(), *model]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_quiet_and_verbose(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = shutil.copytree(place / "clips", tmp_path / "clips")
    (clips / "right" / "notes.txt.mp4").write_bytes(b"no clip")
    page = tmp_path / "page.json"
    call = ["compare", str(clips), "--methods", "protonet", "--way", "2", "--shot", "1"]
    call += ["--episodes", "5", "--model", str(place), "--out", str(page)]
    call += ["--cache", str(tmp_path / "cache")]
    assert main([*call, "--quiet"]) == 1
    said = capsys.readouterr()
    assert "accuracy" in said.out
    assert "left out clip" in said.err  # a fault is no note
    assert "wrote" not in said.err
    assert main(call) == 1
    assert f"wrote: {page}" in capsys.readouterr().err
    assert main([*call, "--verbose"]) == 1
    assert "Model('tiny': protonet on tiny" in capsys.readouterr().err
    (place / "torn.safetensors").write_bytes(b"\0" * 64)
    assert main(["bank", "show", str(place / "torn.safetensors"), "-v"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("a2m2: because of CheckpointError")


def test_a_bank_brings_its_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, bank = str(place / "clips" / "right" / "r0.mp4"), str(place / "bank.safetensors")
    for words in (["classify", clip], ["spot", clip], ["watch", clip], ["bank", "check"]):
        where = [bank] if words[0] == "bank" else ["--supports", bank]
        assert main([*words, *where]) == 2
        assert "made by model 'tiny'" in capsys.readouterr().err
    assert main(["classify", clip, "--supports", bank, "--model", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == "right"


def test_a_bank_refuses_what_it_has(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Path(shutil.copy(place / "bank.safetensors", tmp_path))
    more = tmp_path / "more"
    draw_video(more / "right" / "new.mp4", 33, speed=4)
    (more / "other").mkdir()
    shutil.copy(place / "clips" / "still" / "s0.mp4", more / "other" / "renamed.mp4")
    draw_video(more / "other" / "o.mp4", 33, speed=9)
    call = ["bank", "add", str(bank), str(more), "--model", str(place)]
    assert main([*call, "--json"]) == 1
    said = capsys.readouterr()
    assert "renamed.mp4: its pictures are in the bank already, from " in said.err
    assert "s0.mp4, as 'still' and not 'other'" in said.err
    assert json.loads(said.out)["classes"] == {"back": 3, "other": 1, "right": 4, "still": 3}
    before = bank.read_bytes()
    assert main(call) == 1  # all are there now
    assert capsys.readouterr().err.count("in the bank already") == 3
    assert SupportBank.load(bank) == SupportBank.load(shutil.copy(bank, tmp_path / "b.safetensors"))
    assert bank.read_bytes() == before
    name = str(more / "right" / "new.mp4")
    assert main(["bank", "remove", str(bank), "--clip", name, "--clip", "r0.mp4"]) == 0
    assert SupportBank.load(bank).counts() == {"back": 3, "other": 1, "right": 2, "still": 3}
    capsys.readouterr()
    assert main(["bank", "remove", str(bank), "--clip", "o.mp4"]) == 2
    assert "class 'other' would be left without a clip" in capsys.readouterr().err
    assert main(["bank", "show", str(bank)]) == 0
    assert "o.mp4" in capsys.readouterr().out


def test_pictures_into_a_folder_with_a_bound(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["classify", str(place / "clips"), "--supports", str(place / "clips")]
    call += ["--model", str(place), "--explain", str(tmp_path / "why"), "--explain-most", "2"]
    assert main(call) == 0
    said = capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "why").iterdir()) == ["001-b0.png", "002-b1.png"]
    assert "7 more answers have no picture" in said
    assert main([*call[:-3], str(tmp_path / "no" / "why"), "--explain-most", "2"]) == 1
    assert "for the picture does not exist" in capsys.readouterr().err


def test_models_of_ones_own_are_shown_and_verified(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_model(tmp_path)
    receipt = {
        "config": {"way": 3, "validate_episodes": 50},
        "result": {"best_step": 4, "curve": [{"step": 0, "1": 40.0}, {"step": 4, "1": 61.5}]},
    }
    (folder / "receipt.json").write_text(json.dumps(receipt))
    for path in (folder, folder / "model.safetensors"):
        assert main(["models", "show", str(path)]) == 0
        out = capsys.readouterr().out
        assert out.index("61.5") < out.index("protonet")  # figures come first
    verdict = {"way": 3, "shots": [1, 5], "before": 52.2, "after": 50.4}
    for kept, figure in ((False, 52.2), (True, 50.4)):
        told = {**receipt, "verdict": verdict, "kept": kept}
        (folder / "receipt.json").write_text(json.dumps(told))
        assert main(["models", "show", str(folder), "--json"]) == 0
        (metric,) = json.loads(capsys.readouterr().out)["metrics"]
        assert metric["accuracy"] == figure
        assert ("it started from" in metric["data"]) == (not kept)
    (folder / "receipt.json").write_text("[]")
    assert main(["models", "show", str(folder), "--json"]) == 0
    said = capsys.readouterr()
    assert "cannot be read as a receipt" in said.err
    shown = json.loads(said.out)
    assert (shown["id"], shown["metrics"]) == ("tiny", [])
    assert main(["models", "verify", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["role"], row["state"]) for row in rows] == [("head", "ok"), ("backbone", "ok")]
    for file in ("backbone.safetensors", "model.safetensors"):
        data = bytearray((folder / file).read_bytes())
        data[-2] ^= 1
        (folder / file).write_bytes(data)
        assert main(["models", "verify", str(folder)]) == 1
        said = capsys.readouterr()
        assert "damaged" in said.out
        assert file in said.err
    assert main(["models", "verify", str(tmp_path / "none.safetensors")]) == 1
    assert "missing" in capsys.readouterr().err
    assert main(["models", "verify", "nonesuch", "a2m2-lite0", "neither", "--json"]) == 2
    said = capsys.readouterr()  # a wrong name does not keep the others from being compared
    assert {row["state"] for row in json.loads(said.out)} == {"ok"}
    assert [line.split("; ")[0] for line in said.err.splitlines()] == [
        "a2m2: no model is called 'nonesuch'",
        "a2m2: no model is called 'neither'",
    ]


def test_a_model_without_mistakes_has_no_table_of_them(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "easy"
    for name, colour in (("dark", 0), ("light", 1)):
        for i in range(3):
            draw_video(root / name / f"{i}.mp4", 10 + i, speed=0 if colour else 5)
    call = ["evaluate", str(root), "--way", "2", "--shot", "1", "--episodes", "5"]
    assert main([*call, "--model", str(place), "--cache", str(tmp_path / "cache")]) == 0
    out = capsys.readouterr().out
    assert "100.0" in out
    assert "taken for" not in out


WORDS = ("confidence", "probability", "runner-up", "running", "jumping")


@pytest.mark.parametrize("width", [30, 50, 60, 80, 120])
def test_tables_break_no_word(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    made = output.table("query", "answer", "probability", "confidence", "runner-up", title="table")
    made.add_row(
        "clips/a folder/with a name/clip.mp4",
        "[bold]running[/] fast",
        "0.92",
        "0.8",
        "jumping 0.02",
    )
    made.add_row("b.mp4", "[yellow]unknown[/] (jumping?)", "0.51", "0.2", "running 0.44")
    SafeConsole(width=width).print(made)
    out = capsys.readouterr().out
    assert all(len(line.rstrip()) <= width for line in out.splitlines())
    for word in WORDS:
        assert word in out
    assert "0.92" in out
    assert "clip.mp4" in out


def test_two_columns_stay_two(capsys: pytest.CaptureFixture[str]) -> None:
    made = output.table("fact", "value")
    made.add_row("size", "7")
    made.add_row("origin", "a few words that do not go into one line of forty")
    made.add_row("sha256", "f" * 36)
    made.add_row("file", "e" * 60)
    SafeConsole(width=40).print(made)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "fact    value",
        "size    7",
        "origin  a few words that do not go into",
        "        one line of forty",
        "sha256",
        "  " + "f" * 36,
        "file",
        "  " + "e" * 60,  # in one piece, to be copied
    ]


@pytest.mark.parametrize("width", [30, 80, 200])
def test_clips_of_a_bank_stand_on_lines_of_their_own(
    width: int,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank = SupportBank.load(place / "bank.safetensors")
    names = [f"my  clips/[b]kick[/b] {'and kick ' * (n % 3) * 5}{n}.mp4" for n in range(9)]
    names[3] = "a\x1b[2J\nb.mp4"
    file = replace(bank, sources=tuple(names)).save(tmp_path / "bank.safetensors")
    monkeypatch.setattr(output, "stdout", lambda: SafeConsole(width=width))
    assert main(["bank", "show", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in names:
        shown = "a\\x1b[2J\\nb.mp4" if "\x1b" in name else name
        assert sum(line.rstrip().endswith(f" {shown}") for line in lines) == 1, name


def test_what_is_said_of_models_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "stdout", lambda: SafeConsole(width=80))
    for words in ("list", "list --released", "show a2m2-lite0", "show a2m2-vjepa2-vitl"):
        assert main(["models", *words.split()]) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        assert max(map(len, lines)) <= 80
        heads = ("model", "status", "backbone", "MB") if "list" in words else ("fact", "value")
        assert sum(line.split() == [*heads] for line in lines) == 1  # a table, no blocks
        if "lite0" in words:
            first = lines.index("data                           way   shot   accuracy %")
            assert [*filter(None, lines[:first])] == []
            assert re.fullmatch(r"msr_action3d +5 +1 +[\d.]+ ± [\d.]+", lines[first + 2])
            assert (
                "10000 episodes each, ± is a 95 % interval, from docs/receipts/accuracy.json"
                in lines
            )


def test_completion_is_installed_and_completes(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    run = [sys.executable, "-m", "a2m2_zoo"]
    done = subprocess.run(
        [*run, "--install-completion", "bash"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".bash_completions" / "a2m2.sh").is_file()
    asked = {"_A2M2_COMPLETE": "complete_bash", "COMP_WORDS": "a2m2 cla", "COMP_CWORD": "1"}
    found = subprocess.run(run, env={**env, **asked}, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["classify"], found.stderr


def test_every_command_says_what_it_wrote(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path)
    calls = {
        f"data synth --classes 2 --clips 1 --size 32 --frames 4 -o {out}/drawn": f"{out}/drawn",
        f"bank create {place / 'clips'} -o {out}/b.safetensors --model {place}": f"{out}/b.safetensors",
        f"embed {place / 'clips'} -o {out}/e.npz --model {place}": f"{out}/e.npz",
        f"features {place / 'clips'} --cache {out}/cache --model {place}": f"{out}/cache",
    }  # fmt: skip
    for call, named in calls.items():
        assert main(call.split()) == 0
        said = capsys.readouterr()
        assert named in said.out + said.err, call
