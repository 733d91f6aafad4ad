"""SIGTERM, SIGHUP and Ctrl-C: what was found is written, nothing half done stays, the exit code tells."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from makers import draw_video, three_classes

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.cli import main, signals
from a2m2_zoo.recognition.recognizer import Recognizer

pytestmark = pytest.mark.usefixtures("seen_once")

SIGNALS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("signals")
    three_classes(root / "data")
    build_bank(root / "data", model=load_model()).save(root / "bank.safetensors")
    draw_video(root / "long.mp4", 130)
    return root


@pytest.fixture(autouse=True)
def usual(request: pytest.FixtureRequest) -> Iterator[None]:
    """The handlers of a fresh process; afterwards those of this one."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)} == {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }, "main() puts back what it found"
    for number, handler in before.items():
        signal.signal(number, handler)


def hit(number: int, after: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """``real``, which a real signal hits when it is called for the time ``after``."""
    calls = iter(range(1000))

    def called(*arguments: Any, **options: Any) -> Any:
        if next(calls) == after:
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    return called


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: signal.Signals(n).name)
def test_answers_so_far_are_written(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    real = Recognizer.iter_classify

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for i, answer in enumerate(real(*arguments, **options)):
            if i == 2:
                os.kill(os.getpid(), number)
            yield answer

    monkeypatch.setattr(Recognizer, "iter_classify", interrupted)
    bank = ["--supports", str(work / "bank.safetensors")]
    queries = [str(work / "none.mp4"), *[str(work / "data" / "right" / "r0.mp4")] * 5]
    assert main(["classify", *queries, *bank, "--json"]) == SIGNALS[number]
    out, err = capsys.readouterr()
    assert ["error" in row for row in json.loads(out)] == [True, False]
    assert err.splitlines()[-1] == "a2m2: interrupted; 4 clip(s) have no answer"
    episode = ["episode", str(work / "data"), "--way", "3", "--query", "2", "--csv"]
    assert main(episode) == SIGNALS[number]
    out, err = capsys.readouterr()
    assert len(list(csv.DictReader(io.StringIO(out)))) == 2
    assert "4 clip(s) have no answer" in err


def test_videos_and_streams(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from a2m2_zoo.spotting.sources import VideoFrames

    whole = VideoFrames.__iter__
    number = signal.SIGTERM

    def interrupted(video: VideoFrames) -> Iterator[Any]:
        for i, pair in enumerate(whole(video)):
            if i == 100:
                os.kill(os.getpid(), number)
            yield pair

    monkeypatch.setattr(VideoFrames, "__iter__", interrupted)
    monkeypatch.setattr("time.sleep", lambda _: None)
    call = [str(work / "long.mp4"), "--supports", str(work / "bank.safetensors"), "--json"]
    assert main(["spot", *call, "--reject-below", "0"]) == SIGNALS[number]
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["segments"]
    assert answer["error"].startswith("interrupted; ")
    assert f"a2m2: {answer['error']}" in err
    number = signal.SIGHUP
    assert main(["watch", *call, "--reject-below", "0"]) == SIGNALS[number]
    assert json.loads(capsys.readouterr().out.splitlines()[0])["start"] == 0


def test_nothing_half_done_stays(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from a2m2_zoo.backbones.lite import Lite0
    from a2m2_zoo.synthetic import write as synthetic

    data, bank = str(work / "data"), str(work / "bank.safetensors")
    content = (work / "bank.safetensors").read_bytes()
    measure = ["--way", "2", "--shot", "1", "--episodes", "9", "--cache", str(tmp_path / "cache")]
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    for call in (
        ["bank", "create", data, "--out", str(tmp_path / "b.safetensors")],
        ["bank", "add", bank, data],
        ["bank", "check", data],
        ["compare", data, "--methods", "protonet", *measure, "--out", str(tmp_path / "r.json")],
        ["evaluate", data, *measure],
        ["misalign", data, *measure, "--out", str(tmp_path / "m.json")],
        ["features", data, "--cache", str(tmp_path / "cache2")],
        ["train", data, "--out", str(tmp_path / "run"), "--steps", "5", "--cache",
         str(tmp_path / "cache"), "--hold-out", "0", "--set", "way=2", "--set", "shot=1", "--set", "query=1"],
        ["demo", "--out", str(tmp_path / "demo")],
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(Lite0, "forward", hit(signal.SIGTERM, 0, Lite0.forward))
            assert main(call) == 143, call
        assert "a2m2: interrupted" in capsys.readouterr().err, call
        left = {path for path in tmp_path.rglob("*") if path.is_file()} - files
        assert not [p for p in left if "cache" not in str(p) and "demo" not in str(p)], call
        assert not [p for p in left if p.name.startswith(".")], call
    assert (work / "bank.safetensors").read_bytes() == content
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_video", hit(signal.SIGTERM, 2, synthetic.write_video))
        assert main(["data", "synth", "--out", str(tmp_path / "synth"), "--classes", "2"]) == 143
    assert not [p for p in tmp_path.iterdir() if "synth" in p.name]


def test_while_the_call_is_read(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer reads the options, and imports for that what takes a while."""
    from typer.core import TyperGroup

    with monkeypatch.context() as patch:
        patch.setattr(TyperGroup, "parse_args", hit(signal.SIGTERM, 0, TyperGroup.parse_args))
        assert main(["models", "list"]) == 143
    assert capsys.readouterr().err == "a2m2: interrupted\n"


def test_a_real_process(work: Path, tmp_path: Path) -> None:
    """Told from outside while it reads a folder's worth of clips; once for each of two signals."""
    code = "import sys; from a2m2_zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    slow = (
        "import time\nfrom a2m2_zoo.recognition.recognizer import Recognizer as R\nreal = R.iter_classify\n"
        "def slow(*a, **o):\n"
        "    for answer in real(*a, **o):\n"
        "        yield answer\n"
        "        print('one', file=sys.stderr, flush=True)\n"
        "        time.sleep(600)\n"
        "R.iter_classify = slow\n"
    )
    query = str(work / "data" / "right" / "r0.mp4")
    bank = str(work / "bank.safetensors")
    command = [sys.executable, "-c", f"import sys\n{slow}{code}", "classify", query, query, query]
    process = subprocess.Popen(
        [*command, "--supports", bank, "--csv"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "one\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)  # as a terminal that closes does; the first counts
    out, err = process.communicate(timeout=300)
    assert process.returncode in (143, 129)
    assert len(list(csv.DictReader(io.StringIO(out)))) == 1
    assert err == "a2m2: interrupted; 2 clip(s) have no answer\n"


def test_signals_that_are_ignored_or_taken_stay_so() -> None:
    taken: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with signals.heeded():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert taken == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
