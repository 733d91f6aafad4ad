"""The page's process: where it listens, the origin it is given, what it says, and how it ends."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys

import pytest

pytest.importorskip("starlette", reason="needs gradio: a2m2_zoo[app]")

from a2m2_zoo.app.headers import PublicOrigin
from a2m2_zoo.app.serve import _one_line, ending_orderly, is_loopback, listening
from a2m2_zoo.errors import ArgumentError


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clips.example.org",
        "ftp://x.org",
        "https://",
        "https://[",
        "https://a b",
        "https://u@x.org",
        "https://x.org:0",
        "https://x.org?a",
        "https://x.org/#a",
        "https://x.org/a/../b",
        "https://x.org//a",
        'https://x.org/"',
        "null",
    ],
)
def test_a_public_origin_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ArgumentError, match="the public origin is") as caught:
        PublicOrigin.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "given", "said"),
    [
        ("--public-origin", "clips.example.org", "the public origin is 'clips.example.org'"),
        ("--allow-host", "clips.lan:80", "the host to allow is 'clips.lan:80'"),
    ],
)
def test_the_command_refuses_what_is_no_origin_and_no_name(
    option: str, given: str, said: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "a2m2_zoo", "app", option, given],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode != 0
    assert said in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr


def test_a_request_that_breaks_off_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test of one line")
    log.addFilter(_one_line)
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log.error("Exception in %s\n", "ASGI application", exc_info=error)
    key = f"{'0a' * 16}.{'1b' * 16}"  # Gradio looks a session up that has just ended
    try:
        raise KeyError(key)
    except KeyError as error:
        log.error("Exception", exc_info=error)
    log.error("as it is: %s", "x")
    broken, left, other = (caplog.handler.format(record) for record in caplog.records)
    assert "a request broke off: ValueError('two\\nlines')" in broken
    assert "\n" not in broken
    assert "a request broke off: KeyError('a page that was left')" in left
    assert other.endswith("as it is: x")


def test_the_address() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.com")
    with listening("127.0.0.1", 0) as channel:
        port = channel.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"port {port}"), listening("127.0.0.1", port):
            pass
    with pytest.raises(ArgumentError, match="cannot listen"), listening("192.0.2.1", 0):
        pass


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_asks_the_process_to_end_unwinds_it(name: str) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"no {name} here")
    # As in a program of its own, whatever the tests before this one have left.
    before = {n: signal.signal(n, signal.SIG_DFL) for n in {number, signal.SIGTERM}}
    try:
        with pytest.raises(SystemExit) as caught, ending_orderly():
            signal.raise_signal(number)
        assert caught.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
