"""Primitives fitted to points: a box or a capsule around a link, a ball at a leg's end, a sole."""

import numpy as np

from robot_ppo.robot_model.importing.tree import Pose, Shape

_ELONGATED = 2.0
"""A shape that is so many times longer than wide becomes a capsule."""


def around(points: np.ndarray) -> Shape:
    """Return the capsule or the box around points (k, 3), along their principal axes."""
    mat = _axes(points)
    local = points @ mat
    low = local.min(axis=0)
    high = local.max(axis=0)
    half = np.maximum((high - low) / 2, 1e-3)
    centre = mat @ ((low + high) / 2)
    order = np.argsort(half)
    across = float(half[order[1]])
    if half[order[2]] >= _ELONGATED * across and half[order[0]] >= 0.5 * across:
        radius = float((half[order[0]] + half[order[1]]) / 2)
        along = max(float(half[order[2]]) - radius, 1e-3)
        return Shape(
            "capsule", np.array([radius, along, 0]), Pose(centre, _towards(mat, order[2])), True
        )
    return Shape("box", half, Pose(centre, mat), True)


def _axes(points: np.ndarray) -> np.ndarray:
    """Return axes (3, 3) as columns, right-handed: the link's own, or principal ones if tighter."""
    own = np.eye(3)
    _, vectors = np.linalg.eigh(np.cov(points.T) + 1e-12 * np.eye(3))
    vectors = vectors * np.sign(np.linalg.det(vectors))
    volumes = [np.prod(np.ptp(points @ mat, axis=0) + 1e-6) for mat in (own, vectors)]
    return own if volumes[0] <= 1.2 * volumes[1] else vectors


def _towards(mat: np.ndarray, axis: int) -> np.ndarray:
    """Return axes whose z is the given one of `mat`."""
    return mat[:, [(axis + 1) % 3, (axis + 2) % 3, axis]]


def ball(points: np.ndarray, down: np.ndarray) -> Shape:
    """Return the ball that fits the end of a leg.

    Args:
        points: of the last link (k, 3).
        down: unit vector along the leg, towards its end.
    """
    along = points @ down
    end = along.max()
    length = np.ptp(along)
    tip = points[along >= end - max(0.12 * length, 0.008)]
    across = tip - np.outer(tip @ down, down)
    spread = np.linalg.norm(np.ptp(across, axis=0)) / np.sqrt(2)
    radius = float(np.clip(spread / 2, 0.005, 0.2 * max(length, 0.05)))
    centre = (across.max(axis=0) + across.min(axis=0)) / 2 + down * (end - radius)
    return Shape("sphere", np.array([radius, 0, 0]), Pose(centre), True)


def sole(points: np.ndarray, up: np.ndarray) -> Shape:
    """Return the flat box under a foot.

    Args:
        points: of the last link (k, 3).
        up: unit vector normal to the sole, in the link's frame.
    """
    height = points @ up
    low = height.min()
    slab = points[height <= low + max(0.15 * np.ptp(height), 0.01)]
    forward = _longest(slab, up)
    mat = np.column_stack([forward, np.cross(up, forward), up])
    local = slab @ mat
    thick = 0.01
    least = local[:, :2].min(axis=0)
    most = local[:, :2].max(axis=0)
    centre = mat @ np.array([*((least + most) / 2), low + thick])
    half = np.array([*np.maximum((most - least) / 2, 0.01), thick])
    return Shape("box", half, Pose(centre, mat), True)


def _longest(slab: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the axis of the link, or the principal axis, along which a sole is longest."""
    flat = slab - np.outer(slab @ up, up)
    own = [axis - up * (axis @ up) for axis in np.eye(3) if abs(axis @ up) < 0.7]
    axes = [axis / np.linalg.norm(axis) for axis in own]
    _, vectors = np.linalg.eigh(np.cov(flat.T))
    principal = vectors[:, 2] - up * (vectors[:, 2] @ up)
    principal /= np.linalg.norm(principal)
    best = max(axes, key=lambda axis: np.ptp(flat @ axis))
    return best if abs(best @ principal) > 0.9 else principal
