"""Mutations of packets, and the laws that hold whatever arrives."""

import random

import numpy as np


def mutate(payload: bytes, rng: random.Random) -> bytes:
    """One packet made wrong in one of the ways that networks and strangers have."""
    data = bytearray(payload)
    kind = rng.randrange(6)
    if kind == 0:  # a few bits
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # a few bytes
        for _ in range(rng.randint(1, 16)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:  # cut off
        del data[rng.randrange(len(data)) :]
    elif kind == 3:  # longer
        data += rng.randbytes(rng.randint(1, 64))
    elif kind == 4:  # a number that hurts, at a place where floats stand
        at = rng.randrange(0, max(1, len(data) - 4)) & ~3
        data[at : at + 4] = rng.choice(HURTING)
    else:  # noise
        data = bytearray(rng.randbytes(rng.randrange(len(data))))
    return bytes(data)


HURTING = tuple(
    np.float32(value).tobytes() for value in (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0, 100)
)


def check_command(robot, state, target, kp, kd) -> None:
    """The law for whatever the node sends, beside the `state` that it last measured.

    Damping, or finite targets whose PD torque the joint can bear. (A target may leave the range
    for the sake of that torque, which comes last.)
    """
    assert np.isfinite([target, kp, kd]).all()
    assert (kp >= 0).all() and (kd >= 0).all()
    if kp.any():
        pos, vel = (np.asarray(v, np.float64) for v in (state.joint_pos, state.joint_vel))
        torque = np.abs(kp * (target - pos) - kd * vel)
        grain = kp * np.spacing(np.abs(target).astype("f4"))  # the last bit of a target
        assert (torque <= robot.vector("torque_limit") * (1 + 1e-5) + grain).all()


def check_robot(robot) -> None:
    """The law for a simulated robot: whatever it was told, its motors keep their limits."""
    low, high = robot.spec.vector("range").T
    assert (robot.target >= low).all() and (robot.target <= high).all()
    torque = np.abs(robot.data.ctrl)
    assert np.isfinite(torque).all()
    assert (torque <= robot.spec.vector("torque_limit") + 1e-9).all()
    assert np.isfinite(robot.data.qpos).all() and np.isfinite(robot.data.qvel).all()
