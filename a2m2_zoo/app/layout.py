"""The page in Gradio: every event is a few lines over ``Session``."""

# Annotations are evaluated here: Gradio hands a request to the arguments that are annotated with it.

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo.app import view
from a2m2_zoo.app.session import Session, Sessions, explain_error
from a2m2_zoo.errors import DependencyError
from a2m2_zoo.spotting import default_threshold

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine

#: Everything that computes shares this, so that it is one at a time.
_TURN = "compute"
_BREATH = 5.0  # seconds after which an event that stays looks whether its page is still there
_VIDEO = ["video"]
_ANSWER = view.waiting("The answer will be here.")
_TIMES = view.waiting("When each action begins and ends will be here.")
#: What to do without Gradio.
MISSING = 'the page needs gradio, which is not installed: run `pip install "a2m2_zoo[app]"`'


def gradio(files: Path) -> Any:
    """Gradio, told to keep its files in ``files`` and to tell nobody anything.

    Raises:
        DependencyError: It is not installed.
    """
    quiet = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(files),
        "GRADIO_EXAMPLES_CACHE": str(files),
        "GRADIO_RUN_HISTORY": "False",
        "GRADIO_SSR_MODE": "False",
        "GRADIO_MCP_SERVER": "False",
    }
    os.environ.update(quiet)
    try:
        gr = import_module("gradio")
    except ImportError as error:
        raise DependencyError(MISSING) from error
    return gr


def theme(gr: Any) -> Any:
    """Plain colours and the fonts that the visitor's computer has."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="sm",
        spacing_size="sm",
        font=sans,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )


def build(gr: Any, engine: "Engine", sessions: Sessions) -> Any:
    """The page.

    Args:
        gr: Gradio, see ``gradio``.
        engine: What computes.
        sessions: The visitors.

    Returns:
        A ``gradio.Blocks``, not yet served.
    """
    with gr.Blocks(title="a2m2: name an action", analytics_enabled=False) as page:
        changed = gr.State(0)
        with gr.Row(equal_height=False, elem_classes="a-top"):
            gr.HTML(view.top(engine.model.id))
            demo = gr.Button("Try it with drawn clips", scale=0, min_width=240, size="md")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=360):
                supports = _Supports(gr)
                _class_list(gr, sessions, changed)
                supports.files()
            with gr.Column(scale=7, min_width=420), gr.Tabs() as tabs:
                with gr.Tab("One clip", id="one"):
                    query = _Query(gr)
                with gr.Tab("Longer video", id="film"):
                    film = _Film(gr, engine)
        _connect(gr, engine, sessions, page, changed, demo, supports, tabs, query, film)
    page.queue(default_concurrency_limit=1, max_size=engine.limits.waiting)
    return page


class _Supports:
    """Where classes are made."""

    def __init__(self, gr: Any) -> None:
        self._gr = gr
        gr.HTML(view.heading("1. Classes", "two or more, a clip or a few each"))
        self.name = gr.Textbox(
            label="Class name", placeholder="wave", max_lines=1, max_length=60, elem_id="class-name"
        )
        with gr.Tabs():
            with gr.Tab("Drop clips"):
                self.clips = gr.File(
                    label="Clips of this class",
                    file_count="multiple",
                    file_types=_VIDEO,
                    height=120,
                    elem_id="class-clips",
                )
                self.add = gr.Button("Add to class", variant="primary", elem_id="class-add")
            with gr.Tab("Record"):
                self.camera = gr.Video(
                    label="One clip from the camera",
                    sources=["webcam"],
                    include_audio=False,
                    height=220,
                    elem_id="class-camera",
                )
                self.add_camera = gr.Button("Add recording to class", variant="primary")
        self.said = gr.HTML(elem_id="class-said")

    def files(self) -> None:
        """The row about bank files, below the list."""
        gr = self._gr
        with gr.Row():
            self.save = gr.DownloadButton(
                "Save bank", interactive=False, size="sm", min_width=90, elem_id="bank-save"
            )
            self.load = gr.UploadButton(
                "Load bank",
                file_types=[".safetensors"],
                size="sm",
                min_width=90,
                elem_id="bank-load",
            )
            self.clear = gr.Button("Remove all", interactive=False, size="sm", min_width=90)


class _Query:
    """Where one clip is asked about."""

    def __init__(self, gr: Any) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=260):
                gr.HTML(view.heading("2. Which action is it?"))
                self.clip = gr.Video(
                    label="Clip",
                    sources=["upload", "webcam"],
                    include_audio=False,
                    height=280,
                    elem_id="query",
                )
                self.reject = gr.Slider(
                    0, 1, value=0, step=0.05, label="Answer “unknown” when less sure than"
                )
                self.ask = gr.Button("Name the action", variant="primary", elem_id="ask")
            with gr.Column(scale=1, min_width=260):
                self.said = gr.HTML(elem_id="query-said")
                self.answer = gr.HTML(_ANSWER, elem_id="answer")
        self.why = gr.Image(
            show_label=False,
            alt_text="The frames that were matched, and the transport plans",
            type="filepath",
            format="png",
            interactive=False,
            visible=False,
            buttons=["download", "fullscreen"],
            elem_id="why",
            elem_classes="a-picture",
        )
        self.outputs = [self.said, self.answer, self.why]


class _Film:
    """Where a longer video is searched."""

    def __init__(self, gr: Any, engine: "Engine") -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=260):
                gr.HTML(view.heading("2. When does it happen?"))
                self.clip = gr.Video(
                    label="Video",
                    sources=["upload"],
                    include_audio=False,
                    height=280,
                    elem_id="film",
                )
                self.reject = gr.Slider(
                    0,
                    1,
                    value=default_threshold(engine.model),
                    step=0.05,
                    label="Answer “unknown” when less sure than",
                    elem_id="film-reject",
                )
                with gr.Row():
                    self.draw = gr.Button("Drawn video", min_width=110)
                    self.ask = gr.Button(
                        "Find the actions", variant="primary", min_width=110, elem_id="spot"
                    )
            with gr.Column(scale=1, min_width=260):
                self.said = gr.HTML(elem_id="film-said")
                self.table = gr.HTML(_TIMES, elem_id="segments")
        self.timeline = gr.Image(
            show_label=False,
            alt_text="Frames, segments, and the probability of every class over time",
            type="filepath",
            format="png",
            interactive=False,
            visible=False,
            buttons=["download", "fullscreen"],
            elem_id="timeline",
            elem_classes="a-picture",
        )
        self.outputs = [self.said, self.table, self.timeline]


def _class_list(gr: Any, sessions: Sessions, changed: Any) -> None:
    """The classes that are there, each with a button that removes it."""

    @gr.render(inputs=[changed], show_progress="hidden")  # type: ignore[untyped-decorator]
    def show(_: int, request: gr.Request) -> None:
        bank = sessions.of(request.session_hash).bank
        if bank is None:
            gr.HTML(view.no_class())
            return
        for label, name in enumerate(bank.class_names):
            with gr.Row(elem_classes="a-row"):
                gr.HTML(view.class_row(bank, label))
                button = gr.Button("Remove", size="sm", scale=0, min_width=80)

            def remove(count: int, request: gr.Request, name: str = name) -> int:
                session = sessions.of(request.session_hash)
                if session.bank is not None and name in session.bank.class_names:
                    session.remove(name)
                return count + 1

            button.click(remove, changed, changed, show_progress="hidden", api_visibility="private")


def _connect(
    gr: Any,
    engine: "Engine",
    sessions: Sessions,
    page: Any,
    changed: Any,
    demo: Any,
    supports: _Supports,
    tabs: Any,
    query: _Query,
    film: _Film,
) -> None:
    # Files are checked by `Store.claim`, not by Gradio: it would fetch whatever address is named.
    plain = {"preprocess": False, "api_visibility": "private"}
    heavy = {**plain, "concurrency_id": _TURN, "concurrency_limit": 1}
    # After an error no answer is left that could be taken for the one that was asked.
    keep, hidden = gr.skip(), gr.update(value=None, visible=False)

    def attempt(
        request: Any, work: Callable[[Session], tuple[Any, ...]], rest: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """The values that ``work`` gives, or a line that says why not and the values ``rest``."""
        try:
            session = sessions.of(request.session_hash)
            with session.lock:
                return work(session)
        except Exception as error:  # the page stays usable, whatever a file does
            said = explain_error(engine, error)
            print(f"a2m2: {said}", file=sys.stderr, flush=True)
            return (view.note(said, bad=True), *rest)

    def answered(session: Session, clip: Any, reject: Any, truth: str = "") -> tuple[Any, ...]:
        found = session.classify(clip, reject)
        return "", view.answer(found.prediction, truth), _shown(gr, found.picture)

    def add(name: Any, clips: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            return view.note(session.add(name, clips)), "", None, count + 1

        return attempt(request, work, (keep,) * 3)

    def load(file: Any, count: int, request: gr.Request) -> tuple[Any, ...]:
        return attempt(request, lambda s: (view.note(s.load(file)), count + 1), (keep,))

    def clear(count: int, request: gr.Request) -> tuple[Any, ...]:
        return attempt(request, lambda s: (view.note(s.clear()), count + 1), (keep,))

    def offer(_: int, request: gr.Request) -> tuple[Any, ...]:
        session = sessions.of(request.session_hash)
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

        return attempt(request, work, (keep,) * 6)

    def draw_film(count: int, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            path, said = session.draw_film()
            return (view.note(said), "", gr.update(visible=False), "", count + 1, str(path))

        return attempt(request, work, (keep,) * 5)

    def ask(clip: Any, reject: Any, request: gr.Request) -> tuple[Any, ...]:
        return attempt(request, lambda s: answered(s, clip, reject), ("", hidden))

    def find(clip: Any, reject: Any, request: gr.Request) -> tuple[Any, ...]:
        def work(session: Session) -> tuple[Any, ...]:
            found = session.spot(clip, reject)
            said = view.note(engine.plain(found.damage), bad=True)
            return said, view.segments(found.segments), _shown(gr, found.picture)

        return attempt(request, work, ("", hidden))

    for button, source in (
        (supports.add, supports.clips),
        (supports.add_camera, supports.camera),
    ):
        given, shown = (
            [supports.name, source, changed],
            [supports.said, supports.name, source, changed],
        )
        button.click(add, given, shown, show_progress_on=[source], **heavy)
    shown = [supports.said, changed]
    supports.load.upload(load, [supports.load, changed], shown, show_progress="hidden", **heavy)
    supports.clear.click(clear, changed, shown, show_progress="hidden", **plain)

    async def stay() -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(_BREATH)
            yield

    # Gradio closes the channel of a page's answers when none is pending, and what is asked at that very
    # moment would wait for ever. One event that stays pending keeps it open.
    page.load(stay, show_progress="hidden", concurrency_limit=None, **plain)
    bank = [supports.save, supports.clear]
    changed.change(offer, changed, bank, show_progress="hidden", **plain)
    page.load(offer, changed, bank, show_progress="hidden", **plain)
    shown = [supports.said, changed, tabs, query.clip, *query.outputs]
    demo.click(draw, [query.reject, changed], shown, show_progress_on=[query.answer], **heavy)
    pair = [query.clip, query.reject]
    quiet = {"show_progress_on": [query.answer], **heavy}
    query.ask.click(ask, pair, query.outputs, **quiet)
    query.clip.upload(ask, pair, query.outputs, **quiet)
    query.clip.stop_recording(ask, pair, query.outputs, **quiet)
    for part, text in ((query, _ANSWER), (film, _TIMES)):
        part.clip.clear(None, None, part.outputs, js=_emptied(text))
    pair = [film.clip, film.reject]
    film.ask.click(find, pair, film.outputs, show_progress_on=[film.table], **heavy)
    shown = [*film.outputs, supports.said, changed, film.clip]
    film.draw.click(draw_film, changed, shown, show_progress_on=[film.clip], **heavy)

    def leave(request: gr.Request) -> None:
        sessions.drop(request.session_hash)

    page.unload(leave)


def _emptied(text: str) -> str:
    """A script that puts ``text`` in place of an answer, so that the server need not be asked."""
    hidden = {"__type__": "update", "value": None, "visible": False}
    return f"() => {json.dumps(['', text, hidden])}"


def _shown(gr: Any, picture: Path | None) -> Any:
    return gr.update(value=None if picture is None else str(picture), visible=picture is not None)
