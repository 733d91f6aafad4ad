"""The modules of MoLo against their equations, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks.global_token import GlobalTokenEncoder
from a2m2_zoo.methods.blocks.motion_autodecoder import MotionBranch, picture_changes


def test_the_encoder_step_by_step() -> None:
    torch.manual_seed(0)
    encoder = GlobalTokenEncoder(
        6, length=2, heads=2, hidden=5, position_scale=3.0, position_weight=0.5
    ).eval()
    with torch.no_grad():
        encoder.attention.norm.weight.copy_(torch.rand(6))
        encoder.attention.norm.bias.copy_(torch.rand(6))
    clip = torch.rand(2, 6)
    weight = {k: v.double().numpy() for k, v in encoder.state_dict().items()}
    u = math.sqrt(6 / 3.0) * np.vstack([weight["token"], clip.double().numpy()])
    for t, i in np.ndindex(3, 6):
        angle = t / 10_000 ** (2 * i / 6)
        u[t, i] += 0.5 * (math.cos(angle) if i % 2 else math.sin(angle))
    middle = u - u.mean(1, keepdims=True)
    normed = middle / np.sqrt(u.var(1, keepdims=True) + 1e-5)
    normed = normed * weight["attention.norm.weight"] + weight["attention.norm.bias"]
    q, k, v = np.split(normed @ weight["attention.qkv.weight"].T, 3, axis=1)
    mixed = np.zeros((3, 6))
    for head in (slice(0, 3), slice(3, 6)):
        share = np.exp(q[:, head] @ k[:, head].T / math.sqrt(3))
        mixed[:, head] = share / share.sum(1, keepdims=True) @ v[:, head]
    y = u + mixed @ weight["attention.out.weight"].T + weight["attention.out.bias"]
    inner = y @ weight["feed_forward.net.0.weight"].T + weight["feed_forward.net.0.bias"]
    inner *= np.vectorize(lambda x: (1 + math.erf(x / math.sqrt(2))) / 2)(inner)
    z = y + inner @ weight["feed_forward.net.3.weight"].T + weight["feed_forward.net.3.bias"]
    found = encoder(clip[None])[0].detach().double().numpy()
    np.testing.assert_allclose(found, np.maximum(z, 0), atol=2e-6)


def test_motion_is_what_the_next_frame_has_that_this_one_had_not() -> None:
    torch.manual_seed(0)
    branch = MotionBranch(6, 3)
    maps = torch.rand(2, 5, 6, 3, 4)
    change, vectors = branch(maps)
    reduced = functional.conv3d(
        maps.movedim(2, 1), branch.reduce.weight, branch.reduce.bias, padding=1
    )
    for t in range(4):
        later = functional.conv2d(
            reduced[:, :, t + 1], branch.conv.weight, branch.conv.bias, padding=1
        )
        torch.testing.assert_close(change[:, t], later - reduced[:, :, t])
    seen = torch.einsum("btrhw,drij->btdhw", change, branch.up.weight)
    seen = (seen + branch.up.bias[:, None, None]).clamp_min(0)
    torch.testing.assert_close(vectors, seen.mean((-2, -1)))
    with pytest.raises(ArgumentError, match="give at least 2"):
        branch(maps[:, :1])


def test_pictures_of_another_size_are_resized() -> None:
    frames = torch.rand(2, 3, 3, 8, 12)
    same = picture_changes(frames, size=(8, 12))
    assert same.shape == (4, 3, 8, 12)
    torch.testing.assert_close(same[1], frames[0, 2] - frames[0, 1])
    torch.testing.assert_close(same[2], frames[1, 1] - frames[1, 0])
    steps = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 3, 8, 12)
    smaller = picture_changes(steps, size=(4, 6))
    torch.testing.assert_close(
        smaller, torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 6)
    )
