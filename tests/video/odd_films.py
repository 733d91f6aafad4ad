"""The corpus of odd films: codec, container, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from odd_maker import (
    Part,
    bare,
    cut,
    every_entry_is_key,
    flagged,
    flv_spliced,
    mp4_spliced,
    only,
    renamed,
    shifted,
    timed,
    with_exif,
    write,
)

ALL = flagged(lambda _: True)
NONE = flagged(lambda _: False)
THIRD = flagged(lambda index: index % 3 == 0)
HOUR = 3600 * 25
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
X264 = {"preset": "veryfast"}
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
        stream: Which video stream is the film.
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

# ---- times
odd(
    "hour_gap.mkv",
    made("libx264", edit=shifted(lambda at: at + HOUR * (at >= 15))),
    warning="1 break",
)
odd(
    "hour_gap.mp4",
    made("mpeg4", edit=shifted(lambda at: at + HOUR * (at >= 15))),
    warning="1 break",
)
odd(
    "hour_gap.ts",
    made("mpeg2video", edit=shifted(lambda at: at + HOUR * (at >= 15))),
    warning="1 break",
)
odd(
    "hour_gap_first.mkv",
    made("ffv1", Part(pixels="bgr0"), edit=shifted(lambda at: at + HOUR * (at >= 1))),
    warning="1 break",
)
odd(
    "two_gaps.mkv",
    made("libx264", edit=shifted(lambda at: at + 100 * (at >= 8) + HOUR * (at >= 20))),
    warning="2 breaks",
)
odd(
    "one_hours_off.mkv",
    made("mpeg4", edit=timed(lambda i, at: at + HOUR * (i == 12))),
    warning="2 breaks",
)
odd(
    "one_hours_off.nut",
    made("mpeg4", edit=timed(lambda i, at: at + HOUR * (i == 12))),
    warning="2 breaks",
)
odd(
    "one_hours_off_b.mkv",
    made("libx264", edit=timed(lambda i, at: at + HOUR * (i == 13))),
    warning="break",
)
odd(
    "last_hours_off.mkv",
    made("libvpx", Part(options=VP), edit=timed(lambda i, at: at + HOUR * (at == 29))),
    warning="1 break",
)
odd(
    "first_hours_early.mkv",
    made("mpeg4", edit=timed(lambda i, at: (at + HOUR) * (at > 0))),
    warning="1 break",
)
odd("backwards.mkv", made("mpeg4", edit=timed(lambda i, at: at % 15)), warning="")
odd(
    "backwards_far.nut",
    made("mjpeg", Part(pixels="yuvj420p"), edit=timed(lambda i, at: at + (50 if at < 15 else 0))),
    warning="break",
)
odd("swapped.mkv", made("mpeg4", edit=timed(lambda i, at: at + (at == 10) - (at == 11))))
odd("swapped_b.mkv", made("libx264", edit=timed(lambda i, at: at + (at == 10) - (at == 11))))
odd("same_times.mkv", made("mpeg4", edit=timed(lambda i, at: at // 2 * 2)))
odd("same_time.mkv", made("libx264", edit=timed(lambda i, at: at - (at == 12))))
odd("stored_order.mkv", made("libx264", Part(gop=30), edit=timed(lambda i, at: i)))
odd("stored_order_open.mkv", made("mpeg4", Part(options=B2), edit=timed(lambda i, at: i)))
odd(
    "stored_order_hevc.mkv",
    made("libx265", Part(options={"x265-params": "log-level=none"}), edit=timed(lambda i, at: i)),
)
odd("wraps.ts", made("mpeg2video", edit=shifted(lambda at: at + 2**33 * 25 // 90_000 - 10)))
odd("wraps_b.ts", made("libx264", edit=shifted(lambda at: at + 2**33 * 25 // 90_000 - 10)))
odd(
    "negative.mkv",
    made("libx264", edit=shifted(lambda at: at - 5), container={"avoid_negative_ts": "disabled"}),
)
odd(
    "negative.mp4",
    made("libx264", edit=shifted(lambda at: at - 10), container={"avoid_negative_ts": "disabled"}),
    frames=20,
    numbers=lambda index: index + 10,
)
odd("uneven.mkv", made("libx264", edit=shifted(lambda at: at * at // 8 + at)), steady=False)
odd("uneven.mp4", made("mpeg4", edit=shifted(lambda at: at * at // 8 + at)), steady=False)
for suffix, codec in {
    "h264": "libx264",
    "m4v": "mpeg4",
    "m2v": "mpeg2video",
    "hevc": "libx265",
}.items():
    odd(f"raw.{suffix}", made(codec, Part(options=X265 if codec == "libx265" else {})))
odd("raw.ivf", made("libvpx-vp9", Part(options=VP)))
odd("raw.obu", made("libsvtav1", Part(options={"preset": "12"})))
odd("raw.y4m", made("wrapped_avframe", Part()))
odd("raw_b.avi", made("libx264"))
odd("mpeg4_b.avi", made("mpeg4", Part(options=B2)))

# ---- length
odd("not_from_zero.mkv", made("libx264", begin=125))
odd("not_from_zero.webm", made("libvpx", Part(options=VP), begin=125))
odd("not_from_zero.flv", made("flv", begin=125))
odd("sound_is_longer.mkv", made("libx264", sound=4.0))
odd("sound_is_longer.mp4", made("libx264", sound=4.0))
odd("sound_is_longer.flv", made("flv", sound=4.0))
odd("sound_is_longer_later.mkv", made("libx264", sound=4.0, begin=125))
odd(
    "cut.mkv",
    lambda path: cut(write(path, "mjpeg", (Part(100, pixels="yuvj420p"),)), 0.6),
    warning="truncated",
    frames=0,
)
odd(
    "cut_later.mkv",
    lambda path: cut(write(path, "mjpeg", (Part(100, pixels="yuvj420p"),), begin=125), 0.6),
    warning="truncated",
    frames=0,
)
odd(
    "cut_with_sound.mkv",
    lambda path: cut(write(path, "mjpeg", (Part(100, pixels="yuvj420p"),), sound=4.0), 0.5),
    warning="truncated",
    frames=0,
)

# ---- beginnings
odd("amid.ts", made("libx264", edit=only(lambda index: index >= 5)), frames=0)
odd("amid_b.ts", made("libx264", Part(60, gop=12), edit=only(lambda index: index >= 5)), frames=0)
odd(
    "amid_mpeg2.ts",
    made("mpeg2video", Part(60, options=B2, gop=12), edit=only(lambda index: index >= 5)),
    frames=0,
)
odd(
    "amid_hevc.ts",
    made(
        "libx265",
        Part(60, options={"x265-params": "log-level=none"}),
        edit=only(lambda index: index >= 10),
    ),
    frames=0,
)
odd(
    "amid_open.mkv",
    made("libx264", Part(60, options=OPEN), edit=only(lambda index: index >= 10)),
    frames=0,
)
odd("amid_mpeg4.avi", made("mpeg4", Part(60), edit=only(lambda index: index >= 5)), frames=0)
odd(
    "amid_vp8.webm",
    made("libvpx", Part(60, options=VP), edit=only(lambda index: index >= 5)),
    frames=0,
)

# ---- turned pictures
odd("exif.avi", made("mjpeg", Part(pixels="yuvj420p"), edit=with_exif(lambda _: 3)), readable=False)
odd("exif.mkv", made("mjpeg", Part(pixels="yuvj420p"), edit=with_exif(lambda _: 6)), readable=False)
odd(
    "exif_changes.mov",
    made("mjpeg", Part(pixels="yuvj420p"), edit=with_exif(lambda i: 1 + i % 8)),
    readable=False,
)

# ---- what is odd about them is only their age
odd("plain.mxf", made("mpeg2video"))
odd("plain.ogg", made("libvpx", Part(options=VP)))
odd("fragments.mp4", made("libx264", container={"movflags": "frag_keyframe+empty_moov"}))
odd("prores.mov", made("prores_ks", Part(pixels="yuv422p10le")), quick=True)
odd("utvideo.avi", made("utvideo", Part(pixels="gbrp")), quick=True)
odd("huffyuv.avi", made("huffyuv", Part(pixels="rgb24")), quick=True)

# ---- ordinary files, of which little may be decoded
LONG = {"frames": 60, "quick": True}
odd("long.mp4", made("libx264", Part(60)), **LONG)
odd("long.mkv", made("libx264", Part(60, options=OPEN)), **LONG)
odd("long.ts", made("libx264", Part(60)), **LONG)
odd("long.flv", made("libx264", Part(60)), **LONG)
odd("long_hevc.mp4", made("libx265", Part(60, options=X265)), **LONG)
odd("long_mpeg4.avi", made("mpeg4", Part(60)), **LONG)
odd("long_mpeg2.ts", made("mpeg2video", Part(60, options=B2)), **LONG)
odd("long_vp9.webm", made("libvpx-vp9", Part(60, options=VP)), **LONG)
odd("long_vp8.webm", made("libvpx", Part(60, options=VP)), **LONG)
odd("long_av1.mp4", made("libsvtav1", Part(60, options={"preset": "12"})), **LONG)
odd("long_wmv2.wmv", made("wmv2", Part(60)), **LONG)
odd("long_flv1.flv", made("flv", Part(60)), **LONG)
odd("long_ffv1.mkv", made("ffv1", Part(60, pixels="bgr0")), **LONG)
odd("long_mjpeg.avi", made("mjpeg", Part(60, pixels="yuvj420p")), **LONG)
odd(
    "long_amid.ts",
    made("libx264", Part(100), edit=only(lambda index: index >= 5)),
    frames=0,
    quick=True,
)
