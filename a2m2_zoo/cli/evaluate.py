"""`a2m2 evaluate`: what one model is worth on a data set, class by class."""

from __future__ import annotations

import json as format_json
from typing import TYPE_CHECKING, Any

from a2m2_zoo.cli import compare as shared
from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.compare_report import accuracy, few, show_open
from a2m2_zoo.cli.files import OutOption, check_json_file, write_json_file
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.evaluation.results import Comparison, MethodResult

_MIXED = 5  # pairs of classes that are named


@grouped
def evaluate(
    *,
    episodes: shared.Episodes,
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    machine: options.Machine,
    clips: shared.Clips,
    cache: shared.CacheOption = None,
    workers: shared.HereWorkersOption = None,
    open_set: shared.OpenOption = False,
    json: options.JsonOption = False,
    out: OutOption = None,
) -> None:
    """Measure one model: accuracy, how far its probabilities can be trusted, and what it mixes up.

    Exit code 0: every clip counted; 1: some clips are missing or could not be read; 2: the call is wrong.
    """
    check_json_file(out)
    listing = clips.open()
    protocol = episodes.protocol(open_set=open_set)
    recogniser = options.open_model(model, machine, pose=pose)
    from a2m2_zoo.evaluation.compare import compare

    with shared.progress_bars() as tell:
        found = compare(
            recogniser,
            listing,
            methods=[recogniser.method_name],
            protocol=protocol,
            workers=workers,
            cache=cache,
            name=shared.data_name(clips.data, listing),
            calibration=True,
            progress=tell,
        )
    if json:
        output.write_json(_plain(found))
    else:
        _show(found)
    if out is not None:
        write_json_file(out, format_json.dumps(_plain(found), indent=2, ensure_ascii=False))
    shared.complain_of_training(model, found)
    shared.complain(found)


def mixed_up(found: Comparison, result: MethodResult) -> list[tuple[str, str, float]]:
    """Pairs (truth, answer, percent of the truth's queries) that are confused most often."""
    pairs = [
        (found.class_names[truth], found.class_names[answer], 100 * count / sum(row))
        for truth, row in enumerate(result.confusion)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:_MIXED]


def _plain(found: Comparison) -> dict[str, Any]:
    """The comparison's JSON, with the pairs that are mixed up most."""
    plain: dict[str, Any] = format_json.loads(found.to_json())
    for raw, result in zip(plain["results"], found.results, strict=True):
        raw["mixed_up"] = [
            {"truth": truth, "answer": answer, "percent": percent}
            for truth, answer, percent in mixed_up(found, result)
        ]
    return plain


def _show(found: Comparison) -> None:
    console = output.stdout()
    output.say(f"{found.model} on {found.title}")
    facts = ("accuracy %", "± classes", "calibration error", "ms/episode")
    overall = output.table("shot", *facts, right=("shot", *facts))
    for result in found.results:
        wide, error = result.class_interval, result.calibration_error
        overall.add_row(
            str(result.shot),
            accuracy(found, result),
            "-" if wide is None else f"{wide:.1f}",
            "-" if error is None else f"{error:.3f}",
            f"{result.score_ms:.2f}",
        )
    console.print(overall)
    output.say(*few(found))
    show_open(found)
    columns = [f"{result.shot}-shot %" for result in found.results]
    classes = output.table("class", "clips", *columns, right=("clips", *columns))
    for i, name in enumerate(found.class_names):
        figures = (result.per_class[i] for result in found.results)
        shown = ("-" if figure is None else f"{figure:.1f}" for figure in figures)
        classes.add_row(output.escape(name), str(found.clips[i]), *shown)
    console.print(classes)
    pairs = output.table("shot", "most often", "taken for", "%", right=("shot", "%"))
    for result in found.results:
        for truth, answer, percent in mixed_up(found, result):
            names = (output.escape(truth), output.escape(answer))
            pairs.add_row(str(result.shot), *names, f"{percent:.1f}")
    if pairs.row_count:
        console.print(pairs)
