"""The joints head: what it sees, what it must not depend on, and that it was trained."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.pose import LIMBS
from a2m2_zoo.pose.joints_head import (
    DIM,
    INPUTS,
    JointsHead,
    build_joints_head,
    joint_inputs,
    limbs_alone,
    mirrored,
)
from a2m2_zoo.synthetic.skeleton import JOINTS


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parent.parent.parent / "tools" / "train_joints.py"
    if not path.exists():
        pytest.skip("the tools are not here")
    spec = importlib.util.spec_from_file_location("train_joints", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_joints"] = module
    spec.loader.exec_module(module)
    return module


def people(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    made = torch.rand(*shape, 33, 3, generator=g)
    made[..., 2] = 0.5 + made[..., 2] / 2
    return made


def test_inputs_are_what_they_are_called() -> None:
    clip = people(1, 2, 3).double()
    inputs, seen = joint_inputs(clip)
    assert inputs.shape == (1, 2, 3, INPUTS)
    assert seen.all()
    points = clip[0, 1, 2]
    segments = [*LIMBS, (23, 15), (24, 16)]
    limbs = torch.stack([points[b, :2] - points[a, :2] for a, b in segments])
    visible = torch.stack([(points[a, 2] * points[b, 2]).sqrt() for a, b in segments])
    weights = torch.tensor([0.5] * 4 + [1.0] * 10).double()
    stacked = (limbs * (visible * weights)[:, None]).flatten()
    found = inputs[0, 1, 2]
    torch.testing.assert_close(found[:28], 2 * stacked / stacked.norm())
    torch.testing.assert_close(found[28:42], visible)
    sizes = []
    for frame in clip[0, 1]:
        lengths = torch.stack([(frame[b, :2] - frame[a, :2]).square().sum() for a, b in segments])
        sees = torch.stack([(frame[a, 2] * frame[b, 2]).sqrt() for a, b in segments])
        sizes.append(((lengths * sees).sum() / sees.sum()).sqrt())
    size = torch.stack(sizes).mean()
    hips = clip[0, 1, :, 23:25, :2].mean(1)
    torch.testing.assert_close(found[42:44], 0.3 * (hips[2] - hips.mean(0)) / size)
    other = clip[0, 0, 2]
    shoulders = points[11:13, :2].mean(0)
    places = [
        other[23:25, :2].mean(0) - hips[2],
        other[15, :2] - shoulders,
        other[16, :2] - shoulders,
    ]
    torch.testing.assert_close(found[44:50], 0.3 * torch.cat(places) / size)
    assert found[50] == 1


def test_the_nearest_of_several_is_the_other() -> None:
    clip = people(1, 3, 2)
    clip[:, :, :, :, 0] += torch.tensor([0.0, 5.0, 6.0])[None, :, None, None]
    three, _ = joint_inputs(clip)
    two, _ = joint_inputs(clip[:, 1:])
    torch.testing.assert_close(three[:, 1:], two)
    alone, _ = joint_inputs(clip[:, :1])
    assert not alone[..., 44:].any()
    clip[:, 1:] = 0
    torch.testing.assert_close(joint_inputs(clip)[0][:, :1], alone)


def test_a_person_out_of_sight_is_zero_and_changes_nobody_else() -> None:
    head = build_joints_head()
    clip = people(1, 2, 6)
    clip[:, 1] = 0
    found = head(clip)
    assert not found[:, 1].any()
    torch.testing.assert_close(found[:, :1], head(clip[:, :1]))
    clip[:, 0, 2] = 0
    assert not head(clip)[:, 0, 2].any()


def test_vectors_have_length_one_and_halves_that_the_mirror_exchanges() -> None:
    head = build_joints_head()
    clip = people(2, 2, 8)
    found = head(clip)
    assert found.shape == (2, 2, 8, 2 * DIM)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 2, 8))
    first, second = found.chunk(2, -1)
    torch.testing.assert_close(head(mirrored(clip)), torch.cat((second, first), -1))
    torch.testing.assert_close(mirrored(mirrored(clip)), clip)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(CheckpointError, match="joints head"):
        build_joints_head({"x": torch.zeros(1)})


def test_gradients_are_those_of_differences() -> None:
    torch.manual_seed(0)
    head = JointsHead().double()
    clip = people(1, 2, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head(x)[..., ::16].sum(-1), (clip,), fast_mode=True)


def test_cameras_see_a_figure_upright_and_its_left_on_the_right(tool: ModuleType) -> None:
    rng = torch.Generator().manual_seed(0)
    joints = torch.from_numpy(tool._class(21, 4, 3)).float()
    places = tool.filmed(joints, rng)
    assert places.shape == (4, 2, tool.TIMES, 33, 2)
    rest = torch.zeros(200, 2, 8, len(JOINTS), 3)
    from a2m2_zoo.synthetic.skeleton import PARENTS, REST

    for joint, parent in enumerate(PARENTS):
        base = rest[..., parent, :] if parent >= 0 else 0
        rest[..., joint, :] = base + torch.from_numpy(np.array(REST[joint])).float()
    standing = tool.filmed(rest, rng)
    assert (standing[..., 0, 1] < standing[..., 23, 1]).all()  # the head is above the hips
    assert (standing[..., 27, 1] > standing[..., 25, 1]).float().mean() > 0.99
    left, right = standing[:, 0, 0, 11, 0], standing[:, 0, 0, 12, 0]
    assert 0.5 < (left > right).float().mean() < 0.95  # most are seen from the front


def test_the_shipped_head_knows_an_action_from_another_side(tool: ModuleType) -> None:
    """On classes it was not trained on, far above an untrained head."""
    joints = torch.stack([torch.from_numpy(tool._class(11, 4, c)) for c in range(5300, 5340, 4)])
    rng = torch.Generator().manual_seed(1)
    seen = tool.spoiled(tool.filmed(joints.float().flatten(0, 1)[:, :, ::4], rng), rng)
    labels = torch.arange(10).repeat_interleave(4)
    torch.manual_seed(0)
    with torch.inference_mode():
        vectors = build_joints_head()(seen)
        plain = JointsHead()(seen)
    asked = {"shots": (1,), "episodes": 400}
    shipped = tool.judged(vectors, labels, **asked)["1"]
    assert shipped > tool.judged(limbs_alone(vectors), labels, **asked)["1"] + 10
    assert shipped > tool.judged(plain, labels, **asked)["1"] + 10


def test_training_goes_down_and_is_the_same_again(tool: ModuleType) -> None:
    joints = torch.stack([torch.from_numpy(tool._class(21, 4, c)) for c in range(24)])
    held = tool.batch(joints, torch.Generator().manual_seed(5)), tool.LABELS % 5
    first, curve = tool.trained(joints, held, steps=3, seed=0)
    again, same = tool.trained(joints, held, steps=3, seed=0)
    assert curve == same
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
