"""Recipes: everything that one training run of one method on one benchmark needs to be told, by name.

A recipe is plain values and where each of them is from. The numbers stand in ``recipe_values``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from a2m2_zoo.backbones import Backbone, StateDict, build_backbone
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.base import Method
from a2m2_zoo.training.augment import Augment
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distort import Distortion
from a2m2_zoo.training.generated import Generated
from a2m2_zoo.training.recipe_values import Values, all_values
from a2m2_zoo.video import Preprocess


@dataclass(frozen=True)
class Recipe:
    """One training run, but for the videos.

    Attributes:
        name: ``<method>-<backbone>-<benchmark>``.
        method: Name in the table of methods.
        method_config: What differs from the method's ``for_backbone``: dotted field → value, with ``*`` for
            every key of a mapping.
        backbone: Name for ``build_backbone``.
        weights: Where the backbone's weights come from; empty if they are in the package.
        preprocess: How clips are read.
        training: Fields of ``TrainingConfig`` that differ from its defaults.
        augment: What happens to training clips; None trains on them as they are.
        benchmark: The benchmark whose lists are used; None for generated classes.
        prompt: How a class's name is put to the text tower; empty if the method reads no text.
        start: The model whose head it begins with; None begins with random weights.
        cautious: Whether the head of ``start``, or of another model, is trained on with the settings that it
            has, and kept unless clips that were held out tell that the trained one is better.
        generated: The classes that are drawn to train on where no clips are given; None has none.
        distortion: What is done to the features of a frozen backbone; None leaves them alone.
        after: What differs in the head that is kept from the one that was trained: dotted field → value.
        provenance: Each value, as ``training.lr``, ``method.class_weight``, ``preprocess.mean``,
            ``augment.flip``, ``after.centring`` → ``"official"``: read in published code or its
            configuration, or what that code makes of it; ``"ours"``: chosen here.
        source: What was read, and how what runs differs from what is written there.
    """

    name: str
    method: str
    method_config: Mapping[str, Any]
    backbone: str
    weights: str
    preprocess: Preprocess
    training: Mapping[str, Any]
    augment: Augment | None
    benchmark: str | None
    prompt: str
    start: str | None
    cautious: bool
    generated: Generated | None
    distortion: Distortion | None
    after: Mapping[str, Any]
    provenance: Mapping[str, str]
    source: str

    @property
    def training_config(self) -> TrainingConfig:
        """The training's settings in full."""
        return TrainingConfig.from_dict(dict(self.training))

    def build_backbone(self, weights: StateDict | str | Path | None = None) -> Backbone:
        """The backbone it starts from; a text tower is frozen.

        Args:
            weights: A safetensors file with its weights, or the weights; needed where the package has none.

        Raises:
            ArgumentError: The weights are needed and not given.
            CheckpointError: They cannot be read or do not fit.
            DependencyError: The backbone needs open_clip and it is not installed.
        """
        if weights is None and self.weights:
            raise ArgumentError(
                f"recipe {self.name} starts from {self.weights}, which the package does not hold; give the "
                "file with --backbone-weights FILE (safetensors)"
            )
        backbone = build_backbone(self.backbone, weights=weights, text=bool(self.prompt))
        if self.prompt:  # texts are taken once, before training, as the official code does
            tower: Any = backbone.text
            tower.requires_grad_(False)
        return backbone

    def build_method(self, backbone: Backbone) -> Method:
        """The method over ``backbone``, untrained; for any backbone, not this recipe's alone.

        Args:
            backbone: Whose maps or vectors it reads.
        """
        steps = backbone.steps(self.preprocess.frames)
        config = METHODS[self.method][1].for_backbone(backbone, frames=steps)
        values = config.to_dict()
        for field, value in self.method_config.items():
            _put(values, field.split("."), value, where=f"{self.name}: {field}")
        return build_method(self.method, values)

    def prepare(self, method: Method, backbone: Backbone, *, names: Sequence[str]) -> None:
        """Add to ``method`` what its losses need for these classes, texts included.

        Args:
            method: Made by ``build_method``.
            backbone: With its text tower, if the recipe has a prompt.
            names: Of the training classes, in the order of their ids.

        Raises:
            ArgumentError: The backbone has no text tower and the recipe needs one.
        """
        if not self.prompt:
            method.prepare_training(classes=len(names))
            return
        encode: Any = getattr(backbone, "encode_text", None)
        if encode is None:
            raise ArgumentError(
                f"recipe {self.name} reads the names of classes and {backbone.name} has no text tower; "
                "take a clip: backbone"
            )
        with torch.no_grad():
            text = encode([self.prompt.format(name) for name in names]).float()
        prepare: Any = method.prepare_training
        prepare(classes=len(names), text=text)


def list_recipes() -> list[str]:
    """Names of the recipes.

    >>> len(list_recipes()), list_recipes()[0]
    (42, 'a2m2-resnet50-kinetics100')
    """
    return list(_recipes())


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; ``_`` and ``-`` are the same.

    Raises:
        ModelNotFoundError: There is none; the nearest names are given.

    >>> recipe("molo-resnet50-ssv2-small").training["lr"]
    0.0001
    >>> recipe("molo-resnet50-ssv2-small").provenance["training.lr"]
    'official'
    """
    known = _recipes()
    if (key := name.lower().replace("_", "-")) in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    raise ModelNotFoundError(
        f"no recipe is called {name!r}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + "there are small and a2m2-lite0, and <method>-<backbone>-<benchmark> of the papers, such as "
        "molo-resnet50-ssv2-small"
    )


@cache
def _recipes() -> dict[str, Recipe]:
    return {values.name: _made(values) for values in all_values()}


def _made(values: Values) -> Recipe:
    parts: dict[str, dict[str, Any]] = {
        "method": {},
        "preprocess": {},
        "training": {},
        "augment": {},
        "generated": {},
        "distortion": {},
        "after": {},
    }
    provenance = {}
    for origin, given in (("official", values.official), ("ours", values.ours)):
        for field, value in given.items():
            part, _, name = field.partition(".")
            parts[part][name], provenance[field] = value, origin
    return Recipe(
        name=values.name,
        method=values.method,
        method_config=parts["method"],
        backbone=values.backbone,
        weights=values.weights,
        preprocess=Preprocess.from_dict(parts["preprocess"]),
        training=parts["training"],
        augment=Augment.from_dict(parts["augment"]) if parts["augment"] else None,
        benchmark=values.benchmark,
        prompt=values.prompt,
        start=values.start,
        cautious=values.cautious,
        generated=Generated.from_dict(parts["generated"]) if parts["generated"] else None,
        distortion=Distortion.from_dict(parts["distortion"]) if parts["distortion"] else None,
        after=parts["after"],
        provenance=provenance,
        source=values.source,
    )


def _put(values: dict[str, Any], path: Sequence[str], value: Any, *, where: str) -> None:
    """Set one field of a nested record; it must be there."""
    first, *rest = path
    names = list(values) if first == "*" else [first]
    for name in names:
        if name not in values:
            raise ArgumentError(f"{where}: no field {name!r}; expected one of {', '.join(values)}")
        if rest:
            _put(values[name], rest, value, where=where)
        else:
            values[name] = value
