"""A recogniser in memory: backbone, method, preprocessing and calibration that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.arguments import path_text, whole
from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import A2M2Error, ArgumentError, BankError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import (
    Descriptors,
    Method,
    as_pairwise,
    concatenate,
    cut,
    encoded_pieces,
)
from a2m2_zoo.pose import embedded_pose, find_people, people_tensor
from a2m2_zoo.recognition import embeddings, similarity
from a2m2_zoo.recognition.given_clips import check_clips
from a2m2_zoo.recognition.model_file import header_record, place_weights
from a2m2_zoo.recognition.rejection import Table, shipped_table
from a2m2_zoo.recognition.text import TextTower
from a2m2_zoo.video import Clip, Preprocess, normalise

#: Where a head's weights come from. Records that do not say so are of heads that were computed, the first
#: there were.
ORIGINS = ("trained", "training-free", "converted")

_TILE = 256  # clips of each side whose pairs are scored together


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
        weights_path: Where the backbone's weights lie on this machine, if they go with the model; None where
            the manifest names them, and for those that the backbone is built with.
        text: The text tower beside the backbone, opened when it is first asked; None where there is none.
        pose: Whether people are looked for in clips, where the method makes use of them.
        rejection: Weights of rejection that came with it; see ``table``.
        opened_as: What ``load_model`` opens it by again, where that is a backbone's name or a commit of the
            Hub, which say more than the id; else empty.
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
    weights_path: Path | None = field(default=None, repr=False, compare=False)
    text: TextTower | None = field(default=None, repr=False, compare=False)
    pose: bool = True
    rejection: Table | None = field(default=None, repr=False, compare=False)
    opened_as: str = field(default="", repr=False, compare=False)

    def __repr__(self) -> str:
        clip = f"{self.preprocess.frames} frames of {self.preprocess.size} x {self.preprocess.size}"
        return (
            f"Model({self.id!r}: {self.method_name} on {self.backbone_name}, {self.origin}, {clip}, "
            f"weights {self.weights_hash[:12]}, {self.runtime} on {self.device})"
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

    embed = embeddings.embed
    similarity = similarity.similarity

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.backbone.parameters()).device

    @property
    def table(self) -> Table | None:
        """What tells queries of none of the classes: its own weights, or those shipped for it, or None."""
        return self.rejection or shipped_table(self.weights_hash)

    @property
    def runtime(self) -> str:
        """What computes its backbone and looks for people: ``torch`` or ``onnxruntime``."""
        return self.backbone.runtime

    @property
    def steps(self) -> int:
        """Time steps of its features of a clip; as many as frames, unless its backbone mixes those."""
        return self.backbone.steps(self.preprocess.frames)

    def batch_size(self, asked: int | None = None) -> int:
        """Clips that go through the backbone together: 1 on a CPU, whose threads take a clip each.

        Args:
            asked: What somebody wants elsewhere; 16 if None.

        Raises:
            ArgumentError: It is below 1.
        """
        asked = whole("batch_size", asked)
        return 1 if self.device.type == "cpu" else asked or 16

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
            batch_size: Clips that go through the backbone together, see ``batch_size``.

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
        size = self.batch_size(batch_size)
        check_clips(clips)
        batches = [clips[start : start + size] for start in range(0, len(clips), size)]
        parts: list[Descriptors] = []
        vectors: list[Tensor] = []
        for some, means in each(lambda some: self._described(self._features(some)), batches):
            parts += some
            vectors.append(means)
        return concatenate(parts), torch.cat(vectors)

    @apart
    @torch.inference_mode()
    def encode_features(self, features: Features) -> tuple[dict[str, Tensor], Float[Tensor, "b c"]]:
        """What ``encode_both`` gives, of what the backbone, and the search for people, gave before."""
        parts, means = self._described(features)
        return concatenate([*parts]), means

    def _described(self, features: Features) -> tuple[list[dict[str, Tensor]], Tensor]:
        with self._fitting():
            parts = encoded_pieces(self.method, features)
        return parts, functional.normalize(features.pooled.float(), dim=-1).mean(1).cpu()

    def as_encoded(self, held: Descriptors) -> dict[str, Tensor]:
        """Descriptors of the same weights as ``encode`` makes them here: without people if not ``pose``."""
        return {name: value for name, value in held.items() if self.pose or name != "people"}

    @apart
    @torch.inference_mode()
    def people(self, clips: Sequence[Clip]) -> Float[Tensor, "b p t 33 3"]:
        """Who is seen where in clips, on the CPU, each clip by itself: see ``pose.people_tensor``."""
        look = partial(find_people, network=embedded_pose(self.runtime))
        return torch.stack(list(each(lambda clip: people_tensor(look(clip.wide)), clips)))

    def _features(self, clips: Sequence[Clip]) -> Features:
        """Of the backbone, and the people where they are looked for: both at once."""
        frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
        pixels = normalise(frames, self.preprocess)
        encode: Callable[[], Features] = partial(self.backbone, pixels, stages=self.method.stages)
        if not (self.pose and self.method.reads_people):
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
        """Scores of every pair; None where a class's score does not come from them."""
        found = self.against(support)
        return found and found(query)

    @apart
    @torch.inference_mode()
    def against(self, support: Descriptors) -> Callable[[Descriptors], Float[Tensor, "q n"]] | None:
        """What gives ``pairs`` with these supports, again and again: what follows from them is computed once.

        Many clips are scored in tiles, shared among threads, with memory for a tile each.
        """
        method = as_pairwise(self.method)
        if method is None:
            return None
        with self._fitting():
            tiles = [
                method.against(self._episode(some))
                for some in (cut(support, _TILE) if method.context_free else [support])
            ]

        def score(tile: tuple[Callable[[Descriptors], Tensor], Descriptors]) -> Tensor:
            return tile[0](self._episode(tile[1]))[0].cpu()

        @apart
        @torch.inference_mode()
        def pairs(query: Descriptors) -> Tensor:
            jobs = [(tile, some) for some in cut(query, _TILE) for tile in tiles]
            with self._fitting():
                found = list(each(score, jobs))
                wide = len(tiles)
                rows = [torch.cat(found[i : i + wide], 1) for i in range(0, len(found), wide)]
                return self._finite(torch.cat(rows))

        return pairs

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
        return header_record(self)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the head as a checkpoint that ``load_model(path)`` takes; return its sha256.

        The backbone's weights are named where the manifest names them. Where they have a file of their own,
        that is copied beside the checkpoint, if it is not there yet.

        Raises:
            SaveError: It could not be written.
        """
        path = path_text("the checkpoint's file", path, "a path")
        if self.backbone_file is not None:
            place_weights(self, Path(path).parent / self.backbone_file)
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
