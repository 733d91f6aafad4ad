"""Matrices to take roots of."""

import torch


def spd(n, d, *, samples=200, dtype=torch.float64, seed=0):
    """Covariances of ``samples`` random vectors."""
    x = torch.randn(n, d, samples, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x @ x.mT / samples
