"""Writing generated clips as a data set: one folder a class, real video files, a contact sheet."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo._utils.files import folder_to_make, new_folder, write_atomically
from a2m2_zoo._utils.typing import UInt8
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.synthetic.families import program
from a2m2_zoo.synthetic.named import NAMED_ACTIONS
from a2m2_zoo.synthetic.scene import draw_clip, draw_named

_SHEET_ROWS, _SHEET_CLIPS, _SHEET_FRAMES, _SHEET_SIDE = 40, 2, 4, 112
_SHEET_LABEL, _SHEET_GAP = 34, 10  # pixels: from row to row beside the frames, and between clips
_SHEET_INK, _SHEET_SOFT = "#1d2229", "#56606d"


@dataclass(frozen=True)
class _Plan:
    """One class folder: its name, and the class by number or by name."""

    folder: str
    seed: int
    look: dict[str, Any]
    number: int | None = None

    def draw(self, instance: int, frames: int, size: int) -> UInt8[np.ndarray, "t h w 3"]:
        if self.number is None:
            return draw_named(
                self.folder, instance, seed=self.seed, frames=frames, size=size, **self.look
            )
        return draw_clip(self.seed, self.number, instance, frames=frames, size=size, **self.look)


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """What the file of a generated clip is like.

    Attributes:
        frames: Frames of each clip.
        fps: Frames a second.
        size: Side of the frames in pixels, even.

    Raises:
        ArgumentError: A number is out of range.
    """

    frames: int = 32
    fps: int = 16
    size: int = 224

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= 100_000:
            raise ArgumentError(f"frames must be from 1 to 100000; got {self.frames}")
        if self.size % 2 or not 16 <= self.size <= 2048:
            raise ArgumentError(f"size must be even and from 16 to 2048 pixels; got {self.size}")
        if not 1 <= self.fps <= 240:
            raise ArgumentError(f"fps must be from 1 to 240; got {self.fps}")


_USUAL = ClipFormat()


def write_video(path: Path, frames: UInt8[np.ndarray, "t h w 3"], *, fps: int = 16) -> None:
    """Write frames as a file: H.264, or MPEG-4 part 2 where that encoder is missing.

    Args:
        path: File to write; its name decides the container.
        frames: Frames in RGB, height and width even.
        fps: Frames a second.

    Raises:
        ArgumentError: Frames or rate cannot be encoded.
        SaveError: The file could not be written; nothing is left behind.
    """
    import av

    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise ArgumentError(f"frames must have shape (t, h, w, 3), t ≥ 1; got {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ArgumentError(
            f"height and width must be even for video; got {frames.shape[1]} × {frames.shape[2]}"
        )
    if not 1 <= fps <= 240:
        raise ArgumentError(f"fps must be from 1 to 240; got {fps}")
    wanted = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # x264 otherwise decides by core count, by processor and even by how memory happens to be aligned:
    # the same frames then give different bytes from one call to the next.
    steady = {"threads": "1", "x264-params": "cpu-independent=1"}
    options = {"crf": "20", "preset": "veryfast"} | steady if wanted == "libx264" else {}

    def encode(scratch: Path) -> None:
        with av.open(str(scratch), "w") as container:
            stream = container.add_stream(wanted, rate=fps, options=options)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            if wanted == "mpeg4":
                stream.bit_rate = 2_000_000
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    try:
        write_atomically(path, encode)
    except av.FFmpegError as error:
        raise SaveError(
            f"could not write {path.name}: {error}; free space or choose another place"
        ) from error


def write_picture(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture as PNG.

    Args:
        path: File to write.
        picture: RGB.

    Raises:
        SaveError: The file could not be written.
    """
    import av

    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    data = b"".join(bytes(packet) for packet in packets)
    write_atomically(path, lambda scratch: scratch.write_bytes(data))


def _plans(classes: int | None, named: bool, seed: int, look: dict[str, Any]) -> list[_Plan]:
    if named:
        names = list(NAMED_ACTIONS)
        count = len(names) if classes is None else classes
        if not 1 <= count <= len(names):
            raise ArgumentError(
                f"there are {len(names)} named actions; got classes={count}: ask for fewer, or for"
                " generated ones with named=False"
            )
        return [_Plan(name, seed, look) for name in names[:count]]
    count = 20 if classes is None else classes
    if not 1 <= count <= 1_000_000:
        raise ArgumentError(f"classes must be from 1 to 1000000; got {count}")
    return [_Plan(program(seed, index).name, seed, look, index) for index in range(count)]


def contact_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8]]], clips: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    """Classes under each other, their clips side by side, with the names of both.

    Args:
        rows: Class name → its clips, (t, h, w, 3), all of one shape.
        clips: The name of each column of clips.

    Returns:
        The picture, RGB on white.
    """
    from PIL import Image, ImageDraw, ImageFont

    heavy, light = (ImageFont.load_default(size) for size in (14, 12))
    frames, height, width = next(iter(rows.values()))[0].shape[:3]
    across = _SHEET_GAP + max(frames * width, *(round(light.getlength(clip)) for clip in clips))
    top, step = 2 * _SHEET_GAP + 12, height + _SHEET_LABEL
    names = (round(heavy.getlength(name)) + _SHEET_GAP for name in rows)
    size = (_SHEET_GAP + max(len(clips) * across, *names), top + len(rows) * step + _SHEET_GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, clip in enumerate(clips):
        at = (_SHEET_GAP + column * across, _SHEET_GAP)
        draw.text(at, clip, font=light, fill=_SHEET_SOFT)
    for row, (name, shown) in enumerate(rows.items()):
        y = top + row * step
        draw.text((_SHEET_GAP, y), name, font=heavy, fill=_SHEET_INK)
        for column, some in enumerate(shown):
            strip = Image.fromarray(np.concatenate(list(some), axis=1))
            sheet.paste(strip, (_SHEET_GAP + column * across, y + _SHEET_LABEL - _SHEET_GAP))
    return np.asarray(sheet)


def _shrunk(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A few frames of a clip, each averaged down to a thumbnail."""
    picked = frames[((np.arange(_SHEET_FRAMES) + 0.5) / _SHEET_FRAMES * len(frames)).astype(int)]
    step = max(picked.shape[1] // _SHEET_SIDE, 1)
    side = picked.shape[1] // step * step
    blocks = picked[:, :side, :side].reshape(len(picked), side // step, step, side // step, step, 3)
    return np.asarray(blocks.mean((2, 4)), np.uint8)


def _clip(index: int) -> str:
    return f"clip_{index:04d}.mp4"


def _fill(
    folder: Path,
    plans: list[_Plan],
    clips: int,
    form: ClipFormat,
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Write every clip and the contact sheet; the videos' paths relative to the folder."""
    written: list[str] = []
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for place, plan in enumerate(plans):
        (folder / plan.folder).mkdir()
        for index in range(clips):
            drawn = plan.draw(index, form.frames, form.size)
            name = f"{plan.folder}/{_clip(index)}"
            write_video(folder / name, drawn, fps=form.fps)
            written.append(name)
            if place < _SHEET_ROWS and index < _SHEET_CLIPS:
                rows.setdefault(plan.folder, []).append(_shrunk(drawn))
            if progress is not None:
                progress(len(written), len(plans) * clips)
    names = [_clip(index) for index in range(min(clips, _SHEET_CLIPS))]
    write_picture(folder / "contact_sheet.png", contact_sheet(rows, names))
    return written


def write_dataset(
    out: str | os.PathLike[str],
    *,
    classes: int | None = None,
    clips: int = 12,
    seed: int = 0,
    named: bool = False,
    style: str | None = None,
    studio: int | None = None,
    form: ClipFormat = _USUAL,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a data set of generated clips.

    The folder appears whole or not at all: everything is written beside it and renamed at the end.

    Args:
        out: Folder to make; it may exist if it is empty.
        classes: Number of classes; 20, or with `named` all named ones, if not given.
        clips: Clips of each class.
        seed: Seed of the whole generator.
        named: Write the actions of `NAMED_ACTIONS` instead of generated classes.
        style: One of `STYLES` for all clips; None lets each instance choose.
        studio: Film all clips by one camera in one place, another for every number; None is anywhere.
        form: Length, rate and size of the clips.
        progress: Called with (clips written, clips in all) after each clip.

    Returns:
        Paths of the videos, class by class. ``contact_sheet.png`` lies beside the class folders.

    Raises:
        ArgumentError: A number is out of range, or the folder is not empty.
        SaveError: Something could not be written; nothing is left behind.
    """
    target = Path(out)
    if not 1 <= clips <= 1_000_000:
        raise ArgumentError(f"clips must be from 1 to 1000000; got {clips}")
    try:
        folder_to_make(target)
    except SaveError as error:
        raise ArgumentError(str(error)) from error
    plans = _plans(classes, named, seed, {"style": style, "studio": studio})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"could not make {target}: {error}; choose another place") from error
    with new_folder(target) as folder:
        written = _fill(folder, plans, clips, form, progress)
    return [target / name for name in written]
