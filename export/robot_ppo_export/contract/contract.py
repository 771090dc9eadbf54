"""`Contract`: everything that a policy assumes about the robot and the world, as one structure.

It travels inside the policy file as JSON at full precision. What is here is enough to compute the
observation, run the network, form the joint targets and judge whether a robot fits.
"""

from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract import command as commands
from robot_ppo_export.contract import spec as robot_spec
from robot_ppo_export.contract.action import ActionMap, ActionSpec, moved
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.layout import Layout, TermSpec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import ANY, MOST_NUMBERS, SIGNALS, width
from robot_ppo_export.contract.terms import TERMS
from robot_ppo_export.errors import RefusedError

FORMAT_VERSION = 3
OLDEST_FORMAT = 2
MODEL_KEY = "robot_ppo.model"
"""Of the robot's model in a policy file's metadata, which only simulations read."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Normalizer(_Struct, frozen=True):
    """Observation statistics; the network sees clip((obs - mean) / std, -clip, clip)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float


class Distribution(_Struct, frozen=True):
    """Quantiles of the observation while this policy ran in its training world.

    Quantiles of each entry, (size,), in the units that the network sees (scaled and clipped, not
    normalized), over a rollout of the deterministic policy with noise, randomization and pushes.
    """

    robot_ticks: int
    """Observations that the quantiles were taken over."""
    minimum: tuple[float, ...]
    low: tuple[float, ...]
    """0.1 %: below the extremes, which are single events such as a fall."""
    median: tuple[float, ...]
    high: tuple[float, ...]
    """99.9 %"""
    maximum: tuple[float, ...]


LEVELS = {"minimum": 0.0, "low": 0.001, "median": 0.5, "high": 0.999, "maximum": 1.0}
"""Field of `Distribution` -> its share of the observations below it."""


def distribution(observations: np.ndarray) -> Distribution:
    """Return the quantiles of observations (m, size)."""
    values = np.quantile(observations, list(LEVELS.values()), axis=0).astype(np.float32)
    rows = {name: tuple(row.tolist()) for name, row in zip(LEVELS, values, strict=True)}
    return Distribution(robot_ticks=len(observations), **rows)


class Network(_Struct, frozen=True):
    """The actor after the normalizer."""

    hidden: tuple[int, ...]
    activation: str


DELAY_RANDOMIZATIONS = ("actuator_delay", "group_delay", "sensor_delay", "packet_delay")
"""Randomizations that add up to the time from a command to its measured effect [ms]."""


class Training(_Struct, frozen=True):
    """Origin of the policy, and the world that it was trained in."""

    physics_timestep: float
    """[s]"""
    randomization: dict[str, Any]
    """Name of each randomization -> its range, as in the task's YAML; delays in [ms]."""
    noise: dict[str, float]
    """Signal -> half-width of its uniform noise, in the signal's unit."""
    steps: int
    """Environment steps, all simulations together."""
    seed: int
    versions: dict[str, str]
    git_commit: str
    map: dict[str, Any] = {}
    """Errors of the map that a height scan is read from, as in the task's YAML; empty: none."""
    deviation: tuple[float, ...] = ()
    """Standard deviation of each action with which the policy explored at the end, for a student
    that goes on from there; empty: not known, or a function of the observation."""

    def delay(self) -> tuple[float, float]:
        """Return the smallest and largest time from a command to its measured effect [s].

        A joint has the delay of all motors and that of its group, and its measurement is as old as
        all are. A state packet may also come at once: its range adds to the largest alone.
        """
        ranges = {name: self.randomization.get(name, (0.0, 0.0)) for name in DELAY_RANDOMIZATIONS}
        low = sum(float(ranges[name][0]) for name in DELAY_RANDOMIZATIONS if name != "packet_delay")
        high = sum(float(ranges[name][1]) for name in DELAY_RANDOMIZATIONS)
        return low * 1e-3, high * 1e-3


class Scores(_Struct, frozen=True):
    """Verdict of the scorecard on the policy, from when its file was written."""

    condition: str
    """The first of the task's conditions, which decides."""
    passed: bool
    """Whether no limit of the task was exceeded."""
    figures: dict[str, float]
    """Figure -> its mean over the trials; falls are counted."""
    gain: dict[str, float]
    """Entry of a twist -> measured over commanded; none of other commands."""


class Contract(_Struct, frozen=True, kw_only=True):
    """The assumptions of one policy."""

    format_version: int = FORMAT_VERSION
    """Format of the file that it was read from; `to_json` writes the newest."""
    task: str
    robot: RobotSpec
    observation: tuple[TermSpec, ...]
    layout: tuple[dict[str, Any], ...]
    """The resolved layout: name, offset, size, unit, frame, scale, clip, history of each term, and
    its parameters where it has any."""
    action: ActionSpec
    control_period: float
    """[s] between two runs of the network."""
    gait_frequency: float | None = None
    """Cycles per second of the gait clock [Hz]; None where the task has no gait."""
    command: CommandSpec
    """Command that an operator gives; sticks are scaled to its ranges."""
    signal_sizes: dict[str, int] = {}
    """Width of each signal of size `ANY` that the observation reads."""
    normalizer: Normalizer
    distribution: Distribution | None = None
    """None in a contract that was never rolled out, such as that of a run under evaluation."""
    network: Network
    states: dict[str, int] = {}
    """Name of each state of a network with a memory -> its width. The graph takes it in as
    `<name>` (N, width) and gives out `next_<name>`; it is zeros when the policy starts."""
    training: Training
    evaluation: dict[str, Any] | None = None
    """The task's section on evaluation, as plain data; nothing here reads it."""
    model_fingerprint: str | None = None
    """Fingerprint of the robot's model files that the policy was trained with."""
    scores: Scores | None = None
    """None in a file that was written without scoring its policy; nothing here reads it."""

    def resolve(self) -> Layout:
        """Return the observation's layout."""
        joints = self.robot.joint_names
        places = moved(joints, self.action.held)
        return Layout(self.observation, joints, self.command, self.signal_sizes, places)

    def action_map(self) -> ActionMap:
        """Return the action's arithmetic."""
        return ActionMap(self.action, self.robot)

    def signal_width(self, name: str) -> int:
        """Return how many numbers signal `name` has on this robot."""
        joints = len(self.robot.joints)
        feet = len(self.robot.feet)
        return width(name, joints, feet, self.signal_sizes)

    def input_names(self) -> tuple[str, ...]:
        """Return what an observation is computed from: signals, and what the node itself knows."""
        read = self.resolve().signals
        signals = [name for name in SIGNALS if name in read]
        known = {"command": self.command.size, "last_action": True, "phase": self.gait_frequency}
        return (*signals, *(name for name, there in known.items() if there))


ADDED = ("robot.life_cycle", "robot.foot_geoms", "robot.imu.mounting")
"""Keys of the robot that came with format 3; in older files they mean their default."""


LATER = (
    *("scores", "states", "action.held", "action.stepping"),
    *("training.map", "training.deviation"),
)
"""Keys that were added to format 3 after files of it were written; without them, their default."""


def to_json(contract: Contract) -> str:
    """Return the contract as JSON; floats are written so that reading gives the same bits."""
    data = msgspec.to_builtins(msgspec.structs.replace(contract, format_version=FORMAT_VERSION))
    # Terms without parameters are written as they were before there were any.
    for term in data["observation"]:
        if not term["parameters"]:
            del term["parameters"]
    # In the order that they were given: the first of the task's conditions decides.
    return msgspec.json.encode(data).decode()


def from_json(text: str) -> Contract:
    """Return the contract in `text`, or raise `RefusedError` with what is wrong and where."""
    try:
        data = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RefusedError(f"the contract is not valid JSON: {error}") from None
    _check_version(data.get("format_version"))
    try:
        data = _upgraded(data)
        contract = msgspec.convert(data, Contract)
    except msgspec.ValidationError as error:
        raise RefusedError(f"the contract is incomplete or malformed: {error}") from None
    # A structure fills in defaults; a file that leaves one out was not written by us.
    lacking = _lacking(msgspec.json.decode(to_json(contract)), data, "")
    known = LATER + ADDED if contract.format_version == 2 else LATER
    lacking = [path for path in lacking if path not in known]
    if lacking:
        raise RefusedError(f"the contract lacks {', '.join(lacking)}")
    _check(contract)
    return contract


def _check_version(version: Any) -> None:
    """Raise `RefusedError` for a format that this release does not read."""
    if type(version) is int and OLDEST_FORMAT <= version <= FORMAT_VERSION:
        return
    newer = type(version) is int and version > FORMAT_VERSION
    remedy = "install a newer release" if newer else "export the run again with this release"
    raise RefusedError(
        f"the contract has format version {version!r} and this node reads {OLDEST_FORMAT} to "
        f"{FORMAT_VERSION}: {remedy}, or install the robot-ppo release that wrote the file"
    )


class _TwistRanges(_Struct, frozen=True):
    """The field `commands` of format 2."""

    vx: commands.Range
    vy: commands.Range
    yaw_rate: commands.Range


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return contract data of any format that is read in the newest; malformed keys stay so."""
    if data["format_version"] == FORMAT_VERSION:
        return data
    added = dict.fromkeys(("evaluation", "model_fingerprint", "scores"))
    added |= {"signal_sizes": {}, "states": {}}
    unknown = sorted({"command", *added} & data.keys())
    if unknown:
        raise RefusedError(f"the contract is malformed: format 2 has no field `{unknown[0]}`")
    if "commands" not in data:
        raise RefusedError("the contract lacks commands")
    rest = {key: value for key, value in data.items() if key != "commands"}
    if isinstance(rest.get("robot"), dict):
        rest["robot"] = _robot_of_format_2(rest["robot"])
    try:
        ranges = msgspec.convert(data["commands"], _TwistRanges)
    except msgspec.ValidationError as error:
        raise RefusedError(f"the contract is malformed: commands: {error}") from None
    twist = commands.twist(ranges.vx, ranges.vy, ranges.yaw_rate)
    return rest | added | {"command": msgspec.to_builtins(twist)}


def _robot_of_format_2(robot: dict[str, Any]) -> dict[str, Any]:
    """Return a robot's data without the keys that format 2 had besides."""
    imu = robot.get("imu")
    order = imu.get("quaternion", "wxyz") if isinstance(imu, dict) else "wxyz"
    if order != "wxyz":
        raise RefusedError(f"the contract is malformed: imu.quaternion is {order!r}, not 'wxyz'")
    return robot_spec.without_statements(robot)


def _lacking(whole: Any, part: Any, path: str) -> list[str]:
    """Return the paths of the keys of `whole` that `part` does not have."""
    if isinstance(whole, dict):
        keys = [(f"{path}.{key}" if path else key, key) for key in whole]
        found = [_lacking(whole[k], part[k], p) if k in part else [p] for p, k in keys]
    elif isinstance(whole, list):
        pairs = zip(whole, part, strict=True)
        found = [_lacking(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(pairs)]
    else:
        found = []
    return [p for paths in found for p in paths]


def _check(contract: Contract) -> None:
    """Raise `RefusedError` where the contract contradicts itself."""
    try:
        robot_spec.check(contract.robot, "contract")
        commands.check(contract.command, contract.robot.joint_names)
        layout = contract.resolve()
        contract.action_map()
    except Exception as error:
        raise RefusedError(f"the contract does not hold together: {error}") from None
    for stated, computed in zip_longest(contract.layout, layout.describe()):
        if _as_json(stated) != _as_json(computed):  # not as Python does, to whom true is 1
            raise RefusedError(
                f"the contract's layout differs from the one that this node computes from its "
                f"terms: {stated} against {computed}"
            )
    for name in ("mean", "std"):
        values = np.array(getattr(contract.normalizer, name))
        if values.shape != (layout.size,) or not np.isfinite(values).all():
            raise RefusedError(
                f"normalizer.{name} must be {layout.size} finite numbers, got shape {values.shape}"
            )
    if not (np.array(contract.normalizer.std) > 0).all():
        raise RefusedError("normalizer.std must be above 0 everywhere")
    _check_distribution(contract.distribution, layout.size)
    _check_deviation(contract)
    if not 0 < contract.control_period < 1:
        raise RefusedError(f"control_period {contract.control_period} s is not between 0 and 1")
    longest = contract.robot.safety.max_clock_step
    if not contract.control_period < longest:
        raise RefusedError(
            f"robot.safety.max_clock_step: {longest} s must be above control_period, "
            f"{contract.control_period} s"
        )
    _check_gait(contract)
    _check_signals(contract, layout)
    for name, size in contract.states.items():
        if not 0 < size <= MOST_NUMBERS:
            raise RefusedError(f"states.{name}: {size} is not 1 to {MOST_NUMBERS}")


def _as_json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _check_deviation(contract: Contract) -> None:
    """Raise `RefusedError` where the deviation is not one of each action."""
    values = np.array(contract.training.deviation)
    actions = contract.action_map().size
    good = np.isfinite(values).all() and (values > 0).all()
    if values.size and not (values.size == actions and good):
        raise RefusedError(
            f"training.deviation must be empty or {actions} finite numbers above 0, one per action"
        )


def _check_gait(contract: Contract) -> None:
    """Raise `RefusedError` unless gait and command are there for the terms that need them."""
    frequency = contract.gait_frequency
    kind = contract.command.kind
    if frequency is not None and not (frequency > 0 and np.isfinite(frequency)):
        raise RefusedError(f"gait_frequency {frequency} Hz must be above 0, or null for no gait")
    has = {"commands", f"commands.{kind}", *(["gait"] if frequency else [])}
    needed = {f"reads {spec.name}": TERMS.needs[spec.name] for spec in contract.observation}
    readers = {f"the observation {what}": needs for what, needs in needed.items()}
    if contract.action.stepping:
        readers["the action steps"] = ("gait", "commands.twist")
    for what, needs in readers.items():
        for need in needs:
            if need not in has:
                raise RefusedError(
                    f"{what}, which needs `{need}`: gait_frequency is "
                    f"{'null' if frequency is None else frequency} and the command of kind {kind!r}"
                )


def _check_signals(contract: Contract, layout: Layout) -> None:
    """Raise `RefusedError` unless just those signals have a size stated that have none."""
    free = {name for name in layout.signals if SIGNALS[name].size == ANY}
    for name, size in contract.signal_sizes.items():
        if name not in free or not 0 < size <= MOST_NUMBERS:
            raise RefusedError(
                f"signal_sizes.{name}: {size} is not 1 to {MOST_NUMBERS}, or the observation reads "
                "no such signal"
            )
    for name in sorted(free - contract.signal_sizes.keys()):
        raise RefusedError(f"signal_sizes lacks {name}, which the observation reads")


def _check_distribution(stated: Distribution | None, size: int) -> None:
    """Raise `RefusedError` unless every quantile is there and none is below the one before."""
    if stated is None:
        return
    rows = [getattr(stated, name) for name in LEVELS]
    for name, row in zip(LEVELS, rows, strict=True):
        if len(row) != size or not np.isfinite(row).all():
            raise RefusedError(f"distribution.{name} must be {size} finite numbers, got {len(row)}")
    if stated.robot_ticks < 1 or (np.diff(rows, axis=0) < 0).any():
        raise RefusedError(
            f"distribution: {', '.join(LEVELS)} must ascend in every entry, over 1 observation or "
            f"more (there are {stated.robot_ticks})"
        )
