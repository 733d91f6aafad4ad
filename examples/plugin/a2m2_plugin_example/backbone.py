"""A backbone in one file: edges of four directions at two sizes, fixed weights, nothing learned."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo.backbones import Backbone, Preprocess, StateDict


class Stripes(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.name, self.pooled_channels = "stripes", 8
        self.stages = {"fine": 8, "coarse": 8}
        self.default_preprocess = Preprocess(
            mean=(0.5,) * 3, std=(0.5,) * 3, size=112, interpolation="bilinear"
        )
        self.edges = nn.Conv2d(3, 8, 7, stride=4, padding=3)

    def _encode(self, frames: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        fine = functional.avg_pool2d(self.edges(frames).abs(), 2)
        coarse = functional.avg_pool2d(fine, 2)
        return {"fine": fine, "coarse": coarse}, coarse.mean((-2, -1))


def build(weights: StateDict | None) -> Stripes:
    """Of its own weights, or of a state dict, as `a2m2 train --tune-backbone` writes one."""
    made = Stripes()
    at = torch.linspace(-1, 1, 7)
    angles = torch.arange(8) * torch.pi / 8
    waves = torch.sin(
        3 * (at[:, None] * angles.sin()[:, None, None] + at * angles.cos()[:, None, None])
    )
    own = {"edges.weight": waves[:, None].repeat(1, 3, 1, 1) / 49, "edges.bias": torch.zeros(8)}
    made.load_state_dict(own if weights is None else dict(weights))
    return made
