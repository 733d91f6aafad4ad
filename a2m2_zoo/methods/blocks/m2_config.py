"""Configuration of the M² block."""

from __future__ import annotations

from dataclasses import dataclass

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.ops.windows import lay_windows


@dataclass(frozen=True)
class Branch:
    """One set of candidates.

    Attributes:
        name: ``frames`` or ``motion``.
        scales: Window lengths in frames; 0 is the whole clip.
        cells: Grid of each scale; empty is all 1.
        step: Frames between the two of a difference; 0 for the frames themselves.
    """

    name: str
    scales: tuple[int, ...]
    cells: tuple[int, ...]
    step: int

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups as ``branch/scale``; a scale listed twice is numbered."""
        grids = self.cells or (1,) * len(self.scales)
        scales: list[str] = []
        for length, grid in zip(self.scales, grids, strict=True):
            name = (str(length) if length else "clip") + (f"@{grid}x{grid}" if grid > 1 else "")
            repeats = sum(known.split("#")[0] == name for known in scales)
            scales.append(f"{name}#{repeats + 1}" if repeats else name)
        return tuple(f"{self.name}/{scale}" for scale in scales)


@dataclass(frozen=True)
class M2Config(Config):
    """Everything that decides what an ``M2Block`` computes.

    Attributes:
        channels: C of the maps it reads.
        dim: Side d of the covariance matrices; descriptors have D = d(d+1)/2 values.
        reduce: ``"linear"``: one 1×1 projection with bias (fit for PCA); ``"context"``: the same and a
            learned correction from the neighbourhood, zero at first; ``"mlp"``: two projections, with a
            normalisation and a ReLU between.
        ratio: Hidden channels of the correction or the mlp, as a multiple of ``dim``.
        norm: Normalisation of the mlp: ``"layer"`` (each frame by itself) or ``"batch"``.
        grid: Average maps larger than grid × grid down to it before anything else; 0 keeps them.
        scales: Window lengths in frames; 0 is the whole clip.
        cells: For each scale its grid of spatial cells (1 is the whole picture); empty is all 1. A
            scale may be listed twice, with different cells.
        overlap: Windows advance by half their length.
        motion: ``"none"``; ``"half"``: half of the channels carry f_t − f_{t−k}; ``"branch"``: a
            second set of candidates, of the frame differences alone.
        motion_step: k of the differences. Two frames apart, slow movement stands out from noise.
        motion_scales: Window lengths of the motion branch; empty is ``scales`` with ``cells``.
        motion_cells: For each motion scale its grid of spatial cells; empty is all 1.
        lag: > 0 stacks frames t and t + lag along the channels (d/2 each), so that the covariance
            has cross-frame blocks.
        normalise: ``"sqrt"`` (Newton–Schulz), ``"log"`` (eigenvalues) or ``"none"``.
        iterations: Of Newton–Schulz. On covariances of 49 positions 6 leave 1.4 % of error with
            ``"frobenius"``, 6.7 % with ``"trace"``; 3, the habit of the paper's group, leave 15 %
            and 39 %.
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
    motion_step: int = 1
    motion_scales: tuple[int, ...] = ()
    motion_cells: tuple[int, ...] = ()
    lag: int = 0
    normalise: str = "sqrt"
    iterations: int = 6
    normaliser: str = "frobenius"

    def __post_init__(self) -> None:
        for name in ("channels", "ratio", "motion_step"):
            self._integer(name, low=1)
        self._integer("dim", low=1, high=1024)
        self._integer("iterations", low=1, high=200)
        self._integer("grid", low=0)
        self._integer("lag", low=0)
        for name in ("scales", "motion_scales"):
            self._integers(name, low=0)
        for name in ("cells", "motion_cells"):
            self._integers(name, low=1)
        self._flag("overlap")
        self._choice("reduce", ("linear", "context", "mlp"))
        self._choice("norm", ("layer", "batch"))
        self._choice("motion", ("none", "half", "branch"))
        self._choice("normalise", ("sqrt", "log", "none"))
        self._choice("normaliser", ("trace", "frobenius"))
        if self.motion_cells and not self.motion_scales:
            raise ArgumentError("motion_cells came without motion_scales; give both or neither")
        for branch in self.branches:
            lay_windows(1, scales=branch.scales, cells=branch.cells)
        if self.dim % self.parts:
            raise ArgumentError(
                f"dim is {self.dim}; motion {self.motion!r} with lag {self.lag} "
                f"divides it by {self.parts}"
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
    def branches(self) -> tuple[Branch, ...]:
        """The sets of candidates and their scales."""
        frames = Branch("frames", self.scales, self.cells, step=0)
        if self.motion != "branch":
            return (frames,)
        scales, cells = self.scales, self.cells
        if self.motion_scales:
            scales, cells = self.motion_scales, self.motion_cells
        return (frames, Branch("motion", scales, cells, step=self.motion_step))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups as ``branch/scale``."""
        return tuple(name for branch in self.branches for name in branch.group_names)
