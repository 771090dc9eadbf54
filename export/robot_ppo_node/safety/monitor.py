"""Warns when an observation leaves the range of its training; never stops the robot.

The contract carries the quantiles that each entry of the observation had in training. A level per
entry rises by one in a tick outside of the range and falls by one in a tick inside, so a joint
that shakes is found as well as one that is stuck. At `PATIENCE` an excursion begins, at 0 it ends;
it is counted, and named with the joint, the value and the range.

    monitor = Monitor(policy.contract)
    for text in monitor.watch(policy.observation):      # once per tick; nearly always empty
        print(text)
    monitor.excursions()                                # {"joint_vel FL_calf_joint": 3}
"""

import numpy as np

from robot_ppo_export.contract.contract import Contract

PATIENCE = 25
"""Ticks more outside than inside that make an excursion. With this and `MARGIN`, the walking policy
that ships has 4 excursions per robot-hour in its own training world, where it is pushed every 6 s;
at 10 ticks it has 23, at 25 ticks without a margin 30."""
MARGIN = 0.1
"""The range is that from 0.1 % to 99.9 %, wider by this share of its width at either end."""


class Monitor:
    """One policy's ranges, and the count of what left them."""

    def __init__(self, contract: Contract) -> None:
        """Take the ranges from the contract; without a distribution nothing is ever outside."""
        self.entries = contract.resolve().entries(contract.robot.joint_names)
        size = len(self.entries)
        self.low = np.full(size, -np.inf, np.float32)
        """(size,) as the network sees it; the older values of a history have no limit."""
        self.high = np.full(size, np.inf, np.float32)
        if contract.distribution:
            low, high = (np.array(getattr(contract.distribution, k)) for k in ("low", "high"))
            margin = MARGIN * (high - low)
            newest = np.array([entry.age == 0 for entry in self.entries])
            self.low[newest] = (low - margin)[newest]
            self.high[newest] = (high + margin)[newest]
        self.counts = np.zeros(size, np.int64)
        """Excursions of each entry, (size,)."""
        self.outside = 0
        """Entries that are on an excursion now."""
        self._level = np.zeros(size, np.int8)
        self._active, self._is_out, self._is_high = (np.zeros(size, bool) for _ in range(3))
        self._settled = True
        """Every level is zero."""

    def reset(self) -> None:
        """Begin anew with the next observation; what was counted stays."""
        self._level[:] = 0
        self._active[:] = False
        self.outside = 0
        self._settled = True

    def watch(self, observation: np.ndarray) -> list[str]:
        """Take in one observation (size,); return a sentence for excursions worth telling of.

        Of one entry those are the first, the second, the fourth and so on: an entry that goes in
        and out for an hour must not fill the log.
        """
        level = self._level
        is_out = self._is_out
        np.less(observation, self.low, out=is_out)
        np.greater(observation, self.high, out=self._is_high)
        np.logical_or(is_out, self._is_high, out=is_out)
        if self._settled and not np.logical_or.reduce(is_out):
            return []
        np.add(level, is_out, out=level)
        np.add(level, is_out, out=level)
        np.subtract(level, 1, out=level)
        np.maximum(level, 0, out=level)
        highest = np.maximum.reduce(level)
        self._settled = not highest
        if not self.outside and highest < PATIENCE:
            return []
        np.minimum(level, PATIENCE, out=level)
        began = np.flatnonzero((level == PATIENCE) & ~self._active)
        self._active[began] = True
        self._active &= level > 0
        self.outside = int(np.count_nonzero(self._active))
        self.counts[began] += 1
        told = [i for i in began.tolist() if self.counts[i] & (self.counts[i] - 1) == 0]
        return [self._tell(i, observation) for i in told]

    def excursions(self) -> dict[str, int]:
        """Return the name of each entry that was on an excursion, and how often."""
        return {str(self.entries[i]): int(self.counts[i]) for i in np.flatnonzero(self.counts)}

    def _tell(self, i: int, observation: np.ndarray) -> str:
        """Return entry `i`, its value and its range in the unit of its term."""
        entry = self.entries[i]
        count = int(self.counts[i])
        value, low, high = (float(x[i]) / entry.scale for x in (observation, self.low, self.high))
        unit = "" if entry.unit == "1" else f" {entry.unit}"
        times = f", {count} times so far" if count > 1 else ""
        return (
            f"outside of training: {entry} is {value:.4g}{unit}, trained {low:.4g} .. {high:.4g}"
            f"{times}"
        )
