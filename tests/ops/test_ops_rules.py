"""Marginals, shots and text fusion."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.ops import marginals
from a2m2_zoo.ops.fusion import fuse_text
from a2m2_zoo.ops.shots import class_prototypes, class_slots, mean_over_shots

MASK = torch.tensor([[True, True, True, False], [True, False, False, False]])


def own_of(unit):
    similarity = unit @ unit.mT
    itself = similarity.diagonal(dim1=-2, dim2=-1)
    return marginals.distinctiveness(itself, similarity.sum(-1) - itself)


@given(st.integers(0, 10**6), st.floats(0, 4))
@settings(max_examples=25)
def test_masses_sum_to_one_and_skip_the_padding(seed, power):
    g = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize(torch.randn(2, 4, 3, generator=g), dim=-1)
    for mass in (
        marginals.uniform(MASK),
        marginals.cross_reference(torch.randn(2, 4, generator=g), MASK),
        marginals.distinct(own_of(unit), MASK, power=power),
    ):
        torch.testing.assert_close(mass.sum(-1), torch.ones(2))
        assert (mass[~MASK] == 0).all()
        assert (mass[MASK] > 0).all()


def test_what_repeats_weighs_little_and_what_happens_once_weighs_much():
    a, b = torch.eye(2)
    mask = torch.ones(4, dtype=torch.bool)
    mass = marginals.distinct(own_of(torch.stack([a, a, a, b])), mask)
    assert mass[3] > 2 * mass[0]
    torch.testing.assert_close(mass[0], mass[1])
    squared = marginals.distinct(own_of(torch.stack([a, a, a, b])), mask, power=2.0)
    assert squared[3] > mass[3]


def test_empty_descriptors_are_not_distinct_and_a_constant_video_is_uniform():
    a, b = torch.eye(2)
    mask = torch.ones(3, dtype=torch.bool)
    mass = marginals.distinct(own_of(torch.stack([a, b, torch.zeros(2)])), mask)
    assert mass[2] < 0.01
    constant = marginals.distinct(own_of(torch.stack([a, a, a])), mask)
    torch.testing.assert_close(constant, torch.full((3,), 1 / 3))
    single = own_of(a[None])
    assert single.item() == 1


def test_cross_reference_is_the_formula():
    relevance = torch.tensor([0.5, -0.2, 0.1])
    want = torch.tensor([0.501, 0.001, 0.101])
    got = marginals.cross_reference(relevance, torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(got, want / want.sum())


labels_strategy = (
    st.integers(1, 4)
    .flatmap(
        lambda way: st.tuples(
            st.just(way),
            st.lists(st.integers(0, way - 1), max_size=6).map(lambda x: [*range(way), *x]),
        )
    )
    .flatmap(lambda pair: st.tuples(st.just(pair[0]), st.permutations(pair[1])))
)


@given(labels_strategy)
@settings(max_examples=40)
def test_rules_equal_a_loop_over_classes(case):
    way, labels = case
    tensor = torch.tensor(labels)
    scores, descriptors = torch.randn(3, len(labels)), torch.randn(len(labels), 2, 5)
    means = mean_over_shots(scores, tensor, way=way)
    prototypes = class_prototypes(descriptors, tensor, way=way)
    index, exists = class_slots(tensor, way=way)
    for c in range(way):
        members = [i for i, label in enumerate(labels) if label == c]
        torch.testing.assert_close(means[:, c], scores[:, members].mean(1))
        torch.testing.assert_close(prototypes[c], descriptors[members].mean(0))
        assert index[c][exists[c]].tolist() == members


@pytest.mark.parametrize(("labels", "way"), [([0, 2], 3), ([0, 1], 1), ([-1, 0], 1), ([0], 2)])
def test_wrong_labels_are_refused(labels, way):
    tensor = torch.tensor(labels)
    for call in (
        lambda: mean_over_shots(torch.zeros(1, len(labels)), tensor, way=way),
        lambda: class_prototypes(torch.zeros(len(labels), 1, 1), tensor, way=way),
        lambda: class_slots(tensor, way=way),
    ):
        with pytest.raises(EpisodeError, match="support labels"):
            call()


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=30)
def test_fusion_is_the_geometric_mixture(seed, beta):
    g = torch.Generator().manual_seed(seed)
    visual, text = torch.randn(2, 3, 5, generator=g, dtype=torch.float64).softmax(-1)
    got = fuse_text(visual, text, beta=beta)
    want = visual ** (1 - beta) * text**beta
    torch.testing.assert_close(got, want / want.sum(-1, keepdim=True))


def test_fusion_ends_zeros_and_refusals():
    visual = torch.tensor([[1.0, 0.0, 0.0]])
    text = torch.tensor([[0.0, 0.5, 0.5]])
    torch.testing.assert_close(fuse_text(visual, text, beta=0.0), visual)
    torch.testing.assert_close(fuse_text(visual, text, beta=1.0), text)
    assert fuse_text(visual, text, beta=0.5).isfinite().all()
    for beta in (-0.1, 1.1, float("nan")):
        with pytest.raises(ArgumentError, match="beta"):
            fuse_text(visual, text, beta=beta)
    with pytest.raises(ArgumentError, match="negative"):
        fuse_text(-visual, text, beta=0.5)
