"""A network as an ONNX file in memory, written from its modules without further packages.

What a chain of convolutions needs, and no more: a file is a few nested messages of protocol buffers, whose
numbers are those of onnx.proto. The package ``onnx``, which the tests hold the files to, is not needed to
run them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

#: The version of ONNX's operators, and of the file: what every onnxruntime since 1.14 reads.
OPSET, _IR = 17, 8
_FLOAT, _INT64 = 1, 7

Attribute: TypeAlias = "int | str | Sequence[int]"


class Graph:
    """Nodes in the order they are computed, from one picture batch to named outputs.

    Args:
        size: Height and width of the input; None where it may have any.
    """

    def __init__(self, *, size: tuple[int, int] | None = None) -> None:
        self.input = "pictures"
        self._size = size
        self._nodes: list[bytes] = []
        self._constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
        self._count = 0

    def add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Append a node; the name of its output."""
        self._count += 1
        name = f"x{self._count}"
        parts = [_text(1, given) for given in inputs]
        parts += [_text(2, name), _text(4, operator)]
        parts += [_message(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return name

    def constant(self, name: str, values: Sequence[float] | NDArray[np.float32]) -> str:
        """Add numbers under a name, whole ones as int64; the name. The same name is the same numbers."""
        if isinstance(values, Sequence) and all(isinstance(x, int) for x in values):
            self._constants[name] = np.array(values, np.int64)
        else:
            self._constants[name] = np.array(values, np.float32)
        return name

    def conv(self, x: str, module: nn.Conv2d, *, pads: Sequence[int] | None = None) -> str:
        """A convolution with its bias.

        Args:
            x: What goes in.
            module: Where the weights are.
            pads: Zeros above, left, below and right; TensorFlow's SAME if None.
        """
        at = f"w{self._count}"
        inputs = [x, self.constant(at, module.weight.detach().cpu().contiguous().numpy())]
        if module.bias is not None:
            inputs.append(self.constant(f"{at}.bias", module.bias.detach().cpu().numpy()))
        padding: dict[str, Attribute] = (
            {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads}
        )
        return self.add(
            "Conv",
            *inputs,
            kernel_shape=module.kernel_size,
            strides=module.stride,
            group=module.groups,
            **padding,
        )

    def relu6(self, x: str) -> str:
        """Everything below 0 and above 6 cut off."""
        zero, six = (self.constant(f"c{n}", np.float32(n)) for n in (0, 6))
        return self.add("Clip", x, zero, six)

    def file(self, outputs: Mapping[str, tuple[str, int]]) -> bytes:
        """The file, which computes the outputs called so.

        Args:
            outputs: Name → what ``add`` called it, and its number of axes.
        """
        graph = [_message(1, node) for node in self._nodes]
        for name, (x, _) in outputs.items():
            node = b"".join([_text(1, x), _text(2, name), _text(4, "Identity")])
            graph.append(_message(1, node))
        graph.append(_text(2, "a2m2"))
        graph += [_message(5, _tensor(name, value)) for name, value in self._constants.items()]
        height, width = self._size or ("height", "width")
        graph.append(_message(11, _value(self.input, ("n", 3, height, width))))
        graph += [_message(12, _value(name, ("",) * axes)) for name, (_, axes) in outputs.items()]
        opset = _text(1, "") + _number(2, OPSET)
        head = _number(1, _IR) + _text(2, "a2m2_zoo")
        return head + _message(7, b"".join(graph)) + _message(8, opset)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, x) for x in value) + _number(20, 7)


def _tensor(name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    kind = _FLOAT if value.dtype == np.float32 else _INT64
    raw = value.astype(value.dtype.newbyteorder("<")).tobytes()
    sizes = b"".join(_number(1, size) for size in value.shape)
    return sizes + _number(2, kind) + _text(8, name) + _message(9, raw)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """An input or output of floats, whose sizes are numbers, or names where they are open."""
    sizes = [_number(1, x) if isinstance(x, int) else _text(2, x) if x else b"" for x in shape]
    kind = _number(1, _FLOAT) + _message(2, b"".join(_message(1, size) for size in sizes))
    return _text(1, name) + _message(2, _message(1, kind))
