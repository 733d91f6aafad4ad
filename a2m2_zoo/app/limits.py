"""What the page may cost the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video import Limits

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class AppLimits:
    """Bounds on one running page.

    Attributes:
        upload_mb: Largest file, in megabytes.
        held_mb: Most that all files of all visitors take on disk together.
        classes: Most classes of one visitor.
        clips: Most support clips of one visitor.
        sessions: Most visitors who are remembered; the one who was away longest is forgotten first.
        minutes: Files and visitors that nobody touched for so long are removed.
        waiting: Most requests that wait for their turn.
        video_minutes: Longest video that is searched.
        video: Bounds on each file that is decoded.

    Raises:
        ArgumentError: A number is not above 0.
    """

    upload_mb: int = 200
    held_mb: int = 2000
    classes: int = 50
    clips: int = 100
    sessions: int = 20
    minutes: float = 60.0
    waiting: int = 16
    video_minutes: float = 30.0
    video: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "video" and not value > 0:
                raise ArgumentError(f"{item.name} is {value!r}; expected a number above 0")
