"""One picture that says why: the query, the clips it was matched to, and how.

The query's frames run through the middle. Above them lie the frames of the winning class's best support,
below them those of the runner-up; a line joins each query frame to the frames it was matched to, as wide
as the mass that was moved. Left the probabilities, right the transport plans.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.arguments import kind, path_text
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import find_people, frames_with_people, people_tensor
from a2m2_zoo.recognition.episode import Prediction
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.supports import saved_bank
from a2m2_zoo.report.picture import (
    DARK,
    LIGHT,
    Look,
    check_ready,
    fitting,
    matplotlib_pyplot,
    save_figure,
)
from a2m2_zoo.report.skeletons import thumbnails_with_skeletons, with_skeletons
from a2m2_zoo.video import Clip, read_clip
from a2m2_zoo.video.layout import laid_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Plan, Source
    from a2m2_zoo.recognition.named import AnyModel
    from a2m2_zoo.recognition.supports import AnySupports

_MAX_FRAMES, _MAX_CLASSES = 12, 10


def explain(
    prediction: Prediction,
    clip: Clip | Source,
    bank: AnySupports,
    path: str | os.PathLike[str],
    *,
    model: AnyModel = None,
    layout: str | None = None,
    dark: bool = False,
) -> Path:
    """Draw why ``clip`` got its label and write the picture.

    Args:
        prediction: The answer; its plans say how frames were matched.
        clip: The query: decoded as the model saw it, or what ``classify`` was given, which is read again and
            matched again where the prediction has no plans.
        bank: The supports that the plans refer to: a bank, its file, or whatever else ``classify`` was given
            as supports, which is then encoded again.
        path: File to write; its suffix names the format.
        model: What answered, its name or path, to read clips with; by the bank's word if None, and where
            there is no bank by the answer's.
        layout: Of arrays, the query and those among the supports, see ``QueryOptions``.
        dark: Light words on dark paper, for a dark page.

    Raises:
        DependencyError: matplotlib is not installed.
        SaveError: The picture could not be written.
        VideoError: The query, or a support, cannot be read.
        BankError: The query is to be read and the bank's model is not at hand, or the file is no bank.
        ArgumentError: The supports are not those of the answer, or the model is not known by its name.
    """
    if not isinstance(prediction, Prediction):
        raise ArgumentError(
            f"the answer is {kind(prediction)}; expected a Prediction, one of `classify`"
        )
    path = Path(path_text("the picture", path, "the path of a file to write"))
    check_ready(path)
    held = saved_bank(bank)
    if held is None or not isinstance(clip, Clip):
        if held is None and model is None:
            model = prediction.model
        recognizer = Recognizer(model, bank if held is None else held, layout=layout)
        held = recognizer.bank
        _check_supports(prediction, held)
        if not isinstance(clip, Clip):
            (source,) = laid_out([clip], layout)
            clip = read_clip(source, recognizer.model.preprocess)
            prediction = prediction if prediction.plans else recognizer.with_plans(prediction, clip)
    _check_supports(prediction, held)
    look = DARK if dark else LIGHT
    ranked = list(prediction.probabilities)[:2]
    figure = matplotlib_pyplot().figure(figsize=(15.2, 7.4), dpi=110, facecolor=look.paper)
    outer = figure.add_gridspec(
        1,
        3,
        width_ratios=[2.3, 10, 1.75],
        left=0.015,
        right=0.985,
        top=0.865,
        bottom=0.025,
        wspace=0.06,
    )
    _headline(figure, prediction, look)
    _bars(figure.add_subplot(outer[0]), prediction, look)
    shown = [(name, prediction.plans[name]) for name in ranked if name in prediction.plans]
    _matches(figure.add_subplot(outer[1]), clip, shown, held, _people(prediction, clip), look)
    maps = outer[2].subgridspec(2, 1, hspace=0.45)
    for row, (name, plan) in enumerate(shown):
        colour = look.win if row == 0 else look.runner
        _heat(figure.add_subplot(maps[row]), name, plan, colour, look)
    return save_figure(figure, path)


def seen_in(frames: int, of: int) -> str:
    """In how many frames somebody was seen, in words.

    >>> seen_in(7, 8)
    'people seen in 7 of 8 frames'
    """
    return f"people seen in {frames} of {of} frames" if frames else "nobody seen"


def _check_supports(prediction: Prediction, bank: SupportBank) -> None:
    """Refuse supports that lack a class of the answer, or that the plans do not refer to."""
    if missing := [name for name in prediction.probabilities if name not in bank.class_names]:
        raise ArgumentError(
            f"the answer is about class {missing[0]!r}, and the supports have none; give the supports that "
            "the answer is from"
        )
    for name, plan in prediction.plans.items():
        if not (
            plan.support < len(bank.labels) and bank.class_names[bank.labels[plan.support]] == name
        ):
            raise ArgumentError(
                f"the answer was matched to support {plan.support} as one of class {name!r}, and the bank "
                "has none there; give the supports that the answer is from"
            )


def _people(prediction: Prediction, clip: Clip) -> NDArray[np.float32] | None:
    """Who was seen in the query; None where nobody was looked for."""
    if prediction.pose_frames is None or prediction.people is not None:
        return prediction.people
    return people_tensor(find_people(clip.wide)).numpy()


def _headline(figure: Any, prediction: Prediction, look: Look) -> None:
    verdict = f"{fitting(prediction.label, 60)}, probability {prediction.probability:.2f}"
    if prediction.rejected:
        verdict = f"unknown (best guess {verdict})"
    notes = [fitting(Path(prediction.query).name, 60)]
    if prediction.pose_frames is not None:
        notes.append(seen_in(prediction.pose_frames, len(prediction.frames)))
    notes += [f"margin {prediction.margin:.2f}", fitting(prediction.model, 60)]
    figure.text(0.015, 0.957, verdict, fontsize=18, color=look.ink, weight="bold", va="center")
    figure.text(0.015, 0.914, "   ·   ".join(notes), fontsize=11, color=look.soft, va="center")
    if prediction.warnings:
        text = fitting("; ".join(prediction.warnings), 120)
        figure.text(0.015, 0.883, text, fontsize=9.5, color=look.runner, va="center")


def _bars(axes: Any, prediction: Prediction, look: Look) -> None:
    items = list(prediction.probabilities.items())[:_MAX_CLASSES]
    colours = [look.win, look.runner] + [look.rest] * len(items)
    for row, (name, value) in enumerate(items):
        axes.barh(row + 0.62, 1, height=0.2, color=look.grid)
        axes.barh(row + 0.62, value, height=0.2, color=colours[row])
        weight = "bold" if row == 0 else "normal"
        words = {"fontsize": 10.5, "color": look.ink, "weight": weight, "va": "bottom"}
        axes.text(0, row + 0.46, fitting(name, 18), **words)
        axes.text(1, row + 0.46, f"{value:.2f}", ha="right", **words)
    axes.set_xlim(0, 1.08)
    axes.set_ylim(_MAX_CLASSES, 0)
    axes.axis("off")


def _matches(
    axes: Any,
    clip: Clip,
    shown: list[tuple[str, Plan]],
    bank: SupportBank,
    people: NDArray[np.float32] | None,
    look: Look,
) -> None:
    """Query in the middle row, winner above, runner-up below, lines for the mass between them."""
    query, side = clip.frames, clip.frames.shape[1]
    if people is not None:
        query = with_skeletons(clip, people)
    steps = len(shown[0][1].transport) if shown else len(query)
    keep = np.unique(np.linspace(0, steps - 1, min(steps, _MAX_FRAMES)).round().astype(int))
    middle = (2 * keep + 1) * len(query) // (2 * steps)  # the frame in the middle of each time step
    places = np.arange(len(keep)) + 0.5
    rows = {"query": 0.0, "win": 1.75, "next": -1.75}
    _strip(axes, query[middle], places, rows["query"], look.ink)
    for (name, plan), key, colour in zip(
        shown, ("win", "next"), (look.win, look.runner), strict=False
    ):
        frames = bank.thumbnails[plan.support].numpy()
        if people is not None:
            frames = thumbnails_with_skeletons(bank, plan.support, side=side)
        _strip(axes, frames[middle], places, rows[key], colour)
        sign = 1 if key == "win" else -1
        _lines(axes, plan.transport[np.ix_(keep, keep)], places, sign, colour)
        who = "winner" if key == "win" else "runner-up"
        notes = [fitting(Path(bank.sources[plan.support]).name, 50)]
        if people is not None and "people" in bank.descriptors:
            support = frames_with_people(bank.descriptors["people"][plan.support])
            notes.append(seen_in(int(support), len(frames)))
        place = (0.04, rows[key] + sign * 0.62)
        words = f"{who}: {fitting(name, 40)}"
        said = axes.text(*place, words, fontsize=11, color=colour, weight="bold", va="center")
        axes.annotate(
            "   ·   ".join(notes), (1, 0.5), xycoords=said, xytext=(12, 0), textcoords="offset points",
            fontsize=10.5, color=look.soft, va="center",
        )  # fmt: skip
    axes.text(
        -0.05,
        0,
        "query",
        rotation=90,
        fontsize=11,
        color=look.ink,
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


def _heat(axes: Any, name: str, plan: Plan, colour: str, look: Look) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("plan", [look.paper, colour])
    axes.imshow(plan.transport, cmap=shades, vmin=0, aspect="equal", interpolation="nearest")
    axes.set_title(f"plan: {fitting(name, 18)}", fontsize=10, color=colour, weight="bold")
    axes.set_xlabel("support frame", fontsize=9, labelpad=0, color=look.soft)
    axes.set_ylabel("query frame", fontsize=9, labelpad=0, color=look.soft)
    for axis, length in zip((axes.yaxis, axes.xaxis), plan.transport.shape, strict=True):
        axis.set_ticks(sorted({0, length - 1}), [str(at + 1) for at in sorted({0, length - 1})])
    axes.tick_params(length=0, labelsize=8.5, labelcolor=look.soft, pad=3)
    for spine in axes.spines.values():
        spine.set_color(look.grid)
