"""Every tick of a run, in memory that is taken before the run begins.

A recorder is a ring of fixed-size slots: when it is full, the oldest ticks are overwritten. It
holds what the node read and decided, and enough to decide it again (replay.py). The tick stores
to memory and nothing else; a `LogWriter` brings the slots to the disk behind its back.

    recorder = for_policy(policy, seconds=10)
    recorder.append(time=..., node_state=..., ...)     # once per tick, every column
    recorder.event(time, "POLICY: running the policy")
    rows, meta = recorder.log()                        # as log_file.load gives them back
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Health
from robot_ppo_node.log import log_file
from robot_ppo_node.log.log_file import COLUMNS, EVENT
from robot_ppo_node.safety.guards import GUARDS
from robot_ppo_node.safety.measured import Measured, held_signals

ARM = 1
STOP = 2
READ_FAILED = 4
WRITE_FAILED = 8
FRESH = 16
EMERGENCY = 32
RESET = 64
TAKEN_OVER = 128
"""Bits of the column `flags`: what happened to the node in this tick."""
EVENTS = 512
"""Events that are kept: the newest."""


class Recorder:
    """A ring of ticks and a ring of events."""

    def __init__(self, widths: dict[str, int], ticks: int) -> None:
        """Take memory for `ticks` ticks.

        Args:
            widths: numbers in the columns "measured", "health", "command", "observation" and
                "joints".
            ticks: how many to hold.
        """
        self.slots = np.zeros(ticks, log_file.tick_type(widths))
        self.told = np.zeros(EVENTS, EVENT)
        self.meta: dict[str, Any] = {"widths": widths}
        """Plain data that goes into the file beside the columns."""
        self.count = 0
        """Ticks recorded since the start, those that were overwritten included."""
        self.events = 0
        """Events since the start."""
        self.most_damping: float = math.inf
        """Ticks of one damping that are recorded: hours of it must not overwrite the fall."""
        self.on_tick: Callable[[int], None] | None = None
        """Called with `count` after every tick that was recorded; must be quick."""
        self._damped = 0
        self._in_order = False

    @property
    def ticks(self) -> int:
        """Number of ticks that it can hold."""
        return len(self.slots)

    def append(self, **values: Any) -> None:
        """Record one tick; every column must be given, in the order of `COLUMNS`."""
        if not self._in_order:
            self._require_order(values)
        self._damped = self._damped + 1 if values["node_state"] == State.DAMP else 0
        if self._damped > self.most_damping:
            return
        # One store of a tuple takes half of what 23 stores into columns take.
        self.slots[self.count % len(self.slots)] = (self.count + 1, *values.values(), 0)
        self.count += 1
        if self.on_tick:
            self.on_tick(self.count)

    def event(self, time: float, text: str) -> None:
        """Record that something happened at `time` [s]."""
        i = self.events % EVENTS
        self.told["time"][i] = time
        self.told["text"][i] = text.encode()
        self.events += 1
        self.told["number"][i] = self.events

    def log(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the columns and the meta data, as `log_file.load` gives them back."""
        return log_file.parse(self._file())

    def rows(self) -> dict[str, np.ndarray]:
        """Return every column, oldest tick first."""
        return self.log()[0]

    def save(self, path: Path) -> None:
        """Write what is in memory as a log file, atomically, or raise `InputError`."""
        write_atomically(path, self._file())

    def _require_order(self, values: dict[str, Any]) -> None:
        """Look at the first tick; the others come from the same line of code."""
        if tuple(values) != tuple(COLUMNS):
            raise ValueError(f"a tick is {tuple(COLUMNS)}, not {tuple(values)}")
        self._in_order = True

    def _file(self) -> bytes:
        """Return the bytes of a log file, of a run that is over."""
        slots = self.slots[: self.count].copy()
        told = self.told[: self.events].copy()
        head = log_file.head(encode(self.meta), len(told), len(slots), closed=True)
        return b"".join((head, log_file.add_checksums(told), log_file.add_checksums(slots)))


def encode(meta: dict[str, Any]) -> bytes:
    """Return meta data as they stand in the file."""
    return msgspec.json.encode(meta)


def for_policy(
    policy: Policy, seconds: float, signals: Mapping[str, int] | None = None
) -> Recorder:
    """Return a recorder that holds the last `seconds` of a run of `policy`.

    `signals` are what is recorded of a measurement, by default what a node holds.
    """
    contract = policy.contract
    measured = Measured(signals or held_signals(contract))
    widths = {
        "measured": len(measured.flat),
        "health": len(Health(len(contract.robot.joints)).flat),
        "command": contract.command.size,
        "observation": policy.layout.size,
        "joints": len(contract.robot.joints),
    }
    recorder = Recorder(widths, max(1, math.ceil(seconds / contract.control_period)))
    recorder.meta |= {
        "policy": policy.sha256,
        "task": contract.task,
        "robot": contract.robot.name,
        "joints": contract.robot.joint_names,
        "measured": measured.places,
        "command": contract.command.names,
        "guards": tuple(guard.name for guard in GUARDS),
        "states": tuple(state.name for state in State),
        "control_period": contract.control_period,
    }
    return recorder
