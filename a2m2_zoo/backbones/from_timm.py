"""Backbones of timm: the networks that it trains on images, by its names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import Backbone, Preprocess, StateDict, check_side
from a2m2_zoo.backbones.library import interpolation, load_own, two_places
from a2m2_zoo.backbones.openclip import import_library
from a2m2_zoo.errors import ModelNotFoundError


class TimmBackbone(Backbone):
    """A network of timm without its classifier.

    Stages are named as timm names the parts they come from, with ``_`` for the dots: of networks whose maps
    shrink the last two sizes, of those with maps of one size (transformers, mixers) the middle block and
    the last, both behind the final norm. Tokens that belong to no place (of the class, registers) are in
    no map. The pooled vector is what timm gives to its classifier.

    Args:
        network: Made by timm, without a classifier.
        name: Its name there.
        facts: timm's own configuration of its input.
    """

    def __init__(self, network: nn.Module, *, name: str, facts: dict[str, Any]) -> None:
        super().__init__()
        self.name = f"timm:{name}"
        self.network: Any = network
        width = getattr(network, "head_hidden_size", None) or network.num_features
        self.pooled_channels = int(width)  # type: ignore[arg-type]
        found = list(getattr(network, "feature_info", None) or ())
        parts = found if hasattr(network, "forward_intermediates") else []
        sizes = [part["reduction"] for part in parts]
        self._even = len(set(sizes)) == 1
        self._places = two_places(sizes)
        self.stages = {
            str(parts[i]["module"]).replace(".", "_"): int(parts[i]["num_chs"])
            for i in self._places
        }
        self.default_preprocess = Preprocess(
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
            size=int(facts["input_size"][-1]),
            interpolation=interpolation(facts["interpolation"]),
        )
        self._fixed = self._even or bool(network.pretrained_cfg.get("fixed_input_size"))  # type: ignore[union-attr,operator]

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        if self._fixed:
            check_side(frames, self)
        if not self.stages:
            return {}, self.network(frames)
        last, maps = self.network.forward_intermediates(
            frames, indices=self._places, norm=self._even, output_fmt="NCHW"
        )
        pooled = self.network.forward_head(last, pre_logits=True)
        return dict(zip(self.stages, maps, strict=True)), pooled


def build_timm(name: str, *, weights: StateDict | None = None, adopt: bool = False) -> TimmBackbone:
    """Build a network by its name in timm; nothing is downloaded.

    Args:
        name: Such as ``resnet50.a1_in1k`` or ``vit_small_patch14_dinov2.lvd142m``; what stands behind the
            dot says which weights they are, and with them what pixels they expect.
        weights: A state dict of timm, or of `TimmBackbone`; a classifier is left out. Random without it.
        adopt: See ``load_weights``.

    Raises:
        ModelNotFoundError: timm has no network of that name; the nearest are given.
        CheckpointError: The weights do not fit.
        DependencyError: timm cannot be imported.
    """
    timm = import_library("timm")
    plain, _, tag = name.partition(".")
    if not timm.is_model(plain) or not _tagged(timm, plain, tag):
        known = timm.list_pretrained(f"{plain}.*") if timm.is_model(plain) else timm.list_models()
        near = get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(f'timm:{n}' for n in near)}? " if near else ""
        raise ModelNotFoundError(
            f"timm {timm.__version__} has no model {name[:80]!r}; {hint}timm.list_models() names all"
        )
    network = timm.create_model(name, pretrained=False, num_classes=0)
    made = TimmBackbone(network, name=name, facts=timm.data.resolve_model_data_config(network))
    if weights is not None:
        dropped = network.pretrained_cfg.get("classifier") or ()
        dropped = (dropped,) if isinstance(dropped, str) else tuple(dropped)
        load_own(made, weights, dropped=dropped, adopt=adopt)
    return made


def repository(name: str) -> str | None:
    """Where timm has the weights of a network: a repository of the Hub, or None."""
    timm = import_library("timm")
    found = timm.models.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    where: str | None = getattr(found, "hf_hub_id", None)
    return where


def _tagged(timm: Any, plain: str, tag: str) -> bool:
    return not tag or f"{plain}.{tag}" in timm.list_pretrained(f"{plain}.*")
