"""One vector for each window, by which candidates are found: inner products are nearly the model's scores.

A²'s score of two clips is the sum of the similarities that its plan matches. Were the plan the same for all
pairs, that sum would be an inner product of the descriptors themselves: so that one plan is taken which A²
makes where everything looks alike and only time decides. Its axes of time, and then the directions in which
windows of the archive differ most (uncentred principal components, of each kind of descriptor and then of all
side by side), make ``DIMS`` values of a clip. The basis is fitted to the archive, so it suits any model.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import Descriptors, Method
from a2m2_zoo.methods.blocks import Candidates
from a2m2_zoo.pose.kernel import joint_vectors

#: Values of a search vector.
DIMS = 512
_KEPT = 64  # values of a descriptor that are kept on the way
_TIMES = 4  # axes of time


@apart
@torch.inference_mode()
def summary(method: Method, descriptors: Descriptors) -> Float[Tensor, "b d"]:
    """The means of descriptors of B clips, unit vectors side by side, for methods that score no pairs.

    Args:
        method: That made them; the people that A²M² sees are left out.
        descriptors: On the CPU.
    """
    parts = [
        functional.normalize(
            value.float().flatten(1, -2).mean(1) if value.ndim > 2 else value.float(), dim=-1
        )
        for name, value in descriptors.items()
        if name != "people"
    ]
    return torch.cat(parts, -1)


@dataclass(frozen=True, eq=False)
class Basis:
    """Turns descriptors into search vectors.

    Attributes:
        times: (G, K, S) axes of time of each of A²'s groups; empty for other methods.
        kinds: (M, D, R) orthonormal columns for each group's kinds of descriptor; empty for other methods.
        axes: (E, DIMS) orthonormal columns, fewer where E is smaller.
    """

    times: Float[Tensor, "g k s"]
    kinds: Float[Tensor, "m d r"]
    axes: Float[Tensor, "e n"]

    @classmethod
    @apart
    @torch.inference_mode()
    def fit(cls, method: Method, pieces: Iterable[Descriptors]) -> Basis:
        """The directions in which windows differ most; what is left is filled with random ones.

        Args:
            method: That made the descriptors.
            pieces: Of some windows, a few hundred to a few thousand together.
        """
        times = _time_axes(method)
        aligned, rest = zip(*(_parts(method, some, times) for some in pieces), strict=True)
        tokens, others = torch.cat(aligned), torch.cat(rest)
        kinds = [_principal(tokens[:, m].flatten(0, 1), _KEPT) for m in range(tokens.shape[1])]
        start = cls(times, torch.stack(kinds) if kinds else torch.zeros(0, 1, 1), torch.zeros(0, 0))
        whole = torch.cat([start._kept(tokens), others], -1)
        return cls(start.times, start.kinds, _principal(whole, DIMS))

    @apart
    @torch.inference_mode()
    def vectors(self, method: Method, descriptors: Descriptors) -> Float[Tensor, "b n"]:
        """Search vectors of B clips; inner products are about the method's scores of pairs."""
        tokens, rest = _parts(method, descriptors, self.times)
        return torch.cat([self._kept(tokens), rest], -1) @ self.axes

    def _kept(self, tokens: Float[Tensor, "b m k d"]) -> Float[Tensor, "b e"]:
        if not len(self.kinds):
            return tokens.flatten(1)
        return torch.einsum("bmkd,mdr->bmkr", tokens, self.kinds).flatten(1)

    def to_bytes(self) -> bytes:
        """For the archive."""
        file = io.BytesIO()
        for value in (self.times, self.kinds, self.axes):
            np.save(file, value.numpy(), allow_pickle=False)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Basis:
        """What ``to_bytes`` gave.

        Raises:
            ValueError: It is something else.
        """
        file = io.BytesIO(data)
        try:
            found = [np.load(file, allow_pickle=False) for _ in range(3)]
        except EOFError as error:
            raise ValueError("no basis of search vectors") from error
        if [value.ndim for value in found] != [3, 3, 2] or any(
            value.dtype != np.float32 for value in found
        ):
            raise ValueError("no basis of search vectors")
        return cls(*map(torch.from_numpy, found))


def _parts(method: Method, descriptors: Descriptors, times: Tensor) -> tuple[Tensor, Tensor]:
    """What A² aligns, by its axes of time, (b, m, k, d); and all else, (b, e). Inner products add up."""
    if not isinstance(method, A2M2):
        means = summary(method, descriptors)
        return means.new_zeros(len(means), 0, 1, 1), means
    moments = descriptors["moments"].float()
    part = method.layout.partition(method.config.a2.groups)
    weights = method.align.weights.detach().float().cpu().clamp_min(0).sqrt()
    share = part.share * part.mask[..., None] * weights[:, None, None]
    tokens = torch.einsum("gks,bgspd->bgpkd", times, moments[:, part.index] * share[..., None])
    rest = [moments.new_zeros(len(moments), 0)]
    if method.config.pool:
        rest.append(descriptors["pooled"].float() * method.config.pool**0.5)
    if method.reads_people and "people" in descriptors:
        people = joint_vectors(descriptors["people"].float())
        rest.append(people.mean((1, 2)) * method.config.pose**0.5)
    return tokens.flatten(1, 2), torch.cat(rest, -1)


def _time_axes(method: Method) -> Tensor:
    """Roots of the plans that A² makes where all looks alike."""
    if not isinstance(method, A2M2):
        return torch.zeros(0, 1, 1)
    ones = torch.ones(1, len(method.layout), 1, device=method.align.weights.device)
    same = Candidates(ones, method.layout)
    plan = method.align(same, same).plan[0, 0].double().cpu()
    found = torch.linalg.eigh((plan + plan.mT) / 2)
    roots = found.eigenvectors * found.eigenvalues.clamp_min(0).sqrt()[:, None]
    axes: Tensor = roots.mT.flip(-2)[:, :_TIMES].float().contiguous()
    return axes


def _principal(rows: Float[Tensor, "n d"], size: int) -> Float[Tensor, "d k"]:
    """The directions along which rows are long, orthonormal; random ones where there are too few."""
    rows = rows.double()
    size = min(size, rows.shape[1])
    if len(rows) > rows.shape[1]:
        whole: Tensor = torch.linalg.eigh(rows.mT @ rows).eigenvectors.flip(-1)
        return whole[:, :size].float()
    found = torch.linalg.eigh(rows @ rows.mT)
    kept = found.eigenvalues > 1e-9 * found.eigenvalues.amax().clamp_min(1e-30)
    axes = rows.mT @ found.eigenvectors[:, kept].flip(-1)[:, :size]
    chance = torch.Generator().manual_seed(0)
    rest = torch.randn(rows.shape[1], size, generator=chance, dtype=torch.float64)
    made: Tensor = torch.linalg.qr(torch.cat([axes, rest], -1)[:, :size]).Q
    return made.float()
