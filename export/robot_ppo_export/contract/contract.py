"""`Contract`: everything that a policy assumes about the robot and the world, as one structure.

It travels inside the policy file as JSON at full precision. What is here is enough to compute the
observation, run the network, form the joint targets and judge whether a robot fits.
"""

from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract import spec as robot_spec
from robot_ppo_export.contract.action import ActionMap, ActionSpec
from robot_ppo_export.contract.layout import Layout, TermSpec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.terms import COMMAND
from robot_ppo_export.errors import RefusedError

FORMAT_VERSION = 2


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class CommandRanges(_Struct, frozen=True):
    """Uniform ranges that commands were drawn from; an operator's stick is scaled to them."""

    vx: tuple[float, float]
    """[m/s] forward"""
    vy: tuple[float, float]
    """[m/s] left"""
    yaw_rate: tuple[float, float]
    """[rad/s] turning left"""

    def bounds(self) -> np.ndarray:
        """Return (3, 2) float32: low and high of vx, vy, yaw rate."""
        return np.array((self.vx, self.vy, self.yaw_rate), np.float32)


class Normalizer(_Struct, frozen=True):
    """Observation statistics; the network sees clip((obs - mean) / std, -clip, clip)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float


class Distribution(_Struct, frozen=True):
    """What the observation was while this policy ran in its training world.

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


class Training(_Struct, frozen=True):
    """Where the policy comes from, and the world that it has seen."""

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


class Contract(_Struct, frozen=True, kw_only=True):
    """What a policy assumes."""

    format_version: int = FORMAT_VERSION
    task: str
    robot: RobotSpec
    observation: tuple[TermSpec, ...]
    layout: tuple[dict[str, Any], ...]
    """The resolved layout: name, offset, size, unit, frame, scale, clip, history of each term."""
    action: ActionSpec
    control_period: float
    """[s] between two runs of the network."""
    gait_frequency: float
    """Cycles per second of the gait clock [Hz]."""
    commands: CommandRanges
    normalizer: Normalizer
    distribution: Distribution | None = None
    """None in a contract that was never rolled out, such as that of a run under evaluation."""
    network: Network
    training: Training

    def resolve(self) -> Layout:
        """Return the observation's layout."""
        return Layout(self.observation, len(self.robot.joints))

    def action_map(self) -> ActionMap:
        """Return the action's arithmetic."""
        return ActionMap(self.action, self.robot)

    @property
    def command_names(self) -> tuple[str, ...]:
        """What the three numbers of a command mean, with units."""
        return COMMAND


ADDED = ("robot.life_cycle",)
"""Keys that files of older releases lack; they mean their default."""


def to_json(contract: Contract) -> str:
    """Return the contract as JSON; floats are written so that reading gives the same bits."""
    return msgspec.json.encode(contract, order="deterministic").decode()


def from_json(text: str) -> Contract:
    """Return the contract in `text`, or raise `RefusedError` with what is wrong and where."""
    try:
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format_version")
    except msgspec.DecodeError as error:
        raise RefusedError(f"the contract is not valid JSON: {error}") from None
    if version != FORMAT_VERSION:
        raise RefusedError(
            f"the contract has format version {version!r} and this node reads {FORMAT_VERSION}: "
            "export the run again with this release, or install the robot-ppo release that wrote "
            "the file"
        )
    try:
        contract = msgspec.json.decode(text, type=Contract)
    except msgspec.DecodeError as error:
        raise RefusedError(f"the contract is incomplete or malformed: {error}") from None
    # A structure fills in defaults; a file that leaves one out was not written by us.
    lacking = _lacking(msgspec.json.decode(to_json(contract)), msgspec.json.decode(text), "")
    lacking = [path for path in lacking if path not in ADDED]
    if lacking:
        raise RefusedError(f"the contract lacks {', '.join(lacking)}")
    _check(contract)
    return contract


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
    if not 0 < contract.control_period < 1:
        raise RefusedError(f"control_period {contract.control_period} s is not between 0 and 1")
    bounds = contract.commands.bounds()
    if not (np.isfinite(bounds).all() and (bounds[:, 0] <= bounds[:, 1]).all()):
        raise RefusedError(f"commands {bounds.tolist()} are not ranges [low, high]")


def _as_json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


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
