"""More of the corpus of odd videos: their times, their length, their beginnings, and ordinary ones."""

from __future__ import annotations

from odd_maker import Part, cut, only, shifted, timed, with_exif, write
from odd_videos import B2, OPEN, VP, X265, made, odd

HOUR = 3600 * 25

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
    "backwards_far.mkv",
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
odd("long_mjpeg.avi", made("mjpeg", Part(60, pixels="yuvj420p")), **LONG)
odd(
    "long_amid.ts",
    made("libx264", Part(100), edit=only(lambda index: index >= 5)),
    frames=0,
    quick=True,
)
