"""Shapes in the annotations of the numerical core are checked while the tests run; failures show at once."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from order import LONG_FILES

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports them. Configurations check their own fields, with one line for a person.
install_import_hook(
    [
        "a2m2_zoo.ops",
        "a2m2_zoo.methods.blocks",
        "a2m2_zoo.recognition.calibration",
        "a2m2_zoo.methods",
    ],
    "shapes.check",
)
install_import_hook(
    [f"a2m2_zoo.methods.blocks.{name}" for name in ("_config", "a2_config", "m2_config")], None
)

# The same examples in every run, and no judgement of the machine's speed. To search further:
# pytest --hypothesis-profile=default
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


def _shared(variable: str, name: str, what: str) -> Path:
    """A folder that lies beside the project or where the variable says; without it the test is skipped."""
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / name))
    if not folder.is_dir():
        pytest.skip(f"needs {what}: set {variable} to their folder")
    return folder


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder of real clips."""
    return _shared("A2M2_VIDEOS", "videos", "the real clips")


@pytest.fixture(scope="session")
def lists() -> Path:
    """The folder of the official lists."""
    return _shared("A2M2_LISTS", "lists", "the official lists")


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `a2m2 demo` leaves, to be copied by who adds to it."""
    from remembered import remembered

    from a2m2_zoo.cli import main

    out = tmp_path_factory.mktemp("demonstration") / "demo"
    with remembered():
        assert main(["demo", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def seen_once() -> Iterator[None]:
    """What is drawn, and what the embedded networks see in it, is computed once: see remembered.py."""
    from remembered import remembered

    with remembered():
        yield


@pytest.fixture(autouse=True, scope="session")
def no_line_a_minute() -> None:
    """A command prints the same on a slow machine: the line of each minute, how far it is, waits."""
    from a2m2_zoo.cli import output

    output._PERIOD = 3600.0


@pytest.fixture
def computed_anew() -> Iterator[None]:
    """Where ``seen_once`` holds: this test asks for the computing itself."""
    from remembered import anew

    with anew():
        yield


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Methods and backbones that a test adds from outside are taken out again."""
    from a2m2_zoo.backbones import BACKBONES
    from a2m2_zoo.methods import METHODS

    before = [(table, set(table._held)) for table in (METHODS, BACKBONES)]
    yield
    for table, names in before:
        for name in set(table._held) - names:
            del table[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others, and the tests within a file, stay in their order."""
    place = {name: at for at, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish() -> None:
    """What lives as long as the run is looked through once: each collection of garbage passes it over."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process per core, and where cores are few one more: many a test waits for others' processes."""
    cores = os.cpu_count() or 1
    return cores + (cores < 4)


_LONG = 60.0  # seconds


class AtOnce:
    """Says what failed, and what took long, when it happens: a run that is stopped has said why."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal, self._start = terminal, time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line for a long step, the whole of a failure."""
        if not report.failed and report.duration < _LONG:
            return
        minutes = (time.monotonic() - self._start) / 60
        self._terminal.ensure_newline()
        self._terminal.write_line(
            f"{report.nodeid}: {report.when} {report.outcome}, {report.duration:.0f} s, "
            f"{minutes:.1f} min after the start"
        )
        if report.failed:
            self._terminal.write_line(report.longreprtext)


@pytest.hookimpl(trylast=True)  # the terminal is there by then
def pytest_configure(config: pytest.Config) -> None:
    """Only where the results are gathered, not in each worker."""
    if hasattr(config, "workerinput"):
        return
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(AtOnce(terminal))
    # What the processes of this run compute for each other: see remembered.py, which is not imported here.
    shared = tempfile.TemporaryDirectory(prefix="a2m2-tests-")
    config.add_cleanup(shared.cleanup)
    os.environ["A2M2_TESTS_REMEMBER"] = shared.name


_LINES = 5


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped and why, one line a reason, the most frequent first; ``-rs`` says where."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        where = report.longrepr  # (file, line, reason)
        text = where[2] if isinstance(where, tuple) else str(where)
        reasons[text.removeprefix("Skipped: ").partition("\n")[0]] += 1
    if not reasons:
        return
    rows = reasons.most_common()
    if len(rows) > _LINES:
        rest = rows[_LINES - 1 :]
        others = f"{len(rest)} other reasons (-rs lists them)"
        rows = [*rows[: _LINES - 1], (others, sum(count for _, count in rest))]
    terminalreporter.section("skipped", sep="-")
    for reason, count in rows:
        terminalreporter.write_line(f"{count} skipped: {reason}")
