"""Make the pictures of the docs, and the notebook with what it shows, anew.

    python tools/pictures.py                       # all of them, to docs/images and examples
    python tools/pictures.py timeline --out /tmp   # one of them, elsewhere

Everything is drawn from generated clips and from docs/receipts, in the light and in the dark
(``explain_dark.png`` beside ``explain.png``). ``app`` is the page in a browser, in the light: it needs
chromium (on the path or in A2M2_CHROMIUM), chromedriver, and the extras ``app`` and ``archive``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import nbformat
import notebook
import numpy as np
from PIL import Image
from receipts import ROOT, receipt

import a2m2_zoo
from a2m2_zoo import archive, build_bank, classify, load_model
from a2m2_zoo.evaluation.misalignment import Curve
from a2m2_zoo.report.misalignment import draw_curves
from a2m2_zoo.report.timeline import draw_timeline, frames_of
from a2m2_zoo.spotting import Window, spot
from a2m2_zoo.synthetic import draw_clip, draw_named, write_dataset, write_video

WIDTH = 1280  # pixels, of the page in the browser


def explain(scratch: Path, out: Path) -> None:
    """Why the first query of `a2m2 demo` gets its label."""
    look: dict[str, Any] = {"style": "scene", "studio": 2}
    write_dataset(scratch / "supports", clips=2, named=True, **look)
    query = scratch / "clip_0000.mp4"
    write_video(query, draw_named("jump", 0, seed=1, frames=32, size=224, **look))
    bank = build_bank(scratch / "supports")
    answer = classify(query, bank, plans=True)
    both(
        lambda path, dark: a2m2_zoo.explain(answer, query, bank, path, dark=dark),
        scratch,
        out,
    )


def timeline(scratch: Path, out: Path) -> None:
    """The video of docs/howto/long_video.md."""
    write_dataset(scratch / "moves", clips=2, named=True, studio=2)
    parts = [
        draw_named(name, 20 + i, frames=36, studio=2)
        if name
        else draw_clip(1, 40 + i, 0, frames=52, studio=2)
        for i, name in enumerate(("wave", None, "kick", "jump"))
    ]
    video = scratch / "long.mp4"
    write_video(video, np.concatenate(parts))
    model = load_model()
    bank = build_bank(scratch / "moves", model=model)
    windows: list[Window] = []
    segments = spot(video, bank, model=model, on_windows=windows.extend)
    how: dict[str, Any] = {"title": video.name, "strip": frames_of(video)}
    both(
        lambda path, dark: draw_timeline(
            segments, windows, bank.class_names, path, dark=dark, **how
        ),
        scratch,
        out,
    )


def misalignment(scratch: Path, out: Path) -> None:
    """The curves of the receipt."""
    held, curve = receipt("misalignment"), cast(Any, Curve)
    curves = [
        curve(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()})
        for row in held["curves"]
    ]
    title = (
        f"{held['model']} on {held['data']}: {held['way']}-way {held['shot']}-shot, "
        f"{held['episodes']:,} episodes, only the query is misaligned"
    )
    both(lambda path, dark: draw_curves(curves, path, title=title, dark=dark), scratch, out)


def app(scratch: Path, out: Path) -> None:
    """The page with the drawn clips' answer, an archive beside it."""
    sys.path.insert(0, str(ROOT / "tests"))  # the browser, and somebody who uses the page in it
    serving, visits, webdriver = map(
        import_module, ("app.serving", "app.visitor", "report.webdriver")
    )
    if webdriver.programs() is None:
        raise SystemExit(
            "app.png needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver"
        )
    write_dataset(scratch / "kept", classes=1, clips=2, named=True, studio=2)
    archive.Archive.build(scratch / "archive", scratch / "kept")
    served = scratch / "served"
    served.mkdir()
    server = serving.Server(served, "--archive", str(scratch / "archive"), remembering=True)
    try:
        with webdriver.browser(served) as browser:
            browser.screen(WIDTH, 1000)
            visitor = visits.Visitor(browser, server.address)
            visitor.open()
            visitor.click("Try it with drawn clips")
            visitor.says("#answer", "The clip shows")
            visitor.until(
                "return [...document.querySelectorAll('[role=tab]')].some(t => t.innerText === 'Archive')"
            )
            visitor.until("return document.querySelectorAll('.a-thumbs img').length >= 10")
            for shown in ("#why img", "#query video"):
                visitor.until(
                    f"const e = document.querySelector('{shown}');"
                    "return !!e && (e.naturalWidth || e.videoWidth) > 200"
                )
            keep(browser.picture(scratch / "app.png"), out)
    finally:
        server.close()


def tour(scratch: Path, out: Path) -> None:
    """The notebook."""
    made = notebook.run(nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4))
    nbformat.write(made, out)


MADE: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    **{
        draw.__name__: (draw, f"docs/images/{draw.__name__}.png")
        for draw in (explain, timeline, misalignment, app)
    },
    "tour": (tour, "examples/tour.ipynb"),
}


def both(draw: Callable[[Path, bool], Path], scratch: Path, out: Path) -> None:
    """A picture in the light, and in the dark beside it."""
    for dark in (False, True):
        keep(draw(scratch / "drawn.png", dark), out.with_stem(out.stem + "_dark" * dark))


def keep(picture: Path, out: Path) -> None:
    """A picture, without what it does not need."""
    Image.open(picture).convert("RGB").save(out, optimize=True)


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MADE)}; or all")
    parser.add_argument("--out", type=Path, help="a folder to write to in place of their own")
    options = parser.parse_args()
    if strange := sorted({*options.names} - {*MADE}):
        parser.error(f"{strange[0]!r} is none of {', '.join(MADE)}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        for name in options.names or MADE:
            make, place = MADE[name]
            out = ROOT / place if options.out is None else options.out.resolve() / Path(place).name
            make(scratch, out)
            print(out, flush=True)


if __name__ == "__main__":
    main()
