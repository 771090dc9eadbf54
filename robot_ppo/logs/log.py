"""A log of the node, as arrays.

    log = Log.load(Path("walk.rlog"))
    log.measured("joint_pos")         # (T, joints) [rad]

It needs numpy alone.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo_node.log import log_file


@dataclass
class Log:
    """One run: columns (T, ...), oldest tick first, and the header of the log."""

    path: Path
    rows: dict[str, np.ndarray]
    meta: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Log":
        """Return the log in a file, or raise `InputError`."""
        return cls(path, *log_file.load(path))

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.rows["time"])

    @property
    def time(self) -> np.ndarray:
        """(T,) [s] since the first tick."""
        times = self.rows["time"]
        return times - times[0] if len(times) else times

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that were measured, in the order of the log."""
        return tuple(dict.fromkeys(place.partition("[")[0] for place in self.meta["measured"]))

    def measured(self, signal: str) -> np.ndarray:
        """Return the measurements of one signal, (T, k); (T, 0) if the log does not hold it."""
        names = [name.partition("[")[0] for name in self.meta["measured"]]
        return self.rows["measured"][:, [name == signal for name in names]]

    def running(self) -> np.ndarray:
        """Return a mask of the ticks in which the network ran, (T,) bool."""
        return self.rows["policy_tick"] >= 0

    def guard_counts(self) -> dict[str, int]:
        """Return guard -> number of ticks in which it clamped or damped, without zeros."""
        bits = self.rows["guards"]
        counts = {name: int((bits >> i & 1).sum()) for i, name in enumerate(self.meta["guards"])}
        return {name: n for name, n in counts.items() if n}

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield (state, first tick, last tick + 1) of every stay in a state."""
        states = self.rows["node_state"]
        edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
        for a, b in itertools.pairwise(edges):
            if b > a:
                yield self.state_name(int(states[a])), a, b

    def state_name(self, number: int) -> str:
        """Return a state's name."""
        names = self.meta["states"]
        return names[number] if number < len(names) else str(number)

    def tracking(self) -> np.ndarray:
        """Return the error of each joint against its target of the tick before, (T', joints) [rad].

        T' counts the ticks in which the network ran and had run in the tick before.
        """
        ran = self.running()
        both = ran[1:] & ran[:-1]
        return (self.measured("joint_pos")[1:] - self.rows["target"][:-1])[both]
