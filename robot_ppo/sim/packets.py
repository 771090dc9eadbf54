"""State packets on their way to the policies of n robots: some are lost, some come late.

    packets = Packets(robot, n=1024, longest=2)
    state = packets.arrive(state, ids, lost, late, rng)      # once per control period

A packet holds one measurement, noise included, and is sent every control period. It is lost with a
probability of its robot's, or arrives after a time of its own, in whole control periods; a policy
computes with the newest that has arrived, as a node does.
"""

from typing import Any

import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import BASIC, RobotState, width

NEVER = np.iinfo(np.int64).max


class Packets:
    """The packets of n robots that are on their way, and those that arrived last."""

    def __init__(self, robot: RobotSpec, n: int, longest: int) -> None:
        """Start as after a reset: the first packet of each robot arrives at once.

        Args:
            robot: its joints and feet. A packet holds the signals that every robot measures; others
                take another way.
            n: number of robots.
            longest: a packet is at most so many control periods late.
        """
        joints = len(robot.joints)
        widths = {name: width(name, joints, len(robot.feet)) for name in BASIC}
        ends = np.cumsum(list(widths.values())).tolist()
        self._places = {
            name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)
        }
        slots = longest + 1
        self._sent = np.zeros((n, slots, ends[-1]), np.float32)
        self._arrival = np.full((n, slots), NEVER)
        """Number of the control period, since a reset, in which each arrives."""
        self._number = np.full((n, slots), -1)
        self._held = np.zeros((n, ends[-1]), np.float32)
        """Contents of the packet that arrived last."""
        self._now = np.zeros(n, np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays (n, ...) that the next states depend on, not copies."""
        return {
            "sent": self._sent,
            "arrival": self._arrival,
            "number": self._number,
            "held": self._held,
            "now": self._now,
        }

    def reset(self, ids: Any = ...) -> None:
        """Forget the packets of the robots `ids`."""
        self._arrival[ids] = NEVER
        self._number[ids] = -1
        self._now[ids] = 0

    def arrive(
        self,
        state: RobotState,
        ids: Any,
        lost: np.ndarray,
        late: np.ndarray,
        rng: np.random.Generator,
    ) -> RobotState:
        """Send the measurements `state` of `ids`, and return what their policies have by now.

        Args:
            state: signals (m, ...) of this control period.
            ids: the m robots, or `...`.
            lost: probability that a packet never arrives, (m,).
            late: a packet arrives after a time that is uniform up to this, rounded to whole
                control periods; in control periods, (m,).
            rng: draws both.
        """
        rows = np.arange(len(self._now))[ids]
        now = self._now[rows]
        slot = now % self._sent.shape[1]
        draws = rng.random((2, len(rows)))
        arrival = now + np.rint(late * draws[0]).astype(np.int64)
        arrival[draws[1] < lost] = NEVER
        arrival[now == 0] = 0
        for name, place in self._places.items():
            self._sent[rows, slot, place] = state[name]
        self._arrival[rows, slot] = arrival
        self._number[rows, slot] = now
        self._receive(rows, now)
        self._now[rows] += 1
        held = self._held[rows]
        arrived = {name: held[:, place] for name, place in self._places.items()}
        return RobotState(**{**state, **arrived})

    def _receive(self, rows: np.ndarray, now: np.ndarray) -> None:
        """Hold the newest packet of `rows` that has arrived; without one, what is held stays.

        A packet that is older than what is held left its slot before that did.
        """
        there = np.where(self._arrival[rows] <= now[:, None], self._number[rows], -1)
        best = there.argmax(axis=1)
        arrived = there.max(axis=1) >= 0
        some = rows[arrived]
        self._held[some] = self._sent[some, best[arrived]]
