"""Backbones of torchvision: its classifiers of images and of videos, by its names."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import Backbone, Preprocess, StateDict, check_side
from a2m2_zoo.backbones.library import as_map, interpolation, load_own, over_time, two_places
from a2m2_zoo.backbones.openclip import import_library
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError

_VIDEO_FRAMES = 16  # that its video networks were trained on
_TOKENS = "encoder.layers.encoder_layer_"
_DEEPEST = 2  # parts of parts; what is further inside is half of a block


#: Parts in the order they ran, with the shapes of what went in and what came out.
_Seen: TypeAlias = "list[tuple[str, nn.Module, torch.Size, torch.Size]]"


class TorchvisionBackbone(Backbone):
    """A network of torchvision without its classifier.

    Stages are named as torchvision names the parts they come from, with ``_`` for the dots: the last two
    sizes of maps, of a transformer the middle block and the last behind its norm. The pooled vector is what
    torchvision gives to the last layer of its classifier; of a network over videos, the mean over the last
    map, for every time step. Of such a network the maps have as many time steps as the last of them.

    Args:
        graph: Gives a dictionary of the nodes wanted.
        name: The network's name in torchvision.
        parts: Of the maps, in order → channels.
        pooled: The node of the pooled vector; None for the mean over the last map.
        facts: torchvision's own preprocessing.
        video: Whether it takes videos.
    """

    def __init__(
        self,
        graph: nn.Module,
        *,
        name: str,
        parts: dict[str, int],
        pooled: tuple[str | None, int],
        facts: Any,
        video: bool,
    ) -> None:
        super().__init__()
        self.name = f"torchvision:{name}"
        self.network = graph
        self._parts, self._pooled = list(parts), pooled[0]
        self.stages = {part.replace(".", "_"): channels for part, channels in parts.items()}
        self.pooled_channels = pooled[1]
        size = facts.crop_size
        self.default_preprocess = Preprocess(
            mean=tuple(facts.mean),
            std=tuple(facts.std),
            size=int(size[0] if isinstance(size, (list, tuple)) else size),
            interpolation=interpolation(str(facts.interpolation.value)),
        )
        self.mixes_frames = video
        self.clip_frames = _VIDEO_FRAMES if video else type(self).clip_frames
        self._tokens = any(part.startswith("encoder.") for part in parts)
        self._steps: dict[int, int] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> TorchvisionBackbone:
        """Made anew: in a copy the library's graph forgets whether it is in training."""
        made = build_torchvision(self.name.partition(":")[2])
        weight = next(self.parameters())
        made.to(weight.device, weight.dtype).load_state_dict(self.state_dict())
        return made.train(self.training)

    def steps(self, frames: int) -> int:
        """Time steps of what it gives for clips of so many frames.

        Raises:
            ArgumentError: It takes no clips of so many frames.
        """
        if not self.mixes_frames:
            return frames
        if frames not in self._steps:
            side = self.default_preprocess["size"]
            held = next(self.parameters())
            try:
                with torch.inference_mode():
                    blank = held.new_zeros(1, 3, frames, side, side)
                    last = self.network(blank)[self._parts[-1]]
            except RuntimeError as error:
                raise ArgumentError(
                    f"{self.name} takes no clips of {frames} frames; it was made for {_VIDEO_FRAMES}"
                ) from error
            self._steps[frames] = int(last.shape[2])
        return self._steps[frames]

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        if self._tokens:
            check_side(frames, self)
        found = self.network(frames.transpose(1, 2) if self.mixes_frames else frames)
        maps = [self._map(found[part], frames.shape[-1]) for part in self._parts]
        if self.mixes_frames:
            steps = maps[-1].shape[2]
            maps = [over_time(value, steps) for value in maps]
        own = None if self._pooled is None else found[self._pooled].flatten(1)
        pooled = maps[-1].mean((-2, -1)) if own is None else own
        return dict(zip(self.stages, maps, strict=True)), pooled

    def _map(self, found: Tensor, side: int) -> Tensor:
        if found.ndim == 3:
            places = int((found.shape[1] - 1) ** 0.5)
            return as_map(found, (places, places))
        if _channels_last(found.shape):
            found = found.movedim(-1, 1)
        return found


def build_torchvision(
    name: str, *, weights: StateDict | None = None, adopt: bool = False
) -> TorchvisionBackbone:
    """Build a network by its name in torchvision; nothing is downloaded.

    Args:
        name: A classifier of images such as ``resnet18``, or of videos such as ``r3d_18``.
        weights: A state dict of torchvision, or of `TorchvisionBackbone`; a classifier is left out. Random
            without it.
        adopt: See ``load_weights``.

    Raises:
        ModelNotFoundError: torchvision has no classifier of that name; the nearest are given.
        ArgumentError: It is over videos and has no feature maps.
        CheckpointError: The weights do not fit.
        DependencyError: torchvision cannot be imported.
    """
    tv = import_library("torchvision")
    images, videos = tv.models.list_models(tv.models), tv.models.list_models(tv.models.video)
    if name not in (*images, *videos):
        near = get_close_matches(name, [*images, *videos], n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(f'torchvision:{n}' for n in near)}? " if near else ""
        raise ModelNotFoundError(
            f"torchvision {tv.__version__} has no classifier {name[:80]!r}; {hint}"
            "torchvision.models.list_models() names all"
        )
    video = name in videos
    facts = tv.models.get_model_weights(name).DEFAULT.transforms()
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = tv.models.get_model(name, weights=None, **options).eval()
    seen = _looked(network, facts, video)
    if video and not seen.maps:
        raise ArgumentError(
            f"torchvision:{name} has no feature maps that can be read; take another"
        )
    if seen.classifier is not None:  # its input is the pooled vector
        above, _, last = seen.classifier.rpartition(".")
        setattr(network.get_submodule(above), last, nn.Identity())
    nodes = [*seen.maps, *([seen.classifier] if seen.pooled else [])]
    extract: Any = import_module("torchvision.models.feature_extraction")
    graph = extract.create_feature_extractor(
        network, {node: node for node in nodes}, suppress_diff_warning=True
    )
    made = TorchvisionBackbone(
        graph.eval(),
        name=name,
        parts=seen.maps,
        pooled=(seen.classifier if seen.pooled else None, seen.pooled or seen.last),
        facts=facts,
        video=video,
    )
    if weights is not None:
        own = {key.removeprefix("network.").partition(".")[0] for key in made.state_dict()}
        parts = {name for name, _ in network.named_children()}
        dropped = [*(parts - own), *([seen.classifier] if seen.classifier else [])]
        load_own(made, weights, dropped=dropped, adopt=adopt)
    return made


class _Looked:
    """What a network gives where, found by one look at it.

    Attributes:
        maps: Parts whose outputs are the stages → channels.
        last: Channels of the last of them.
        classifier: The last linear layer; None if there is none.
        pooled: Length of what goes into that, if it is one vector of the input; 0 otherwise.
    """

    def __init__(self, seen: _Seen, video: bool) -> None:
        linear = [(n, x) for n, part, x, _ in seen if isinstance(part, nn.Linear)]
        given = linear[-1][1] if linear else None
        self.classifier: str | None = linear[-1][0] if linear else None
        self.pooled = given[-1] if given is not None and len(given) == 2 and not video else 0
        tokens = [(n, y) for n, _, _, y in seen if _is_block(n)]
        if tokens:
            chosen = [tokens[len(tokens) // 2 - 1], ("encoder.ln", tokens[-1][1])]
            self.maps = {name: shape[-1] for name, shape in chosen}
        else:
            self.maps = self._sizes(seen, 5 if video else 4)
        self.last = next(reversed(self.maps.values()), 0)

    @staticmethod
    def _sizes(seen: _Seen, axes: int) -> dict[str, int]:
        """The last part of each size, of the last two sizes."""
        found: dict[int, tuple[str, int]] = {}
        for name, _, _, y in seen:
            if len(y) != axes or name.count(".") >= _DEEPEST:
                continue
            last = _channels_last(y)
            side = y[-2 if last else -1]
            if side > 1:
                found.pop(side, None)
                found[side] = name, y[-1 if last else 1]
        sides = sorted(found, reverse=True)
        if len(sides) < 2:  # the first part of a transformer over tokens of its own
            return {}
        return dict(found[sides[i]] for i in two_places(sides))


@torch.inference_mode()
def _looked(network: nn.Module, facts: Any, video: bool) -> _Looked:
    """Run a network once, and note the shapes of what comes out of every part."""
    seen: _Seen = []

    def note(name: str) -> Any:
        def hook(part: nn.Module, given: Any, made: Any) -> None:
            if isinstance(made, Tensor) and given and isinstance(given[0], Tensor):
                seen.append((name, part, given[0].shape, made.shape))

        return hook

    hooks = [part.register_forward_hook(note(n)) for n, part in network.named_modules() if n]
    size = facts.crop_size
    side = int(size[0] if isinstance(size, (list, tuple)) else size)
    shape = (1, 3, _VIDEO_FRAMES, side, side) if video else (1, 3, side, side)
    network(torch.zeros(shape))
    for placed in hooks:
        placed.remove()
    return _Looked(seen, video)


def _is_block(name: str) -> bool:
    return name.startswith(_TOKENS) and name.count(".") == _DEEPEST


def _channels_last(shape: torch.Size) -> bool:
    """Whether a map of squares has its channels behind them."""
    return shape[-1] != shape[-2] and shape[-2] == shape[-3]
