"""Targets [rad] and gains of each state, and the fade from one state's to the next one's.

    setpoints.begin(sent)                                 # a state is entered
    target = setpoints.pose(State.STAND, elapsed)
    motors = setpoints.faded(State.STAND, target, elapsed)

Every command is made anew: whoever gets one may change it, and the one before stays as it was sent.
"""

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import MotorCommand

FADE = 0.2
"""Time [s] over which targets and gains go from those of one state to those of the next."""
WEAK = 1 / 3
"""Gains of JOINT_CHECK over those of standing: a leg that is held back gives way."""


def eased(elapsed: float, duration: float) -> float:
    """Return how much of a way is done: no jump of the velocity at either end."""
    x = min(elapsed / max(duration, 1e-9), 1.0)
    return x * x * (3 - 2 * x)


class Setpoints:
    """Targets and gains of every state; the targets of `RUNNING` are the network's."""

    def __init__(self, policy: Policy) -> None:
        robot = policy.contract.robot
        self.default = policy.action_map.default_pose
        self.rest = robot.rest().astype(np.float32)
        self.duration = robot.stand.duration
        self.damping = robot.damping_gains().astype(np.float32)
        kp = robot.vector("kp").astype(np.float32)
        kd = robot.vector("kd").astype(np.float32)
        stand = tuple(gains.astype(np.float32) for gains in robot.stand_gains())
        weak = tuple(gains * np.float32(WEAK) for gains in stand)
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
        self._from = self.nothing()

    def nothing(self) -> MotorCommand:
        """Return a command of zeros, for states that send nothing."""
        return MotorCommand(*(np.zeros_like(self.damping) for _ in range(3)))

    def limp(self, pose: np.ndarray) -> MotorCommand:
        """Return damping at the measured `pose` (joints,) [rad], the start of standing up."""
        target = np.array(pose, np.float32)
        return MotorCommand(target, np.zeros_like(self.damping), self.damping.copy())

    def begin(self, sent: MotorCommand) -> None:
        """Start and fade the next state from what was sent last."""
        self._from = sent

    def pose(self, state: State, elapsed: float) -> np.ndarray:
        """Return the target (joints,) [rad] of a state, `elapsed` [s] after its start."""
        if state is State.READY:
            return self.default
        start = self._from.target
        if state is State.HOLD:
            return start
        end = self.rest if state is State.SIT else self.default
        return start + eased(elapsed, self.duration) * (end - start)

    def faded(self, state: State, target: np.ndarray, elapsed: float) -> MotorCommand:
        """Return `target` with the gains of `state`, faded from the command of the one before."""
        fraction = 1.0 if state is State.HALT else elapsed / FADE  # the same network goes on
        kp, kd = self.gains[state]
        if fraction >= 1:
            return MotorCommand(np.array(target, np.float32), kp.copy(), kd.copy())
        old = self._from
        return MotorCommand(
            old.target + fraction * (target - old.target),
            old.kp + fraction * (kp - old.kp),
            old.kd + fraction * (kd - old.kd),
        )

    def damped(self, previous: np.ndarray, elapsed: float = FADE) -> MotorCommand:
        """Return a command that only brakes; an `elapsed` below `FADE` [s] fades to it.

        Its target is the one that was sent last, `previous`: some robots want a number.
        """
        return self.faded(State.DAMP, previous, elapsed)
