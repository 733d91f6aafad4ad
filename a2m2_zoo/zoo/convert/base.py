"""What the conversion of every method has in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from a2m2_zoo.errors import CheckpointError


@dataclass(frozen=True)
class Converted:
    """The head of an official checkpoint in our terms.

    Attributes:
        config: Configuration of our method, sizes read off the tensors.
        head: State dict of our method.
        dropped: Official keys that only training needs.
    """

    config: Any
    head: dict[str, Tensor]
    dropped: tuple[str, ...]


def renamed(
    state: Mapping[str, Tensor],
    *,
    names: Mapping[str, str],
    dropped: Collection[str] = (),
    source: str,
) -> dict[str, Tensor]:
    """Tensors under our names.

    Args:
        state: Official key → tensor, without those of the backbone.
        names: Official key → our key; all of them must be there.
        dropped: Official keys that may be there and are left behind.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or left over; every one is named.
    """
    missing = sorted(set(names) - set(state))
    surplus = sorted(set(state) - set(names) - set(dropped))
    if missing or surplus:
        parts = [
            f"{what} {', '.join(keys)}"
            for what, keys in (("lacks", missing), ("has the unknown", surplus))
            if keys
        ]
        raise CheckpointError(
            f"{source} {' and '.join(parts)}; it is not a checkpoint of this method's official code"
        )
    return {ours: state[official] for official, ours in names.items()}
