"""Observation groups, and the terms that only a simulation knows: name -> f(world, *) -> (n, k).

A task names groups, each an ordered set of terms with `scale`, `clip` and `history`. Terms that a
robot can measure are in `robot_ppo_export/contract/terms.py`; those here stand beside them, in
every group but what is exported. Scales keep each near one; networks normalize besides.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from array_api_compat import array_namespace

from robot_ppo.config import Task
from robot_ppo.envs.environment import EXPORTED
from robot_ppo.envs.robot import commands
from robot_ppo.envs.robot.terms import Entries, Positive, Table, parts
from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.terms import TERMS, Inputs

OBSERVATIONS = Table("term")
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
    xp = array_namespace(world.phase)
    return xp.astype(world.foot_contact, world.phase.dtype)


@OBSERVATIONS.add()
def randomized(world: World) -> Array:
    """This episode's randomization draws in [-1, 1], (n, r)."""
    return world.randomized


def layout(task: Task, robot: RobotSpec) -> Layout:
    """Return the layout of what a policy of this task reads."""
    command, _ = commands.resolve(task.commands, robot)
    return exported(task.observations, robot, command.spec, parts(task))


def exported(groups: Groups, robot: RobotSpec, command: CommandSpec, has: frozenset[str]) -> Layout:
    """Return the layout of the group that is exported: only what a robot can measure."""
    path = f"task.observations.{EXPORTED}"
    entries = groups[EXPORTED]
    for name in entries:
        if name in OBSERVATIONS.functions:
            raise SettingError(
                f"{path}.{name}",
                "only a simulation knows it, and this group is what is exported; a robot can "
                f"measure {', '.join(sorted(TERMS))}",
            )
        _check_needs(f"{path}.{name}", name, has)
    return Layout(specs(entries, path), len(robot.joints), command)


def specs(entries: Entries, path: str = "task.observations.actor") -> tuple[TermSpec, ...]:
    """Return the terms of the exported group as the contract writes them."""
    for name in entries:
        if name not in TERMS:
            hint = strict.did_you_mean(name, TERMS)
            raise SettingError(f"{path}.{name}", f"unknown term {name!r}{hint}")
    return tuple(_spec(f"{path}.{name}", name, entry) for name, entry in entries.items())


def _spec(path: str, name: str, entry: Mapping[str, Any]) -> TermSpec:
    """Return how a term enters its group."""
    strict.convert(_Entry, dict(entry), path=path)
    return TermSpec(name=name, **entry)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of any term of an observation group."""

    scale: float = 1.0
    clip: Positive | None = None
    history: Annotated[int, msgspec.Meta(ge=1)] = 1


def _check_needs(path: str, name: str, has: frozenset[str]) -> None:
    """Raise `SettingError` for a contract term that reads what the task lacks."""
    if name == "gait_clock" and not {"gait", "commands.twist"} <= has:
        raise SettingError(
            path, "needs `task.gait` and a twist command, and the task has not both; leave it out"
        )
    if name == "command" and not any(part.startswith("commands.") for part in has):
        raise SettingError(path, "needs `task.commands`, which names none; leave this out")


class GroupLayout(Layout):
    """The layout of a group that holds terms of a simulation; `observe` then takes a `World`."""

    def __init__(
        self, path: str, entries: Entries, robot: RobotSpec, world: World, has: frozenset[str]
    ) -> None:
        """Resolve the terms; their sizes are those in `world`."""
        self.slices = {}
        self.plan = []
        self.widths = {}
        offset = 0
        self.specs = tuple(_own(f"{path}.{name}", name, e) for name, e in entries.items())
        for spec in self.specs:
            function = _function(path, spec.name, entries[spec.name], robot, has)
            self.widths[spec.name] = width = function(world).shape[-1]
            self.slices[spec.name] = place = slice(offset, offset + width * spec.history)
            worked = spec.clip is not None or spec.scale != 1.0 or spec.history > 1
            self.plan.append((function, spec, worked, place))
            offset += width * spec.history
        self.size = offset


def _own(path: str, name: str, entry: Mapping[str, Any]) -> TermSpec:
    """Return how a term of a simulation enters its group; parameters are the function's."""
    mine = {key: value for key, value in entry.items() if key in _Entry.__struct_fields__}
    return _spec(path, name, mine)


def _function(
    path: str, name: str, entry: Mapping[str, Any], robot: RobotSpec, has: frozenset[str]
) -> Callable[[Any], Array]:
    """Return a term's function of a `World`."""
    given = {key: value for key, value in entry.items() if key not in _Entry.__struct_fields__}
    if name in TERMS:
        _spec(f"{path}.{name}", name, entry)
        _check_needs(f"{path}.{name}", name, has)
        return functools.partial(_measured, TERMS[name].function)
    if name not in OBSERVATIONS.functions:
        known = OBSERVATIONS.functions.keys() | TERMS.keys()
        hint = strict.did_you_mean(name, known)
        raise SettingError(f"{path}.{name}", f"unknown term {name!r}{hint}")
    return OBSERVATIONS.one(path, name, given, robot, has).function


def _measured(function: Callable[[Inputs], Array], world: World) -> Array:
    """Return a contract term, from what the robot measured in `world`."""
    assert world.inputs is not None
    return function(world.inputs)


def observers(
    groups: Groups, robot: RobotSpec, world: World, n: int, has: frozenset[str]
) -> dict[str, Observer]:
    """Return the observer of every group but the exported one."""
    layouts = {
        name: GroupLayout(f"task.observations.{name}", entries, robot, world, has)
        for name, entries in groups.items()
        if name != EXPORTED
    }
    return {name: Observer(layout, (n,)) for name, layout in layouts.items()}
