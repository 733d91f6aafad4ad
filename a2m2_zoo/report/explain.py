"""One picture that says why: the query, the clips it was matched to, and how.

The query's frames run through the middle. Above them lie the frames of the winning class's best support,
below them those of the runner-up; a line joins each query frame to the frames it was matched to, as wide
as the mass that was moved. Left the probabilities, right the transport plans.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.files import check_file, write_atomically
from a2m2_zoo._utils.printable import printable
from a2m2_zoo.errors import ArgumentError, DependencyError, SaveError
from a2m2_zoo.pose import find_people, frames_with_people, people_tensor
from a2m2_zoo.report.skeletons import thumbnails_with_skeletons, with_skeletons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Plan, Prediction
    from a2m2_zoo.video import Clip

_FORMATS = (".png", ".pdf", ".svg", ".jpg", ".webp")
_WIN, _NEXT, _REST, _INK = "#0a7d5a", "#c8641b", "#b9bec6", "#22272e"
_MAX_FRAMES, _MAX_CLASSES = 12, 10


def check_ready(path: Path) -> None:
    """Refuse early what would only fail after the work is done.

    Raises:
        DependencyError: matplotlib is not installed.
        ArgumentError: The picture's format is unknown.
        SaveError: The folder is missing, or there is something else than a file.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ArgumentError(f"the picture {path.name!r} should end in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise SaveError(
            f"the folder {str(path.parent)!r} for the picture does not exist; create it"
        )
    check_file(path)
    matplotlib_pyplot()


def explain(prediction: Prediction, clip: Clip, bank: SupportBank, path: Path) -> Path:
    """Draw why ``clip`` got its label and write the picture.

    Args:
        prediction: The answer; its plans say how frames were matched.
        clip: The query, as the model saw it.
        bank: The supports the plans refer to.
        path: File to write; its suffix names the format.

    Raises:
        DependencyError: matplotlib is not installed.
        SaveError: The picture could not be written.
    """
    check_ready(path)
    plot = matplotlib_pyplot()
    ranked = list(prediction.probabilities)[:2]
    figure = plot.figure(figsize=(15.2, 7.4), dpi=110, facecolor="white")
    outer = figure.add_gridspec(
        1,
        3,
        width_ratios=[2.3, 10, 1.75],
        left=0.015,
        right=0.985,
        top=0.885,
        bottom=0.03,
        wspace=0.06,
    )
    _headline(figure, prediction)
    _bars(figure.add_subplot(outer[0]), prediction)
    shown = [(name, prediction.plans[name]) for name in ranked if name in prediction.plans]
    _matches(figure.add_subplot(outer[1]), clip, shown, bank, _people(prediction, clip))
    maps = outer[2].subgridspec(2, 1, hspace=0.45)
    for row, (name, plan) in enumerate(shown):
        _heat(figure.add_subplot(maps[row]), name, plan, _WIN if row == 0 else _NEXT)
    return save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure, whole or not at all, and close it.

    Raises:
        SaveError: The picture could not be written.
    """
    try:
        with warnings.catch_warnings():
            # Scripts that the font lacks are drawn as boxes; the answer itself is in the table.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            return write_atomically(
                path, lambda scratch: figure.savefig(scratch, metadata=picture_metadata(path))
            )
    finally:
        matplotlib_pyplot().close(figure)


def matplotlib_pyplot() -> Any:
    """The plotting module, drawing to files only.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyError(
            "pictures need matplotlib, which is not installed: "
            'run `pip install "a2m2_zoo[pictures]"`'
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def picture_metadata(path: Path) -> dict[str, Any] | None:
    """What a picture's file says of itself."""
    # No date and no version in the file: the same answer gives the same picture.
    return {"Software": None} if path.suffix.lower() == ".png" else None


def seen_in(frames: int, of: int) -> str:
    """In how many frames somebody was seen, in words.

    >>> seen_in(7, 8)
    'people seen in 7 of 8 frames'
    """
    return f"people seen in {frames} of {of} frames" if frames else "nobody seen"


def _people(prediction: Prediction, clip: Clip) -> NDArray[np.float32] | None:
    """Who was seen in the query; None where nobody was looked for."""
    if prediction.pose_frames is None or prediction.people is not None:
        return prediction.people
    return people_tensor(find_people(clip.wide)).numpy()


def _headline(figure: Any, prediction: Prediction) -> None:
    verdict = f"{_short(prediction.label, 36)}, probability {prediction.probability:.2f}"
    if prediction.rejected:
        verdict = f"unknown (best guess {verdict})"
    name = _short(Path(prediction.query).name, 40)
    figure.text(0.015, 0.95, verdict, fontsize=19, color=_INK, weight="bold", va="center")
    notes = [name, prediction.model, f"margin {prediction.margin:.2f}"]
    if prediction.pose_frames is not None:
        notes.insert(1, seen_in(prediction.pose_frames, len(prediction.frames)))
    note = "   ·   ".join(notes)
    figure.text(0.985, 0.95, note, fontsize=11, color="#5b6470", ha="right", va="center")
    if prediction.warnings:
        text = "; ".join(prediction.warnings)
        figure.text(0.015, 0.895, text, fontsize=9.5, color=_NEXT, va="center")


def _bars(axes: Any, prediction: Prediction) -> None:
    items = list(prediction.probabilities.items())[:_MAX_CLASSES]
    colours = [_WIN, _NEXT] + [_REST] * len(items)
    for row, (name, value) in enumerate(items):
        axes.barh(row, value, height=0.34, color=colours[row], align="edge")
        axes.text(0, row - 0.06, _short(name, 24), fontsize=10.5, color=_INK, va="bottom")
        axes.text(value + 0.02, row + 0.17, f"{value:.2f}", fontsize=10, color=_INK, va="center")
    axes.set_xlim(0, 1.22)
    axes.set_ylim(max(len(items), 5) - 0.4, -0.5)
    axes.axis("off")


def _matches(
    axes: Any,
    clip: Clip,
    shown: list[tuple[str, Plan]],
    bank: SupportBank,
    people: NDArray[np.float32] | None,
) -> None:
    """Query in the middle row, winner above, runner-up below, lines for the mass between them."""
    query, side = clip.frames, clip.frames.shape[1]
    if people is not None:
        query = with_skeletons(clip, people)
    keep = np.unique(
        np.linspace(0, len(query) - 1, min(len(query), _MAX_FRAMES)).round().astype(int)
    )
    places = np.arange(len(keep)) + 0.5
    rows = {"query": 0.0, "win": 1.75, "next": -1.75}
    _strip(axes, query[keep], places, rows["query"], _INK)
    for (name, plan), key, colour in zip(shown, ("win", "next"), (_WIN, _NEXT), strict=False):
        frames = bank.thumbnails[plan.support].numpy()
        if people is not None:
            frames = thumbnails_with_skeletons(bank, plan.support, side=side)
        _strip(axes, frames[keep], places, rows[key], colour)
        sign = 1 if key == "win" else -1
        _lines(axes, plan.transport[np.ix_(keep, keep)], places, sign, colour)
        who = "winner" if key == "win" else "runner-up"
        notes = [_short(Path(bank.sources[plan.support]).name, 40)]
        if people is not None and "people" in bank.descriptors:
            support = frames_with_people(bank.descriptors["people"][plan.support])
            notes.append(seen_in(int(support), len(frames)))
        text = f"{who}: {_short(name, 30)}   ({', '.join(notes)})"
        axes.text(
            0.04,
            rows[key] + sign * 0.62,
            text,
            fontsize=10.5,
            color=colour,
            weight="bold",
            va="center",
        )
    axes.text(
        -0.05,
        0,
        "query",
        rotation=90,
        fontsize=10.5,
        color=_INK,
        weight="bold",
        ha="right",
        va="center",
    )
    axes.set_xlim(-0.1, len(keep))
    axes.set_ylim(-2.5, 2.5)
    axes.axis("off")


def _strip(
    axes: Any, frames: NDArray[np.uint8], places: NDArray[Any], row: float, colour: str
) -> None:
    half = 0.47
    for frame, x in zip(frames, places, strict=True):
        box = (x - half, x + half, row - half, row + half)
        axes.imshow(frame, extent=box, aspect="auto", interpolation="antialiased", zorder=3)
        axes.plot(
            [box[0], box[1], box[1], box[0], box[0]],
            [box[2], box[2], box[3], box[3], box[2]],
            color=colour,
            linewidth=1.3,
            zorder=4,
        )


def _lines(
    axes: Any, transport: NDArray[Any], places: NDArray[Any], sign: int, colour: str
) -> None:
    total = transport.max()
    if total <= 0:
        return
    for i, j in zip(*np.nonzero(transport > 0.08 * total), strict=True):
        strength = float(transport[i, j] / total)
        axes.plot(
            [places[i], places[j]],
            [sign * 0.49, sign * 1.26],
            color=colour,
            linewidth=0.6 + 4.4 * strength,
            alpha=0.2 + 0.7 * strength,
            solid_capstyle="round",
            zorder=2,
        )


def _heat(axes: Any, name: str, plan: Plan, colour: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("plan", ["#f6f7f9", colour])
    axes.imshow(plan.transport, cmap=shades, vmin=0, aspect="equal", interpolation="nearest")
    axes.set_title(f"plan: {_short(name, 18)}", fontsize=10, color=colour, weight="bold")
    axes.set_xlabel("support frame", fontsize=8.5, labelpad=2)
    axes.set_ylabel("query frame", fontsize=8.5, labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d5d9df")


def _short(text: str, width: int) -> str:
    text = printable(text)
    cut = text if len(text) <= width else text[: width - 3] + "..."
    return cut.replace("$", r"\$")  # which would switch matplotlib to mathematics
