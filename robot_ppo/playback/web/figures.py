"""What a page shows of a robot and its policy, as plain data with few digits."""

from typing import Any

import numpy as np

from robot_ppo.playback.record import measured_velocity
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.policy import Policy

SIGMAS = 3.0
"""Half the range of a normalizer, in deviations, where a policy file is without quantiles."""
NARROWEST = 1e-3
"""Width of the range of what hardly changed in training."""
FAR = 9.99
"""Distances beyond are shown as this."""


def of_robot(robot: SimulatedRobot) -> dict[str, Any]:
    """Return where a robot is and what its joints do; the truth, without noise."""
    return {
        "time": round(robot.time, 4),
        "measured": rounded(measured_velocity(robot)),
        "qpos": rounded(robot.data.qpos, 5),
        "target": rounded(robot.target),
        "position": rounded(robot.joint_positions()),
        "torque": rounded(robot.torques(), 2),
        "contacts": robot.contacts().astype(int).tolist(),
    }


class TermRanges:
    """The observation beside what the policy saw in training."""

    def __init__(self, contract: Contract) -> None:
        """Take the range of each entry from the policy file.

        That is from the 0.1 % to the 99.9 % quantile of a rollout in the training world; of a file
        without them the normalizer's mean and three deviations to either side.
        """
        self.quantiles = contract.distribution is not None
        if contract.distribution is not None:
            low = np.array(contract.distribution.low)
            high = np.array(contract.distribution.high)
        else:
            mean = np.array(contract.normalizer.mean)
            spread = SIGMAS * np.array(contract.normalizer.std)
            low = mean - spread
            high = mean + spread
        self._middle = (low + high) / 2
        self._half = np.maximum(high - low, NARROWEST) / 2
        self._places = {
            str(e["name"]): slice(e["offset"], e["offset"] + e["size"]) for e in contract.layout
        }

    def of(self, policy: Policy) -> dict[str, list[float]]:
        """Return term -> for each entry its place in its range: -1 is the low end, 1 the high."""
        if not policy.ticks:
            return {}
        places = np.clip((policy.observation - self._middle) / self._half, -FAR, FAR)
        return {name: rounded(places[place], 2) for name, place in self._places.items()}


def rounded(values: np.ndarray, digits: int = 3) -> list[float]:
    """Return numbers with so many digits after the point."""
    return np.round(np.asarray(values, np.float64), digits).tolist()
