"""Backbones of other libraries and of plugins by their own names, with weights that are pinned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.bounded_json import MAX_BYTES, read
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones import BACKBONES, build_backbone, from_timm, split
from a2m2_zoo.backbones.clip import repository as clip_repository
from a2m2_zoo.backbones.registry import LIBRARIES, tower_of
from a2m2_zoo.errors import ArgumentError, CheckpointError, FetchError, ModelNotFoundError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import fetch, file_sha256, is_there, local
from a2m2_zoo.hub.source import HF, Source, is_repository
from a2m2_zoo.zoo.backbone_files import BackboneFile
from a2m2_zoo.zoo.shards import INDEX, joined

#: How names begin of backbones that the package's own table has, plugins among them.
OWN = "backbone:"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_PIXELS = ("preprocessor_config.json", "video_preprocessor_config.json")
_PICKLES = ("pytorch_model.bin", "open_clip_pytorch_model.bin")
#: Fetches a file of a repository, with a hash if there is one to compare with.
Fetch = Callable[[Source, "str | None"], Path]
#: A file of weights, and its hash where it is known.
_Weights = tuple[Path, "str | None"]


def is_backbone_name(name: str) -> bool:
    """Whether a model's name is that of a backbone, on which its head is computed.

    >>> is_backbone_name("timm:resnet18@weights.safetensors"), is_backbone_name("a2m2-lite0")
    (True, False)
    """
    return name.startswith((*LIBRARIES, OWN))


def find_backbone(
    name: str,
    *,
    offline: bool | None = None,
    sha256: str | None = None,
    force: bool = False,
    take: Fetch | None = None,
) -> BackboneFile:
    """The backbone behind a name, its weights fetched where they are on the Hub.

    Args:
        name: ``hf:ORG/NAME@COMMIT``; ``backbone:NAME`` or ``backbone:NAME@FILE``; or a library's name with
            its weights behind it: ``timm:resnet18.a1_in1k@COMMIT`` of the library's own repository,
            ``timm:resnet18@ORG/NAME@COMMIT`` of another, ``timm:resnet18@FILE.safetensors``.
        offline: Never use the network.
        sha256: Hash that the file of weights must have.
        force: Fetch again what is here already.
        take: Gives a file of the Hub, in place of fetching it.

    Raises:
        ModelNotFoundError: The name has another form, its library has none of that name, or it does not say
            which weights, and none are built in.
        ArgumentError: ``sha256`` is not that of the weights which a backbone brings.
        FetchError: A file cannot be fetched.
        CheckpointError: A file is missing or damaged.
    """

    def fetched(source: Source, digest: str | None) -> Path:
        return fetch(source, root=Path(), sha256=digest, offline=offline, force=force, name=name)

    get = take or fetched
    if name.startswith(HF):
        return _transformers(name, get, sha256)
    plain, _, weights = name.partition("@")
    if name.startswith(OWN) and not weights:
        return _own(plain.removeprefix(OWN), sha256)
    path, digest = _weights(plain, weights, get, sha256)
    return _file(plain.removeprefix(OWN), path, sha256 or digest)


def _file(
    architecture: str, path: Path, sha256: str | None, config: dict[str, Any] | None = None
) -> BackboneFile:
    digest = sha256 or file_sha256(path)
    return BackboneFile(
        architecture, architecture, path, digest, beside=_beside(digest), config=config
    )


def _beside(digest: str) -> str:
    """What the file of weights is called beside a model that is saved."""
    return f"backbone-{digest[:12]}.safetensors"


def _weights(plain: str, weights: str, get: Fetch, sha256: str | None) -> _Weights:
    """The file of weights that stands behind a library's name."""
    repo_id, _, commit = weights.rpartition("@")
    if not repo_id and _is_commit(commit):
        found = _repository(plain)
        if found is None:
            raise ModelNotFoundError(
                f"{plain} has no repository of its own on the Hub; give {plain}@ORG/NAME@COMMIT or "
                f"{plain}@FILE.safetensors"
            )
        repo_id = found
    if repo_id and _is_commit(commit):
        if not is_repository(repo_id):
            raise ModelNotFoundError(
                f"{repo_id[:80]!r} is no repository of the Hub; expected ORG/NAME"
            )
        return _fetched(Source(_file_of(plain), repo_id, commit), get, sha256)
    path = Path(weights)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise CheckpointError(f"cannot read the weights {weights!r}: there is no such file")
        return path, None
    said = f"the weights {weights[:80]!r}" if weights else "no weights"
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"):
        raise CheckpointError(
            f"{weights[-80:]!r} is a pickle, which can run code when it is opened; expected .safetensors"
        )
    raise ModelNotFoundError(
        f"{plain} came with {said}; give {plain}@FILE.safetensors, {plain}@ORG/NAME@COMMIT, or @COMMIT of "
        "the library's own repository (40 hex digits: a branch or tag can change under you)"
    )


def _file_of(plain: str) -> str:
    """What the file of weights is called in a repository."""
    return f"open_clip_{_WEIGHTS}" if plain.startswith(("open_clip:", "clip:")) else _WEIGHTS


def _repository(plain: str) -> str | None:
    library, within = split(plain)
    if library == "timm:":
        return from_timm.repository(within)
    return clip_repository(*tower_of(plain)) if library == "open_clip:" else None


def _transformers(name: str, get: Fetch, sha256: str | None) -> BackboneFile:
    repo_id, _, commit = name.removeprefix(HF).partition("@")
    if not is_repository(repo_id) or not _is_commit(commit):
        raise ModelNotFoundError(
            f"{name[:200]!r} names no commit of a repository; expected hf:ORG/NAME@COMMIT with the 40 hex "
            "digits of a commit (a branch or tag can change under you)"
        )

    def values(file: str) -> Any:
        try:
            return read(get(Source(file, repo_id, commit), None), most=MAX_BYTES)
        except ValueError as error:
            raise CheckpointError(f"{file} of {repo_id} is not JSON: {error}") from error
        except FetchError:
            raise
        except OSError as error:
            raise CheckpointError(f"cannot read {file} of {repo_id}: {error}") from error

    config = {"model": values(_CONFIG), "preprocess": None}
    here = [f for f in _PIXELS if local(Source(f, repo_id, commit), root=Path()) is not None]
    for file in here or _PIXELS:
        try:
            config["preprocess"] = values(file)
            break
        except FetchError as error:
            if file == _PIXELS[-1] or not _absent(error):
                raise
    path, digest = _fetched(Source(_WEIGHTS, repo_id, commit), get, sha256)
    return _file(name, path, sha256 or digest, config)


def _fetched(source: Source, get: Fetch, sha256: str | None) -> _Weights:
    """A file of weights, joined where a repository has several, or why there is none that is safe to open."""
    index = Source(f"{source.file}{INDEX}", source.repo_id, source.commit)
    if local(index, root=Path()) is not None and local(source, root=Path()) is None:
        return _joined(index, get)
    try:
        return get(source, sha256), None
    except FetchError as error:
        if not _absent(error):
            raise
        assert source.repo_id is not None
        assert source.commit is not None
        where = f"{source.repo_id} at {source.commit[:12]}"
        if is_there(index.file, source.repo_id, source.commit):
            return _joined(index, get)
        for pickle in _PICKLES:
            if is_there(pickle, source.repo_id, source.commit):
                raise CheckpointError(
                    f"{where} has its weights as a pickle only ({pickle}), which can run code when it is "
                    "opened; take a repository or a commit with safetensors"
                ) from error
        raise


def _joined(index: Source, get: Fetch) -> _Weights:
    """The weights that lie in several files."""

    def shard(file: str) -> Path:
        return get(Source(file, index.repo_id, index.commit), None)

    return joined(get(index, None), f"{index.repo_id} at {str(index.commit)[:12]}", shard)


def _own(name: str, sha256: str | None) -> BackboneFile:
    """A backbone of the package's table with the weights it is built with, the same each time."""
    if name not in BACKBONES:
        build_backbone(name)  # which says what names there are
    digest = own_weights_hash(name)
    if own_weights_hash(name) != digest:
        raise ModelNotFoundError(
            f"{OWN}{name} brings no weights: they are drawn anew each time it is built; give trained ones, "
            f"{OWN}{name}@FILE.safetensors, or a library's name with its weights, such as "
            "timm:resnet50.a1_in1k@COMMIT or torchvision:resnet50@FILE.safetensors"
        )
    if sha256 not in (None, digest):
        raise ArgumentError(f"sha256 is {sha256} and the weights of {name} have {digest}")
    return BackboneFile(name, name, None, digest, beside=_beside(digest))


@apart
def own_weights_hash(name: str) -> str:
    """Hash of the file that ``Model.save`` writes of a backbone with its own weights."""
    backbone = build_backbone(name)
    data = checkpoint.serialised(
        backbone.state_dict(), kind="backbone", record={"architecture": name}
    )
    return hashlib.sha256(data).hexdigest()


def _is_commit(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{40}", text))


def _absent(error: FetchError) -> bool:
    return type(error.__cause__).__name__ in ("RemoteEntryNotFoundError", "EntryNotFoundError")
