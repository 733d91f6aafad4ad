import pytest
import torch

from a2m2_zoo.ops import centred as module
from a2m2_zoo.ops.centred import joined
from a2m2_zoo.ops.vectors import FLOOR

FIRST = torch.tensor([[[4, 0, 1], [5, 2, 0]]]), torch.tensor([[[0.5, 0.8, 0.3], [0.7, 0.7, 0.0]]])
SECOND = torch.tensor([[[3]], [[6]]]), torch.ones(2, 1, 1)


def videos(*leading, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(*leading, 7, 5, generator=g, dtype=torch.float64)
    if x.numel():
        x[..., 0, 1, :] = 0  # an empty part
        x[..., 0, 3, :] = FLOOR / 9  # and one that is but rounding
    return x


def plain(x, places, common):
    """The same by indexing and autograd of PyTorch."""
    found = []
    kept = x.norm(dim=-1, keepdim=True) > FLOOR
    x = x if common is None else (x - common).where(kept, 0.0)
    for index, share in places:
        unit = torch.nn.functional.normalize(x[..., index, :].movedim(-5, -4), dim=-1)
        unit = unit.where(kept[..., index, :].movedim(-5, -4), 0.0) * share[:, None, ..., None]
        whole = unit.flatten(-2)
        similarity = whole @ whole.mT
        itself = similarity.diagonal(dim1=-2, dim2=-1)
        found.append((whole, itself, similarity.sum(-1) - itself))
    return found


@pytest.mark.parametrize("at_once", [1 << 20, 40])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("leading", [(3,), (2, 3)])
def test_places_are_what_indexing_gives(leading, centred, at_once, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    x = videos(*leading).requires_grad_()
    common = 0.3 * videos(*leading[:-1], 1, seed=1) if centred else None
    inputs = [x, *([common.requires_grad_()] if centred else [])]
    places = [FIRST, SECOND]
    got = [(part.unit, part.itself, part.others) for part in joined(x, places, common)]
    want = plain(x, places, common)
    torch.testing.assert_close(got, want)
    weights = [torch.randn_like(part[i]) for part in want for i in (0, 2)]
    grads = []
    for found in (got, want):
        wanted = [part[i] for part in found for i in (0, 2)]
        grads.append(torch.autograd.grad(wanted, inputs, weights))
    torch.testing.assert_close(*grads)
    assert (grads[0][0][..., 0, 1, :] == 0).all()

    def compared(x, common=None):
        return tuple(y for part in joined(x, places, common) for y in (part.unit, part.others))

    full = [torch.randn_like(y).requires_grad_() for y in inputs]
    assert torch.autograd.gradcheck(compared, full)


def test_an_empty_part_is_like_nothing_and_its_place_less_like_itself():
    common = torch.ones(1, 7, 5, dtype=torch.float64)
    first, second = joined(videos(2), [FIRST, SECOND], common)
    assert (first.unit[0, 0, 0, 10:] == 0).all()
    assert (second.unit[0, 0] == 0).all()
    assert second.itself[0].tolist() == [[0.0], [1.0]]
    torch.testing.assert_close(first.itself[0, :, 0].float(), torch.tensor([0.89, 0.98]))
    torch.testing.assert_close(second.others, torch.zeros_like(second.others))


def test_no_video_half_precision_and_numbers_whose_squares_overflow():
    none = videos(0).requires_grad_()
    found = joined(none, [FIRST, SECOND])
    assert found[0].unit.shape == (1, 0, 2, 15)
    sum(part.unit.sum() + part.others.sum() for part in found).backward()
    assert none.grad.shape == none.shape
    assert joined(videos(1).half(), [FIRST])[0].unit.dtype == torch.float32
    huge = joined(torch.full((1, 7, 4), 1e30), [SECOND])[0]
    torch.testing.assert_close(huge.unit, torch.full((2, 1, 1, 4), 0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = joined(videos(2).float(), [FIRST])[0]
    torch.testing.assert_close(cast.others, joined(videos(2).float(), [FIRST])[0].others)
