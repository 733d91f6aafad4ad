"""Few-shot methods, one file each, and the table that names them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import ModelNotFoundError
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

#: Name → (class, configuration). A new method is one file and one row, which may be added from outside:
#: ``METHODS["mine"] = (Mine, MineConfig)``; see ``examples/own_method.py``.
METHODS: dict[str, tuple[Any, Any]] = {
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
}


@apart
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


__all__ = ["METHODS", "Config", "Descriptors", "Method", "PairwiseMethod", "build_method"]
