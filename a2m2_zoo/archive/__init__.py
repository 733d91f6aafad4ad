"""Videos encoded once and asked for ever: an archive in LanceDB tables (extra ``archive``).

>>> from a2m2_zoo.archive import Cutting
>>> Cutting().window
2.0
"""

from __future__ import annotations

from a2m2_zoo.archive.archive import Archive
from a2m2_zoo.archive.cutting import Cutting
from a2m2_zoo.archive.encoding import clip_rows
from a2m2_zoo.archive.filling import Changes
from a2m2_zoo.archive.hits import Hit
from a2m2_zoo.archive.info import Info
from a2m2_zoo.archive.rows import ClipRows, Window
from a2m2_zoo.archive.writing import Writer

__all__ = [
    "Archive",
    "Changes",
    "ClipRows",
    "Cutting",
    "Hit",
    "Info",
    "Window",
    "Writer",
    "clip_rows",
]
