"""Real files made in the test run: sound clips, and every kind of broken one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from a2m2_zoo.errors import A2M2Error


def draw_video(
    path: Path, frames: int = 20, *, size: tuple[int, int] = (96, 128), speed: int = 3
) -> Path:
    """A textured square that moves over a plain ground, left to right; negative speed moves back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    texture = np.random.default_rng(0).integers(60, 255, (24, 24, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix != ".avi" else "mpeg4", rate=15)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            picture = np.full((height, width, 3), 40, np.uint8)
            x = (i * speed) % (width - 24)
            picture[30:54, x : x + 24] = texture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def still(path: Path, frames: int = 20) -> Path:
    """A clip in which nothing moves."""
    return draw_video(path, frames, speed=0)


def three_classes(root: Path) -> Path:
    """A data set that anybody could tell apart: three clips each of three movements."""
    for i in range(3):
        draw_video(root / "right" / f"r{i}.mp4", 20 + i)
        draw_video(root / "back" / f"b{i}.mp4", 20 + i, speed=-7)
        still(root / "still" / f"s{i}.mp4", 20 + i)
    return root


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        for i in range(20):
            wave = np.sin(np.arange(1024) / 20 + i).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def huge(path: Path) -> Path:
    """Few kilobytes that decode to 8K pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(7680, 4320, "yuv420p")))
        container.mux(stream.encode())
    return path


def cut(path: Path) -> Path:
    draw_video(path, 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    return path


def _write(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


#: Name → maker of a file that holds no answer.
BROKEN: dict[str, Callable[[Path], Path]] = {
    "empty.mp4": _write(b""),
    "text.mp4": _write(b"this is a letter, not a clip\n" * 40),
    "playlist.mp4": _write(b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
    "concat.mp4": _write(b"ffconcat version 1.0\nfile secret.mp4\n"),
    "audio.mp4": audio_only,
    "huge.mp4": huge,
    "cut.mp4": cut,
    "missing.mp4": lambda path: path,
}


def started(script: str, file: Path, *, says: str) -> subprocess.Popen[str]:
    """A process of its own that runs ``script`` on ``file`` and has got as far as to print ``says``."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{says}\n"
    return process


def check_a_child_is_told(go_on: Callable[[], object]) -> None:
    """In a forked child, going on with what the parent began says so, and neither works nor hangs."""
    child = os.fork()
    if not child:
        signal.alarm(300)  # in place of a hang
        try:
            go_on()
        except A2M2Error as error:
            os._exit(7 if "begin it again in the child" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
