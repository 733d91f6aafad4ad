"""Backbones of transformers: image towers, and networks that mix the frames of a video, by repository.

What they are is in their ``config.json``, which travels with the weights; the preprocessing comes from the
repository, too. No code of a repository is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import Backbone, Preprocess, StateDict, check_side
from a2m2_zoo.backbones.bounds import weights_of
from a2m2_zoo.backbones.hf_config import Kind, clip_frames, kind_of, plain_config, read_preprocess
from a2m2_zoo.backbones.library import as_map, load_own
from a2m2_zoo.backbones.openclip import import_library
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError, DependencyError


class TransformersBackbone(Backbone):
    """An image tower or a video network of transformers.

    Stages are ``block{N}`` of the middle block and of the last, that one behind the final norm where the
    network has one; ``stage{N}`` of the last two of a convolution network. Tokens of the class and registers
    are in no map. The pooled vector is the network's own where it has one for every frame, and elsewhere the
    mean over the last map, for every time step.

    Args:
        network: Made by transformers.
        name: ``hf:ORG/NAME@COMMIT``.
        kind: How it is read.
        preprocess: What pixels it takes.
        config: Of `build_transformers`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        kind: Kind,
        preprocess: Preprocess,
        config: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.name, self.config, self._kind = name, config, kind
        self.network: Any = network
        facts: Any = network.config
        self.default_preprocess = preprocess
        self.mixes_frames = kind.video
        if kind.convolution:
            widths = list(facts.hidden_sizes)
            self._middle = len(widths) - 1
            self.stages = {f"stage{len(widths) - 1}": widths[-2], f"stage{len(widths)}": widths[-1]}
        else:
            depth, width = int(facts.num_hidden_layers), int(facts.hidden_size)
            self._middle = max(depth // 2, 1)
            names = dict.fromkeys((f"block{self._middle}", f"block{depth}"))
            self.stages = dict.fromkeys(names, width)
        self.pooled_channels = list(self.stages.values())[-1]
        patch = getattr(facts, "patch_size", 1)
        patch = int(patch if isinstance(patch, int) else patch[0])
        self._side = preprocess["size"] // patch
        self._tubelet = int(getattr(facts, "tubelet_size", 1))
        if kind.patches:
            _keep_positions(network)
        if kind.video:
            self.clip_frames = clip_frames(name, facts)
        self._frames = self.clip_frames if kind.fixed else 0

    def steps(self, frames: int) -> int:
        """Time steps of what it gives for clips of so many frames.

        Raises:
            ArgumentError: It takes no clips of so many frames.
        """
        if self._frames and frames != self._frames:
            raise ArgumentError(
                f"clips have {frames} frames; {self.name} takes {self._frames}, no more and no fewer"
            )
        if frames % self._tubelet:
            raise ArgumentError(
                f"clips have {frames} frames; {self.name} takes multiples of {self._tubelet}"
            )
        return frames // self._tubelet

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        check_side(frames, self)
        found = self._run(frames)
        hidden = [found.hidden_states[self._middle], found.last_hidden_state]
        if self._kind.convolution:
            hidden[1] = found.hidden_states[-1]
        hidden = hidden[-len(self.stages) :]
        clips = frames.shape[:2] if self.mixes_frames else None
        maps = dict(zip(self.stages, (self._map(x, clips) for x in hidden), strict=True))
        own = getattr(found, "pooler_output", None)
        last = maps[next(reversed(self.stages))]
        pooled = last.mean((-2, -1)) if own is None else own
        if own is not None and clips is not None:
            pooled = torch.unflatten(own, 0, tuple(clips))
        return maps, pooled

    def _run(self, frames: Tensor) -> Any:
        """The network's own answer."""
        if self._kind.flat:
            return self.network(pixel_values=frames.flatten(0, 1), output_hidden_states=True)
        if self._kind.patches:
            patch, side = self.network.config.patch_size, self._side
            cut = torch.unflatten(torch.unflatten(frames, 3, (side, patch)), 2, (side, patch))
            return self.network(
                pixel_values=cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2),
                pixel_attention_mask=None,  # every patch is one of the picture
                spatial_shapes=None,  # only read to resize positions, see `_keep_positions`
                output_hidden_states=True,
            )
        given = {self._kind.takes: frames, "output_hidden_states": True}
        return self.network(**given, **self._kind.options)

    def _map(self, found: Tensor, clips: torch.Size | None) -> Tensor:
        """Hidden states as maps (n, c, h, w), or of clips (n, t, c, h, w)."""
        if found.ndim == 4:
            return found
        side = self._side
        if clips is None:
            return as_map(found, (side, side))
        if self._kind.flat:
            return torch.unflatten(as_map(found, (side, side)), 0, tuple(clips))
        steps = clips[1] // self._tubelet
        places = found[:, -steps * side * side :]
        if self._kind.time_last:
            return torch.unflatten(places, 1, (side, side, steps)).permute(0, 3, 4, 1, 2)
        return torch.unflatten(places, 1, (steps, side, side)).permute(0, 1, 4, 2, 3)


def _keep_positions(network: nn.Module) -> None:
    """Leave the positions of a network over patches as they are.

    Pictures have as many patches as it has positions (see ``read_preprocess``). The library resizes them
    all the same, picture by picture and by values, which no graph for any number of pictures can record.
    """
    for part in network.modules():
        if hasattr(part, "resize_positional_embeddings"):
            vars(part)["resize_positional_embeddings"] = _as_they_are


def _as_they_are(positions: Float[Tensor, "h w c"], *_: Any, **__: Any) -> Float[Tensor, "1 p c"]:
    return positions.flatten(0, 1)[None]


def build_transformers(
    name: str,
    *,
    config: Mapping[str, Any] | None,
    weights: StateDict | None = None,
    adopt: bool = False,
) -> TransformersBackbone:
    """Build a network of transformers from its configuration; nothing is downloaded.

    Args:
        name: ``hf:ORG/NAME@COMMIT``, what it is called in messages.
        config: ``model``: what its ``config.json`` holds; ``preprocess``: what its
            ``preprocessor_config.json`` holds, or the values of a `Preprocess`. Hostile until checked.
        weights: A state dict in the names of the repository, or of `TransformersBackbone`; what belongs to
            another part of the model, such as a text tower, is left out. Random without it.
        adopt: See ``load_weights``.

    Raises:
        ArgumentError: There is no configuration.
        CheckpointError: It describes no network that can be read, or the weights do not fit.
        DependencyError: transformers is not installed.
    """
    if config is None or not isinstance(config.get("model"), Mapping):
        raise ArgumentError(
            f"{name} is described by its configuration, and there is none; load it with load_model"
        )
    library = import_library("transformers")
    kind, values = kind_of(name, config["model"])
    try:
        facts = library.AutoConfig.for_model(kind.model_type, **values)
        preprocess = read_preprocess(name, config.get("preprocess"), facts, kind)
        network, own = _made(library, kind, facts, weights, name)
    except (A2M2Error, MemoryError):
        raise
    except Exception as error:  # a library's own, about values that somebody wrote
        said = " ".join(str(error).split())
        raise CheckpointError(
            f"the configuration of {name} describes no network that transformers "
            f"{library.__version__} can build: {type(error).__name__}: {said:.200}"
        ) from error
    kept = {"model": plain_config(kind, values), "preprocess": dict(preprocess)}
    made = TransformersBackbone(network, name=name, kind=kind, preprocess=preprocess, config=kept)
    if weights is not None and own:
        load_own(made, weights, adopt=adopt)
    return made


def _made(
    library: Any, kind: Kind, facts: Any, weights: StateDict | None, name: str
) -> tuple[nn.Module, bool]:
    """The network, and whether the weights given are those of a backbone and still to be loaded."""
    try:
        made: Any = getattr(library, kind.network)
    except (AttributeError, ImportError) as error:
        raise DependencyError(
            f"transformers {library.__version__} has no {kind.network}, which {name} is: "
            'pip install --upgrade "a2m2_zoo[transformers]"'
        ) from error
    own = weights is not None and all(key.startswith("network.") for key in weights)
    numbers = sum(value.numel() for value in weights.values()) if weights is not None else 1 << 60
    with weights_of(numbers, name), torch.inference_mode(False):
        if weights is None or own:
            return made(facts).eval(), own
        # Files are in the names of the version that wrote them, which the library knows how to read.
        with _quiet(library):
            network, report = made.from_pretrained(
                None,
                config=facts,
                state_dict={
                    key.removeprefix(kind.prefix): value.clone() if value.is_inference() else value
                    for key, value in weights.items()
                },
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    missing = sorted(report["missing_keys"])
    wrong = sorted(str(key) for key, *_ in report.get("mismatched_keys", ()))
    if missing or wrong:
        raise CheckpointError(
            f"the state dict given for {name} does not fit {kind.network}: {len(missing)} missing, "
            f"{len(wrong)} of another shape (first: {(missing or wrong)[0]}); give the weights of this model"
        )
    return network.eval(), False


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without the library's bars, and its table of weights that belong to other parts of a model."""
    log = library.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
