"""What each state sends: target [rad], kp, kd; and the way from one state's to the next one's."""

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.control.states import State
from robot_ppo_node.safety.tick_state import TickState

FADE = 0.2
"""Time [s] over which targets and gains go from those of one state to those of the next."""
WEAK = 1 / 3
"""Gains of JOINT_CHECK over those of standing: a leg that is held back gives way."""


class Setpoints:
    """The targets and gains of every state but the targets of `RUNNING`: they are the network's."""

    def __init__(self, policy: Policy) -> None:
        robot = policy.contract.robot
        self.default = policy.action_map.default_pose
        self.rest = robot.rest().astype(np.float32)
        self.duration = robot.stand.duration
        kp, kd = (robot.vector(name).astype(np.float32) for name in ("kp", "kd"))
        stand = tuple(gains.astype(np.float32) for gains in robot.stand_gains())
        weak = stand[0] * np.float32(WEAK), stand[1] * np.float32(WEAK)
        self.damping = robot.damping_gains().astype(np.float32)
        self.gains = {
            State.JOINT_CHECK: weak,
            State.STAND: stand,
            State.READY: stand,
            State.POLICY: (kp, kd),
            State.HALT: (kp, kd),
            State.SIT: stand,
            State.HOLD: stand,
            State.DAMP: (np.zeros_like(kp), self.damping),
        }
        self._from = [np.zeros_like(kp) for _ in range(3)]
        self._start = self.default

    def rise_from(self, pose: np.ndarray, s: TickState) -> None:
        """Begin at the measured `pose` (joints,) [rad], from damping."""
        s.previous[:] = pose
        s.kp[:] = 0
        s.kd[:] = self.damping

    def begin(self, s: TickState) -> None:
        """Remember what was sent last: it is where the next state starts and fades from."""
        for kept, value in zip(self._from, (s.previous, s.kp, s.kd), strict=True):
            kept[:] = value
        self._start = self._from[0].copy()

    def pose(self, state: State, elapsed: float) -> np.ndarray:
        """Return the target (joints,) [rad] of a state, `elapsed` [s] after its start."""
        if state is State.READY:
            return self.default
        if state is State.HOLD:
            return self._start
        end = self.rest if state is State.SIT else self.default
        x = min(elapsed / max(self.duration, 1e-9), 1.0)
        share = x * x * (3 - 2 * x)  # no jump of the velocity at either end
        return self._start + share * (end - self._start)

    def fill(self, s: TickState, state: State, target: np.ndarray, elapsed: float) -> None:
        """Put `target` and the state's gains into `s`, faded from those of the state before."""
        share = 1.0 if state is State.HALT else elapsed / FADE  # the same network goes on
        wanted = (target, *self.gains[state])
        for sent, new, old in zip((s.target, s.kp, s.kd), wanted, self._from, strict=True):
            if share >= 1:
                sent[:] = new
            else:
                sent[:] = old + share * (new - old)

    def damp(self, s: TickState, elapsed: float = FADE) -> None:
        """No position gain; the target is the last one sent, because some robots want a number.

        An `elapsed` below `FADE` [s] fades to it, after a controlled lowering.
        """
        self.fill(s, State.DAMP, s.previous, elapsed)
