"""The archive: videos encoded once, asked for ever."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.arguments import check_options, real, whole
from a2m2_zoo.archive import verifying
from a2m2_zoo.archive.asking import Asking
from a2m2_zoo.archive.codec import Codec
from a2m2_zoo.archive.cutting import Cutting
from a2m2_zoo.archive.encoding import ClipEncoder
from a2m2_zoo.archive.faults import damaged
from a2m2_zoo.archive.filling import Changes, OnClip, fill
from a2m2_zoo.archive.given import Videos, alone, as_cluster, counted, listed, one_class, paths_of
from a2m2_zoo.archive.hits import Hit
from a2m2_zoo.archive.info import Info, check_model, named_by, new_record
from a2m2_zoo.archive.store import Store, make_store, open_store
from a2m2_zoo.archive.suggesting import suggest
from a2m2_zoo.engine import Engine, Ray
from a2m2_zoo.errors import ArchiveError, ArgumentError
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.supports import READING, AnySupports, resolve_bank
from a2m2_zoo.video import Clip, Limits, read_clip
from a2m2_zoo.video.inputs import AnyLimits, as_limits, is_path, text_of
from a2m2_zoo.zoo.choose import AnyModel, as_model

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Prediction, Source
    from a2m2_zoo.recognition.model import Model

_INDEXED = 100_000  # windows from which on the search has an index


class Archive:
    """Encoded videos in LanceDB tables, in a folder or a bucket. Made by ``Archive.build`` and ``open``.

    One process may write at a time, any number may read meanwhile.

    Args:
        store: The tables.
        model: Its model, where that is at hand; else it is loaded by its name when it is needed.

    Attributes:
        made_by: Name of that model, hash of its weights, and whether people were looked for.
        opened_as: What opens that model, see ``Model``; its name where that does.

    Raises:
        ArchiveError: It was made by another model, or is damaged.
    """

    def __init__(self, store: Store, model: Model | None = None) -> None:
        self._store, self._model = store, model
        try:
            record = store.record
            self._codec = Codec.from_dict(record["codec"])
            self._cutting = Cutting.from_dict(record["cutting"])
            self.made_by = str(record["model"]), str(record["weights"]), bool(record["pose"])
            self.opened_as = str(record.get("opened_as") or record["model"])
        except (KeyError, TypeError, ArgumentError) as error:
            raise damaged(store.uri, "its record cannot be read") from error
        if model is not None:
            self._check(model)

    @classmethod
    def open(cls, uri: str | os.PathLike[str], *, model: AnyModel = None) -> Archive:
        """An archive that is there.

        Args:
            uri: Its folder, or an address that LanceDB takes, such as ``s3://bucket/archive``. Credentials
                come from the environment.
            model: Its model, or where that lies; by default it is loaded by its name.

        Raises:
            ArchiveError: There is none, it is damaged, or was made by another model.
            DependencyError: LanceDB is not installed.
        """
        store = open_store(uri)
        return cls(store, None if model is None else as_model(model))

    @classmethod
    def build(
        cls,
        uri: str | os.PathLike[str],
        videos: Videos,
        *,
        model: AnyModel = None,
        cutting: Cutting | None = None,
        workers: int | None = None,
        limits: AnyLimits = None,
        engine: Engine = None,
        on_clip: OnClip | None = None,
    ) -> tuple[Archive, Changes]:
        """A new archive of videos; one whose making was ended is gone on with.

        Args:
            uri: Where to.
            videos: Files, and folders of clips at any depth.
            model: Encodes; the default model if None.
            cutting: Which stretches of long videos are windows.
            workers: Clips decoded in parallel.
            limits: Bounds on each file.
            engine: ``ray``, or an ``a2m2_zoo.engine.Ray`` that says more: the machines of a cluster read and
                encode the clips, which every machine knows by the same paths; rows are written here.
            on_clip: Called after each clip with its path and None, or why it is not in the archive.

        Raises:
            ArchiveError: Something is there.
            VideoNotFoundError: A path leads nowhere, or to no clip.
            SaveError: It cannot be written; what was written is kept.
        """
        where, bounds = as_cluster(engine), as_limits(limits)
        paths, encoder = listed(videos), as_model(model)
        with alone(uri):
            archive = cls._unfinished(uri, encoder, cutting)
            archive = cls._new(uri, encoder, cutting) if archive is None else archive
            return archive, archive._filled(paths, workers, bounds, where, on_clip)

    @classmethod
    def _new(cls, uri: str | os.PathLike[str], model: Model, cutting: Cutting | None) -> Archive:
        return cls(make_store(uri, new_record(model, cutting or Cutting())), model)

    @classmethod
    def _unfinished(
        cls, uri: str | os.PathLike[str], model: Model, cutting: Cutting | None
    ) -> Archive | None:
        """The archive that is there, if its making was ended and it would be the same."""
        try:
            store = open_store(uri)
        except ArchiveError:
            return None  # ``make_store`` says what is there, if that is in the way
        if not store.record.get("writing"):
            return None
        found = cls(store, model)
        if cutting is not None and cutting != found._cutting:
            raise ArchiveError(
                f"the half-written archive {found.uri!r} cuts videos otherwise ({found._cutting}); give the "
                "same numbers, or remove it"
            )
        return found

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._store.uri

    @property
    def model(self) -> Model:
        """Its model, loaded when it is first needed.

        Raises:
            ArchiveError: Nothing goes by its name, or another model does now.
        """
        if self._model is None:
            from a2m2_zoo.zoo.load import load_model

            with named_by(self):
                found = load_model(self.opened_as, pose=self.made_by[2])
            self._check(found)
            self._model = found
        return self._model

    def __repr__(self) -> str:
        return f"Archive({self.uri!r}, {self._store.count} windows of {self.made_by[0]})"

    def __len__(self) -> int:
        return self._store.count

    def _check(self, model: Model) -> None:
        check_model(self.uri, self.made_by, model)

    def add(
        self,
        videos: Videos,
        *,
        workers: int | None = None,
        limits: AnyLimits = None,
        engine: Engine = None,
        on_clip: OnClip | None = None,
    ) -> Changes:
        """Encode what of the videos is not there yet; clips are known by their content, wherever they lie.

        Args:
            videos: Files, and folders of clips at any depth.
            workers: Clips decoded in parallel.
            limits: Bounds on each file.
            engine: ``ray``, or an ``a2m2_zoo.engine.Ray`` that says more: the machines of a cluster read and
                encode the clips, which every machine knows by the same paths; rows are written here.
            on_clip: Called after each clip with its path and None, or why it is not in the archive.

        Raises:
            VideoNotFoundError: A path leads nowhere, or to no clip.
            SaveError: It cannot be written, or another process does; what was written is kept.
        """
        where, paths = as_cluster(engine), listed(videos)
        with alone(self.uri):
            return self._filled(paths, workers, as_limits(limits), where, on_clip)

    def sync(
        self,
        videos: Videos,
        *,
        workers: int | None = None,
        limits: AnyLimits = None,
        engine: Engine = None,
        on_clip: OnClip | None = None,
    ) -> Changes:
        """``add``, and take out what lay under the same paths and is gone, or has another content now.

        Clips that lie elsewhere stay. A folder that is not there, or holds no clip at all, is an error and
        not an order to remove everything: disks are not always mounted.
        """
        where, roots, paths = as_cluster(engine), paths_of(videos), listed(videos)
        with alone(self.uri):
            return self._filled(paths, workers, as_limits(limits), where, on_clip, roots=roots)

    def _filled(
        self,
        paths: list[Path],
        workers: int | None,
        limits: Limits,
        engine: Ray | None,
        on_clip: OnClip | None,
        *,
        roots: list[Path] | None = None,
    ) -> Changes:
        encoder = ClipEncoder(self.model, self._codec, self._cutting, workers, limits)
        changes = fill(self._store, encoder, paths, engine=engine, on_clip=on_clip, roots=roots)
        if changes.added:
            self._tidy()
        return changes

    def _tidy(self) -> None:
        if self._store.count >= _INDEXED and not self._store.indexed():
            self._store.index()
        self._store.tidy()

    def find(self, supports: AnySupports, *, k: int = 50, **reading: Any) -> list[Hit]:
        """Where the actions of the supports are seen.

        The search brings the windows whose vectors are nearest to the supports'; A² compares these with every
        support; the best are classified by ridge regression between the supports' classes and windows drawn
        from the archive, of which the half that is least like the supports stands for everything else.
        So one class alone can be looked for.

        Args:
            supports: As for ``classify``; one class is enough. A folder of clips without class folders is one
                class, called as the folder is.
            k: Places of each class.
            reading: ``workers`` and ``limits`` of the supports.

        Returns:
            The most probable first; overlapping windows of one video and class are one place.
        """
        return self._asking().find(self.bank(supports, **reading), counted(k))

    def like(self, query: Source | Clip, *, k: int = 50, limits: AnyLimits = None) -> list[Hit]:
        """Windows that are most like one clip.

        Args:
            query: A clip.
            k: How many places.
            limits: Bounds on its file.

        Raises:
            VideoError: It cannot be read.
        """
        spec = self.model.preprocess
        clip = query if isinstance(query, Clip) else read_clip(query, spec, limits=limits)
        return self._asking().like(self.model.encode([clip]), counted(k))

    def suggest(self, supports: AnySupports, *, k: int = 20, **reading: Any) -> list[Hit]:
        """Which windows to label next: the least sure ones, unlike each other. See ``find``."""
        return suggest(self._asking(), self.bank(supports, **reading), counted(k))

    def classify(
        self,
        supports: AnySupports,
        *,
        top_k: int | None = None,
        reject_below: float | None = None,
        **reading: Any,
    ) -> Iterator[Prediction]:
        """The action of every window; no video is decoded.

        Args:
            supports: As for ``a2m2_zoo.classify``.
            top_k: See ``QueryOptions``.
            reject_below: See ``QueryOptions``.
            reading: ``workers`` and ``limits`` of the supports.

        Yields:
            Predictions as of the clips themselves, up to what the descriptors lost; ``query`` is the video,
            with ``#t=START,END`` where the window is part of one.
        """
        top_k = whole("top_k", top_k)
        reject_below = real("reject_below", reject_below, "a probability, 0 to 1", least=0, most=1)
        check_options("classify", reading, READING)
        bank = resolve_bank(supports, model=self.model, **reading)
        recognizer = Recognizer(self.model, bank)
        return self._asking().classify(recognizer, top_k=top_k, reject_below=reject_below)

    def bank(self, supports: AnySupports, **reading: Any) -> SupportBank:
        """Supports of one class or more, encoded by the archive's model."""
        check_options("find", reading, (*READING, "on_clip"))
        given: Any = supports
        if is_path(supports):
            folder = Path(text_of(supports, "the supports"))
            given = one_class(folder) or supports
        bank = resolve_bank(given, model=self.model, **reading)
        bank.check(self.model)
        return bank

    def info(self) -> Info:
        """What it is."""
        clips = self._store.clips()
        name, weights, pose = self.made_by
        return Info(
            uri=self.uri,
            model=name,
            weights_hash=weights,
            pose=pose,
            clips=len(clips),
            windows=sum(facts["windows"] for facts in clips.values()),
            seconds=sum(facts["seconds"] for facts in clips.values()),
            clip_bytes=self._codec.size,
            cutting=self._cutting,
            writing=bool(self._store.record.get("writing")),
        )

    def verify(self, *, on_window: Callable[[int], object] | None = None) -> list[str]:
        """Read all of it; one line for everything that is not as it should be."""
        return verifying.verify(self._store, self._codec, on_window=on_window)

    def compact(self) -> None:
        """Remove what ended runs have left, join small files, renew the index, drop old versions."""
        with alone(self.uri):
            self._store.remove(self._store.unfinished())
            if self._store.count >= _INDEXED:
                self._store.index()
            self._store.tidy()

    def _asking(self) -> Asking:
        return Asking(self._store, self.model, self._codec)
