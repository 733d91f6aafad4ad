"""What `a2m2 train` says in the end: how good the head is, and where training did not help."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import options, output

if TYPE_CHECKING:
    from a2m2_zoo.training.loop import Trained

_REMEDY = "Use it with these clips as supports, or train on more classes or at another rate (--set lr=1e-5)"


_CHOSE = "on the clips by which the step is chosen"


def complain(found: Trained, model: Path, *, cautious: bool, held: str, apart: bool) -> None:
    """Say in one line where training did not help, or not more than chance may.

    Args:
        found: How the run ended.
        model: The file that was written.
        cautious: Whether it holds the start's head then.
        held: What was held out: classes or clips.
        apart: Whether other clips than those that chose the step were kept to judge by.
    """
    verdict, after = found.verdict, [_mean(row) for row in found.curve[1:]]
    if found.best_step == 0 and after:
        before = f"{_mean(found.curve[0]):.1f} % on held-out {held} before"
        best = f"{before}, {max(after):.1f} % at best after, {_CHOSE}"
        kept = "keeps the head that it started from"
    elif verdict is not None and not verdict.better:
        best = (
            f"{verdict.before:.1f} % on held-out {held} before, {verdict.after:.1f} % after, "
            f"{_judges(apart)} ({verdict.shown})"
        )
        kept = "has the trained head all the same"
        if cautious:
            kept = "keeps the head that it started from, and best.safetensors the trained one"
    else:
        return
    ahead = verdict is not None and verdict.difference > 0 and found.best_step > 0
    said = (
        "whether training helped cannot be told from chance" if ahead else "training did not help"
    )
    output.complain(f"{said}: {best}; {model} {kept}. {_REMEDY}")


def report(
    found: Trained,
    model: Path,
    *,
    validation: Path | None,
    held: str,
    apart: bool,
    imports: list[Path] | None = None,
) -> None:
    """Say how good the head is, where it lies, and what to do with it.

    Args:
        found: How the run ended.
        model: The file that was written.
        validation: The folder of held-out classes, where somebody gave one.
        held: What was held out: classes or clips.
        apart: As for ``complain``.
        imports: Files of methods and backbones that the run was given.
    """
    if found.best_accuracy is None:
        lines = [f"{counted(found.step, 'step')}, no held-out classes to measure them on"]
    else:
        lines = [
            f"{found.best_accuracy:.1f} % on held-out {held} at step {found.best_step} of {found.step} "
            f"(before training {_mean(found.curve[0]):.1f} %), {_CHOSE}"
        ]
    if (verdict := found.verdict) is not None and verdict.better:
        lines.append(
            f"training helped: {verdict.before:.1f} % before, {verdict.after:.1f} % after, "
            f"{_judges(apart)} ({verdict.shown})"
        )
    if found.skipped:
        lines.append(f"skipped {counted(found.skipped, 'step')}: a number was not finite")
    seen = "FOLDER_OF_NEW_CLASSES" if validation is None else shlex.quote(str(validation))
    file = shlex.quote(str(model))
    commands = (
        f"a2m2 evaluate {seen} --model {file}",
        f"a2m2 classify CLIP --supports FOLDER --model {file}",
    )
    lines.append(f"saved {model}")
    lines += [f"  {options.with_imports(command, imports)}" for command in commands]
    output.say(*lines, whole=True)


def _judges(apart: bool) -> str:
    """What the last test is made on, which gives other figures than the choice of the step."""
    if apart:
        return "on clips kept apart from those by which the step is chosen"
    return "on the same clips in other episodes"


def _mean(row: Mapping[str, Any]) -> float:
    """Accuracy of a validation, the mean over the numbers of shots."""
    figures = [float(value) for name, value in row.items() if name != "step"]
    return sum(figures) / len(figures)
