"""The M² block: multi-scale second-moment descriptors of a clip's feature maps.

A reconstruction: the paper's code is not public. ``docs/explanation/method.md`` says what is known and
what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._maps import (
    channels_last,
    differences,
    is_small,
    shrunk,
    stacked,
    window_covariances,
    window_samples,
)
from a2m2_zoo.methods.blocks.candidates import Candidates, Layout
from a2m2_zoo.methods.blocks.m2_config import M2Config
from a2m2_zoo.ops.precision import promote
from a2m2_zoo.ops.roots import matrix_log, newton_schulz_sqrt, newton_schulz_sqrt_of_samples
from a2m2_zoo.ops.vectors import unit_triangles, upper_triangle
from a2m2_zoo.ops.windows import Cell, Window, lay_windows, window_times


@dataclass(frozen=True)
class _Plan:
    """Windows of every branch for clips of one length."""

    windows: tuple[tuple[Window, ...], ...]
    steps: tuple[int, ...]
    layout: Layout


@lru_cache(maxsize=64)
def _plan(config: M2Config, frames: int, seen: Cell | None) -> _Plan:
    windows, steps = [], []
    times: list[tuple[float, float]] = []
    group: list[int] = []
    groups = 0
    for branch in config.branches:
        # Differences and stacked pairs have their own, shorter time lines, centred in the clip's.
        length = max(max(frames - branch.step, 1) - config.lag, 1)
        laid = lay_windows(length, scales=branch.scales, cells=branch.cells, overlap=config.overlap)
        laid = tuple(window for window in laid if seen is None or window.cell.holds(seen))
        offset = (frames - length) / 2
        times += [(c, e) for c, e in window_times(laid, frames, offset=offset).tolist()]
        group += [groups + window.scale for window in laid]
        groups += len(branch.scales)
        windows.append(laid)
        steps.append(length)
    layout = Layout(tuple(times), tuple(group), config.group_names)
    return _Plan(tuple(windows), tuple(steps), layout)


class M2Block(nn.Module):
    """Feature maps (B, T, C, H, W) → candidates: one second-moment descriptor per window.

    Reduce the channels, sum x and xxᵀ once per frame and region, pool the sums over all windows in
    one product, take covariances, their square roots and upper triangles, subtract the mean
    descriptor (``centre``, zero unless set) and bring to unit length.

    Methods that take ``seen``, a cell, leave out all cells of every grid but the one that holds it.

    Attributes:
        config: The configuration.
        centre: (groups, D) mean descriptor of generic clips, subtracted before the last
            normalisation.

    >>> block = M2Block(M2Config(channels=8, dim=4))
    >>> candidates = block(torch.rand(2, 8, 8, 7, 7))
    >>> candidates.descriptors.shape, candidates.names[0], candidates.names[-1]
    (torch.Size([2, 29, 10]), 'frames/1', 'motion/clip')
    """

    centre: Tensor

    def __init__(self, config: M2Config) -> None:
        super().__init__()
        self.config = config
        self.reduce = _reduction(config)
        self.register_buffer("centre", torch.zeros(len(config.group_names), config.size))

    def layout(self, frames: int, *, seen: Cell | None = None) -> Layout:
        """What the candidates of a clip of ``frames`` frames are."""
        if frames < 1:
            raise ArgumentError(f"frames is {frames}; a clip has 1 or more")
        return _plan(self.config, frames, seen).layout

    def forward(self, maps: Float[Tensor, "b t c h w"]) -> Candidates:
        """Candidates of B clips, each computed from that clip alone.

        Raises:
            ArgumentError: The maps do not have the configured channels, or are smaller than the
                cells.
        """
        frames = maps.shape[1]
        units = unit_triangles(self.roots(maps), self.centres(frames))
        return Candidates(units, self.layout(frames))

    def moments(self, maps: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b s d"]:
        """Descriptors before ``centre`` and the last normalisation."""
        return torch.cat([upper_triangle(run) for run in self.roots(maps)], 1)

    def centres(self, frames: int, *, seen: Cell | None = None) -> Float[Tensor, "s d"]:
        """``centre`` of each candidate of a clip of ``frames`` frames."""
        group = self.layout(frames, seen=seen).group
        return self.centre[torch.tensor(group, device=self.centre.device)]

    def roots(
        self, maps: Float[Tensor, "b t c h w"], *, seen: Cell | None = None
    ) -> list[Float[Tensor, "b _ d d"]]:
        """Normalised second moments of all windows, in runs, whose triangles are the ``moments``."""
        if maps.shape[2] != self.config.channels or maps.shape[1] < 1:
            raise ArgumentError(
                f"maps have shape {tuple(maps.shape)}; "
                f"expected (B, T ≥ 1, {self.config.channels}, H, W)"
            )
        plan = _plan(self.config, maps.shape[1], seen)
        x = self._reduced(maps)
        found = []
        for branch, windows in zip(self.config.branches, plan.windows, strict=True):
            y = stacked(differences(x, branch.step), self.config.lag)
            for scale, some in self._runs(y, windows):
                if scale is None:
                    found.append(self._normalised(window_covariances(y, some)))
                else:
                    found.append(
                        newton_schulz_sqrt_of_samples(
                            window_samples(y, some),
                            iterations=self.config.iterations,
                            normaliser=self.config.normaliser,
                        )
                    )
        return found

    def _runs(
        self, y: Tensor, windows: tuple[Window, ...]
    ) -> list[tuple[int | None, tuple[Window, ...]]]:
        """The windows in runs, each small scale one of its own; all windows of a scale are alike."""
        example = {window.scale: window for window in windows}
        small = {scale: self._small_scale(y, window) for scale, window in example.items()}
        runs = groupby(windows, key=lambda window: small[window.scale])
        return [(scale, tuple(run)) for scale, run in runs]

    def _small_scale(self, y: Tensor, window: Window) -> int | None:
        """The window's scale, if its root is cheaper from its few positions than from its covariance."""
        height, width, dim = y.shape[2:]
        few = is_small(window, dim=dim, height=height, width=width)
        return window.scale if few and self.config.normalise == "sqrt" else None

    def mean_moments(self, maps: Float[Tensor, "b t c h w"]) -> Float[Tensor, "g d"]:
        """Mean raw descriptor of each group over clips and windows: a value for ``centre``."""
        raw = self.moments(maps).mean(0)
        group = torch.tensor(self.layout(maps.shape[1]).group, device=raw.device)
        member = functional.one_hot(group, len(self.config.group_names)).to(raw.dtype)
        return (member / member.sum(0)).mT @ raw

    def _reduced(self, maps: Tensor) -> Tensor:
        b, t = maps.shape[:2]
        frames = channels_last(maps.flatten(0, 1), self.centre.dtype)
        grid = self.config.grid
        if grid and max(frames.shape[-2:]) > grid:
            frames = shrunk(frames, grid)
        reduced: Tensor = self.reduce(frames)
        x = reduced.reshape(b, t, *reduced.shape[1:]).movedim(2, -1)  # b t h w d
        if self.config.motion == "half":
            still, moving = x.tensor_split(2, dim=-1)
            change = differences(moving, self.config.motion_step)
            # The first frames have no predecessor and repeat the first change; one frame has none.
            change = torch.cat(
                [change[:, :1].expand(-1, t - change.shape[1], -1, -1, -1), change], 1
            )
            x = torch.cat([still, change], -1)
        return x

    def _normalised(self, covariances: Tensor) -> Tensor:
        if self.config.normalise == "sqrt":
            return newton_schulz_sqrt(
                covariances,
                iterations=self.config.iterations,
                normaliser=self.config.normaliser,
            )
        return matrix_log(covariances) if self.config.normalise == "log" else covariances


class ContextualProjection(nn.Conv2d):
    """A 1×1 projection and a correction of it, learned from each position and its eight neighbours.

    x ↦ W x + down(GELU(up(norm(x)))), ``up`` 1×1 and ``down`` 3×3. ``down`` starts at zero, so a head whose
    W is fitted, or loaded from a linear one, starts as good as that.

    >>> maps = torch.rand(2, 8, 7, 7)
    >>> projection = ContextualProjection(8, 4, hidden=16)
    >>> torch.equal(projection(maps), nn.functional.conv2d(maps, projection.weight, projection.bias))
    True
    """

    def __init__(self, channels: int, reduced: int, *, hidden: int) -> None:
        super().__init__(channels, reduced, 1)
        self.norm = nn.GroupNorm(1, channels)
        self.up = nn.Conv2d(channels, hidden, 1)
        self.down = nn.Conv2d(hidden, reduced, 3, padding=1)
        nn.init.zeros_(self.down.weight)
        assert self.down.bias is not None
        nn.init.zeros_(self.down.bias)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Reduced maps of B frames."""
        correction: Tensor = self.down(functional.gelu(self._normed_up(maps)))
        return super().forward(maps) + correction

    def _normed_up(self, maps: Tensor) -> Tensor:
        """up(norm(x)): the affine goes into the weights, mean and deviation come off the result.

        Neither the normalised maps nor their gradient, which are larger than all else, are then formed.
        """
        assert self.up.bias is not None
        mean, deviation = _mean_and_deviation(promote(maps), self.norm.eps)
        weight = self.up.weight * self.norm.weight[:, None, None]
        constant = (self.up.weight.flatten(1) * self.norm.bias).sum(1) + self.up.bias
        shift = constant - (mean / deviation)[:, None] * weight.flatten(1).sum(1)
        scale = deviation.reciprocal()[:, None]
        shift, scale = (x[..., None, None].to(weight) for x in (shift, scale))
        return torch.addcmul(shift, functional.conv2d(maps, weight), scale)


def _mean_and_deviation(maps: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Of all values of each of B frames, (b), the deviation as in ``nn.GroupNorm``."""
    values = maps.movedim(1, -1).flatten(1)  # as they lie in memory
    mean = values.mean(1)
    square = torch.linalg.vector_norm(values, dim=1).square() / values.shape[1]
    return mean, (square - mean.square()).clamp_min(0).add(eps).sqrt()


def _reduction(config: M2Config) -> nn.Module:
    hidden = config.reduced * config.ratio
    if config.reduce == "linear":
        return nn.Conv2d(config.channels, config.reduced, 1)
    if config.reduce == "context":
        return ContextualProjection(config.channels, config.reduced, hidden=hidden)
    norm = nn.GroupNorm(1, hidden) if config.norm == "layer" else nn.BatchNorm2d(hidden)
    return nn.Sequential(
        nn.Conv2d(config.channels, hidden, 1), norm, nn.ReLU(), nn.Conv2d(hidden, config.reduced, 1)
    )
