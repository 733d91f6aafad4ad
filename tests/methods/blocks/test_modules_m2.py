import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.special
import torch

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks import (
    Candidates,
    M2Block,
    M2Config,
    join_candidates,
    join_layouts,
    sequence_layout,
)


def block(**options):
    torch.manual_seed(0)
    options = {"channels": 6, "dim": 4, "iterations": 30} | options
    made = M2Block(M2Config(**options))
    if made.config.reduce == "context":  # starts at zero; seen only when it is not
        torch.nn.init.normal_(made.reduce.down.weight, std=0.1)
    return made.double().eval()


def maps(b=2, t=8, c=6, h=5, w=5, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(b, t, c, h, w, generator=g, dtype=dtype)


def by_hand(samples):
    """Unit upper triangle of the root of the covariance of (n, d) samples, in NumPy and SciPy."""
    covariance = np.atleast_2d(np.cov(samples, rowvar=False, bias=True))
    root = scipy.linalg.sqrtm(covariance).real
    rows, columns = np.triu_indices(len(root))
    vector = root[rows, columns] * np.where(rows == columns, 1, np.sqrt(2))
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("motion", ["none", "half", "branch"])
@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("reduce", ["linear", "context"])
def test_every_candidate_is_the_moment_of_its_window(motion, lag, reduce):
    m2 = block(motion=motion, lag=lag, reduce=reduce, scales=(2, 0, 0), cells=(1, 1, 2), dim=4)
    x = maps(1)
    got = m2(x)
    with torch.no_grad():
        f = m2.reduce(x[0]).permute(0, 2, 3, 1).numpy()  # t h w d
    if motion == "half":
        half = f.shape[-1] // 2
        change = np.diff(f[..., half:], axis=0)
        f = np.concatenate([f[..., :half], np.concatenate([change[:1], change])], -1)
    want = []
    for line in [f, np.diff(f, axis=0)] if motion == "branch" else [f]:
        s = np.concatenate([line[:-lag], line[lag:]], -1) if lag else line
        t, d = len(s), s.shape[-1]
        count = -(-t // 2)
        starts = [int(i * (t - 2) / (count - 1) + 0.5) for i in range(count)]
        want += [by_hand(s[i : i + 2].reshape(-1, d)) for i in starts]
        want.append(by_hand(s.reshape(-1, d)))
        spans = (slice(0, 3), slice(2, 5))  # a map of 5 in two cells: they share the middle line
        want += [by_hand(s[:, r, c].reshape(-1, d)) for r in spans for c in spans]
    np.testing.assert_allclose(got.descriptors[0].detach().numpy(), want, atol=1e-6)


@pytest.mark.parametrize("motion", ["none", "half", "branch"])
@pytest.mark.parametrize("t", [1, 2, 3, 5, 16])
def test_any_length_gives_the_same_groups_and_finite_gradients(t, motion):
    m2 = block(motion=motion, scales=(1, 4, 0), overlap=True, lag=0)
    x = maps(t=t).requires_grad_()
    got = m2(x)
    assert got.names == m2.config.group_names
    assert sorted(set(got.group)) == list(range(len(got.names)))
    assert got.layout == m2.layout(t)
    assert got.centres.shape == (got.descriptors.shape[1], 2)
    assert ((got.centres >= 0) & (got.centres <= 1)).all()
    assert got.descriptors.isfinite().all()
    got.descriptors.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("normalise", ["sqrt", "log", "none"])
@pytest.mark.parametrize("reduce", ["linear", "context", "mlp"])
@pytest.mark.parametrize("kind", ["zero", "constant", "still", "one frame", "one pixel"])
def test_degenerate_clips(kind, reduce, normalise):
    m2 = block(reduce=reduce, normalise=normalise, iterations=6, scales=(1, 0)).float()
    x = maps(dtype=torch.float32)
    x = {
        "zero": torch.zeros_like(x),
        "constant": torch.full_like(x, 3.0),
        "still": x[:, :1].expand_as(x).clone(),
        "one frame": x[:, :1].clone(),
        "one pixel": x[..., :1, :1].clone(),
    }[kind].requires_grad_()
    got = m2(x)
    moving = torch.tensor([n.startswith("motion") for n in got.names])[list(got.group)]
    assert got.descriptors.isfinite().all()
    if kind != "one pixel":
        assert (got.descriptors[:, moving] == 0).all()
    got.descriptors.square().sum().backward()
    assert x.grad.isfinite().all()
    for p in m2.parameters():
        assert p.grad is None or p.grad.isfinite().all()


def test_descriptors_are_unit_and_see_neither_brightness_nor_contrast():
    m2 = block(scales=(1, 0))
    with torch.no_grad():
        m2.reduce.bias.zero_()
        x = maps()
        got = m2(x).descriptors
        torch.testing.assert_close(got.norm(dim=-1), torch.ones(got.shape[:2]).double())
        torch.testing.assert_close(m2(3 * x + 7).descriptors, got, rtol=1e-7, atol=1e-7)


def test_a_large_mean_does_not_spoil_float32():
    m2 = block(scales=(0,), motion="none").float()
    x = maps(dtype=torch.float32)
    with torch.no_grad():
        near, far = m2(x).descriptors, m2(x + 300).descriptors
    torch.testing.assert_close(near, far, rtol=0, atol=5e-3)


def test_clips_do_not_see_each_other_and_positions_have_no_order():
    m2 = block()
    x = maps(3)
    with torch.no_grad():
        together = m2(x).descriptors
        alone = torch.cat([m2(clip[None]).descriptors for clip in x])
        shuffled = x.flatten(3)[..., torch.randperm(25)].reshape(x.shape)
        torch.testing.assert_close(together, alone)
        torch.testing.assert_close(m2(shuffled).descriptors, together)


def test_reversed_clips_have_reversed_candidates():
    m2 = block(scales=(2,), motion="branch")
    x = maps()
    with torch.no_grad():
        a, b = m2(x), m2(x.flip(1))
    frames = [i for i, g in enumerate(a.group) if g == 0]
    torch.testing.assert_close(a.descriptors[:, frames].flip(1), b.descriptors[:, frames])


@pytest.mark.parametrize(("size", "grid"), [(14, 7), (12, 4), (10, 7), (7, 7), (5, 7), (16, 2)])
def test_grid_is_adaptive_average_pooling(size, grid):
    x = maps(1, h=size, w=size)
    with torch.no_grad():
        got = block(grid=grid)(x).descriptors
        if size > grid:
            x = torch.nn.functional.adaptive_avg_pool2d(x[0], grid)[None]
        torch.testing.assert_close(got, block()(x).descriptors)


def test_centre_is_subtracted_by_group():
    m2 = block(scales=(1, 0), motion="none", normalise="none")
    x = maps(16)
    with torch.no_grad():
        mean = m2.mean_moments(x)
        raw = m2.moments(x)
        torch.testing.assert_close(mean[0], raw[:, :8].mean((0, 1)))
        torch.testing.assert_close(mean[1], raw[:, 8].mean(0))
        m2.centre.copy_(mean)
        want = torch.nn.functional.normalize(raw - mean[list(m2(x).group)], dim=-1)
        torch.testing.assert_close(m2(x).descriptors, want)
    assert "centre" in m2.state_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_give_float32_descriptors(dtype):
    m2 = block(scales=(1, 0), iterations=6).to(dtype)
    got = m2(maps(dtype=dtype)).descriptors
    assert got.dtype == torch.float32
    assert got.isfinite().all()


@pytest.mark.parametrize("reduce", ["linear", "context"])
def test_autocast_keeps_the_moments_in_float32(reduce):
    m2 = block(scales=(1, 0), iterations=6, reduce=reduce).float()
    x = maps(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = m2(x).descriptors
    assert got.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(got, m2(x).descriptors, dim=-1).min() > 0.99


@pytest.mark.parametrize("reduce", ["linear", "context"])
def test_gradient_of_the_whole_block(reduce):
    m2 = block(reduce=reduce, scales=(1, 0), dim=2, channels=2, iterations=4)
    x = maps(1, t=3, c=2, h=3, w=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda maps: m2(maps).descriptors, x)


def test_a_context_is_the_projection_and_a_correction():
    reduce = block(reduce="context").reduce
    torch.nn.init.normal_(reduce.norm.weight)
    torch.nn.init.normal_(reduce.norm.bias)
    x = maps(1)[0]
    with torch.no_grad():
        got = reduce(x).numpy()
    own = {name: value.detach().numpy() for name, value in reduce.state_dict().items()}
    for frame, found in zip(x.numpy(), got, strict=True):
        norm = (frame - frame.mean()) / np.sqrt(frame.var() + 1e-5)
        norm = norm * own["norm.weight"][:, None, None] + own["norm.bias"][:, None, None]
        hidden = np.tensordot(own["up.weight"][..., 0, 0], norm, 1) + own["up.bias"][:, None, None]
        hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
        want = np.tensordot(own["weight"][..., 0, 0], frame, 1)
        for d, kernels in enumerate(own["down.weight"]):
            want[d] += own["bias"][d] + own["down.bias"][d]
            for line, kernel in zip(hidden, kernels, strict=True):
                want[d] += scipy.signal.correlate2d(line, kernel, mode="same")
        np.testing.assert_allclose(found, want, atol=1e-12)


def context(**options):
    """A context none of whose parameters is at its start, and the same by PyTorch's own layers."""
    reduce = block(reduce="context", **options).reduce
    for p in reduce.norm.parameters():
        torch.nn.init.normal_(p)

    def plain(x):
        hidden = torch.nn.functional.gelu(reduce.up(reduce.norm(x)))
        linear = torch.nn.functional.conv2d(x, reduce.weight, reduce.bias)
        return linear + reduce.down(hidden)

    return reduce, plain


def test_the_norm_in_the_weights_is_the_norm_on_the_maps():
    reduce, plain = context()
    x = maps(1)[0].requires_grad_()
    weight = maps(1, c=4, seed=1)[0]
    wanted = [x, *reduce.parameters()]
    torch.testing.assert_close(reduce(x), plain(x))
    grads = [torch.autograd.grad((f(x) * weight).sum(), wanted) for f in (reduce, plain)]
    torch.testing.assert_close(*grads)
    assert torch.autograd.gradcheck(reduce, maps(1, t=2, h=2, w=2)[0].requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mean_far_above_the_deviation_does_not_spoil_a_context(dtype):
    reduce, plain = context()
    x = maps(1, dtype=dtype)[0] + 20
    want = plain(x.double())
    got = reduce.to(dtype)(x)
    assert got.dtype == dtype
    scale = torch.finfo(dtype).eps * 400 * want.abs().max().item()
    torch.testing.assert_close(got.double(), want, rtol=0, atol=scale)


def test_a_context_starts_as_the_linear_projection_that_is_put_in():
    linear = block(scales=(1, 0))
    context = M2Block(M2Config(channels=6, dim=4, iterations=30, scales=(1, 0), reduce="context"))
    context = context.double()
    context.load_state_dict({**context.state_dict(), **linear.state_dict()})
    want = linear(maps()).descriptors
    got = context(maps()).descriptors
    assert torch.equal(got, want)
    got[..., 0].sum().backward()
    assert context.reduce.down.weight.grad.abs().max() > 0  # it is not stuck there


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_mlp_trains(norm):
    m2 = block(reduce="mlp", norm=norm).train()
    m2(maps()).descriptors[..., 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m2.parameters())


def test_refusals():
    m2 = block(scales=(0,), cells=(2,))
    with pytest.raises(ArgumentError, match="expected"):
        m2(maps(c=5))
    with pytest.raises(ArgumentError, match="coarser"):
        m2(maps(h=1, w=5))
    with pytest.raises(ArgumentError, match="frames is 0"):
        m2.layout(0)
    with pytest.raises(ArgumentError, match="steps"):
        sequence_layout(0)


def test_joining_blocks():
    a, b = block(scales=(0,)), block(scales=(1, 0), channels=3)
    with torch.no_grad():
        parts = [a(maps()), b(maps(c=3))]
        both = join_candidates(parts, names=("late", "early"))
    assert both.names[0] == "late/frames/clip"
    assert both.layout.groups("joint") == (
        "late/frames",
        "late/motion",
        "early/frames",
        "early/motion",
    )
    assert both.layout == join_layouts([p.layout for p in parts], names=("late", "early"))
    assert torch.equal(both.descriptors[:, : len(parts[0].layout)], parts[0].descriptors)
    partition = both.layout.partition("scale")
    members = [row[m, 0].tolist() for row, m in zip(partition.index, partition.mask, strict=True)]
    assert sorted(itertools.chain(*members)) == list(range(len(both.layout)))
    for names in (("x",), ("x", "x")):
        with pytest.raises(ArgumentError, match="distinct"):
            join_candidates(parts, names=names)
    with pytest.raises(ArgumentError, match="sizes"):
        join_candidates([parts[0], block(dim=2)(maps())], names=("a", "b"))
    with pytest.raises(ArgumentError, match="layout of"):
        Candidates(parts[0].descriptors, both.layout)
    with pytest.raises(ArgumentError, match="groups is"):
        both.layout.groups("all")


def test_cells_of_one_window_are_the_parts_of_one_candidate():
    layout = block(scales=(1, 1, 0), cells=(1, 2, 3), motion="none").layout(4)
    assert layout.groups("window") == ("frames/1", "frames/clip")
    assert layout.sizes("window") == (4, 1)
    partition = layout.partition("window")
    # Frame 1: itself, and its four quarters, which lie behind the four frames.
    assert partition.index[0, 1, :5].tolist() == [1, 8, 9, 10, 11]
    # Each grid has half of the similarity; shares are roots, so that squares add up to one.
    expected = torch.tensor([1 / 2, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 0, 0, 0, 0]).sqrt()
    torch.testing.assert_close(partition.share[0, 1], expected)
    torch.testing.assert_close(partition.share[1, 0], torch.full((9,), 1 / 3))
    assert partition.mask.tolist() == [[True] * 4, [True, False, False, False]]
    assert layout.sizes("scale") == (4, 16, 9)


@pytest.mark.parametrize("grid", [2, 3, 4])  # 4 cells of 7 rows are 2 and 3 rows high
@pytest.mark.parametrize("iterations", [1, 3, 6])
def test_few_positions_give_the_roots_that_their_covariances_give(iterations, grid, monkeypatch):
    made = block(channels=6, dim=32, scales=(1, 1), cells=(1, grid), iterations=iterations).double()
    clips = maps(t=5, c=6, h=7, w=7).double()
    clips[0, 2] = clips[0, 3]  # a pause: no motion between these
    fast = made.moments(clips)
    monkeypatch.setattr(M2Block, "_small_scale", lambda *_: None)
    torch.testing.assert_close(fast, made.moments(clips), rtol=1e-8, atol=1e-8)


def test_a_still_stretch_has_no_motion_and_no_gradient():
    """What is left of Σxxᵀ/n − μμᵀ in a window without change is rounding, which no iteration may see."""
    made = block(channels=6, dim=32, scales=(1,), iterations=6).float()
    clips = (1 + 10 * maps(t=8, c=6, h=7, w=7)).float()
    clips[:, 3:] = clips[:, 3:4]
    clips.requires_grad_()
    group = torch.tensor(made.layout(8).group)
    found = made.moments(clips)
    still = found[:, group == 1][:, 3:]
    assert still.count_nonzero() == 0
    made.centre.fill_(0.1)
    assert made(clips).descriptors[:, group == 1][:, 3:].count_nonzero() == 0
    found.square().sum().backward()
    assert clips.grad.isfinite().all()
