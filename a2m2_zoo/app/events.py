"""What happens on the page: every event is a few lines over ``Session``."""

# Annotations are evaluated here: Gradio hands a request to the arguments that are annotated with it.

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo.app import view
from a2m2_zoo.app.archive_search import search
from a2m2_zoo.app.parts import ANSWER, TIMES, Parts
from a2m2_zoo.app.session import Session
from a2m2_zoo.app.visits import Sessions

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine

#: Everything that computes shares this, so that it is one at a time.
_TURN = "compute"
_PLAIN: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
_BREATH = 5.0  # seconds after which an event that stays looks whether its page is still there


@dataclass(frozen=True)
class Handlers:
    """One function for each event."""

    add: Callable[..., Any]
    load: Callable[..., Any]
    clear: Callable[..., Any]
    offer: Callable[..., Any]
    draw: Callable[..., Any]
    draw_long_video: Callable[..., Any]
    ask: Callable[..., Any]
    find: Callable[..., Any]
    search: Callable[..., Any]
    leave: Callable[..., Any]


def attempt(
    engine: "Engine",
    sessions: Sessions,
    request: Any,
    work: Callable[[Session], tuple[Any, ...]],
    rest: tuple[Any, ...],
) -> tuple[Any, ...]:
    """The values that ``work`` gives, or a line that says why not and the values ``rest``."""
    try:
        session = sessions.of(request.session_hash)
        with session.lock:
            return work(session)
    except Exception as error:  # the page stays usable, whatever a file does
        return (_complaint(engine, error), *rest)


def _complaint(engine: "Engine", error: Exception) -> str:
    """The line that says why not, for the page; the same for whoever runs it."""
    said = engine.explain_error(error)
    print(f"a2m2: {said}", file=sys.stderr, flush=True)
    return view.note(said, bad=True)


def heavy() -> dict[str, Any]:
    """How events that compute are connected: one at a time, files as they are named."""
    # Files are checked by `Store.claim`, not by Gradio: it would fetch whatever address is named.
    return {**_PLAIN, "concurrency_id": _TURN, "concurrency_limit": 1}


def handlers(gr: Any, engine: "Engine", sessions: Sessions) -> Handlers:
    """The functions behind the events of a page, for all its visitors."""
    # After an error no answer is left that could be taken for the one that was asked.
    keep, hidden = gr.skip(), gr.update(value=None, visible=False)

    say_or = partial(attempt, engine, sessions)

    def answered(session: Session, clip: Any, reject: Any, truth: str = "") -> tuple[Any, ...]:
        found = session.classify(clip, reject)
        return "", view.answer(found.prediction, truth), _shown(gr, found.picture)

    def add(name: Any, clips: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            try:
                said = session.add(name, clips)
            except Exception as error:
                # The box shows what is there to be added: nothing that was read or is gone.
                left = keep if session.holds(clips) else None
                return _complaint(engine, error), keep, left, keep
            return view.note(said), "", None, count + 1

        return say_or(request, work, (keep,) * 3)

    def load(file: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        return say_or(request, lambda s: (view.note(s.load(file)), count + 1), (keep,))

    def clear(count: int, request: gr.Request) -> tuple[Any, ...]:
        return say_or(request, lambda s: (view.note(s.clear()), count + 1), (keep,))

    def offer(_: int, request: gr.Request) -> tuple[Any, ...]:
        session = sessions.still(request.session_hash)
        if session is None:
            return keep, keep
        with session.lock:
            path = session.save()
        there = path is not None
        return gr.update(value=str(path) if there else None, interactive=there), gr.update(
            interactive=there
        )

    def draw(reject: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            clip, truth, said = session.draw()
            shown = answered(session, clip, reject, truth)
            selected = gr.update(selected="one")
            return (view.note(said), count + 1, selected, str(clip), *shown)

        return say_or(request, work, (keep,) * 6)

    def draw_long_video(count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            path, said = session.draw_long_video()
            return (view.note(said), "", gr.update(visible=False), "", count + 1, str(path))

        return say_or(request, work, (keep,) * 5)

    def ask(clip: Any, reject: Any, request: gr.Request) -> tuple[Any, ...]:
        return say_or(request, lambda s: answered(s, clip, reject), ("", hidden))

    def find(clip: Any, reject: Any, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            found = session.spot(clip, reject)
            said = view.note(engine.plain(found.damage), bad=True)
            return said, view.segments(found.segments), _shown(gr, found.picture)

        return say_or(request, work, ("", hidden))

    def look(places: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            found = search(engine, session, places)
            return view.note(view.found(len(found))), count + 1, hidden

        return say_or(request, work, (keep, keep))

    def leave(request: gr.Request) -> None:
        sessions.drop(request.session_hash)

    return Handlers(add, load, clear, offer, draw, draw_long_video, ask, find, look, leave)


def connect(on: Handlers, parts: Parts) -> None:
    """Give every part of the page its events."""
    page, changed, demo, tabs = parts.page, parts.changed, parts.demo, parts.tabs
    supports, query, long_video = parts.supports, parts.query, parts.long_video
    plain, alone = _PLAIN, heavy()
    for button, source in (
        (supports.add, supports.clips),
        (supports.add_camera, supports.camera),
    ):
        given, shown = (
            [supports.name, source, changed],
            [supports.said, supports.name, source, changed],
        )
        button.click(on.add, given, shown, show_progress_on=[source], **alone)
    shown = [supports.said, changed]
    supports.load.upload(on.load, [supports.load, changed], shown, show_progress="hidden", **alone)
    supports.clear.click(on.clear, changed, shown, show_progress="hidden", **plain)

    async def stay() -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(_BREATH)
            yield

    # Gradio closes the channel of a page's answers when none is pending, and what is asked at that very
    # moment would wait for ever. One event that stays pending keeps it open.
    page.load(stay, show_progress="hidden", concurrency_limit=None, **plain)
    bank = [supports.save, supports.clear]
    changed.change(on.offer, changed, bank, show_progress="hidden", **plain)
    page.load(on.offer, changed, bank, show_progress="hidden", **plain)
    shown = [supports.said, changed, tabs, query.clip, *query.outputs]
    demo.click(on.draw, [query.reject, changed], shown, show_progress_on=[query.answer], **alone)
    pair = [query.clip, query.reject]
    quiet = {"show_progress_on": [query.answer], **alone}
    query.ask.click(on.ask, pair, query.outputs, **quiet)
    query.clip.upload(on.ask, pair, query.outputs, **quiet)
    query.clip.stop_recording(on.ask, pair, query.outputs, **quiet)
    for part, text in ((query, ANSWER), (long_video, TIMES)):
        part.clip.clear(None, None, part.outputs, js=_emptied(text))
    pair = [long_video.clip, long_video.reject]
    long_video.ask.click(
        on.find, pair, long_video.outputs, show_progress_on=[long_video.table], **alone
    )
    shown = [*long_video.outputs, supports.said, changed, long_video.clip]
    long_video.draw.click(
        on.draw_long_video, changed, shown, show_progress_on=[long_video.clip], **alone
    )
    if (archive := parts.archive) is not None:
        shown = [archive.said, archive.found, archive.player]
        archive.ask.click(
            on.search,
            [archive.count, archive.found],
            shown,
            show_progress_on=[archive.said],
            **alone,
        )

    page.unload(on.leave)


def _emptied(text: str) -> str:
    """A script that puts ``text`` in place of an answer, so that the server need not be asked."""
    hidden = {"__type__": "update", "value": None, "visible": False}
    return f"() => {json.dumps(['', text, hidden])}"


def _shown(gr: Any, picture: Path | None) -> Any:
    return gr.update(value=None if picture is None else str(picture), visible=picture is not None)
