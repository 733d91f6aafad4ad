"""One picture of a video over time: frames, what was found, and the score of every class.

Along the top a strip of frames, below it the segments with their names, below those a band for each class
whose height is the class's probability at that moment, the mean over the windows that hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.report.picture import (
    DARK,
    LIGHT,
    Look,
    check_ready,
    fitting,
    matplotlib_pyplot,
    save_figure,
)
from a2m2_zoo.spotting.windows import together, weighed
from a2m2_zoo.video import Limits, Preprocess, read_clip
from a2m2_zoo.video.gaps import GAP

if TYPE_CHECKING:
    import numpy.typing as npt

    from a2m2_zoo.spotting import Segment, Window
    from a2m2_zoo.video import Clip

# Okabe and Ito (2008): told apart with every common kind of colour vision. Rows carry the names as well.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a5195", "#6b6b6b")
_MOST_ROWS, _STRIP, _POINTS, _NAME = 16, 14, 2000, 26


def frames_of(video: str | Path, *, megapixels: float = 16.0) -> Clip | None:
    """Small frames of a video for the strip, evenly spread; None where they cannot be read."""
    spec = Preprocess(frames=_STRIP, resize=96, size=96, interpolation="area")
    limits = Limits(megapixels=megapixels, frames=10**8, seconds=600.0)
    try:
        return read_clip(video, spec, limits=limits)
    except VideoError:
        return None


def draw_timeline(
    segments: Sequence[Segment],
    windows: Sequence[Window],
    class_names: Sequence[str],
    path: Path,
    *,
    title: str = "",
    strip: Clip | None = None,
    dark: bool = False,
) -> Path:
    """Draw what was spotted in a video and write the picture.

    Args:
        segments: What was found.
        windows: What was scored, as ``on_windows`` gave it; at least one.
        class_names: The classes, in the order of the windows' probabilities.
        path: File to write; its suffix names the format.
        title: Name of the video.
        strip: Frames of it, see ``frames_of``.
        dark: Light words on dark paper, for a dark page.

    Raises:
        ArgumentError: There is no window, or the picture's format is unknown.
        DependencyError: matplotlib is not installed.
        SaveError: The picture could not be written.
    """
    if not windows:
        raise ArgumentError("there is no window to draw; the video has no frame")
    check_ready(path)
    plot, look = matplotlib_pyplot(), DARK if dark else LIGHT
    times, scores = score_curves(windows)
    shown = _rows(segments, scores, class_names)
    heights = [1.05, 0.62, 0.52 * len(shown)]
    total = sum(heights) + 1.35
    figure = plot.figure(figsize=(13.6, total), dpi=110, facecolor=look.paper)
    longest = max(len(fitting(class_names[label], _NAME)) for label in shown)
    left = 0.02 + min(0.0066 * longest + 0.012, 0.19)
    grid = figure.add_gridspec(
        3, 1, height_ratios=heights, left=left, right=0.98, top=1 - 0.62 / total,
        bottom=0.55 / total, hspace=0.09,
    )  # fmt: skip
    span = (
        0.0,
        max(float(times[-1]), 0.1),
    )  # seconds: from the beginning, also where nothing was scored there
    colours = {label: _COLOURS[row % len(_COLOURS)] for row, label in enumerate(shown)}
    by_name = {class_names[label]: colours[label] for label in shown}
    known = [segment for segment in segments if segment.known]
    _headline(figure, title, known, len(class_names) - len(shown), total, look)
    _strip(figure.add_subplot(grid[0]), strip, covered([*windows, *segments]), span)
    _segments(figure.add_subplot(grid[1]), segments, by_name, span, look)
    bands = figure.add_subplot(grid[2])
    _bands(bands, times, scores, known, shown, class_names, colours, span, look)
    return save_figure(figure, path)


def score_curves(
    windows: Sequence[Window], *, points: int = _POINTS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Probability of every class over time, of the windows that hold a moment together, as for segments.

    That is the root of the mean of their squares, see ``a2m2_zoo.spotting``.

    Args:
        windows: What was scored, at least one.
        points: Moments at most.

    Returns:
        Times in seconds (t,), and probabilities (t, w); where no window lies, zero.
    """
    starts, ends = (np.array([getattr(w, side) for w in windows]) for side in ("start", "end"))
    chances = np.stack([w.chances for w in windows])
    low, high = float(starts.min()), float(ends.max())
    count = int(np.clip(math.ceil((high - low) / 0.05), 2, points))
    times = np.linspace(low, high, count)
    # Each window adds itself where it starts and takes itself away behind its end.
    first, behind = (np.searchsorted(times, at, "left") for at in (starts, ends + 1e-9))
    sums = np.zeros((count + 1, chances.shape[1] + 1))
    said = weighed(chances)
    np.add.at(sums, first, said)
    np.subtract.at(sums, behind, said)
    sums = sums[:-1].cumsum(0).clip(0)
    held = sums[:, -1:].round()
    sums[:, -1:] = np.maximum(held, 1)
    return times, np.where(held > 0, together(sums), 0.0).clip(0, 1)


def _rows(
    segments: Sequence[Segment], scores: npt.NDArray[np.float64], names: Sequence[str]
) -> list[int]:
    """The classes that are drawn, in the bank's order: those found first, then those that come nearest."""
    found = {segment.label for segment in segments if segment.known}
    order = sorted(range(len(names)), key=lambda k: (names[k] not in found, -scores[:, k].max()))
    return sorted(order[:_MOST_ROWS])


def _headline(
    figure: Any, title: str, known: Sequence[Segment], hidden: int, total: float, look: Look
) -> None:
    at = 1 - 0.33 / total
    found = ", ".join(dict.fromkeys(segment.label for segment in known)) or "no action found"
    words = fitting(f"{fitting(title, 60)}: {found}" if title else found, 90)
    figure.text(0.02, at, words, fontsize=15, color=look.ink, weight="bold", va="center")
    notes = [f"{len(known)} segment{'' if len(known) == 1 else 's'}", "bands: probability, 0 to 1"]
    if hidden:
        notes.insert(1, f"{hidden} more classes not drawn")
    note = "   ·   ".join(notes)
    figure.text(0.98, at, note, fontsize=11, color=look.soft, ha="right", va="center")


def covered(parts: Sequence[Window | Segment]) -> list[tuple[float, float]]:
    """From when to when there were frames, in seconds: more than one where there were breaks."""
    found: list[tuple[float, float]] = []
    for start, end in sorted((part.start, part.end) for part in parts):
        if found and start - found[-1][1] <= GAP:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _strip(
    axes: Any, clip: Clip | None, parts: Sequence[tuple[float, float]], span: tuple[float, float]
) -> None:
    """Frames that are spread evenly over all parts, each where it was shown."""
    _bare(axes, span)
    axes.set_ylim(0, 1)
    if clip is None or not clip.times:
        return
    width = sum(end - start for start, end in parts) / len(clip.frames)
    for k, frame in enumerate(clip.frames):
        left, end = _shown_at(k * width, parts)
        wide = min(width, end - left)
        axes.imshow(
            _filling(frame, axes, wide, span),
            extent=(left + 0.015 * width, left + wide - 0.015 * width, 0, 1),
            aspect="auto",
            interpolation="antialiased",
        )
    axes.set_xlim(*span)


def _shown_at(offset: float, parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """When so many seconds had been shown, breaks not counted, and the end of the part that lies in."""
    for start, end in parts:
        if offset < end - start - 1e-6:
            return start + offset, end
        offset -= end - start
    return parts[-1]


def _filling(
    frame: npt.NDArray[np.uint8], axes: Any, width: float, span: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """The middle of a frame, of the shape of its place, so that nothing is stretched."""
    box = axes.get_position()
    size = axes.figure.get_size_inches()
    ratio = (width / (span[1] - span[0]) * box.width * size[0]) / (box.height * size[1])
    height, across = frame.shape[:2]
    if ratio < 1:
        keep = max(1, round(across * ratio))
        start = (across - keep) // 2
        return frame[:, start : start + keep]
    keep = max(1, round(height / ratio))
    start = (height - keep) // 2
    return frame[start : start + keep]


def _segments(
    axes: Any,
    segments: Sequence[Segment],
    colours: dict[str, str],
    span: tuple[float, float],
    look: Look,
) -> None:
    _bare(axes, span)
    axes.set_ylim(0, 1)
    per_inch = (span[1] - span[0]) / (axes.get_position().width * axes.figure.get_size_inches()[0])
    for segment in segments:
        length = segment.end - segment.start
        colour = colours.get(segment.label, look.soft) if segment.known else look.rest
        axes.broken_barh(
            [(segment.start, max(length, 0.03 * per_inch))],  # seen also in hours
            (0.12, 0.76) if segment.known else (0.44, 0.12),
            facecolor=colour,
            edgecolor=look.paper,
            linewidth=1.2 if length > 0.1 * per_inch else 0,
        )
        room = int(length / per_inch / 0.1)  # letters of this size that fit
        if segment.known and room >= 3:
            axes.text(
                segment.start + length / 2, 0.49, fitting(segment.label, room), fontsize=9.5,
                color="white", weight="bold", ha="center", va="center", clip_on=True,
            )  # fmt: skip


def _bands(
    axes: Any,
    times: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    known: Sequence[Segment],
    shown: Sequence[int],
    names: Sequence[str],
    colours: dict[int, str],
    span: tuple[float, float],
    look: Look,
) -> None:
    from matplotlib.ticker import AutoMinorLocator

    axes.set_facecolor(look.paper)
    axes.set_xlim(*span)
    axes.set_ylim(len(shown) - 0.06, 0)
    for row, label in enumerate(shown):
        base = row + 0.94
        axes.axhline(base, color=look.grid, linewidth=1, zorder=1)
        for segment in known:
            if segment.label == names[label]:
                axes.broken_barh(
                    [(segment.start, segment.end - segment.start)], (row + 0.06, 0.88),
                    facecolor=colours[label], alpha=0.16, linewidth=0, zorder=0,
                )  # fmt: skip
        curve = base - 0.86 * scores[:, label]
        axes.fill_between(
            times, base, curve, color=colours[label], alpha=0.8, linewidth=0, zorder=2
        )
    axes.set_yticks(
        [row + 0.5 for row in range(len(shown))],
        [fitting(names[label], _NAME) for label in shown],
        fontsize=10.5,
        color=look.ink,
    )
    for at, words in ((0.08, "1"), (0.94, "0")):
        axes.text(
            span[1], at, f" {words}", fontsize=8.5, color=look.soft, va="center", clip_on=False
        )
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=6, color=look.soft, labelcolor=look.soft, labelsize=10.5)
    axes.tick_params(axis="x", which="minor", length=3, color=look.soft)
    axes.xaxis.set_major_locator(_round_times(span))
    axes.xaxis.set_minor_locator(AutoMinorLocator(5))
    axes.xaxis.set_major_formatter(lambda at, _: _clock(at))
    axes.grid(axis="x", color=look.grid, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(look.soft)


def _round_times(span: tuple[float, float]) -> Any:
    from matplotlib.ticker import MultipleLocator

    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    wanted = (span[1] - span[0]) / 10
    return MultipleLocator(next((s for s in steps if s >= wanted), 3600 * math.ceil(wanted / 3600)))


def _clock(at: float) -> str:
    minutes, seconds = divmod(round(at, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    rest = f"{seconds:04.1f}" if seconds % 1 else f"{int(seconds):02d}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def _bare(axes: Any, span: tuple[float, float]) -> None:
    axes.set_xlim(*span)
    axes.axis("off")
