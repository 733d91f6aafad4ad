"""Two machines of one core each, as processes here: the answers of one process, whatever dies meanwhile."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import draw_video
from makers_models import tiny_model

from a2m2_zoo import Recognizer, load_model
from a2m2_zoo.cli import main
from a2m2_zoo.engine import Ray, run
from a2m2_zoo.errors import EngineError
from a2m2_zoo.features import FeatureCache

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.usefixtures("seen_once"),  # here; what the machines see is theirs
    pytest.mark.skipif(sys.platform != "linux", reason="Ray joins several nodes on Linux alone"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves pipes to its processes open
]

_STORE = 80 << 20  # bytes, hardly more than Ray asks for at least


class Machines:
    """A cluster whose machines come and go."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._usual = {
            "num_cpus": 1,
            "object_store_memory": _STORE,
            "plasma_directory": str(folder),  # /dev/shm may be small
        }
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**self._usual, "include_dashboard": False}
        )
        self.address: str = self._cluster.address
        self.second = self.add()

    def add(self, **options: Any) -> Any:
        return self._cluster.add_node(**{**self._usual, **options})

    def kill(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def shutdown(self) -> None:
        nodes = self._cluster.list_all_nodes()
        self._cluster.shutdown()
        assert not any(node.any_processes_alive() for node in nodes)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # other tests would not let them come to work
        patch.setenv("RAY_prestart_worker_first_driver", "0")  # processes that wait for no work
        before = signal.getsignal(signal.SIGTERM)  # which the machines of a cluster take
        made = Machines(tmp_path_factory.mktemp("plasma"))
        try:
            yield made
        finally:
            made.shutdown()
            signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def connected(machines: Machines) -> Iterator[None]:
    """The program is connected, and stays so: what Ray starts for a connection is started once for all."""
    import ray

    ray.init(address=machines.address, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes no time, supports, and clips, one of which is broken and one a copy."""
    root = tmp_path_factory.mktemp("work")
    (root / "tiny").mkdir()
    tiny_model(root / "tiny")
    for i in range(2):
        draw_video(root / "supports" / "right" / f"{i}.mp4", 8 + i, size=(64, 64))
        draw_video(root / "supports" / "back" / f"{i}.mp4", 8 + i, size=(64, 64), speed=-7)
    for i in range(5):
        draw_video(root / "clips" / f"{i}.mp4", 8 + i, size=(64, 64), speed=3 - i)
    shutil.copy(root / "clips" / "0.mp4", root / "clips" / "copy.mp4")
    (root / "clips" / "broken.mp4").write_bytes(b"no video")
    return root


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def answers(found: Iterable[dict[str, Any]]) -> list[str]:
    """What a run says, the time it took and the order aside."""
    return sorted(json.dumps({**row, "seconds": 0}, sort_keys=True) for row in found)


def test_answers_are_those_of_one_process_in_their_order(
    machines: Machines, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the shipped model, with relative names; a clip that the machines lack is an error of its own."""
    monkeypatch.chdir(work)
    recognizer = Recognizer(load_model(pose=False), work / "supports")
    clips = [Path("clips") / f"{i}.mp4" for i in (3, 1, 4)] + [
        Path("clips/broken.mp4"),
        Path("gone.mp4"),
    ]
    far = list(recognizer.iter_classify(clips, plans=True, engine=Ray(address=machines.address)))
    near = list(recognizer.iter_classify(clips, plans=True))
    assert far[:3] == near[:3]
    assert [answer.query for answer in near[:3]] == list(map(str, clips[:3]))  # type: ignore[union-attr]
    assert [type(error) for error in far[3:]] == [type(error) for error in near[3:]]
    assert str(far[3]) == str(near[3])
    assert "no such file or folder on the machine" in str(far[4])
    assert "under the same paths" in str(far[4])


@pytest.mark.usefixtures("connected")
def test_features_are_those_of_one_process(machines: Machines, work: Path, tmp_path: Path) -> None:
    model = load_model(work / "tiny")
    clips = [*sorted((work / "clips").iterdir()), work / "clips" / "gone.mp4"]

    def cache(name: str) -> FeatureCache:
        return FeatureCache(
            tmp_path / name,
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=model.method.stages,
        )

    near, far = cache("near"), cache("far")
    far.fill(clips[:2])
    counts: list[int] = []
    single = Ray(address=machines.address, workers=1)
    there = far.fill(clips, engine=single, progress=lambda done, _: counts.append(done))
    here = near.fill(clips)
    assert counts == list(range(1, 9))
    assert list(there) == list(here) == [work / "clips" / "broken.mp4", clips[-1]]
    assert there[work / "clips" / "broken.mp4"] == here[work / "clips" / "broken.mp4"]
    sound = [clip for clip in clips if clip not in here]
    for one, other in zip(near.read(sound), far.read(sound), strict=True):
        assert one.maps.keys() == other.maps.keys()
        assert all(torch.equal(one.maps[name], other.maps[name]) for name in one.maps)
        assert torch.equal(one.pooled, other.pooled)


@pytest.mark.usefixtures("connected")
def test_work_that_ends_its_process_is_an_error_and_the_rest_is_done(machines: Machines) -> None:
    def make() -> Callable[[Iterable[int]], Iterator[int]]:
        def work(numbers: Iterable[int]) -> Iterator[int]:
            for number in numbers:
                if number == 2:
                    os._exit(3)
                yield number * number

        return work

    found = dict(run(range(5), make, engine=Ray(address=machines.address, quiet=True)))
    error = found.pop(2)
    assert found == {0: 0, 1: 1, 3: 9, 4: 16}
    assert isinstance(error, EngineError)
    assert "its worker died each time" in str(error)


@pytest.mark.usefixtures("connected")
def test_work_that_fails_is_one_line(machines: Machines) -> None:
    def make() -> Any:
        raise ZeroDivisionError("by zero\nof all things")

    with pytest.raises(
        EngineError, match=r"^on the machine \S+: ZeroDivisionError: by zero of all things$"
    ):
        list(run(range(3), make, engine=Ray(address=machines.address, quiet=True)))


def archived(uri: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All that an archive keeps, but for search vectors, which follow from what came first."""
    from a2m2_zoo.archive.store import open_store

    store = open_store(uri)
    columns = ("key", "start", "end", "rate", "descriptors", "poster")
    rows = store.rows("windows", columns).to_pylist()
    return sorted(rows, key=lambda row: (row["key"], row["start"])), store.clips()


@pytest.mark.usefixtures("connected")
def test_an_archive_is_that_of_one_process_though_it_is_stopped_and_a_machine_is_killed(
    machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run here is interrupted, a command meets a machine without the package, a run loses a machine."""
    pytest.importorskip("lancedb")
    from a2m2_zoo.archive import Archive, Cutting

    clips = tmp_path / "clips"
    for i in range(9):
        draw_video(clips / f"{i}.mp4", 8 + i, size=(64, 64), speed=3 - i)
    draw_video(clips / "long.mp4", 60, size=(64, 64))
    shutil.copy(clips / "3.mp4", clips / "copy.mp4")
    (clips / "broken.mp4").write_bytes(b"no video")
    model, cutting = load_model(pose=False), Cutting(whole=2.0, window=1.0, stride=1.0)
    near, far = tmp_path / "near", tmp_path / "far"
    _, here = Archive.build(near, clips, model=model, cutting=cutting)
    told: list[Path] = []

    def interrupt(path: Path, error: Exception | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Archive.build(far, clips, model=model, cutting=cutting, on_clip=interrupt)
    assert Archive.open(far).info().writing
    before = set(archived(far)[1])
    assert len(before) == 1

    lacks = tmp_path / "lacks" / "sitecustomize.py"
    lacks.parent.mkdir()
    lacks.write_text("import sys; sys.modules['a2m2_zoo'] = None")
    third = machines.add(env_vars={"PYTHONPATH": str(lacks.parent)})
    ray = ["--engine", "ray", "--address", machines.address]
    capsys.readouterr()
    assert main(["archive", "add", str(far), str(clips), *ray]) == 1
    machines.kill(third)
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if "broken.mp4" not in line]
    assert line.startswith("a2m2: the machine ")
    assert "does not have a2m2_zoo; expected" in line
    assert Archive.open(far).info().writing
    before |= set(archived(far)[1])

    def kill(path: Path, error: Exception | None) -> None:
        told.append(path)
        if len(told) == len(before) + 2:
            machines.kill(machines.second)

    engine = Ray(address=machines.address, quiet=True)
    reading = {"model": model, "cutting": cutting, "engine": engine}
    _, there = Archive.build(far, clips, on_clip=kill, **reading)
    machines.second = machines.add()
    capsys.readouterr()
    assert sorted(told) == sorted(clips.iterdir())  # each once
    assert there.added == here.added - len(before)
    assert [(path, str(error)) for path, error in there.failed] == [
        (path, str(error)) for path, error in here.failed
    ]
    assert archived(far) == archived(near)
    assert Archive.open(far).verify() == []

    (clips / "0.mp4").unlink()
    (clips / "1.mp4").rename(clips / "moved.mp4")
    draw_video(clips / "2.mp4", 14, size=(64, 64), speed=5)
    Archive.open(near, model=model).sync(clips)
    assert main(["archive", "sync", str(far), str(clips), "--json", *ray]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    counts = {name: found[name] for name in ("added", "known", "moved", "removed")}
    assert counts == {"added": 1, "known": 9, "moved": 1, "removed": 2}
    assert [line for line in err.splitlines() if line.startswith("a2m2: ")] == [
        f"a2m2: {line}" for line in found["failed"]
    ]
    assert "broken.mp4" in found["failed"][0]
    assert archived(far) == archived(near)


def test_a_killed_machine_loses_nothing_and_a_resumed_run_does_nothing_twice(
    machines: Machines, work: Path, tmp_path: Path
) -> None:
    """As a command, by the shipped model; the file begins with what one process has answered."""
    clips = tmp_path / "clips"
    for i in range(16):
        draw_video(clips / f"{i:02}.mp4", 8 + i, size=(64, 64), speed=3 - i)
    shutil.copy(clips / "00.mp4", clips / "copy.mp4")
    (clips / "broken.mp4").write_bytes(b"no video")
    near, far = tmp_path / "near.jsonl", tmp_path / "far.jsonl"
    call = ["classify", str(clips), "--supports", str(work / "supports"), "--no-pose"]
    cluster = ["--engine", "ray", "--address", machines.address]
    assert main([*call, "--jsonl", str(near)]) == 1
    far.write_bytes(b"".join(near.read_bytes().splitlines(keepends=True)[:3]))
    before = len(rows(far))
    process = subprocess.Popen(
        [sys.executable, "-m", "a2m2_zoo", *call, "--resume", str(far), *cluster],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 240
    while len(far.read_bytes().splitlines()) < before + 2 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    machines.kill(machines.second)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    assert out == ""
    assert answers(rows(far)) == answers(rows(near))
    assert "13 answered, 4 answered before, 1 failed" in err
    assert "Traceback" not in err
