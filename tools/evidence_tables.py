"""The tables of what the supports tell: parts of an answer, alignments under ridge, queries together."""

from __future__ import annotations

from receipts import markdown, receipt

NAMES = {
    "msr_action3d": "MSR",
    "jhmdb": "J-HMDB",
    "cctv_fight": "CCTV",
    "ut_interaction": "UT",
}
_METHODS = ("protonet", "bimhm", "otam")
_PENALTIES = ("ridge 0.01", "ridge 0.03", "ridge", "ridge 0.3", "ridge 1", "ridge 10")
_HEAD = ["1 / 5-shot", *NAMES.values(), "mean"]


def _both(form: str, rule: str) -> list[str]:
    """Accuracy at one and five shots on every set, and the mean over the sets."""
    found = {
        (row["data"], row["form"], row["rule"], row["shot"]): row["accuracy"]
        for row in receipt("evidence")["results"]
    }
    values = [[found[data, form, rule, shot] for shot in (1, 5)] for data in NAMES]
    mean = [sum(some) / len(values) for some in zip(*values, strict=True)]
    return [f"{one:.1f} / {five:.1f}" for one, five in (*values, mean)]


def parts() -> str:
    """The shipped head with one thing changed, or two."""
    rows = {
        "shipped: ridge, people": ("shipped", "ridge"),
        "mean of pair scores, people": ("shipped", "mean"),
        "ridge, without people": ("without people", "ridge"),
        "mean of pair scores, without people": ("without people", "mean"),
        "ridge, people by their limbs alone": ("people by their limbs alone", "ridge"),
        "ridge, people at half the weight": ("half the weight of people", "ridge"),
        "ridge, people at twice the weight": ("twice the weight of people", "ridge"),
        "ridge, people, appearance": ("with appearance", "ridge"),
    }
    return markdown(_HEAD, [[name, *_both(*form)] for name, form in rows.items()])


def rules() -> str:
    """Alignments and methods, each under both rules, without people."""
    forms = {"transport (A²)": "without people"}
    forms |= {name: f"{name}, without people" for name in ("diagonal", "bimhm", "otam", "global")}
    forms |= {f"`{name}` on frame vectors": f"method {name}" for name in _METHODS}
    rows = []
    for name, form in forms.items():
        for rule, said in (("mean", "mean of pair scores"), ("ridge", "ridge")):
            rows.append([name, said, *_both(form, rule)])
    return markdown(["pairs of clips by", "rule", *NAMES.values(), "mean"], rows)


def penalties() -> str:
    """The shipped form under other penalties."""
    rows = [
        [rule.removeprefix("ridge").strip() or "0.1 (shipped)", *_both("shipped", rule)]
        for rule in _PENALTIES
    ]
    return markdown(["penalty", *NAMES.values(), "mean"], rows)


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
