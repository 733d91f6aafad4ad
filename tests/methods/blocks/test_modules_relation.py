from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks.relation import ShiftedFrames, VideoRelation, temporal_coherence


def test_fused_frames_are_compared_without_being_laid_out() -> None:
    torch.manual_seed(0)
    frames, shift = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 6, 3, 4).double()
    query = torch.randn(2, 6, 7, 4).double()
    both = ShiftedFrames(frames, shift)
    whole = functional.normalize(frames[:, None] + shift[:, :, :, None], dim=-1)
    unit = functional.normalize(query, dim=-1)[:, :, None]
    torch.testing.assert_close(both.cosine_from(query), unit @ whole.mT)
    torch.testing.assert_close(both.cosine_within(), whole @ whole.mT)


def test_cosines_and_coherence_have_the_right_derivatives() -> None:
    torch.manual_seed(0)
    frames, shift, query = (
        torch.randn(shape).double().requires_grad_()
        for shape in ((1, 2, 3, 3), (1, 2, 2, 3), (1, 2, 2, 3))
    )

    def compared(frames: Tensor, shift: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        both = ShiftedFrames(frames, shift)
        within = 1 - both.cosine_within()
        coherence = temporal_coherence(within, window=1, falloff=2.0, contrast=3.0)
        return both.cosine_from(query), coherence

    assert torch.autograd.gradcheck(compared, (frames, shift, query))


def test_frames_that_the_fusion_cancels_stay_bounded() -> None:
    frames = torch.full((1, 1, 2, 4), 3e3).requires_grad_()
    shift = torch.full((1, 1, 1, 4), -3e3).requires_grad_()
    both = ShiftedFrames(frames, shift)
    cosines = torch.cat(
        [both.cosine_from(torch.rand(1, 1, 2, 4)).flatten(), both.cosine_within().flatten()]
    )
    cosines.sum().backward()
    assert cosines.abs().max() <= 1.0
    for leaf in (frames, shift):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_half_precision_compares_in_single() -> None:
    torch.manual_seed(0)
    frames, shift, query = torch.rand(1, 2, 3, 8), torch.rand(1, 4, 2, 8), torch.rand(1, 4, 3, 8)
    half = [tensor.bfloat16() for tensor in (frames, shift, query)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ShiftedFrames(half[0], half[1]).cosine_from(half[2])
    expected = ShiftedFrames(half[0].float(), half[1].float()).cosine_from(half[2].float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_relations_drop_out_in_training_and_start_as_published() -> None:
    torch.manual_seed(0)
    relation = VideoRelation(256)
    for projection in (relation.q, relation.k, relation.v):
        assert projection.weight.std().item() == pytest.approx(math.sqrt(2 / (256 + 32)), rel=0.02)
    assert relation.out.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    support, query = torch.randn(1, 3, 256), torch.randn(1, 2, 256)
    for attention, after in ((0.5, 0.0), (0.0, 0.5)):
        part = VideoRelation(256, attention_dropout=attention, dropout=after)
        assert not torch.allclose(part(support, query), part(support, query))
        part.eval()
        assert torch.equal(part(support, query), part(support, query))
    with pytest.raises(ArgumentError, match="10 channels cannot be split into 8 heads"):
        VideoRelation(10)
