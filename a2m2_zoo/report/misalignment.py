"""Picture of accuracy against misalignment: one panel per kind, one line per alignment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.report.picture import (
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
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8A8A8A")
_MARKERS = "osD^vPX*"


def draw_curves(curves: Sequence[Curve], path: Path, *, title: str) -> Path:
    """Draw accuracy against the amount of each kind of misalignment.

    Args:
        curves: At least one; the method of the first is drawn boldest.
        path: File to write; its suffix names the format.
        title: What was measured on what.

    Raises:
        ArgumentError: There are no curves, or the picture's format is unknown.
        DependencyError: matplotlib is not installed.
        SaveError: The picture could not be written.
    """
    if not curves:
        raise ArgumentError("there are no curves to draw")
    check_ready(path)
    plot = matplotlib_pyplot()
    kinds = list(dict.fromkeys(curve.kind for curve in curves))
    methods = list(dict.fromkeys(curve.method for curve in curves))
    figure, axes = plot.subplots(
        1, len(kinds), figsize=(3.6 * len(kinds) + 0.6, 4.5), sharey=True, squeeze=False, dpi=110
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
                color=_COLOURS[i % len(_COLOURS)],
                marker=_MARKERS[i % len(_MARKERS)],
                linewidth=2.4 if i == 0 else 1.4,
                markersize=5,
                capsize=2,
                zorder=3 if i == 0 else 2,
            )
        name, meaning = _TITLES.get(kind, (kind, ""))
        axis.set_title(f"{name}\n", fontsize=12, fontweight="bold", color=LIGHT.ink)
        words = {"ha": "center", "fontsize": 9.5, "color": LIGHT.soft}
        axis.text(0.5, 1.025, meaning, transform=axis.transAxes, **words)
        axis.set_xlabel("part of the clip, %", color=LIGHT.soft)
        axis.grid(color=LIGHT.grid)
        axis.set_axisbelow(True)
        axis.tick_params(color=LIGHT.grid, labelcolor=LIGHT.soft)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(LIGHT.grid)
    axes[0][0].set_ylabel("accuracy of misaligned queries, %", color=LIGHT.soft)
    handles, labels = axes[0][0].get_legend_handles_labels()
    words = {"fontsize": 14, "fontweight": "bold", "color": LIGHT.ink}
    figure.suptitle(fitting(title, 40 * len(kinds)), x=0.012, ha="left", **words)
    figure.legend(handles, labels, loc="lower center", ncols=min(len(methods), 7), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return save_figure(figure, path)
