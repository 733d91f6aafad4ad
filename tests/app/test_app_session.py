"""What the page does behind the page: classes, answers, files, and what a hostile visitor could send."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import makers
import pytest
import torch
from app.sending import arrived, sent, two_classes

from a2m2_zoo import SupportBank, build_bank
from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.events import handlers
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.session import Session
from a2m2_zoo.app.store import held_bytes
from a2m2_zoo.app.visits import Sessions
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    EpisodeError,
    VideoError,
    VideoLimitError,
)
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.synthetic import draw_named, write_video
from a2m2_zoo.video import Limits

pytestmark = pytest.mark.usefixtures("seen_once")


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
    broken = [sent(shared, f"{i}.mp4", makers.BROKEN["text.mp4"]) for i in range(5)]
    said = session.add("right", [*broken, sent(shared, "fine.mp4")])
    assert [f"{i}.mp4: not a video" in said for i in range(5)] == [True] * 3 + [False] * 2
    assert said.endswith("; and 2 more")
    for name in ("empty.mp4", "playlist.mp4", "audio.mp4", "huge.mp4"):
        with pytest.raises(VideoError) as caught:
            session.add("right", sent(shared, name, makers.BROKEN[name]))
        line = shared.explain_error(caught.value)
        assert line.startswith(name)
        assert str(shared.folder) not in line
        assert "\n" not in line
    assert session.bank is not None
    assert session.bank.counts() == {"right": 2}
    assert not list(shared.files.rglob("*.mp4"))


def test_clips_are_read_in_parts_as_at_once(session: Session, shared: Engine) -> None:
    files = [sent(shared, f"{i}.mp4", frames=10 + i % 3) for i in range(11)]
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


def test_a_clip_that_is_in_another_class_is_said(session: Session, shared: Engine) -> None:
    def same(name: str) -> dict[str, str]:
        return sent(shared, name, frames=20)

    assert session.add("kick", same("a.mp4")) == "Added 1 clip to kick."
    assert session.add("kick", same("b.mp4")) == "Added 1 clip to kick."  # no other class
    said = session.add("jump", [same("c.mp4"), sent(shared, "d.mp4", speed=-7)])
    assert said.startswith("Added 2 clips to jump. The same pictures are in kick, too, ")
    assert "in jump, kick, too" in session.add("wave", same("e.mp4"))
    assert session.bank is not None
    assert session.bank.counts() == {"jump": 2, "kick": 2, "wave": 1}


def test_only_what_a_visitor_can_do_is_said(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits(video=Limits(megapixels=0.001)))
    with pytest.raises(VideoLimitError, match=r"raise Limits\.megapixels") as caught:
        Session(engine).add("wave", sent(engine, "q.mp4"))
    assert engine.explain_error(caught.value).endswith("more than 0.001: shrink the clip")
    for said, shown in (
        ("a: cut it, give it key frames, or raise Limits.frames", "a: cut it, give it key frames"),
        (
            "a: 9 frames, more than 5: raise Limits.frames",
            "a: 9 frames, more than 5: give a smaller or shorter one",
        ),
        ("a: not a video", "a: not a video"),
    ):
        assert engine.plain(said) == shown


def test_a_refused_name_deletes_no_clip(session: Session, shared: Engine) -> None:
    clip = sent(shared, "q.mp4")
    session.add("wave", sent(shared, "w.mp4", speed=-7))
    for refused in ("", "  ", None, "a" * 61, "WAVE"):
        with pytest.raises(A2M2Error, match=r"needs a name|same name"):
            session.add(refused, clip)
        assert session.holds([clip])
    assert session.add("kick", [clip]) == "Added 1 clip to kick."
    assert not session.holds([clip])
    assert not list(shared.files.rglob("*.mp4"))


def test_the_box_shows_what_is_there_to_be_added(model: Model, tmp_path: Path) -> None:
    engine = Engine(model, tmp_path, limits=AppLimits())
    gradio = SimpleNamespace(skip=lambda: "keep", update=dict, Request=object)
    add = handlers(gradio, engine, Sessions(engine)).add
    visitor = SimpleNamespace(session_hash="her.1")

    def clip(name: str, make=makers.draw_video) -> dict[str, str]:
        return sent(engine, name, make, owner="her")

    good = [clip("good.mp4")]
    said, *rest = add("", good, 0, visitor)
    assert "type one above" in said
    assert rest == ["keep"] * 3
    said, *rest = add("kick", good, 0, visitor)
    assert "Added 1 clip to kick." in said
    assert rest == ["", None, 1]
    unread = [clip("text.mp4", makers.BROKEN["text.mp4"])]
    said, *rest = add("kick", unread, 1, visitor)
    assert "text.mp4: not a video" in said
    assert rest == ["keep", None, "keep"]
    said, *rest = add("kick", unread, 1, visitor)
    assert "text.mp4 is no longer here; drop it again" in said
    assert rest == ["keep", None, "keep"]
    said, *rest = add("kick", [*unread, clip("better.mp4")], 1, visitor)
    assert "Added 1 clip to kick. Left out 1 clip: text.mp4 is no longer here" in said
    assert rest == ["", None, 2]


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
    before = held_bytes(shared.files)
    with pytest.raises(ArgumentError, match="13 clips; the page takes 4 classes and 12 clips"):
        session.add("wave", [sent(shared, "q.mp4", frames=2) for _ in range(13)])
    for name in "abcd":
        session.add(name, sent(shared, "q.mp4", frames=2))
    with pytest.raises(ArgumentError, match="5 classes"):
        session.add("e", sent(shared, "q.mp4", frames=2))
    session.close()
    assert held_bytes(shared.files) == before


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


def test_surprises_become_one_line(shared: Engine) -> None:
    assert "RuntimeError" in shared.explain_error(RuntimeError("secret\nlines"))
    assert "secret" not in shared.explain_error(RuntimeError("secret\nlines"))
    assert "memory" in shared.explain_error(MemoryError())


def test_limits_are_checked() -> None:
    with pytest.raises(ArgumentError, match="upload_mb is 0"):
        AppLimits(upload_mb=0)
