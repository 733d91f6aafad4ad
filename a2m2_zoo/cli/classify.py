"""`a2m2 classify`: name the action of clips, given a few labelled clips per action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.files import is_folder
from a2m2_zoo.cli import FAILED, options, output, parquet, signals
from a2m2_zoo.cli.cluster import AskFar, Cluster
from a2m2_zoo.cli.drawn import Pictures
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.cli.lines import Ask, Count, Draw, Given, Lines, answer_lines, changed
from a2m2_zoo.errors import A2M2Error, RemoteError, VideoError, VideoNotFoundError

if TYPE_CHECKING:
    from a2m2_zoo.features import FeatureCache
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.recognition.options import QueryOptions
    from a2m2_zoo.recognition.recognizer import Recognizer
    from a2m2_zoo.video import Limits


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be labelled."""

    query: Annotated[
        list[Path] | None, typer.Argument(metavar="QUERY", help="Clips, or folders of clips.")
    ] = None
    archive: Annotated[
        str | None,
        typer.Option("--archive", help="Label every window of an archive; nothing is decoded."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an answer is to hold."""

    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Keep the k best classes.")
    ] = None
    reject_below: Annotated[
        float | None,
        typer.Option(
            "--reject-below", min=0, max=1, help="Less likely right than this: say unknown."
        ),
    ] = None
    transductive: Annotated[
        bool,
        typer.Option(
            "--transductive", help="Answer all clips together; each learns from the others."
        ),
    ] = False
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            metavar="FILE|DIR",
            help="Draw why, as a picture; of several queries numbered ones, or each by its clip's name in a "
            "folder.",
        ),
    ] = None
    explain_most: Annotated[
        int, typer.Option("--explain-most", min=1, help="Draw no more pictures than that.")
    ] = 100


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many clips are at hand at once."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Clips encoded together on GPUs; changes speed only."
        ),
    ] = None
    workers: options.WorkersOption = None
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Keep what the backbone says of clips there, as `a2m2 features` does: the next question "
            "decodes none of them.",
        ),
    ] = None


@grouped
def classify(
    given_clips: Asked,
    supports: options.SupportsOption,
    *,
    model: options.BankModelOption = None,
    pose: options.PoseOption = True,
    wanted: Wanted,
    text: options.Text,
    machine: options.Machine,
    cluster: Cluster,
    pace: Pace,
    answers: Lines,
    bounds: options.Bounds,
) -> None:
    """Name the action of clips, given a few labelled clips per action.

    Exit code 0: all answered; 1: some clips failed, the others are answered; 2: the call is wrong.
    """
    limits, words = bounds.limits, text.options
    answers.check(transductive=wanted.transductive, explain=wanted.explain is not None)
    if (given_clips.query is None) == (given_clips.archive is None):
        raise typer.BadParameter("give clips as QUERY, or --archive; one of them")
    engine = cluster.of(machine)
    if given_clips.archive is not None:
        from a2m2_zoo.cli.archived import label_all

        if text.options["text_weight"]:
            raise typer.BadParameter("--archive does not go with --text-weight; leave it out")
        if engine is not None or pace.cache is not None:
            raise typer.BadParameter(
                "--archive decodes and encodes nothing; leave --engine ray and --cache out"
            )
        where = (given_clips.archive, supports, model)
        label_all(*where, wanted=wanted, machine=machine, answers=answers, limits=limits, pose=pose)
        return
    if engine is not None and wanted.transductive:
        raise typer.BadParameter(
            "--transductive does not go with --engine ray, which spreads clips over machines; leave one out"
        )
    if engine is not None and pace.cache is not None:
        raise typer.BadParameter(
            "--cache is on this machine, and --engine ray spreads clips over machines; leave one out"
        )
    pictures = Pictures.ready(wanted.explain, most=wanted.explain_most)
    given = answers.part([(path, *expand([path])) for path in given_clips.query or ()])
    with answers.opened() as target:
        recogniser = options.open_model_for(model, supports, machine, pose=pose)
        from a2m2_zoo.engine import run_keyed
        from a2m2_zoo.recognition.clustered import MakeAnswers
        from a2m2_zoo.recognition.recognizer import Recognizer
        from a2m2_zoo.recognition.records import MadeBy, supports_hash

        bank, broken = read_supports(supports, recogniser, workers=pace.workers, limits=limits)
        recognizer = Recognizer(recogniser, bank, **words)
        asked: QueryOptions = {
            "top_k": wanted.top_k,
            "reject_below": wanted.reject_below,
            "plans": wanted.explain is not None,
            "transductive": wanted.transductive,
            "batch_size": pace.batch_size,
            "workers": pace.workers,
            "limits": limits,
            "engine": engine,
        }
        ask = partial(recognizer.iter_classify, **asked)
        if pace.cache is not None:
            ask = partial(_ask_cache, recognizer, feature_cache(recogniser, pace.cache), asked)
        draw = partial(pictures.draw, recognizer=recognizer, limits=limits)
        if target is None:
            count = answer_all(given, ask, answers, draw, far=engine is not None)
        else:
            told = {**asdict(wanted), "pose": pose, "runtime": recogniser.runtime, **words}
            made_by = MadeBy.of(recogniser, supports_hash(supports), changed(told))
            far: AskFar | None = None
            if engine is not None:
                far = partial(run_keyed, make=MakeAnswers.of(recognizer, asked), engine=engine)
            count = answer_lines(
                given, ask, target, made_by=made_by, draw=draw, far=far, limits=limits
            )
            if answers.parquet is not None and target.file is not None:
                files = (answers.resume, target.file.path)
                mine = partial(count.has, made_by=made_by)
                parquet.write(answers.parquet, partial(parquet.records, files, mine))
    pictures.close()
    end(count.stopped, unanswered=count.unanswered, failed=bool(count.failed or broken))


def feature_cache(model: Model, folder: Path) -> FeatureCache:
    """The cache of what a model's backbone says of clips, and of the people in them."""
    from a2m2_zoo.features import FeatureCache

    return FeatureCache(
        folder,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=model.preprocess,
        stages=model.method.stages,
        people=model.pose and model.method.reads_people,
    )


def _ask_cache(
    recognizer: Recognizer, cache: FeatureCache, asked: QueryOptions, clips: Iterable[Path]
) -> Iterator[Prediction | A2M2Error]:
    from a2m2_zoo.features import read_through
    from a2m2_zoo.video.inputs import as_limits

    found = read_through(clips, cache, workers=asked["workers"], limits=as_limits(asked["limits"]))
    return recognizer.iter_read(found, **asked)


def answer_all(
    given: Sequence[Given], ask: Ask, answers: Lines, draw: Draw, *, far: bool = False
) -> Count:
    """Show the answers when all are there, or when it is stopped."""
    total = sum(len(clips) for _, clips, _ in given)
    with output.answers_alone(far):
        found, stopped = collected(ask([clip for _, clips, _ in given for clip in clips]), total)
    rows = _in_order(given, found)
    show(rows, answers.form)
    if answers.parquet is not None:
        parquet.write(answers.parquet, lambda: (output.answer_row(*row) for row in rows))
    failures = [answer for _, answer in rows if isinstance(answer, A2M2Error)]
    for failure in failures:
        output.complain(failure)
    answered = [(clip, a) for clip, a in rows if not isinstance(a, A2M2Error)]
    for clip, answer in answered:
        draw(clip, answer, several=len(answered) > 1)
    return Count(failed=len(failures), unanswered=total - len(found), stopped=stopped)


def collected(
    asked: Iterable[Prediction | A2M2Error], total: int
) -> tuple[list[Prediction | A2M2Error], BaseException | None]:
    """The answers as they come, and what stopped them before the last; those before are given."""
    found: list[Prediction | A2M2Error] = []
    with output.progress("classifying", total) as bar:
        try:
            for answer in asked:
                found.append(answer)
                bar.advance(bar.task_ids[0])
        except (KeyboardInterrupt, A2M2Error, MemoryError, OSError) as error:
            return found, error
    return found, None


def end(stopped: BaseException | None, *, unanswered: int, failed: bool) -> None:
    """Leave with the code that says how it went, once the answers that there are were shown."""
    if isinstance(stopped, KeyboardInterrupt):
        output.complain(f"interrupted; {unanswered} clip(s) have no answer")
        raise typer.Exit(signals.exit_code())
    if stopped is not None:
        raise stopped
    if failed:
        raise typer.Exit(FAILED)


def expand(queries: list[Path]) -> tuple[list[Path], list[A2M2Error]]:
    """Clips behind the arguments, folders opened at any depth; a folder without clips is a failure."""
    from a2m2_zoo.data.index import UNREADABLE, find_clips, name_left_out

    clips: list[Path] = []
    failures: list[A2M2Error] = []
    for path in queries:
        try:
            found = find_clips(path)
        except (VideoError, RemoteError) as error:
            failures.append(error)
            continue
        rest = [one for one in found.left_out if one.reason != UNREADABLE]
        name_left_out(path, rest)
        failures += (
            VideoNotFoundError(
                f"cannot list the folder {str(one.path)!r}; its clips have no answer"
            )
            for one in found.left_out
            if one not in rest
        )
        if not found.clips:
            failures.append(VideoNotFoundError(f"the folder {str(path)!r} holds no clip"))
        clips += found.clips
    return clips, failures


def read_supports(
    supports: Path, model: Model, *, workers: int | None, limits: Limits
) -> tuple[SupportBank, list[A2M2Error]]:
    """The bank behind ``--supports``; broken clips are named and left out while their class has others."""
    from a2m2_zoo.data.index import class_folders
    from a2m2_zoo.recognition.supports import resolve_bank

    source: Path | dict[str, tuple[Path, ...]] = supports
    total = 1
    if is_folder(supports):
        source = class_folders(supports)
        total = sum(map(len, source.values()))
    broken: list[A2M2Error] = []
    with output.progress("reading supports", total) as bar:

        def advance(_: object, failure: A2M2Error | None) -> None:
            if failure is not None:
                broken.append(failure)
                output.complain(f"support left out: {failure}")
            bar.advance(bar.task_ids[0])

        bank = resolve_bank(source, model=model, workers=workers, limits=limits, on_clip=advance)
    return bank, broken


def _in_order(
    given: Iterable[tuple[Path, Sequence[Path], Sequence[A2M2Error]]],
    found: Iterable[Prediction | A2M2Error],
) -> list[tuple[Path, Prediction | A2M2Error]]:
    """Clips with what was found of them, as far as it goes, and failures of folders in their place."""
    answers = iter(found)
    rows: list[tuple[Path, Prediction | A2M2Error]] = []
    for path, clips, failures in given:
        rows += zip(clips, answers, strict=False)
        rows += [(path, failure) for failure in failures]
    return rows


def show(rows: Sequence[tuple[object, Prediction | A2M2Error]], form: options.Form) -> None:
    """Write answers to stdout; in JSON and CSV a clip that failed stands in its place."""
    if form is options.Form.TABLE:
        found = [answer for _, answer in rows if not isinstance(answer, A2M2Error)]
        if found:
            output.stdout().print(output.predictions_table(found))
        return
    answers = [output.answer_row(query, answer) for query, answer in rows]
    if form is options.Form.JSON:
        output.write_json(answers)
    else:
        output.write_csv(output.flat(answers), ("query",))
