from __future__ import annotations

import csv
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from makers import BROKEN, draw_video, three_classes

from a2m2_zoo import SupportBank, build_bank, load_model
from a2m2_zoo._utils.console import SafeConsole
from a2m2_zoo.cli import main, output
from a2m2_zoo.cli.bank import add, create
from a2m2_zoo.cli.classify import classify
from a2m2_zoo.cli.episode import episode
from a2m2_zoo.synthetic import draw_named, write_video
from a2m2_zoo.video import Limits

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def bank(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bank(data, model=load_model()).save(
        tmp_path_factory.mktemp("bank") / "b.safetensors"
    )


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_json_answers_have_the_announced_form(
    data: Path, bank: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = data / "right" / "r0.mp4"
    assert main(["classify", str(query), "--supports", str(bank), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert list(answer) == [
        "query", "label", "probability", "probabilities", "margin", "known", "confidence", "rejected",
        "model", "frames", "pose_frames", "seconds", "warnings",
    ]  # fmt: skip
    product = answer["known"] * answer["probabilities"]["right"]
    # Six decimals are printed: half of the last one for each of the three.
    assert answer["confidence"] == pytest.approx(product, abs=1.5e-6)
    assert answer["label"] == "right"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["model"] == "a2m2-lite0"
    assert len(answer["frames"]) == 8


def test_a_folder_that_cannot_be_opened_costs_no_other_answer(
    data: Path,
    bank: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "queries"
    shutil.copytree(data / "still", root / "open")
    (root / "locked").mkdir()
    (root / "locked" / "x.mp4").touch()
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    arguments = [str(root), str(root / "locked"), "--supports", str(bank), "--json"]
    assert main(["classify", *arguments]) == 1
    captured = capsys.readouterr()
    answers = json.loads(captured.out)
    assert [answer.get("label") for answer in answers] == ["still"] * 3 + [None] * 2
    assert all("cannot list the folder" in answer["error"] for answer in answers[3:])
    assert captured.err.count("cannot list the folder") == 2
    assert captured.err.count("\n") == 2


def test_csv_and_table(data: Path, bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(data / "still")
    assert main(["classify", folder, "--supports", str(bank), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in rows] == ["still"] * 3
    assert float(rows[0]["probability:right"]) < float(rows[0]["probability:still"])
    assert main(["classify", folder, "--supports", str(bank), "--reject-below", "1"]) == 0
    text = capsys.readouterr().out
    assert text.count("unknown (still?)") == 3
    assert text.splitlines()[1].split() == [
        "query",
        "answer",
        "probability",
        "confidence",
        "margin",
        "runner-up",
    ]


def test_every_broken_clip_has_one_line_and_the_good_ones_are_answered(
    tmp_path: Path, data: Path, bank: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    draw_video(tmp_path / "secret.mp4")  # what the playlists point at
    broken = [make(tmp_path / name) for name, make in BROKEN.items()]
    good = data / "right" / "r1.mp4"
    one = draw_video(tmp_path / "one.mp4", 1)
    queries = [str(p) for p in (good, *broken, one)]
    assert main(["classify", *queries, "--supports", str(bank), "--json"]) == 1
    out, err = capfd.readouterr()
    rows = json.loads(out)
    assert [row["query"] for row in rows] == queries, "failures stand in their place"
    failed = {row["query"]: row["error"] for row in rows if "error" in row}
    answers = {Path(a["query"]).name: a for a in rows if "error" not in a}
    assert answers["r1.mp4"]["label"] == "right"
    assert answers["one.mp4"]["warnings"][0] == "only 1 frame; nearest frames repeated"
    assert set(answers) <= {"r1.mp4", "one.mp4", "cut.mp4"}
    complaints = lines(err)
    assert all(line.startswith("a2m2: ") for line in complaints), err
    assert len(complaints) == len(queries) - len(answers) == len(failed)
    assert [f"a2m2: {error}" for error in failed.values()] == complaints
    for path in broken:
        if path.name not in answers:
            assert sum(path.name in line for line in complaints) == 1, path.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--supports", "{tmp}/nowhere"], "No such file"),
        (["--supports", "{tmp}/one"], "one class, 'only'"),
        (["--supports", "{tmp}/hollow"], "class 'b' in"),
        (["--supports", "{tmp}/twins"], "two classes have the same name"),
        (["--supports", "{tmp}/garbage.safetensors"], "is not a safetensors file"),
        (["--supports", "{tmp}/foreign.safetensors"], "the bank was made by model 'another'"),
        (["--supports", "{bank}", "--model", "a2m2-lite1"], "did you mean a2m2-lite0"),
        (["--supports", "{bank}", "--model", "hf-hub:x/y@0"], "names no commit of a repository"),
        (
            ["--supports", "{bank}", "--model", "{tmp}/garbage.safetensors"],
            "is not a safetensors file",
        ),
        (["--supports", "{bank}", "--device", "cuda:99"], "cannot be used here"),
        (["--supports", "{bank}", "--device", "toaster"], "cannot be used here"),
        (["--supports", "{bank}", "--explain", "{tmp}/why.txt"], "should end in .png"),
        (["--supports", "{bank}", "--json", "--csv"], "exclude each other"),
        (["--supports", "{bank}", "--reject-below", "2"], "reject-below"),
        ([], "supports"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    data: Path,
    bank: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_video(tmp_path / "one" / "only" / "a.mp4")
    draw_video(tmp_path / "hollow" / "a" / "a.mp4")
    (tmp_path / "hollow" / "b").mkdir()
    draw_video(tmp_path / "twins" / "Wave" / "a.mp4")
    draw_video(tmp_path / "twins" / "wave" / "a.mp4")
    (tmp_path / "garbage.safetensors").write_bytes(b"\xff" * 100)
    import dataclasses

    foreign = dataclasses.replace(SupportBank.load(bank), model="another")
    foreign.save(tmp_path / "foreign.safetensors")
    filled = [a.format(tmp=tmp_path, bank=bank) for a in arguments]
    assert main(["classify", str(data / "right" / "r0.mp4"), *filled]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert message in " ".join(err.replace("│", " ").split()), err


def test_a_broken_support_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_video(tmp_path / "s" / "a" / "1.mp4")
    draw_video(tmp_path / "s" / "b" / "1.mp4", speed=-7)
    (tmp_path / "s" / "a" / "2.mp4").write_bytes(b"junk")
    query = str(draw_video(tmp_path / "q.mp4"))
    assert main(["classify", query, "--supports", str(tmp_path / "s"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["label"] == "a"
    assert "support left out" in err
    assert "2.mp4" in err
    (tmp_path / "s" / "a" / "1.mp4").unlink()
    assert main(["classify", query, "--supports", str(tmp_path / "s"), "--json"]) == 2
    assert "no clip of class 'a' could be read" in capsys.readouterr().err


def test_bank_commands(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tmp_path / "b.safetensors"
    assert main(["bank", "create", str(data), "--out", str(bank)]) == 0
    assert main(["bank", "create", str(data), "--out", str(bank)]) == 2
    assert "exists; add to it" in capsys.readouterr().err
    more = tmp_path / "more"
    draw_video(more / "fast" / "f.mp4", speed=20)
    before = SupportBank.load(bank)
    assert main(["bank", "add", str(bank), str(more)]) == 0
    assert SupportBank.load(bank).counts() == {"back": 3, "fast": 1, "right": 3, "still": 3}
    assert main(["bank", "remove", str(bank), "fast"]) == 0
    after = SupportBank.load(bank)
    assert after.class_names == before.class_names
    for name, tensor in before.descriptors.items():
        assert tensor.equal(after.descriptors[name])
    capsys.readouterr()
    assert main(["bank", "show", str(bank), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == {"back": 3, "right": 3, "still": 3}
    assert main(["bank", "remove", str(bank), "nobody"]) == 2
    assert "no class 'nobody'" in capsys.readouterr().err


def test_a_full_disk_leaves_the_bank_as_it_was(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = tmp_path / "b.safetensors"
    assert main(["bank", "create", str(data), "--out", str(bank)]) == 0
    content = bank.read_bytes()
    real = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        real(self, content[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["bank", "remove", str(bank), "still"]) == 1
    monkeypatch.undo()
    assert lines(capsys.readouterr().err)[-1].startswith(
        f"a2m2: cannot write '{bank}': No space left"
    )
    assert bank.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]


def test_episode_is_repeatable(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["episode", str(data), "--way", "3", "--shot", "2", "--seed", "4", "--json"]
    assert main(call) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*call, "--workers", "1"]) == 0
    second = json.loads(capsys.readouterr().out)
    for answer in first["predictions"] + second["predictions"]:
        del answer["seconds"]
    assert first == second
    assert first["accuracy"] == 1.0
    assert main(["episode", str(data), "--way", "3", "--no-pose"]) == 0
    assert "3 of 3 right, 3-way 1-shot" in capsys.readouterr().out
    assert main(["episode", str(data), "--way", "9"]) == 2
    assert "9-way episodes need 9 classes" in capsys.readouterr().err


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "a2m2-lite0"
    assert main(["models", "list"]) == 0
    assert main(["models", "show", "a2m2-lite0"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    assert main(["models", "show", "a2m2"]) == 2


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"
    assert main(["--help"]) == 0
    assert "classify" in capsys.readouterr().out
    assert main([]) == 2


def test_the_limits_of_the_command_line_are_those_of_the_package() -> None:
    for command in (classify, episode, create, add):
        options = inspect.signature(command).parameters
        given = (options["max_megapixels"], options["max_frames"], options["max_seconds"])
        assert Limits(*(option.default for option in given)) == Limits()


def test_explain_writes_a_picture(tmp_path: Path, data: Path, bank: Path) -> None:
    picture = tmp_path / "why.png"
    query = str(data / "right" / "r0.mp4")
    assert main(["classify", query, "--supports", str(bank), "--explain", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again.png"
    assert main(["classify", query, "--supports", str(bank), "--explain", str(again)]) == 0
    assert picture.read_bytes() == again.read_bytes()


INTERRUPTED = """
import os, signal, sys
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.cli import main
from a2m2_zoo.cli.bank import add, create
from a2m2_zoo.cli.classify import classify
from a2m2_zoo.cli.episode import episode
from a2m2_zoo.synthetic import draw_named, write_video
from a2m2_zoo.video import Limits

signal.signal(signal.SIGINT, signal.default_int_handler)
answers = Recognizer.iter_classify

def interrupted(*arguments, **options):
    for i, answer in enumerate(answers(*arguments, **options)):
        if i == 3:
            os.kill(os.getpid(), signal.SIGINT)
        yield answer

Recognizer.iter_classify = interrupted
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_keeps_the_answers_so_far(data: Path, bank: Path) -> None:
    query = str(data / "right" / "r0.mp4")
    command = [sys.executable, "-c", INTERRUPTED, "classify", *[query] * 40]
    run = subprocess.run(
        [*command, "--supports", str(bank), "--json"], capture_output=True, text=True
    )
    assert run.returncode == 130, run.stderr
    assert len(json.loads(run.stdout)) == 3
    assert lines(run.stderr) == ["a2m2: interrupted; 37 clip(s) have no answer"]


def test_where_people_are_looked_for_it_is_said_whether_they_were_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kick", "jump"):
        drawn = draw_named(name, 0, seed=3, frames=8, size=224, style="scene")
        (tmp_path / "supports" / name).mkdir(parents=True)
        write_video(tmp_path / "supports" / name / "a.mp4", drawn)
    person = tmp_path / "person.mp4"
    write_video(person, draw_named("kick", 2, seed=3, frames=8, size=224, style="scene"))
    nobody = draw_video(tmp_path / "nobody.mp4")
    call = ["classify", str(person), str(nobody), "--supports", str(tmp_path / "supports")]
    assert main([*call, "--json"]) == 0
    seen, not_seen = json.loads(capsys.readouterr().out)
    assert 0 < seen["pose_frames"] <= 8
    assert not_seen["pose_frames"] == 0
    assert seen["warnings"] == []
    assert main([*call, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [int(row["pose_frames"]) for row in rows] == [seen["pose_frames"], 0]
    monkeypatch.setattr(output, "stdout", lambda: SafeConsole(width=80, soft_wrap=False))
    monkeypatch.chdir(tmp_path)
    assert main([*call[:1], "person.mp4", "nobody.mp4", *call[3:]]) == 0
    text = capsys.readouterr().out
    assert "nobody.mp4: nobody was seen in it, while the supports" in text
    assert "person.mp4:" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(lines(text)) <= 8  # the note leaves the columns their room
    assert main([*call, "--no-pose"]) == 0
    assert "nobody was seen" not in capsys.readouterr().out
    assert main([*call, "missing.mp4", "--transductive", "--json"]) == 1
    *together, failed = json.loads(capsys.readouterr().out)
    assert [answer["label"] for answer in together] == [seen["label"], not_seen["label"]]
    assert together[0]["probabilities"] != seen["probabilities"]
    assert "missing.mp4" in failed["error"]
