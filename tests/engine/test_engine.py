"""The engine in this process, and what is refused before a cluster is asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from a2m2_zoo import __version__, classify
from a2m2_zoo.cli import main
from a2m2_zoo.engine import Ray, as_engine, run, run_keyed
from a2m2_zoo.engine.connect import shares
from a2m2_zoo.engine.worker import worker_class
from a2m2_zoo.errors import ArgumentError, DependencyError, EngineError
from a2m2_zoo.video.content import content_hash


def test_items_are_drawn_as_they_are_needed() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for i in range(9):
            drawn.append(i)
            yield i

    found = run(items(), lambda: lambda some: (i * i for i in some))
    assert [next(found), next(found)] == [(0, 0), (1, 1)]
    assert drawn == [0, 1]


def test_known_content_is_passed_over_in_its_place(tmp_path: Path) -> None:
    clips = [tmp_path / f"{i}.mp4" for i in range(6)]
    for i, clip in enumerate(clips):
        clip.write_bytes(bytes([i // 2]))  # each content twice
    clips[3].unlink()
    worked: list[str] = []

    def make() -> object:
        def work(some: Iterable[Path]) -> Iterator[str]:
            for clip in some:
                worked.append(clip.name)
                yield clip.name

        return work

    known = frozenset([bytes.fromhex(content_hash(clips[0]))])
    found = list(run_keyed(clips, make, known=known))  # type: ignore[arg-type]
    assert [place for place, _ in found] == list(range(6))
    assert [one.known for _, one in found] == [True, True, False, False, False, False]
    assert [one.result for _, one in found] == [None, None, *(f"{i}.mp4" for i in range(2, 6))]
    assert worked == [f"{i}.mp4" for i in range(2, 6)]
    assert found[3][1].key is None
    assert found[4][1].key == found[5][1].key == content_hash(clips[4])
    every = frozenset(bytes.fromhex(content_hash(clips[i])) for i in (0, 2, 4))
    shutil.copy(clips[0], clips[3])
    assert all(one.known for _, one in run_keyed(clips, make, known=every))  # type: ignore[arg-type]


def test_engines_that_are_none() -> None:
    assert as_engine(None) is as_engine("local") is None
    assert as_engine("ray") == Ray()
    for engine in ("spark", 3, Ray):
        with pytest.raises(ArgumentError, match=r"expected 'local', 'ray' or"):
            run([], lambda: iter, engine=engine)  # type: ignore[arg-type, return-value]
    for wrong, said in (
        ({"cpus": 0}, "cpus"),
        ({"workers": -1}, "workers"),
        ({"gpus": -0.5}, "gpus"),
        ({"address": 5}, "address"),
        ({"address": "ray://head:10001"}, "Ray's client"),
    ):
        with pytest.raises(ArgumentError, match=said):
            Ray(**wrong)  # type: ignore[arg-type]


def test_shares_of_machines() -> None:
    mixed = [{"CPU": 64.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 48.0, "GPU": 4.0}, {}]
    assert shares(Ray(), mixed) == (2, 0.25)
    assert shares(Ray(gpus=1), mixed) == (8, 1.0)
    assert shares(Ray(gpus=1, cpus=3), mixed) == (3, 1.0)
    assert shares(Ray(gpus=0), mixed) == (1, 0.0)
    assert shares(Ray(cpus=4), [{"CPU": 8.0}]) == (4, 0.0)
    assert shares(Ray(), [{"CPU": 2.0, "GPU": 8.0}]) == (1, 0.25)


def test_without_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r'pip install "a2m2_zoo\[ray\]"'):
        run([1], lambda: iter, engine="ray")  # type: ignore[arg-type, return-value]
    assert main(["classify", "a.mp4", "--supports", "b", "--engine", "ray"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("a2m2: engine is 'ray', and Ray cannot be used here")


def test_what_does_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"no video")
    for options, said in (
        (("--address", "auto"), "--address and --gpus need --engine ray"),
        (("--gpus", "0.5"), "--address and --gpus need --engine ray"),
        (("--engine", "ray", "--device", "cuda:1"), "gives each worker a device"),
        (("--engine", "ray", "--transductive"), "--transductive does not go with --engine ray"),
        (("--engine", "ray", "--address", "ray://a:1"), "is of Ray's client"),
    ):
        assert main(["classify", str(clip), "--supports", str(tmp_path), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_transductive_answers_stay_here() -> None:
    from a2m2_zoo.synthetic import draw_named

    clips = {name: [draw_named(name, 0, studio=2)] for name in ("kick", "squat")}
    with pytest.raises(ArgumentError, match="transductive answers need all clips in one place"):
        classify([draw_named("kick", 1, studio=2)], clips, transductive=True, engine="ray")


def test_a_machine_of_another_version_or_without_the_package_says_so() -> None:
    """What Ray sends it needs nothing of the package to be taken in."""
    pytest.importorskip("ray")
    from ray import cloudpickle

    sent = cloudpickle.dumps(worker_class(None, "9.9.9", 1, "."))
    read = "import sys; from ray import cloudpickle; made = cloudpickle.load(sys.stdin.buffer)()"
    for before, said in (
        ("import sys; sys.modules['a2m2_zoo'] = None; ", "does not have a2m2_zoo; expected 9.9.9"),
        ("", f"has a2m2_zoo {__version__}; expected 9.9.9, as here: install it on every machine"),
    ):
        code = f"{before}{read}; print(made.fault)"
        found = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True)
        assert found.returncode == 0, found.stderr
        (line,) = found.stdout.decode().splitlines()
        assert line.startswith("the machine ")
        assert said in line


def test_nobody_answers_at_the_address() -> None:
    pytest.importorskip("ray")
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"cannot connect to Ray at 127.0.0.1:9 \(Connection"):
        list(run([1], lambda: iter, engine=Ray(address="127.0.0.1:9")))  # type: ignore[arg-type, return-value]
    assert time.monotonic() - started < 120
