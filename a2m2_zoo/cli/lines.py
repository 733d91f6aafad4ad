"""`a2m2 classify --jsonl`: a line per clip as soon as it is known, which a later run goes on with."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import typer

from a2m2_zoo._utils.files import exists
from a2m2_zoo.cli import options, output, parquet
from a2m2_zoo.cli.cluster import AskFar, Found, from_cluster
from a2m2_zoo.errors import A2M2Error

if TYPE_CHECKING:
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.recognition.record_file import RecordFile
    from a2m2_zoo.recognition.records import Known, MadeBy
    from a2m2_zoo.video import Limits

#: An argument, the clips behind it, and what could not be listed of it.
Given: TypeAlias = tuple[Path, Sequence[Path], Sequence[A2M2Error]]
#: Gives an answer for each clip, in their order.
Ask: TypeAlias = "Callable[[Iterable[Path]], Iterator[Prediction | A2M2Error]]"


class Draw(Protocol):
    """Draws an answer, where that was asked for."""

    def __call__(self, path: Path, prediction: Prediction, *, several: bool) -> None:
        """Draw the answer for a clip."""


_PANEL = "Thousands of clips"
_STDOUT = "-"
_USUAL = {"transductive": False, "pose": True, "runtime": "torch"}


@dataclass(frozen=True, kw_only=True)
class Lines(options.Answers):
    """How answers are written, line by line too, and which part of the clips they are of."""

    jsonl: Annotated[
        str | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="Write a JSON line per clip as soon as it is known, to a new FILE, or to stdout: -",
            rich_help_panel=_PANEL,
        ),
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="Go on where --jsonl FILE stopped: clips that it answers are not read again. Not with "
            "--transductive or --explain.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    parquet: Annotated[
        Path | None,
        typer.Option(
            "--parquet",
            metavar="FILE",
            help="Also write all answers as a Parquet file, in the end (extra archive).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only part I of N of the clips, by their names: the same on every machine. Not with "
            "--transductive.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether answers go out line by line."""
        return self.jsonl is not None or self.resume is not None

    def check(self, *, transductive: bool, explain: bool) -> None:
        """Refuse options that do not go together."""
        if self.form is not options.Form.TABLE and self.wanted:
            raise typer.BadParameter("--jsonl and --resume exclude --json and --csv")
        if self.resume is not None and explain:
            raise typer.BadParameter(
                "--explain does not go with --resume, which reads no clip twice; draw a few clips alone"
            )
        if self.parquet is not None:
            if self.jsonl == _STDOUT:
                raise typer.BadParameter(
                    "--parquet is made of what --jsonl has written: give that a FILE"
                )
            parquet.check_ready(self.parquet, beside=(self.jsonl, self.resume))
        for name, given in (("--resume", self.resume), ("--shard", self.shard)):
            if given is not None and transductive:
                raise typer.BadParameter(
                    f"{name} does not go with --transductive, where answers depend on all; leave one out"
                )

    def part(self, given: Iterable[Given]) -> list[Given]:
        """What of the clips is to be answered."""
        if self.shard is None:
            return list(given)
        from a2m2_zoo.recognition.records import Shard

        shard = Shard.parse(self.shard)
        found: list[Given] = [
            (root, [clip for clip in clips if shard.holds(_name(clip, root))], failures)
            for root, clips, failures in given
        ]
        if not any(clips for _, clips, _ in found):
            output.complain(f"none of these clips is in part {self.shard}")
        return found

    @contextmanager
    def opened(self) -> Iterator[Target | None]:
        """Where records go, and those that are there already; None where none are asked for.

        Raises:
            ArgumentError: A file is there that is none of records, or was not to be gone on with.
            SaveError: It cannot be written, or another process does it.
        """
        if not self.wanted:
            yield None
            return
        from a2m2_zoo.recognition.record_file import open_records
        from a2m2_zoo.recognition.records import Known

        before = self.resume
        if before is not None and not exists(before):
            output.complain(f"{str(before)!r} is not there yet: all clips are answered")
        if self.jsonl == _STDOUT:
            known = Known()
            if before is not None and exists(before):
                known.read(before)
            yield Target(known, None)
            return
        path = self.jsonl if self.jsonl is not None else before
        assert path is not None
        with open_records(path, resume=before) as file:
            yield Target(file.known, file)


@dataclass(frozen=True)
class Target:
    """Where records go.

    Attributes:
        known: What was answered before.
        file: Where they go; stdout if None.
    """

    known: Known
    file: RecordFile | None

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Gives a function that writes a record, which is there when it returns."""
        if self.file is None:
            yield lambda record: output.write_json(record, indent=None)
            return
        with self.file.writing() as append:
            yield lambda record: append(output.json_text(record, indent=None))


@dataclass(kw_only=True)
class Count:
    """How it went with the clips of a run.

    Attributes:
        answered: Clips that were answered.
        kept: Clips whose answer was there before.
        failed: Clips and folders without an answer.
        unanswered: Clips that nothing is known of, since the run was stopped.
        stopped: What stopped it.
        clips: Names and contents of the clips that have a record, as their hashes.
    """

    answered: int = 0
    kept: int = 0
    failed: int = 0
    unanswered: int = 0
    stopped: BaseException | None = None
    clips: set[int] = field(default_factory=set, repr=False)

    def has(self, record: Mapping[str, Any], made_by: MadeBy) -> bool:
        """Whether a record is of a clip of this run, and made with the same."""
        made = made_by.read(record)
        noted = hash((record["query"], record.get("sha256"))) in self.clips
        return noted and (made is None or made.key == made_by.key)

    def note(self, query: str, content: str | None) -> None:
        """A clip has a record."""
        self.clips.add(hash((query, content)))


def answer_lines(
    given: Sequence[Given],
    ask: Ask | None,
    target: Target,
    *,
    made_by: MadeBy,
    draw: Draw,
    far: AskFar | None = None,
    limits: Limits,
) -> Count:
    """Write a record for each clip that has no answer yet; nothing but their number is kept.

    Args:
        given: The clips.
        ask: Answers them; it draws from them as they are read. None with ``far``.
        target: Where records go.
        made_by: What the answers are made with.
        draw: Called with each answer, once its record is written.
        far: Answers them on a cluster; records are in the order of answers.
        limits: What may be fetched of a clip at an address.
    """
    from a2m2_zoo.recognition.records import contents

    _say_known(target, made_by)
    clips = [clip for _, some, _ in given for clip in some]
    count = Count(unanswered=len(clips))
    waiting: deque[tuple[Path, str | None]] = deque()  # being read, in order
    with output.progress("classifying", len(clips)) as bar:

        def done() -> None:
            count.unanswered -= 1
            bar.advance(bar.task_ids[0])

        renamed: deque[dict[str, Any]] = deque()  # known, and not the last line under their name

        def known(clip: Path, content: str | None) -> bool:
            query = str(clip)
            if not target.known.named(content, made_by, query):
                record = target.known.answer(content, made_by)
                if record is None:
                    return False
                renamed.append({**record, "query": query})
            count.note(query, content)
            count.kept += 1
            done()
            return True

        def unknown() -> Iterator[Path]:
            """Drawn from as clips are read: each is hashed just before."""
            for clip, content in contents(clips, limits):
                if not known(clip, content):
                    waiting.append((clip, content))
                    yield clip

        def near(answers: Iterator[Prediction | A2M2Error]) -> Iterator[Found]:
            for answer in answers:
                yield *waiting.popleft(), answer

        found: Iterator[Found]
        if far is not None:
            found = from_cluster(clips, far, target.known.contents(made_by), known)
        else:
            assert ask is not None
            found = near(ask(unknown()))  # which looks at the options before a file is made
        with target.writing() as write, output.answers_alone(far is not None):

            def fail(query: Path, content: str | None, error: A2M2Error) -> None:
                output.complain(error)
                count.failed += 1
                count.note(str(query), content)
                if not target.known.take_failure(content, str(error)):
                    write({**output.answer_row(query, error), "sha256": content})

            try:
                for root, _, failures in given:
                    for failure in failures:
                        fail(root, None, failure)
                for clip, content, answer in found:
                    while renamed:
                        write(renamed.popleft())
                    if isinstance(answer, A2M2Error):
                        fail(clip, content, answer)
                        done()
                    else:
                        row = output.answer_row(clip, answer)
                        write({**row, "sha256": content, "made_by": made_by.to_dict()})
                        count.note(row["query"], content)
                        count.answered += 1
                        done()
                        draw(clip, answer, several=len(clips) > 1)
                    if target.file is None and output.lost():
                        break
                while renamed:
                    write(renamed.popleft())
            except (KeyboardInterrupt, A2M2Error, MemoryError, OSError) as error:
                count.stopped = error
            finally:
                found.close()  # type: ignore[attr-defined]  # a generator: what is under way ends
    _say_done(target, count, made_by)
    return count


def changed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options that change answers those that are not the usual ones."""
    found = {name: told[name] for name in ("top_k", "reject_below") if told[name] is not None}
    found |= {name: told[name] for name, usual in _USUAL.items() if told[name] != usual}
    if told["text_weight"]:
        texts = json.dumps([told["class_names"], told["templates"]], sort_keys=True)
        found["text_weight"] = told["text_weight"]
        found["texts"] = hashlib.sha256(texts.encode()).hexdigest()[:16]
    return found


def _say_known(target: Target, made_by: MadeBy) -> None:
    if target.known.damaged:
        output.complain(
            f"{target.known.damaged} line(s) of the answers of before are no records; they are passed over"
        )
    others, how = target.known.others(made_by)
    if others:
        output.complain(
            f"{others} answer(s) of before are not taken over, their clips are answered again; they were "
            f"made with {how}: give the same to go on with them"
        )


def _say_done(target: Target, count: Count, made_by: MadeBy) -> None:
    if target.file is not None:
        parts = f"{count.answered} answered, {count.kept} answered before, {count.failed} failed"
        more = f", {count.unanswered} left" if count.unanswered else ""
        if more and "transductive" not in made_by.options:
            more += f": go on with --resume {target.file.path}"
        output.say(f"{target.file.path}: {parts}{more}", whole=True, to=output.stderr)


def _name(clip: Path, root: Path) -> str:
    """A clip's name inside the folder that was given, or its own; the same wherever the folder lies."""
    if clip == root:
        return Path(os.path.realpath(clip)).name
    return clip.relative_to(root).as_posix()
