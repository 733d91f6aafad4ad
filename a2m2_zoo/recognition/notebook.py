"""A prediction as a notebook shows it: one piece of HTML that stands alone."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.printable import printable
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.video import Limits, Preprocess, read_clip
from a2m2_zoo.video.png import data_address

if TYPE_CHECKING:
    from a2m2_zoo.recognition.prediction import Prediction

_CLASSES, _FRAMES, _SIDE = 5, 4, 96
_LIMITS = Limits(seconds=3.0)  # nobody waits longer for a picture


def shown(prediction: Prediction) -> str:
    """The label, the most probable classes with bars, and some frames where the clip is a file."""
    name = "unknown" if prediction.rejected else _text(prediction.label)
    sure = f"{prediction.confidence:.0%} sure" if prediction.known is not None else ""
    notes = "".join(f"<div><small>{_text(note)}</small></div>" for note in prediction.warnings)
    rows = "".join(
        f"<tr><td style='text-align:left'>{_text(label)}</td><td>{p:.2f}</td>"
        f"<td style='width:12em'><div style='background:#0a7d5a;height:.8em;width:{100 * p:.1f}%'></div>"
        "</td></tr>"
        for label, p in prediction.top(_CLASSES)
    )
    return (
        f"<div><b>{name}</b> {sure} <small>{_text(prediction.query)}, {_text(prediction.model)}</small>"
        f"{_frames(prediction.query)}<table>{rows}</table>{notes}</div>"
    )


def _frames(query: str) -> str:
    """Frames of the clip in one picture; nothing where it is no file, or is one no more."""
    if not exists(query):
        return ""
    try:
        clip = read_clip(
            query, Preprocess(frames=_FRAMES, size=_SIDE, resize=_SIDE), limits=_LIMITS
        )
    except A2M2Error:  # the answer stands without a picture
        return ""
    strip = np.concatenate(list(clip.frames), axis=1)
    return f"<div><img alt='frames of the clip' src='{data_address(strip)}'></div>"


def _text(value: str) -> str:
    return escape(printable(value))
