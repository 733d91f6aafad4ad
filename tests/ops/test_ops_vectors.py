import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_maker import spd

from a2m2_zoo.ops.precision import promote
from a2m2_zoo.ops.vectors import l2_normalise, unit_triangles, upper_triangle

DTYPES = [torch.float32, torch.float64]


@given(st.integers(1, 9), st.integers(0, 100))
@settings(max_examples=25)
def test_triangle_keeps_the_inner_product(size, seed):
    a, b = spd(2, size, samples=5, seed=seed)
    va, vb = upper_triangle(a), upper_triangle(b)
    assert va.shape == (size * (size + 1) // 2,)
    torch.testing.assert_close(va @ vb, (a * b).sum())


def test_triangle_made_in_inference_mode_can_be_trained_with_later():
    a = spd(1, 11).requires_grad_()
    with torch.inference_mode():
        upper_triangle(a)
    upper_triangle(a).sum().backward()
    assert a.grad.isfinite().all()


def runs_of_roots():
    """Two runs of matrices of two clips, one matrix empty, and what to subtract from them."""
    g = torch.Generator().manual_seed(0)
    runs = [torch.randn(2, s, 3, 3, generator=g, dtype=torch.float64) for s in (2, 3)]
    runs[1][0, 1] = 0
    centre = torch.randn(5, 6, generator=g, dtype=torch.float64) / 5
    return [run.requires_grad_() for run in runs], centre


def test_unit_triangles_are_triangles_less_the_centre_of_unit_length():
    runs, centre = runs_of_roots()
    raw = torch.cat([upper_triangle(run) for run in runs], 1)
    empty = (raw == 0).all(-1, keepdim=True)
    want = torch.nn.functional.normalize((raw - centre).where(~empty, 0.0), dim=-1)
    got = unit_triangles(runs, centre)
    torch.testing.assert_close(got, want)
    assert empty.sum() == 1
    assert (got[empty[..., 0]] == 0).all()
    weight = torch.randn(2, 5, 6, dtype=torch.float64)
    grads = [torch.autograd.grad((x * weight).sum(), runs) for x in (got, want)]
    torch.testing.assert_close(*grads)
    assert torch.autograd.gradcheck(lambda *few: unit_triangles(few, centre), runs)


def test_unit_triangles_of_half_precision_and_of_a_clip_that_is_its_centre():
    runs, _ = runs_of_roots()
    found = unit_triangles([run.detach().half() for run in runs], torch.zeros(5, 6))
    assert found.dtype == torch.float32
    raw = torch.cat([upper_triangle(run.detach()) for run in runs], 1)
    runs = [run.detach().requires_grad_() for run in runs]
    same = unit_triangles(runs, raw[0])
    assert (same[0] == 0).all()
    same.sum().backward()
    assert all(run.grad[0].count_nonzero() == 0 for run in runs)
    assert all(run.grad.isfinite().all() for run in runs)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16, torch.float16])
def test_unit_length(dtype):
    x = torch.randn(5, 12).to(dtype)
    unit = l2_normalise(x)
    assert unit.dtype == promote(x).dtype
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(5, dtype=unit.dtype))
    huge = l2_normalise(torch.full((1, 4), 1e30))
    torch.testing.assert_close(huge, torch.full((1, 4), 0.5))


def test_unit_length_at_zero_and_its_gradient():
    x = torch.tensor([[0.0, 0.0], [1e-6, 0.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    unit = l2_normalise(x)
    assert (unit[:2] == 0).all()
    unit.sum().backward()
    assert (x.grad[:2] == 0).all()
    assert x.grad[2].abs().sum() > 0
    y = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(l2_normalise, y)
