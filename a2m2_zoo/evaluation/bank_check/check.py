"""All checks of a folder or of a saved bank, as one report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.notebooks import counted
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import A2M2Error, EpisodeError
from a2m2_zoo.evaluation.bank_check.copies import SAME, clip_distances, same_files
from a2m2_zoo.evaluation.bank_check.growth import NEEDED, Growth, growth
from a2m2_zoo.evaluation.bank_check.labels import Confusion, leave_one_out
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.video import Clip, Limits, read_clips
from a2m2_zoo.zoo.choose import AnyModel, as_model, model_of

#: What may be wrong with a clip, in the order of a report.
KINDS = (
    "broken",
    "flawed",
    "same file",
    "near-duplicate",
    "looks like another class",
    "unlike its class",
)


@dataclass(frozen=True)
class Finding:
    """Something to act on.

    Attributes:
        kind: One of ``KINDS``.
        clip: The clip, as ``class/file`` where it lies in a folder.
        class_name: Its class.
        detail: One line: what was seen.
        other: The other clip of a copy, or the class that it looks like; None elsewhere.
    """

    kind: str
    clip: str
    class_name: str
    detail: str
    other: str | None = None


@dataclass(frozen=True)
class BankReport:
    """What a check found.

    Attributes:
        model: Name of the model that looked.
        counts: Class name → its clips, broken ones included.
        findings: What to act on, by kind.
        confusions: Classes that will be taken for each other, the worst first. Nobody's mistake, and no
            finding; more clips, or classes that differ more, help.
        growth: What one more clip of each class brings; None where it cannot be told.
        notes: What could not be checked, and why.
    """

    model: str
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    confusions: tuple[Confusion, ...]
    growth: Growth | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def check_supports(
    root: str | os.PathLike[str],
    *,
    model: AnyModel = None,
    workers: int | None = None,
    limits: Limits | None = None,
    on_clip: Callable[[], None] | None = None,
) -> BankReport:
    """Check a folder with one folder of clips per class.

    Args:
        root: The folder.
        model: Encodes the clips and scores them; a model, its name or path, the default one if None.
        workers: Clips decoded in parallel.
        limits: Bounds on each file.
        on_clip: Called after each clip was read.

    Raises:
        VideoNotFoundError: ``root`` is not a folder.
        EpisodeError: It holds no class, a class has no clip, or no clip can be read.
    """
    model, tell = as_model(model), on_clip or counted("reading supports")
    classes = class_folders(Path(root))
    clips = [(name, clip) for name, some in classes.items() for clip in some]
    findings: list[Finding] = []
    sound: list[int] = []

    def reading() -> Iterator[tuple[str, Clip]]:
        paths = [clip for _, clip in clips]
        results = read_clips(paths, model.preprocess, workers=workers, limits=limits or Limits())
        for i, found in enumerate(results):
            name, title = clips[i][0], _title(*clips[i])
            if isinstance(found, A2M2Error):
                reason = str(found).removeprefix(f"{clips[i][1]}: ")
                findings.append(Finding("broken", title, name, reason))
            else:
                if found.warnings:
                    findings.append(Finding("flawed", title, name, "; ".join(found.warnings)))
                sound.append(i)
                yield name, found
            tell()

    read = reading()
    first = next(read, None)
    if first is None:
        raise EpisodeError(f"no clip in {str(root)!r} can be read; the first: {findings[0].detail}")
    bank = SupportBank.build(_again(first, read), model)
    titles = [_title(*clips[i]) for i in sound]
    copies = same_files([clips[i][1] for i in sound])
    report = check_bank(bank, model, titles=titles, copies=copies)
    return BankReport(
        model.id,
        {name: len(some) for name, some in classes.items()},
        tuple(sorted((*findings, *report.findings), key=lambda f: KINDS.index(f.kind))),
        report.confusions,
        report.growth,
        (*_lost(classes, bank), *report.notes),
    )


@plain()
def check_bank(
    bank: SupportBank,
    model: AnyModel = None,
    *,
    titles: Sequence[str] | None = None,
    copies: Sequence[tuple[int, int]] = (),
) -> BankReport:
    """Check supports that are encoded already.

    Args:
        bank: The supports.
        model: That encoded them, its name or path; opened by the bank's word for it if None.
        titles: What to call each support; its source if None.
        copies: Supports known to be the same file, (first, later).

    Raises:
        BankError: The bank was made by another model.
    """
    model = model_of(bank, model)
    bank.check(model)
    titles = bank.sources if titles is None else titles
    names = [bank.class_names[label] for label in bank.labels]
    findings = _copies(bank, titles, names, copies)
    way, labels = len(bank.class_names), bank.label_tensor
    notes, confusions, grown = [], [], None
    pairs = model.pairs(bank.descriptors, bank.descriptors)
    if pairs is None:
        notes.append(
            f"labels: the head of {model.id!r} does not score pairs of clips; use another model"
        )
    elif way < 2 or len(labels) == way:
        notes.append("labels: not enough clips; two classes and two clips of a class are needed")
    else:
        supports = SupportSet.of(model, pairs.double(), labels, way=way)
        others = leave_one_out(supports)
        doubtful = others.doubtful()
        for n, answer, best, own in doubtful:
            detail = (
                f"the other clips say {bank.class_names[answer]} {best:.2f}, {names[n]} {own:.2f}"
            )
            kind = "looks like another class"
            findings.append(Finding(kind, titles[n], names[n], detail, bank.class_names[answer]))
        named = {n for n, *_ in doubtful}
        for n, far in others.outliers():
            if n not in named:
                detail = f"{far:.1f} deviations less like its class than the others of it"
                findings.append(Finding("unlike its class", titles[n], names[n], detail))
        confusions = others.confusions(bank.class_names)
        grown = growth(pairs, labels, way=way, rule=supports.rule)
    if grown is None:
        smallest = min(bank.counts(), key=bank.counts().__getitem__)
        notes.append(
            f"one more clip: not enough clips; {NEEDED} of every class are needed and {smallest!r} has "
            f"{bank.counts()[smallest]}"
        )
    order = sorted(findings, key=lambda f: KINDS.index(f.kind))
    return BankReport(model.id, bank.counts(), tuple(order), tuple(confusions), grown, tuple(notes))


def _copies(
    bank: SupportBank, titles: Sequence[str], names: Sequence[str], same: Sequence[tuple[int, int]]
) -> list[Finding]:
    distances = clip_distances(bank.thumbnails)
    near = (distances < SAME).triu(1).nonzero().tolist()
    found = []
    for first, later in (*same, *((a, b) for a, b in near if (a, b) not in set(same))):
        known = (first, later) in set(same)
        where = "the same class" if names[first] == names[later] else f"class {names[first]}"
        detail = f"{'as' if known else 'the same pictures as'} {titles[first]}, of {where}"
        kind = "same file" if known else "near-duplicate"
        found.append(Finding(kind, titles[later], names[later], detail, titles[first]))
    return found


def _lost(classes: dict[str, tuple[Path, ...]], bank: SupportBank) -> list[str]:
    return [
        f"class {name!r}: no clip of it can be read"
        for name in classes
        if name not in bank.class_names
    ]


def _again(first: tuple[str, Clip], rest: Iterator[tuple[str, Clip]]) -> Iterator[tuple[str, Clip]]:
    yield first
    yield from rest


def _title(class_name: str, clip: Path) -> str:
    return f"{class_name}/{clip.name}"
