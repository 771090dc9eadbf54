"""Small commands along one axis of a twist, and what a policy makes of each.

    card.response = dead_zones.measure(contract, act, planned)
    card.dead_zone()                     # {"vx": (-0.05, 0.075), ...}

A ladder of commands is tried along each axis while the others are 0, to either side up to half of
its range, without pushes: the first condition of the plan, short trials. What is measured at rest
is taken off.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.trials import Plan
from robot_ppo.evaluation import evaluate
from robot_ppo.robot_model.source import Mjcf
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.contract import Contract

STEPS = 20
"""Commands to either side of zero."""
REACH = 0.5
"""The largest one over the end of its range."""


def measure(
    contract: Contract,
    act: Callable[[np.ndarray], np.ndarray],
    planned: Plan,
    threads: int = 0,
    seed: int = 0,
    xml: Mjcf | None = None,
) -> dict[str, np.ndarray]:
    """Return entry of the twist -> (m, 2), commands in ascending order and what was measured.

    See `evaluate.evaluate` for the arguments.
    """
    axis, ladder = commands(contract.command)
    length = min(planned.seconds, trials.SHORT)
    unscored = min(planned.unscored, 0.5 * length)
    short = replace(planned, seconds=length, unscored=unscored, commands=ladder)
    card = evaluate.evaluate(
        contract, act, planned.conditions[:1], threads, seed, xml=xml, planned=short
    )
    curves = {}
    for i, (name, values) in enumerate(card.measured.items()):
        mine = axis == i
        moved = values[0, mine] - values[0, axis < 0]
        curves[name] = np.column_stack((ladder[mine, i].astype(np.float64).round(6), moved))
    return curves


def commands(command: CommandSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return commands (m, 3) along one axis of a twist each, and which axis (m,) that is.

    The first one is rest, of axis -1; those of an axis ascend.
    """
    steps = np.arange(1, STEPS + 1) / STEPS * REACH
    rows = [(-1, np.zeros(3))]
    for i, (low, high) in enumerate(command.bounds().astype(np.float64)):
        sizes = [*(low * steps[::-1] if low < 0 else ()), *(high * steps if high > 0 else ())]
        rows += [(i, size * np.eye(3)[i]) for size in sizes]
    axis = np.array([i for i, _ in rows])
    return axis, np.array([row for _, row in rows], np.float32)
