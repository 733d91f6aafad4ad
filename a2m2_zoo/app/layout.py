"""The page in Gradio: its parts put together."""

# Annotations are evaluated here: Gradio hands a request to the arguments that are annotated with it.

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo.app import view
from a2m2_zoo.app.archive_search import play
from a2m2_zoo.app.events import attempt, connect, handlers, heavy
from a2m2_zoo.app.parts import ArchiveTab, LongVideo, Parts, Query, Supports
from a2m2_zoo.app.visits import Sessions
from a2m2_zoo.errors import DependencyError

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine

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
                supports = Supports(gr)
                _class_list(gr, sessions, changed)
                supports.files()
            with gr.Column(scale=7, min_width=420), gr.Tabs() as tabs:
                with gr.Tab("One clip", id="one"):
                    query = Query(gr)
                with gr.Tab("Longer video", id="long-video"):
                    long_video = LongVideo(gr, engine)
                archive = None
                if engine.archive is not None:
                    with gr.Tab("Archive", id="archive"):
                        archive = ArchiveTab(gr, len(engine.archive))
                        _places(gr, engine, sessions, archive)
        parts = Parts(page, changed, demo, supports, tabs, query, long_video, archive)
        connect(handlers(gr, engine, sessions), parts)
    page.queue(default_concurrency_limit=1, max_size=engine.limits.waiting)
    return page


def _class_list(gr: Any, sessions: Sessions, changed: Any) -> None:
    """The classes that are there, each with a button that removes it."""

    @gr.render(inputs=[changed], show_progress="hidden")  # type: ignore[untyped-decorator]
    def show(_: int, request: gr.Request) -> None:
        session = sessions.still(request.session_hash)
        if session is None or (bank := session.bank) is None:
            gr.HTML(view.no_class())
            return
        for label, name in enumerate(bank.class_names):
            with gr.Row(elem_classes="a-row"):
                gr.HTML(view.class_row(bank, label))
                button = gr.Button("Remove", size="sm", scale=0, min_width=80)

            def remove(count: int, request: gr.Request, name: str = name) -> int:
                session = sessions.still(request.session_hash)
                if (
                    session is not None
                    and session.bank is not None
                    and name in session.bank.class_names
                ):
                    session.remove(name)
                return count + 1

            button.click(remove, changed, changed, show_progress="hidden", api_visibility="private")


def _places(gr: Any, engine: "Engine", sessions: Sessions, archive: ArchiveTab) -> None:
    """What was found, each place with a button that plays it."""

    @gr.render(inputs=[archive.found], show_progress="hidden")  # type: ignore[untyped-decorator]
    def show(count: int, request: gr.Request) -> None:
        session = sessions.still(request.session_hash)
        hits = session.hits if session is not None else ()
        if not hits:
            gr.HTML(
                view.waiting("What was found will be here." if not count else "Nothing was found.")
            )
            return
        for rank, hit in enumerate(hits):
            with gr.Row(elem_classes="a-row"):
                gr.HTML(view.place(rank + 1, hit))
                button = gr.Button("Play", size="sm", scale=0, min_width=80)

            def shown(request: gr.Request, rank: int = rank) -> tuple[Any, ...]:
                return attempt(
                    engine,
                    sessions,
                    request,
                    lambda s: ("", gr.update(value=str(play(engine, s, rank)), visible=True)),
                    (gr.update(value=None, visible=False),),
                )

            button.click(
                shown,
                None,
                [archive.said, archive.player],
                show_progress_on=[archive.player],
                **heavy(),
            )
