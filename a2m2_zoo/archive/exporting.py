"""Hits for annotation tools, in the formats that their documentation gives.

- Label Studio: a list of tasks with pre-annotations, ``timelinelabels`` over frames counted from 1
  (labelstud.io/guide/predictions, /tags/timelinelabels).
- CVAT: a folder with a file in Datumaro's JSON for each video, tags on its frames, which CVAT imports as
  "Datumaro 1.0" (docs.cvat.ai, format-datumaro).
- FiftyOne: a folder with ``data.json`` and ``labels.json``, a FiftyOneTemporalDetectionDataset
  (docs.voxel51.com, user_guide/import_datasets). Its importer finds ``data.json`` only where it is named.

What label-studio-sdk 2.1 and datumaro 1.13 make of the first two was looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.files import new_folder, write_atomically
from a2m2_zoo.archive.hits import Hit
from a2m2_zoo.errors import ArgumentError

FORMATS = ("label-studio", "cvat", "fiftyone")
_RATE = 25.0  # frames a second where a video says nothing
_MODEL = "a2m2"


def export(hits: Iterable[Hit], path: str | os.PathLike[str], *, form: str) -> Path:
    """Write hits for an annotation tool.

    Args:
        hits: What to write.
        path: A file for Label Studio, a new folder for CVAT and FiftyOne.
        form: One of ``FORMATS``.

    Returns:
        ``path``.

    Raises:
        ArgumentError: An unknown form.
        SaveError: It cannot be written.
    """
    places = list(hits)
    if form not in FORMATS:
        raise ArgumentError(f"the format is {form!r}; expected one of {', '.join(FORMATS)}")
    if form == "label-studio":
        return write_atomically(path, lambda file: _write(file, label_studio(places)))
    files = cvat(places) if form == "cvat" else fiftyone(places)
    with new_folder(path) as folder:
        for name, content in files.items():
            _write(folder / name, content)
    return Path(path)


def label_studio(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """A task for each video.

    The labelling needs ``<Video name="video" value="$video">`` and
    ``<TimelineLabels name="action" toName="video">``.
    """
    tasks = []
    for uri, some in _by_video(hits).items():
        result = [
            {
                "id": f"{hit.key[:8]}-{number}",
                "from_name": "action",
                "to_name": "video",
                "type": "timelinelabels",
                "score": hit.score,
                "value": {
                    "ranges": [{"start": 1 + _frames(hit)[0], "end": 1 + _frames(hit)[1]}],
                    "timelinelabels": [hit.label],
                },
            }
            for number, hit in enumerate(some)
        ]
        best = max(hit.score for hit in some)
        tasks.append(
            {
                "data": {"video": uri},
                "predictions": [{"model_version": _MODEL, "score": best, "result": result}],
            }
        )
    return tasks


def cvat(hits: Sequence[Hit]) -> dict[str, Any]:
    """File name → the tags of one video's frames, to be imported into the task of that video."""
    labels = sorted({hit.label for hit in hits})
    files: dict[str, Any] = {}
    for uri, some in _by_video(hits).items():
        tags: dict[int, dict[str, float]] = {}
        for hit in some:
            first, last = _frames(hit)
            for frame in range(first, last + 1):
                scores = tags.setdefault(frame, {})
                scores[hit.label] = max(hit.score, scores.get(hit.label, 0.0))
        items = [
            {
                "id": f"frame_{frame:06d}",
                "annotations": [
                    {
                        "id": number,
                        "type": "label",
                        "attributes": {"score": score},
                        "group": 0,
                        "label_id": labels.index(label),
                    }
                    for number, (label, score) in enumerate(sorted(scores.items()))
                ],
                "attr": {"frame": frame},
            }
            for frame, scores in sorted(tags.items())
        ]
        names = [{"name": label, "parent": "", "attributes": ["score"]} for label in labels]
        files[f"{_name(uri)}.json"] = {
            "info": {"video": uri},
            "categories": {"label": {"labels": names, "attributes": []}},
            "items": items,
        }
    return files


def fiftyone(hits: Sequence[Hit]) -> dict[str, Any]:
    """``data.json``, where each video lies, and ``labels.json``, when something happens in it."""
    videos = _by_video(hits)
    labels = {
        _name(uri): [
            {
                "label": hit.label,
                "timestamps": [hit.start, hit.end],
                "confidence": hit.score,
            }
            for hit in some
        ]
        for uri, some in videos.items()
    }
    return {"data.json": {_name(uri): uri for uri in videos}, "labels.json": {"labels": labels}}


def _by_video(hits: Sequence[Hit]) -> dict[str, list[Hit]]:
    videos: dict[str, list[Hit]] = {}
    for hit in hits:
        videos.setdefault(hit.uri, []).append(hit)
    return videos


def _frames(hit: Hit) -> tuple[int, int]:
    """First and last frame, counted from 0."""
    rate = hit.rate or _RATE
    first = round(hit.start * rate)
    return first, max(first, round(hit.end * rate) - 1)


def _name(uri: str) -> str:
    """A video's name with enough of a hash that no two are the same."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in Path(uri).stem)
    return f"{stem[:60]}-{hashlib.sha256(os.fsencode(uri)).hexdigest()[:8]}"


def _write(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
