"""What every backbone has in common: one signature, frames in pieces, weights loaded strictly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import each
from a2m2_zoo.errors import ArgumentError, CheckpointError

#: The weights of a network: tensors by name.
StateDict = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)
Value = TypeVar("Value")

#: Frames that go through at once: on a CPU few, so that activations stay in its caches (four were
#: fastest for every backbone here), elsewhere many, to keep the device busy.
CPU_FRAMES = 4
ACCELERATOR_FRAMES = 128


class Preprocess(TypedDict):
    """What pixels a backbone was trained on; plain values, ready for a manifest.

    ``mean`` and ``std`` belong to RGB values in 0..1, ``size`` is the side of the square input in
    pixels, ``interpolation`` the way images were resized to it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    interpolation: str


IMAGENET_PREPROCESS = Preprocess(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=224, interpolation="bilinear"
)


@dataclass(frozen=True)
class Features:
    """What a backbone gives for a batch of clips.

    t is the number of time steps: of frames, or of what a backbone that mixes frames makes of them, see
    ``Backbone.steps``.

    Attributes:
        maps: Stage name → feature maps (b, t, c, h, w); c, h and w differ from stage to stage.
        pooled: One vector per time step (b, t, c).
        people: Who was seen where (b, p, t, 33, 3), see ``pose.people_tensor``; None where nobody looked.
    """

    maps: dict[str, Float[Tensor, "b t _ _ _"]]
    pooled: Float[Tensor, "b t _"]
    people: Float[Tensor, "b p t 33 3"] | None = None


class Backbone(nn.Module, ABC):
    """A network over frames: (b, t, 3, h, w) → maps at named stages and one vector per frame.

    Subclasses set the attributes and write `_encode` for a flat batch of frames, or, where they mix
    frames, of clips. Device and precision are the caller's, by ``.to()``; so are ``.eval()`` and
    ``torch.inference_mode()`` (`build_backbone` hands networks out in evaluation mode).

    Attributes:
        name: The name `build_backbone` knows it by.
        stages: Stage name → number of channels, from shallow to deep.
        pooled_channels: Length of a pooled vector.
        default_preprocess: What pixels the published weights expect.
        clip_frames: Frames of a clip where nobody says.
        mixes_frames: Whether what it gives for a frame depends on the others of the clip.
        config: Plain values that are needed to build it anew, beside its name; None for most.
        session: What computes `_encode` in place of torch where it can, see `onnx_run.with_runtime`:
            frames to the maps of all stages and the pooled vectors.
    """

    name: str
    stages: dict[str, int]
    pooled_channels: int
    default_preprocess: Preprocess
    clip_frames: int = 8
    mixes_frames: bool = False
    config: Mapping[str, Any] | None = None
    session: Callable[[Tensor], list[Tensor]] | None = None

    @property
    def runtime(self) -> str:
        """What computes it where it is: ``torch`` or ``onnxruntime``."""
        weight = next(self.parameters())
        plain = weight.device.type == "cpu" and weight.dtype == torch.float32
        return "onnxruntime" if self.session is not None and plain else "torch"

    @abstractmethod
    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        """Give maps at every stage and the pooled vector for a flat batch of frames.

        Where ``mixes_frames`` is set: of clips (n, t, 3, h, w), with the time steps behind n.
        """

    def steps(self, frames: int) -> int:
        """Time steps of what it gives for clips of so many frames: as many, unless it mixes them.

        Raises:
            ArgumentError: It takes no clips of so many frames.
        """
        return frames

    def at_once(self, clips: Float[Tensor, "b t 3 h w"]) -> Features:
        """Encode clips in one piece and unchecked, as graphs are recorded."""
        if self.mixes_frames:
            return Features(*self._encode(clips))
        maps, pooled = self._encode(clips.flatten(0, 1))
        several = clips.shape[:2]
        found = {stage: torch.unflatten(value, 0, several) for stage, value in maps.items()}
        return Features(found, torch.unflatten(pooled, 0, several))

    def forward(
        self,
        frames: Float[Tensor, "b t 3 h w"],
        *,
        chunk: int | None = None,
        stages: Sequence[str] | None = None,
    ) -> Features:
        """Encode clips.

        Frames are moved to the network's device and precision piece by piece, so a long batch may
        wait in main memory. On a CPU a piece never crosses a clip unless `chunk` says so: kernels
        may sum in another order for another number of frames, and this way the result for a clip
        is the same to the last bit whatever else is in the batch.

        Args:
            frames: Normalised frames (b, t, 3, h, w), floating point.
            chunk: Frames per piece, counted over the whole batch. By default at most 4 frames of
                one clip on a CPU and 128 frames elsewhere; in training mode everything at once,
                since batch normalisation takes its statistics over a piece.
            stages: The stages whose maps are kept; all by default, an empty list for none.

        Returns:
            Maps of the stages asked for, in the network's order, and the pooled vectors.

        Raises:
            ArgumentError: If the frames have another shape or type, there are too many or too few for a
                clip, or a stage is unknown.
        """
        kept = self._kept(stages)
        _check_frames(frames)
        if chunk is not None and chunk < 1:
            raise ArgumentError(f"chunk is {chunk}; give a number of frames of at least 1, or None")
        b, t = frames.shape[:2]
        weight = next(self.parameters())
        maps: dict[str, list[Tensor]] = {stage: [] for stage in kept}
        pooled: list[Tensor] = []
        self.steps(t)
        flat, cpu = frames.flatten(0, 1), weight.device.type == "cpu"
        if self.training and chunk is None:
            chunk = b * t
        if self.mixes_frames:  # what is cut are clips
            flat = frames
            if chunk or not cpu:
                chunk = max(1, (chunk or ACCELERATOR_FRAMES) // t)

        session = None if self.training or torch.is_grad_enabled() else self.session

        def encode(piece: slice) -> tuple[dict[str, Tensor], Tensor]:
            some = flat[piece].to(weight.device, weight.dtype)
            if session is None or self.runtime == "torch":
                return self._encode(some)
            *maps, pooled = session(some)
            return dict(zip(self.stages, maps, strict=True)), pooled

        pieces = _pieces(b, 1 if self.mixes_frames else t, chunk=chunk, cpu=cpu)
        for some, vectors in each(encode, pieces):
            pooled.append(vectors)
            for stage, parts in maps.items():
                parts.append(some[stage].contiguous())

        def joined(parts: list[Tensor]) -> Tensor:
            whole = torch.cat(parts)
            return whole if self.mixes_frames else whole.reshape(b, t, *whole.shape[1:])

        return Features({stage: joined(parts) for stage, parts in maps.items()}, joined(pooled))

    def _kept(self, stages: Sequence[str] | None) -> list[str]:
        if stages is None:
            return list(self.stages)
        if isinstance(stages, str):
            raise ArgumentError(
                f"stages is the string {stages!r}; give a list such as [{stages!r}]"
            )
        for stage in stages:
            if stage not in self.stages:
                known = ", ".join(self.stages) or "none"
                raise ArgumentError(f"{self.name} has no stage {stage!r}; its stages are: {known}")
        return [stage for stage in self.stages if stage in stages]


def load_weights(module: nn.Module, state: StateDict, *, source: str, adopt: bool = False) -> None:
    """Load a state dict whose keys and shapes must be exactly those of the module.

    Parameters keep the module's precision (float32 as built), whatever the state dict holds. A
    module built on the meta device receives its storage here.

    Args:
        module: The network to fill.
        state: Key → tensor.
        source: What to call the weights in an error.
        adopt: A module on the meta device takes the tensors themselves and not copies: they are
            nobody else's.

    Raises:
        CheckpointError: If a key is missing or left over, or a shape is another one.
    """
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    # Checkpoints from before PyTorch 0.4.1 do not count batches; nothing reads the count at rest.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or extra or wrong:
        some = [
            f"{n} {what} (first: {keys[0]})"
            for n, what, keys in (
                (len(missing), "missing", missing),
                (len(extra), "unknown", extra),
                (len(wrong), "of another shape", wrong),
            )
            if n
        ]
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: {', '.join(some)}; "
            "give the state dict of this architecture"
        )
    # Copies unless told otherwise: training must not write into the caller's tensors.
    given = {k: v.to(own[k].dtype, copy=not adopt) for k, v in state.items()}
    module.load_state_dict(given, assign=any(v.is_meta for v in own.values()))


def channels_last(network: Network) -> Network:
    """Lay a network's convolution weights out channels last, which is faster on CPUs and GPUs."""
    return cast(Network, cast(Any, network).to(memory_format=torch.channels_last))


def inner_keys(state: Mapping[str, Value]) -> dict[str, Value]:
    """Take the backbone out of a checkpoint of few-shot research code.

    Those keep the whole recogniser, as ``backbone.…`` beside the rest, below ``head.`` or, trained
    on several GPUs, ``module.``. Any other state dict comes back as it is.

    Args:
        state: Key → tensor, or whatever belongs to it.

    Example:
        >>> import torch
        >>> w = torch.zeros(1)
        >>> list(inner_keys({"head.backbone.conv1.weight": w, "head.scale": w}))
        ['conv1.weight']
    """
    plain = {key.removeprefix("module.").removeprefix("head."): v for key, v in state.items()}
    inside = {
        key.removeprefix("backbone."): v for key, v in plain.items() if key.startswith("backbone.")
    }
    return inside or dict(state)


def check_side(frames: Tensor, backbone: Backbone) -> None:
    """Refuse frames of another size than the one that a backbone takes.

    Raises:
        ArgumentError: They are no squares of its ``default_preprocess``.
    """
    side = backbone.default_preprocess["size"]
    if frames.shape[-2:] != (side, side):
        raise ArgumentError(
            f"frames are {frames.shape[-2]} × {frames.shape[-1]} pixels; {backbone.name} takes "
            f"{side} × {side} only, resize them"
        )


def _check_frames(frames: Tensor) -> None:
    given = f"{tuple(frames.shape)} {frames.dtype}"
    if frames.ndim != 5 or frames.shape[2] != 3 or 0 in frames.shape:
        raise ArgumentError(
            f"frames are {given}; expected (clips, frames, 3, height, width), none of them zero"
        )
    if not frames.is_floating_point():
        raise ArgumentError(f"frames are {given}; normalise them to floating point first")


def _pieces(b: int, t: int, *, chunk: int | None, cpu: bool) -> Iterator[slice]:
    """Cut b·t frames into slices; without `chunk` a CPU's slices begin anew at every clip."""
    run, step = (t, CPU_FRAMES) if cpu and chunk is None else (b * t, chunk or ACCELERATOR_FRAMES)
    for start in range(0, b * t, run):
        for at in range(start, start + run, step):
            yield slice(at, min(at + step, start + run))
