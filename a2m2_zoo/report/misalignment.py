"""Picture of accuracy against misalignment: one panel per kind, one line per alignment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.report.picture import (
    DARK,
    LIGHT,
    check_ready,
    fitting,
    matplotlib_pyplot,
    save_figure,
)

if TYPE_CHECKING:
    from a2m2_zoo.evaluation.misalignment import Curve

_TITLES = {
    "shift": ("shifted", "window moved, rest stands still"),
    "trim": ("trimmed", "part of the action cut off"),
    "idle": ("idle around", "whole action, still frames around it"),
    "speed": ("uneven speed", "one half faster, one slower"),
}
# Okabe and Ito's colours, which most colour-blind readers tell apart; the first is the adaptive one's.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = "osD^vPX*"


def draw_curves(curves: Sequence[Curve], path: Path, *, title: str, dark: bool = False) -> Path:
    """Draw accuracy against the amount of each kind of misalignment.

    Args:
        curves: At least one; the method of the first is drawn boldest.
        path: File to write; its suffix names the format.
        title: What was measured on what.
        dark: Light words on dark paper, for a dark page.

    Raises:
        ArgumentError: There are no curves, or the picture's format is unknown.
        DependencyError: matplotlib is not installed.
        SaveError: The picture could not be written.
    """
    if not curves:
        raise ArgumentError("there are no curves to draw")
    check_ready(path)
    plot, look = matplotlib_pyplot(), DARK if dark else LIGHT
    colours = (*_COLOURS, look.ink, "#8A8A8A")
    kinds = list(dict.fromkeys(curve.kind for curve in curves))
    methods = list(dict.fromkeys(curve.method for curve in curves))
    size = (3.6 * len(kinds) + 0.6, 4.5)
    figure, axes = plot.subplots(
        1, len(kinds), figsize=size, sharey=True, squeeze=False, dpi=110, facecolor=look.paper
    )
    for axis, kind in zip(axes[0], kinds, strict=True):
        for curve in (c for c in curves if c.kind == kind):
            i = methods.index(curve.method)
            amounts = [100 * amount for amount in curve.amounts]
            axis.errorbar(
                amounts,
                curve.accuracy,
                yerr=curve.interval,
                label=curve.method,
                color=colours[i % len(colours)],
                marker=_MARKERS[i % len(_MARKERS)],
                linewidth=2.4 if i == 0 else 1.4,
                markersize=5,
                capsize=2,
                zorder=3 if i == 0 else 2,
            )
        name, meaning = _TITLES.get(kind, (kind, ""))
        axis.set_title(f"{name}\n", fontsize=12, fontweight="bold", color=look.ink)
        words = {"ha": "center", "fontsize": 9.5, "color": look.soft}
        axis.text(0.5, 1.025, meaning, transform=axis.transAxes, **words)
        axis.set_xlabel("part of the clip, %", color=look.soft)
        axis.set_facecolor(look.paper)
        axis.grid(color=look.grid)
        axis.set_axisbelow(True)
        axis.tick_params(color=look.grid, labelcolor=look.soft)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(look.grid)
    axes[0][0].set_ylabel("accuracy of misaligned queries, %", color=look.soft)
    handles, labels = axes[0][0].get_legend_handles_labels()
    words = {"fontsize": 14, "fontweight": "bold", "color": look.ink}
    figure.suptitle(fitting(title, 40 * len(kinds)), x=0.012, ha="left", **words)
    figure.legend(
        handles,
        labels,
        loc="lower center",
        ncols=min(len(methods), 7),
        frameon=False,
        labelcolor=look.ink,
    )
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return save_figure(figure, path)
