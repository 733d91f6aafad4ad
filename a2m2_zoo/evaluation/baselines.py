"""Heads to compare on one backbone: a model's own, its controls, the published methods, checkpoints."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.hub.manifest import list_models
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import Method
from a2m2_zoo.methods.ridge_rule import RidgeRule
from a2m2_zoo.recognition.model import Model

#: Behind a method's name: its pair scores under ridge regression over the supports, in place of its own rule.
RIDGE = "+ridge"
#: The A²M² head with its alignment replaced by a fixed rule on the same descriptors.
CONTROLS = {f"a2m2-{alignment}": alignment for alignment in ("diagonal", "global", "bimhm", "otam")}


@dataclass(frozen=True)
class Baseline:
    """A head that stands on the compared model's backbone.

    Attributes:
        name: As it was asked for.
        method: The head, in evaluation mode, where the model computes.
        status: One of ``results.STATUSES``.
        parameters: Of the head as it is used, without what only its training needs.
        weights_hash: sha256 over the weights of a model; empty for a head that was built here.
    """

    name: str
    method: Method
    status: str
    parameters: int
    weights_hash: str = ""


def known_baselines(model: Model) -> tuple[str, ...]:
    """Names of the heads that can be built without a checkpoint, the model's own first.

    A head is left out only if its configuration cannot be made for any backbone.
    """
    controls = CONTROLS if isinstance(model.method, A2M2) else {}
    others = [n for n, (_, config) in METHODS.usable().items() if hasattr(config, "for_backbone")]
    return tuple(dict.fromkeys((model.method_name, *controls, *others)))


def check_baselines(names: Sequence[str], model: Model) -> None:
    """Refuse names that ``build_baseline`` cannot know, before any clip is decoded.

    Raises:
        ArgumentError: A name is given twice, or none is given.
        ModelNotFoundError: A name is no method, no model and no file; the nearest names are given.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or not names:
        raise ArgumentError(
            f"methods name {', '.join(twice)} twice; give each once"
            if twice
            else "methods names none; give at least one, such as 'a2m2'"
        )
    known = (*known_baselines(model), *list_models())
    for name in names:
        plain = name.removesuffix(RIDGE)
        if plain not in {*known, *METHODS, *CONTROLS} and not _is_file(plain):
            near = difflib.get_close_matches(plain, known, n=3, cutoff=0.4)
            raise ModelNotFoundError(
                f"no method is called {name!r}; "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + f"Known: {', '.join(known)}; a trained head is named by its checkpoint's path"
            )


def build_baseline(name: str, model: Model, *, seed: int = 0) -> Baseline:
    """The head called ``name`` on the model's backbone.

    Args:
        name: The model's own method; ``a2m2-diagonal``, ``-global``, ``-bimhm`` or ``-otam``: the
            model's own A²M² head, weights included, with that alignment; another name of
            ``methods.METHODS``, with default configuration and seeded weights; or a name or path
            that ``load_model`` takes. With ``+ridge`` behind it: the same pair scores, and ridge
            regression over the supports as the rule from pairs to classes.
        model: The model whose features the head will see.
        seed: Of the weights of a head that is built here. The caller's random state is left alone.

    Raises:
        ModelNotFoundError: Nothing goes by that name.
        ArgumentError: It cannot stand on this backbone, frames or preprocessing.
        CheckpointError: The file is damaged or no model.

    >>> from a2m2_zoo import load_model
    >>> build_baseline("protonet", load_model("a2m2-lite0")).status
    'no parameters'
    """
    check_baselines([name], model)
    if name.endswith(RIDGE):
        found = build_baseline(name.removesuffix(RIDGE), model, seed=seed)
        return replace(found, name=name, method=RidgeRule(found.method).eval(), weights_hash="")
    if name == model.method_name:
        return _baseline(name, model.method, _model_status(model), model.weights_hash)
    if name in CONTROLS:
        return _baseline(name, _control(name, model), _model_status(model))
    if name in METHODS:
        return _baseline(name, _built(name, model, seed).to(model.device).eval(), "untrained")
    return _loaded(name, model)


def _control(name: str, model: Model) -> Method:
    own = model.method
    if not isinstance(own, A2M2):
        raise ArgumentError(
            f"{name!r} is a control of the A2M2 head and {model.id!r} has a {model.method_name} head; "
            "give a model with an A2M2 head"
        )
    return own.with_alignment(CONTROLS[name])


def _built(name: str, model: Model, seed: int) -> Method:
    kind, config = METHODS[name]
    if not hasattr(config, "for_backbone"):
        raise ArgumentError(
            f"{name!r} has no configuration that follows from a backbone; give a checkpoint of it"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Method = kind(config.for_backbone(model.backbone, frames=model.steps))
    return made


def _loaded(name: str, model: Model) -> Baseline:
    from a2m2_zoo.zoo.load import load_model

    other = load_model(name, device=model.device)
    if other.backbone_hash != model.backbone_hash:
        raise ArgumentError(
            f"{name!r} has other backbone weights ({other.backbone_name}) than {model.id!r} "
            f"({model.backbone_name}); compare heads on the same features"
        )
    if other.preprocess != model.preprocess:
        raise ArgumentError(
            f"{name!r} has other preprocessing than {model.id!r}; compare heads on the same features"
        )
    return _baseline(name, other.method, _model_status(other), other.weights_hash)


def _baseline(name: str, method: Method, status: str, weights_hash: str = "") -> Baseline:
    extra = {id(p) for p in method.extra.parameters()}
    count = sum(p.numel() for p in method.parameters() if id(p) not in extra)
    return Baseline(name, method, status if count else "no parameters", count, weights_hash)


def _model_status(model: Model) -> str:
    """Converted heads are trained ones."""
    return "training-free" if model.origin == "training-free" else "trained"


def _is_file(name: str) -> bool:
    return Path(name).suffix == ".safetensors" or Path(name).exists()
