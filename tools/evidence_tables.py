"""The tables of what the supports tell: parts of an answer, alignments under ridge, queries together."""

from __future__ import annotations

from receipts import Row, markdown, receipt

NAMES = {
    "msr_action3d": "MSR",
    "jhmdb": "J-HMDB",
    "cctv_fight": "CCTV",
    "ut_interaction": "UT",
}
_PARTS = (
    "shipped",
    "mean of pair scores",
    "without people",
    "mean of pair scores, without people",
    "mean of pair scores, without people, as before",
    "half the weight of people",
    "twice the weight of people",
    "with appearance",
)


def _found() -> dict[tuple[str, str, int], Row]:
    rows = receipt("evidence")["results"]
    return {(row["data"], row["form"], row["shot"]): row for row in rows}


def _both(form: str) -> list[str]:
    """Accuracy at one and five shots on every set, and the mean over the sets."""
    found = _found()
    values = [[found[data, form, shot]["accuracy"] for shot in (1, 5)] for data in NAMES]
    mean = [sum(some) / len(values) for some in zip(*values, strict=True)]
    return [f"{one:.1f} / {five:.1f}" for one, five in (*values, mean)]


def parts() -> str:
    """The shipped head with one thing changed."""
    head = ["1 / 5-shot", *NAMES.values(), "mean"]
    return markdown(head, [[form, *_both(form)] for form in _PARTS])


def alignments_under_ridge() -> str:
    """The alignments on the same descriptors, without people."""
    forms = {"transport (A²)": "without people"} | {
        name: f"{name}, without people" for name in ("diagonal", "bimhm", "otam", "global")
    }
    head = ["1 / 5-shot", *NAMES.values(), "mean"]
    return markdown(head, [[name, *_both(form)] for name, form in forms.items()])


def together() -> str:
    """Queries answered together against each for itself."""
    rows = []
    for row in receipt("transductive")["results"]:
        errors = [f"{row[f'{way}_calibration_error']:.3f}" for way in ("alone", "together")]
        gain = f"{row['gain']:+.1f} ± {row['gain_interval']:.1f}"
        accuracies = [f"{row[way]:.1f}" for way in ("alone", "together")]
        first = [f"{NAMES[row['data']]}, {row['shot']}-shot", row["shares"]]
        rows.append([*first, *accuracies, gain, " / ".join(errors)])
    head = ["set", "queries", "alone", "together", "gain", "calibration error, alone / together"]
    return markdown(head, rows)
