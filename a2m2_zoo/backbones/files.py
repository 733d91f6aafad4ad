"""Networks from files of weights: the package's own, and those that somebody names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor

from a2m2_zoo.backbones.base import Network, StateDict, channels_last, load_weights
from a2m2_zoo.errors import CheckpointError


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file.

    Args:
        path: A local file.

    Raises:
        CheckpointError: If the file is missing, is not safetensors, or has numbers that are not finite.
    """
    from a2m2_zoo.hub import checkpoint

    if not Path(path).is_file():
        raise CheckpointError(f"there is no weights file {path}; give the path of a local file")
    try:
        return checkpoint.read_tensors(path, sha256=None)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); convert or fetch it again"
        ) from error


def build_embedded(
    kind: type[Network],
    weights: StateDict | None,
    *,
    name: str,
    file: str,
    unpack: Callable[[StateDict], StateDict],
) -> Network:
    """A network with weights that come with the package, or with those given.

    Args:
        kind: The network.
        weights: A state dict; the package's own if None.
        name: What to call the network in an error.
        file: The package's own, in ``weights/``.
        unpack: From what a file holds to a state dict.

    Raises:
        CheckpointError: If the weights do not fit, or the package's file is damaged.
    """
    source = f"the state dict given for {name}"
    if weights is None:
        source = f"the embedded {file}"
        with as_file(files("a2m2_zoo") / "weights" / file) as path:
            weights = read_safetensors(path)
    with torch.device("meta"):  # no random numbers drawn for weights about to be replaced
        network = kind()
    load_weights(network, unpack(weights), source=source)
    return channels_last(network)
