"""Actor observation terms: name -> f(inputs) -> (..., k).

A term may read only what a robot can measure or what the node itself knows (`Inputs`). The word
in a task's YAML, in the log and in the policy file is the name of the function here.
All of them are elementwise over leading axes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.command import is_moving
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.state import RobotState

AXES = ("x", "y", "z")


@dataclass(slots=True)
class Inputs:
    """Inputs of an observation. Leading axes are free; arrays are float32."""

    state: RobotState
    command: Array
    """(..., k) in the units of the task's `CommandSpec`"""
    last_action: Array
    """(..., joints) the network's previous raw output"""
    phase: Array
    """(...,) position in the gait cycle, in [0, 1); 0 where the task has no gait"""
    default_pose: Array
    """(joints,) [rad]"""

    def rows(self, index: Array) -> "Inputs":
        """Return the robots that `index` selects along the leading axis."""
        return Inputs(
            self.state.rows(index),
            self.command[index],
            self.last_action[index],
            self.phase[index],
            self.default_pose,
        )


@dataclass(frozen=True)
class Term:
    """One entry of the table of terms."""

    function: Callable[[Inputs], Array]
    size: str
    """A number, "joints", "command", or the name of a signal of size `ANY`, whose width it has."""
    unit: str
    frame: str
    reads: tuple[str, ...]
    """The signals of `RobotState` that it needs."""
    parts: tuple[str, ...]
    """Names of its entries; empty where they are those of the joints."""


TERMS: dict[str, Term] = {}


def _term(
    size: str, unit: str, frame: str, reads: tuple[str, ...] = (), parts: tuple[str, ...] = ()
) -> Callable:
    def register(function: Callable[[Inputs], Array]) -> Callable[[Inputs], Array]:
        TERMS[function.__name__] = Term(function, size, unit, frame, reads, parts)
        return function

    return register


@_term("3", "rad/s", "body", ("base_ang_vel",), AXES)
def base_ang_vel(inputs: Inputs) -> Array:
    """Angular velocity of the base, from the gyroscope."""
    return inputs.state.base_ang_vel


@_term("3", "1", "body", ("base_quat",), AXES)
def projected_gravity(inputs: Inputs) -> Array:
    """Direction of gravity seen from the body; (0, 0, -1) when level."""
    return frames.projected_gravity(inputs.state.base_quat)


@_term("command", "", "")
def command(inputs: Inputs) -> Array:
    """Command of the operator; unit, frame and parts are those of the `CommandSpec`."""
    return inputs.command


@_term("joints", "rad", "joint", ("joint_pos",))
def joint_pos_error(inputs: Inputs) -> Array:
    """Joint angles minus the default pose."""
    return inputs.state.joint_pos - inputs.default_pose


@_term("joints", "rad/s", "joint", ("joint_vel",))
def joint_vel(inputs: Inputs) -> Array:
    """Joint velocities."""
    return inputs.state.joint_vel


@_term("joints", "1", "joint")
def last_action(inputs: Inputs) -> Array:
    """The network's previous raw output."""
    return inputs.last_action


@_term("2", "1", "none", parts=("sin", "cos"))
def gait_clock(inputs: Inputs) -> Array:
    """Sine and cosine of the gait phase; both 0 when the twist says to stand still."""
    xp = frames.namespace(inputs.phase)
    angle = inputs.phase * 6.283185307179586
    # asarray: of one robot these are scalars, which numpy 2.0's astype does not take.
    on = xp.astype(xp.asarray(is_moving(inputs.command)), inputs.phase.dtype)
    return frames.join(xp, on * xp.sin(angle), on * xp.cos(angle))


def gait_phase(tick: Array, control_period: float, frequency: float | None) -> Array:
    """Return the phase in [0, 1), float32, after `tick` control periods (integers, (...,)).

    It stays at 0 where there is no gait: `frequency` [Hz] is None.
    """
    xp = frames.namespace(tick)
    if frequency is None:
        return xp.zeros(tick.shape, dtype=xp.float32)
    cycles = xp.astype(tick, xp.float64) * (control_period * frequency)
    phase = xp.astype(xp.asarray(cycles - xp.floor(cycles)), xp.float32)
    # Just below a whole cycle, float32 rounds up to it.
    return xp.where(phase < 1, phase, 0.0)
