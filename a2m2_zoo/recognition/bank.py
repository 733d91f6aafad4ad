"""A support bank: labelled clips, encoded once, kept in one file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from a2m2_zoo._utils.arguments import kind, path_text, remote
from a2m2_zoo._utils.files import exists, locked
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo._utils.remote.reading import local_copy
from a2m2_zoo._utils.typing import Int, UInt8
from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import ahead, apart
from a2m2_zoo.data.index import check_class_names
from a2m2_zoo.errors import ArgumentError, BankError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Descriptors, concatenate
from a2m2_zoo.recognition.bank_record import (
    check_fits,
    clock,
    durations_of,
    labels_of,
    shapes_of,
    texts_of,
)
from a2m2_zoo.recognition.thumbnails import thumbnails_of

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.recognition.named import AnyModel
    from a2m2_zoo.recognition.similarity import Neighbour
    from a2m2_zoo.video import Clip


class UncheckedBankWarning(UserWarning):
    """A bank has no hash of its content, for it was written by an earlier version."""


@dataclass(frozen=True, eq=False, repr=False)
class SupportBank:
    """Encoded supports. Immutable: adding and removing give a new bank.

    Attributes:
        class_names: The classes, sorted.
        labels: Index into ``class_names`` for each of the N supports.
        descriptors: The model's descriptors by name, the support is the first axis of each.
        thumbnails: (N, T, h, w, 3) small pictures of the frames that were looked at.
        sources: File name of each support.
        model: Name of the model that encoded them.
        weights_hash: Hash of that model's weights.
        durations: Seconds of each support, None where a clip has no clock; empty in banks of versions that
            did not keep them.
        shapes: Height and width in pixels of each support's whole pictures, as they were before the crop
            and as people were looked for in them; empty in banks of versions that did not keep them.
        opened_as: What opens the model, see ``Model``; its name does where this is empty.
    """

    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    descriptors: dict[str, Tensor]
    thumbnails: UInt8[Tensor, "n t h w 3"]
    sources: tuple[str, ...]
    model: str
    weights_hash: str
    durations: tuple[float | None, ...] = ()
    shapes: tuple[tuple[int, int], ...] = ()
    opened_as: str = ""

    def __repr__(self) -> str:
        counts = ", ".join(f"{name!r}: {count}" for name, count in self.counts().items())
        shown = counts if len(counts) <= 200 else f"{counts[:200]}..."
        return f"SupportBank({counted(len(self.labels), 'support')} of {self.model}: {{{shown}}})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SupportBank):
            return NotImplemented
        names = ("class_names", "labels", "sources", "model", "weights_hash", "durations", "shapes")
        mine, theirs = ({**bank.descriptors, "": bank.thumbnails} for bank in (self, other))
        return (
            all(getattr(self, name) == getattr(other, name) for name in names)
            and mine.keys() == theirs.keys()
            and all(tensor.equal(theirs[name]) for name, tensor in mine.items())
        )

    def __hash__(self) -> int:
        return hash((self.class_names, self.labels, self.sources, self.model, self.weights_hash))

    @classmethod
    def build(cls, clips: Iterable[tuple[str, Clip]], model: Model) -> SupportBank:
        """Encode (class name, clip) pairs with ``model`` as they come; no clip's frames are kept.

        Raises:
            BankError: There is no clip.
            EpisodeError: Two class names differ only in case or spacing.
        """
        given: list[str] = []
        sources: list[str] = []
        durations: list[float | None] = []
        shapes: list[tuple[int, int]] = []
        thumbnails: list[Tensor] = []
        parts: list[Descriptors] = []

        def encoded(batch: list[tuple[str, Clip]]) -> tuple[list[Tensor], Descriptors]:
            some = [clip for _, clip in batch]
            return [torch.from_numpy(thumbnails_of(clip)) for clip in some], model.encode(some)

        def noted() -> Iterator[list[tuple[str, Clip]]]:
            coming = iter(clips)
            while batch := list(islice(coming, model.batch_size())):
                given.extend(name for name, _ in batch)
                sources.extend(clip.source for _, clip in batch)
                durations.extend(clock(clip.seconds) for _, clip in batch)
                shapes.extend(clip.wide.shape[1:3] for _, clip in batch)
                yield batch

        for pictures, descriptors in ahead(encoded, noted(), device=model.device):
            thumbnails += pictures
            parts.append(descriptors)
        if not given:
            raise BankError("there is no support clip; give at least one")
        names = tuple(sorted(set(given)))
        check_class_names(names)
        return cls(
            class_names=names,
            labels=tuple(names.index(name) for name in given),
            descriptors=apart(concatenate)(parts),
            thumbnails=apart(torch.stack)(thumbnails),
            sources=tuple(sources),
            model=model.id,
            weights_hash=model.weights_hash,
            durations=tuple(durations),
            shapes=tuple(shapes),
            opened_as=model.opened_as,
        )

    @property
    def label_tensor(self) -> Int[Tensor, " n"]:
        """The labels as a tensor."""
        return torch.tensor(self.labels, device="cpu")

    def counts(self) -> dict[str, int]:
        """Number of supports per class."""
        return {name: self.labels.count(i) for i, name in enumerate(self.class_names)}

    def check(self, model: Model) -> None:
        """Refuse to be used with another model than the one that encoded the supports.

        Raises:
            BankError: The name or the hash of the weights differs.
        """
        if (self.model, self.weights_hash) != (model.id, model.weights_hash):
            raise BankError(
                f"the bank was made by model {self.model!r} (weights {self.weights_hash[:12]}) and "
                f"the model in use is {model.id!r} (weights {model.weights_hash[:12]}); use that model "
                "or create the bank again from the clips"
            )

    @apart
    def add(self, other: SupportBank) -> SupportBank:
        """The supports of both banks; classes of the same name are joined.

        Raises:
            ArgumentError: ``other`` is no bank.
            BankError: The banks were made by different models, or one of them without people.
            EpisodeError: Two class names differ only in case or spacing.
        """
        if not isinstance(other, SupportBank):
            raise ArgumentError(
                f"add was given {kind(other)}; expected a SupportBank: bank.add(build_bank(clips, "
                "model=model)), with the clips in a folder or a mapping {class: [clips]}"
            )
        if (self.model, self.weights_hash) != (other.model, other.weights_hash):
            raise BankError(
                f"a bank of model {other.model!r} cannot be added to one of model {self.model!r}"
            )
        if self.descriptors.keys() != other.descriptors.keys():
            raise BankError(
                "one bank was made with people, the other without (pose=False): make both alike"
            )
        names = tuple(sorted({*self.class_names, *other.class_names}))
        check_class_names(names)
        labels = [names.index(bank.class_names[i]) for bank in (self, other) for i in bank.labels]
        return replace(
            self,
            class_names=names,
            labels=tuple(labels),
            descriptors=concatenate([self.descriptors, other.descriptors]),
            thumbnails=torch.cat([self.thumbnails, other.thumbnails]),
            sources=self.sources + other.sources,
            durations=self.clock() + other.clock(),
            shapes=self.shapes + other.shapes if self.shapes and other.shapes else (),
        )

    @apart
    def remove(self, names: str | Iterable[str]) -> SupportBank:
        """The bank without the class, or the classes, ``names``.

        Raises:
            ArgumentError: ``names`` are no names.
            BankError: A class is not in the bank, or none would be left.
        """
        given: Any = names
        if isinstance(given, bytes) or not isinstance(given, Iterable):
            raise ArgumentError(f"remove was given {kind(names)}; expected names of classes")
        names = [names] if isinstance(names, str) else list(names)
        if unexpected := [name for name in names if name not in self.class_names]:
            raise BankError(
                f"the bank has no class {', '.join(sorted(map(repr, unexpected)))}; it has "
                f"{', '.join(self.class_names)}"
            )
        left = tuple(name for name in self.class_names if name not in set(names))
        if not left:
            raise BankError("every class would be removed; delete the bank's file instead")
        from a2m2_zoo.recognition.bank_changes import kept  # which knows banks

        return kept(
            self, [n for n, label in enumerate(self.labels) if self.class_names[label] in left]
        )

    def search(
        self, clip: Any, k: int = 5, *, model: AnyModel = None, layout: str | None = None
    ) -> list[Neighbour]:
        """The supports that a clip is most like, see ``similarity.search``."""
        from a2m2_zoo.recognition.similarity import search  # which knows banks

        return search(self, clip, k, model=model, layout=layout)

    def clock(self) -> tuple[float | None, ...]:
        """Durations, one for each support."""
        return self.durations or (None,) * len(self.labels)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bank as one safetensors file, at an address (s3://, gs://, hf://) too.

        Raises:
            SaveError: It could not be written; a bank that was there before is untouched.
        """
        path = place(path_text("the bank's file", path, "a path"))
        tensors = {f"descriptor.{name}": value for name, value in self.descriptors.items()}
        tensors["thumbnails"] = self.thumbnails
        record = {
            "class_names": list(self.class_names),
            "labels": list(self.labels),
            "sources": list(self.sources),
            "model": self.model,
            "weights_hash": self.weights_hash,
            "durations": list(self.durations),
            "shapes": list(map(list, self.shapes)),
            "opened_as": self.opened_as,
        }
        checkpoint.save(path, tensors, kind="bank", record=record)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SupportBank:
        """Read a bank that ``save`` wrote.

        The header's hash is compared with the content. Banks of versions before there was one are read with
        an `UncheckedBankWarning`; saved again they have one.

        Raises:
            BankError: The file is missing, damaged, or no bank.
            RemoteError: It lies at an address and cannot be had.
        """
        path = place(path_text("the bank", path, "the path of its file"))
        if (hint := remote(str(path))) and not isinstance(path, RemotePath) and not exists(path):
            raise BankError(f"the bank is {str(path)!r}: {hint}")
        try:
            with local_copy(path, most=checkpoint.MAX_BYTES) as file:
                found = checkpoint.load(file, kind="bank")
            bank = cls._parsed(found.record, found.tensors)
        except CheckpointError as error:
            raise BankError(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise BankError(
                f"{path.name!r} is not a sound support bank: {error}; create it again"
            ) from error
        if not found.summed:
            warnings.warn(
                f"the bank {path.name!r} is of an earlier version and has no hash of its content: "
                "damage would not be noticed; `a2m2 bank add` or create it again",
                UncheckedBankWarning,
                stacklevel=2,
            )
        return bank

    @classmethod
    def update(
        cls,
        path: str | os.PathLike[str],
        change: Callable[[SupportBank], SupportBank],
        *,
        tell: Callable[[str], object] = lambda line: None,
    ) -> SupportBank:
        """Read a bank, change it and write it, while every other process that does the same waits.

        Args:
            path: The bank's file.
            change: Gets the bank as it is in the file, gives it as it is to be.
            tell: Called with one line if another process must be waited for.

        Returns:
            The bank that is in the file now.

        Raises:
            BankError: The file is missing, damaged, or no bank.
            ArgumentError: ``change`` gave no bank; the file stays as it is.
            SaveError: It could not be written, or another process does not let go of it.
        """
        path = place(path_text("the bank", path, "the path of its file"))
        if not exists(path):
            cls.load(path)  # which says so
        with locked(path, tell=tell):
            after = change(cls.load(path))
            if not isinstance(after, cls):
                raise ArgumentError(
                    f"change gave {kind(after)}; expected the bank that is to be kept"
                )
            after.save(path)
        return after

    @classmethod
    def _parsed(cls, record: dict[str, Any], tensors: dict[str, Tensor]) -> SupportBank:
        bank = cls(
            class_names=texts_of(record["class_names"], "class names"),
            labels=labels_of(record["labels"]),
            descriptors={
                key.removeprefix("descriptor."): value
                for key, value in tensors.items()
                if key.startswith("descriptor.")
            },
            thumbnails=tensors["thumbnails"],
            sources=texts_of(record["sources"], "sources"),
            model=texts_of([record["model"]], "model")[0],
            weights_hash=texts_of([record["weights_hash"]], "weights_hash")[0],
            durations=durations_of(record.get("durations", [])),
            shapes=shapes_of(record.get("shapes", [])),
            opened_as=texts_of([record.get("opened_as", "")], "opened_as")[0],
        )
        check_fits(bank)
        return bank
