"""The checkpoint format: one safetensors file whose header says what it is.

The header's metadata holds one key, ``a2m2_zoo``, with JSON: the format's version, the kind of file, a record
of plain values, and the sha256 of kind, record and tensors, so that a bit that flipped on a disk is noticed
where nobody announced a hash of the file. Files are hostile until checked: only regular ones of bounded size
are opened, an announced hash is compared before anything is parsed, the header is read within bounds and held
to the bytes that are there, and numbers that are not finite are refused.
A file is never in memory as a whole: its hash is taken in pieces, and tensors are copied out of a mapping of
it a few at a time, so that loading needs little more than the tensors do, and what becomes of the file later
changes none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.files import open_regular, write_atomically
from a2m2_zoo.errors import CheckpointError, SaveError
from a2m2_zoo.hub._header import Header, read_header

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MAX_BYTES = 5 << 30  # other programs cut at 5 GB
_PIECE = 1 << 20
_MAPPED = 32 << 20  # bytes of a file that are mapped before it is mapped anew
_AGAIN = 10  # times that a file is read from its beginning if others replace it meanwhile
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Checkpoint:
    """A parsed file.

    Attributes:
        record: What the header says.
        tensors: The tensors, on the CPU.
        sha256: Hash of the bytes that were parsed.
        plain_sha256: Hash of the same file without the hash of its content in its header. What computes with
            the weights is known by it, so that a model that is saved again stays the one it was.
        summed: Whether the header has a hash of the content, which was compared; files of versions before
            there was one have none.
    """

    record: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str
    plain_sha256: str
    summed: bool = True


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
    data = serialised(tensors, kind=kind, record=record)
    write_atomically(path, lambda scratch: scratch.write_bytes(data))
    return hashlib.sha256(data).hexdigest()


def serialised(
    tensors: Mapping[str, Tensor], *, kind: str, record: Mapping[str, Any], summed: bool = True
) -> bytes:
    """The bytes of a checkpoint, arguments as of ``save``.

    Args:
        tensors: Tensors by name.
        kind: What the file is.
        record: Plain JSON values.
        plain_sha256: Hash of the same file without the hash of its content in its header. What computes with
            the weights is known by it, so that a model that is saved again stays the one it was.
        summed: Whether the header gets a hash of the content.

    Raises:
        SaveError: A number is not finite.
    """
    from safetensors.torch import save as serialise

    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in packed.items():
        if not _is_finite(name, tensor):
            raise SaveError(f"the {kind} cannot be saved: {name!r} has numbers that are not finite")
    own: dict[str, Any] = {"format": FORMAT, "kind": kind, "record": record}
    try:
        plain = parse(json.dumps(record, allow_nan=False))  # as it will be read back
    except ValueError as error:
        raise SaveError(f"the {kind} cannot be saved: {error}") from error
    if summed:
        own["sha256"] = content_sha256(kind, plain, packed)
    return serialise(packed, metadata={"a2m2_zoo": json.dumps(own, sort_keys=True)})


def content_sha256(kind: str, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hash over all that a checkpoint says, however it is laid out in the file."""
    import torch

    digest = hashlib.sha256(json.dumps([kind, record], sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
        CheckpointError: It is missing, no regular file, too large, has another hash, or is broken.
    """
    path = Path(path)

    def read() -> Checkpoint:
        with _verified(path, sha256, max_bytes) as (digest, header):
            record, announced = _record(header, path.name, kind)
            tensors = _tensors(path, header.names)
            if announced not in (None, content_sha256(kind, record, tensors)):
                raise CheckpointError(
                    f"{path.name!r} is damaged: its content does not have the hash that its header gives; "
                    "make or fetch it again"
                )
            plain = digest if announced is None else _plain_sha256(path, header, announced)
            return Checkpoint(record, tensors, digest, plain, summed=announced is not None)

    return _unchanged(read)


def read_tensors(
    path: str | os.PathLike[str],
    *,
    sha256: str | None,
    keep: Callable[[list[str]], Iterable[str]] | None = None,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Tensor]:
    """Tensors of any safetensors file, such as a backbone's weights.

    Args:
        path: File to read.
        sha256: Hash it must have; None where nobody announced one.
        keep: Takes the names of all tensors and gives those that are wanted; all if None.
        max_bytes: Refuse larger files.

    Raises:
        CheckpointError: It is missing, no regular file, too large, has another hash, or is broken.
    """
    path = Path(path)

    def read() -> dict[str, Tensor]:
        with _verified(path, sha256, max_bytes) as (_, header):
            names = list(header.names)
            return _tensors(path, names if keep is None else dict.fromkeys(keep(names)))

    return _unchanged(read)


class _ChangedError(CheckpointError):
    """Another file lies there than the one that was begun with."""


def _unchanged(read: Callable[[], _Read]) -> _Read:
    """What is read of a file, from the beginning again where it was replaced meanwhile."""
    for _ in range(_AGAIN):
        with suppress(_ChangedError):
            return read()
    return read()


@contextmanager
def _verified(path: Path, sha256: str | None, max_bytes: int) -> Iterator[tuple[str, Header]]:
    """The hash of a file, once it was compared, and its header; afterwards it must still be that file."""
    try:
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > max_bytes:
                raise CheckpointError(
                    f"{path.name!r} has {before.st_size:,} bytes; the limit is {max_bytes:,} bytes"
                )
            # Where no hash was announced, what is no such file at all need not be read to its end.
            header = _header(file, path, before.st_size) if sha256 is None else None
            digest = _hash(file)
            if sha256 not in (None, digest):
                raise CheckpointError(
                    f"{path.name!r} has sha256 {digest} where {sha256} was announced; it is damaged or was "
                    "replaced: install the package or fetch the file again"
                )
            header = header or _header(file, path, before.st_size)
        try:
            yield digest, header
        except CheckpointError as error:  # of two files that were taken for one
            _check_same(path, before, error)
            raise
        _check_same(path, before)
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _check_same(path: Path, before: os.stat_result, error: Exception | None = None) -> None:
    if _mark(before) != _mark(path.stat()):
        raise _ChangedError(
            f"{path.name!r} was changed while it was read; load it again"
        ) from error


def _header(file: BinaryIO, path: Path, size: int) -> Header:
    file.seek(0)
    try:
        return read_header(file, size)
    except ValueError as error:
        raise _damaged(path, error) from error


def _hash(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _plain_sha256(path: Path, header: Header, announced: str) -> str:
    """Hash of the file as it would be had the header no hash of the content."""
    entry = json.dumps(f', "sha256": "{announced}"')[1:-1].encode()  # JSON inside JSON
    text = header.raw.replace(entry, b"", 1).rstrip(b" ")
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256(len(text).to_bytes(8, "little") + text)
    with open_regular(path) as file:
        file.seek(8 + len(header.raw))
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _damaged(path: Path, error: object) -> CheckpointError:
    return CheckpointError(f"{path.name!r} is not a safetensors file, or is damaged: {error}")


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """The file as safetensors maps it; whatever is wrong with it is a ``CheckpointError``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise _damaged(path, error) from error


def _tensors(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the tensors that are wanted, every number of them finite."""
    from a2m2_zoo._utils.workers import apart  # which loads torch

    return apart(_copied)(path, list(names))


def _copied(path: Path, wanted: list[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    while len(found) < len(wanted):
        held = 0
        with _mapped(path) as file:  # mapped pages count as memory in use until they are let go
            for name in wanted[len(found) :]:
                found[name] = file.get_tensor(name).clone()
                if not _is_finite(name, found[name]):
                    raise CheckpointError(
                        f"{path.name!r} has numbers that are not finite, in {name[:60]!r}; make it again"
                    )
                held += found[name].nbytes
                if held > _MAPPED:
                    break
    return found


def _is_finite(name: str, tensor: Tensor) -> bool:
    """Whether no number is infinite or none; of an optimiser's own sums nothing is asked."""
    if name.startswith("optimiser.") or not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = tensor.aminmax()  # either is NaN if any is
    return bool(low.isfinite() & high.isfinite())


def _record(header: Header, name: str, kind: str) -> tuple[dict[str, Any], str | None]:
    """The package's own part of the header and its hash of the content, checked for all that is trusted."""
    try:
        own = parse(header.metadata["a2m2_zoo"])
        version, found, record = own["format"], own["kind"], own["record"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{name!r} was not written by a2m2_zoo (its header has no a2m2_zoo record)"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{name!r} has format {version!r:.40}; this version of a2m2_zoo reads {FORMAT}"
        )
    digest = own.get("sha256")
    # No other key: a flipped bit in the name of the hash must not do away with it.
    strange = set(own) - {"format", "kind", "record", "sha256"} or (
        "sha256" in own and not isinstance(digest, str)
    )
    if strange or not isinstance(found, str) or not isinstance(record, dict):
        raise CheckpointError(f"{name!r} has a broken a2m2_zoo record")
    if found != kind:
        raise CheckpointError(f"{name!r} is a file of kind {found[:40]!r}; expected {kind!r}")
    return record, digest
