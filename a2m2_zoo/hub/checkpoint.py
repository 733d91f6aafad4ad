"""The checkpoint format: one safetensors file whose header says what it is.

The header's metadata holds one key, ``a2m2_zoo``, with JSON: the format's version, the kind of file and
a record of plain values. Files are hostile until checked: the size is bounded before a file is read, the
hash is compared before anything is parsed, and safetensors holds every shape to the bytes that are there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._files import write_atomically
from a2m2_zoo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MAX_BYTES = 4 << 30
_MAX_HEADER = 16 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A parsed file.

    Attributes:
        record: What the header says.
        tensors: The tensors, on the CPU.
        sha256: Hash of the bytes that were parsed.
    """

    record: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    record: Mapping[str, Any],
) -> str:
    """Write a checkpoint beside ``path`` and rename it into place.

    Args:
        path: File to write.
        tensors: Tensors by name.
        kind: What the file is, e.g. ``model`` or ``bank``.
        record: Plain JSON values.

    Returns:
        The sha256 of the file.

    Raises:
        SaveError: It could not be written.
    """
    from safetensors.torch import save as serialise

    header = json.dumps({"format": FORMAT, "kind": kind, "record": record}, sort_keys=True)
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = serialise(packed, metadata={"a2m2_zoo": header})
    write_atomically(path, lambda scratch: scratch.write_bytes(data))
    return hashlib.sha256(data).hexdigest()


def load(
    path: str | os.PathLike[str],
    *,
    kind: str,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Checkpoint:
    """Read and check a checkpoint.

    Args:
        path: File to read.
        kind: What it must be.
        sha256: Hash it must have; None where nobody announced one.
        max_bytes: Refuse larger files.

    Raises:
        CheckpointError: It is missing, too large, has another hash, or is broken.
    """
    data, digest = _verified(Path(path), sha256, max_bytes)
    header = _header(data, Path(path).name)
    if header["kind"] != kind:
        raise CheckpointError(
            f"{Path(path).name!r} is a {header['kind']} file; expected a {kind} file"
        )
    return Checkpoint(header["record"], _tensors(data, Path(path).name), digest)


def read_tensors(
    path: str | os.PathLike[str], *, sha256: str, max_bytes: int = MAX_BYTES
) -> dict[str, Tensor]:
    """Tensors of any safetensors file whose hash was announced, such as a backbone's weights.

    Raises:
        CheckpointError: It is missing, too large, has another hash, or is broken.
    """
    return _tensors(_verified(Path(path), sha256, max_bytes)[0], Path(path).name)


def _verified(path: Path, sha256: str | None, max_bytes: int) -> tuple[bytes, str]:
    data = _read(path, max_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"{path.name!r} has sha256 {digest} where {sha256} was announced; it is damaged or was "
            "replaced: install the package or fetch the file again"
        )
    return data, digest


def _tensors(data: bytes, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        return parse(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{name!r} is not a sound safetensors file: {error}") from error


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise CheckpointError(
                f"{path.name!r} has {size:,} bytes; the limit is {max_bytes:,} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _header(data: bytes, name: str) -> dict[str, Any]:
    """The package's own part of the header, with everything checked that it will be trusted for."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MAX_HEADER, len(data) - 8):
        raise CheckpointError(f"{name!r} is not a safetensors file, or was cut short")
    try:
        raw = json.loads(data[8 : 8 + size])
        own = json.loads(raw["__metadata__"]["a2m2_zoo"])
        version, kind, record = own["format"], own["kind"], own["record"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{name!r} was not written by a2m2_zoo (its header has no a2m2_zoo record)"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{name!r} has format {version!r}; this version of a2m2_zoo reads {FORMAT}"
        )
    if not isinstance(kind, str) or not isinstance(record, dict):
        raise CheckpointError(f"{name!r} has a broken a2m2_zoo record")
    return {"kind": kind, "record": record}
