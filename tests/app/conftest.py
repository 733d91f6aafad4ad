"""One page for all tests that speak to it in plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from app.serving import Server


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`a2m2 app`, running; nothing is left of it afterwards, and it had no surprise."""
    if find_spec("gradio") is None:
        pytest.skip("needs gradio: a2m2_zoo[app]")
    running = Server(tmp_path_factory.mktemp("page"), "--max-upload-mb", "5")
    try:
        yield running
    finally:
        running.close()
    assert list(running.temporary.glob("a2m2-app-*")) == []
    said = running.errors.read_text()
    assert "Traceback" not in said, said
    assert "500 Internal" not in said, said
