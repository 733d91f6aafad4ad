"""Checkpoints of the official STRM code."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.strm import STRMConfig
from a2m2_zoo.zoo.convert.base import Converted, renamed
from a2m2_zoo.zoo.convert.trx import by_cardinality, encoding_size, transformer_names

_LAYERS = {
    "attn_pat.query_proj": "patches.query",
    "attn_pat.key_proj": "patches.key",
    "attn_pat.value_conv": "patches.value",
    "attn_pat.Bot_MLP.inp_fc": "patches.mlp.0",
    "attn_pat.Bot_MLP.hid_fc": "patches.mlp.2",
    "attn_pat.Bot_MLP.out_fc": "patches.mlp.4",
    "fr_enrich.Tok_MLP.inp_fc": "frames.time.0",
    "fr_enrich.Tok_MLP.out_fc": "frames.time.2",
    "fr_enrich.Bot_MLP.inp_fc": "frames.mlp.0",
    "fr_enrich.Bot_MLP.out_fc": "frames.mlp.2",
}
_NAMES = {
    "attn_pat.gamma": "patches.gamma",
    "attn_pat.pe.pe": "patches.pe",
    **{
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in _LAYERS.items()
        for kind in ("weight", "bias")
    },
}


def convert_strm(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """The enrichments and cross-transformers of a checkpoint, for ``STRM`` without its auxiliary part.

    The official code neither trains nor saves that part, so ``aux_weight`` is 0.

    Args:
        state: Official key → tensor, without prefixes and without the backbone; ``.module.`` inside keys,
            from training on several GPUs, does not matter.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or unknown, or sizes disagree.
    """
    plain = {key.replace(".module.", "."): tensor for key, tensor in state.items()}
    names, unused = transformer_names(plain)
    left = unused | {"fr_enrich.pe.pe"}
    found = renamed(plain, names=names | _NAMES, dropped=left, source=source)
    patches, _ = encoding_size(found.pop("patches.pe"), source=source)
    head, sizes = by_cardinality(found, source=source)
    (channels,), (out,), (frames,) = (sizes[name] for name in ("channels", "out", "frames"))
    if head["frames.time.0.weight"].shape != (frames, frames) or isqrt(patches) ** 2 != patches:
        raise CheckpointError(
            f"{source} mixes {tuple(head['frames.time.0.weight'].shape)} frames and encodes "
            f"{patches} patches; expected ({frames}, {frames}) and a square"
        )
    config = STRMConfig(
        channels=channels,
        out=out,
        cardinalities=sizes["cardinalities"],
        frames=frames,
        grid=isqrt(patches),
        aux_weight=0.0,
    )
    return Converted(config, head, tuple(k for k in plain if k in left or k.endswith("pe.pe")))
