import numpy as np
import pytest
import torch

from a2m2_zoo.ops.moments import covariance_from_sums, frame_sums

DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


@pytest.mark.parametrize("dtype", DTYPES)
def test_covariance_of_pooled_frames_is_numpys(dtype):
    x = torch.randn(2, 6, 9, 4, dtype=dtype)
    first, second = frame_sums(x)
    got = covariance_from_sums(first[:, 1:4].sum(1), second[:, 1:4].sum(1), 27.0)
    for b in range(2):
        want = np.cov(x[b, 1:4].reshape(-1, 4).numpy(), rowvar=False, bias=True)
        np.testing.assert_allclose(got[b].numpy(), want, atol=TOLERANCE[dtype])


def test_count_may_differ_per_window():
    x = torch.randn(5, 7, 3, dtype=torch.float64)
    first, second = frame_sums(x)
    pooled = torch.stack([first[:1].sum(0), first.sum(0)]), torch.stack([second[0], second.sum(0)])
    got = covariance_from_sums(*pooled, torch.tensor([7.0, 35.0]))
    for cov, part in zip(got, (x[:1], x), strict=True):
        want = np.cov(part.reshape(-1, 3).numpy(), rowvar=False, bias=True)
        np.testing.assert_allclose(cov.numpy(), want, atol=1e-12)


def test_sums_of_half_precision_are_float32():
    x = torch.full((1, 4000, 2), 1.0, dtype=torch.bfloat16)
    first, second = frame_sums(x)
    assert first.dtype == second.dtype == torch.float32
    assert first[0, 0] == second[0, 0, 1] == 4000  # bfloat16 would have stopped at 256
