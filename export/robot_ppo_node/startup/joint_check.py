"""Moves each joint a little, alone: the right one must follow, the right way, in time.

    check = JointCheck(contract, kp, kd)
    check.begin(pose)
    target = check.target(elapsed)             # (joints,), at every tick
    check.add(elapsed, now, measurement)
    check.over(elapsed)                        # then check.judge()

A joint steps `STEP` towards the middle of its range, rests, and steps back. Its answer is that of
I q'' = kp (target - q) - kd q' with known gains, an unknown inertia I, and the unknown delay from a
command to its measured effect; both are fitted to the first ticks after each step, a bit in each
tick once the joint is done, so that no tick is late for it (delay_fit.py).
"""

import math

import numpy as np

from robot_ppo_export.contract.contract import DELAY_RANDOMIZATIONS, Contract
from robot_ppo_node.safety.measurement import Measurement
from robot_ppo_node.startup.delay_fit import DelayFit
from robot_ppo_node.startup.preflight import Check

STEP = 0.08
"""[rad]"""
REST = 0.4
"""[s] from one step to the next."""
MOVED = 0.25
"""Share of the step that counts as an answer."""
FIT = 8
"""Ticks after a step that the delay is fitted to."""
TOLERANCE = 0.005
"""[s] The fit knows the delay no better."""
TRAIN_WITH_IT = f"train with this delay (the task's {', '.join(DELAY_RANDOMIZATIONS)})"
"""The remedy where training did not know a robot's delay."""


class JointCheck:
    """One pass over all joints."""

    def __init__(self, contract: Contract, kp: np.ndarray, kd: np.ndarray) -> None:
        """Move with the gains `kp` [N m/rad] and `kd` [N m s/rad], (joints,) each."""
        self.contract = contract
        self.kp = kp
        self.kd = kd
        self.joints = len(contract.robot.joints)
        ticks = math.ceil(2 * self.joints * REST / contract.control_period) + 2
        self._position = np.zeros((ticks, self.joints))
        self._half = np.zeros(ticks, int)
        """The half turn, there or back, that each tick commands."""
        self._when = np.zeros((ticks, 2))
        """Columns: time of the tick [s], time of the newest state [s]."""
        self.begin(np.zeros(self.joints, np.float32))

    def begin(self, pose: np.ndarray) -> None:
        """Start from the measured `pose` (joints,) [rad]."""
        self._pose = pose.copy()
        low, high = self.contract.robot.vector("range").T
        self._steps = np.where(pose < (low + high) / 2, STEP, -STEP).astype(np.float32)
        self._count = 0
        self._delays: list[float] = []
        """[s] of the joints that are fitted, in their order."""
        self._fit: DelayFit | None = None
        """Fit of the next joint, once its turn is over."""

    def target(self, elapsed: float) -> np.ndarray:
        """Return the target (joints,) [rad]; one joint is away from the pose, or none."""
        half = _half(elapsed)
        target = self._pose.copy()
        if half % 2 == 0 and half // 2 < self.joints:
            target[half // 2] += self._steps[half // 2]
        return target

    def over(self, elapsed: float) -> bool:
        """Return whether every joint had its turn and is fitted."""
        return _half(elapsed) >= 2 * self.joints and len(self._delays) == self.joints

    def add(self, elapsed: float, now: float, measurement: Measurement) -> None:
        """Take in one tick, and go on with the fit of a joint that is done."""
        if self._count < len(self._when):
            self._position[self._count] = measurement.state.joint_pos
            self._half[self._count] = _half(elapsed)
            self._when[self._count] = now, measurement.sample_time
            self._count += 1
        self._go_on(_half(elapsed) // 2)

    def judge(self) -> list[Check]:
        """Return one check per joint, and one of the delay."""
        checks = [self._sign(joint) for joint in range(self.joints)]
        return [*checks, self._delay()] if all(c.good for c in checks) else checks

    def _sign(self, joint: int) -> Check:
        """The joint that was told to move is the one that moved, in the direction it was told."""
        moved = self._end(2 * joint) - self._end(2 * joint - 1)
        share = moved / self._steps[joint]
        names = self.contract.robot.joint_names
        other = int(np.abs(moved).argmax())
        fix = "look at its sign in the driver"
        if other != joint and abs(moved[other]) > MOVED * STEP:
            fix = f"{names[other]} moved instead: look at the driver's order of joints"
        elif abs(share[joint]) < MOVED:
            fix = "it does not follow: hang the robot up with its legs free"
        good = bool(share[joint] >= MOVED and abs(moved[joint]) >= abs(moved[other]) / 2)
        return Check(
            f"joint check {names[joint]}",
            good,
            f"moved {moved[joint]:+.3f} rad of {self._steps[joint]:+.3f}",
            fix,
        )

    def _end(self, half: int) -> np.ndarray:
        """Return the pose (joints,) [rad] at the end of the half turn `half`; -1 is the start."""
        i = self._first(half + 1) + 1  # this tick measures what the one before commanded
        return self._position[max(i - 3, 0) : i].mean(axis=0)

    def _first(self, half: int) -> int:
        """Return the first tick that commands the half turn `half`."""
        return int(np.searchsorted(self._half[: self._count], half))

    def _delay(self) -> Check:
        """The time from a command to its effect is one that the policy was trained with."""
        delay = float(np.median(self._delays))
        low, high = self.contract.training.delay()
        return Check(
            "delay",
            low - TOLERANCE <= delay <= high + TOLERANCE,
            f"{delay * 1e3:.0f} ms from command to effect, trained with {low * 1e3:.0f} to "
            f"{high * 1e3:.0f} ms",
            f"find what holds packets back, or {TRAIN_WITH_IT}",
        )

    def _go_on(self, done: int) -> None:
        """Do one tick's share of the fit of the first joint that has none, of the `done` ones."""
        joint = len(self._delays)
        if joint >= min(done, self.joints):
            return
        if self._fit is None:
            gains = (float(self.kp[joint]), float(self.kd[joint]))
            self._fit = DelayFit(*self._answers(joint), *gains)
        self._fit.step()
        if self._fit.done:
            self._delays.append(self._fit.delay)
            self._fit = None

    def _answers(self, joint: int) -> tuple[np.ndarray, np.ndarray]:
        """Return times after the command (n,) [s] and answers (n,) to a unit step of a joint."""
        times = []
        answers = []
        for half, sign in ((2 * joint, 1.0), (2 * joint + 1, -1.0)):
            first = self._first(half)
            rows = slice(first + 1, min(first + 1 + FIT, self._count))
            start = self._position[first, joint]
            times.append(self._when[rows, 1] - self._when[first, 0])
            answers.append((self._position[rows, joint] - start) * sign / self._steps[joint])
        return np.concatenate(times), np.concatenate(answers)


def _half(elapsed: float) -> int:
    """Return the half turn at a time; a sum of periods may be a bit short of the whole."""
    return int(elapsed / REST + 1e-6)
