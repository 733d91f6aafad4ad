"""Find when the actions of a few example clips happen in a long video, and write them as subtitles.

Any player shows them: VIDEO.srt lies beside VIDEO.mp4. SUPPORTS is a folder with one folder of example
clips per action, or a saved bank.

python examples/subtitles.py VIDEO.mp4 SUPPORTS
"""

import sys
from pathlib import Path

from a2m2_zoo.spotting import spot


def stamp(seconds: float) -> str:
    """A time as SubRip writes it: 00:01:15,260."""
    thousandths = round(1000 * seconds)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


video, supports = sys.argv[1:]
segments = [s for s in spot(video, supports, on_damage=print) if s.known]
lines = []
for number, segment in enumerate(segments, start=1):
    times = f"{stamp(segment.start)} --> {stamp(segment.end)}"
    lines.append(f"{number}\n{times}\n{segment.label} ({segment.probability:.0%})\n")
    print(f"{segment.start:8.1f} s to {segment.end:.1f} s: {segment.label}")
Path(video).with_suffix(".srt").write_text("\n".join(lines), encoding="utf-8")
