"""Parts of a picture: which rectangle holds what is to be seen, and how to draw it alone."""

import mujoco
import numpy as np

MARGIN = 8
"""Pixels around the robot and its shadow that are drawn with them."""


def rectangle(
    scene: mujoco.MjvScene, points: np.ndarray, width: int, height: int
) -> mujoco.MjrRect | None:
    """Return the part of a picture (width, height) that shows `points` (m, 3), None if none does.

    Where a point is not in front of the camera, that is the whole picture.
    """
    eye = scene.camera[0]
    forward = np.array(eye.forward)
    up = np.array(eye.up)
    away = points - (np.array(eye.pos) + np.array(scene.camera[1].pos)) / 2
    depth = away @ forward
    if (depth < eye.frustum_near).any():
        return mujoco.MjrRect(0, 0, width, height)
    tangent = eye.frustum_top / eye.frustum_near
    x = away @ np.cross(forward, up) / depth / (tangent * width / height)
    y = away @ up / depth / tangent
    left, right = _pixels(x, width)
    bottom, top = _pixels(y, height)
    if left >= right or bottom >= top:
        return None
    return mujoco.MjrRect(left, bottom, right - left, top - bottom)


def haze_begins(scene: mujoco.MjvScene, haze: float, height: int) -> float:
    """Return how many rows of a picture show floor alone, below haze and sky.

    `haze` is the part of the way to the horizon that it covers. The camera does not roll.
    """
    eye = scene.camera[0]
    far = (1 - haze) * float(eye.frustum_far)
    down = float(eye.pos[2]) / far
    ahead = float(eye.forward[2])
    level = max(float(eye.up[2]), 1e-6)
    middle = -(ahead + down * level) / max(level - down * ahead, 1e-6)
    return (middle * eye.frustum_near / eye.frustum_top + 1) / 2 * height - MARGIN


def _pixels(x: np.ndarray, size: int) -> tuple[int, int]:
    """Return the first and the last pixel around `x`, in halves of the picture from its middle."""
    low = (x.min() + 1) / 2 * size - MARGIN
    high = (x.max() + 1) / 2 * size + MARGIN
    return max(0, int(low)), min(size, int(high))


def narrow(scene: mujoco.MjvScene, rect: mujoco.MjrRect, width: int, height: int) -> None:
    """Let the scene's cameras see only the part `rect` of a picture (width, height), in place."""
    for eye in scene.camera:
        half_y = eye.frustum_top
        half_x = half_y * width / height
        eye.frustum_center = ((2 * rect.left + rect.width) / width - 1) * half_x
        eye.frustum_width = rect.width / width * half_x
        eye.frustum_bottom = (2 * rect.bottom / height - 1) * half_y
        eye.frustum_top = (2 * (rect.bottom + rect.height) / height - 1) * half_y
