"""Actor observation terms: name -> f(inputs, *, parameters) -> (..., k).

A term may read only what a robot can measure or what the node itself knows (`Inputs`). The word
in a task's YAML, in the log and in the policy file is the name of the function here; parameters are
resolved as those of every term (tables.py), and stand in the policy file.
All of them are elementwise over leading axes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.command import is_moving
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.state import MOST_NUMBERS, RobotState
from robot_ppo_export.contract.tables import Positive, Table
from robot_ppo_export.errors import InputError

AXES = ("x", "y", "z")


class Handling(msgspec.Struct, frozen=True):
    """Keys of a term in any group beside its parameters; layout.py says what is done with them."""

    scale: float
    clip: Positive | None
    history: Annotated[int, Meta(ge=1)]


HANDLING = get_type_hints(Handling, include_extras=True)
"""Key -> its type."""
Parts = tuple[str, ...] | Callable[..., tuple[str, ...]]


@dataclass(slots=True)
class Inputs:
    """Inputs of an observation. Leading axes are free; arrays are float32."""

    state: RobotState
    command: Array
    """(..., k) in the units of the task's `CommandSpec`"""
    last_action: Array
    """(..., actions) the network's previous raw output"""
    phase: Array
    """(...,) position in the gait cycle, in [0, 1); 0 where the task has no gait"""
    default_pose: Array
    """(joints,) [rad]"""


@dataclass(frozen=True)
class Numbers:
    """Unit, frame, size, signals and names of one term's numbers."""

    unit: str
    frame: str
    size: str
    """"joints", "actions" (joints that the network moves), "command", or the name of a signal of
    size `ANY`; "" where `parts` are all."""
    reads: tuple[str, ...]
    """The signals of `RobotState` that it needs."""
    parts: Parts
    """Names of the numbers; empty where they are those of the joints, or of a signal's numbers. Of
    a term with parameters a function of these, so that they may decide how many there are; a signal
    of size `ANY` is then just as wide."""

    def named(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the numbers, for these values of all parameters."""
        return self.parts(**parameters) if callable(self.parts) else self.parts


TERMS: Table[Callable[..., Array]] = Table("term", optional=HANDLING)
NUMBERS: dict[str, Numbers] = {}
"""What each term of `TERMS` consists of."""


def _term(
    *needs: str,
    unit: str,
    frame: str,
    size: str = "",
    reads: tuple[str, ...] = (),
    parts: Parts = (),
) -> Callable:
    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        added = TERMS.add(*needs)(function)
        NUMBERS[function.__name__] = Numbers(unit, frame, size, reads, parts)
        return added

    return register


@_term(unit="rad/s", frame="body", reads=("base_ang_vel",), parts=AXES)
def base_ang_vel(inputs: Inputs) -> Array:
    """Angular velocity of the base, from the gyroscope."""
    return inputs.state.base_ang_vel


@_term(unit="1", frame="body", reads=("base_quat",), parts=AXES)
def projected_gravity(inputs: Inputs) -> Array:
    """Direction of gravity seen from the body; (0, 0, -1) when level."""
    return frames.projected_gravity(inputs.state.base_quat)


@_term("commands", unit="", frame="", size="command")
def command(inputs: Inputs) -> Array:
    """Command of the operator; unit, frame and parts are those of the `CommandSpec`."""
    return inputs.command


@_term(unit="rad", frame="joint", size="joints", reads=("joint_pos",))
def joint_pos_error(inputs: Inputs) -> Array:
    """Joint angles minus the default pose."""
    return inputs.state.joint_pos - inputs.default_pose


@_term(unit="rad/s", frame="joint", size="joints", reads=("joint_vel",))
def joint_vel(inputs: Inputs) -> Array:
    """Joint velocities."""
    return inputs.state.joint_vel


@_term(unit="1", frame="joint", size="actions")
def last_action(inputs: Inputs) -> Array:
    """The network's previous raw output."""
    return inputs.last_action


def _harmonics(harmonics: int) -> tuple[str, ...]:
    """Return the names of sine and cosine of the first so many multiples of the phase."""
    more = [f"{name} {k}" for k in range(2, harmonics + 1) for name in ("sin", "cos")]
    return ("sin", "cos", *more)


@_term("gait", "commands.twist", unit="1", frame="none", parts=_harmonics)
def gait_clock(inputs: Inputs, *, harmonics: Annotated[int, Meta(ge=1, le=8)] = 1) -> Array:
    """Sine and cosine of the gait phase and its multiples; 0 when the twist says to stand still.

    `harmonics` is how many multiples there are, of which the phase itself is the first. The higher
    ones tell apart moments of a cycle that are close together, such as a short swing.
    """
    xp = frames.namespace(inputs.phase)
    angle = inputs.phase * 6.283185307179586
    # asarray: of one robot these are scalars, which numpy 2.0's astype does not take.
    on = xp.astype(xp.asarray(is_moving(inputs.command)), inputs.phase.dtype)
    waves = [on * wave(k * angle) for k in range(1, harmonics + 1) for wave in (xp.sin, xp.cos)]
    return frames.join(xp, *waves)


def _scanned(**grid: float) -> tuple[str, ...]:
    """Return the names of the points of a scan; an `InputError` for more than a term may have."""
    scan = ScanGrid(**grid)
    if scan.rows * scan.columns > MOST_NUMBERS:
        raise InputError(
            f"height_scan has {scan.rows} x {scan.columns} points, and a term {MOST_NUMBERS} at "
            "most: make it smaller or its resolution coarser"
        )
    return scan.names()


_Size = Annotated[float, Meta(gt=0, le=20)]


@_term(
    unit="m",
    frame="level, at the base, turned with its heading",
    size="height_scan",
    reads=("height_scan",),
    parts=_scanned,
)
def height_scan(
    inputs: Inputs,
    *,
    length: _Size = 1.6,
    width: _Size = 1.0,
    resolution: Annotated[float, Meta(ge=0.01, le=1)] = 0.1,
    offset: Annotated[float, Meta(ge=-20, le=20)] = 0.0,
) -> Array:
    """Heights of the ground over the base, at the points of a grid around it (`scan.py`).

    Ground below the base is negative. The grid is `length` [m] long and `width` [m] wide, its
    points are `resolution` [m] apart, and its middle is `offset` [m] in front of the base.
    """
    return inputs.state.height_scan


def gait_phase(tick: Array, control_period: float, frequency: float | None) -> Array:
    """Return the phase in [0, 1), float32, after `tick` control periods (integers, (...,)).

    It stays at 0 where there is no gait: `frequency` [Hz] is None.
    """
    xp = frames.namespace(tick)
    if frequency is None:
        return xp.zeros_like(tick, dtype=xp.float32)
    cycles = xp.astype(tick, xp.float64) * (control_period * frequency)
    phase = xp.astype(xp.asarray(cycles - xp.floor(cycles)), xp.float32)
    # Just below a whole cycle, float32 rounds up to it.
    return xp.where(phase < 1, phase, 0.0)
