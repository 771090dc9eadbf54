"""A robot's vectors and the contract's, mapped onto each other by name, never by index.

joints = JointMap(contract.robot.joint_names, driver.joint_names, driver.name)   # or RefusedError
states = StateMap(joints, feet, driver.feet, driver.signals)
states.from_robot(state)                                   # in the contract's order
joints.to_robot(command.target)                            # in the robot's order
"""

from collections.abc import Iterable

import numpy as np

from robot_ppo_export.contract.state import SIGNALS, RobotState
from robot_ppo_export.errors import RefusedError


class JointMap:
    """Vectors of a robot's joints <-> vectors of the contract's joints, by name.

    Where both have the same order, a vector comes back as it is, not as a copy.
    """

    def __init__(self, contract: tuple[str, ...], robot: tuple[str, ...], driver: str) -> None:
        """Find every joint, or raise `RefusedError` naming both sides."""
        check_joints(contract, robot, driver)
        self._from_robot = np.array([robot.index(name) for name in contract], np.intp)
        self._to_robot = np.array([contract.index(name) for name in robot], np.intp)
        self._same = contract == robot

    @property
    def robot_places(self) -> np.ndarray | None:
        """Place of each of the contract's joints in a robot's vector; None where they agree."""
        return None if self._same else self._from_robot

    def from_robot(self, values: np.ndarray) -> np.ndarray:
        """Return (joints,) in the contract's order of (joints,) in the robot's."""
        return values if self._same else values[self._from_robot]

    def to_robot(self, values: np.ndarray) -> np.ndarray:
        """Return (joints,) in the robot's order of (joints,) in the contract's."""
        return values if self._same else values[self._to_robot]


class StateMap:
    """States in a robot's order of joints and feet -> the same in the contract's order."""

    def __init__(
        self,
        joints: JointMap,
        feet: tuple[str, ...],
        robot_feet: tuple[str, ...],
        signals: Iterable[str],
    ) -> None:
        """Map `signals`. Those of the feet are left out where the robot's feet have other names."""
        same = set(feet) == set(robot_feet)
        places = np.array([robot_feet.index(name) for name in feet] if same else [], np.intp)
        index = {"joints": joints.robot_places, "feet": None if feet == robot_feet else places}
        self._index = tuple(
            (name, index.get(SIGNALS[name].size))
            for name in SIGNALS
            if name in signals and (same or SIGNALS[name].size != "feet")
        )
        self._in_order = all(index is None for _, index in self._index)
        self._names = {name for name, _ in self._index}

    def from_robot(self, state: RobotState) -> RobotState:
        """Return the signals of `state` that are mapped; nothing is copied that is in order."""
        values = vars(state)
        if self._in_order and values.keys() == self._names:
            return state
        return RobotState(
            **{
                name: values[name] if index is None else values[name][index]
                for name, index in self._index
            }
        )


def check_joints(wanted: tuple[str, ...], offered: tuple[str, ...], driver: str) -> None:
    """Raise `RefusedError` unless both sides name the same joints, in whatever order."""
    if len(set(offered)) != len(offered):
        raise RefusedError(f"driver {driver}: two joints of the robot share a name: {offered}")
    missing = [name for name in wanted if name not in offered]
    extra = [name for name in offered if name not in wanted]
    if missing or extra:
        raise RefusedError(
            f"driver {driver}: policy and robot have different joints ({len(wanted)}, "
            f"{len(offered)}): only the policy has [{', '.join(missing)}], only the robot has "
            f"[{', '.join(extra)}]"
        )
