"""Everything that can go wrong on the way: one line each, bounded attempts, never a wrong file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, TOKEN, Fault, Hub, Repo, environment, point_client_at

from a2m2_zoo.errors import FetchError
from a2m2_zoo.hub._faults import client_errors
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.source import Source

DATA = random.Random(0).randbytes(50_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "model.safetensors"
SOURCE = Source(NAME, "org/name", COMMIT)
ROOT = Path("nowhere")


@pytest.fixture(autouse=True)
def repository(hub: Hub) -> None:
    hub.repos["org/name"] = Repo({COMMIT: {NAME: DATA}}, head=COMMIT)


def refused(source: Source = SOURCE) -> str:
    """The one line of a refusal."""
    with pytest.raises(FetchError) as caught:
        fetch(source, root=ROOT, sha256=SHA256)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert TOKEN not in said
    assert "secret" not in said
    assert f"of {source.repo_id}" in said
    return said


def fetched(hub: Hub) -> None:
    """The whole file is there, and only then its name."""
    assert fetch(SOURCE, root=ROOT, sha256=SHA256).read_bytes() == DATA
    assert hub.faults == []


def attempt() -> Path | None:
    """The file, or None after a broken connection."""
    try:
        return fetch(SOURCE, root=ROOT, sha256=SHA256)
    except FetchError as error:
        if "the connection broke" not in str(error):
            raise
        return None


def test_what_is_not_there_is_told_apart(hub: Hub) -> None:
    assert "there is no such repository, or it is private (404)" in refused(
        Source(NAME, "org/other", COMMIT)
    )
    assert "the repository has no such commit" in refused(Source(NAME, "org/name", "f" * 40))
    assert "no such file at that commit" in refused(Source("x.safetensors", "org/name", COMMIT))
    assert hub.count("GET") == 0
    assert hub.count("HEAD") == 3, "nothing is tried again that will not change"


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            Fault("HEAD", status=403, code="GatedRepo"),
            "the repository is gated; accept its terms at http",
        ),
        (
            Fault("HEAD", status=401),
            "it is private (401); check the name, log in with `hf auth login`",
        ),
        (Fault("HEAD", status=403), "access was refused (403)"),
        (Fault("HEAD", status=404), "the Hub refused (404)"),
        (Fault("HEAD", status=418), "the Hub refused (418)"),
        (Fault("HEAD", status=501), "the Hub failed (501); try again later"),
        (Fault("GET", status=403), "access was refused (403)"),
        (Fault("GET", status=400), "the Hub refused (400)"),
    ],
    ids=str,
)
def test_answers_that_will_not_change(hub: Hub, fault: Fault, line: str, naps: list[float]) -> None:
    hub.faults = [fault]
    assert line in refused()
    assert hub.faults == []
    assert naps == []
    fetched(hub)


@pytest.mark.parametrize("status", [408, 416, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_answers_that_may_change(hub: Hub, status: int, method: str, naps: list[float]) -> None:
    hub.faults = [Fault(method, status=status)] * 2
    fetched(hub)
    assert 1 <= sum(naps) <= 60
    hub.seen.clear()
    # The client fetches again by itself what it can read from the cache, so another cache.
    hub.repos["org/again"] = hub.repos["org/name"]
    hub.faults = [Fault(method, status=status, headers={"Retry-After": "7"})] * 100
    said = refused(Source(NAME, "org/again", COMMIT))
    assert f"({status})" in said
    assert ("try again in 7 seconds" in said) == (status == 429)
    assert 3 <= hub.count(method) <= 24, "bounded"


def test_a_busy_hub_after_the_first_answer(
    hub: Hub, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client looks for itself once more, and wraps what it sees then."""
    from huggingface_hub import file_download

    real = file_download.get_hf_file_metadata

    def later(*args: Any, **options: Any) -> Any:
        hub.faults = [Fault("HEAD", status=503)] * 30
        return real(*args, **options)

    monkeypatch.setattr(file_download, "get_hf_file_metadata", later)
    assert "the Hub failed (503)" in refused()
    assert hub.count("GET") == 0


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_cut_connection_is_taken_up_again(hub: Hub, reset: bool, naps: list[float]) -> None:
    hub.faults = [Fault(cut=20_000, reset=reset), Fault("HEAD", cut=0)]
    fetched(hub)
    assert hub.count("GET") == 2


def test_small_pieces_add_up_over_a_hundred_cuts(
    hub: Hub, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client goes on where it was, in the same call or (version 1.0) in the next."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.faults = [Fault(cut=450) for _ in range(100)]
    calls = iter(range(100))
    while (path := attempt()) is None:
        assert next(calls) < 50
    assert path.read_bytes() == DATA
    assert hub.faults == []
    starts = [int(seen.range[6:-1]) for seen in hub.seen if seen.range]
    assert starts == sorted(starts)
    assert len(starts) == 100


def test_a_hundred_cuts_before_anything_came_end_in_a_line(hub: Hub, naps: list[float]) -> None:
    hub.faults = [Fault(cut=n % 3) for n in range(100)]
    assert "the connection broke (" in refused()
    assert 3 <= hub.count("GET") <= 20
    assert sum(naps) < 60
    hub.faults.clear()
    fetched(hub)


def test_a_random_storm_never_leaves_a_wrong_file(hub: Hub, naps: list[float]) -> None:
    draw = random.Random(5)
    for turn in range(40):
        name = f"org/storm{turn}"
        hub.repos[name] = hub.repos["org/name"]
        hub.faults = [
            draw.choice(
                [
                    Fault(cut=draw.randrange(50_000)),
                    Fault(cut=draw.randrange(50_000), reset=True),
                    Fault(cut=draw.randrange(50_000), whole=True),
                    Fault(status=draw.choice([416, 429, 500, 503])),
                    Fault(flip=True),
                    Fault(announce=draw.choice([10, 49_999, 50_001, 90_000])),
                    Fault("HEAD", announce=draw.choice([10, 49_999, 50_001])),
                    Fault("HEAD", status=503),
                    Fault("HEAD", cut=0),
                ]
            )
            for _ in range(draw.randrange(1, 6))
        ]
        flipped = Fault(flip=True) in hub.faults
        try:
            found = fetch(Source(NAME, name, COMMIT), root=ROOT, sha256=SHA256).read_bytes()
        except FetchError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - both ends are right
            hub.faults.clear()
            # What lies there is no wrong file that nobody noticed.
            again = Source(NAME, name, COMMIT)
            assert flipped or fetch(again, root=ROOT).read_bytes() == DATA
            assert fetch(again, root=ROOT, sha256=SHA256, force=True).read_bytes() == DATA
        else:
            assert found == DATA


@pytest.mark.parametrize("size", [10, len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_announced(hub: Hub, size: int, naps: list[float]) -> None:
    hub.faults = [Fault("HEAD", announce=size), Fault("HEAD", announce=size)]
    fetched(hub)
    hub.repos["org/again"] = hub.repos["org/name"]
    hub.faults = [Fault("HEAD", announce=size)] * 100
    said = refused(Source(NAME, "org/again", COMMIT))
    assert "another number of bytes came than was announced" in said or "(416)" in said
    assert hub.count() < 60


def test_a_server_that_ignores_where_to_go_on(hub: Hub, naps: list[float]) -> None:
    hub.faults = [Fault(cut=20_000, reset=True), Fault(whole=True)]
    fetched(hub)


def test_a_longer_remainder_than_the_file_is_thrown_away(
    hub: Hub, naps: list[float], tmp_path: Path
) -> None:
    """Version 1.0 leaves remainders, and may add to them more than the file holds."""
    blobs = tmp_path / "hf" / "hub" / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{SHA256}.incomplete").write_bytes(DATA + b"more")
    fetched(hub)


def test_silence_ends_in_a_line(
    hub: Hub, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = "huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT"
    monkeypatch.setattr(seconds, 0.5)
    hub.faults = [Fault(drip=1.0)]
    fetched(hub)
    monkeypatch.setattr(seconds, 0.1)
    hub.repos["org/again"] = hub.repos["org/name"]
    hub.faults = [Fault(drip=0.5)] * 100
    said = refused(Source(NAME, "org/again", COMMIT))
    assert "the Hub fell silent; try again, with HF_HUB_DOWNLOAD_TIMEOUT=60" in said
    assert hub.count("GET") < 30


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_there(
    hub: Hub, naps: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://user:secret@127.0.0.1:{unused_port()}"
    point_client_at(url, tmp_path / "hf", monkeypatch)
    said = refused()
    assert f"{url.replace('user:secret@', '')} cannot be reached (" in said
    assert "check the network, the proxy and HF_ENDPOINT" in said
    assert sum(naps) <= 60


def test_an_address_that_is_none(
    hub: Hub, naps: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_client_at(hub.url.removeprefix("http://"), tmp_path / "hf", monkeypatch)
    assert "begins with neither https:// nor http://; check HF_ENDPOINT" in refused()
    assert naps == []


def test_somebody_else_there(hub: Hub) -> None:
    hub.faults = [Fault("HEAD", status=204)] * 2
    assert f"what answers at {hub.url} is no Hub; check HF_ENDPOINT and the proxy" in refused()


@pytest.mark.parametrize("token", ["hf_secret\0more", "hf_secrét"], ids=["control", "accent"])
def test_a_broken_token_is_not_shown(
    hub: Hub, token: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(token, encoding="utf-8")
    with pytest.raises(FetchError) as caught:
        fetch(SOURCE, root=ROOT)
    assert "the token of HF_TOKEN or `hf auth login` holds a character" in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secr" not in str(caught.value) + caplog.text
    assert hub.count() == 0


def test_a_wrong_token_is_not_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["org/name"].private = True
    monkeypatch.setenv("HF_TOKEN", "hf_secretbutwrong")
    assert "no such repository, or it is private" in refused()


@pytest.mark.parametrize("proxy", ["nonsense://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_proxies_that_the_client_cannot_use(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, naps: list[float]
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert "cannot fetch 'model.safetensors' of org/name" in refused()
    assert hub.count() == 0


class Full(io.FileIO):
    """A file on a disk that is full after some bytes."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., io.IOBase] = Path.open

    def opened(path: Path, mode: str = "r", *more: object, **options: object) -> io.IOBase:
        if path.name.endswith(".incomplete") and mode in ("wb", "ab"):
            return Full(path, mode)
        return real(path, mode, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        said = refused()
    assert (
        f"cannot write the cache {str(tmp_path / 'hf' / 'hub')!r} (No space left on device)" in said
    )
    assert "set HF_HOME to a folder that is writable and has room" in said
    fetched(hub)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_disk_that_the_system_declares_full(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from pathlib import Path; from a2m2_zoo.hub.fetch import fetch;"
        "from a2m2_zoo.hub.source import Source; import huggingface_hub.file_download;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000));"
        f"fetch(Source({NAME!r}, 'org/name', {COMMIT!r}), root=Path('.'))"
    )
    env = environment(hub, tmp_path / "other")
    run = subprocess.run(
        [sys.executable, "-B", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert "cannot write the cache" in run.stderr.splitlines()[-1]
    assert "(File too large)" in run.stderr.splitlines()[-1]
    assert not list((tmp_path / "other").rglob(NAME))


def test_storage_that_fails_behind_the_hub(hub: Hub, tmp_path: Path) -> None:
    """Large files come through a library of their own, whose errors are bare."""
    hub.xet = True
    code = (
        "from pathlib import Path; from a2m2_zoo.hub.fetch import fetch;"
        "from a2m2_zoo.hub.source import Source;"
        f"fetch(Source({NAME!r}, 'org/name', {COMMIT!r}), root=Path('.'))"
    )
    env = {**environment(hub, tmp_path / "other"), "HF_HUB_DISABLE_XET": "0", "HF_TOKEN": TOKEN}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert any(seen.path.startswith("/cas/") for seen in hub.seen)
    last = run.stderr.splitlines()[-1]
    assert last.startswith(
        "a2m2_zoo.errors.FetchError: cannot fetch 'model.safetensors' of org/name"
    )
    assert "HF_HUB_DISABLE_XET=1" in last
    assert TOKEN not in run.stderr
    assert not list((tmp_path / "other").rglob(NAME))


def test_a_cache_that_cannot_be_written(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    point_client_at(hub, tmp_path / "file" / "below", monkeypatch)
    said = refused()
    assert "cannot write the cache" in said
    assert hub.count("GET") == 0
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        return  # the superuser writes where nobody may
    point_client_at(hub, folder, monkeypatch)
    assert "(Permission denied)" in refused()


def test_the_transports_errors_are_among_the_clients(hub: Hub) -> None:
    """The names that faults are told apart by are those of the transport that is installed."""
    from huggingface_hub.errors import HfHubHTTPError

    base = next(k for k in HfHubHTTPError.__mro__ if k.__name__ == "HTTPError")
    module = sys.modules[base.__module__.partition(".")[0]]
    for name in (
        "TransportError", "TimeoutException", "ConnectError", "ConnectTimeout", "ProxyError",
        "UnsupportedProtocol", "LocalProtocolError", "RemoteProtocolError", "ReadError",
    ):  # fmt: skip
        assert issubclass(getattr(module, name), client_errors())
