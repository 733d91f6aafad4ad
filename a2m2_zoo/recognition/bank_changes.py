"""What comes into a bank and goes out of it clip by clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

import torch

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import BankError
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.bank import SupportBank


@apart
def kept(bank: SupportBank, places: list[int]) -> SupportBank:
    """The bank with these supports alone, at least one.

    Args:
        bank: The bank.
        places: Numbers of supports, growing.
    """
    names = tuple(
        n for i, n in enumerate(bank.class_names) if i in {bank.labels[p] for p in places}
    )
    return replace(
        bank,
        class_names=names,
        labels=tuple(names.index(bank.class_names[bank.labels[p]]) for p in places),
        descriptors=take(bank.descriptors, torch.tensor(places)),
        thumbnails=bank.thumbnails[places],
        sources=tuple(bank.sources[p] for p in places),
        durations=tuple(bank.clock()[p] for p in places),
        shapes=tuple(bank.shapes[p] for p in places if bank.shapes),
    )


def unlike(more: SupportBank, bank: SupportBank) -> tuple[SupportBank | None, list[str]]:
    """What of ``more`` is not in ``bank`` yet, whatever its clips are called, and a line for each that is.

    A clip is known by the pictures that were looked at.

    Returns:
        None where all is there already.
    """
    there = {mark: n for n, mark in reversed(list(enumerate(_marks(bank))))}
    new: list[int] = []
    lines: list[str] = []
    for n, mark in enumerate(_marks(more)):
        if mark not in there:
            new.append(n)
            continue
        known = there[mark]
        own, its = more.class_names[more.labels[n]], bank.class_names[bank.labels[known]]
        where = "" if own == its else f", as {its!r} and not {own!r}"
        lines.append(
            f"left out {more.sources[n]}: its pictures are in the bank already, "
            f"from {bank.sources[known]}{where}"
        )
    return (kept(more, new) if new else None), lines


def also_in(more: SupportBank, bank: SupportBank) -> list[str]:
    """The classes of ``bank``, other than those of ``more``, that hold the pictures of one of its clips."""
    marks = set(_marks(more))
    found = {n for n, mark in zip(bank.labels, _marks(bank), strict=True) if mark in marks}
    return [
        bank.class_names[n] for n in sorted(found) if bank.class_names[n] not in more.class_names
    ]


def without_clips(bank: SupportBank, names: Iterable[str]) -> SupportBank:
    """The bank without the supports of these names: of their sources as they are, or of their files.

    Raises:
        BankError: A support is not in the bank, or is the last one of its class.
    """
    gone: set[int] = set()
    for name in names:
        found = [n for n, source in enumerate(bank.sources) if source == name]
        found = found or [n for n, s in enumerate(bank.sources) if PurePath(s).name == name]
        if not found:
            raise BankError(f"the bank has no clip {name!r}; `a2m2 bank show` names those it has")
        gone |= set(found)
    left = [n for n in range(len(bank.labels)) if n not in gone]
    empty = set(range(len(bank.class_names))) - {bank.labels[n] for n in left}
    if empty:
        raise BankError(
            f"class {bank.class_names[min(empty)]!r} would be left without a clip; remove the class"
        )
    return kept(bank, left)


def _marks(bank: SupportBank) -> list[bytes]:
    return [hashlib.sha256(clip.contiguous().numpy().data).digest() for clip in bank.thumbnails]
