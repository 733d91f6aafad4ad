"""BlazePose's two networks run by onnxruntime, see ``backbones.onnx_run``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from a2m2_zoo.backbones.onnx_graph import Graph
from a2m2_zoo.backbones.onnx_run import Session
from a2m2_zoo.pose.blazepose import (
    _LATERALS,
    _OUTPUTS,
    BlazePose,
    Detector,
    Inverted,
    Landmarker,
    Level,
    Residual,
    Separable,
    Trunk,
)


@dataclass(frozen=True)
class OnnxPose:
    """Both networks, called as those of ``BlazePose`` are."""

    detector: Callable[[Tensor], list[Tensor]]
    landmarker: Callable[[Tensor], list[Tensor]]


def onnx_pose(network: BlazePose) -> OnnxPose:
    """The networks, each written when it is first used.

    Args:
        network: Whose weights they have.
    """
    return OnnxPose(
        Session(network.detector, detector_graph), Session(network.landmarker, landmarker_graph)
    )


def detector_graph(network: Detector) -> bytes:
    """The detector as an ONNX file: boxes and logits of all anchors."""
    graph = Graph()
    kept28, kept14, coarse = _trunk(graph, network.trunk)
    middle = _level(graph, network.middle, kept14, coarse)
    fine = _level(graph, network.fine, kept28, middle)
    levels = [graph.add("DepthToSpace", x, blocksize=2, mode="DCR") for x in (fine, middle, coarse)]
    found = {}
    parts = ("boxes", network.boxes, (0, -1, 12)), ("logits", network.logits, (0, -1))
    for name, heads, row in parts:
        shape, rows = graph.constant(f"{name}.shape", row), []
        for head, x in zip(heads, levels, strict=True):
            maps = _separable(graph, cast(Separable, head), x)
            cells = graph.add("Transpose", maps, perm=(0, 2, 3, 1))
            rows.append(graph.add("Reshape", cells, shape))
        found[name] = graph.add("Concat", *rows, axis=1), len(row)
    return graph.file(found)


def landmarker_graph(network: Landmarker) -> bytes:
    """The landmark network as an ONNX file: points and the person's logit."""
    graph = Graph()
    x = _trunk(graph, network.trunk)[-1]
    x = graph.relu6(_conv(graph, x, network.reduce.depthwise))
    x = graph.relu6(_conv(graph, x, network.reduce.pointwise))
    for unit in network.units:
        x = _residual(graph, cast(Residual, unit), x)
    points = _conv(graph, x, network.points)
    shape = graph.constant("points.shape", (-1, _OUTPUTS, 5))
    presence = _conv(graph, x, network.presence)
    return graph.file(
        {
            "points": (graph.add("Reshape", points, shape), 3),
            "presence": (graph.add("Reshape", presence, graph.constant("row", (-1,))), 1),
        }
    )


def _conv(graph: Graph, x: str, module: nn.Conv2d) -> str:
    down, right = (int(n) for n in module.padding)
    return graph.conv(x, module, pads=(down, right, down, right))


def _trunk(graph: Graph, trunk: Trunk) -> list[str]:
    x = graph.relu6(_conv(graph, graph.input, trunk.stem))
    maps = []
    for i, block in enumerate(trunk.blocks):
        assert isinstance(block, Inverted)
        y = x if block.expand is None else graph.relu6(_conv(graph, x, block.expand))
        y = _conv(graph, graph.relu6(_conv(graph, y, block.depthwise)), block.project)
        x = graph.add("Add", y, x) if block.residual else y
        if i in _LATERALS:
            maps.append(x)
    x = graph.relu6(_conv(graph, x, trunk.expand))
    return [*maps, graph.relu6(_conv(graph, x, trunk.depthwise))]


def _separable(graph: Graph, module: Separable, x: str) -> str:
    return _conv(graph, _conv(graph, x, module.depthwise), module.pointwise)


def _residual(graph: Graph, module: Residual, x: str) -> str:
    halved = module.depthwise.stride[0] == 2
    if halved:
        y = graph.conv(x, module.depthwise, pads=(0, 0, 1, 1))
        x = graph.add("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
    else:
        y = _conv(graph, x, module.depthwise)
    y = _conv(graph, graph.relu6(y) if module.active else y, module.pointwise)
    return graph.relu6(graph.add("Add", y, x))


def _level(graph: Graph, module: Level, kept: str, below: str) -> str:
    larger = graph.add(
        "Resize",
        _conv(graph, below, module.reduce),
        "",
        graph.constant("twice", (1.0, 1.0, 2.0, 2.0)),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = graph.relu6(_separable(graph, module.lateral, kept))
    x = graph.add("Add", x, graph.relu6(larger))
    for unit in module.units:
        x = _residual(graph, cast(Residual, unit), x)
    return x
