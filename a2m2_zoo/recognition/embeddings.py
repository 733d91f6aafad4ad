"""Clips as what a model keeps of them: embedded once, then compared, searched, clustered, stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.arguments import kind, path_text
from a2m2_zoo._utils.notebooks import watched
from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import ahead, apart
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError, VideoError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Descriptors, concatenate, take
from a2m2_zoo.recognition.bank_record import texts_of
from a2m2_zoo.recognition.options import given_queries
from a2m2_zoo.video import Clip, read_clips
from a2m2_zoo.video.inputs import AnyLimits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from a2m2_zoo.recognition.episode import Source
    from a2m2_zoo.recognition.model import Model

#: Which clips of some: a number, a slice, a list of numbers, or one truth value for each clip.
Index: TypeAlias = "int | slice | Sequence[int] | ArrayLike | Tensor"


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """What a model keeps of N clips. Immutable; ``model.embed(clips)`` makes it.

    Attributes:
        descriptors: What the model compares, by name; the clip is the first axis of each.
        pooled: (N, C) one vector of length one for each clip, the mean of the backbone's unit frame vectors:
            what clustering and classifiers of other libraries take.
        sources: Name of each clip: its path as it was given, or what an array is called in messages.
        model: Name of the model that embedded them.
        weights_hash: Hash of that model's weights.

    >>> from a2m2_zoo import load_model
    >>> from a2m2_zoo.synthetic import draw_named
    >>> model = load_model()
    >>> found = model.embed([draw_named(name, 0, studio=2) for name in ("kick", "squat")])
    >>> len(found), found.numpy().shape, len(found[:1])
    (2, (2, 1280), 1)
    >>> model.similarity(found).diagonal().tolist()
    [1.0, 1.0]
    """

    descriptors: dict[str, Tensor]
    pooled: Float[Tensor, "n c"]
    sources: tuple[str, ...]
    model: str
    weights_hash: str

    def __repr__(self) -> str:
        held = [*self.descriptors.items(), ("pooled", self.pooled)]
        sizes = dict.fromkeys(f"{name} {tuple(value.shape[1:])}" for name, value in held)
        return f"Embeddings({counted(len(self), 'clip')} by {self.model}: {', '.join(sizes)})"

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Embeddings]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Embeddings):
            return NotImplemented
        names = ("sources", "model", "weights_hash")
        mine, theirs = self._tensors(), other._tensors()
        return (
            all(getattr(self, name) == getattr(other, name) for name in names)
            and mine.keys() == theirs.keys()
            and all(tensor.equal(theirs[name]) for name, tensor in mine.items())
        )

    def __hash__(self) -> int:
        return hash((self.sources, self.model, self.weights_hash))

    def __getitem__(self, index: Index) -> Embeddings:
        """Some of the clips; of one number, embeddings of that one clip.

        Raises:
            IndexError: A number is out of range.
            ArgumentError: It is no index of clips.
        """
        chosen = _places(index, len(self))
        places = torch.tensor(chosen, dtype=torch.long, device="cpu")
        return Embeddings(
            take(self.descriptors, places),
            self.pooled[places],
            tuple(self.sources[i] for i in chosen),
            self.model,
            self.weights_hash,
        )

    def numpy(self) -> NDArray[np.float32]:
        """``pooled`` as an array of its own, (N, C); a descriptor is ``descriptors[name].numpy()``."""
        found: NDArray[np.float32] = self.pooled.numpy().copy()
        return found

    @classmethod
    @apart
    def concatenate(cls, parts: Iterable[Embeddings]) -> Embeddings:
        """The clips of all parts in order.

        Raises:
            ArgumentError: There is no part, one is something else, or they are not alike: of one model, all
                with people or all without.
        """
        given = list(parts)
        if not given:
            raise ArgumentError("concatenate was given no embeddings; give at least one")
        for part in given:
            if not isinstance(part, Embeddings):
                raise ArgumentError(f"concatenate was given {kind(part)}; expected Embeddings")
            check_same((given[0].model, given[0].weights_hash), part)
            check_people(given[0].descriptors, part.descriptors)
        return cls(
            concatenate([part.descriptors for part in given]),
            torch.cat([part.pooled for part in given]),
            tuple(source for part in given for source in part.sources),
            given[0].model,
            given[0].weights_hash,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them as one safetensors file, with the model's name and hash.

        Raises:
            SaveError: It could not be written; a file that was there before is untouched.
        """
        path = path_text("the file of embeddings", path, "a path")
        record = {
            "sources": list(self.sources),
            "model": self.model,
            "weights_hash": self.weights_hash,
        }
        checkpoint.save(path, self._tensors(), kind="embeddings", record=record)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Embeddings:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: The file is missing, damaged, or holds no embeddings.
        """
        path = path_text("the embeddings", path, "the path of their file")
        found = checkpoint.load(path, kind="embeddings")
        record, tensors = found.record, dict(found.tensors)
        try:
            pooled = tensors.pop("pooled")
            descriptors = {key.removeprefix("descriptor."): t for key, t in tensors.items()}
            sources = texts_of(record["sources"], "sources")
            model, digest = texts_of([record["model"], record["weights_hash"]], "model")
            sizes = {len(t) if t.ndim else -1 for t in (pooled, *descriptors.values())}
            if sizes != {len(sources)} or not descriptors or pooled.ndim != 2:
                raise ValueError("its tensors do not match its sources")
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{Path(path).name!r} holds no sound embeddings: {error}; embed the clips again"
            ) from error
        return cls(descriptors, pooled, sources, model, digest)

    def check(self, model: Model) -> None:
        """Refuse to be used with another model than the one that made them.

        Raises:
            ArgumentError: The name or the hash of the weights differs.
        """
        check_same((model.id, model.weights_hash), self)

    def _tensors(self) -> dict[str, Tensor]:
        named = {f"descriptor.{name}": value for name, value in self.descriptors.items()}
        return {**named, "pooled": self.pooled}


def check_same(made_by: tuple[str, str], found: Any) -> None:
    """Refuse embeddings, or a bank, of another model; ``made_by`` is a name and the hash of weights.

    Raises:
        ArgumentError: They are of another.
    """
    if made_by != (found.model, found.weights_hash):
        raise ArgumentError(
            f"embeddings of model {found.model!r} (weights {found.weights_hash[:12]}) go with that model "
            f"alone, and here is {made_by[0]!r} (weights {made_by[1][:12]}); embed the clips again"
        )


def check_people(one: Descriptors, other: Descriptors) -> None:
    """Refuse to put clips side by side of which some were embedded with people, and some without.

    Raises:
        ArgumentError: They were.
    """
    if ("people" in one) != ("people" in other):
        raise ArgumentError(
            "some clips were embedded with people and others without (load_model(pose=False)); embed all "
            "of them alike"
        )


def embed(  # noqa: D417  # it is the method of Model
    self: Model,
    clips: Any,
    *,
    layout: str | None = None,
    workers: int | None = None,
    limits: AnyLimits = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> Embeddings:
    """What the model keeps of clips: computed once, compared as often as you like.

    Args:
        clips: One clip or many, in any of the forms that ``classify`` takes as queries, a generator or a
            folder of clips too; or clips that are decoded already.
        layout: Of arrays, see ``QueryOptions``.
        workers: Clips decoded in parallel.
        limits: Bounds on each file.
        on_clip: Called after each clip with the clip and None, or the error that it gave. With it, clips that
            cannot be read are left out; without it the first one is raised.

    Returns:
        As many as clips could be read, in their order; of one clip, embeddings of length one.

    Raises:
        VideoError: A clip cannot be read and ``on_clip`` is not given, or none could be.
        ArgumentError: They are no clips.
    """
    names: list[str] = []

    def read() -> Iterator[Clip]:
        opened = _opened(self, clips, layout, workers, limits)
        if on_clip is None:
            opened = watched(opened, "embedding")
        for source, clip in opened:
            failed = clip if isinstance(clip, A2M2Error) else None
            if failed is not None and on_clip is None:
                raise failed
            if on_clip is not None:
                on_clip(source, failed)
            if not isinstance(clip, A2M2Error):
                names.append(clip.source)
                yield clip

    coming = read()
    batches = iter(lambda: list(islice(coming, self.batch_size())), [])
    found = list(ahead(self.encode_both, batches, device=self.device))
    if not found:
        raise VideoError("no clip could be read; give at least one sound clip")
    pooled = apart(_unit)([vectors for _, vectors in found])
    descriptors = apart(concatenate)([part for part, _ in found])
    return Embeddings(descriptors, pooled, tuple(names), self.id, self.weights_hash)


def _unit(vectors: list[Tensor]) -> Tensor:
    return functional.normalize(torch.cat(vectors), dim=-1)


def _opened(
    model: Model, clips: Any, layout: str | None, workers: int | None, limits: AnyLimits
) -> Iterator[tuple[Any, Clip | A2M2Error]]:
    """Each clip and what was read of it; decoded ones as they are."""
    decoded = [clips] if isinstance(clips, Clip) else clips
    if isinstance(decoded, (list, tuple)) and decoded and isinstance(decoded[0], Clip):
        return ((clip.source, clip) for clip in decoded)
    waiting: list[Any] = []

    def noted() -> Iterator[Any]:
        for source in given_queries(clips, "clips", layout=layout)[1]:
            waiting.append(source)
            yield source

    found = read_clips(noted(), model.preprocess, workers=workers, limits=limits)
    return ((waiting.pop(0), clip) for clip in found)


def _places(index: Any, count: int) -> list[int]:
    """Numbers of clips, 0 and up, from any index."""
    import numpy as np

    numbers: Any = index.cpu().numpy() if isinstance(index, Tensor) else index
    if not isinstance(index, (int, slice)):
        with suppress(ValueError):  # rows of unequal length, which are refused below
            numbers = np.asarray(numbers)
            numbers = numbers if numbers.size else numbers.astype(int)
    is_mask = isinstance(numbers, np.ndarray) and numbers.dtype.kind == "b"
    if is_mask and numbers.shape != (count,):
        raise ArgumentError(
            f"an index of clips has {numbers.size} truth values; expected {count}, one a clip"
        )
    try:
        found = np.atleast_1d(np.arange(count)[numbers])
    except IndexError as error:
        if "only integers" in str(error) or "arrays used as indices" in str(error):
            raise ArgumentError(f"an index of clips is {kind(index)}; expected numbers") from error
        raise IndexError(f"{index!r:.60} is out of range: there are {count} clips") from error
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"an index of clips is {kind(index)}; expected numbers") from error
    if found.ndim != 1:
        raise ArgumentError(f"an index of clips has {found.ndim} axes; expected one")
    return [int(i) for i in found]
