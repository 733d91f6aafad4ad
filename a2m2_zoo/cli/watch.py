"""`a2m2 watch`: name actions in a live stream as they happen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo.cli import FAILED, INTERRUPTED, options, output, signals
from a2m2_zoo.cli.classify import read_supports
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.cli.spot import Windows, clock
from a2m2_zoo.errors import VideoError

if TYPE_CHECKING:
    from a2m2_zoo.spotting import Segment, Window

_LATE = 3.0  # seconds behind the stream from which on it is said; the first windows take longer than others


@grouped
def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A camera's index or name, a named pipe, a video file, or an address: rtsp://, udp://, "
            "http(s)://, s3:// ...",
        ),
    ],
    supports: options.SupportsOption,
    *,
    model: options.BankModelOption = None,
    windows: Windows,
    pose: options.PoseOption = True,
    machine: options.Machine,
    workers: options.WorkersOption = None,
    reconnect: options.ReconnectOption = 30.0,
    json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a line to stdout.")
    ] = False,
    max_megapixels: options.MegapixelsOption = 16.0,
) -> None:
    """Name actions in a live stream as they happen; a file is played in real time. Ctrl-C ends it.

    Exit code 0: the stream ended, or Ctrl-C; 1: it broke off; 2: the call is wrong; 143: SIGTERM.
    """
    from a2m2_zoo.video import Limits

    limits = Limits(megapixels=max_megapixels)
    recogniser = options.open_model_for(model, supports, machine, pose=pose)
    from a2m2_zoo.spotting import Stream
    from a2m2_zoo.spotting.sources import Lag, open_live, paced

    bank, broken = read_supports(supports, recogniser, workers=workers, limits=limits)
    with output.stderr.status("waiting for the first frames") as line:

        def live(scored: Sequence[Window]) -> None:
            best = max(scored, key=lambda w: float(w.chances.max()))
            name = output.escape(bank.class_names[int(best.chances.argmax())])
            line.update(f"{clock(best.end)}  {name} {best.chances.max():.2f}")

        stream = Stream(recogniser, bank, **asdict(windows), limits=limits, on_windows=live)
        stopped: VideoError | None = None
        ended, lag, late = 0, Lag(), False
        try:
            opened, own_pace = open_live(source, limits, patience=reconnect)
            for frame, at in opened if own_pace else paced(opened):
                begun = monotonic()
                _print(stream.push(frame, at), json=json)
                if lag.add(monotonic() - begun, at) > _LATE and not late:
                    late = True
                    output.complain(
                        "this machine is slower than the stream, answers come late: take longer windows "
                        f"(--window){' or --no-pose' if pose else ''}"
                    )
                if output.lost():
                    break
        except KeyboardInterrupt:
            ended = signals.exit_code()
        except VideoError as error:
            stopped = error
        _print(stream.close(), json=json)
    if stopped is not None:
        output.complain(stopped)
    if ended not in (0, INTERRUPTED):  # Ctrl-C is how a person ends it
        raise typer.Exit(ended)
    if stopped is not None or broken:
        raise typer.Exit(FAILED)


def _print(segments: Iterable[Segment], *, json: bool) -> None:
    for segment in segments:
        if json:
            output.write_json(segment.to_dict(), indent=None)
            continue
        name = f"[bold]{output.escape(segment.label)}[/] {segment.probability:.2f}"
        text = name if segment.known else "[dim]unknown[/]"
        span = f"{clock(segment.start):>9} - {clock(segment.end):>9}"
        output.stdout().print(f"{span}  {text}", highlight=False)
