"""Few-shot video action recognition: a handful of labelled clips, one query clip, the action.

>>> from a2m2_zoo import build_episode
>>> episode = build_episode({"wave": ["a.mp4", "b.mp4"], "jump": ["c.mp4", "d.mp4"]}, way=2)
>>> episode.class_names
('jump', 'wave')

The public names load on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from a2m2_zoo._version import __version__

if TYPE_CHECKING:
    from a2m2_zoo._utils.cores import set_threads
    from a2m2_zoo.api import build_bank, classify
    from a2m2_zoo.hub.manifest import list_models
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.embeddings import Embeddings
    from a2m2_zoo.recognition.episode import Episode, Prediction, build_episode
    from a2m2_zoo.recognition.prediction import to_frame
    from a2m2_zoo.recognition.recognizer import Recognizer
    from a2m2_zoo.report.explain import explain
    from a2m2_zoo.spotting import Segment, Stream
    from a2m2_zoo.spotting.spot import spot
    from a2m2_zoo.zoo.load import load_model

_HOMES = {
    "set_threads": "a2m2_zoo._utils.cores",
    "load_model": "a2m2_zoo.zoo.load",
    "classify": "a2m2_zoo.api",
    "build_bank": "a2m2_zoo.api",
    "build_episode": "a2m2_zoo.recognition.episode",
    "Episode": "a2m2_zoo.recognition.episode",
    "Prediction": "a2m2_zoo.recognition.episode",
    "Recognizer": "a2m2_zoo.recognition.recognizer",
    "Embeddings": "a2m2_zoo.recognition.embeddings",
    "SupportBank": "a2m2_zoo.recognition.bank",
    "to_frame": "a2m2_zoo.recognition.prediction",
    "explain": "a2m2_zoo.report.explain",
    "list_models": "a2m2_zoo.hub.manifest",
    "spot": "a2m2_zoo.spotting",
    "Stream": "a2m2_zoo.spotting",
    "Segment": "a2m2_zoo.spotting",
}

__all__ = [
    "Embeddings",
    "Episode",
    "Prediction",
    "Recognizer",
    "Segment",
    "Stream",
    "SupportBank",
    "__version__",
    "build_bank",
    "build_episode",
    "classify",
    "explain",
    "list_models",
    "load_model",
    "set_threads",
    "spot",
    "to_frame",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'a2m2_zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
