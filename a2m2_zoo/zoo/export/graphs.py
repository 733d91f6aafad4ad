"""The two halves of a model as modules that ``torch.export`` can record: encoder and matcher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod, as_pairwise
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import Preprocess

#: Methods whose scores are recorded; of A²M² every alignment but the exact transport.
METHODS = ("a2m2", "protonet", "bimhm", "otam")

#: The sizes of an input or output; an open one by its name.
Shape: TypeAlias = tuple[int | str, ...]


class Encoder(nn.Module):
    """Pixels to descriptors: normalisation, backbone and the method's ``encode``."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.method = model.method
        scale, shift = _affine(model.preprocess)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, pixels: UInt8[Tensor, "b t s s 3"]) -> dict[str, Tensor]:
        """Descriptors of B clips, RGB as decoded and resized."""
        frames = pixels.movedim(-1, -3).float() * self.scale + self.shift
        # Not through ``forward``, which cuts a batch into as many pieces as it has clips.
        found = self.backbone.at_once(frames)
        kept = {stage: found.maps[stage] for stage in self.method.stages}
        return dict(self.method.encode(Features(kept, found.pooled)))


class Matcher(nn.Module):
    """Descriptors of one episode to scores of classes and of pairs."""

    def __init__(self, method: PairwiseMethod) -> None:
        super().__init__()
        self.method = method

    def forward(
        self,
        query: Descriptors,
        support: Descriptors,
        weights: Float[Tensor, "n w"],
        constants: Float[Tensor, " w"],
    ) -> tuple[Float[Tensor, "q w"], Float[Tensor, "q n"]]:
        """Scores of the classes by a fitted rule over the supports, and the scores of pairs themselves."""
        sides = ({name: value[None] for name, value in side.items()} for side in (query, support))
        pairs = self.method.pairs(*sides)[0]
        return pairs @ weights + constants, pairs


def _affine(spec: Preprocess) -> tuple[Tensor, Tensor]:
    """``video.normalise`` as a factor and a summand."""
    scale = torch.tensor([1 / (255 * std) for std in spec.std])
    shift = torch.tensor([-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)])
    return scale.view(3, 1, 1), shift.view(3, 1, 1)


def exportable(model: Model) -> PairwiseMethod:
    """The model's method, if it can be recorded.

    Raises:
        ArgumentError: It cannot.
    """
    method = as_pairwise(model.method)
    if model.method_name not in METHODS or method is None:
        rule = "" if method else " whose class score comes from no pairs"
        raise ArgumentError(
            f"{model.id} is of method {model.method_name!r}{rule}; what can be exported: "
            f"{', '.join(METHODS)}, with a class score that comes from pair scores"
        )
    if isinstance(method, A2M2) and method.config.a2.solver == "exact":
        raise ArgumentError(
            f"{model.id} aligns by the exact solver, which is no graph; give its head solver='sinkhorn'"
        )
    return method


@dataclass(frozen=True)
class Graph:
    """One recorded half.

    Attributes:
        name: ``encoder`` or ``matcher``.
        program: The recording; open axes are those that ``inputs`` has names for.
        inputs: Name → shape, in the order of the program's arguments, dictionaries flattened.
        outputs: The same of what it returns.
    """

    name: str
    program: ExportedProgram
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]

    @property
    def axes(self) -> tuple[Any, ...]:
        """Names of the open axes in the structure of the program's arguments."""
        return _axes(self.name, self.inputs)


@contextmanager
def unplaced() -> Iterator[None]:
    """Nodes are made without the line of code that each comes from, which takes a quarter of the time."""
    config, name = getattr(torch.fx, "config", None), "do_not_emit_stack_traces"  # newer versions'
    before = getattr(config, name, None)
    if before is None:
        yield
        return
    setattr(config, name, True)
    try:
        yield
    finally:
        setattr(config, name, before)


def record_encoder(model: Model) -> Graph:
    """The encoder, for any number of clips."""
    spec = model.preprocess
    sides = (spec.frames, spec.size, spec.size, 3)
    inputs: dict[str, Shape] = {"pixels": ("clips", *sides)}
    encoder = Encoder(model).eval()
    example = torch.zeros(2, *sides, dtype=torch.uint8)
    program, found = _recorded(encoder, (example,), _axes("encoder", inputs))
    outputs: dict[str, Shape] = {n: ("clips", *value.shape[1:]) for n, value in found.items()}
    return Graph("encoder", program, inputs, outputs)


def record_matcher(model: Model, descriptors: Descriptors) -> Graph:
    """The matcher, for any number of queries, supports and classes.

    Args:
        model: The model.
        descriptors: Of six clips or more.

    Raises:
        ArgumentError: The model's method cannot be recorded.
    """
    matcher = Matcher(exportable(model)).eval()
    query, support = (
        {name: value[part] for name, value in descriptors.items()}
        for part in (slice(2), slice(2, 6))
    )
    inputs: dict[str, Shape] = {
        **{f"query_{name}": ("queries", *value.shape[1:]) for name, value in query.items()},
        **{f"support_{name}": ("supports", *value.shape[1:]) for name, value in support.items()},
        "weights": ("supports", "classes"),
        "constants": ("classes",),
    }
    example = (query, support, torch.eye(2).repeat(2, 1), torch.zeros(2))
    program, _ = _recorded(matcher, example, _axes("matcher", inputs))
    outputs: dict[str, Shape] = {
        "logits": ("queries", "classes"),
        "pairs": ("queries", "supports"),
    }
    return Graph("matcher", program, inputs, outputs)


def _axes(name: str, inputs: dict[str, Shape]) -> tuple[Any, ...]:
    named = {
        key: {axis: size for axis, size in enumerate(shape) if isinstance(size, str)}
        for key, shape in inputs.items()
    }
    if name == "encoder":
        return tuple(named.values())
    sides = (
        {key.removeprefix(side): axes for key, axes in named.items() if key.startswith(side)}
        for side in ("query_", "support_")
    )
    return (*sides, named["weights"], named["constants"])


@torch.no_grad()
def _recorded(
    module: nn.Module, example: tuple[Any, ...], axes: tuple[Any, ...]
) -> tuple[ExportedProgram, Any]:
    """The recording, and what the module gives for the example."""
    found = module(*example)  # what is made once and kept must be made of numbers, not of symbols
    shapes = _with_dims(axes, {})
    with unplaced():
        program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths of this machine
    return program, found


def _with_dims(axes: Any, known: dict[str, Any]) -> Any:
    """The structure with a dimension in place of each name."""
    if isinstance(axes, str):
        return known.setdefault(axes, Dim(axes))
    if isinstance(axes, dict):
        return {key: _with_dims(value, known) for key, value in axes.items()}
    return tuple(_with_dims(value, known) for value in axes)
