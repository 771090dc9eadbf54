"""`RobotState`: what a robot measures, and nothing that it cannot measure.

`SIGNALS` is the only list of what can be measured. A state maps signal -> array and holds those
that were asked for. There is no base linear velocity and no base height, because no sensor of a
legged robot measures them; a policy that reads only this structure can run on hardware.

    state = RobotState(joint_pos=q, base_quat=quat)
    state.joint_pos                   # (..., joints) [rad]
    state.foot_force                  # MissingSignalError: the state holds joint_pos, base_quat

    SIGNALS["battery"] = Signal("1", "V", "none", "battery monitor", optional=True)

Whoever adds a signal adds one optional entry. Policy files, logs and drivers that do not use it
stay as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from robot_ppo_export.contract.frames import Array

ANY = "any"
"""Size of a signal whose width each policy file states."""
MOST_NUMBERS = 4096
"""In one signal of size `ANY`, or in one term."""


@dataclass(frozen=True)
class Signal:
    """The meaning of one measured signal."""

    size: str
    """Last axis: a number, "joints", "feet", or `ANY`."""
    unit: str
    frame: str
    source: str
    """Sensor that measures it."""
    optional: bool = False
    """It is measured, sent and recorded only where a policy reads it."""


SIGNALS: dict[str, Signal] = {
    "joint_pos": Signal("joints", "rad", "joint", "joint encoders"),
    "joint_vel": Signal("joints", "rad/s", "joint", "joint encoders"),
    "joint_torque": Signal("joints", "N m", "joint", "motor current"),
    "base_quat": Signal("4", "1", "body to world, wxyz", "IMU orientation"),
    "base_ang_vel": Signal("3", "rad/s", "body", "IMU gyroscope"),
    "base_lin_acc": Signal("3", "m/s^2", "body", "IMU accelerometer (specific force, +g at rest)"),
    "foot_force": Signal("feet", "N", "foot", "foot force sensors"),
    "height_scan": Signal(ANY, "m", "level, at the base, turned with its heading", "map", True),
}
"""Every signal that a state may hold; a driver says which of them its robot measures."""

BASIC = tuple(name for name, signal in SIGNALS.items() if not signal.optional)
"""The signals that files of format 2 and UDP frames hold, in their order. It never changes."""

NO_WIDTHS: Mapping[str, int] = MappingProxyType({})


class MissingSignalError(AttributeError):
    """A signal was read from a state that does not hold it."""


class RobotState(Mapping[str, Array]):
    """Measurements of one robot, or of n simulations over a leading axis; float32.

    The attributes are the signals. They may be replaced and changed in place.
    """

    def __init__(self, **signals: Array) -> None:
        """Hold `signals`, each (..., width); a name that is not in `SIGNALS` is a ValueError."""
        if not signals.keys() <= SIGNALS.keys():
            unknown = sorted(signals.keys() - SIGNALS.keys())
            raise ValueError(f"no signal is called {', '.join(unknown)}: add it to SIGNALS")
        vars(self).update(signals)

    def __getattr__(self, name: str) -> Array:
        """Raise `MissingSignalError`; a signal that is held never gets here."""
        held = ", ".join(self.__dict__) or "nothing"
        raise MissingSignalError(
            f"the state does not hold {name!r}, it holds {held}: a driver or a simulation must "
            "measure what is read"
        )

    def __setattr__(self, name: str, values: Array) -> None:
        """Hold `values` as the signal `name`; a name that is not in `SIGNALS` is a ValueError."""
        if name not in SIGNALS:
            raise ValueError(f"no signal is called {name}: add it to SIGNALS")
        self.__dict__[name] = values

    def __getitem__(self, name: str) -> Array:
        """Return the signal `name`."""
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        """Return whether the signal `name` is held."""
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the signals that are held."""
        return iter(self.__dict__)

    def __len__(self) -> int:
        """Return the number of signals that are held."""
        return len(self.__dict__)


def width(name: str, joints: int, feet: int, stated: Mapping[str, int] = NO_WIDTHS) -> int:
    """Return the last axis of the signal `name` on a robot with so many joints and feet.

    `stated` are the widths of signals of size `ANY`; a KeyError where it lacks one.
    """
    size = SIGNALS[name].size
    if size == ANY:
        return stated[name]
    counts = {"joints": joints, "feet": feet}
    return counts[size] if size in counts else int(size)


def zeros(
    batch: tuple[int, ...], joints: int, feet: int, names: Iterable[str] = BASIC
) -> RobotState:
    """Return the signals `names` as zeros with the identity orientation, for leading axes `batch`.

    Signals of size `ANY` have no width of their own and cannot be among them.
    """
    widths = {name: width(name, joints, feet) for name in names}
    return blank(widths, batch)


def blank(widths: Mapping[str, int], batch: tuple[int, ...] = ()) -> RobotState:
    """Return signals of these widths as zeros with the identity orientation."""
    state = RobotState(**{name: np.zeros((*batch, n), np.float32) for name, n in widths.items()})
    if "base_quat" in state:
        state.base_quat[..., 0] = 1
    return state
