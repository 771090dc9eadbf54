"""Every tick of a run, in memory that is taken before the run begins.

A recorder is a ring: when it is full, the oldest ticks are overwritten. It holds what the node
read and decided, and enough to decide it again (see replay.py). Nothing is written to disk until
`save`, which makes one .npz file without pickles: one array per column, oldest tick first, and
`meta`, a JSON text with the policy's digest, the joints and the events.
"""

import io
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.node.drivers.base import Health, Measured
from robot_ppo_export.policy import Policy

LOG_VERSION = 2
ARM, STOP, READ_FAILED, WRITE_FAILED, FRESH = 1, 2, 4, 8, 16
EMERGENCY, RESET, TAKEN_OVER = 32, 64, 128
"""Bits of the column `flags`: what happened to the node in this tick."""

COLUMNS: dict[str, tuple[type, str]] = {
    "time": (np.float64, ""),  # [s] the node's clock at the start of the tick
    "node_state": (np.uint8, ""),  # number of the `State` that the tick ended in
    "flags": (np.uint16, ""),
    "missed": (np.uint32, ""),  # deadlines missed just before this tick
    "sequence": (np.int64, ""),  # of the newest sample
    "sample_time": (np.float64, ""),  # [s] when it arrived
    "measured": (np.float32, "measured"),  # the signals of RobotState, one after the other
    "health": (np.float32, "health"),  # temperatures, lost motors, voltage; NaN where not said
    "others": (np.uint8, ""),  # other writers that the driver saw
    "wanted": (np.float32, "command"),  # command as the source gave it
    "wanted_age": (np.float64, ""),  # [s]
    "command": (np.float32, "command"),  # command as the policy got it
    "policy_tick": (np.int64, ""),  # -1 while the network does not run
    "observation": (np.float32, "observation"),
    "action": (np.float32, "joints"),  # raw output of the network
    "target": (np.float32, "joints"),  # [rad] as sent
    "kp": (np.float32, "joints"),  # [N m/rad] as sent
    "kd": (np.float32, "joints"),  # [N m s/rad] as sent
    "guards": (np.uint32, ""),  # bit i: guard i clamped or damped
    "late": (np.float64, ""),  # [s] from the deadline to the start of the tick
    "duration": (np.float64, ""),  # [s] from the start of the tick to its end
}
"""Column -> type and width. The last two are measurements of the computer, not of the run."""
TIMINGS = ("late", "duration")


class Recorder:
    """A ring of ticks."""

    def __init__(self, widths: dict[str, int], ticks: int) -> None:
        """Take memory for `ticks` ticks.

        Args:
            widths: size of "measured", "health", "observation" and "joints".
            ticks: how many to hold; the operating system gives the memory as it is written.
        """
        sizes = {"": (), **{name: (n,) for name, n in widths.items()}, "command": (3,)}
        self.ticks = ticks
        self.columns = {
            name: np.zeros((ticks, *sizes[width]), kind) for name, (kind, width) in COLUMNS.items()
        }
        self.meta: dict[str, Any] = {"log_version": LOG_VERSION}
        """Plain data that goes into the file beside the columns."""
        self.count = 0
        """Ticks recorded since the start, those that were overwritten included."""

    def append(self, **values: Any) -> None:
        """Record one tick; every column must be given."""
        i = self.count % self.ticks
        columns = self.columns
        for name, value in values.items():
            columns[name][i] = value
        self.count += 1

    def rows(self) -> dict[str, np.ndarray]:
        """Return every column, oldest tick first."""
        if self.count <= self.ticks:
            return {name: values[: self.count] for name, values in self.columns.items()}
        shift = -(self.count % self.ticks)
        return {name: np.roll(values, shift, axis=0) for name, values in self.columns.items()}

    def log(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the columns and the meta data, as `load` gives them back."""
        return self.rows(), self.meta | {"recorded": self.count}

    def save(self, path: Path) -> None:
        """Write the log atomically, or raise `InputError`."""
        rows, meta = self.log()
        buffer = io.BytesIO()
        text = np.array(msgspec.json.encode(meta).decode())
        np.savez(buffer, meta=text, allow_pickle=False, **rows)
        write_atomically(path, buffer.getvalue())


def for_policy(policy: Policy, seconds: float) -> Recorder:
    """Return a recorder that holds the last `seconds` of a run of `policy`."""
    contract = policy.contract
    measured = Measured(len(contract.robot.joints), len(contract.robot.feet))
    widths = {
        "measured": len(measured.flat),
        "health": len(Health(len(contract.robot.joints)).flat),
        "observation": policy.layout.size,
        "joints": len(contract.robot.joints),
    }
    recorder = Recorder(widths, max(1, math.ceil(seconds / contract.control_period)))
    recorder.meta |= {
        "policy": policy.sha256,
        "robot": contract.robot.name,
        "joints": contract.robot.joint_names,
        "measured": measured.places,
        "control_period": contract.control_period,
    }
    return recorder


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the columns and the meta data of a log, or raise `InputError`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        meta = msgspec.json.decode(str(columns.pop("meta")), type=dict[str, Any])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        raise InputError(f"{path}: is not a log of robot-ppo-node ({error})") from None
    if meta.get("log_version") != LOG_VERSION or set(columns) != set(COLUMNS):
        raise InputError(
            f"{path}: is a log of version {meta.get('log_version')} with {len(columns)} columns; "
            f"this node reads version {LOG_VERSION} with {len(COLUMNS)}"
        )
    if len({len(values) for values in columns.values()}) != 1:
        raise InputError(f"{path}: its columns have different lengths")
    return columns, meta
