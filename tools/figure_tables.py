"""The tables of README.md and docs/, made from the receipts and the manifest; figures.py puts them in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from control_tables import ablation, ahead, each, rates
from evidence_tables import parts, penalties, rules, together
from receipts import LONG, SETS, Row, markdown, receipt
from scale import scale_table

from a2m2_zoo.hub.manifest import Measured, ModelEntry, read_manifest


def measured(data: str, model: str, shot: int) -> Row:
    """A model's row of a set and a number of shots."""
    return next(
        row
        for row in receipt("accuracy")["results"]
        if (row["data"], row["model"], row["shot"]) == (data, model, shot)
    )


def interval(row: Row) -> str:
    """Accuracy with its interval."""
    return f"{row['accuracy']:.1f} ± {row['interval']:.1f}"


def worth() -> str:
    """The default model beside the baseline and chance."""
    head = ["set", "chance", "`a2m2-lite0`, 1-shot", "5-shot", "baseline, 1-shot", "5-shot"]
    rows = []
    for data, name in LONG.items():
        ours, plain = (
            [measured(data, model, shot) for shot in (1, 5)]
            for model in ("a2m2-lite0", "protonet-lite0")
        )
        way = ours[0]["way"]
        cells = [f"**{interval(row)}**" for row in ours] + [interval(row) for row in plain]
        rows.append([f"{name}, {way}-way", f"{100 / way:.0f}", *cells])
    return markdown(head, rows)


def accuracy() -> str:
    """Every embedded model on every set."""
    titles = {**SETS, "ut_interaction": "UT", "ut_interaction without point": "UT without `point`"}
    rows = []
    for one in receipt("accuracy")["results"]:
        if one["shot"] != 1:
            continue
        five = measured(one["data"], one["model"], 5)
        rows.append(
            [
                titles[one["data"]],
                f"`{one['model']}`",
                *map(interval, (one, five)),
                f"{one['calibration_error']:.3f} / {five['calibration_error']:.3f}",
                f"{100 / one['way']:.0f}",
            ]
        )
    head = ["set", "model", "1-shot", "5-shot", "calibration error, 1 / 5-shot", "chance"]
    return markdown(head, rows)


def calibration() -> str:
    """Calibration error of the default model."""
    rows = []
    for data, name in LONG.items():
        found = [measured(data, "a2m2-lite0", shot) for shot in (1, 5)]
        title = f"{name.split(',')[0]}, {found[0]['way']}-way"
        rows.append([title, *(f"{row['calibration_error']:.3f}" for row in found)])
    return markdown(["set", "1-shot", "5-shot"], rows)


def shots() -> str:
    """The default model with more and more supports."""
    rows = []
    for data, name in LONG.items():
        found = {
            row["shot"]: row
            for row in receipt("accuracy")["results"]
            if (row["data"], row["model"]) == (data, "a2m2-lite0")
        }
        cells = [interval(found[k]) if k in found else "–" for k in (1, 5, 10, 20)]
        rows.append([name.split(",")[0], *cells])
    return markdown(["set", "1-shot", "5-shot", "10-shot", "20-shot"], rows)


def models() -> str:
    """The models of the manifest; planned models of one family share a row."""
    families: dict[tuple[str, str], list[ModelEntry]] = defaultdict(list)
    for entry in read_manifest().models.values():
        planned = entry.status == "planned"
        stem = entry.id.removesuffix(f"-{entry.benchmark}") if planned else entry.id
        families[stem, entry.status].append(entry)
    rows = []
    for (stem, status), entries in families.items():
        first, planned = entries[0], status == "planned"
        benchmarks = ", ".join(entry.benchmark or "" for entry in entries)
        what = f"to be trained on {benchmarks}" if planned else first.summary
        name = f"`{stem}-*`" if planned else f"`{stem}`"
        rows.append([name, status, what, first.license, *(both(first, data) for data in LONG)])
    sets = [f"{name.split(',')[0]}, 1 / 5-shot" for name in LONG.values()]
    return markdown(["model", "status", "what", "licence", *sets], rows)


def both(entry: ModelEntry, data: str) -> str:
    """Accuracy with one and five shots as the receipt has it; a dash where nothing was measured."""
    shots = {m.shot for m in entry.metrics if isinstance(m, Measured) and m.data == data}
    if not {1, 5} <= shots:
        return "–"
    return " / ".join(f"{measured(data, entry.id, shot)['accuracy']:.1f}" for shot in (1, 5))


def training() -> str:
    """Episodes a second in training."""
    own, shared = receipt("training")["episodes_per_second"].values()
    names = {
        "a2m2": "A²M², the shipped head",
        "a2m2, one quarter a step": "one quarter a step",
        "a2m2, linear projections": "linear projections",
        "a2m2, whole pictures alone": "whole pictures alone",
        "molo": "MoLo",
    }
    rows = [[title, f"{own[key]:.1f}", f"{shared[key]:.1f}"] for key, title in names.items()]
    return markdown(
        ["head", "four episodes of 30 clips each", "twelve from 48 clips of eight classes"], rows
    )


def bank_check() -> str:
    """What the check of supports finds."""
    head = ["set", "classes × clips", "wrong labels found", "of those, with the right class named"]
    head += ["right labels doubted", "accuracy promised / reached"]
    head += ["gain of one more clip, promised / reached"]
    rows = [
        [
            SETS[row["data"]],
            f"{row['way']} × {row['clips_per_class']}",
            f"{100 * row['of_them_named']:.0f} %",
            f"{100 * row['of_the_named_with_their_class']:.0f} %",
            f"{100 * row['false_alarms']:.1f} %",
            f"{row['promised_now']:.1f} / {row['reached_now']:.1f}",
            f"{row['promised_gain']:+.1f} / {row['reached_gain']:+.1f}",
        ]
        for row in receipt("bank_check")["results"]
    ]
    return markdown(head, rows)


def openset() -> str:
    """Telling clips of no class from the others, the default model."""
    found = receipt("openset")["results"]
    raw = {(r["data"], r["shot"]): r for r in found if r["by"] == "best score"}
    rows = [
        [
            f"{LONG[row['data']].split(',')[0]}, {row['shot']}-shot",
            f"{row['auroc']:.3f} ± {row['auroc_interval']:.3f}",
            f"{raw[row['data'], row['shot']]['auroc']:.3f}",
            f"{row['accuracy']:.1f} / {row['accuracy_answered']:.1f}",
            f"{raw[row['data'], row['shot']]['accuracy_answered']:.1f}",
            f"{row['calibration_error']:.3f}",
        ]
        for row in found
        if row["by"] == "probability"
    ]
    head = ["`a2m2-lite0`, 5 known and 5 unknown classes", "AUROC", "of the best raw score"]
    head += ["accuracy, all known queries / the surest 80 %", "those by the best raw score"]
    head += ["calibration error of `confidence`"]
    return markdown(head, rows)


def rejected() -> str:
    """What each threshold marks, of the right answers and of the clips of no class."""
    found = [r for r in receipt("openset")["results"] if r["by"] == "probability"]
    rows = [
        [
            f"`reject_below={found[0]['rejected'][at]['below']:g}`",
            *(
                f"{r['rejected'][at]['right']:.0f} / {r['rejected'][at]['unknown']:.0f}"
                for r in found
            ),
        ]
        for at in range(len(found[0]["rejected"]))
    ]
    names = [f"{LONG[r['data']].split(',')[0]}, {r['shot']}-shot" for r in found]
    return markdown(["percent marked, right answers / clips of no class", *names], rows)


def openset_methods() -> str:
    """The same for every head of the comparison; a head is listed by the best it offers."""
    found: dict[tuple[str, str, str], dict[int, Row]] = defaultdict(dict)
    for row in receipt("openset_methods")["results"]:
        found[row["method"], row["status"], row["by"]][row["shot"]] = row
    hidden = {("a2m2-lite0", "best score"), ("a2m2-lite0-free", "best score")}
    order = sorted(found.items(), key=lambda item: -item[1][5]["auroc"])
    rows = [
        [
            f"`{method}` ({status})",
            by,
            " / ".join(f"{shots[shot]['auroc']:.2f}" for shot in (1, 5)),
            f"{shots[5]['accuracy']:.0f} / {shots[5]['accuracy_answered']:.0f}",
        ]
        for (method, status, by), shots in order
        if (method, by) not in hidden
    ]
    head = ["head", "by", "AUROC, 1 / 5-shot"]
    return markdown([*head, "accuracy, all known queries / the surest 80 %, 5-shot"], rows)


def misalignment() -> str:
    """Points by which each fixed alignment is behind transport."""
    curves = {(c["method"], c["kind"]): c for c in receipt("misalignment")["curves"]}
    shown = (("shift", 0.0), ("shift", 0.2), ("shift", 0.5), ("idle", 0.5), ("trim", 0.5))
    names = {"-diagonal": "diagonal", "-bimhm": "Bi-MHM", "-otam": "OTAM", "-global": "global mean"}

    def cells(method: str, what: str, spread: str) -> list[str]:
        found = [(curves[method, kind], amount) for kind, amount in shown]
        at = [(curve, curve["amounts"].index(amount)) for curve, amount in found]
        return [
            f"{curve[what][i]:.1f} ± {curve[spread][i]:.1f}".replace("-", "−") for curve, i in at
        ]

    rows = [["transport, accuracy", *cells("a2m2", "accuracy", "interval")]]
    for name, title in names.items():
        rows.append([f"{title}, points behind", *cells(f"a2m2{name}", "behind", "behind_interval")])
    return markdown(
        ["", "aligned", *(f"{k} {a:.0%}".replace("%", " %") for k, a in shown[1:])], rows
    )


def spotting() -> str:
    """Quality of spotting beside a sliding classifier."""
    rows = [
        [
            f"{LONG[row['data']].split(',')[0]}, {row['shot']}-shot",
            *(
                f"{row[f'{name}map_50']['mean']:.1f}"
                for name in ("", "blind_", "plain_", "baseline_")
            ),
            f"{row['difference']['mean']:+.1f} ± {row['difference']['interval']:.1f}".replace(
                "-", "−"
            ),
            *(
                f"{row[f'{of}right_time']:.0f} / {row[f'{of}wrong_time_above_half']:.1f}"
                for of in ("", "baseline_")
            ),
        ]
        for row in receipt("spotting")["quality"]
    ]
    first = f"{receipt('spotting')['quality'][0]['videos']} long videos each"
    others = ("without people", "without `known`", "sliding `classify`", "ahead")
    time = ("right / wrong and sure, % of time", "the same of `classify`")
    return markdown([first, "`spot`", *others, *time], rows)


def export() -> str:
    """Times of the exported graphs beside torch."""
    found = receipt("export")
    names = {
        ("encode", "1 clip"): "encode 1 clip",
        ("encode", "4 clips"): "encode 4 clips",
        ("match", "5-way 1-shot, 1 query"): "match 1 query, 5-way 1-shot",
        ("match", "5-way 5-shot, 25 queries"): "match 25 queries, 5-way 5-shot",
    }
    rows = []
    for (half, name), title in names.items():
        row = found[half][name]
        times = [f"{row[key]:.1f}" for key in ("torch_ms", "onnxruntime_ms")]
        rows.append([title, *times, f"{row['onnxruntime_over_torch']:.2f}"])
    return markdown([f"`{found['model']}`", "torch, ms", "ONNX, ms", "ONNX over torch"], rows)


def roots() -> str:
    """Error and time of matrix roots."""
    found = receipt("matching")["roots"]
    rows = [
        [title, *(f"{100 * found[f'{key}_{n}']['relative_error']:.2g} %" for n in (3, 6, 8)), "–"]
        for key, title in (("trace", "trace"), ("frobenius", "Frobenius"))
    ]
    times = [
        found[name]["median_ms"] for name in ("frobenius_3", "frobenius_6", "frobenius_8", "eigh")
    ]
    rows.append(["time", *(f"{time:.1f} ms" for time in times)])
    return markdown(["", "3 steps", "6 steps", "8 steps", "eigenvalues"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "worth": worth,
    "models": models,
    "accuracy": accuracy,
    "shots": shots,
    "calibration": calibration,
    "training": training,
    "scale": scale_table,
    "bank-check": bank_check,
    "openset": openset,
    "rejected": rejected,
    "openset-methods": openset_methods,
    "misalignment": misalignment,
    "spotting": spotting,
    "export": export,
    "roots": roots,
    "parts": parts,
    "rules": rules,
    "penalties": penalties,
    "together": together,
    "baselines": lambda: each("baselines"),
    "rates": rates,
    "baselines-ahead": lambda: ahead("baselines"),
    "alignment": lambda: each("alignment"),
    "alignment-ahead": lambda: ahead("alignment"),
    "m2": lambda: ablation("m2"),
    "a2": lambda: ablation("a2"),
    "classes": lambda: ablation("classes"),
}
