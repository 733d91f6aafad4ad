"""`a2m2 spot`: find when actions happen in a long video."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo._utils.words import counted, tenths
from a2m2_zoo.cli import FAILED, options, output, signals
from a2m2_zoo.cli.classify import read_supports
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import A2M2Error, SaveError, VideoError

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.spotting import Segment, Window
    from a2m2_zoo.video import Limits


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How windows are laid and judged."""

    window: Annotated[
        list[float] | None,
        typer.Option(
            "--window",
            min=0.25,
            max=120,
            help="Length of the windows in seconds; give it again for several lengths.",
            show_default="lengths that suit the supports",
        ),
    ] = None
    stride: Annotated[
        float,
        typer.Option(
            "--stride",
            min=0.01,
            max=120,
            help="Seconds from one window to the next, at most the shortest window.",
        ),
    ] = 0.5
    reject_below: Annotated[
        float | None,
        typer.Option(
            "--reject-below",
            min=0,
            max=1,
            help="Less likely right than this: say unknown.",
            show_default="0.05; 0.35 with models that do not tell known from unknown",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Segments(options.Answers):
    """How segments are written, and what else is made of them."""

    srt: Annotated[bool, typer.Option("--srt", help="Write subtitles to stdout.")] = False
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw scores, segments and frames over time.")
    ] = None
    cut: Annotated[
        Path | None, typer.Option("--cut", help="Write every segment as a clip into this folder.")
    ] = None

    @property
    def form(self) -> options.Form:
        """The form that the switches ask for; subtitles are beside it."""
        if self.json + self.csv + self.srt > 1:
            raise typer.BadParameter("--json, --csv and --srt exclude each other")
        return super().form


@grouped
def spot(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO", help="A video of any length, its address, or that of a stream."
        ),
    ],
    supports: options.SupportsOption,
    *,
    model: options.BankModelOption = None,
    windows: Windows,
    pose: options.PoseOption = True,
    machine: options.Machine,
    workers: options.WorkersOption = None,
    answers: Segments,
    reconnect: options.ReconnectOption = 30.0,
    max_megapixels: options.MegapixelsOption = 16.0,
) -> None:
    """Find when the actions of the supports happen in a video.

    Exit code 0: read to its end; 1: unreadable or damaged; 2: the call is wrong; 130: Ctrl-C.

    What was found before an end that came early is given.
    """
    form, plot, cut = answers.form, answers.plot, answers.cut
    from a2m2_zoo.video import Limits

    limits = Limits(megapixels=max_megapixels)
    streamed, closed = _looked_at(video, limits)
    if streamed and (plot is not None or cut is not None):
        raise typer.BadParameter(
            "--plot and --cut read the video again, and a stream is read once; record it, or leave them out"
        )
    if plot is not None:
        from a2m2_zoo.report.picture import check_ready

        check_ready(plot)
    if cut is not None:
        _make_folder(cut)
    if closed is not None:
        output.complain(closed)
        if form is not options.Form.TABLE:
            show(video, [], None, form, error=closed)
        raise typer.Exit(FAILED)
    recogniser = options.open_model_for(model, supports, machine, pose=pose)
    from a2m2_zoo.spotting import iter_spot

    bank, broken = read_supports(supports, recogniser, workers=workers, limits=limits)
    found: list[Segment] = []
    scored: list[Window] = []
    stopped: A2M2Error | str | None = None
    with output.progress("spotting", None) as bar:
        segments = iter_spot(
            video,
            bank,
            model=recogniser,
            patience=reconnect,
            **asdict(windows),
            limits=limits,
            on_windows=scored.extend if plot is not None else None,
            on_progress=lambda at, length: bar.update(
                bar.task_ids[0], completed=int(at), total=length and round(length)
            ),
        )
        try:
            for segment in segments:
                found.append(segment)  # noqa: PERF402  # kept when the loop breaks off
        except KeyboardInterrupt:
            stopped = f"interrupted; {len(found)} segment(s) were found before"
        except VideoError as error:
            stopped = error
    if answers.srt:
        output.put(subtitles(found))
    else:
        show(video, found, recogniser, form, error=stopped)
    if stopped is not None:
        output.complain(stopped)
    if plot is not None and scored:
        _draw(plot, video, found, scored, bank.class_names, limits)
    if cut is not None:
        from a2m2_zoo.spotting.cutting import cut_segments

        written: set[str] = set()
        try:
            with output.progress("cutting", sum(s.known for s in found)) as bar:
                for clip in cut_segments(video, found, cut, limits=limits):
                    written.add(clip.name)
                    bar.advance(bar.task_ids[0])
        finally:  # also where Ctrl-C came between
            output.wrote(cut, counted(len(written), "clip"))
        if older := sum(clip.name not in written for clip in cut.glob("*.mp4")):
            output.complain(
                f"{str(cut)!r} held {counted(older, 'more clip')} before, of other runs"
            )
    if isinstance(stopped, str):
        raise typer.Exit(signals.exit_code())
    if stopped is not None or broken:
        raise typer.Exit(FAILED)


def show(
    video: str,
    segments: list[Segment],
    model: Model | None,
    form: options.Form,
    *,
    error: object = None,
) -> None:
    """Write the segments to stdout, and in JSON and CSV why there are no more."""
    rows = [segment.to_dict() for segment in segments]
    failure = {} if error is None else {"error": str(error)}
    if form is options.Form.JSON:
        given = {} if model is None else {"model": model.id}
        output.write_json({"video": str(video), **given, "segments": rows, **failure})
    elif form is options.Form.CSV:
        names = ("start", "end", "label", "probability", "known")
        output.write_csv([*rows, *([failure] if failure else [])], names)
    else:
        made = output.table(
            "start", "end", "action", "probability", right=("start", "end", "probability")
        )
        for segment in segments:
            name = (
                f"[bold]{output.escape(segment.label)}[/]" if segment.known else "[dim]unknown[/]"
            )
            score = f"{segment.probability:.2f}" if segment.known else ""
            made.add_row(clock(segment.start), clock(segment.end), name, score)
        output.stdout().print(made)


def clock(seconds: float) -> str:
    """A time for people.

    >>> clock(75.26), clock(3723.0), clock(3.7499999), clock(3.7500001)
    ('1:15.3', '1:02:03.0', '0:03.8', '0:03.8')
    """
    minutes, rest_tenths = divmod(tenths(seconds), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{rest_tenths / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def subtitles(segments: list[Segment]) -> str:
    """The known segments as SubRip subtitles."""
    blocks = []
    for number, segment in enumerate((s for s in segments if s.known), start=1):
        times = " --> ".join(stamp(at) for at in (segment.start, segment.end))
        label = printable(" ".join(segment.label.split())).replace("-->", "->")
        blocks.append(f"{number}\n{times}\n{label} ({segment.probability:.2f})\n\n")
    return "".join(blocks)


def stamp(seconds: float) -> str:
    """A time as subtitles have it."""
    thousandths = round(1000 * seconds)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, part = divmod(thousandths, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d},{part:03d}"


def _looked_at(video: str, limits: Limits) -> tuple[bool, VideoError | None]:
    """Whether it is a stream, and why a video cannot be opened: known before a model is loaded."""
    from a2m2_zoo.spotting.network import is_stream
    from a2m2_zoo.spotting.sources import open_video_file

    try:
        if is_stream(video):
            return True, None
        open_video_file(video, limits).close()
    except VideoError as error:
        return False, error
    return False, None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"cannot make the folder {str(folder)!r}: {error.strerror}; name another with --cut"
        ) from error


def _draw(
    plot: Path,
    video: str,
    segments: list[Segment],
    windows: list[Window],
    names: tuple[str, ...],
    limits: Limits,
) -> None:
    from a2m2_zoo.report.timeline import draw_timeline, frames_of

    draw_timeline(
        segments,
        windows,
        names,
        plot,
        title=place(video).name,
        strip=frames_of(video, megapixels=limits.megapixels),
    )
    output.wrote(plot, "picture")
