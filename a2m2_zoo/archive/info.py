"""What an archive is, and which model it is of."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo._version import __version__
from a2m2_zoo.archive.codec import Codec
from a2m2_zoo.archive.cutting import Cutting
from a2m2_zoo.errors import ArchiveError, ArgumentError
from a2m2_zoo.video import Clip
from a2m2_zoo.zoo.choose import asked_for

if TYPE_CHECKING:
    from a2m2_zoo.archive.archive import Archive
    from a2m2_zoo.recognition.model import Model


@dataclass(frozen=True)
class Info:
    """What an archive is.

    Attributes:
        uri: Where it lies.
        model: Name of the model that encoded it.
        weights_hash: Hash of that model's weights.
        pose: Whether people were looked for.
        clips: Clips in it.
        windows: Their windows.
        seconds: Their length together, as far as they have a clock.
        clip_bytes: Bytes of a window's descriptors.
        cutting: How videos are cut.
        writing: Whether a run is at work on it, or was ended before its end.
    """

    uri: str
    model: str
    weights_hash: str
    pose: bool
    clips: int
    windows: int
    seconds: float
    clip_bytes: int
    cutting: Cutting
    writing: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def new_record(model: Model, cutting: Cutting) -> dict[str, Any]:
    """What an archive of a model says of itself when it is begun."""
    shape = (model.preprocess.frames, model.preprocess.size, model.preprocess.size, 3)
    blank = Clip(np.zeros(shape, np.uint8), tuple(range(shape[0])), (), shape[0], "nothing")
    return {
        "model": model.id,
        "weights": model.weights_hash,
        "opened_as": model.opened_as,
        "pose": model.pose,
        "cutting": asdict(cutting),
        "codec": Codec.of(model.encode([blank])).to_dict(),
        "made_by": __version__,
        "writing": True,
    }


def check_model(uri: str, made_by: tuple[str, str, bool], model: Model) -> None:
    """Refuse another model than the one that made an archive.

    Args:
        uri: The archive's.
        made_by: Its model's name, the hash of that one's weights, and whether people were looked for.
        model: In use.

    Raises:
        ArchiveError: It is another.
    """
    if not hasattr(model, "weights_hash"):
        raise ArgumentError(f"model is {kind(model)}; expected what load_model gives")
    name, weights, pose = made_by
    if (name, weights) != (model.id, model.weights_hash):
        raise ArchiveError(
            f"the archive {uri!r} was made by model {name!r} (weights {weights[:12]}) and the model in use "
            f"is {model.id!r} (weights {model.weights_hash[:12]}); use that model, or build an archive with "
            "this one"
        )
    if pose != model.pose:
        how = "with" if pose else "without"
        raise ArchiveError(
            f"the archive {uri!r} was made {how} people (pose={pose}); load the model so, or build an "
            "archive anew"
        )


def named_by(archive: Archive) -> AbstractContextManager[None]:
    """Say that it is an archive which names the model opened here, where that is not found."""
    owner, weights = f"the archive {archive.uri!r}", archive.made_by[1]
    return asked_for(owner, archive.opened_as, weights=weights, error=ArchiveError)
