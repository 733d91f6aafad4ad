"""The manifest: which models there are, where their weights lie, and what was measured.

``weights_manifest.json`` is the single source; ``manifest.schema.json`` beside this file says what it may
hold. It is read strictly: an unknown, missing or ill-typed key is refused by name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from a2m2_zoo._utils.bounded_json import read
from a2m2_zoo.errors import CheckpointError, ModelNotFoundError
from a2m2_zoo.hub import _checks
from a2m2_zoo.hub.source import Source

#: What ``load_model`` and the command line take where no model is named.
DEFAULT_MODEL = "a2m2-lite0"
#: In the package; on the Hub; trained by nobody yet; made from its backbone on first use.
STATUSES = ("embedded", "released", "planned", "computed")
SCHEMA = 2
MAX_BYTES = 16 << 20
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class BackboneEntry:
    """Weights of a backbone, shared by the models that name it.

    Attributes:
        id: Name of these weights, e.g. ``efficientnet-lite0``.
        architecture: Name that ``build_backbone`` knows.
        source: Where the file lies; None where a user has to bring it.
        sha256: Hash of the file, 64 hex digits; None without a source.
        size: Size of the file in bytes; None without a source, or where it is not known.
        license: SPDX identifier of the weights' licence.
        origin: Where the weights come from, and whether the hash is our own measurement.
    """

    id: str
    architecture: str
    source: Source | None
    sha256: str | None
    size: int | None
    license: str
    origin: str


@dataclass(frozen=True)
class ModelEntry:
    """A few-shot recogniser: a method, a backbone, a preprocessing, and weights.

    Attributes:
        id: Name that ``load_model`` takes.
        status: One of ``STATUSES``.
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

    id: str
    status: str
    summary: str
    method: str
    benchmark: str | None
    backbone: str
    source: Source | None
    sha256: str | None
    size: int | None
    license: str
    data: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    metrics: list[dict[str, Any]]
    trained_with: str | None


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
    _checks.keys(raw, {"schema", "backbones", "models"}, "manifest")
    if raw["schema"] != SCHEMA or isinstance(raw["schema"], bool):
        raise CheckpointError(
            f"manifest.schema is {raw['schema']!r}; this version reads {SCHEMA}; install the version of "
            "a2m2_zoo that it was written for"
        )
    backbones = {}
    for at, values in _checks.entries(raw["backbones"], _checks.BACKBONE, "manifest.backbones"):
        _checks.located(values, at)
        backbones[values["id"]] = BackboneEntry(**{**values, "source": _source(values)})
    models = {}
    for at, values in _checks.entries(raw["models"], _checks.MODEL, "manifest.models"):
        _checks.located(values, at)
        _checks.status(values, at, STATUSES)
        _checks.metrics(values, at)
        if values["backbone"] not in backbones:
            raise CheckpointError(
                f"{at}.backbone names {values['backbone']!r}, which is not listed"
            )
        models[values["id"]] = ModelEntry(**{**values, "source": _source(values)})
    return Manifest(backbones, models, root)


def _source(values: Mapping[str, Any]) -> Source | None:
    return None if values["source"] is None else Source(**values["source"])


def list_models() -> list[str]:
    """Names of the models that ``load_model`` can give: embedded, released or computed.

    >>> "a2m2-lite0" in list_models()
    True
    """
    return [entry.id for entry in read_manifest().models.values() if entry.status != "planned"]


def package_file(relative: str) -> Path:
    """A file of the package."""
    return _PACKAGE / PurePosixPath(relative)
