"""The paper's two blocks as modules: ``M2Block`` makes candidates, ``A2Module`` aligns them."""

from a2m2_zoo.methods.blocks.a2 import A2Module, Alignment
from a2m2_zoo.methods.blocks.a2_config import A2Config
from a2m2_zoo.methods.blocks.candidates import (
    Candidates,
    Layout,
    join_candidates,
    join_layouts,
    sequence_layout,
)
from a2m2_zoo.methods.blocks.m2 import M2Block
from a2m2_zoo.methods.blocks.m2_config import M2Config

__all__ = [
    "A2Config",
    "A2Module",
    "Alignment",
    "Candidates",
    "Layout",
    "M2Block",
    "M2Config",
    "join_candidates",
    "join_layouts",
    "sequence_layout",
]
