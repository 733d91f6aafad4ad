"""What backbones of other libraries have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import Backbone, StateDict, load_weights

_OWN = "network."

# Ways to resize that the reader of clips has, for those that libraries name.
_NEAREST = {"lanczos": "bicubic", "box": "area", "area": "area", "bicubic": "bicubic"}


def interpolation(name: str) -> str:
    """A library's way to resize, or the nearest to it that the reader of clips has.

    >>> interpolation("bicubic"), interpolation("random")
    ('bicubic', 'bilinear')
    """
    return _NEAREST.get(name, "bilinear")


def two_places(sizes: Sequence[int]) -> list[int]:
    """Which of a network's maps are its stages: by their sizes, a middle one and the last.

    Args:
        sizes: Of the map behind every part, in order; any number that differs where sizes do.

    >>> two_places([2, 4, 8, 16, 32]), two_places([16] * 12), two_places([4, 4])
    ([3, 4], [5, 11], [0, 1])
    """
    last = len(sizes) - 1
    if last < 1:
        return list(range(len(sizes)))
    if len(set(sizes)) == 1:
        return [last // 2, last]
    other = max(i for i in range(len(sizes)) if sizes[i] != sizes[last])
    return [other, last]


def as_map(tokens: Float[Tensor, "n p c"], side: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """The last h·w tokens as a map; those before belong to no place."""
    h, w = side
    return torch.unflatten(tokens[:, -h * w :].transpose(1, 2), 2, (h, w))


def over_time(maps: Float[Tensor, "n c t h w"], steps: int) -> Float[Tensor, "n s c h w"]:
    """Maps with time third as clips have them, means over time where there are more steps than wanted."""
    if maps.shape[2] != steps:
        size = (steps, *maps.shape[3:])
        maps = torch.nn.functional.adaptive_avg_pool3d(maps, size)
    return maps.movedim(2, 1)


def load_own(
    backbone: Backbone, state: StateDict, *, dropped: Sequence[str] = (), adopt: bool = False
) -> None:
    """Fill a backbone that holds a library's network as ``network``.

    Args:
        backbone: To fill.
        state: In the library's names or the backbone's own.
        dropped: Parts of the library's network that a backbone does not have, such as its classifier.
        adopt: See ``load_weights``.

    Raises:
        CheckpointError: The weights do not fit.
    """
    if not all(key.startswith(_OWN) for key in state):
        without = tuple(f"{part}." for part in dropped)
        state = {_OWN + key: value for key, value in state.items() if not key.startswith(without)}
    load_weights(backbone, state, source=f"the state dict given for {backbone.name}", adopt=adopt)
