"""The manifest: which models there are, where their weights lie, and what was measured.

``weights_manifest.json`` is the single source. It is read strictly: an unknown, missing or ill-typed
key is refused by name.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from a2m2_zoo.errors import CheckpointError, ModelNotFoundError

#: What ``load_model`` and the command line take where no model is named.
DEFAULT_MODEL = "a2m2-lite0"
STATUSES = ("embedded", "released", "planned")
_PACKAGE = Path(__file__).resolve().parent.parent
_T = TypeVar("_T")


@dataclass(frozen=True)
class BackboneEntry:
    """Weights of a backbone, shared by the models that name it.

    Attributes:
        id: Name of these weights, e.g. ``efficientnet-lite0``.
        architecture: Name that ``build_backbone`` knows.
        file: Path inside the package, with forward slashes.
        sha256: Hash of the file, 64 hex digits.
        size: Size of the file in bytes.
        license: SPDX identifier of the weights' licence.
        origin: Where the weights come from.
    """

    id: str
    architecture: str
    file: str
    sha256: str
    size: int
    license: str
    origin: str


@dataclass(frozen=True)
class ModelEntry:
    """A few-shot recogniser: a method, a backbone, a preprocessing, and weights.

    Attributes:
        id: Name that ``load_model`` takes.
        status: ``embedded`` (in the package), ``released`` (on the Hub) or ``planned``.
        summary: One line for people.
        method: Name in the registry of methods.
        backbone: ``id`` of a backbone entry.
        file: Path inside the package.
        sha256: Hash of the file.
        size: Size of the file in bytes.
        license: SPDX identifier of the head's licence.
        data: What the head was computed from, and its terms.
        config: The method's configuration.
        preprocess: The preprocessing, see ``a2m2_zoo.video.Preprocess``.
        metrics: Measured results, each with its receipt.
    """

    id: str
    status: str
    summary: str
    method: str
    backbone: str
    file: str
    sha256: str
    size: int
    license: str
    data: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    metrics: list[dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """All entries, by id, in the order of the file."""

    backbones: Mapping[str, BackboneEntry]
    models: Mapping[str, ModelEntry]

    def model(self, name: str) -> ModelEntry:
        """The entry called ``name``.

        Raises:
            ModelNotFoundError: There is none; the nearest names are given.
        """
        if name in self.models:
            return self.models[name]
        near = difflib.get_close_matches(name, self.models, n=3, cutoff=0.5)
        raise ModelNotFoundError(
            f"no model is called {name!r}; "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + f"Known models: {', '.join(self.models)}; a local checkpoint is named by its path"
        )


@cache
def read_manifest(path: Path | None = None) -> Manifest:
    """Read a manifest; without ``path`` the package's own.

    Raises:
        CheckpointError: The file is missing, is no JSON, or breaks the schema; the key is named.
    """
    path = path or _PACKAGE / "weights_manifest.json"
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"cannot read the manifest {str(path)!r}: {error.strerror}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the manifest {path.name!r} is not JSON: {error}") from error
    return parse_manifest(raw)


def parse_manifest(raw: Any) -> Manifest:
    """Check plain JSON values against the schema.

    Raises:
        CheckpointError: The first key that is unknown, missing or wrong, by name.
    """
    where = "manifest"
    _keys(raw, {"schema", "backbones", "models"}, where)
    if raw["schema"] != 1:
        raise CheckpointError(f"{where}.schema is {raw['schema']!r}; this version reads 1")
    backbones = _entries(raw["backbones"], BackboneEntry, f"{where}.backbones")
    models = _entries(raw["models"], ModelEntry, f"{where}.models")
    for entry in models.values():
        at = f"{where}.models[{entry.id}]"
        if entry.status not in STATUSES:
            raise CheckpointError(
                f"{at}.status is {entry.status!r}; expected one of {', '.join(STATUSES)}"
            )
        if entry.backbone not in backbones:
            raise CheckpointError(f"{at}.backbone names {entry.backbone!r}, which is not listed")
    return Manifest(backbones, models)


def list_models() -> list[str]:
    """Names of the models that ``load_model`` knows.

    >>> "a2m2-lite0" in list_models()
    True
    """
    return list(read_manifest().models)


def package_file(relative: str) -> Path:
    """A file of the package that the manifest names; it cannot lie outside the package."""
    return _PACKAGE / PurePosixPath(relative)


def _entries(raw: Any, kind: Callable[..., _T], where: str) -> dict[str, _T]:
    if not isinstance(raw, list):
        raise CheckpointError(f"{where} is {type(raw).__name__}; expected a list")
    found: dict[str, _T] = {}
    for index, item in enumerate(raw):
        at = f"{where}[{item['id'] if isinstance(item, dict) and 'id' in item else index}]"
        entry = _entry(item, kind, at)
        name = item["id"]
        if name in found:
            raise CheckpointError(f"{at} is listed twice")
        found[name] = entry
    return found


_TYPES: dict[str, type] = {
    "str": str,
    "int": int,
    "dict[str, Any]": dict,
    "list[dict[str, Any]]": list,
}


def _entry(raw: Any, kind: Callable[..., _T], where: str) -> _T:
    declared = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    _keys(raw, set(declared), where)
    for name, field in declared.items():
        expected = _TYPES[str(field.type)]
        if not isinstance(raw[name], expected) or isinstance(raw[name], bool):
            raise CheckpointError(
                f"{where}.{name} is {type(raw[name]).__name__}; expected {expected.__name__}"
            )
    if not re.fullmatch(r"[0-9a-f]{64}", raw["sha256"]):
        raise CheckpointError(f"{where}.sha256 is not 64 lower-case hex digits")
    file = PurePosixPath(raw["file"])
    if file.is_absolute() or ".." in file.parts or "\\" in raw["file"] or ":" in raw["file"]:
        raise CheckpointError(
            f"{where}.file is {raw['file']!r}; expected a path inside the package"
        )
    return kind(**raw)


def _keys(raw: Any, expected: set[str], where: str) -> None:
    if not isinstance(raw, dict):
        raise CheckpointError(f"{where} is {type(raw).__name__}; expected an object")
    for key in sorted(set(map(str, raw)) - expected):
        raise CheckpointError(f"{where}.{key} is not a known key; expected {sorted(expected)}")
    for key in sorted(expected - set(raw)):
        raise CheckpointError(f"{where}.{key} is missing")
