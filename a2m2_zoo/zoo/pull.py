"""The files behind a model's name: fetched, compared with what was announced, put into one folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from a2m2_zoo._utils.files import exists, new_folder
from a2m2_zoo.errors import ArgumentError, CheckpointError, FetchError, WeightsNotReleased
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import compared, fetch, file_sha256, local
from a2m2_zoo.hub.manifest import Manifest, read_manifest
from a2m2_zoo.hub.source import Source
from a2m2_zoo.zoo.any_backbone import find_backbone, is_backbone_name
from a2m2_zoo.zoo.backbone_files import BackboneFiles
from a2m2_zoo.zoo.load import HUB, checkpoint_file, hub_source, load_model

HEAD, BACKBONE = "head", "backbone"
_MODEL, _BACKBONE = "model.safetensors", "backbone.safetensors"
#: Gives the path of a file by its role, its source and the hash it should have; None stops there.
_Take = Callable[[str, Source, str | None], Path | None]


@dataclass(frozen=True)
class File:
    """A file of a model.

    Attributes:
        role: ``head`` or ``backbone``.
        source: Where it comes from; where it lies for a file of a folder.
        path: Where it lies; None if it is not on this machine.
        size: Its bytes; None if it is not on this machine.
        sha256: Its hash; None if it is not on this machine.
        announced: The hash it should have; None where nobody announced one.
        remote: Whether it comes from the Hub, and may be missing until it is fetched.
        fault: What is wrong with its content, where that is known beyond its hash.
    """

    role: str
    source: str
    path: Path | None
    size: int | None
    sha256: str | None
    announced: str | None
    remote: bool
    fault: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state != "damaged" and (self.remote or self.state != "missing")

    @property
    def state(self) -> str:
        """``ok``, ``missing``, ``damaged``, or ``unchecked`` where nobody announced a hash."""
        if self.path is None:
            return "missing"
        if self.fault is not None:
            return "damaged"
        if self.announced is None:
            return "unchecked"
        return "ok" if self.sha256 == self.announced else "damaged"


def pull(
    name: str,
    *,
    to: Path | None = None,
    force: bool = False,
    offline: bool | None = None,
    manifest: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[File]:
    """Fetch the files of a model, and compare their hashes also where they were here already.

    Args:
        name: A model or a backbone of the manifest, ``hf-hub:ORG/NAME@COMMIT``, or a backbone's name with
            its weights as ``load_model`` takes it.
        to: A folder to write that ``load_model`` takes and that needs neither the cache nor the network; it
            must not exist yet, or be empty. It appears complete or not at all. Its head is another file than
            the one pulled, since it says that its backbone lies beside it: banks belong to one of the two.
        force: Fetch again what is here already.
        offline: Never use the network; None follows ``HF_HUB_OFFLINE``.
        manifest: Another manifest to look names up in.
        progress: Called with clips done and all clips while a head is computed for ``to``.

    Returns:
        The files, those of ``to`` where it is given.

    Raises:
        ModelNotFoundError: No model goes by that name.
        WeightsNotReleased: Nobody has trained it yet.
        ArgumentError: ``to`` is given of a backbone alone.
        FetchError: A file cannot be fetched, or is damaged.
        SaveError: ``to`` is there already, or cannot be written.
    """
    listed, found = read_manifest(manifest), dict[str, File]()
    if to is not None and name in listed.backbones:
        raise ArgumentError(f"{name!r} is a backbone and no model; give a model that stands on it")

    if is_backbone_name(name):
        part = find_backbone(name, offline=offline, force=force)
        if to is None:
            return [] if part.path is None else [_written(BACKBONE, part.path)]
        with new_folder(to) as scratch:
            made = load_model(name, device="cpu", offline=offline, progress=progress)
            made.save(scratch / _MODEL)
        return [
            _written(HEAD, to / _MODEL),
            _written(BACKBONE, to / str(made.backbone_file)),
        ]

    def take(role: str, source: Source, sha256: str | None) -> Path:
        path = fetch(source, root=listed.root, offline=offline, force=force, name=name)
        digest = compared(path, sha256 or _hash_in_the_cache(path), source=source, name=name)
        found[role] = _file(role, source, path, digest, sha256)
        return path

    if to is None:
        _walk(name, listed, take)
        return list(found.values())
    with new_folder(to) as scratch:
        architecture = _walk(name, listed, take)
        head = found.get(HEAD)
        if head is None:
            model = load_model(
                name, device="cpu", offline=offline, manifest=manifest, progress=progress
            )
            record, tensors = model.record(), model.method.weights()
        else:
            read = checkpoint.load(head.path or "", kind="model", sha256=head.sha256)
            record, tensors = read.record, read.tensors
        if head is None or isinstance(record["backbone"], str):
            config = listed.backbones[record["backbone"]].config
            backbone_file = {
                "architecture": architecture,
                "file": _BACKBONE,
                "sha256": found[BACKBONE].sha256,
                **({"config": config} if config else {}),
            }
            record = {**record, "backbone": backbone_file}
            checkpoint.save(scratch / _MODEL, tensors, kind="model", record=record)
        else:
            shutil.copyfile(head.path or "", scratch / _MODEL)
        shutil.copyfile(found[BACKBONE].path or "", scratch / record["backbone"]["file"])
    names = {HEAD: _MODEL, BACKBONE: record["backbone"]["file"]}
    return [_written(role, to / file) for role, file in names.items()]


def fetch_missing(name: str, *, offline: bool | None = None, manifest: Path | None = None) -> None:
    """Fetch what ``load_model(name)`` would have to, so that it finds all of it here.

    For callers that draw something of their own while a model loads: the bar of a download, which the Hub's
    client draws where stderr is a terminal, is then over. Paths and names that are wrong are left to
    ``load_model``.

    Raises:
        FetchError: A file cannot be fetched, or came with another hash.
    """
    listed = read_manifest(manifest)
    entry = listed.models.get(name)
    if is_backbone_name(name) and "@" in name:
        find_backbone(name, offline=offline)
    if name.startswith(HUB) or (entry is not None and entry.status != "planned"):
        _walk(
            name,
            listed,
            lambda _, source, sha256: fetch(
                source, root=listed.root, sha256=sha256, offline=offline, name=name
            ),
        )


def verify(names: Sequence[str] = (), *, manifest: Path | None = None) -> list[File]:
    """Compare the files that are on this machine with their announced hashes; the network is not used.

    Args:
        names: Models, backbones, ``hf-hub:`` names, names of backbones as ``load_model`` takes them, or
            checkpoints and folders with one; all of the manifest if empty.
        manifest: Another manifest to look names up in.

    Raises:
        ModelNotFoundError: No model goes by that name.
        FetchError: A file cannot be read.
        CheckpointError: A folder has no checkpoint, or several.
    """
    listed = read_manifest(manifest)
    found: dict[tuple[str, Source], File] = {}

    def take(role: str, source: Source, sha256: str | None) -> Path | None:
        if (role, source) not in found:
            path = local(source, root=listed.root)
            digest = None if path is None else file_sha256(path)
            found[role, source] = _file(role, source, path, digest, sha256)
        file = found[role, source]
        return file.path if file.state in ("ok", "unchecked") else None

    models = [entry.id for entry in listed.models.values() if entry.status != "planned"]
    backbones = [entry.id for entry in listed.backbones.values() if entry.source is not None]
    own: list[File] = []
    for name in names or [*models, *backbones]:
        if is_backbone_name(name):
            own += _verify_backbone(name, take)
        elif Path(name).suffix == ".safetensors" or exists(name):
            own += _verify_path(checkpoint_file(Path(name)), listed, take)
        else:
            _walk(name, listed, take)
    return [*own, *found.values()]


def _verify_backbone(name: str, take: _Take) -> list[File]:
    """Take the files of the Hub behind a backbone's name; its file of weights if that is of this machine."""
    taken: list[Source] = []

    def here(source: Source, sha256: str | None) -> Path:
        taken.append(source)
        path = take(BACKBONE, source, sha256)
        if path is None:
            raise FetchError(f"{str(source)!r} is not here, or damaged")
        return path

    try:
        path = find_backbone(name, take=here).path
    except FetchError:
        if not taken:
            raise
        return []  # what was taken says it
    if path is None or taken:
        return []
    size, digest = path.stat().st_size, file_sha256(path)
    return [File(BACKBONE, str(path), path, size, digest, None, remote=False)]


def _verify_path(path: Path, listed: Manifest, take: _Take) -> list[File]:
    """A checkpoint, by the hash in its header, and the backbone that it names."""
    if not exists(path):
        return [File(HEAD, str(path), None, None, None, None, remote=False)]
    digest, size = file_sha256(path), path.stat().st_size
    try:
        found = checkpoint.load(path, kind="model")
    except CheckpointError as error:
        return [File(HEAD, str(path), path, size, digest, None, remote=False, fault=str(error))]
    announced = found.sha256 if found.summed else None
    head = File(HEAD, str(path), path, size, digest, announced, remote=False)
    record = found.record.get("backbone")
    if isinstance(record, str) and record in listed.backbones:
        _walk(record, listed, take)
        return [head]
    part: File | None = None

    def beside(file: str, sha256: str) -> Path:
        nonlocal part
        near = path.parent / file
        if exists(near):
            size = near.stat().st_size
            part = File(BACKBONE, str(near), near, size, file_sha256(near), sha256, remote=False)
        else:
            part = File(BACKBONE, str(near), None, None, None, sha256, remote=False)
        return near

    BackboneFiles(listed, beside=beside).find(record, path.name)
    return [head, *([] if part is None else [part])]


def _walk(name: str, listed: Manifest, take: _Take) -> str | None:
    """Take every file of a model; the architecture of its backbone."""
    if name.startswith(HUB):
        return _walk_hub(name, listed, take)
    backbone = name if name in listed.backbones else None
    if backbone is None:
        entry = listed.model(name)
        if entry.status == "planned":
            raise WeightsNotReleased(
                f"nobody has trained {name} yet; `a2m2 models show {name}` has the command that would, "
                f"`a2m2 models pull {entry.backbone}` gets its backbone"
            )
        if entry.source is not None:
            take(HEAD, entry.source, entry.sha256)
        backbone = entry.backbone
    backbone_file = listed.backbones[backbone]
    if backbone_file.source is not None:
        take(BACKBONE, backbone_file.source, backbone_file.sha256)
    elif backbone == name:
        raise WeightsNotReleased(
            f"the weights of {name} are not distributed: {backbone_file.origin}"
        )
    return backbone_file.architecture


def _walk_hub(name: str, listed: Manifest, take: _Take) -> str | None:
    """The same for a repository, whose head says what it stands on."""
    source = hub_source(name)
    if (path := take(HEAD, source, None)) is None:
        return None
    record = checkpoint.load(path, kind="model").record.get("backbone")
    if isinstance(record, str) and record in listed.backbones:
        return _walk(record, listed, take)

    def beside(file: str, sha256: str) -> Path:
        return take(BACKBONE, Source(file, source.repo_id, source.commit), sha256) or Path(file)

    return BackboneFiles(listed, beside=beside).find(record, name).architecture


def _hash_in_the_cache(path: Path) -> str | None:
    """The Hub announces the hash of large files, and its client names files by what the Hub announced."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def _file(
    role: str, source: Source, path: Path | None, sha256: str | None, announced: str | None
) -> File:
    size = None if path is None else path.stat().st_size
    known = announced or (None if path is None else _hash_in_the_cache(path))
    return File(role, str(source), path, size, sha256, known, source.repo_id is not None)


def _written(role: str, path: Path) -> File:
    digest = file_sha256(path)
    return File(role, str(path), path, path.stat().st_size, digest, digest, remote=False)
