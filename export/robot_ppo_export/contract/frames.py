"""Rotations between the world frame `_w` and the body frame `_b`.

Quaternions are unit, in the order w, x, y, z, and turn body coordinates into world coordinates.
World z is up; body x is forward, y left, z up. All functions work elementwise over leading axes,
without matrix products, so that one robot and 4096 simulations give equal bits.
"""

import sys
from typing import Any

Array = Any
"""An array of the array API standard: numpy >= 2.1, torch, or what has `__array_namespace__`."""


def namespace(array: Array) -> Any:
    """Return the module with the array API's functions for this array.

    Torch's tensors name none. Who computes on them imports `array_api_compat` first; a robot does
    without it.
    """
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return sys.modules["array_api_compat"].array_namespace(array)


def join(xp: Any, *parts: Array) -> Array:
    """Return the components (...) as one array (..., k): `xp.stack` in a third of the time.

    Of many robots, each component lies contiguous in memory, which is what arithmetic by
    components wants.
    """
    lead = parts[0].shape
    dtype = parts[0].dtype
    if not lead:  # one robot
        return xp.asarray(parts, dtype=dtype)
    out = xp.empty((len(parts), *lead), dtype=dtype, device=parts[0].device)
    for i, part in enumerate(parts):
        out[i, ...] = part
    return out.T if len(lead) == 1 else xp.moveaxis(out, 0, -1)


def cross(a: Array, b: Array) -> Array:
    """Return the cross product of vectors (..., 3)."""
    xp = namespace(a)
    a0 = a[..., 0]
    a1 = a[..., 1]
    a2 = a[..., 2]
    b0 = b[..., 0]
    b1 = b[..., 1]
    b2 = b[..., 2]
    return join(xp, a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0)


def to_world(quat: Array, vector_b: Array) -> Array:
    """Return body vectors (..., 3) in world coordinates; quat (..., 4) wxyz."""
    axis = quat[..., 1:]
    t = 2 * cross(axis, vector_b)
    return vector_b + quat[..., :1] * t + cross(axis, t)


def to_body(quat: Array, vector_w: Array) -> Array:
    """Return world vectors (..., 3) in body coordinates; quat (..., 4) wxyz."""
    axis = -quat[..., 1:]
    t = 2 * cross(axis, vector_w)
    return vector_w + quat[..., :1] * t + cross(axis, t)


def projected_gravity(quat: Array) -> Array:
    """Return the unit vector of gravity in the body frame, (..., 3); (0, 0, -1) when level."""
    xp = namespace(quat)
    w = quat[..., 0]
    x = quat[..., 1]
    y = quat[..., 2]
    z = quat[..., 3]
    return join(xp, 2 * (w * y - x * z), -2 * (y * z + w * x), 2 * (x * x + y * y) - 1)


def multiply(p: Array, q: Array) -> Array:
    """Return the quaternion product (..., 4): rotate by q, then by p."""
    xp = namespace(p)
    pw, px, py, pz = (p[..., i] for i in range(4))
    qw, qx, qy, qz = (q[..., i] for i in range(4))
    return join(
        xp,
        pw * qw - px * qx - py * qy - pz * qz,
        pw * qx + px * qw + py * qz - pz * qy,
        pw * qy - px * qz + py * qw + pz * qx,
        pw * qz + px * qy - py * qx + pz * qw,
    )


def conjugate(quat: Array) -> Array:
    """Return the inverse rotation of unit quaternions (..., 4)."""
    xp = namespace(quat)
    return join(xp, quat[..., 0], -quat[..., 1], -quat[..., 2], -quat[..., 3])


def normalize(quat: Array) -> Array:
    """Return quat (..., 4) at length one."""
    xp = namespace(quat)
    w, x, y, z = (quat[..., i : i + 1] for i in range(4))
    return quat / xp.sqrt(w * w + x * x + y * y + z * z)


def from_rotation_vector(vector: Array) -> Array:
    """Return the quaternion (..., 4) of a rotation vector (..., 3) [rad], exact at any length."""
    xp = namespace(vector)
    x, y, z = (vector[..., i : i + 1] for i in range(3))
    angle = xp.sqrt(x * x + y * y + z * z)
    small = angle < 1e-6
    safe = xp.where(small, xp.ones_like(angle), angle)
    k = xp.where(small, xp.full_like(angle, 0.5), xp.sin(safe / 2) / safe)
    return xp.concat((xp.cos(angle / 2), k * vector), axis=-1)


def tilt(quat: Array) -> Array:
    """Return the angle between body z and world z [rad], (...)."""
    xp = namespace(quat)
    up = 1 - 2 * (quat[..., 1] * quat[..., 1] + quat[..., 2] * quat[..., 2])
    return xp.acos(xp.clip(up, -1.0, 1.0))


def yaw(quat: Array) -> Array:
    """Return the heading [rad] of body x in the world's horizontal plane, (...)."""
    xp = namespace(quat)
    w, x, y, z = (quat[..., i] for i in range(4))
    return xp.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
