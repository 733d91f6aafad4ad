"""Few-shot methods, one file each, and the table that names them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from a2m2_zoo.errors import ModelNotFoundError
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig

#: Name → (class, configuration). A new method is one file and one row.
METHODS: dict[str, tuple[Any, Any]] = {
    "a2m2": (A2M2, A2M2Config),
    "protonet": (ProtoNet, ProtoNetConfig),
}


def build_method(name: str, config: Mapping[str, Any]) -> Method:
    """The method called ``name`` with its configuration given as plain values.

    Raises:
        ModelNotFoundError: No method goes by that name.
        ArgumentError: The configuration has an unknown key or a value that is refused.

    >>> build_method("protonet", {}).stages
    ()
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=3, cutoff=0.4)
        raise ModelNotFoundError(
            f"no method is called {name!r}; "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + f"Known methods: {', '.join(METHODS)}"
        )
    kind, config_kind = METHODS[name]
    method: Method = kind(config_kind.from_dict(config))
    return method


__all__ = ["METHODS", "Descriptors", "Method", "PairwiseMethod", "build_method"]
