"""What the page keeps for whom: banks that travel, several visitors, and what goes when."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from app.sending import arrived, sent, two_classes
from safetensors.torch import save_file

from a2m2_zoo import SupportBank
from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.events import handlers
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.session import Session
from a2m2_zoo.app.store import ANYONE
from a2m2_zoo.app.visits import Sessions
from a2m2_zoo.errors import (
    ArgumentError,
    BankError,
)
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.model import Model

pytestmark = pytest.mark.usefixtures("seen_once")


def test_banks_travel(session: Session, shared: Engine) -> None:
    two_classes(session, shared)
    assert session.bank is not None
    saved = session.save()
    assert saved is not None
    mine = saved.rename(saved.with_name("mine.safetensors"))
    given = arrived(shared, mine)
    other = Session(shared)
    assert other.load(given) == "Loaded 2 classes from mine.safetensors."
    assert other.bank is not None
    assert other.bank.counts() == session.bank.counts()
    assert not Path(given["path"]).exists()
    query = sent(shared, "q.mp4")
    assert other.classify(query).prediction.label == session.classify(query).prediction.label
    other.close()


@pytest.mark.parametrize("fault", ["text", "model", "shape", "nan", "type", "thumbnails", "many"])
def test_a_bank_that_would_break_the_page_is_refused(
    session: Session, shared: Engine, tmp_path: Path, fault: str
) -> None:
    two_classes(session, shared)
    good = session.bank
    assert good is not None
    name = next(iter(good.descriptors))
    tensor = good.descriptors[name]
    bad = {
        "model": replace(good, model="another"),
        "shape": replace(good, descriptors={**good.descriptors, name: tensor[..., :-1]}),
        "type": replace(good, descriptors={**good.descriptors, name: tensor.double()}),
        "thumbnails": replace(good, thumbnails=good.thumbnails[:, :1]),
        "many": good.add(good).add(good).add(good).add(good),
    }
    path = tmp_path / "bad.safetensors"
    if fault == "text":
        path.write_text("not a bank")
    elif fault == "nan":  # as a version before banks had a hash would have written it
        tensors = {f"descriptor.{n}": t * torch.nan for n, t in good.descriptors.items()}
        record = checkpoint.load(good.save(path), kind="bank").record
        tensors["thumbnails"] = good.thumbnails
        header = json.dumps({"format": checkpoint.FORMAT, "kind": "bank", "record": record})
        save_file(tensors, path, metadata={"a2m2_zoo": header})
    else:
        bad[fault].save(path)
    given = arrived(shared, path)
    with pytest.raises(BankError) as caught:
        session.load(given)
    assert session.bank is good
    assert not Path(given["path"]).exists()
    line = shared.explain_error(caught.value)
    assert str(shared.folder) not in line
    assert "\n" not in line


def test_a_banks_paths_are_not_passed_on(session: Session, shared: Engine, tmp_path: Path) -> None:
    two_classes(session, shared)
    assert session.bank is not None
    private = replace(session.bank, sources=tuple(f"/home/her/{i}.mp4" for i in range(3)))
    session.load(arrived(shared, private.save(tmp_path / "b.safetensors")))
    assert session.bank.sources == ("0.mp4", "1.mp4", "2.mp4")
    saved = session.save()
    assert saved is not None
    assert checkpoint.load(saved, kind="bank").record["sources"] == ["0.mp4", "1.mp4", "2.mp4"]


def test_visitors_do_not_see_each_other_and_the_oldest_makes_room(
    model: Model, tmp_path: Path
) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits(sessions=2))
    sessions = Sessions(engine)
    sessions.of("one").add("wave", sent(engine, "a.mp4", owner="one"))
    assert sessions.of("two").bank is None
    assert sessions.of("one").bank is not None
    sessions.of("three")
    assert len(sessions) == 2
    assert sessions.of("one").bank is not None
    assert len(list(engine.files.glob("visit-*"))) == 2
    left = sessions.of("one")
    sessions.drop("one")
    for forgotten in ("one", "two", None):
        with pytest.raises(ArgumentError, match="reload"):
            sessions.of(forgotten)
        assert sessions.still(forgotten) is None
    with pytest.raises(ArgumentError, match="reload"):
        left.new_file("why", ".png")


def test_what_a_page_asks_by_itself_while_it_is_left_is_no_error(
    model: Model, tmp_path: Path
) -> None:
    gr = pytest.importorskip("gradio")
    engine = Engine(model, tmp_path, limits=AppLimits())
    sessions = Sessions(engine)
    sessions.of("one").add("wave", sent(engine, "a.mp4", owner="one"))
    offer = handlers(gr, engine, sessions).offer
    request = SimpleNamespace(session_hash="one")
    saved, _ = offer(0, request)
    assert Path(saved["value"]).is_file()
    sessions.drop("one")
    assert offer(1, request) == (gr.skip(), gr.skip())


def test_what_was_never_used_goes_with_its_visitor(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits())
    sessions = Sessions(engine)
    for key in ("her.1", "her.2", "his.1"):
        sessions.of(key)
    kept = [sent(engine, "unused.mp4", owner=owner) for owner in ("her", "his", ANYONE)]
    for key, left in (("her.1", [1, 1, 1]), ("her.2", [0, 1, 1]), ("his.1", [0, 0, 1])):
        sessions.drop(key)
        assert [Path(given["path"]).exists() for given in kept] == left


def test_equal_clips_are_two_files_and_nobody_names_anothers(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits())
    her, second, his = (Session(engine, key) for key in ("her.1", "her.2", "his.1"))
    two_classes_of = {"right": {}, "back": {"speed": -7}}
    for session in (her, his):
        for name, how in two_classes_of.items():
            session.add(name, sent(engine, "a.mp4", owner=session._key[:3], **how))
    hers, his_own = (sent(engine, "q.mp4", owner=owner) for owner in ("her", "his"))
    assert hers != his_own
    for given in (hers, sent(engine, "q.mp4", owner=ANYONE)):
        with pytest.raises(ArgumentError, match="no longer here"):
            his.classify(given)
    assert her.classify(hers).prediction.label == "right"
    with pytest.raises(ArgumentError, match="no longer here"):
        second.add("x", hers)  # another tab of hers: it is the first one's now
    her.close()
    assert not Path(hers["path"]).exists()
    assert his.classify(his_own).prediction.label == "right"


def test_what_nobody_touches_goes(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits(minutes=10))
    sessions = Sessions(engine)
    visitor = sessions.of("one")
    visitor.add("wave", sent(engine, "a.mp4", owner="one"))
    visitor.save()
    sent(engine, "abandoned.mp4")
    sessions.sweep()
    assert len(sessions) == 1
    assert list(engine.files.rglob("*.mp4"))
    sessions.sweep(time.time() + 11 * 60)
    assert len(sessions) == 0
    assert list(engine.files.iterdir()) == []


def test_classes_to_begin_with_belong_to_nobody(
    session: Session, shared: Engine, tmp_path: Path
) -> None:
    two_classes(session, shared)
    engine = Engine(shared.model, tmp_path, limits=AppLimits(), start=session.bank)
    one, two = Session(engine), Session(engine)
    one.remove("right")
    assert one.bank is not None
    assert two.bank is session.bank
    foreign = replace(session.bank, weights_hash="0" * 64)
    assert isinstance(foreign, SupportBank)
    with pytest.raises(BankError, match="made by model"):
        Engine(shared.model, tmp_path, limits=AppLimits(), start=foreign)
