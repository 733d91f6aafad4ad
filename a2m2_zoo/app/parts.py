"""The parts of the page: what stands where, without what happens."""

# Annotations are evaluated here, as everywhere on the page.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a2m2_zoo.app import view
from a2m2_zoo.app.archive_search import MOST
from a2m2_zoo.spotting import default_threshold

if TYPE_CHECKING:
    from a2m2_zoo.app.engine import Engine

_VIDEO = ["video"]
ANSWER = view.waiting("The answer will be here.")
TIMES = view.waiting("When each action begins and ends will be here.")


class Supports:
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


class Query:
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
                self.answer = gr.HTML(ANSWER, elem_id="answer")
        self.why = _picture(
            gr, "why", "The frames that were matched, who was seen in them, and the transport plans"
        )
        self.outputs = [self.said, self.answer, self.why]


class LongVideo:
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
                    elem_id="long-video",
                )
                self.reject = gr.Slider(
                    0,
                    1,
                    value=default_threshold(engine.model),
                    step=0.05,
                    label="Answer “unknown” when less sure than",
                    elem_id="long-video-reject",
                )
                with gr.Row():
                    self.draw = gr.Button("Drawn video", min_width=110)
                    self.ask = gr.Button(
                        "Find the actions", variant="primary", min_width=110, elem_id="spot"
                    )
            with gr.Column(scale=1, min_width=260):
                self.said = gr.HTML(elem_id="long-video-said")
                self.table = gr.HTML(TIMES, elem_id="segments")
        self.timeline = _picture(
            gr, "timeline", "Frames, segments, and the probability of every class over time"
        )
        self.outputs = [self.said, self.table, self.timeline]


class ArchiveTab:
    """Where the classes are looked for in the videos of an archive."""

    def __init__(self, gr: Any, windows: int) -> None:
        gr.HTML(view.heading("2. Where does it happen?", f"in {windows:,} windows of the archive"))
        with gr.Row(equal_height=False):
            self.count = gr.Slider(1, MOST, value=8, step=1, label="Places of each class")
            self.ask = gr.Button(
                "Search the archive", variant="primary", min_width=160, elem_id="archive-ask"
            )
        self.said = gr.HTML(elem_id="archive-said")
        self.player = gr.Video(
            label="The place",
            interactive=False,
            visible=False,
            autoplay=True,
            height=280,
            include_audio=False,
            elem_id="archive-player",
        )
        self.found = gr.State(0)  # grows with every answer


def _picture(gr: Any, name: str, alt_text: str) -> Any:
    """A picture that comes with an answer, to be seen large and to be saved."""
    return gr.Image(
        show_label=False,
        alt_text=alt_text,
        type="filepath",
        format="png",
        interactive=False,
        visible=False,
        buttons=["download", "fullscreen"],
        elem_id=name,
        elem_classes="a-picture",
    )


@dataclass(frozen=True)
class Parts:
    """All of a page that events read or change.

    Attributes:
        page: The ``gradio.Blocks``.
        changed: A count that grows with every change of the classes.
        demo: The button that draws clips.
        supports: Where classes are made.
        tabs: "One clip" and "Longer video".
        query: Where one clip is asked about.
        long_video: Where a longer video is searched.
        archive: Where an archive is searched; None without one.
    """

    page: Any
    changed: Any
    demo: Any
    supports: Supports
    tabs: Any
    query: Query
    long_video: LongVideo
    archive: ArchiveTab | None
