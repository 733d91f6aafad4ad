"""What a comparison found: plain values, ready for a table, a page or a JSON file.

Accuracies and their intervals are in percent, differences in percentage points, times in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.openset import OpenFigures

#: Version of ``Comparison.to_json``.
FORMAT = 1

#: What a head is: it has no parameters; its parameters are seeded and were never trained, so its figures
#: are not the published method's; it was trained; its parameters were computed, not trained.
STATUSES = ("no parameters", "untrained", "trained", "training-free")


@dataclass(frozen=True)
class Difference:
    """Accuracy of a method minus the reference's, on the same episodes.

    Attributes:
        mean: Percentage points; positive where the method is better than the reference.
        interval: Half width of the paired 95 % interval over episodes.
        class_interval: Half width of the 95 % interval over classes; None where every episode
            holds every class.
        p_value: Two-sided, of "no difference over episodes like these".
    """

    mean: float
    interval: float
    class_interval: float | None
    p_value: float

    @property
    def verdict(self) -> str:
        """What may be said, seen from the method.

        ``"better"`` or ``"worse"``: p is below 0.05 and the interval over classes leaves zero out;
        followed by ``" on these classes"`` where only the first holds; else
        ``"no difference found"``.

        >>> Difference(-3.0, 0.4, 2.1, 1e-9).verdict
        'worse'
        >>> Difference(1.0, 0.4, 2.1, 1e-6).verdict
        'better on these classes'
        """
        if not self.p_value < 0.05 or self.mean == 0:
            return "no difference found"
        word = "better" if self.mean > 0 else "worse"
        wide = self.class_interval is None or abs(self.mean) <= self.class_interval
        return f"{word} on these classes" if wide else word


@dataclass(frozen=True)
class MethodResult:
    """One method at one number of shots.

    Attributes:
        method: Its name, as it was asked for.
        shot: Supports per class.
        status: One of ``STATUSES``. The figures of an "untrained" head are not the method's.
        parameters: Of the head as it is used, without what only its training needs.
        accuracy: Mean over episodes, percent.
        interval: Half width of its 95 % interval over episodes, 1.96·s/√E.
        class_interval: Half width of its 95 % interval over classes; None where every episode holds
            every class.
        calibration_error: Expected calibration error, 0 to 1, of the probabilities a user gets; None
            for a head that ships no scale for its logits.
        per_class: Percent of the queries of each class that were right, in the order of
            ``Comparison.class_names``; None for a class that was never asked.
        confusion: Row: truth, column: answer, both over all classes of the set; counts of queries.
        difference: To ``Comparison.reference``; None for the reference itself.
        score_ms: Scoring one episode, without encoding.
        encode_ms: Descriptors of one clip from its feature maps, without the backbone.
        open: What rejection is worth; None where it was not asked for.
    """

    method: str
    shot: int
    status: str
    parameters: int
    accuracy: float
    interval: float
    class_interval: float | None
    calibration_error: float | None
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    difference: Difference | None
    score_ms: float
    encode_ms: float
    open: OpenFigures | None = None


#: How the reason begins where a method's code raised an error.
BREAKS = "breaks with"


@dataclass(frozen=True)
class Failure:
    """What was left out of a comparison, and why.

    Attributes:
        kind: ``"clip"``, ``"class"``, ``"method"``, or ``"list"`` for what a list names and is not there.
        name: Which; a clip as ``class/file``, a list by its file's name.
        reason: One line.
    """

    kind: str
    name: str
    reason: str

    @property
    def counts(self) -> bool:
        """Whether something that was meant to be measured was not: clips, or a method that broke."""
        return self.kind in ("clip", "list") or self.reason.startswith(BREAKS)

    def __str__(self) -> str:
        of = "of " if self.kind == "list" else ""
        return f"left out {of}{self.kind} {self.name!r}: {self.reason}"


@dataclass(frozen=True)
class Copies:
    """Clips that have the same content as another: their episodes are easier, or without an answer.

    Attributes:
        clips: How many have the same content as another of those measured.
        across: How many of these have it in another class, too.
        first: The first two, as ``class/file``.
    """

    clips: int
    across: int
    first: tuple[str, str]

    def __str__(self) -> str:
        across = f", {self.across:,} of them in different classes" if self.across else ""
        return (
            f"{self.clips:,} clips have the same content as another{across}, the first "
            f"{self.first[0]!r} and {self.first[1]!r}; see `a2m2 bank check`"
        )


@dataclass(frozen=True)
class Comparison:
    """Several methods under one protocol: the same features, the same episodes.

    Attributes:
        title: What was compared on what, one line.
        reference: Name of the method that the differences are to.
        class_names: The classes, in the order of ``per_class`` and ``confusion``.
        clips: Number of clips per class.
        way: Classes per episode.
        shots: Supports per class, one block of results each.
        query: Queries per class and episode.
        episodes: How many.
        seed: Of the episodes.
        model: Name of the model whose backbone and preprocessing all methods share.
        receipt: What is needed to do it again: versions, hashes, settings; names no machine and no
            path.
        results: By shots, then by accuracy, best first.
        failures: Clips, classes and methods that were left out.
        copies: Clips that are there more than once; None where all differ.
    """

    title: str
    reference: str
    class_names: tuple[str, ...]
    clips: tuple[int, ...]
    way: int
    shots: tuple[int, ...]
    query: int
    episodes: int
    seed: int
    model: str
    receipt: Mapping[str, Any]
    results: tuple[MethodResult, ...]
    failures: tuple[Failure, ...]
    copies: Copies | None = None

    @property
    def chance(self) -> float:
        """Accuracy of guessing, percent."""
        return 100 / self.way

    def of_shot(self, shot: int) -> tuple[MethodResult, ...]:
        """The results at one number of shots, best first."""
        return tuple(result for result in self.results if result.shot == shot)

    def to_json(self) -> str:
        """Strict JSON; ``from_json`` gives an equal comparison back."""
        return escaped_json(
            json.dumps(
                {"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False
            )
        )

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """The comparison behind ``to_json``'s text.

        Raises:
            ArgumentError: The text is not JSON or not a comparison of this format.
        """
        try:
            raw = parse(text)
            version = raw.pop("format")
            if version != FORMAT:
                raise ArgumentError(
                    f"the comparison has format {version!r}; this version reads {FORMAT}"
                )
            lists = {key: tuple(raw[key]) for key in ("class_names", "clips", "shots")}
            results = tuple(_result(r) for r in raw["results"])
            failures = tuple(Failure(**failure) for failure in raw["failures"])
            copies = raw.get("copies")
            if copies is not None:
                copies = Copies(**{**copies, "first": tuple(copies["first"])})
            more = {"results": results, "failures": failures, "copies": copies}
            return cls(**{**raw, **lists, **more})
        except ArgumentError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(
                f"this is not a comparison written by a2m2 compare: {error!r}"
            ) from error


def _result(raw: Mapping[str, Any]) -> MethodResult:
    difference, opened = raw["difference"], raw.get("open")
    lists = {
        "per_class": tuple(raw["per_class"]),
        "confusion": tuple(map(tuple, raw["confusion"])),
        "difference": None if difference is None else Difference(**difference),
        "open": None if opened is None else OpenFigures(**opened),
    }
    return MethodResult(**{**raw, **lists})
