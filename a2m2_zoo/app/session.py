"""One visitor of the page: the classes collected so far, and the files that go when the visitor goes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo.app.engine import Answer, Engine, Spotted
from a2m2_zoo.app.store import ANYONE, path_of
from a2m2_zoo.data.index import check_class_names
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.bank_changes import also_in
from a2m2_zoo.recognition.recognizer import Recognizer

if TYPE_CHECKING:
    from a2m2_zoo.archive import Hit

_NAME = 60
_TOLD = 3  # clips that were left out, of which it is said why
#: What is said to a visitor who was forgotten.
LOST = "this page was left or unused for long, and its clips are deleted; reload it"


class Session:
    """What one visitor has. Its methods say in a line what they did, or raise.

    Args:
        engine: What computes.
        key: The session's name: its visitor, a dot, the rest.
    """

    def __init__(self, engine: Engine, key: str = f"{ANYONE}.") -> None:
        self._engine, self._key = engine, key
        self._folder = engine.store.open_folder(key)
        self._uploads: set[Path] = set()
        self._drawn = False
        self._offered = 0
        self._made_files = 0
        self._made: Recognizer | None = None  # of the classes as they are
        self.bank = engine.start
        self.hits: list[Hit] = []  # what was found last in the archive
        self.lock = threading.RLock()
        self.used = time.monotonic()

    @property
    def bank(self) -> SupportBank | None:
        """The classes so far; None where there is none."""
        return self._bank

    @bank.setter
    def bank(self, bank: SupportBank | None) -> None:
        self._bank, self._made = bank, None

    def add(self, name: object, files: object) -> str:
        """Add clips to a class.

        Args:
            name: The class.
            files: What the page says of the files it received; they are deleted once they were read, and not
                by a call that is refused before.

        Raises:
            ArgumentError: The name or the clips are missing or too many.
            EpisodeError: The name can be mistaken for another.
            VideoError: No clip can be read.
        """
        label = " ".join(str(name or "").split())
        if not label or len(label) > _NAME:
            raise ArgumentError(f"the class needs a name of 1 to {_NAME} letters; type one above")
        check_class_names(dict.fromkeys((*(self.bank.class_names if self.bank else ()), label)))
        found = [self._look(file) for file in _listed(files)]
        paths = [path for path in found if isinstance(path, Path)]
        errors = [error for error in found if isinstance(error, A2M2Error)]
        if not paths:
            if errors:
                raise errors[0]
            raise ArgumentError(f"there is no clip for {label!r}; drop one or more, then add")
        self._room(label, len(paths))
        try:
            made, unread = self._engine.encode(label, paths)
            errors += unread
            if made is None:
                raise unread[0]
            known_in = also_in(made, self.bank) if self.bank else []
            self.bank = self.bank.add(made) if self.bank else made
        finally:
            self._forget(paths)
        self._drawn = False
        said = f"Added {_count(len(made.labels), 'clip')} to {label}."
        if errors:
            why = [self._engine.plain(error) for error in errors[:_TOLD]]
            why += [f"and {len(errors) - _TOLD} more"] * (len(errors) > _TOLD)
            said += f" Left out {_count(len(errors), 'clip')}: {'; '.join(why)}"
        if known_in:
            said += (
                f" The same pictures are in {', '.join(known_in)}, too, which makes answers worse: "
                "remove one of these classes and add it again without them."
            )
        return said

    def holds(self, files: object) -> bool:
        """Whether any of these files is still there to be used; ``files`` as for ``add``."""
        store, key = self._engine.store, self._key
        return any(store.may_name(path_of(file), key) for file in _listed(files))

    def remove(self, name: str) -> str:
        """Take a class away.

        Raises:
            BankError: There is no such class.
        """
        if self.bank is not None and self.bank.class_names == (name,):
            self.bank = None
        elif self.bank is not None:
            self.bank = self.bank.remove([name])
        return f"Removed {name}."

    def clear(self) -> str:
        """Take all classes away."""
        self.bank, self._drawn = None, False
        return "Removed all classes."

    def load(self, given: object) -> str:
        """Take the classes of a bank file in place of those that are there.

        Raises:
            BankError: It is broken or of another model.
        """
        path = self._take(given)
        try:
            self.bank = self._engine.load_bank(path)
        finally:
            self._forget([path])
        self._drawn = False
        return f"Loaded {_count(len(self.bank.class_names), 'class')} from {path.name}."

    def save(self) -> Path | None:
        """The classes as a bank file for the visitor; None where there is none."""
        if self.bank is None:
            return None
        return self.bank.save(self._folder / "bank.safetensors")

    def draw(self) -> tuple[Path, str, str]:
        """Begin with generated clips; each call asks about the next unseen one.

        Returns:
            An unseen clip, its action, and a line that says what was done.

        Raises:
            ArgumentError: The visitor has classes of their own, which would be lost.
        """
        self._use_drawn()
        queries = self._engine.drawn().queries
        clip, truth = queries[self._offered % len(queries)]
        self._offered += 1
        return (
            self._copy(clip),
            truth,
            "These clips were drawn by a2m2_zoo: two of each action, and one unseen.",
        )

    def draw_long_video(self) -> tuple[Path, str]:
        """The generated classes, and a longer video in which they happen.

        Raises:
            ArgumentError: As for ``draw``.
        """
        self._use_drawn()
        return (
            self._copy(self._engine.drawn().long_video),
            "A drawn video in which several actions follow each other.",
        )

    def classify(self, given: object, reject_below: object = 0.0) -> Answer:
        """Name the action of a clip.

        Args:
            given: What the page says of the clip, or a path of this program's own.
            reject_below: From 0 to 1, see ``a2m2_zoo.classify``.

        Raises:
            A2M2Error: There are too few classes, or the clip cannot be read.
        """
        path = self._clip(given)
        recognizer = self._recognizer()
        return self._engine.classify(
            path,
            recognizer,
            reject_below=_share(reject_below),
            picture=self.new_file("why", ".png"),
        )

    def spot(self, given: object, reject_below: object = None) -> Spotted:
        """Find when the classes happen in a video; arguments and errors as of ``classify``."""
        path = self._clip(given)
        bank = self._classes()
        least = None if reject_below is None else _share(reject_below)
        picture = self.new_file("timeline", ".png")
        return self._engine.spot(path, bank, reject_below=least, picture=picture)

    def close(self) -> None:
        """Delete everything that the visitor left."""
        with self.lock:
            self._forget(list(self._uploads))
            self._engine.store.close_folder(self._folder)
            self.bank = None

    def _take(self, given: object) -> Path:
        path = self._engine.store.claim(given, self._key)
        self._uploads.add(path)
        return path

    def _look(self, given: object) -> Path | A2M2Error:
        """As ``_take``; the error for a file that is gone."""
        try:
            return self._take(given)
        except ArgumentError as error:
            return error

    def _forget(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._engine.store.forget(path)
            self._uploads.discard(path)

    def _clip(self, given: object) -> Path:
        if not given:
            raise ArgumentError("there is no clip yet; drop one first")
        drawn = self._engine.drawn() if self._drawn else None
        if drawn and isinstance(given, dict):
            # The browser gives back a copy of a drawn clip; it is not the visitor's to delete.
            for own in (*(path for path, _ in drawn.queries), drawn.long_video):
                if Path(str(given.get("path"))).name == own.name:
                    return own
        return given if isinstance(given, Path) else self._take(given)

    def _classes(self) -> SupportBank:
        have = len(self.bank.class_names) if self.bank else 0
        if self.bank is None or have < 2:
            raise EpisodeError(
                f"there {'is' if have == 1 else 'are'} {_count(have, 'class')}; add at least two to choose "
                "from, or try the drawn clips"
            )
        return self.bank

    def _recognizer(self) -> Recognizer:
        """The model bound to the classes, made with the first question about them."""
        bank = self._classes()
        if self._made is None:
            self._made = self._engine.recognizer(bank)
        return self._made

    def _room(self, label: str, more: int) -> None:
        limits, bank = self._engine.limits, self.bank
        names = {label, *(bank.class_names if bank else ())}
        clips = more + (len(bank.labels) if bank else 0)
        if len(names) > limits.classes or clips > limits.clips:
            raise ArgumentError(
                f"that would be {_count(len(names), 'class')} and {_count(clips, 'clip')}; the page takes "
                f"{limits.classes} classes and {limits.clips} clips"
            )

    def _use_drawn(self) -> None:
        if self.bank is not None and not self._drawn:
            raise ArgumentError(
                "you have classes of your own; save them, remove all, then try the drawn clips"
            )
        self.bank, self._drawn = self._engine.drawn().bank, True

    def _copy(self, drawn: Path) -> Path:
        """A copy for the browser, in the visitor's own folder."""
        if not self._folder.is_dir():
            raise ArgumentError(LOST)
        copy = self._folder / drawn.name
        if not copy.exists():
            shutil.copyfile(drawn, copy)
        return copy

    def new_file(self, stem: str, suffix: str) -> Path:
        """Where the page puts what it makes, in place of the one before."""
        # A new name each time, or the browser shows the old one again.
        for old in self._folder.glob(f"{stem}-*{suffix}"):
            old.unlink(missing_ok=True)
        self._made_files += 1
        if not self._folder.is_dir():
            raise ArgumentError(LOST)
        return self._folder / f"{stem}-{self._made_files}{suffix}"


def _listed(files: object) -> list[object]:
    return [file for file in (files if isinstance(files, list) else [files]) if file]


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(f"the threshold is {value!r}; expected 0 to 1")
    return float(value)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "es" if thing.endswith("s") else "s")
