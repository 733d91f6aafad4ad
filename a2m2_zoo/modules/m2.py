"""The M² block: multi-scale second-moment descriptors of a clip's feature maps.

A reconstruction: the paper's code is not public. ``docs/method.md`` says what is known and what is
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.modules._config import Config
from a2m2_zoo.modules.candidates import Candidates, Layout
from a2m2_zoo.ops.moments import (
    covariance_from_sums,
    frame_sums,
    l2_normalise,
    matrix_log,
    newton_schulz_sqrt,
    promote,
    upper_triangle,
)
from a2m2_zoo.ops.windows import Window, lay_windows, pooling_matrix, regions, window_times


@dataclass(frozen=True)
class M2Config(Config):
    """Everything that decides what an ``M2Block`` computes.

    Attributes:
        channels: C of the maps it reads.
        dim: Side d of the covariance matrices; descriptors have D = d(d+1)/2 values.
        reduce: ``"linear"``: one 1×1 projection with bias (fit for PCA); ``"mlp"``: two, with a
            normalisation and a ReLU between.
        ratio: Hidden channels of the mlp, as a multiple of ``dim``.
        norm: Normalisation of the mlp: ``"layer"`` (each frame by itself) or ``"batch"``.
        grid: Average maps larger than grid × grid down to it before anything else; 0 keeps them.
        scales: Window lengths in frames; 0 is the whole clip.
        cells: For each scale its grid of spatial cells (1 is the whole picture); empty is all 1. A
            scale may be listed twice, with different cells.
        overlap: Windows advance by half their length.
        motion: ``"none"``; ``"half"``: half of the channels carry f_t − f_{t−1}; ``"branch"``: a
            second set of candidates, of the frame differences alone.
        lag: > 0 stacks frames t and t + lag along the channels (d/2 each), so that the covariance
            has cross-frame blocks.
        normalise: ``"sqrt"`` (Newton–Schulz), ``"log"`` (eigenvalues) or ``"none"``.
        iterations: Of Newton–Schulz.
        normaliser: What Newton–Schulz divides by first: ``"trace"`` or ``"frobenius"`` (closer to
            the root in the same number of iterations).
    """

    channels: int
    dim: int = 32
    reduce: str = "linear"
    ratio: int = 2
    norm: str = "layer"
    grid: int = 0
    scales: tuple[int, ...] = (1, 2, 4, 0)
    cells: tuple[int, ...] = ()
    overlap: bool = False
    motion: str = "branch"
    lag: int = 0
    normalise: str = "sqrt"
    iterations: int = 5
    normaliser: str = "trace"

    def __post_init__(self) -> None:
        for name in ("channels", "dim", "ratio", "iterations"):
            self._integer(name, low=1)
        self._integer("grid", low=0)
        self._integer("lag", low=0)
        self._integers("scales", low=0)
        self._integers("cells", low=1)
        self._flag("overlap")
        self._choice("reduce", ("linear", "mlp"))
        self._choice("norm", ("layer", "batch"))
        self._choice("motion", ("none", "half", "branch"))
        self._choice("normalise", ("sqrt", "log", "none"))
        self._choice("normaliser", ("trace", "frobenius"))
        lay_windows(1, scales=self.scales, cells=self.cells)
        if self.dim % self.parts:
            raise ArgumentError(
                f"dim is {self.dim}; motion {self.motion!r} with lag {self.lag} divides it by {self.parts}"
            )

    @property
    def parts(self) -> int:
        """Into how many equal parts ``dim`` is cut (lag: 2, motion half: 2)."""
        return (2 if self.lag else 1) * (2 if self.motion == "half" else 1)

    @property
    def reduced(self) -> int:
        """Channels after the projection."""
        return self.dim // 2 if self.lag else self.dim

    @property
    def size(self) -> int:
        """D, values per descriptor."""
        return self.dim * (self.dim + 1) // 2

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups as ``branch/scale``; a scale listed twice is numbered."""
        grids = self.cells or (1,) * len(self.scales)
        scales: list[str] = []
        for length, grid in zip(self.scales, grids, strict=True):
            name = (str(length) if length else "clip") + (f"@{grid}x{grid}" if grid > 1 else "")
            repeats = sum(known.split("#")[0] == name for known in scales)
            scales.append(f"{name}#{repeats + 1}" if repeats else name)
        branches = ("frames", "motion") if self.motion == "branch" else ("frames",)
        return tuple(f"{branch}/{scale}" for branch in branches for scale in scales)


@dataclass(frozen=True)
class _Plan:
    """Windows of every branch for clips of one length."""

    windows: tuple[tuple[Window, ...], ...]
    steps: tuple[int, ...]
    layout: Layout


@lru_cache(maxsize=64)
def _plan(config: M2Config, frames: int) -> _Plan:
    windows, steps = [], []
    times: list[tuple[float, float]] = []
    group: list[int] = []
    for branch in range(2 if config.motion == "branch" else 1):
        # Differences and stacked pairs have their own, shorter time lines, centred in the clip's.
        length = max(max(frames - branch, 1) - config.lag, 1)
        laid = lay_windows(length, scales=config.scales, cells=config.cells, overlap=config.overlap)
        offset = (frames - length) / 2
        times += [(c, e) for c, e in window_times(laid, frames, offset=offset).tolist()]
        group += [branch * len(config.scales) + window.scale for window in laid]
        windows.append(laid)
        steps.append(length)
    layout = Layout(tuple(times), tuple(group), config.group_names)
    return _Plan(tuple(windows), tuple(steps), layout)


class M2Block(nn.Module):
    """Feature maps (B, T, C, H, W) → candidates: one second-moment descriptor per window.

    Reduce the channels, sum x and xxᵀ once per frame and region, pool the sums over all windows in
    one product, take covariances, their square roots and upper triangles, subtract the mean
    descriptor (``centre``, zero unless set) and bring to unit length.

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

    def layout(self, frames: int) -> Layout:
        """What the candidates of a clip of ``frames`` frames are."""
        if frames < 1:
            raise ArgumentError(f"frames is {frames}; a clip has 1 or more")
        return _plan(self.config, frames).layout

    def forward(self, maps: Float[Tensor, "b t c h w"]) -> Candidates:
        """Candidates of B clips, each computed from that clip alone.

        Raises:
            ArgumentError: The maps do not have the configured channels, or are smaller than the
                cells.
        """
        layout = self.layout(maps.shape[1])
        group = torch.tensor(layout.group, device=maps.device)
        raw = self.moments(maps)
        return Candidates(l2_normalise(raw - self.centre.to(raw.dtype)[group]), layout)

    def moments(self, maps: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b s d"]:
        """Descriptors before ``centre`` and the last normalisation: what ``centre`` is a mean of."""
        if maps.shape[2] != self.config.channels or maps.shape[1] < 1:
            raise ArgumentError(
                f"maps have shape {tuple(maps.shape)}; expected (B, T ≥ 1, {self.config.channels}, H, W)"
            )
        plan = _plan(self.config, maps.shape[1])
        x = self._reduced(maps)
        branches = [x, _differences(x)] if self.config.motion == "branch" else [x]
        covariances = torch.cat(
            [
                _window_covariances(_stacked(branch, self.config.lag), windows)
                for branch, windows in zip(branches, plan.windows, strict=True)
            ],
            1,
        )
        return upper_triangle(self._normalised(covariances))

    def mean_moments(self, maps: Float[Tensor, "b t c h w"]) -> Float[Tensor, "g d"]:
        """Mean raw descriptor of each group over clips and windows: a value for ``centre``."""
        raw = self.moments(maps).mean(0)
        group = torch.tensor(self.layout(maps.shape[1]).group, device=raw.device)
        member = functional.one_hot(group, len(self.config.group_names)).to(raw.dtype)
        return (member / member.sum(0)).mT @ raw

    def _reduced(self, maps: Tensor) -> Tensor:
        b, t = maps.shape[:2]
        frames = maps.flatten(0, 1)
        grid = self.config.grid
        if grid and max(frames.shape[-2:]) > grid:
            frames = functional.adaptive_avg_pool2d(frames, grid)
        x = self.reduce(frames).unflatten(0, (b, t)).movedim(2, -1)  # b t h w d
        if self.config.motion == "half":
            still, moving = x.tensor_split(2, dim=-1)
            change = _differences(moving)
            # The first frame has no predecessor and repeats the first change; one frame has none.
            change = torch.cat([change[:, :1], change], 1) if t > 1 else change
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


def _reduction(config: M2Config) -> nn.Module:
    if config.reduce == "linear":
        return nn.Conv2d(config.channels, config.reduced, 1)
    hidden = config.reduced * config.ratio
    norm = nn.GroupNorm(1, hidden) if config.norm == "layer" else nn.BatchNorm2d(hidden)
    return nn.Sequential(
        nn.Conv2d(config.channels, hidden, 1), norm, nn.ReLU(), nn.Conv2d(hidden, config.reduced, 1)
    )


def _differences(x: Tensor) -> Tensor:
    """Changes from frame to frame (T − 1 of them); of a single frame, one of zeros."""
    return x.diff(dim=1) if x.shape[1] > 1 else torch.zeros_like(x)


def _stacked(x: Tensor, lag: int) -> Tensor:
    """Frames t and t + lag along the channels; a clip shorter than the lag pairs its ends."""
    if not lag:
        return x
    if x.shape[1] <= lag:
        return torch.cat([x[:, :1], x[:, -1:]], -1)
    return torch.cat([x[:, :-lag], x[:, lag:]], -1)


def _window_covariances(x: Tensor, windows: tuple[Window, ...]) -> Tensor:
    """Covariance of every window, from sums made once per frame and region: (b t h w d) → (b s d d)."""
    x = promote(x)
    x = x - x.detach().mean((1, 2, 3), keepdim=True)
    t, height, width = x.shape[1:4]
    sums, pixels = [], []
    for cell in regions(windows):
        rows, columns = cell.slices(height, width)
        part = x[:, :, rows, columns].flatten(2, 3)
        sums.append(frame_sums(part))
        pixels.append(part.shape[2])
    first = torch.stack([first for first, _ in sums], 2).flatten(1, 2)  # b (t r) d
    second = torch.stack([second for _, second in sums], 2).flatten(1, 2)
    pooling = pooling_matrix(windows, t).to(x)
    count = pooling @ x.new_tensor(pixels).repeat(t)
    with torch.autocast(x.device.type, enabled=False):
        return covariance_from_sums(
            pooling @ first, (pooling @ second.flatten(2)).unflatten(2, second.shape[-2:]), count
        )
