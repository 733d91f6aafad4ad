"""The camera: looks at the action, keeps it in the frame, follows it, trembles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo.synthetic.instance import Instance

FIT_TIMES: NDArray[np.float64] = np.linspace(0.0, 1.0, 17)
"""Times at which the action is looked at to frame it; the frames asked for play no part in it."""
FIT_TIMES.setflags(write=False)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        axes: Rows are the image's right, the image's up and the way towards the camera; (3, 3).
        distance: From the camera to the point it looks at, in body heights.
        focal: Pixels for one body height at a distance of one body height.
        centre: Where the point looked at appears, in pixels (x, y).
        targets: Point looked at, at each of `FIT_TIMES`; (17, 3).
        instance: Source of the trembling.
        size: Side of the frame in pixels.
    """

    axes: NDArray[np.float64]
    distance: float
    focal: float
    centre: tuple[float, float]
    targets: NDArray[np.float64]
    instance: Instance
    size: int

    def target(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Point looked at, at each time; (t, 3)."""
        columns = [np.interp(times, FIT_TIMES, self.targets[:, k]) for k in range(3)]
        return np.stack(columns, 1)

    def tremble(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shift of the image in pixels (x, y) at each time; (t, 2)."""
        amplitude, frequency, phase = self.instance.shake
        waves = np.sin(2 * np.pi * times[:, None, None] * frequency + phase)
        return np.asarray((amplitude * waves).sum(-1) * self.size)

    def project(
        self, points: NDArray[np.float64], times: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Project points.

        Args:
            points: World points in body heights; shape (t, n, 3).
            times: Their times, shape (t,).

        Returns:
            Column, row and pixels per body height at that depth; shape (t, n, 3).
        """
        seen = (points - self.target(times)[:, None]) @ self.axes.T
        scale = self.focal / np.maximum(self.distance - seen[..., 2], 0.4)
        shift = self.tremble(times)[:, None] + self.centre
        column = shift[..., 0] + scale * seen[..., 0]
        row = shift[..., 1] - scale * seen[..., 1]
        return np.stack([column, row, scale], -1)

    def slide(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shift of things far behind the action, in pixels (x, y) at each time; (t, 2)."""
        moved = (self.target(times) - self.targets.mean(0)) @ self.axes.T
        far = self.focal / (self.distance + 1.5)
        return np.asarray(self.tremble(times) + far * moved[:, :2] * (-1.0, 1.0))

    def floor_edge(self, depth: float) -> float:
        """Row at which a floor that reaches `depth` body heights behind the action ends."""
        up, toward = self.axes[1], self.axes[2]
        away = np.array([-toward[0], 0.0, -toward[2]])
        away /= np.sqrt((away**2).sum())
        point = away * depth - np.array([0.0, self.targets[:, 1].mean(), 0.0])
        distance = max(self.distance - float(point @ toward), 0.4)
        return self.centre[1] - self.focal / distance * float(point @ up)


def aim(joints: NDArray[np.float64], instance: Instance, *, size: int) -> Camera:
    """Set the camera up so that the action stays in the frame.

    Args:
        joints: Every figure's joints at `FIT_TIMES`; shape (figures, 17, 20, 3).
        instance: Viewpoint, wanted size, following, trembling.
        size: Side of the frame in pixels.

    Returns:
        The camera.
    """
    around, up = instance.azimuth, float(np.clip(instance.elevation, -0.15, 1.1))
    toward = np.array([np.cos(up) * np.cos(around), np.sin(up), np.cos(up) * np.sin(around)])
    right = np.array([np.sin(around), 0.0, -np.cos(around)])
    axes = np.stack([right, np.cross(toward, right), toward])
    low, high = joints.min((0, 1, 2)), joints.max((0, 1, 2))
    centre = 0.5 * (low + high)
    pelvis = joints[:, :, 0].mean(0)
    targets = np.repeat(centre[None], len(FIT_TIMES), 0)
    targets[:, ::2] += instance.follow * (pelvis[:, ::2] - pelvis[:, ::2].mean(0))
    depth = ((joints - targets[:, None]) @ toward).max()
    distance = max(instance.distance, float(depth) + 1.2)
    camera = Camera(axes, distance, 1.0, (0.0, 0.0), targets, instance, 0)
    seen = np.concatenate([camera.project(one, FIT_TIMES) for one in joints], 1)
    least, most = seen[..., :2].min((0, 1)), seen[..., :2].max((0, 1))
    # 0.16 of a body height is what head, hands and feet reach beyond their joints.
    span = most - least + 0.16 / distance
    focal = min(instance.extent * distance, 0.97 / float(span.max())) * size
    slack = np.maximum(size - focal * span, 0.0)
    place = 0.5 * size + 0.5 * slack * np.array(instance.offset) * (0.9, 0.7)
    middle = place - focal * 0.5 * (least + most)
    return Camera(
        axes, distance, focal, (float(middle[0]), float(middle[1])), targets, instance, size
    )
