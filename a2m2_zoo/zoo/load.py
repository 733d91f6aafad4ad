"""From a name to a model in memory: the manifest, the file, its checks, the parts put together."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from a2m2_zoo._utils.arguments import flag, kind, path_text
from a2m2_zoo._utils.files import exists, is_folder
from a2m2_zoo.backbones.onnx_run import check_runtime, with_runtime
from a2m2_zoo.errors import (
    ArgumentError,
    CheckpointError,
    ModelNotFoundError,
    WeightsNotReleased,
)
from a2m2_zoo.hub import DEFAULT_MODEL, checkpoint
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.manifest import (
    Manifest,
    ModelEntry,
    list_models,
    read_manifest,
)
from a2m2_zoo.hub.source import Source, is_repository
from a2m2_zoo.recognition.model import ORIGINS, Model
from a2m2_zoo.zoo.any_backbone import find_backbone, is_backbone_name
from a2m2_zoo.zoo.backbone_files import BackboneFile, BackboneFiles
from a2m2_zoo.zoo.heads import read_head

#: How names of checkpoints on the Hugging Face Hub begin.
HUB = "hf-hub:"


class UncheckedFileWarning(UserWarning):
    """A checkpoint has no hash that damage would be noticed by: it was written by an earlier version."""


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    offline: bool | None = None,
    sha256: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    pose: bool = True,
    runtime: str = "torch",
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """Load a recogniser.

    Args:
        name: A name that ``list_models`` gives, a checkpoint file, a folder with one checkpoint,
            ``hf-hub:ORG/NAME@COMMIT`` with the 40 hex digits of a commit; or a backbone's, on which a head
            is computed: ``hf:ORG/NAME@COMMIT``, ``timm:NAME@COMMIT``, ``torchvision:NAME@FILE`` ..., see
            ``a2m2_zoo.zoo.any_backbone.find_backbone``.
        device: ``auto`` takes CUDA where there is one and the CPU elsewhere; or any torch device.
        dtype: Precision of the backbone; float32 by default. The head always computes in float32.
        offline: Never use the network; None follows ``HF_HUB_OFFLINE``. What was fetched once is found
            without it.
        sha256: Hash that the checkpoint must have, of a file, a folder or an ``hf-hub:`` name; that the
            weights must have, of a backbone's name.
        manifest: Another manifest to look names up in; its files lie in its own folder or on the Hub.
        pose: Look for people in clips and compare how they move, where the model's head does; without,
            it is faster, and answers go by the pictures alone.
        runtime: What computes the backbone and looks for people: ``torch``, or ``onnxruntime`` (the extra
            ``fast``), which takes half the time on CPUs and is equal to 1e-4; ``auto`` takes that where it
            is installed and can compute the backbone. Banks go with both.
        progress: Called with clips done and all clips while the head of a model that is computed from its
            backbone is made, once, on first use; see ``a2m2_zoo.zoo.training_free``.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelNotFoundError: No model goes by that name; the nearest names are given.
        WeightsNotReleased: Nobody has trained it; the command that would is given.
        FetchError: A file cannot be fetched.
        CheckpointError: A file is missing, damaged, or not a model.
        ArgumentError: The device is not there, or a hash is given of a model whose hash is known.

    >>> load_model("a2m2-lite0").id
    'a2m2-lite0'
    """
    text = path_text("the model", name, "its name (see list_models) or the path of a checkpoint")
    place = find_device(device)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError(f"dtype is {dtype!r}; expected torch.float32, float16 or bfloat16")
    flag("pose", pose)
    check_runtime(runtime)
    listed = read_manifest(manifest)
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ArgumentError(f"sha256 is {sha256!r}; expected 64 lower-case hex digits")
    if is_backbone_name(text):
        made = _on_backbone(find_backbone(text, offline=offline, sha256=sha256), place, progress)
        return _placed(replace(made, pose=pose, opened_as=text), place, dtype, runtime)
    if text.startswith(HUB):
        source = hub_source(text)
        file = fetch(source, root=listed.root, sha256=sha256, offline=offline, name=text)
        found = checkpoint.load(file, kind="model", sha256=sha256)

        def beside(other: str, digest: str) -> Path:
            near = Source(other, source.repo_id, source.commit)
            return fetch(near, root=listed.root, sha256=digest, offline=offline, name=text)

    elif Path(text).suffix == ".safetensors" or exists(text):
        file = checkpoint_file(Path(text))
        found = checkpoint.load(file, kind="model", sha256=sha256)
        if not found.summed and found.sha256 not in {sha256, *_announced()}:
            warnings.warn(
                f"the checkpoint {file.name!r} is of an earlier version and has no hash of its content: "
                "damage would not be noticed; give its sha256, or save it again",
                UncheckedFileWarning,
                stacklevel=2,
            )

        def beside(other: str, digest: str) -> Path:
            return file.parent / other

    else:
        entry = listed.model(text)
        if sha256 not in (None, entry.sha256):
            raise ArgumentError(
                f"sha256 is {sha256} where the manifest announces {entry.sha256} for {text}; leave it out"
            )
        listed_model = _listed(entry, listed, place, offline, progress)
        return _placed(replace(listed_model, pose=pose), place, dtype, runtime)
    backbone_files = BackboneFiles(listed, offline, beside)
    made = assembled(found, source=text, backbone_files=backbone_files)
    if text.startswith(HUB):
        made = replace(made, opened_as=text)
    return _placed(replace(made, pose=pose), place, dtype, runtime)


def _placed(model: Model, place: torch.device, dtype: torch.dtype | None, runtime: str) -> Model:
    moved = model.to(place, dtype)
    return replace(moved, backbone=with_runtime(moved.backbone, runtime))


def _listed(
    entry: ModelEntry,
    listed: Manifest,
    place: torch.device,
    offline: bool | None,
    progress: Callable[[int, int], None] | None,
) -> Model:
    """The model behind an entry of a manifest."""
    if entry.status == "planned":
        raise WeightsNotReleased(
            f"nobody has trained {entry.id} yet; with the videos of {entry.benchmark or 'its data'}: "
            f"{entry.trained_with}; models to use now: {', '.join(list_models())}"
        )
    backbone_files = BackboneFiles(listed, offline)
    if entry.source is None:
        named = backbone_files.named(entry.backbone, entry.id)
        return _on_backbone(named, place, progress, name=entry.id)
    file = fetch(
        entry.source, root=listed.root, sha256=entry.sha256, offline=offline, name=entry.id
    )
    found = checkpoint.load(file, kind="model", sha256=entry.sha256)
    return assembled(found, source=entry.id, backbone_files=backbone_files)


def _on_backbone(
    weights: BackboneFile,
    place: torch.device,
    progress: Callable[[int, int], None] | None,
    *,
    name: str | None = None,
) -> Model:
    """A model whose head is computed on a backbone."""
    from a2m2_zoo.zoo.computed import computed_model  # draws clips, for these models alone

    return computed_model(
        name or weights.architecture,
        weights.build().to(place),
        backbone_name=weights.name,
        backbone_sha256=weights.sha256,
        text=weights.text(),
        progress=progress,
        weights=weights,
    )


def hub_source(name: str) -> Source:
    """The checkpoint behind ``hf-hub:ORG/NAME@COMMIT``.

    Raises:
        ModelNotFoundError: The name has another form.

    >>> hub_source("hf-hub:org/name@" + "0" * 40).file
    'model.safetensors'
    """
    repo_id, _, commit = name.removeprefix(HUB).partition("@")
    if not is_repository(repo_id) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ModelNotFoundError(
            f"{name!r} names no commit of a repository; expected hf-hub:ORG/NAME@COMMIT with the 40 hex "
            "digits of a commit (a branch or tag can change under you), as the model's page on the Hub shows"
        )
    return Source("model.safetensors", repo_id, commit)


def _announced() -> set[str | None]:
    """Hashes of the heads that the package's own manifest names, however they came here."""
    return {entry.sha256 for entry in read_manifest().models.values()}


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that a path names: itself, or the one in a folder.

    Raises:
        CheckpointError: The folder has none, or several.
    """
    if not is_folder(path):
        return path
    if (named := path / "model.safetensors").is_file():
        return named
    files = sorted(file for file in path.glob("*.safetensors") if not file.name.startswith("."))
    if len(files) != 1:
        raise CheckpointError(
            f"the folder {str(path)!r} holds {len(files)} .safetensors files; expected one or a "
            "model.safetensors, or give the path of the file"
        )
    return files[0]


def assembled(
    found: checkpoint.Checkpoint, *, source: str, backbone_files: BackboneFiles | None = None
) -> Model:
    """A model on the CPU from a checkpoint's record and tensors.

    Args:
        found: The checkpoint.
        source: What to call it in errors.
        backbone_files: Where backbones are; the package's manifest if None.

    Raises:
        CheckpointError: The record does not describe a model, or the tensors are another model's.
    """
    record = found.record
    head = read_head(record, found.tensors, source)
    origin = record.get("origin", "training-free")
    if not isinstance(origin, str) or origin not in ORIGINS:
        raise CheckpointError(
            f"the header of {source!r} has the origin {origin!r:.60}; expected one of {', '.join(ORIGINS)}"
        )
    part = (backbone_files or BackboneFiles(read_manifest())).find(record.get("backbone"), source)
    backbone = part.build().eval()
    if strange := [stage for stage in head.method.stages if stage not in backbone.stages]:
        raise CheckpointError(
            f"{source!r} reads {strange[0]!r:.60} of its backbone, which has {', '.join(backbone.stages)}"
        )
    return Model(
        id=head.id,
        weights_hash=hashlib.sha256(f"{found.plain_sha256}{part.sha256}".encode()).hexdigest(),
        backbone_hash=part.sha256,
        method_name=str(record["method"]),
        backbone_name=part.name,
        backbone=backbone,
        method=head.method,
        preprocess=head.preprocess,
        scales=head.scales,
        rejection=head.rejection,
        backbone_file=part.beside,
        weights_path=part.path if part.beside else None,
        origin=origin,
        text=part.text(),
    )


def find_device(device: str | torch.device) -> torch.device:
    """The device called so; ``auto`` takes CUDA where there is one.

    Raises:
        ArgumentError: It is not there.
    """
    if not isinstance(device, (str, int, torch.device)):
        raise ArgumentError(f"device is {kind(device)}; expected 'auto', 'cpu', 'cuda' ...")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()  # which "meta" has none of
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch's own three ways of saying that a device is unknown, not built in, or not there.
        raise ArgumentError(
            f"device {str(device)!r} cannot be used here ({str(error).splitlines()[0]}); "
            "use 'auto' or 'cpu'"
        ) from error
    return chosen
