"""A log and its policy file, run again through the same node: every output must come out equal.

The log's measurements, times and commands are fed to an unchanged `Node`, tick by tick, and what
it decides is compared with what was recorded, bit for bit. A log whose ring has wrapped begins in
the middle; it is taken up where the histories are full and no fade is under way.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.contract.state import NO_WIDTHS, SIGNALS
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.commands.base import CommandSource
from robot_ppo_node.control.setpoints import FADE
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Health, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING
from robot_ppo_node.drivers.sends import Unsent
from robot_ppo_node.log import recorder as record
from robot_ppo_node.log.recorder import Recorder, for_policy
from robot_ppo_node.node import Node
from robot_ppo_node.safety.measured import Measured, held_signals

STAGES = (
    *("command", "observation", "action", "target", "kp", "kd"),
    *("policy_tick", "node_state", "guards", "flags"),
)
"""Columns that are recomputed, in the order in which a tick computes them."""
JOINT_STAGES = ("action", "target", "kp", "kd")


@dataclass(frozen=True)
class Mismatch:
    """The first disagreement between a log and its replay."""

    tick: int
    stage: str
    place: str
    """Term, joint or bit."""
    recorded: float
    recomputed: float

    def __str__(self) -> str:
        """Return where, and both values."""
        return (
            f"tick {self.tick}: {self.stage}{self.place} was {self.recorded!r} and is recomputed "
            f"as {self.recomputed!r}"
        )


class _Tape:
    """The log as clock, driver and command source of a node; `at` is the row that plays."""

    name = "replay"

    def __init__(
        self, rows: dict[str, np.ndarray], policy: Policy, signals: dict[str, int]
    ) -> None:
        robot = policy.contract.robot
        self.rows = rows
        self.at = 0
        self.joint_names = robot.joint_names
        self.feet = robot.feet
        self.capabilities = NOTHING
        self.measured = Measured(signals)
        self.signals = frozenset(signals)
        self.health = Health(len(robot.joints))

    def flag(self, bit: int) -> bool:
        return bool(self.rows["flags"][self.at] & bit)

    def now(self) -> float:
        return float(self.rows["time"][self.at])

    def sleep_until(self, deadline: float) -> None:
        """Do nothing: the log says what time it is."""

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Do nothing: the log is in the contract's order."""

    def close(self) -> None:
        """Do nothing."""

    def damp(self) -> None:
        """Do nothing."""

    def write(self, command: MotorCommand) -> None:
        """Do nothing."""

    def unsent(self) -> Unsent:
        return Unsent(failing=math.inf if self.flag(record.WRITE_FAILED) else 0.0)

    def read(self) -> Sample | None:
        if self.flag(record.READ_FAILED):
            raise OSError("as recorded")
        if not self.flag(record.FRESH):
            return None
        rows = self.rows
        at = self.at
        self.measured.flat[:] = rows["measured"][at]
        self.health.flat[:] = rows["health"][at]
        sequence = int(rows["sequence"][at])
        time = float(rows["sample_time"][at])
        return Sample(self.measured.state, sequence, time, self.health)

    def other_writers(self) -> tuple[str, ...]:
        return ("as recorded",) * int(self.rows["others"][self.at])


class _TapedCommands(CommandSource):
    """The log as command source."""

    name = ""

    def __init__(self, tape: _Tape) -> None:
        self.tape = tape

    def read(self, now: float) -> tuple[np.ndarray, float]:
        rows = self.tape.rows
        at = self.tape.at
        self.name = rows["source"][at].decode("ascii", "replace")
        return rows["wanted"][at], float(rows["wanted_age"][at])


def replay(policy: Policy, rows: dict[str, np.ndarray], meta: dict[str, Any]) -> int:
    """Return how many ticks were recomputed bit for bit.

    Raises:
        InputError: the log is of another policy, or too short.
        RefusedError: a tick differs; the text names the first tick, the stage and the place.
    """
    if meta.get("policy") != policy.sha256:
        raise InputError(
            f"the log is of policy {meta.get('policy')}, {policy.path} is {policy.sha256}: give "
            "the file that ran"
        )
    count = len(rows["time"])
    signals = _signals(policy, meta["measured"])
    again = for_policy(policy, 0, signals)
    if count == 0 or meta["widths"] != again.meta["widths"]:
        raise InputError("the log is empty, or its columns do not have this policy's sizes")
    tape = _Tape(rows, policy, signals)
    node = Node(
        policy,
        tape,
        tape,
        _TapedCommands(tape),
        again,
        stand=bool(meta.get("stand")),
        arm=bool(meta.get("armed")),
        joint_check=bool(meta.get("joint_check", meta.get("wiggle"))),  # its name in older logs
        signals=signals,
        limits=msgspec.convert(meta.get("limits", {}), Limits),
        fail_after=meta.get("fail_after") or math.inf,  # no number in JSON, or an older log
        silent_after=meta.get("silent_after") or math.inf,
        damp_after_stop=math.inf,
        damp_after_fault=math.inf,
    )
    node.prepare()
    first = _take_up(node, tape, rows) if meta["first"] > 1 else 0
    for t in range(first, count):
        _play(node, tape, t)
        mismatch = _compare(rows, t, again, policy)
        if mismatch:
            raise RefusedError(f"the log is not reproduced: {mismatch}")
    return count - first


def _signals(policy: Policy, places: list[str]) -> dict[str, int]:
    """Return the signals that a log holds and their widths, or `InputError` where some lack.

    A log of an earlier release may hold more than a node holds now: the guards looked at those too.
    """
    widths = Counter(place.partition("[")[0] for place in places)
    wanted = held_signals(policy.contract)
    lacking = [name for name, n in wanted.items() if widths[name] != n]
    unknown = [name for name in widths if name not in SIGNALS]
    if lacking or unknown:
        raise InputError(
            f"the log lacks [{', '.join(lacking)}] and has [{', '.join(unknown)}], which this "
            "release does not know: replay it with the release that wrote it"
        )
    return dict(widths)


def _play(node: Node, tape: _Tape, t: int) -> None:
    """Run tick `t` again."""
    tape.at = t
    if tape.flag(record.ARM):
        node.arm()
    if tape.flag(record.STOP):
        node.stop("as recorded")
    if tape.flag(record.EMERGENCY):
        node.damp("as recorded")
    if tape.flag(record.RESET):
        node.reset()
    if tape.flag(record.TAKEN_OVER):
        node.taken_over("as recorded")
    node.tick(int(tape.rows["missed"][t]))


def _compare(
    rows: dict[str, np.ndarray], t: int, again: Recorder, policy: Policy
) -> Mismatch | None:
    """Return the first number of tick `t` whose bits differ, or None."""
    for stage in STAGES:
        old = rows[stage][t]
        new = again.slots[stage][0]
        if old.tobytes() == new.tobytes():
            continue
        a = np.atleast_1d(old)
        b = np.atleast_1d(new)
        bits = a.view(np.uint8).reshape(len(a), -1) != b.view(np.uint8).reshape(len(b), -1)
        i = int(bits.any(axis=1).argmax())
        return Mismatch(t, stage, _place(stage, i, old.ndim, policy), a[i].item(), b[i].item())
    return None


def _place(stage: str, i: int, ndim: int, policy: Policy) -> str:
    """Return the name of number `i` of a stage: a term and its part, a joint, an index."""
    joints = policy.contract.robot.joint_names
    if stage == "observation":
        return f" term {policy.layout.entries(joints)[i]}"
    return "" if not ndim else f" {joints[i]}" if stage in JOINT_STAGES else f"[{i}]"


def _take_up(node: Node, tape: _Tape, rows: dict[str, np.ndarray]) -> int:
    """Put the node into the state that a wrapped log implies; return the first row to play."""
    policy = node.policy
    history = max(spec.history for spec in policy.layout.specs)
    first = history + math.ceil(FADE / node.period) + 1
    states = rows["node_state"][: first + 1]
    lasting = [State.READY, State.POLICY, State.DAMP, State.PASSIVE]
    if policy.contract.robot.life_cycle.start == "hanging":
        lasting.remove(State.READY)  # since when the feet carry is not in the log
    if len(states) <= first or (states != states[0]).any() or states[0] not in lasting:
        raise InputError(
            f"the log's ring has wrapped, and its first {first + 1} ticks are not in one lasting "
            "state: record a shorter run"
        )
    if states[0] == State.POLICY and policy.contract.states:
        raise InputError(
            "the log's ring has wrapped while the policy ran, and what its network remembered by "
            "then is not in it: record with a longer ring"
        )
    for t in range(first - history, first):
        _see(policy, tape, t, states[0])
    policy.ticks = int(rows["policy_tick"][first - 1]) + 1
    policy.last_action = rows["action"][first - 1][policy.action_map.moved]
    node.take_up(
        State(int(states[0])),
        rows["target"][first - 1],
        rows["measured"][first - 1],
        float(rows["sample_time"][first - 1]),
        int(rows["sequence"][first - 1]),
    )
    return first


def _see(policy: Policy, tape: _Tape, t: int, state: int) -> None:
    """Let the policy observe tick `t` again, where it did."""
    if state != State.POLICY:
        return
    rows = tape.rows
    tape.measured.flat[:] = rows["measured"][t]
    policy.ticks = int(rows["policy_tick"][t])
    policy.last_action = rows["action"][t - 1][policy.action_map.moved]
    policy.observer.observe(policy.inputs(tape.measured.state, rows["command"][t]))
