"""The contract of backbones."""

from __future__ import annotations

import torch
from torch import Tensor

from a2m2_zoo.backbones import Backbone, build_backbone
from a2m2_zoo.testing.checks import holds


@torch.inference_mode()
def check_backbone(backbone: Backbone | str, *, maps: bool = True) -> None:
    """Hold a backbone to what the rest of the package relies on.

    Args:
        backbone: Or its name.
        maps: Whether it must have maps, as the heads that are computed and A²M² need.

    Raises:
        AssertionError: It breaks the contract; the message says where.
        ModelNotFoundError: No backbone goes by that name.
    """
    found = build_backbone(backbone) if isinstance(backbone, str) else backbone
    holds(not found.training, "it is in training mode; expected evaluation mode")
    holds(bool(found.stages) or not maps, "it has no feature maps; expected at least one stage")
    facts, t = found.default_preprocess, found.clip_frames
    holds(
        set(facts) == {"mean", "std", "size", "interpolation"},
        f"default_preprocess has {sorted(facts)}; expected mean, std, size and interpolation",
    )
    side = facts["size"]
    clips = torch.randn(2, t, 3, side, side, generator=torch.Generator().manual_seed(0))
    both = found(clips)
    steps = found.steps(t)
    holds(
        list(both.maps) == list(found.stages),
        f"its maps are {list(both.maps)}; expected those of its stages, {list(found.stages)}",
    )
    for stage, value in both.maps.items():
        _shaped(value, (2, steps, found.stages[stage]), f"the maps of {stage!r}")
        holds(value.ndim == 5, f"the maps of {stage!r} have {value.ndim} axes; expected 5")
    _shaped(both.pooled, (2, steps, found.pooled_channels), "the pooled vectors")
    alone = found(clips[1:])
    again = found.at_once(clips)
    for name, value in (*both.maps.items(), ("pooled", both.pooled)):
        single = alone.pooled if name == "pooled" else alone.maps[name]
        whole = again.pooled if name == "pooled" else again.maps[name]
        holds(
            torch.equal(value[1:], single),
            f"{name} of a clip depends on the other clips of its batch",
        )
        torch.testing.assert_close(whole, value, atol=1e-4, rtol=1e-3)
    if not found.mixes_frames and t > 1:
        less = found(clips[:1, : t - 1]).pooled
        torch.testing.assert_close(less, both.pooled[:1, : t - 1], atol=1e-4, rtol=1e-3)
    state = {key: value.clone() for key, value in found.state_dict().items()}
    if isinstance(backbone, str):
        rebuilt = build_backbone(backbone, weights=state, config=found.config)
        holds(
            torch.equal(rebuilt(clips).pooled, both.pooled),
            "built anew of its own state dict it gives something else",
        )


def _shaped(value: Tensor, shape: tuple[int, ...], what: str) -> None:
    holds(
        tuple(value.shape[: len(shape)]) == shape,
        f"{what} have the shape {tuple(value.shape)}; expected {shape} first",
    )
    holds(bool(value.isfinite().all()), f"{what} are not finite")
    holds(bool(value.std() > 0), f"{what} are all the same")
