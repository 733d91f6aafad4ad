"""Few-shot methods, one file each, and the table that names them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo._utils.plugins import Registry
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod
from a2m2_zoo.methods.bimhm import BiMHM, BiMHMConfig
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.methods.clip_fsar import ClipFSAR, ClipFSARConfig
from a2m2_zoo.methods.deepemd import DeepEMD, DeepEMDConfig
from a2m2_zoo.methods.hyrsm import HyRSM, HyRSMConfig, HyRSMPlusPlus, HyRSMPlusPlusConfig
from a2m2_zoo.methods.molo import MoLo, MoLoConfig
from a2m2_zoo.methods.otam import OTAM, OTAMConfig
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.methods.strm import STRM, STRMConfig
from a2m2_zoo.methods.trx import TRX, TRXConfig


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    """A method and its configuration, as the table has them.

    Raises:
        ArgumentError: It is something else.
    """
    sound = isinstance(value, tuple) and len(value) == 2
    if not sound or not all(isinstance(part, type) for part in value):
        raise ArgumentError(
            f"the method {name!r} is {kind(value)}; expected (Method, Config), its class and that of its "
            "configuration"
        )
    if not issubclass(value[0], Method) or not hasattr(value[1], "from_dict"):
        raise ArgumentError(
            f"the method {name!r} is ({value[0].__name__}, {value[1].__name__}); expected a subclass of "
            "a2m2_zoo.methods.Method and one of a2m2_zoo.methods.Config"
        )
    return value[0], value[1]


#: Name → (class, configuration). A new method is one file and one row, which may be added from outside:
#: ``METHODS["mine"] = (Mine, MineConfig)``, see ``examples/own_method.py``; or by an entry point
#: ``a2m2_zoo.methods`` of an installed package, see ``examples/plugin``.
METHODS: Registry[tuple[Any, Any]] = Registry(
    "method",
    {
        "a2m2": (A2M2, A2M2Config),
        "protonet": (ProtoNet, ProtoNetConfig),
        "bimhm": (BiMHM, BiMHMConfig),
        "otam": (OTAM, OTAMConfig),
        "deepemd": (DeepEMD, DeepEMDConfig),
        "trx": (TRX, TRXConfig),
        "strm": (STRM, STRMConfig),
        "hyrsm": (HyRSM, HyRSMConfig),
        "hyrsm++": (HyRSMPlusPlus, HyRSMPlusPlusConfig),
        "molo": (MoLo, MoLoConfig),
        "clip-fsar": (ClipFSAR, ClipFSARConfig),
    },
    _pair,
)


@apart
def build_method(name: str, config: Mapping[str, Any]) -> Method:
    """The method called ``name`` with its configuration given as plain values.

    Raises:
        ModelNotFoundError: No method goes by that name.
        PluginError: It is a plugin's and cannot be imported.
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
    made, config_kind = METHODS[name]
    method: Method = made(config_kind.from_dict(config))
    return method


__all__ = ["METHODS", "Config", "Descriptors", "Method", "PairwiseMethod", "build_method"]
