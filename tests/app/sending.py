"""Clips that a visitor sent, for the tests of what the page makes of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import makers

from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.session import Session
from a2m2_zoo.app.store import ANYONE


def sent(
    engine: Engine, name: str, make=makers.draw_video, owner: str = ANYONE, **how: object
) -> dict[str, str]:
    """A file that a visitor sent, as the page reports it."""
    with tempfile.TemporaryDirectory() as folder:
        return arrived(engine, make(Path(folder) / name, **how), owner)


def arrived(engine: Engine, path: Path, owner: str = ANYONE) -> dict[str, str]:
    """This file, sent."""
    with path.open("rb") as file:
        return {"path": str(engine.store.keep(owner, path.name, file))}


def two_classes(session: Session, engine: Engine) -> None:
    session.add("right", [sent(engine, "r.mp4"), sent(engine, "r2.mp4", frames=24)])
    session.add(" back  again ", [sent(engine, "b.mp4", speed=-7)])
