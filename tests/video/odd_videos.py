"""The corpus of odd videos: codec, container, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from odd_boxes import mp4_spliced
from odd_maker import (
    Part,
    bare,
    every_entry_is_key,
    flagged,
    flv_spliced,
    renamed,
    write,
)

ALL = flagged(lambda _: True)
NONE = flagged(lambda _: False)
THIRD = flagged(lambda index: index % 3 == 0)
LEGACY = {
    "mpeg4": "mpeg4",
    "msmpeg4v2": "msmpeg4v2",
    "msmpeg4v3": "msmpeg4",
    "wmv1": "wmv1",
    "wmv2": "wmv2",
    "flv1": "flv",
    "h263p": "h263p",
    "mpeg1": "mpeg1video",
    "mpeg2": "mpeg2video",
}
B2 = {"bf": "2"}
OPEN = {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
VP = {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "10"}
SMALL, LARGE = Part(24), Part(24, size=(128, 96))


@dataclass(frozen=True)
class Odd:
    """One file.

    Attributes:
        make: Writes it.
        warning: What its warnings have to speak of; empty if there must be none.
        lossless_numbers: The bars can be read.
        frames: How many frames a full decode gives.
        numbers: The number burnt into each frame; by default its index.
        quick: Most packets must be left undecoded when one frame is wanted.
        stream: Which video stream is the video.
        steady: The frames are those of :func:`segment_centres`.
    """

    make: Callable[[Path], Path]
    warning: str = ""
    frames: int = 30
    numbers: Callable[[int], int] = int
    quick: bool = False
    stream: int = 0
    steady: bool = True
    readable: bool = True


CORPUS: dict[str, Odd] = {}


def odd(name: str, make: Callable[[Path], Path] | None = None, **expected: object) -> None:
    """Add a file to the corpus."""
    assert name not in CORPUS
    CORPUS[name] = Odd(make, **expected)  # type: ignore[arg-type]


def made(codec: str, *parts: Part, **how: object) -> Callable[[Path], Path]:
    """A file that is written in one go."""
    return lambda path: write(path, codec, parts or (Part(),), **how)  # type: ignore[arg-type]


# ---- key frames that are none, and none that are
for kind, encoder in LEGACY.items():
    # MPEG-1 and 2 in AVI: FFmpeg makes up times with a hole after the first frame.
    even = kind not in ("mpeg1", "mpeg2")
    odd(f"{kind}_all_flagged.avi", made(encoder, edit=ALL), steady=even)
    odd(f"{kind}_none_flagged.avi", made(encoder, edit=NONE), steady=even)
for kind in ("mpeg4", "msmpeg4v3", "wmv2"):
    odd(
        f"{kind}_no_index.avi",
        lambda path, kind=kind: renamed(write(path, LEGACY[kind]), b"idx1", b"JUNK"),
    )
    odd(
        f"{kind}_index_all_key.avi",
        lambda path, kind=kind: every_entry_is_key(write(path, LEGACY[kind], (Part(gop=30),))),
    )
    odd(f"{kind}_third_flagged.nut", made(LEGACY[kind], edit=THIRD))
odd("mpeg4_no_stss.mp4", lambda path: renamed(write(path, "mpeg4"), b"stss", b"free"))
odd(
    "mpeg4_b_no_stss.mov",
    lambda path: renamed(write(path, "mpeg4", (Part(options=B2),)), b"stss", b"free"),
)
odd("h264_no_stss.mp4", lambda path: renamed(write(path), b"stss", b"free"))
odd(
    "hevc_no_stss.mp4",
    lambda path: renamed(write(path, "libx265", (Part(options=X265),)), b"stss", b"free"),
)
odd("h264_all_flagged.mkv", made("libx264", edit=ALL))
odd("h264_none_flagged.mkv", made("libx264", edit=NONE))
odd("h264_all_flagged.avi", made("libx264", Part(options={"bf": "0"}), edit=ALL))
odd("hevc_all_flagged.mkv", made("libx265", Part(options=X265), edit=ALL))
odd("vp8_all_flagged.webm", made("libvpx", Part(options=VP), edit=ALL))
odd("vp9_all_flagged.webm", made("libvpx-vp9", Part(options=VP), edit=ALL))
odd("vp9_all_flagged.mp4", made("libvpx-vp9", Part(options=VP), edit=ALL))
odd("av1_all_flagged.mkv", made("libsvtav1", Part(options={"preset": "12"}), edit=ALL))
odd("ffv1_all_flagged.mkv", made("ffv1", Part(pixels="bgr0"), edit=ALL))
odd("ffv1_third_flagged.avi", made("ffv1", Part(pixels="bgr0"), edit=THIRD))
odd("flv1_all_flagged.flv", made("flv", edit=ALL))
odd("h263_all_flagged.3gp", made("h263", Part(size=(128, 96)), edit=ALL))
odd("wmv2_all_flagged.wmv", made("wmv2", edit=ALL))
odd("snow_all_flagged.avi", made("snow", Part(options={"strict": "-2"}), edit=ALL), readable=False)
odd(
    "cinepak_all_flagged.avi",
    made("cinepak", Part(12, pixels="rgb24"), edit=ALL),
    frames=12,
    readable=False,
)
odd("svq1_all_flagged.mov", made("svq1", Part(pixels="yuv410p"), edit=ALL), readable=False)
odd("zmbv_all_flagged.avi", made("zmbv", Part(pixels="bgr0"), edit=ALL))
odd("flashsv_all_flagged.flv", made("flashsv", Part(pixels="bgr24"), edit=ALL))
odd("qtrle_all_flagged.mov", made("qtrle", Part(pixels="rgb24"), edit=ALL))
odd("msvideo1_all_flagged.avi", made("msvideo1", Part(pixels="rgb555le"), edit=ALL))
odd("rpza_all_flagged.mov", made("rpza", Part(pixels="rgb555le"), edit=ALL))
odd(
    "refresh_all_flagged.mp4",
    made("libx264", Part(options={"x264-params": "intra-refresh=1:bframes=0"}), edit=ALL),
)

# ---- pictures that need what came with earlier packets
odd("pal8.avi", made("rawvideo", Part(pixels="pal8")))
odd("pal8.mov", made("rawvideo", Part(pixels="pal8")))
odd("pal8.nut", made("rawvideo", Part(pixels="pal8")))
odd("qtrle.mov", made("qtrle", Part(pixels="rgb24")))
odd("a.gif", made("gif", Part(pixels="rgb8")))
odd("a.apng", made("apng", Part(pixels="rgb24")))
TWO = {"frames": 48}
odd("h264_two_sizes.ts", made("libx264", SMALL, LARGE), **TWO)
odd("h264_two_sizes.mkv", made("libx264", SMALL, LARGE), **TWO)
odd(
    "hevc_two_sizes.ts",
    made("libx265", Part(24, options=X265), Part(24, (128, 96), options=X265)),
    **TWO,
)
odd("mpeg2_two_sizes.ts", made("mpeg2video", SMALL, LARGE), frames=0, steady=False)
odd("mpeg2_two_sizes.mpg", made("mpeg2video", SMALL, LARGE), frames=0, steady=False)
odd("mpeg4_two_sizes.avi", made("mpeg4", SMALL, LARGE), **TWO)
odd(
    "vp8_two_sizes.webm",
    made("libvpx", Part(24, options=VP), Part(24, (128, 96), options=VP)),
    **TWO,
)
odd(
    "vp9_two_sizes.mkv",
    made("libvpx-vp9", Part(24, options=VP), Part(24, (128, 96), options=VP)),
    **TWO,
)
odd(
    "mjpeg_two_sizes.avi",
    made("mjpeg", Part(24, pixels="yuvj420p"), Part(24, (128, 96), "yuvj420p")),
    **TWO,
)
odd("h264_two_formats.ts", made("libx264", SMALL, Part(24, pixels="yuv444p")), **TWO)
odd("h264_two_ranges.ts", made("libx264", SMALL, Part(24, pixels="yuvj420p")), **TWO)
CAVLC = {"x264-params": "cabac=0:ref=1:bframes=0:8x8dct=0"}
odd("h264_new_parameters.ts", made("libx264", SMALL, Part(24, options=CAVLC)), **TWO)
odd("h264_new_parameters.mkv", made("libx264", SMALL, Part(24, options=CAVLC)), **TWO)
odd(
    "h264_new_parameters_once.ts",
    made("libx264", SMALL, Part(24, options=CAVLC), edit=bare(after=24, marks=(b"\x67", b"\x68"))),
    **TWO,
)
odd(
    "hevc_new_parameters_once.ts",
    made(
        "libx265",
        Part(24, options=X265),
        Part(24, options={**X265, "x265-params": "log-level=none:ctu=16:amp=1"}),
        edit=bare(after=24, marks=(b"\x40", b"\x42", b"\x44")),
    ),
    **TWO,
)


def _two(path: Path, suffix: str, *parts: tuple[str, Part]) -> list[Path]:
    return [
        write(path.with_name(f"{path.name}.{number}.{suffix}"), codec, (part,))
        for number, (codec, part) in enumerate(parts)
    ]


def _flv(path: Path, codec: str, first: Part, second: Part) -> Path:
    return flv_spliced(path, *_two(path, "flv", (codec, first), (codec, second)), 24 * 40)


AGAIN = {"frames": 48, "numbers": lambda index: index % 24, "warning": "", "steady": True}
odd("h264_spliced.flv", lambda path: _flv(path, "libx264", SMALL, LARGE), **AGAIN)
odd(
    "h264_spliced_same_size.flv",
    lambda path: _flv(path, "libx264", SMALL, Part(24, options=CAVLC)),
    **AGAIN,
)
odd("flv1_spliced.flv", lambda path: _flv(path, "flv", SMALL, LARGE), **AGAIN)
odd(
    "h264_two_descriptions.mp4",
    lambda path: mp4_spliced(
        path,
        *_two(
            path,
            "mp4",
            ("libx264", Part(24, options={"bf": "0"})),
            ("libx264", Part(24, (128, 96), options={"bf": "0"})),
        ),
    ),
    **AGAIN,
)
odd(
    "h264_two_descriptions_same_size.mp4",
    lambda path: mp4_spliced(
        path,
        *_two(
            path,
            "mp4",
            ("libx264", Part(24, options={"bf": "0"})),
            ("libx264", Part(24, options=CAVLC)),
        ),
    ),
    **AGAIN,
)
