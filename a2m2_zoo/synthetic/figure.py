"""Bodies: which limbs there are, how thick, and in which order they are painted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo.synthetic.appearance import Outfit
from a2m2_zoo.synthetic.raster import Canvas, Paint, box, capsule, shadow
from a2m2_zoo.synthetic.skeleton import JOINTS

_J = {name: index for index, name in enumerate(JOINTS)}
_BODY: tuple[tuple[str, int, int, float, float], ...] = (
    ("trunk", _J["waist"], _J["neck"], 0.072, 0.052),
    ("flank", _J["left_hip"], _J["left_shoulder"], 0.046, 0.042),
    ("flank", _J["right_hip"], _J["right_shoulder"], 0.046, 0.042),
    ("shoulders", _J["left_shoulder"], _J["right_shoulder"], 0.036, 0.036),
    ("hips", _J["left_hip"], _J["right_hip"], 0.058, 0.058),
    ("neck", _J["neck"], _J["head"], 0.028, 0.028),
    ("head", _J["head"], _J["head"], 0.060, 0.060),
    *(
        (f"{side}_{part}", _J[f"{side}_{start}"], _J[f"{side}_{end}"], ra, rb)
        for side in ("left", "right")
        for part, start, end, ra, rb in (
            ("upper_arm", "shoulder", "elbow", 0.036, 0.028),
            ("forearm", "elbow", "wrist", 0.028, 0.020),
            ("hand", "wrist", "hand", 0.021, 0.022),
            ("thigh", "hip", "knee", 0.058, 0.042),
            ("shin", "knee", "ankle", 0.042, 0.026),
            ("foot", "ankle", "toe", 0.027, 0.021),
        )
    ),
)
_STICK = (
    ("trunk", _J["pelvis"], _J["neck"], 0.0, 0.0),
    *(limb for limb in _BODY if limb[0] not in ("flank", "trunk")),
)
_Shape = tuple[float, tuple[float, float, float], tuple[float, float, float], Paint]


def _limbs(points: NDArray[np.float64], outfit: Outfit, girth: float) -> list[_Shape]:
    """Shapes of one figure: (nearness, start, end, paint)."""
    rows = points.tolist()
    shapes: list[_Shape] = []
    for part, a, b, ra, rb in _STICK if outfit.stick else _BODY:
        (ax, ay, a_scale), (bx, by, b_scale) = rows[a], rows[b]
        if outfit.stick and part != "head":
            ra = rb = outfit.thickness
        elif not outfit.stick and part != "head":
            ra, rb = ra * girth * outfit.thickness, rb * girth * outfit.thickness
        near = 0.5 * (a_scale + b_scale)
        start = (ax, ay, max(ra * a_scale, 0.6))
        shapes.append((near, start, (bx, by, max(rb * b_scale, 0.6)), outfit.paints[part]))
    if not outfit.stick:
        shapes.extend(_hair_and_skirt(points, outfit, girth))
    return shapes


def _hair_and_skirt(points: NDArray[np.float64], outfit: Outfit, girth: float) -> list[_Shape]:
    head, neck = points[_J["head"]], points[_J["neck"]]
    crown = head[:2] - neck[:2]
    crown = crown / max(float(np.hypot(*crown)), 1.0) * 0.020 * head[2]
    # The head is round, so which way it faces shows only in the shoulders' nearness: the nape is
    # towards the viewer when the figure's right shoulder appears on the right.
    turned = points[_J["right_shoulder"], 0] - points[_J["left_shoulder"], 0]
    nape = float(np.clip(turned / (0.16 * head[2]), -1.0, 1.0))
    depth = points[_J["right_shoulder"], 2] - points[_J["left_shoulder"], 2]
    aside = float(np.clip(-depth / (0.02 * head[2]), -1.0, 1.0)) * 0.022 * head[2]
    x, y = float(head[0] + crown[0] - aside), float(head[1] + crown[1])
    radius = float(head[2]) * 0.057
    hair = (
        float(head[2]) * (1.0 + 0.02 * nape),
        (x, y, radius),
        (x + float(crown[0]) * 0.3, y + float(crown[1]) * 0.3, radius),
        outfit.paints["hair"],
    )
    if not outfit.skirt:
        return [hair]
    hips = 0.5 * (points[_J["left_hip"]] + points[_J["right_hip"]])
    knees = 0.5 * (points[_J["left_knee"]] + points[_J["right_knee"]])
    hem = hips + (knees - hips) * (outfit.skirt / 0.24)
    apart = abs(float(points[_J["left_knee"], 0] - points[_J["right_knee"], 0])) * 0.3
    skirt = (
        float(hips[2]) * 1.004,
        (float(hips[0]), float(hips[1]), float(hips[2]) * 0.07 * girth),
        (float(hem[0]), float(hem[1]), float(hem[2]) * 0.075 * girth + apart),
        outfit.paints["hips"],
    )
    return [hair, skirt]


def paint_figures(
    canvas: Canvas,
    figures: Sequence[NDArray[np.float64]],
    ground: Sequence[NDArray[np.float64]],
    outfits: Sequence[Outfit],
    girth: NDArray[np.float64],
    *,
    prop: tuple[NDArray[np.float64], str, float, Paint] | None,
    tilt: float,
) -> None:
    """Paint all figures and the object, the farthest shape first.

    Args:
        canvas: Planes to paint on, changed in place.
        figures: Projected joints of each figure, (20, 3): column, row, pixels per body height.
        ground: Projections of the points of the floor below them; empty for no shadows.
        outfits: What each figure wears.
        girth: Thickness of each figure.
        prop: Projected ends (2, 3), kind, size and paint of the object.
        tilt: Sine of the camera's height angle, which sets how round shadows are.
    """
    for below in ground:
        low, high = below[:, :2].min(0), below[:, :2].max(0)
        scale = float(below[0, 2])
        half = (
            0.5 * float(high[0] - low[0]) + 0.08 * scale,
            0.5 * float(high[1] - low[1]) + (0.03 + 0.08 * max(tilt, 0.0)) * scale,
        )
        middle = 0.5 * (low + high)
        shadow(canvas, (float(middle[0]), float(middle[1])), half, strength=0.45)
    shapes: list[_Shape] = []
    for points, outfit, thick in zip(figures, outfits, girth.tolist(), strict=False):
        shapes.extend(_limbs(points, outfit, thick))
    square: Paint | None = None
    if prop is not None:
        ends, kind, size, paint = prop
        (ax, ay, a_scale), (bx, by, b_scale) = ends.tolist()
        radius = 0.018 if kind == "stick" else size
        near = 0.5 * (a_scale + b_scale)
        square = paint if kind == "box" else None
        shapes.append((near, (ax, ay, radius * a_scale), (bx, by, radius * b_scale), paint))
    for _, start, end, paint in sorted(shapes, key=lambda shape: shape[0]):
        if paint is square:
            box(canvas, start[:2], (start[2], start[2]), paint)
        else:
            capsule(canvas, start, end, paint)
