"""A recogniser in memory: backbone, method, preprocessing and calibration that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.arguments import kind, path_text, whole
from a2m2_zoo._utils.cores import threads
from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.backbones.base import CPU_FRAMES
from a2m2_zoo.errors import A2M2Error, ArgumentError, BankError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Descriptors, Method, as_pairwise, concatenate, encoded_pieces
from a2m2_zoo.pose import find_people, nobody, people_tensor
from a2m2_zoo.recognition.text import TextTower
from a2m2_zoo.video import Clip, Preprocess, normalise

#: Where a head's weights come from. Records that do not say so are of heads that were computed, the first
#: there were.
ORIGINS = ("trained", "training-free", "converted")


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A few-shot recogniser, ready to use. Made by ``load_model``; safe to share between threads.

    Attributes:
        id: Its name.
        weights_hash: sha256 over all of its weights; a bank made by other weights is refused.
        backbone_hash: sha256 of the backbone's weights alone; cached features belong to it.
        method_name: Name in the registry of methods.
        backbone_name: Name of the backbone's weights in the manifest, or of its architecture where they
            lie in a file of their own.
        backbone: Frames to maps.
        method: Maps to descriptors, descriptors to scores.
        preprocess: How clips become frames.
        scales: Shots → factor on the logits, fitted on generated classes.
        backbone_file: Name of the file with the backbone's weights, beside the checkpoint; None where the
            manifest names them.
        origin: One of ``ORIGINS``.
        text: The text tower beside the backbone, opened when it is first asked; None where there is none.
        pose: Whether people are looked for in clips, where the method makes use of them.
    """

    id: str
    weights_hash: str
    backbone_hash: str
    method_name: str
    backbone_name: str
    backbone: Backbone
    method: Method
    preprocess: Preprocess
    scales: Mapping[int, float]
    backbone_file: str | None = None
    origin: str = "trained"
    text: TextTower | None = field(default=None, repr=False, compare=False)
    pose: bool = True

    def __repr__(self) -> str:
        clip = f"{self.preprocess.frames} frames of {self.preprocess.size} x {self.preprocess.size}"
        return (
            f"Model({self.id!r}: {self.method_name} on {self.backbone_name}, {self.origin}, {clip}, "
            f"weights {self.weights_hash[:12]})"
        )

    def __eq__(self, other: object) -> bool:
        """Whether it is the same model: equal name, weights and preprocessing, wherever each computes."""
        if not isinstance(other, Model):
            return NotImplemented
        names = ("id", "weights_hash", "preprocess", "pose")
        return dict(self.scales) == dict(other.scales) and all(
            getattr(self, name) == getattr(other, name) for name in names
        )

    def __hash__(self) -> int:
        return hash((self.id, self.weights_hash))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.backbone.parameters()).device

    @property
    def default_batch_size(self) -> int:
        """Clips encoded together: on a CPU as many as keep its threads busy, and 16 elsewhere."""
        if self.device.type != "cpu":
            return 16
        return max(1, threads() * CPU_FRAMES // self.preprocess.frames)

    @apart
    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Model:
        """The same model elsewhere; ``dtype`` is the backbone's precision, the head stays float32."""
        return replace(
            self,
            backbone=self.backbone.to(device=device, dtype=dtype),
            method=self.method.to(device),
        )

    @apart
    @torch.inference_mode()
    def encode(self, clips: Sequence[Clip], *, batch_size: int | None = None) -> dict[str, Tensor]:
        """Descriptors of clips, on the CPU, the same whatever the batch size.

        Args:
            clips: Decoded clips, at least one.
            batch_size: Clips that go through the backbone together; ``default_batch_size`` if None.

        Raises:
            ArgumentError: ``batch_size`` is below 1, or something else than decoded clips was given.
        """
        return self.encode_both(clips, batch_size=batch_size)[0]

    @apart
    @torch.inference_mode()
    def encode_both(
        self, clips: Sequence[Clip], *, batch_size: int | None = None
    ) -> tuple[dict[str, Tensor], Float[Tensor, "b c"]]:
        """What ``encode`` gives, and each clip's mean unit frame vector, for class texts to compare with."""
        size = whole("batch_size", batch_size) or self.default_batch_size
        _check_clips(clips)
        parts: list[Descriptors] = []
        vectors: list[Tensor] = []
        for start in range(0, len(clips), size):
            features = self._features(clips[start : start + size])
            with self._fitting():
                parts += encoded_pieces(self.method, features)
            vectors.append(functional.normalize(features.pooled.float(), dim=-1).mean(1).cpu())
        return concatenate(parts), torch.cat(vectors)

    @apart
    @torch.inference_mode()
    def people(self, clips: Sequence[Clip]) -> Float[Tensor, "b p t 33 3"]:
        """Who is seen where in clips, on the CPU, each clip by itself; nobody without ``pose``.

        See ``pose.people_tensor``.
        """
        if not self.pose:
            return nobody(len(clips), self.preprocess.frames)
        return torch.stack(list(each(lambda clip: people_tensor(find_people(clip.wide)), clips)))

    def _features(self, clips: Sequence[Clip]) -> Features:
        """Of the backbone, and the people where the method reads them: both at once."""
        frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
        pixels = normalise(frames, self.preprocess)
        encode: Callable[[], Features] = partial(self.backbone, pixels, stages=self.method.stages)
        if not self.method.reads_people:
            return encode()
        jobs: list[Callable[[], Any]] = [encode, partial(self.people, clips)]
        features, people = each(lambda job: job(), jobs)
        return Features(features.maps, features.pooled, people)

    @apart
    @torch.inference_mode()
    def logits(
        self,
        query: Descriptors,
        support: Descriptors,
        *,
        labels: Int[Tensor, " n"],
        way: int,
        text: Float[Tensor, "w c"] | None = None,
    ) -> Float[Tensor, "q w"]:
        """Raw scores of queries over classes; larger is more alike.

        Args:
            query: Descriptors of the queries.
            support: Descriptors of the supports.
            labels: Class of each support.
            way: Number of classes.
            text: Embedded class texts, for a method that reads them; others do without.
        """
        queries, supports = self._episode(query), self._episode(support)
        score: Any = self.method.score
        if text is not None and self.method.reads_text:
            score = partial(score, text=text[None].to(self.device))
        with self._fitting():
            logits: Tensor = score(queries, supports, labels=labels.to(self.device), way=way)
        return self._finite(logits[0].cpu())

    @apart
    @torch.inference_mode()
    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "q n"] | None:
        """Scores of every pair; None where a class's score is not their mean."""
        method = as_pairwise(self.method)
        if method is None:
            return None
        with self._fitting():
            found = method.pairs(self._episode(query), self._episode(support))
        return self._finite(found[0].cpu())

    @apart
    @torch.inference_mode()
    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "q n t t"], Float[Tensor, "q n t t"]] | None:
        """How the frames of every pair are matched, see ``Method.frame_plans``."""
        with self._fitting():
            found = self.method.frame_plans(self._episode(query), self._episode(support))
        return found and (found[0][0].cpu(), found[1][0].cpu())

    def record(self) -> dict[str, Any]:
        """What the header of its checkpoint says."""
        return {
            "id": self.id,
            "method": self.method_name,
            "backbone": self.backbone_name
            if self.backbone_file is None
            else {
                "architecture": self.backbone_name,
                "file": self.backbone_file,
                "sha256": self.backbone_hash,
            },
            "config": self.method.config.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "scales": {str(shot): value for shot, value in self.scales.items()},
            **({} if self.origin == "training-free" else {"origin": self.origin}),
        }

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the head as a checkpoint that ``load_model(path)`` takes; return its sha256.

        The backbone's weights are named, not copied: where they lie in a file of their own, save beside it.

        Raises:
            SaveError: It could not be written.
        """
        path = path_text("the checkpoint's file", path, "a path")
        return checkpoint.save(path, self.method.weights(), kind="model", record=self.record())

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """What was never made by this model, such as a bank that somebody changed, is one clear error."""
        try:
            yield
        except ArgumentError as error:
            raise self._misfit(error) from error
        except (A2M2Error, torch.cuda.OutOfMemoryError):
            raise
        except (KeyError, IndexError, RuntimeError, ValueError) as error:
            raise self._misfit(error) from error

    def _misfit(self, error: Exception) -> BankError:
        said = next(iter(str(error).splitlines()), "")
        return BankError(
            f"the descriptors are not what {self.id!r} computes ({said:.120}); create the bank again "
            "from its clips, with this model"
        )

    def _finite(self, scores: Tensor) -> Tensor:
        """The scores, unless they say nothing."""
        if not bool((scores < float("inf")).all()):
            raise CheckpointError(
                f"{self.id!r} gives scores that are not finite; its weights, its settings or the bank are "
                "not sound: fetch or make them again"
            )
        return scores

    def _episode(self, descriptors: Descriptors) -> dict[str, Tensor]:
        """As the only episode, where the model computes."""
        return {name: tensor[None].to(self.device) for name, tensor in descriptors.items()}


def _check_clips(clips: Any) -> None:
    """Refuse what is no list of decoded clips, above all the path of one that is not decoded."""
    expected = (
        "decoded clips, [read_clip(path, model.preprocess)] with read_clip from a2m2_zoo.video; "
        "build_bank and classify take paths"
    )
    if not isinstance(clips, (list, tuple)):
        raise ArgumentError(f"encode was given {kind(clips)}; expected {expected}")
    if not clips:
        raise ArgumentError(f"encode was given no clip; expected {expected}")
    for clip in clips:
        if not isinstance(clip, Clip):
            raise ArgumentError(f"encode was given a list with {kind(clip)}; expected {expected}")
    sizes = sorted({clip.frames.shape for clip in clips})
    if len(sizes) > 1:
        raise ArgumentError(
            f"clips of shapes {sizes[0]} and {sizes[1]}; read all with one Preprocess"
        )
