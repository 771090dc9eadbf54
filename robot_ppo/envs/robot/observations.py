"""Observation groups, and the terms that only a simulation knows: name -> f(world, *) -> (n, k).

A task names groups, each an ordered set of terms with `scale`, `clip` and `history` beside their
parameters. Terms that a robot can measure are in `robot_ppo_export/contract/terms.py`; those here
stand beside them, in every group but what is exported. Scales keep each near one; networks
normalize besides.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robot_ppo import installed_terms
from robot_ppo.config import Task
from robot_ppo.envs.environment import EXPORTED
from robot_ppo.envs.robot import commands
from robot_ppo.envs.robot.world import World
from robot_ppo.sim.device import CPU, Device
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.action import moved
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec, term_spec
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Entries, Positive, Table, Term
from robot_ppo_export.contract.terms import HANDLING, NUMBERS, TERMS, Inputs

OBSERVATIONS = Table("term", optional=HANDLING)
Groups = Mapping[str, Entries]
"""Observation group -> its terms."""


@OBSERVATIONS.add()
def base_lin_vel(world: World) -> Array:
    """Base velocity in the body frame [m/s], (n, 3)."""
    return world.base_lin_vel


@OBSERVATIONS.add()
def base_ang_vel_true(world: World) -> Array:
    """Base angular velocity without noise or delay [rad/s], (n, 3)."""
    return world.base_ang_vel


@OBSERVATIONS.add()
def projected_gravity_true(world: World) -> Array:
    """Gravity in the body frame without noise or delay, (n, 3)."""
    return world.projected_gravity


@OBSERVATIONS.add()
def base_height(world: World) -> Array:
    """Height of the base [m], (n, 1)."""
    return world.base_height[:, None]


@OBSERVATIONS.add()
def joint_pos_true(world: World) -> Array:
    """Joint angles without noise, delay or offset [rad], (n, joints)."""
    return world.joint_pos


@OBSERVATIONS.add()
def joint_vel_true(world: World) -> Array:
    """Joint velocities without noise or delay [rad/s], (n, joints)."""
    return world.joint_vel


@OBSERVATIONS.add()
def foot_height(world: World) -> Array:
    """Clearance of each foot [m], (n, feet)."""
    return world.foot_height


@OBSERVATIONS.add()
def foot_contact(world: World) -> Array:
    """1 where a foot touches the ground, (n, feet)."""
    xp = namespace(world.phase)
    return xp.astype(world.foot_contact, world.phase.dtype)


@OBSERVATIONS.add()
def randomized(world: World) -> Array:
    """This episode's randomization draws in [-1, 1], (n, r)."""
    return world.randomized


@OBSERVATIONS.add()
def height_scan_true(
    world: World,
    *,
    length: Positive = 1.6,
    width: Positive = 1.0,
    resolution: Positive = 0.1,
    offset: float = 0.0,
) -> Array:
    """The scan of `height_scan`, without the errors of a map [m], (n, points)."""
    return world.scans[ScanGrid(length, width, resolution, offset)]


def scan_grids(groups: Groups, term: str) -> tuple[ScanGrid, ...]:
    """Return the grids of all terms of the name `term`, each once."""
    table = TERMS if term in TERMS.functions else OBSERVATIONS
    grids = [
        ScanGrid(**(table.defaults(term) | {k: v for k, v in e.items() if k not in HANDLING}))
        for entries in groups.values()
        for name, e in entries.items()
        if name == term
    ]
    return tuple(dict.fromkeys(grids))


def signals(groups: Groups) -> frozenset[str]:
    """Return the signals that the terms of all groups read."""
    names = {name for entries in groups.values() for name in entries}
    return frozenset(s for name in names & NUMBERS.keys() for s in NUMBERS[name].reads)


def layout(task: Task, robot: RobotSpec) -> Layout:
    """Return the layout of what a policy of this task reads."""
    installed_terms.load()
    command, _ = commands.resolve(task.commands, robot)
    try:
        places = moved(robot.joint_names, task.action.held)
    except SettingError as error:
        raise SettingError(f"task.{error.key}", error.text) from None
    return exported(task.observations, robot, command.spec, task.parts, places)


def exported(
    groups: Groups,
    robot: RobotSpec,
    command: CommandSpec,
    has: frozenset[str],
    places: Sequence[int] | None = None,
) -> Layout:
    """Return the layout of the group that is exported: only what a robot can measure.

    `places` are those of the joints that the network moves; None: all.
    """
    path = f"task.observations.{EXPORTED}"
    joints = robot.joint_names
    for name in groups[EXPORTED]:
        if name in OBSERVATIONS.functions:
            raise SettingError(
                f"{path}.{name}",
                "only a simulation knows it, and this group is what is exported; a robot can "
                f"measure {', '.join(sorted(TERMS.functions))}",
            )
    specs = [term_spec(path, name, given, joints, has) for name, given in groups[EXPORTED].items()]
    return Layout(tuple(specs), joints, command, moved=places)


class GroupLayout(Layout):
    """The layout of a group that holds terms of a simulation; `observe` then takes a `World`."""

    def __init__(
        self, path: str, entries: Entries, robot: RobotSpec, world: World, has: frozenset[str]
    ) -> None:
        """Resolve the terms; their sizes are those in `world`."""
        terms = [_resolved(path, name, entries[name], robot.joint_names, has) for name in entries]
        functions = [_of_world(term) for term in terms]
        specs = tuple(TermSpec(name=term.name, **term.own) for term in terms)
        self._place(specs, functions, [function(world).shape[-1] for function in functions])


def _resolved(
    path: str, name: str, given: Mapping[str, Any], joints: tuple[str, ...], has: frozenset[str]
) -> Term:
    """Return a term of a simulation or of the contract, by its name."""
    for table in (TERMS, OBSERVATIONS):
        if name in table.functions:
            return table.one(path, name, given, joints, has)
    hint = strict.did_you_mean(name, OBSERVATIONS.functions.keys() | TERMS.functions.keys())
    raise SettingError(f"{path}.{name}", f"unknown term {name!r}{hint}")


def _of_world(term: Term) -> Callable[[World], Array]:
    """Return a term's function of a `World`."""
    if term.name in TERMS.functions:
        return functools.partial(_measured, term.function)
    return term.function


def _measured(function: Callable[[Inputs], Array], world: World) -> Array:
    """Return a contract term, from what the robot measured in `world`."""
    assert world.inputs is not None
    return function(world.inputs)


def observers(
    groups: Groups,
    robot: RobotSpec,
    world: World,
    n: int,
    has: frozenset[str],
    on: Device = CPU,
) -> dict[str, Observer]:
    """Return the observer of every group but the exported one.

    Args:
        groups: of the task.
        robot: whose joints terms name.
        world: of n simulations, in which terms show their sizes.
        n: simulations.
        has: the parts that the task has.
        on: where the world's arrays are.
    """
    layouts = {
        name: GroupLayout(f"task.observations.{name}", entries, robot, world, has)
        for name, entries in groups.items()
        if name != EXPORTED
    }
    return {name: Observer(layout, (n,), on.xp, on.name) for name, layout in layouts.items()}
