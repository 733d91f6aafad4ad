from __future__ import annotations

import pytest
import torch
from golden import close, golden_tensors, official_state
from torch import Tensor

from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.base import TrainingBatch, split
from a2m2_zoo.methods.clip_fsar import ClipFSAR, ClipFSARConfig
from a2m2_zoo.zoo.convert.clip_fsar import convert_clip_fsar

FILE = "clipfsar_golden_1shot.safetensors"
EVALUATED: dict[str, dict[str, object]] = {
    "eval": {},
    "eval_merge_before": {"merge_before": True},
    "eval_single_direct": {"both": False},
    "eval_text_only": {"mode": "text"},
    "eval_combine": {"mode": "combine"},
    "eval_combine_merge_before": {"mode": "combine", "merge_before": True},
    "eval_combine_tc06": {"mode": "combine", "text_weight": 0.6},
}
TRAINED: dict[str, dict[str, object]] = {
    "train_nodrop": {},
    "train_nodrop_merge_before": {"merge_before": True},
}


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return golden_tensors(FILE)


def official(golden: dict[str, Tensor], **changes: object) -> ClipFSAR:
    state = official_state(golden)
    converted = convert_clip_fsar(state, source="golden")
    method = ClipFSAR(ClipFSARConfig.from_dict({**converted.config.to_dict(), **changes}))
    method.load_state_dict(converted.head)
    return method.eval()


def batch_of(golden: dict[str, Tensor]) -> TrainingBatch:
    return TrainingBatch(
        query=Features({}, golden["in.target_features"].reshape(10, 8, 64)),
        support=Features({}, golden["in.support_features"].reshape(5, 8, 64)),
        labels=golden["in.support_labels"].long(),
        query_labels=golden["in.target_labels"].long(),
        way=5,
        support_classes=golden["in.real_support_labels"].long(),
        query_classes=golden["in.real_target_labels"].long(),
    )


@pytest.mark.parametrize("variant", EVALUATED)
def test_scores_are_the_official_ones(golden: dict[str, Tensor], variant: str) -> None:
    method, batch = official(golden, **EVALUATED[variant]), batch_of(golden)
    assert batch.support_classes is not None
    text = golden["in.text_features_test"][batch.support_classes[batch.labels.argsort()]][None]
    logits = method.score(
        split(method.encode(batch.query), 1),
        split(method.encode(batch.support), 1),
        labels=batch.labels,
        way=5,
        text=text,
    )[0]
    probabilities = method.config.mode != "visual"
    close(
        logits.exp() if probabilities else logits,
        golden[f"{variant}.logits"],
        f"{variant}.logits",
    )
    if not probabilities:
        both = Features({}, torch.cat([batch.support.pooled, batch.query.pooled]))
        found = method.class_logits(both, golden["in.text_features_train"])
        close(found, golden[f"{variant}.class_logits"], f"{variant}.class_logits")


@pytest.mark.parametrize("variant", TRAINED)
def test_training_is_the_official_one(golden: dict[str, Tensor], variant: str) -> None:
    still = {"attention_dropout": 0.0, "dropout": 0.0}
    method, batch = official(golden, **still, **TRAINED[variant]).train(), batch_of(golden)
    method.prepare_training(classes=20, text=golden["in.text_features_train"])
    losses = method.losses(batch)
    parts = torch.stack([losses["episode"], losses["text"] / 1.5])
    close(parts, golden[f"{variant}.loss_parts"], f"{variant}.loss_parts")
    total = (losses["episode"] + losses["text"]) / 4
    close(total, golden[f"{variant}.loss_k100"], f"{variant}.loss_k100")
    total.backward()
    gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
    assert set(gradients) == {k for k, _ in method.named_parameters() if k != "extra.text.weight"}
    seen = 0
    for name, expected in golden.items():
        kind, _, key = name.removeprefix(f"{variant}.").partition(".")
        if not name.startswith(f"{variant}.grad") or kind not in ("grad", "gradnorm"):
            continue
        seen += 1
        found = gradients[ours(key)]
        if ".to_q." in key or ".to_k." in key or ".to_v." in key:
            found = found.chunk(3)["qkv".index(key.split(".to_")[1][0])]
        close(found if kind == "grad" else found.norm(), expected, name)
    assert seen == 10 + 12


def ours(key: str) -> str:
    for theirs, name in (
        ("context2.layers.0", "context.0"),
        ("fn.to_out.0", "out"),
        ("fn.to_q", "qkv"),
        ("fn.to_k", "qkv"),
        ("fn.to_v", "qkv"),
    ):
        key = key.replace(theirs, name)
    return key
