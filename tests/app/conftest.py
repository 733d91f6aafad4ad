"""One page for all tests that speak to it in plain HTTP, and what is behind one for those that do without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from app.serving import Server

from a2m2_zoo import load_model
from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.session import Session
from a2m2_zoo.recognition.model import Model


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`a2m2 app` with its usual model."""
    with running_page(tmp_path_factory.mktemp("page"), "--max-upload-mb", "5") as running:
        yield running


@pytest.fixture(scope="session")
def quick_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`a2m2 app` with a model that draws no picture, for many visits."""
    with running_page(tmp_path_factory.mktemp("quick"), "--model", "protonet-lite0") as running:
        yield running


@contextlib.contextmanager
def running_page(folder: Path, *arguments: str) -> Iterator[Server]:
    """`a2m2 app`, running; nothing is left of it afterwards, and it had no surprise."""
    if find_spec("gradio") is None:
        pytest.skip("needs gradio: a2m2_zoo[app]")
    running = Server(folder, *arguments)
    try:
        yield running
    finally:
        running.close()
    assert list(running.temporary.glob("a2m2-app-*")) == []
    said = running.errors.read_text()
    # Gradio's word for a value that is no file where one belongs.
    strange = [part for part in said.split("Traceback")[1:] if "ValidationError" not in part]
    assert strange == []
    assert "500 Internal" not in said, said


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def shared(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(model, tmp_path_factory.mktemp("engine"), limits=AppLimits(clips=12, classes=4))


@pytest.fixture
def session(shared: Engine) -> Iterator[Session]:
    made = Session(shared)
    yield made
    made.close()
