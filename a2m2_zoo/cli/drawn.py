"""Pictures of why answers are what they are, as `--explain` asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo._utils.files import is_folder
from a2m2_zoo.cli import output
from a2m2_zoo.errors import SaveError, VideoError

if TYPE_CHECKING:
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.recognition.recognizer import Recognizer
    from a2m2_zoo.video import Limits

_LONGEST = 80  # characters of a clip's name in a picture's


@dataclass
class Pictures:
    """Draws answers, up to a number of them.

    Attributes:
        target: The picture, of several ``name-001.png`` and so on; or a folder. None draws nothing.
        folder: Whether it is a folder.
        most: Pictures to draw.
        count: Answers that were to be drawn.
    """

    target: Path | None
    folder: bool
    most: int
    count: int = 0

    @classmethod
    def ready(cls, target: Path | None, *, most: int) -> Pictures:
        """Refuse early what would only fail after the work is done; a folder is made.

        A name without a suffix is a folder's.

        Raises:
            DependencyError: matplotlib is not installed.
            ArgumentError: The picture's format is unknown.
            SaveError: It cannot be written there.
        """
        if target is None:
            return cls(None, False, most)
        from a2m2_zoo.report.picture import check_ready

        folder = is_folder(target) or not target.suffix
        check_ready(target.parent / "why.png" if folder else target)
        if folder:
            try:
                target.mkdir(exist_ok=True)
            except OSError as error:
                raise SaveError(
                    f"cannot make the folder {str(target)!r}: {error.strerror}; name another"
                ) from error
        return cls(target, folder, most)

    def draw(
        self,
        path: Path,
        prediction: Prediction,
        *,
        several: bool,
        recognizer: Recognizer,
        limits: Limits,
    ) -> None:
        """Draw one answer; the clip is read again."""
        if self.target is None:
            return
        self.count += 1
        if self.count > self.most:
            return
        from a2m2_zoo.report.explain import explain
        from a2m2_zoo.video import read_clip

        file = self.target
        if self.folder:
            file = file / f"{self.count:03d}-{path.stem[:_LONGEST]}.png"
        elif several:
            file = file.with_stem(f"{file.stem}-{self.count:03d}")
        try:
            clip = read_clip(path, recognizer.model.preprocess, limits=limits)
        except VideoError as error:
            output.complain(error)
            return
        explain(prediction, clip, recognizer.bank, file)
        output.wrote(file, "picture")

    def close(self) -> None:
        """Say how many were not drawn."""
        if self.count > self.most:
            output.complain(
                f"{self.count - self.most} more answers have no picture; raise --explain-most for them"
            )
