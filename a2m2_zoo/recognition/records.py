"""Records of answers, one JSON object a line for each clip: what they say, and which of them still count.

A clip is known by the hash of its content, so that moved files count, and an answer by what it was made with.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.bounded_json import MAX_BYTES, parse
from a2m2_zoo._utils.files import is_folder, open_regular, sha256_of
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video.content import content_or_none

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.video import Limits

_AT_ONCE = 8  # clips at addresses whose contents are fetched at once
_SHORT = 16  # characters of a hash that is only compared


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """What an answer depends on beside its clip.

    Attributes:
        model: Name of the model.
        weights: Hash of its weights.
        supports: Hash of the supports, see ``supports_hash``.
        options: The options that change answers, where they are not the usual ones.
    """

    model: str
    weights: str
    supports: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, supports: str, options: Mapping[str, Any]) -> MadeBy:
        """What a run with these would write."""
        return cls(
            model=model.id, weights=model.weights_hash[:_SHORT], supports=supports, options=options
        )

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> MadeBy | None:
        """What a record says; None where it is no answer."""
        told = record.get("made_by")
        if not isinstance(told, dict) or not isinstance(record.get("label"), str):
            return None
        model, weights, supports, options = (
            record.get("model"),
            *map(told.get, ("weights", "supports", "options")),
        )
        if not isinstance(options, dict) or not isinstance(model, str):
            return None
        if not isinstance(weights, str) or not isinstance(supports, str):
            return None
        return cls(model=model, weights=weights, supports=supports, options=options)

    @property
    def key(self) -> str:
        """Equal where all of it is."""
        return json.dumps(asdict(self), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """What stands in a record, the model aside, which has its own place there."""
        return {"weights": self.weights, "supports": self.supports, "options": dict(self.options)}

    def unlike(self, here: MadeBy) -> str:
        """In what it differs from ``here``, in words."""
        pairs = [(name, getattr(self, name), getattr(here, name)) for name in asdict(self)]
        words = [
            f"{name} {_words(theirs)} (here {_words(ours)})"
            for name, theirs, ours in pairs
            if theirs != ours
        ]
        return ", ".join(words)


@dataclass(frozen=True)
class Shard:
    """One of several parts of a list of clips, which together are the whole.

    A clip falls to a part by the hash of its name alone, so it stays there when others are added or removed,
    and is in the same part on every machine.

    Attributes:
        number: Which part, counted from 1.
        count: How many there are.

    >>> [Shard(i, 3).holds("wave/1.mp4") for i in (1, 2, 3)]
    [True, False, False]
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``i/n``.

        Raises:
            ArgumentError: It is none.

        >>> Shard.parse("2/8")
        Shard(number=2, count=8)
        """
        parts = text.split("/")
        if len(parts) == 2 and all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts):
            number, count = map(int, parts)
            if 1 <= number <= count:
                return cls(number, count)
        raise ArgumentError(f"the shard is {text!r}; expected i/n with i from 1 to n, such as 1/4")

    def holds(self, name: str) -> bool:
        """Whether a clip of that name is in this part."""
        # Disks of different kinds write accents in two ways.
        text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
        return place % self.count == self.number - 1


class Known:
    """What was answered before, and by what.

    Attributes:
        damaged: Lines that are no records.
        sound: Bytes of a file up to where a half-written last line begins.
        open_ended: Whether what comes before lacks the end of its line.
    """

    def __init__(self) -> None:
        self.damaged = self.sound = 0
        self.open_ended = False
        self._makers: dict[str, MadeBy] = {}
        self._answers: dict[str, dict[bytes, tuple[Path, int | bytes]]] = {}
        self._last: dict[
            int, int
        ] = {}  # name of a clip → whose answer its last line is, and for what
        self._failures: Counter[tuple[str | None, str]] = Counter()

    def read(self, path: str | os.PathLike[str]) -> None:
        """Take in a file of records.

        Raises:
            ArgumentError: It cannot be read, or is no such file.
        """
        records = self.sound = 0
        self.open_ended = False
        path = place(path)
        try:
            with open_regular(path) as file:
                while line := file.readline(MAX_BYTES):
                    whole = line.endswith(b"\n")
                    sound = self._take_in(line, path)
                    if not sound and not records and (whole or not b'{"query'.startswith(line[:7])):
                        raise ArgumentError(
                            f"{os.fspath(path)!r} is no file of answers; expected what `a2m2 classify "
                            "--jsonl` has written"
                        )
                    if not sound and not whole and len(line) < MAX_BYTES:
                        break  # the writer was stopped here
                    records += sound
                    self.damaged += not sound
                    self.sound += len(line)
                    self.open_ended = not whole
        except OSError as error:
            raise ArgumentError(
                f"the answers in {os.fspath(path)!r} cannot be read: {error.strerror or error}; give a file "
                "that `a2m2 classify --jsonl` has written"
            ) from error

    def others(self, made_by: MadeBy) -> tuple[int, str]:
        """How many clips have an answer of another run only, and in what the last of these differs."""
        mine = self._answers.get(made_by.key, {})
        count, how = 0, ""
        for key, answers in self._answers.items():
            missing = len(answers.keys() - mine.keys())
            if key != made_by.key and missing:
                count += missing
                how = self._makers[key].unlike(made_by)
        return count, how

    def contents(self, made_by: MadeBy) -> frozenset[bytes]:
        """Clips that have an answer, by the hash of their content."""
        return frozenset(self._answers.get(made_by.key, ()))

    def named(self, content: str | None, made_by: MadeBy, query: str) -> bool:
        """Whether the last line under a name is the answer for this content."""
        return self._last.get(hash(query)) == hash((made_by.key, content))

    def answer(self, content: str | None, made_by: MadeBy) -> dict[str, Any] | None:
        """The record of a content, whatever the clip was called; None where it has no answer."""
        where = content and self._answers.get(made_by.key, {}).get(_packed(content))
        if not where:
            return None
        path, at = where
        line = at if isinstance(at, bytes) else b""
        if not isinstance(at, bytes):
            with suppress(OSError), open_regular(path) as file:
                file.seek(at)
                line = file.readline(MAX_BYTES)
        with suppress(ValueError):
            record: Any = parse(line)
            if isinstance(record, dict) and record.get("sha256") == content:
                return record
        return None

    def take_failure(self, content: str | None, error: str) -> bool:
        """Whether a clip has failed before in the same way; each record is for one clip."""
        return _taken(self._failures, (content, error))

    def _take_in(self, line: bytes, path: Path) -> bool:
        """Whether a line of a file, the next one, is a record."""
        try:
            record = parse(line)
        except ValueError:
            return False
        if not isinstance(record, dict) or not isinstance(record.get("query"), str):
            return False
        content, error = record.get("sha256", ""), record.get("error")
        if content is not None and not (isinstance(content, str) and _packed(content)):
            return False
        if isinstance(error, str):
            self._failures[content, error] += 1
            self._last.pop(hash(record["query"]), None)
            return True
        made_by = MadeBy.read(record)
        if made_by is not None and content is not None:
            key = made_by.key
            self._makers[key] = made_by
            at = line if isinstance(path, RemotePath) else self.sound
            self._answers.setdefault(key, {})[_packed(content)] = path, at
            self._last[hash(record["query"])] = hash((key, content))
        return made_by is not None


def supports_hash(supports: str | os.PathLike[str]) -> str:
    """What supports are: class names and contents of clips of a folder, or the content of a bank's file.

    Descriptors are not compared, for they differ in their last bits from one kind of processor to another.
    """
    supports = place(supports)
    if not is_folder(supports):
        return sha256_of(supports)[:_SHORT]
    named = {
        name: [content or "" for _, content in contents(clips)]
        for name, clips in class_folders(supports).items()
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:_SHORT]


def contents(
    clips: Iterable[Path], limits: Limits | None = None
) -> Iterator[tuple[Path, str | None]]:
    """Clips with what ``content_or_none`` gives, in order; several at addresses are fetched at once."""
    waiting: deque[tuple[Path, Future[str | None]]] = deque()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="a2m2-content")
    try:
        for clip in clips:
            waiting.append((clip, pool.submit(content_or_none, clip, limits)))
            while len(waiting) >= (_AT_ONCE if isinstance(clip, RemotePath) else 1):
                first, found = waiting.popleft()
                yield first, found.result()
        for first, found in waiting:
            yield first, found.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(counts: Counter[Any], key: Any) -> bool:
    if not counts[key]:
        return False
    counts[key] -= 1
    return True


def _packed(content: str) -> bytes:
    """A hash as bytes; none if it is no sha256."""
    with suppress(ValueError):
        found = bytes.fromhex(content)
        return found if len(found) == 32 else b""
    return b""


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value[name]!r}" for name in sorted(value)) or "none"
    return repr(value)
