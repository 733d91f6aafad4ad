"""What the page does behind the page: classes, answers, files, and what a hostile visitor could send."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import makers
import pytest
import torch
from safetensors.torch import save_file

from a2m2_zoo import SupportBank, build_bank, load_model
from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.session import Session, Sessions, explain_error
from a2m2_zoo.app.store import ANYONE, held_bytes
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    BankError,
    EpisodeError,
    VideoError,
    VideoLimitError,
)
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.synthetic import draw_named, write_video

pytestmark = pytest.mark.usefixtures("seen_once")


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


def test_classes_answer_picture_and_nothing_left_behind(session: Session, shared: Engine) -> None:
    two_classes(session, shared)
    assert session.bank is not None
    assert session.bank.counts() == {"back again": 1, "right": 2}
    assert session.bank.sources == ("r.mp4", "r2.mp4", "b.mp4")
    assert not list(shared.files.rglob("*.mp4"))  # read, encoded, deleted
    query = sent(shared, "which.mp4", frames=22)
    found = session.classify(query)
    assert found.prediction.label == "right"
    assert found.prediction.query == "which.mp4"
    assert found.picture is not None
    assert found.picture.read_bytes()[:4] == b"\x89PNG"
    again = session.classify(query, 1.0)
    assert again.prediction.rejected
    assert not found.picture.exists()  # one picture at a time
    folder = found.picture.parent
    session.close()
    assert not folder.exists()
    assert not Path(query["path"]).exists()


def test_people_are_counted_and_a_saved_bank_still_shows_them(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path / "engine", limits=AppLimits())
    session = Session(engine)

    def person(path: Path, *, action: str, i: int) -> Path:
        write_video(path, draw_named(action, i, seed=3, frames=8, size=224, style="scene"))
        return path

    for action in ("kick", "jump"):
        session.add(action, [sent(engine, f"{action}.mp4", person, action=action, i=0)])
    query = sent(engine, "which.mp4", person, action="kick", i=2)
    first = session.classify(query)
    assert first.prediction.pose_frames
    assert first.picture is not None
    shown = first.picture.read_bytes()
    saved = session.save()
    assert saved is not None
    sent_back = arrived(engine, saved)
    session.clear()
    session.load(sent_back)
    again = session.classify(query)
    assert again.picture is not None
    assert again.picture.read_bytes() == shown
    assert session.bank is not None
    session.bank = replace(session.bank, shapes=())  # as of an earlier version
    bare = session.classify(query)
    assert bare.picture is not None
    assert bare.picture.read_bytes() != shown
    session.close()


def test_the_model_meets_a_visitors_classes_once_until_they_change(
    session: Session, shared: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []
    plain = Engine.recognizer

    def counted(engine: Engine, bank: SupportBank) -> Recognizer:
        made.append(bank.class_names)
        return plain(engine, bank)

    monkeypatch.setattr(Engine, "recognizer", counted)
    two_classes(session, shared)
    other = Session(shared)
    query = sent(shared, "which.mp4")
    for _ in range(3):
        session.classify(query)
    assert made == [("back again", "right")]
    session.add("still", sent(shared, "s.mp4", speed=0))
    assert set(session.classify(query).prediction.probabilities) == {"back again", "right", "still"}
    session.remove("right")
    assert "right" not in session.classify(query).prediction.probabilities
    assert made[1:] == [("back again", "right", "still"), ("back again", "still")]
    with pytest.raises(EpisodeError, match="there are 0 classes"):
        other.classify(sent(shared, "theirs.mp4"))  # what one visitor has is nobody else's
    session.close()
    with pytest.raises(A2M2Error):
        session.classify(query)
    assert len(made) == 3
    other.close()


def test_a_class_grows_and_goes(session: Session, shared: Engine) -> None:
    two_classes(session, shared)
    assert session.add("right", sent(shared, "more.mp4")) == "Added 1 clip to right."
    session.remove("right")
    assert session.bank is not None
    assert session.bank.class_names == ("back again",)
    session.remove("back again")
    assert session.bank is None
    assert session.save() is None


def test_broken_clips_are_left_out_with_a_line(session: Session, shared: Engine) -> None:
    files = [sent(shared, "ok.mp4"), sent(shared, "text.mp4", makers.BROKEN["text.mp4"])]
    said = session.add("right", files)
    assert said.startswith("Added 1 clip to right. Left out 1 clip: text.mp4: not a video")
    for name in ("empty.mp4", "playlist.mp4", "audio.mp4", "huge.mp4"):
        with pytest.raises(VideoError) as caught:
            session.add("right", sent(shared, name, makers.BROKEN[name]))
        line = explain_error(shared, caught.value)
        assert line.startswith(name)
        assert str(shared.folder) not in line
        assert "\n" not in line
    assert session.bank is not None
    assert session.bank.counts() == {"right": 1}
    assert not list(shared.files.rglob("*.mp4"))


def test_clips_are_read_in_parts_as_at_once(session: Session, shared: Engine) -> None:
    files = [sent(shared, f"{i}.mp4", frames=10 + i) for i in range(11)]
    at_once = build_bank({"wave": [file["path"] for file in files]}, model=shared.model)
    session.add("wave", files)
    assert session.bank is not None
    assert session.bank.sources == tuple(f"{i}.mp4" for i in range(11))
    for name, tensor in session.bank.descriptors.items():
        assert torch.equal(tensor, at_once.descriptors[name])


def test_nothing_is_computed_after_the_end(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits())
    session = Session(engine)
    two_classes(session, engine)
    engine.end()
    query = sent(engine, "q.mp4")
    for compute in (session.classify, session.spot, lambda file: session.add("x", file)):
        with pytest.raises(A2M2Error, match="being closed"):
            compute(query)


def test_what_is_missing_is_said(session: Session, shared: Engine) -> None:
    with pytest.raises(ArgumentError, match="no clip yet"):
        session.classify(None)
    with pytest.raises(EpisodeError, match="there are 0 classes; add at least two"):
        session.classify(sent(shared, "q.mp4"))
    with pytest.raises(ArgumentError, match="needs a name"):
        session.add("  ", sent(shared, "q.mp4"))
    with pytest.raises(ArgumentError, match="no clip for 'wave'"):
        session.add("wave", None)
    session.add("wave", sent(shared, "q.mp4"))
    with pytest.raises(EpisodeError, match="same name"):
        session.add("WAVE", sent(shared, "q.mp4"))
    with pytest.raises(EpisodeError, match="there is 1 class"):
        session.classify(sent(shared, "q.mp4"))
    two_classes(session, shared)
    for wrong in (2, -0.1, "0.5", None, float("nan")):
        with pytest.raises(ArgumentError, match="expected 0 to 1"):
            session.classify(sent(shared, "q.mp4"), wrong)


def test_too_many_are_refused_before_they_are_read(session: Session, shared: Engine) -> None:
    with pytest.raises(ArgumentError, match="13 clips; the page takes 4 classes and 12 clips"):
        session.add("wave", [sent(shared, "q.mp4", frames=2) for _ in range(13)])
    for name in "abcd":
        session.add(name, sent(shared, "q.mp4", frames=2))
    with pytest.raises(ArgumentError, match="5 classes"):
        session.add("e", sent(shared, "q.mp4", frames=2))
    assert held_bytes(shared.files) == 0


@pytest.mark.parametrize(
    "kind", ["outside", "above", "link", "folder", "address", "number", "none"]
)
def test_only_what_was_sent_is_read(
    session: Session, shared: Engine, tmp_path: Path, kind: str
) -> None:
    secret = makers.draw_video(tmp_path / "secret.mp4")
    link = shared.files / "link.mp4"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    given = {
        "outside": {"path": str(secret)},
        "above": {"path": f"{shared.files}/../drawn/unseen-1.mp4"},
        "link": {"path": str(link)},
        "folder": {"path": str(shared.files)},
        "address": {"path": "http://127.0.0.1/x.mp4", "url": "http://127.0.0.1/x.mp4"},
        "number": {"path": 7},
        "none": {"url": str(secret)},
    }[kind]
    with pytest.raises(ArgumentError, match="no longer here"):
        session.add("wave", given)
    assert secret.exists()
    link.unlink()


def test_a_large_file_is_refused(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path / "page", limits=AppLimits(upload_mb=1))
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1 << 20))
    assert arrived(engine, large)
    large.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(VideoLimitError, match=r"large\.mp4 is larger than 1 MB"):
        arrived(engine, large)
    assert held_bytes(engine.files) == 1 << 20


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
    line = explain_error(shared, caught.value)
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


def test_drawn_clips_answer_and_a_drawn_video_is_searched(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits())
    session = Session(engine)
    right = 0
    names = []
    for _ in range(3):
        clip, truth, said = session.draw()
        right += session.classify(clip).prediction.label == truth
        names.append(truth)
        assert "drawn" in said
        assert truth not in clip.name
    assert right >= 2
    assert len(set(names)) == 3
    video, _ = session.draw_long_video()
    # The browser is given a copy, and names it; the original stays for the next visitor.
    found = session.spot({"path": str(video)})
    assert {s.label for s in found.segments if s.known} & {"jump", "wave", "squat", "kick"}
    assert found.picture is not None
    assert found.damage == ""
    none = session.spot({"path": str(engine.files / "x" / video.name)}, 1.0)
    assert not any(s.known for s in none.segments)
    session.close()
    assert not video.exists()
    assert engine.drawn().long_video.exists()
    own = Session(engine)
    own.add("mine", sent(engine, "a.mp4"))
    with pytest.raises(ArgumentError, match="classes of your own"):
        own.draw()
    assert own.bank is not None
    assert own.bank.class_names == ("mine",)


def test_a_damaged_video_gives_what_was_found(
    session: Session, shared: Engine, tmp_path: Path
) -> None:
    two_classes(session, shared)
    whole = makers.draw_video(tmp_path / "w.mkv", 90)
    data = whole.read_bytes()
    whole.write_bytes(data[: 2 * len(data) // 3])
    found = session.spot(arrived(shared, whole))
    assert shared.plain(found.damage).startswith("w.mkv: ")
    assert found.picture is not None
    with pytest.raises(VideoError, match="not a video"):
        session.spot(sent(shared, "text.mp4", makers.BROKEN["text.mp4"]))


def test_a_video_that_is_too_long_is_refused(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits(video_minutes=0.05))
    session = Session(engine)
    two_classes(session, engine)
    with pytest.raises(VideoLimitError, match=r"long\.mp4 is longer than 0\.05 minutes"):
        session.spot(sent(engine, "long.mp4", frames=100))


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
    with pytest.raises(ArgumentError, match="reload"):
        left._picture("why")


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


def test_surprises_become_one_line(shared: Engine) -> None:
    assert "RuntimeError" in explain_error(shared, RuntimeError("secret\nlines"))
    assert "secret" not in explain_error(shared, RuntimeError("secret\nlines"))
    assert "memory" in explain_error(shared, MemoryError())


def test_limits_are_checked() -> None:
    with pytest.raises(ArgumentError, match="upload_mb is 0"):
        AppLimits(upload_mb=0)
