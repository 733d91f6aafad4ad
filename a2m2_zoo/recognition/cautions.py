"""What to know of every answer because of the supports and the model that it is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2m2_zoo.recognition.calibration import UNFITTED

if TYPE_CHECKING:
    from a2m2_zoo.recognition.recognizer import Recognizer

_UNEVEN = 20  # times as many supports in one class as in another


def cautions(recognizer: Recognizer) -> tuple[str, ...]:
    """One sentence for each."""
    model, bank = recognizer.model, recognizer.bank
    counts = bank.counts().values()
    fewest, most = min(counts), max(counts)
    found = []
    if model.table is None and dict(model.scales) == UNFITTED:
        found.append(
            "nobody fitted probabilities for this model: their order counts, not their size"
        )
    if model.pose and model.method.reads_people and "people" not in bank.descriptors:
        found.append(
            "the supports were encoded without people (pose=False), so people do not count"
        )
    if recognizer.supports.alike:
        found.append("the supports of all classes look the same: they say nothing of any clip")
    if most >= _UNEVEN * fewest:
        found.append(
            f"the classes have from {fewest} to {most} supports: how sure an answer is was learned from "
            "the larger ones"
        )
    return tuple(found)
