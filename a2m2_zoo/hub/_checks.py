"""What the values of a manifest have to be; each refusal names the key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.hub.source import is_repository

Check = Callable[[Any, str], None]

IDENTIFIER = r"[a-z0-9][a-z0-9.-]{0,95}"
COMMIT = r"[0-9a-f]{40}"
SHA256 = r"[0-9a-f]{64}"


def text(value: Any, at: str) -> None:
    """A line of text."""
    if not isinstance(value, str):
        raise CheckpointError(f"{at} is {type(value).__name__}; expected text")
    if not value.strip() or len(value) > 2000 or not value.isprintable():
        raise CheckpointError(f"{at} is {value[:40]!r}; expected one line of text")


def matching(pattern: str, what: str) -> Check:
    """Text of one form."""

    def check(value: Any, at: str) -> None:
        text(value, at)
        if not re.fullmatch(pattern, value, re.ASCII):
            raise CheckpointError(f"{at} is {value!r}; expected {what}")

    return check


def file(value: Any, at: str) -> None:
    """A safetensors file, named relative to a folder that it cannot leave."""
    text(value, at)
    path = PurePosixPath(value)
    hostile = path.is_absolute() or ".." in path.parts or set('\\:*?"<>|') & set(value)
    if hostile or path.suffix != ".safetensors" or path.as_posix() != value:
        raise CheckpointError(
            f"{at} is {value!r}; expected the path of a .safetensors file inside its folder"
        )


def size(value: Any, at: str) -> None:
    """A number of bytes."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{at} is {value!r}; expected a number of bytes")


def table(value: Any, at: str) -> None:
    """An object."""
    if not isinstance(value, dict):
        raise CheckpointError(f"{at} is {type(value).__name__}; expected an object")


def records(value: Any, at: str) -> None:
    """A list of objects."""
    if not isinstance(value, list):
        raise CheckpointError(f"{at} is {type(value).__name__}; expected a list")
    for index, item in enumerate(value):
        table(item, f"{at}[{index}]")


def maybe(check: Check) -> Check:
    """The same, or null."""

    def wrapped(value: Any, at: str) -> None:
        if value is not None:
            check(value, at)

    return wrapped


def source(value: Any, at: str) -> None:
    """Where a file lies: ``{file}`` beside the manifest, or ``{repo_id, commit, file}``."""
    table(value, at)
    hub = "repo_id" in value or "commit" in value
    keys(value, {"repo_id", "commit", "file"} if hub else {"file"}, at)
    file(value["file"], f"{at}.file")
    if hub:
        text(value["repo_id"], f"{at}.repo_id")
        if not is_repository(value["repo_id"]):
            raise CheckpointError(f"{at}.repo_id is {value['repo_id']!r}; expected ORG/NAME")
        matching(COMMIT, "a commit of 40 lower-case hex digits")(value["commit"], f"{at}.commit")


_sha256 = matching(SHA256, "64 lower-case hex digits")
_LOCATED: dict[str, Check] = {
    "id": matching(IDENTIFIER, "lower-case letters, digits, dots and dashes"),
    "source": maybe(source),
    "sha256": maybe(_sha256),
    "size": maybe(size),
    "license": text,
}
BACKBONE: dict[str, Check] = {**_LOCATED, "architecture": text, "origin": text}
MODEL: dict[str, Check] = {
    **_LOCATED,
    "status": text,
    "summary": text,
    "method": text,
    "benchmark": maybe(text),
    "backbone": text,
    "data": text,
    "config": table,
    "preprocess": table,
    "metrics": records,
    "trained_with": maybe(text),
}


def entries(
    raw: Any, checks: Mapping[str, Check], where: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry of a list with its place, each key checked, no id twice."""
    if not isinstance(raw, list):
        raise CheckpointError(f"{where} is {type(raw).__name__}; expected a list")
    seen = set()
    for index, item in enumerate(raw):
        named = isinstance(item, dict) and isinstance(item.get("id"), str)
        at = f"{where}[{item['id'][:40] if named else index}]"
        keys(item, set(checks), at)
        for key, check in checks.items():
            check(item[key], f"{at}.{key}")
        if item["id"] in seen:
            raise CheckpointError(f"{at} is listed twice")
        seen.add(item["id"])
        yield at, item


def keys(raw: Any, expected: set[str], where: str) -> None:
    """Exactly these keys."""
    table(raw, where)
    for key in sorted(set(map(str, raw)) - expected):
        raise CheckpointError(
            f"{where}.{key[:40]} is not a known key; expected {', '.join(sorted(expected))}"
        )
    for key in sorted(expected - set(raw)):
        raise CheckpointError(f"{where}.{key} is missing")


def located(values: Mapping[str, Any], at: str) -> None:
    """A file has a hash; what has no file has neither hash nor size."""
    if values["source"] is None:
        for key in ("sha256", "size"):
            if values[key] is not None:
                raise CheckpointError(f"{at}.{key} is given and {at}.source is null; give both")
    elif values["sha256"] is None:
        raise CheckpointError(f"{at}.sha256 is null; a file is loaded only with its hash")


def status(values: Mapping[str, Any], at: str, known: Sequence[str]) -> None:
    """What each status needs and excludes."""
    value, place = values["status"], values["source"]
    if value not in known:
        raise CheckpointError(f"{at}.status is {value!r}; expected one of {', '.join(known)}")
    needs = {
        "embedded": (place is not None and "repo_id" not in place, "a file beside the manifest"),
        "released": (place is not None and "repo_id" in place, "a repository of the Hub"),
        "planned": (place is None, "null: nobody has trained it"),
        "computed": (place is None, "null: the head is made on first use"),
    }
    met, expected = needs[value]
    if not met:
        raise CheckpointError(f"{at}.source does not fit status {value!r}; expected {expected}")
    if place is not None and values["size"] is None:
        raise CheckpointError(f"{at}.size is null; expected a number of bytes")
    if value == "planned" and values["trained_with"] is None:
        raise CheckpointError(
            f"{at}.trained_with is null; expected the command that would train it"
        )


_MEASURED = {
    "kind", "data", "way", "shot", "episodes", "seed", "accuracy", "interval", "receipt",
}  # fmt: skip
_PAPER = {"kind", "data", "way", "shot", "accuracy", "citation"}


def metrics(values: Mapping[str, Any], at: str) -> None:
    """A measured figure has what repeats it, a paper's figure its citation."""
    for index, metric in enumerate(values["metrics"]):
        where = f"{at}.metrics[{index}]"
        kind = metric.get("kind")
        if kind not in ("measured", "paper"):
            raise CheckpointError(f"{where}.kind is {kind!r}; expected measured or paper")
        if kind == "measured" and values["status"] == "planned":
            raise CheckpointError(f"{where} is measured and the model is planned; release it first")
        keys(metric, _MEASURED if kind == "measured" else _PAPER, where)
        for key in ("data", "receipt", "citation"):
            if key in metric:
                text(metric[key], f"{where}.{key}")
        for key, low in (("way", 2), ("shot", 1), ("episodes", 1), ("seed", 0)):
            if key in metric:
                _number(metric[key], f"{where}.{key}", whole=True, low=low)
        for key in ("accuracy", "interval"):
            if key in metric:
                _number(metric[key], f"{where}.{key}", whole=False, low=0, high=100)


def _number(value: Any, at: str, *, whole: bool, low: float, high: float = math.inf) -> None:
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        wanted = f"a whole number from {low}" if whole else f"a number from {low} to {high:g}"
        raise CheckpointError(f"{at} is {value!r}; expected {wanted}")
