"""Second moments of feature maps.

Everything here runs in float32 at least, also under autocast: a covariance of half-precision sums is mostly
rounding, and matrix roots amplify it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.ops.precision import promote, without_autocast


@without_autocast
def frame_sums(
    x: Float[Tensor, "*b p d"],
) -> tuple[Float[Tensor, "*b d"], Float[Tensor, "*b d d"]]:
    """Sum and sum of outer products over the positions of each frame.

    These two are all a window of frames needs: moments of windows are sums of moments of frames.

    Args:
        x: d channels at P positions, any leading axes (clip, frame).

    Returns:
        Σx (…, d) and Σxxᵀ (…, d, d), float32 or float64.

    >>> first, second = frame_sums(torch.ones(2, 3, 5, 4))
    >>> first.shape, second.shape, second[0, 0, 0, 0].item()
    (torch.Size([2, 3, 4]), torch.Size([2, 3, 4, 4]), 5.0)
    """
    x = promote(x)
    return x.sum(-2), x.mT @ x


@without_autocast
def covariance_from_sums(
    first: Float[Tensor, "*b d"], second: Float[Tensor, "*b d d"], count: Tensor | float
) -> Float[Tensor, "*b d d"]:
    """Population covariance Σxxᵀ/n − μμᵀ from the sums over n samples.

    The difference cancels digits when the mean is large against the spread: take the clip's mean
    off ``x`` before summing (the covariance does not see it). A covariance that is nothing but the
    rounding of that difference, as of a window without change, is zero, and so is its gradient.

    Args:
        first: Σx.
        second: Σxxᵀ.
        count: n, one number or one per leading axis (broadcast against ``first[..., 0]``).
    """
    n = torch.as_tensor(count, dtype=first.dtype, device=first.device)
    mean = first / n[..., None]
    moment = second / n[..., None, None]
    covariance = moment - mean[..., :, None] * mean[..., None, :]
    spread, size = (x.detach().diagonal(dim1=-2, dim2=-1).sum(-1) for x in (covariance, moment))
    rounding = 64 * torch.finfo(size.dtype).eps * size
    return covariance.where((spread > rounding)[..., None, None], 0.0)
