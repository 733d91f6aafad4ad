import numpy as np
import pytest
import torch
from golden import close, golden_tensors

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.alignment import (
    bimhm_distance,
    bimhm_plan,
    cosine_eps,
    monotone_plan,
    otam_distance,
    otam_plan,
    product_plan,
)

SHAPES = ("8x8", "5x9", "2x2")


@pytest.fixture(scope="module")
def golden():
    return golden_tensors("matching_golden.safetensors")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("softening", [0.1, 0.5, 1.0])
def test_otam_is_the_published_one(golden, shape, softening):
    distance = golden[f"otam.{shape}.dists"]
    for turned, name in ((distance, "cum"), (distance.mT, "cum_transposed")):
        want = golden[f"otam.{shape}.lbda{softening}.{name}"]
        got = otam_distance(turned, softening=softening)
        close(got, want, name)


def test_otam_of_large_distances_is_finite(golden):
    keys = [k for k in golden if k.startswith("otam.large") and k.endswith("dists")]
    got = otam_distance(golden[keys[0]], softening=0.1)
    assert got.isfinite().all()
    assert (got - 76.4642).abs().min() < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_bimhm_is_the_published_one(golden, shape):
    distance = golden[f"otam.{shape}.dists"]
    prefix = f"bimhm.{shape}."
    for got, name in (
        (bimhm_distance(distance, both=False), "query_to_support"),
        (bimhm_distance(distance.mT, both=False), "support_to_query"),
        (bimhm_distance(distance), "both"),
    ):
        torch.testing.assert_close(got, golden[prefix + name], rtol=1e-5, atol=2e-5)


def test_cosine_with_epsilon_is_the_published_one(golden):
    got = cosine_eps(golden["cos_sim.x"], golden["cos_sim.y"])
    torch.testing.assert_close(got, golden["cos_sim.out"], rtol=1e-5, atol=2e-5)


def otam_reference(distance, softening):
    n, m = distance.shape
    cost = np.zeros((n, m + 2))
    cost[:, 1:-1] = distance
    table = np.zeros_like(cost)
    table[0] = np.cumsum(cost[0])

    def soft(*values):
        return -softening * np.log(np.exp(-np.array(values) / softening).sum())

    for i in range(1, n):
        for j in range(1, m + 2):
            ways = [table[i - 1, j - 1], table[i, j - 1]]
            if j in (1, m + 1):
                ways.append(table[i - 1, j])
            table[i, j] = cost[i, j] + soft(*ways)
    return table[-1, -1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 6)])
def test_otam_against_a_plain_recursion(shape):
    distance = torch.rand(2, 3, *shape, dtype=torch.float64)
    got = otam_distance(distance, softening=0.3)
    for i in np.ndindex(2, 3):
        assert got[i].item() == pytest.approx(otam_reference(distance[i].numpy(), 0.3), abs=1e-12)


def test_otam_gradient_and_plan():
    distance = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: otam_distance(d, softening=0.2), distance)
    with torch.inference_mode():
        plan = otam_plan(distance.detach(), softening=0.01)
    assert plan.shape == distance.shape
    torch.testing.assert_close(plan.sum((-2, -1)), torch.ones(2, dtype=torch.float64))
    diagonal = otam_plan(1 - torch.eye(4), softening=0.01)
    assert diagonal.diagonal().sum() > 0.9


def test_otam_refuses_and_promotes():
    with pytest.raises(ArgumentError, match="softening"):
        otam_distance(torch.rand(2, 2), softening=0.0)
    assert otam_distance(torch.rand(2, 2).bfloat16()).dtype == torch.float32


def test_product_plan_is_the_mean():
    similarity = torch.rand(3, 4, 5)
    plan = product_plan(torch.full((3, 4), 0.25), torch.full((3, 5), 0.2))
    torch.testing.assert_close((plan * similarity).sum((-2, -1)), similarity.mean((-2, -1)))


@pytest.mark.parametrize("sizes", [(4, 4), (4, 8), (5, 3), (1, 6)])
def test_monotone_plan_is_a_monotone_coupling(sizes):
    n, m = sizes
    g = torch.Generator().manual_seed(n)
    a, b = torch.rand(n, generator=g).double(), torch.rand(m, generator=g).double()
    a, b = a / a.sum(), b / b.sum()
    plan = monotone_plan(a, b)
    torch.testing.assert_close(plan.sum(-1), a)
    torch.testing.assert_close(plan.sum(-2), b)
    rows, columns = plan.gt(1e-12).nonzero(as_tuple=True)
    assert (columns.diff() >= 0).all()  # later rows never look at earlier columns
    assert len(rows) <= n + m - 1


def test_monotone_plan_of_equal_sizes_is_the_diagonal():
    mass = torch.full((8,), 1 / 8)
    torch.testing.assert_close(monotone_plan(mass, mass), torch.eye(8) / 8, atol=1e-7, rtol=0)


def test_bimhm_plan_scores_like_the_mean_bimhm():
    similarity = torch.rand(3, 4, 6)
    rows = torch.ones(3, 4, dtype=torch.bool)
    columns = torch.ones(3, 6, dtype=torch.bool)
    got = (bimhm_plan(similarity, rows, columns) * similarity).sum((-2, -1))
    torch.testing.assert_close(got, 1 - bimhm_distance(1 - similarity, reduction="mean"))
    columns[:, 4:] = False
    masked = (bimhm_plan(similarity, rows, columns) * similarity).sum((-2, -1))
    want = 1 - bimhm_distance(1 - similarity[..., :4], reduction="mean")
    torch.testing.assert_close(masked, want)


def test_bimhm_one_direction_and_refusal():
    distance = torch.tensor([[0.0, 1.0, 5.0], [3.0, 2.0, 4.0]])
    assert bimhm_distance(distance, both=False) == 2
    assert bimhm_distance(distance) == 2 + 0 + 1 + 4
    assert bimhm_distance(distance, reduction="mean", both=False) == 1
    assert bimhm_distance(distance, reduction="mean").item() == pytest.approx((1 + 5 / 3) / 2)
    with pytest.raises(ArgumentError, match="median"):
        bimhm_distance(distance, reduction="median")
