"""The manifest: which models there are, where their weights lie, and what was measured.

``weights_manifest.json`` is the single source; the structs here say what it may hold, and
``manifest.schema.json`` beside this file is written from them. It is read strictly: an unknown, missing or
ill-typed key is refused by name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from a2m2_zoo._utils.bounded_json import read
from a2m2_zoo.errors import CheckpointError, ModelNotFoundError
from a2m2_zoo.hub._strict import Strict, strict
from a2m2_zoo.hub.source import HF, Source

SCHEMA = 2
MAX_BYTES = 16 << 20
_PACKAGE = Path(__file__).resolve().parent.parent

Line = Annotated[str, Meta(min_length=1, max_length=2000, description="one line of text")]
Id = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9][a-z0-9.-]{0,95}$",
        description="lower-case letters, digits, dots and dashes",
    ),
]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="64 lower-case hex digits")]
Size = Annotated[int, Meta(ge=1, description="a number of bytes")]
Way = Annotated[int, Meta(ge=2, description="a whole number from 2")]
Count = Annotated[int, Meta(ge=1, description="a whole number from 1")]
Seed = Annotated[int, Meta(ge=0, description="a whole number from 0")]
Percent = Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")]


class BackboneEntry(Strict, frozen=True):
    """Weights of a backbone, shared by the models that name it.

    Attributes:
        id: Name of these weights, e.g. ``efficientnet-lite0``.
        architecture: Name that ``build_backbone`` knows.
        source: Where the file lies; None where a user has to bring it.
        sha256: Hash of the file, 64 hex digits; None without a source.
        size: Size of the file in bytes; None without a source, or where it is not known.
        license: SPDX identifier of the weights' licence.
        origin: Where the weights come from, and whether the hash is our own measurement.
        config: What else ``build_backbone`` needs, for an ``hf:`` architecture; None for the others.
    """

    id: Id
    architecture: Line
    source: Source | None
    sha256: Sha256 | None
    size: Size | None
    license: Line
    origin: Line
    config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _located(self)
        source = self.source
        if self.architecture.startswith(HF) and (
            source is None or self.architecture != f"{HF}{source.repo_id}@{source.commit}"
        ):
            raise CheckpointError(
                f"architecture is {self.architecture!r} and source another; give one repository and commit"
            )


class Measured(Strict, frozen=True, tag_field="kind", tag="measured"):
    """A figure that we measured, with what repeats it.

    Attributes:
        data: What it was measured on.
        way: Classes of an episode.
        shot: Supports per class.
        episodes: How many.
        seed: Of the episodes.
        accuracy: Percent.
        interval: Half width of the 95 % interval, percent.
        receipt: The file that has it.
    """

    data: Line
    way: Way
    shot: Count
    episodes: Count
    seed: Seed
    accuracy: Percent
    interval: Percent
    receipt: Line


class Paper(Strict, frozen=True, tag_field="kind", tag="paper"):
    """A figure that a paper reports.

    Attributes:
        data: What it was measured on.
        way: Classes of an episode.
        shot: Supports per class.
        accuracy: Percent.
        citation: The paper.
    """

    data: Line
    way: Way
    shot: Count
    accuracy: Percent
    citation: Line


class ModelEntry(Strict, frozen=True):
    """A few-shot recogniser: a method, a backbone, a preprocessing, and weights.

    Attributes:
        id: Name that ``load_model`` takes.
        status: In the package; on the Hub; trained by nobody yet; made from its backbone on first use.
        summary: One line for people.
        method: Name in the registry of methods.
        benchmark: The benchmark whose training classes it learned from; None for any other.
        backbone: ``id`` of a backbone entry.
        source: Where the head lies; None where there is no file.
        sha256: Hash of the file; None without a source.
        size: Size of the file in bytes; None without a source.
        license: SPDX identifier of the head's licence.
        data: What the head was, or would be, computed from, and its terms.
        config: The method's configuration; empty where it follows from the backbone.
        preprocess: The preprocessing, see ``a2m2_zoo.video.Preprocess``.
        metrics: Results: ``measured`` by us, with what repeats them, or of a ``paper``, with its citation.
        trained_with: The command that made it, or would.
    """

    id: Id
    status: Literal["embedded", "released", "planned", "computed"]
    summary: Line
    method: Line
    benchmark: Line | None
    backbone: Line
    source: Source | None
    sha256: Sha256 | None
    size: Size | None
    license: Line
    data: Line
    config: dict[str, Any]
    preprocess: dict[str, Any]
    metrics: list[Measured | Paper]
    trained_with: Line | None

    def __post_init__(self) -> None:
        super().__post_init__()
        _located(self)
        _fits(self)


class Listing(Strict, frozen=True):
    """``weights_manifest.json`` of a2m2_zoo.

    Attributes:
        schema: The version of this form.
        backbones: Weights that models stand on.
        models: The models.
    """

    schema: Literal[2]
    backbones: list[BackboneEntry]
    models: list[ModelEntry]


def _located(entry: BackboneEntry | ModelEntry) -> None:
    """A file has a hash; what has no file has neither hash nor size."""
    for key in ("sha256", "size") if entry.source is None else ():
        if getattr(entry, key) is not None:
            raise CheckpointError(f"{key} is given and source is null; give both")
    if entry.source is not None and entry.sha256 is None:
        raise CheckpointError("sha256 is null; a file is loaded only with its hash")


def _fits(entry: ModelEntry) -> None:
    """What each status needs and excludes."""
    place = None if entry.source is None else "file" if entry.source.repo_id is None else "hub"
    wanted, said = {
        "embedded": ("file", "a file beside the manifest"),
        "released": ("hub", "a repository of the Hub"),
        "planned": (None, "null: nobody has trained it"),
        "computed": (None, "null: the head is made on first use"),
    }[entry.status]
    if place != wanted:
        raise CheckpointError(f"source does not fit status {entry.status!r}; expected {said}")
    if place and entry.size is None:
        raise CheckpointError("size is null; expected a number of bytes")
    if entry.status == "planned":
        if entry.trained_with is None:
            raise CheckpointError("trained_with is null; expected the command that would train it")
        if any(isinstance(metric, Measured) for metric in entry.metrics):
            raise CheckpointError("metrics is measured and the model is planned; release it first")


_Entry = TypeVar("_Entry", BackboneEntry, ModelEntry)


@dataclass(frozen=True)
class Manifest:
    """All entries, by id, in the order of the file.

    Attributes:
        backbones: Weights that models stand on.
        models: The models.
        root: The folder that files without a repository lie in.
    """

    backbones: Mapping[str, BackboneEntry]
    models: Mapping[str, ModelEntry]
    root: Path = field(default=_PACKAGE)

    def model(self, name: str) -> ModelEntry:
        """The entry called ``name``.

        Raises:
            ModelNotFoundError: There is none; the nearest names are given.
        """
        if name in self.models:
            return self.models[name]
        near = difflib.get_close_matches(name, self.models, n=3, cutoff=0.5)
        usable = [entry.id for entry in self.models.values() if entry.status != "planned"]
        raise ModelNotFoundError(
            f"no model is called {name!r}; "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + f"Models to use now: {', '.join(usable)}; a local checkpoint is named by its path, "
            "`a2m2 models list` has all"
        )


def read_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read a manifest; without ``path`` the package's own, once per process.

    Files that a manifest from elsewhere names lie in its own folder or on the Hub, never in the package.

    Raises:
        CheckpointError: The file is missing, is no JSON, or breaks the schema; the key is named.
    """
    return _own() if path is None else _read(Path(path))


@cache
def _own() -> Manifest:
    return _read(_PACKAGE / "weights_manifest.json")


def _read(path: Path) -> Manifest:
    try:
        raw = read(path, most=MAX_BYTES)
    except OSError as error:
        raise CheckpointError(
            f"cannot read the manifest {str(path)!r}: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"the manifest {path.name!r} is not JSON: {error}") from error
    return parse_manifest(raw, root=path.parent)


def parse_manifest(raw: Any, *, root: Path = _PACKAGE) -> Manifest:
    """Check plain JSON values against the schema.

    Args:
        raw: The values.
        root: The folder of files without a repository.

    Raises:
        CheckpointError: The first key that is unknown, missing or wrong, by name.
    """
    if isinstance(raw, dict) and (given := raw.get("schema", SCHEMA)) != SCHEMA:
        raise CheckpointError(
            f"manifest.schema is {given!r}; this version reads {SCHEMA}; install the version of "
            "a2m2_zoo that it was written for"
        )
    found = strict(raw, Listing, "manifest")
    backbones = _by_id(found.backbones, "manifest.backbones")
    models = _by_id(found.models, "manifest.models")
    for name, model in models.items():
        if model.backbone not in backbones:
            raise CheckpointError(
                f"manifest.models[{name}].backbone names {model.backbone!r}, which is not listed"
            )
    return Manifest(backbones, models, root)


def _by_id(entries: list[_Entry], where: str) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for entry in entries:
        if found.setdefault(entry.id, entry) is not entry:
            raise CheckpointError(f"{where}[{entry.id}] is listed twice")
    return found


def json_schema() -> dict[str, Any]:
    """What ``manifest.schema.json`` holds; reading is stricter where one value depends on another."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **msgspec.json.schema(Listing)}


def list_models() -> list[str]:
    """Names of the models that ``load_model`` can give: embedded, released or computed.

    >>> "a2m2-lite0" in list_models()
    True
    """
    return [entry.id for entry in read_manifest().models.values() if entry.status != "planned"]


def package_file(relative: str) -> Path:
    """A file of the package."""
    return _PACKAGE / PurePosixPath(relative)
