"""Inside another program: its settings of torch, its forks, its cores and their quota."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import check_a_child_is_told, draw_video, three_classes

import a2m2_zoo
from a2m2_zoo import build_bank, classify, load_model, spot
from a2m2_zoo._utils import cores as _cores
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.api import iter_classify
from a2m2_zoo.cli import main
from a2m2_zoo.errors import A2M2Error, ArgumentError
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.blocks.m2 import _plan
from a2m2_zoo.ops.vectors import _triangle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    draw_video(folder / "short.mp4", 12, speed=-7)
    classes = three_classes(folder / "classes")
    for name in ("back/b2", "right/r1", "still/s1", "still/s2"):  # five clips are enough
        (classes / f"{name}.mp4").unlink()
    return classes


@pytest.fixture(scope="module")
def two(data: Path) -> Path:
    """A clip each of two classes."""
    for name in ("back/b0.mp4", "right/r0.mp4"):
        clip = data.parent / "two" / name
        clip.parent.mkdir(parents=True)
        shutil.copy(data / name, clip)
    return data.parent / "two"


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def strict_sums() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_threads(count: int) -> Iterator[None]:
    a2m2_zoo.set_threads(count)
    try:
        yield
    finally:
        a2m2_zoo.set_threads(None)


def answers(data: Path) -> str:
    """A hash over all that loading, a bank, classifying and spotting give."""
    _triangle.cache_clear()  # as in a process that has computed nothing yet
    _plan.cache_clear()
    model = load_model()
    bank = build_bank({n: [data / n / f"{n[0]}0.mp4"] for n in ("back", "right")}, model=model)
    found = classify([data / "right" / "r2.mp4"], bank, model=model, plans=True)
    segments = spot(data.parent / "short.mp4", bank, model=model, window=0.5, stride=0.25)
    digest = hashlib.sha256()
    for name, tensor in sorted(bank.descriptors.items()):
        assert tensor.dtype == torch.float32
        digest.update(name.encode() + tensor.numpy().tobytes())
    for answer in found:
        digest.update(repr((answer.label, answer.probabilities, answer.known)).encode())
        digest.update(b"".join(plan.transport.tobytes() for plan in answer.plans.values()))
    digest.update(repr(segments).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def plain(data: Path) -> str:
    return answers(data)


@pytest.mark.parametrize(
    "setting",
    [
        lambda: default_type(torch.float64),
        lambda: default_type(torch.bfloat16),
        lambda: default_device("meta"),
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        torch.inference_mode,
        torch.no_grad,
        strict_sums,
        lambda: torch_threads(3),
        lambda: own_threads(1),
        lambda: own_threads(3),
    ],
    ids=[
        "float64",
        "bfloat16",
        "set_default_device",
        "device",
        "autocast",
        "inference",
        "no_grad",
        "deterministic",
        "torch_threads",
        "one_thread",
        "three_threads",
    ],
)
def test_the_hosts_settings_change_no_bit_and_stay_the_hosts(
    data: Path, plain: str, setting: Callable[[], AbstractContextManager[None]]
) -> None:
    with setting():
        before = state()
        assert answers(data) == plain
        assert state() == before


def state() -> tuple[object, ...]:
    made = torch.empty(1)
    return (
        made.dtype,
        made.device,
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.mark.parametrize("name", METHODS)
def test_heads_are_float32_on_the_cpu_whatever_is_the_default(name: str) -> None:
    usual = build_method(name, config(name)).state_dict()
    with default_type(torch.float64), torch.device("meta"):
        found = build_method(name, config(name)).state_dict()
    assert {k: (v.dtype, v.device) for k, v in found.items()} == {
        k: (v.dtype, v.device) for k, v in usual.items()
    }


def config(name: str) -> dict[str, object]:
    return METHODS[name][1]().to_dict() if name != "a2m2" else load_model().method.config.to_dict()


FORKS = """
import os, sys, torch, multiprocessing
from pathlib import Path
from a2m2_zoo import build_bank, classify, load_model

data = Path(sys.argv[1])
torch.rand(2_000_000).exp()  # the host's own use of all cores, whose threads no child has
clips = sorted(data.rglob("*0.mp4"))
supports = {clip.parent.name: [clip] for clip in clips}
bank = build_bank(supports)

def ask(clip):
    return classify(clip, bank).probabilities

want = ask(clips[0])
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.map_async(ask, clips[:2]).get(timeout=300)[0] == want

class Answers(torch.utils.data.Dataset):
    __len__ = lambda self: 1
    __getitem__ = lambda self, i: ask(clips[i])["right"]

loader = torch.utils.data.DataLoader(
    Answers(), num_workers=1, multiprocessing_context="fork", timeout=300
)
assert [float(x) for x in loader] == [want["right"]]
child = os.fork()
if not child:
    again = build_bank(supports, model=load_model())
    good = classify(clips[0], again).probabilities == want and len(bank.add(again).labels) == 4
    grandchild = os.fork()
    if not grandchild:
        os._exit(ask(clips[0]) != want)
    os._exit(not good or os.waitpid(grandchild, 0)[1])
assert os.waitpid(child, 0)[1] == 0
assert ask(clips[0]) == want  # and the parent goes on
print("all answered")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run on Linux or macOS")
def test_forked_children_of_a_process_that_has_classified_answer_the_same(two: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(two)],
        capture_output=True,
        text=True,
        timeout=550,
        env=environment,
    )
    assert run.stdout == "all answered\n", run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run on Linux or macOS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Python 3.12: threads and fork
def test_a_child_is_told_that_its_parents_reading_is_not_its_own(data: Path, two: Path) -> None:
    clips = sorted(data.rglob("*.mp4"))[:5]
    answers = iter_classify(clips, build_bank(two), model=load_model(), workers=1, batch_size=1)
    next(answers)
    check_a_child_is_told(lambda: next(answers))
    assert len(list(answers)) == 4  # and the parent goes on


def test_work_in_the_packages_threads_is_on_one_core_and_leaves_the_hosts_alone() -> None:
    before = torch.get_num_threads()
    with own_threads(2):
        inside = apart(lambda: (torch.get_num_threads(), threading.current_thread().name))()
    assert inside[0] == 1
    assert inside[1].startswith("a2m2-compute")
    assert torch.get_num_threads() == before
    fresh: list[int] = []
    later = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert fresh == [before]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_jobs_that_wait_for_jobs_do_not_wait_for_ever(count: int) -> None:
    def inner(x: int) -> int:
        return sum(each(lambda y: x * y, range(4)))

    @apart
    @torch.inference_mode()
    def outer(x: int) -> int:
        return sum(each(inner, range(x)))

    with own_threads(count):
        found: list[int] = []
        hosts = [threading.Thread(target=lambda: found.append(outer(7))) for _ in range(4)]
        for host in hosts:
            host.start()
        for host in hosts:
            host.join(timeout=300)
        assert found == [126] * 4


def test_what_goes_wrong_in_a_thread_comes_out_where_it_was_called() -> None:
    def fail(x: int) -> int:
        if x == 2:
            raise A2M2Error("two")
        return x

    @apart
    @torch.inference_mode()
    def outer() -> list[int]:
        return list(each(fail, range(5)))

    with own_threads(3), pytest.raises(A2M2Error, match="two"):
        outer()


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, 10**9])
def test_a_number_of_threads_that_is_none(count: object) -> None:
    with pytest.raises(ArgumentError, match=r"threads is .*; expected an integer from 1 to"):
        a2m2_zoo.set_threads(count)  # type: ignore[arg-type]


def test_a_number_of_threads_of_numpy_is_one() -> None:
    with own_threads(np.int64(2)):  # type: ignore[arg-type]
        assert _cores.threads() == 2


def tree(root: Path, own: str, mounts: str, files: dict[str, str]) -> Path:
    """A folder like ``/proc/self``, and control groups beside it."""
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(own)
    (proc / "mountinfo").write_text(mounts.replace("ROOT", str(root).replace(" ", "\\040")))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return proc


NEW = "30 1 0:26 / ROOT/fs rw - cgroup2 cgroup2 rw\n"
OLD = "33 1 0:30 / ROOT/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("own", "mounts", "files", "cores"),
    [
        ("0::/\n", NEW, {"fs/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", NEW, {"fs/cpu.max": "max 100000\n"}, None),
        # A group within groups: the tightest holds, wherever it is.
        (
            "0::/a/b\n",
            NEW,
            {"fs/a/cpu.max": "200000 100000", "fs/a/b/cpu.max": "400000 100000"},
            2,
        ),
        ("0::/a/b\n", NEW, {"fs/a/cpu.max": "max 100000", "fs/a/b/cpu.max": "50000 100000"}, 0.5),
        # Docker without a namespace of its own: the mount begins at the container's group.
        (
            "0::/docker/abc\n",
            "30 1 0:26 /docker/abc ROOT/fs rw - cgroup2 cgroup2 rw\n",
            {"fs/cpu.max": "300000 100000"},
            3,
        ),
        (
            "4:cpu,cpuacct:/pod\n0::/\n",
            OLD + NEW,
            {"cpu/pod/cpu.cfs_quota_us": "250000", "cpu/pod/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "4:cpu,cpuacct:/\n",
            OLD,
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        # The group's own path is not to be seen from inside: what is mounted holds.
        (
            "4:cpu,cpuacct:/kubepods/x\n",
            OLD,
            {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
            1,
        ),
        ("0::/\n", NEW, {"fs/cpu.max": "nonsense"}, None),
        ("", "", {}, None),
    ],
)
def test_the_quota_of_control_groups(
    tmp_path: Path, own: str, mounts: str, files: dict[str, str], cores: float | None
) -> None:
    root = tmp_path / "a b"  # a space, which mountinfo escapes
    root.mkdir()
    assert _cores.quota(tree(root, own, mounts, files)) == cores


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert _cores.quota(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("quota", "variable", "allowed", "cores", "threads"),
    [
        (None, None, 8, 8, 8),
        (1.5, None, 8, 2, 2),
        (0.2, None, 8, 1, 1),
        (16.0, None, 8, 8, 8),
        (None, "1", 8, 8, 1),
        (None, "3,2", 8, 8, 3),
        (None, "64", 8, 8, 8),
        (None, "", 8, 8, 8),
        (None, "many", 8, 8, 8),
        (None, "0", 8, 8, 1),
    ],
)
def test_threads_by_default(
    monkeypatch: pytest.MonkeyPatch,
    quota: float | None,
    variable: str | None,
    allowed: int,
    cores: int,
    threads: int,
) -> None:
    monkeypatch.setattr(_cores, "quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert (_cores.usable_cores(), _cores.threads()) == (cores, threads)
    with own_threads(5):
        assert _cores.threads() == 5


def test_the_commands_take_a_number_of_threads(
    data: Path, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, supports = str(data / "right" / "r2.mp4"), str(two)
    try:
        assert main(["classify", clip, "--supports", supports, "--json", "--threads", "1"]) == 0
        assert _cores.threads() == 1
        one = capsys.readouterr().out
        assert main(["classify", clip, "--supports", supports, "--json", "--threads", "3"]) == 0
        assert _cores.threads() == 3
        scores = [json.loads(out)[0]["probabilities"] for out in (one, capsys.readouterr().out)]
        assert scores[0] == scores[1]
        assert main(["classify", clip, "--supports", supports, "--threads", "0"]) == 2
    finally:
        a2m2_zoo.set_threads(None)
