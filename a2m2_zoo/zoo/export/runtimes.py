"""Graphs as files, and files as functions: one pair of functions for each format."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo.errors import DependencyError
from a2m2_zoo.zoo.export.graphs import Graph, unplaced

#: The version of ONNX's operators: the oldest that PyTorch writes, so the most runtimes take it.
OPSET = 18

#: A protobuf file ends at 2 GiB; the weights of larger graphs lie in a file beside them.
_LARGEST = 2**30

#: Inputs in the order of the graph → outputs in theirs.
Run: TypeAlias = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Runtime:
    """A format.

    Attributes:
        suffix: Of its files.
        packages: What wrote and checked them, for the record.
        write: Puts a graph into a file.
        open: Makes a function of a file.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[Graph, Path], None]
    open: Callable[[Path], Run]


def _write_onnx(graph: Graph, path: Path) -> None:
    with _quiet(), unplaced():
        program: Any = torch.onnx.export(
            graph.program,
            dynamo=True,
            dynamic_shapes=graph.axes,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    named = {*graph.inputs, *graph.outputs}
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # how PyTorch came to it, many times the size of the graph
        for value in node.outputs:
            if value.name in named and not value.is_graph_output():
                value.name = (
                    f"{value.name}_within"  # names within come from operations, such as mean
                )
    size = sum(value.nbytes for value in graph.program.state_dict.values())
    program.save(str(path), external_data=size > _LARGEST)


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        feed = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        return [torch.from_numpy(np.asarray(value)) for value in session.run(None, feed)]

    return run


def _write_program(graph: Graph, path: Path) -> None:
    with _quiet():
        torch.export.save(graph.program, path)


def _open_program(path: Path) -> Run:
    with _quiet():
        program = torch.export.load(path)
    module = program.module()
    structure = program.call_spec.in_spec

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        from torch.utils import _pytree

        arguments, _ = _pytree.tree_unflatten(list(inputs), structure)
        with torch.inference_mode():
            return _pytree.tree_leaves(module(*arguments))

    return run


RUNTIMES = {
    "onnx": Runtime(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx),
    "torch-export": Runtime(".pt2", (), _write_program, _open_program),
}


def check_installed(to: str) -> None:
    """Refuse to begin what cannot be finished.

    Raises:
        DependencyError: A package is missing, or torch cannot tell that it is recording.
    """
    from importlib.util import find_spec

    missing = [name for name in RUNTIMES[to].packages if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"export to {to} needs {', '.join(missing)}: pip install 'a2m2_zoo[export]'"
        )
    if not hasattr(torch.compiler, "is_exporting"):
        raise DependencyError(f"export needs torch 2.7 or newer, this is {torch.__version__}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Deprecations within PyTorch's exporter are not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
