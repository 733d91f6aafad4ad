from __future__ import annotations

import pytest
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.training import FeatureSource
from a2m2_zoo.training.distort import (
    DistortedSource,
    Distortion,
    MixedSource,
    one_domain,
    out_of_step,
)


def numbered(clips: int, *, frames: int = 8) -> Features:
    """Every frame holds its own number."""
    number = torch.arange(clips * frames, dtype=torch.float32).reshape(clips, frames)
    maps = number[..., None, None, None].expand(-1, -1, 3, 2, 2).clone()
    return Features({"s7": maps}, number[..., None].expand(-1, -1, 4).clone())


def source(*, shot: int = 1, query: int = 2, seed: int = 0) -> FeatureSource:
    torch.manual_seed(0)
    features = Features({"s7": torch.randn(24, 8, 3, 2, 2)}, torch.randn(24, 8, 4))
    labels = torch.arange(6).repeat_interleave(4)
    form = EpisodeForm(way=3, shot=shot, query=query, episodes=2, seed=seed)
    return FeatureSource(features, labels, form)


def test_clips_out_of_step_show_their_own_frames_in_order() -> None:
    clips = numbered(300)
    moved = out_of_step(clips, share=0.5, draw=torch.Generator().manual_seed(0))
    frame = moved.pooled[..., 0] - 8 * torch.arange(300)[:, None]
    assert ((frame >= 0) & (frame <= 7)).all()
    assert (frame.diff(dim=1) >= 0).all()
    same = (frame == torch.arange(8)).all(1).double().mean().item()
    assert 0.45 < same < 0.7  # half are left alone, and small amounts move nothing
    torch.testing.assert_close(moved.maps["s7"][:, :, 0, 0, 0], moved.pooled[..., 0])
    starts, ends = (frame[:, 0] == 0).all(), (frame[:, -1] == 7).all()
    assert not starts
    assert not ends


def test_no_share_moves_nothing() -> None:
    clips = numbered(20)
    moved = out_of_step(clips, share=0.0, draw=torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.pooled, clips.pooled)


def test_an_episode_has_one_domain_and_others_have_others() -> None:
    support = Features({"s7": torch.randn(6, 8, 3, 2, 2)}, torch.randn(6, 8, 4))
    query = Features({"s7": torch.randn(4, 8, 3, 2, 2)}, torch.randn(4, 8, 4))
    draw = torch.Generator().manual_seed(0)
    changed = one_domain(support, query, episodes=2, deviation=0.3, draw=draw)
    lines = []
    for e in range(2):
        x = torch.cat([support.pooled[3 * e : 3 * e + 3], query.pooled[2 * e : 2 * e + 2]])
        y = torch.cat([changed[0].pooled[3 * e : 3 * e + 3], changed[1].pooled[2 * e : 2 * e + 2]])
        for c in range(4):  # one straight line through all frames of all clips
            a, b = x[..., c].flatten(), y[..., c].flatten()
            slope = (b[1] - b[0]) / (a[1] - a[0])
            torch.testing.assert_close(b, b[0] + slope * (a - a[0]), atol=1e-4, rtol=1e-4)
            lines.append(slope.item())
    assert len({round(line, 4) for line in lines}) == 8


def test_a_batch_is_a_function_of_seed_and_index() -> None:
    how = Distortion(moved=0.5, domain=0.2)
    one, again = (DistortedSource(source(), how, seed=3) for _ in range(2))
    one.batch(0)
    for index in (5, 2):
        a, b = one.batch(index), again.batch(index)
        assert torch.equal(a.query.pooled, b.query.pooled)
        assert torch.equal(a.support.maps["s7"], b.support.maps["s7"])
    other = DistortedSource(source(), how, seed=4).batch(5)
    assert not torch.equal(other.query.pooled, again.batch(5).query.pooled)
    plain = DistortedSource(source(), Distortion(moved=0.0, domain=0.0), seed=3).batch(5)
    assert torch.equal(plain.query.pooled, source().batch(5).query.pooled)


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"moved is 1\.5"):
        Distortion(moved=1.5)
    with pytest.raises(ArgumentError, match="1 sources came with shares"):
        MixedSource([source()], [1, 2])
    small = FeatureSource(numbered(4), torch.tensor([0, 0, 1, 1]), EpisodeForm(way=2))
    with pytest.raises(ArgumentError, match="different numbers of classes"):
        MixedSource([source(), small], [1, 1])
