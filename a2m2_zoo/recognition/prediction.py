"""What comes out of a classification: predictions, alone and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.arguments import kind, whole
from a2m2_zoo.errors import A2M2Error, ArgumentError, DependencyError

if TYPE_CHECKING:
    import numpy as np

    from a2m2_zoo._utils.typing import Float


@dataclass(frozen=True, eq=False)
class Plan:
    """How the frames of a query and of one support were matched.

    T counts time steps where the backbone mixes frames, see ``Model.steps``.

    Attributes:
        support: Index of the support among all supports.
        transport: (T, T) mass moved from query frame (row) to support frame (column); sums to one.
        similarity: (T, T) cosine similarity of the frames' descriptors.
    """

    support: int
    transport: Float[np.ndarray, "t t"]
    similarity: Float[np.ndarray, "t t"]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        return self.support == other.support and all(
            mine.shape == theirs.shape and bool((mine == theirs).all())
            for mine, theirs in (
                (self.transport, other.transport),
                (self.similarity, other.similarity),
            )
        )

    def __hash__(self) -> int:
        return hash((self.support, self.transport.shape))


@dataclass(frozen=True)
class Prediction:
    """The answer for one query clip. Equal if all but the time it took is equal.

    Attributes:
        query: Name of the query clip.
        label: The most probable class.
        probabilities: Class name → probability, the most probable first. They sum to one over all
            classes; with ``top_k`` only the first k are kept.
        margin: Probability of the best class minus that of the second best.
        rejected: Whether ``confidence`` is below ``reject_below``.
        plans: Class name → how the query was matched to that class's best support.
        frames: Index of each frame that was looked at.
        warnings: What a careful reader should know, e.g. that a clip was too short.
        model: Name of the model.
        seconds: Time from opening the clip to the answer, loading of the model not included.
        text_weight: Share of the class texts in the probabilities; 0 is the supports alone.
        prompts: Class name → the texts that stood for it; empty where texts had no share.
        known: Probability that the query is of any of the classes, were half of all queries of none; None
            for a model that has no statistics of that, see ``a2m2_zoo.recognition.rejection``.
        pose_frames: In how many of the frames somebody was seen; None where nobody was looked for.
        people: Who was seen where, see `a2m2_zoo.pose.people_tensor`; only beside ``plans``.
    """

    query: str
    label: str
    probabilities: dict[str, float]
    margin: float
    rejected: bool
    frames: tuple[int, ...]
    model: str
    seconds: float = field(compare=False)
    warnings: tuple[str, ...] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict, repr=False)
    text_weight: float = 0.0
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    known: float | None = None
    pose_frames: int | None = None
    people: Float[np.ndarray, "p t 33 3"] | None = field(default=None, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash((self.query, self.label, self.model, self.margin))

    @property
    def probability(self) -> float:
        """Probability of ``label``, given that the query is of one of the classes."""
        return self.probabilities[self.label]

    @property
    def confidence(self) -> float:
        """Probability that ``label`` is right: ``probability`` times ``known``, alone where that is None."""
        return self.probability if self.known is None else self.probability * self.known

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k most probable classes and their probabilities, fewer where fewer are kept.

        Raises:
            ArgumentError: ``k`` is no integer of 1 or more.
        """
        if whole("k", k) is None:
            raise ArgumentError("k is None; expected an integer of 1 or more")
        return list(self.probabilities.items())[:k]

    def _repr_html_(self) -> str:
        """What a notebook shows: the label, its classes with bars, and some frames if the clip is a file."""
        from a2m2_zoo.recognition.notebook import shown  # which reads clips

        return shown(self)

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values, without plans and people; the text's part where it had one."""
        text = {
            "text_weight": self.text_weight,
            "prompts": {n: list(self.prompts[n]) for n in self.probabilities if n in self.prompts},
        }
        return {
            "query": self.query,
            "label": self.label,
            "probability": round(self.probability, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "margin": round(self.margin, 6),
            **({} if self.known is None else {"known": round(self.known, 6)}),
            "confidence": round(self.confidence, 6),
            "rejected": self.rejected,
            "model": self.model,
            "frames": list(self.frames),
            **({} if self.pose_frames is None else {"pose_frames": self.pose_frames}),
            "seconds": round(self.seconds, 4),
            "warnings": list(self.warnings),
            **(text if self.text_weight else {}),
        }


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as ``to_dict`` gives it, or its error, in one row of a table: one column per class."""
    found = dict(row)
    probabilities = found.pop("probabilities", {})
    if "error" in found:
        return found
    found.pop("prompts", None)
    found["frames"] = " ".join(map(str, found["frames"]))
    found["warnings"] = "; ".join(found["warnings"])
    found["error"] = ""
    found.update({f"probability:{name}": probabilities[name] for name in sorted(probabilities)})
    return found


def to_frame(predictions: Prediction | A2M2Error | Iterable[Prediction | A2M2Error]) -> Any:
    """Predictions as a pandas data frame, a row each, with the columns of ``a2m2 classify --csv``.

    Args:
        predictions: What ``classify`` gives; errors in their places, as ``on_error="return"`` leaves them,
            have their line in the column ``error``.

    Raises:
        DependencyError: pandas is not installed.
        ArgumentError: They are no predictions.

    >>> from a2m2_zoo import Prediction
    >>> answer = Prediction("a.mp4", "kick", {"kick": 0.9, "squat": 0.1}, 0.8, False, (0,), "m", 0.1)
    >>> to_frame([answer])[["query", "label", "probability", "probability:squat"]].values.tolist()
    [['a.mp4', 'kick', 0.9, 0.1]]
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise DependencyError("to_frame needs pandas: pip install pandas") from error
    given: Any = predictions
    if isinstance(given, (Prediction, A2M2Error)):
        given = [given]
    if not isinstance(given, Iterable):
        raise ArgumentError(f"to_frame was given {kind(given)}; expected predictions")
    rows: list[dict[str, Any]] = []
    for answer in given:
        if isinstance(answer, A2M2Error):
            rows.append({"query": "", "error": str(answer)})
        elif isinstance(answer, Prediction):
            rows.append(flat_row(answer.to_dict()))
        else:
            raise ArgumentError(f"to_frame was given {kind(answer)} among predictions")
    columns = list(
        dict.fromkeys(["query", *max(rows, key=len, default={}), *(n for r in rows for n in r)])
    )
    return pd.DataFrame(rows, columns=columns)
