"""Every tensor of the official matching baselines, tensor by tensor."""

from __future__ import annotations

import pytest
import torch
from golden import close, golden_tensors

from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.base import Method, TrainingBatch, episode_loss
from a2m2_zoo.methods.bimhm import BiMHM, BiMHMConfig
from a2m2_zoo.methods.otam import OTAM, OTAMConfig
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.ops.alignment import bimhm_distance, cosine_eps, otam_distance

SHAPES = ("8x8", "5x9", "2x2")
METHODS = {
    "CNN_OTAM.{}.logits": OTAM(OTAMConfig()),
    "CNN_TSN.{}.logits": ProtoNet(ProtoNetConfig()),
    "bimhm_raw.{}.logits_mean_over_shots": BiMHM(BiMHMConfig()),
    "bimhm_raw.{}.logits_proto": BiMHM(BiMHMConfig(shots="prototypes")),
}


@pytest.fixture(scope="module")
def golden():
    return golden_tensors("matching_golden.safetensors")


def episode(golden, shots, method):
    inputs = {
        side: golden[f"in{shots}.{side}_features"].requires_grad_(False)
        for side in ("support", "target")
    }
    query, support = (
        {k: v[None] for k, v in method.encode(Features({}, inputs[side])).items()}
        for side in ("target", "support")
    )
    return query, support, golden[f"in{shots}.support_labels"].long()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("softening", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("direction", ["cum", "cum_transposed"])
def test_otam(golden, shape, softening, direction):
    distance = golden[f"otam.{shape}.dists"]
    turned = distance if direction == "cum" else distance.mT
    name = f"otam.{shape}.lbda{softening}.{direction}"
    close(otam_distance(turned, softening=softening), golden[name], name)


def test_large_distances_stay_finite_where_the_official_recursion_does_not(golden):
    assert golden["otam.large.lbda0.1.cum"].isinf().all()
    got = otam_distance(golden["otam.large.dists"], softening=0.1)
    torch.testing.assert_close(got, torch.full_like(got, 76.4642), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["query_to_support", "support_to_query", "both"])
def test_bimhm(golden, shape, direction):
    distance = golden[f"otam.{shape}.dists"]
    turned = distance.mT if direction == "support_to_query" else distance
    name = f"bimhm.{shape}.{direction}"
    close(bimhm_distance(turned, both=direction == "both"), golden[name], name)


def test_cosine(golden):
    close(cosine_eps(golden["cos_sim.x"], golden["cos_sim.y"]), golden["cos_sim.out"], "cos_sim")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("name", METHODS)
def test_logits(golden, name, shots, training):
    method: Method = METHODS[name].train(training)
    query, support, labels = episode(golden, shots, method)
    name = name.format(f"{shots}shot")
    close(method.score(query, support, labels=labels, way=5)[0], golden[name], name)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("rule", ["scores", "prototypes"])
def test_pair_distances(golden, shots, rule):
    method = BiMHM(BiMHMConfig(shots=rule))
    query, support, _ = episode(golden, shots, method)
    name = f"bimhm_raw.{shots}shot.pair_dists"
    close(-method.pairs(query, support)[0], golden[name], name)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_the_cross_entropy_of_the_published_logits(golden, name):
    method: Method = METHODS[name]
    labels, truth = (golden[f"in5.{side}_labels"].long() for side in ("support", "target"))
    batch = TrainingBatch(
        query=Features({}, golden["in5.target_features"]),
        support=Features({}, golden["in5.support_features"]),
        labels=labels,
        query_labels=truth,
        way=5,
    )
    losses = method.losses(batch)
    assert list(losses) == ["episode"]
    want = episode_loss(golden[name.format("5shot")][None], batch)
    close(losses["episode"], want, "episode")
