"""Mirror images of a task's observations, found by evaluating its terms.

A `World` is mirrored field by field: what is a vector, an angle or a foot is said once, in
`_Worlds._kinds`, and a field that is not said there is refused. A term is a function of the world,
so its mirror is found by evaluating it on random worlds and on their mirror images: every entry of
the one must be, to the sign, an entry of the other. That covers terms that somebody adds, and a
term that has no mirror is named.

    symmetry = mirrored.symmetry(env)
    symmetry.groups["actor"](observation)
    symmetry.actions(action)

A gait has a mirror if the schedules of left and right feet differ by the same fraction of a cycle,
which a trot, a bound and a walk on two legs do.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_ppo.envs.robot import observations
from robot_ppo.envs.robot.commands import KINDS, Kind
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.envs.robot.world import World
from robot_ppo.mirror import QUATERNION, TURN, VECTOR, Mirror, Symmetry
from robot_ppo.robot_model import symmetry as robot_symmetry
from robot_ppo.robot_model.symmetry import RobotMirror
from robot_ppo_export.contract.layout import Layout
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.state import RobotState, width
from robot_ppo_export.contract.terms import Inputs
from robot_ppo_export.errors import InputError

_SAMPLES = 32
_CLOSE = 1e-4


def symmetry(env: RobotEnv) -> Symmetry:
    """Return the mirror of every observation group and of the actions.

    Raises:
        InputError: the robot, its gait or a term has no mirror; the sentence names it.
    """
    low, high = env.events.ranges.get("base_com", (0.0, 0.0))
    robot = robot_symmetry.find(env.robot, env.engine.model, moved=max(0.0, min(-low, high)))
    worlds = _Worlds(env, robot)
    groups = {"actor": _of_layout(env.layout, worlds, lambda world: world.inputs)}
    for name, observer in env.others.items():
        groups[name] = _of_layout(observer.layout, worlds, lambda world: world)
    return Symmetry(groups, worlds.actions)


def _of_layout(layout: Layout, worlds: "_Worlds", read: Callable[[World], Any]) -> Mirror:
    """Return the mirror of one group, whose terms are functions of `read(world)`."""
    found = []
    for step in layout.plan:
        seen = step.function(read(worlds.seen))
        one = _of_term(step.spec.name, seen, step.function(read(worlds.mirrored)))
        found += [one] * step.spec.history
    return Mirror.joined(found)


def _of_term(name: str, seen: np.ndarray, mirrored: np.ndarray) -> Mirror:
    """Return the mirror of a term from its values on worlds and on their mirror images, (m, k).

    Of entries that are equal in every world, the first one changes places with the first partner,
    the second with the second.
    """
    seen = seen.astype(np.float64)
    close = _CLOSE * min(1.0, float(np.abs(seen).max(initial=0.0)))
    free = np.ones(seen.shape[1], bool)
    index = []
    sign = []
    for i, column in enumerate(mirrored.astype(np.float64).T):
        if not np.ptp(column) > 0:
            raise _has_none(name, f"entry {i} is the same in every random world")
        same = np.abs(seen - column[:, None]).max(0)
        opposite = np.abs(seen + column[:, None]).max(0)
        places = np.flatnonzero(free & (np.minimum(same, opposite) < close))
        if not len(places):
            raise _has_none(name, f"entry {i} is no entry of it with left and right exchanged")
        place = int(places[0])
        free[place] = False
        index.append(place)
        sign.append(1.0 if same[place] < opposite[place] else -1.0)
    try:
        return Mirror.of(index, sign)
    except ValueError as error:
        raise _has_none(name, str(error)) from None


def _has_none(name: str, reason: str) -> InputError:
    """Return the error of a term without a mirror image."""
    return InputError(
        f"the observation {name} has no mirror image: {reason}; leave `networks.symmetric` false "
        "for this task"
    )


def _scanned(grid: ScanGrid, values: np.ndarray) -> np.ndarray:
    """Return scans (m, points) in the mirror: each row from left to right."""
    return values.reshape(-1, grid.rows, grid.columns)[:, :, ::-1].reshape(len(values), -1)


@dataclass(frozen=True)
class _Field:
    """Draw and mirror image of a field of `World`."""

    draw: Callable[[], Any]
    """Returns the field of `_SAMPLES` random worlds."""
    mirror: Callable[[Any], Any]
    """Returns the field with left and right exchanged."""


def _same(value: Any) -> Any:
    return value


def _require_all(kinds: Mapping[str, _Field]) -> None:
    """Raise `InputError` for a field of a world whose mirror image nobody says."""
    for field in dataclasses.fields(World):
        if field.name not in kinds:
            raise InputError(
                f"the mirror image of the world's field {field.name!r} is not known; leave "
                "`networks.symmetric` false, or say it in envs/robot/mirrored.py"
            )


class _Worlds:
    """Random worlds of a task, and their mirror images."""

    def __init__(self, env: RobotEnv, robot: RobotMirror) -> None:
        self.env = env
        self.robot = robot
        self.actions = self._of_actions()
        self.shift = self._shift_of_gait()
        self._require_steps_alike()
        self.command = self._command()
        self._rng = np.random.default_rng(0)
        self._grids = observations.scan_grids(env.task.observations, "height_scan_true")
        self.commands = self._normal(env.commands.command.spec.size)
        self.kinds = self._kinds()
        _require_all(self.kinds)
        self.seen = self._draw()
        self.mirrored = self._mirror(self.seen)

    def _of_actions(self) -> Mirror:
        """Return the mirror of what the network says; joints that are held are no part of it."""
        try:
            return self.robot.joints.of_part(self.env.actions.moved.tolist())
        except ValueError:
            raise InputError(
                "`task.action.held` names a joint and not its mirror image; hold both, or leave "
                "`networks.symmetric` false for this task"
            ) from None

    def _shift_of_gait(self) -> float:
        """Return the fraction of a cycle by which the mirrored gait is ahead."""
        schedule = self.env.constants.schedule
        if schedule is None:
            return 0.0
        # Subtracted as angles, because 0.9 and -0.1 of a cycle are the same.
        gap = np.exp(2j * np.pi * (schedule.offsets[self.robot.feet.index] - schedule.offsets))
        if np.abs(gap - gap[0]).max() > 1e-3:
            raise InputError(
                "the gait has no mirror image: `task.gait.offsets` of left and right feet differ "
                "by more than one fraction of a cycle; leave `networks.symmetric` false for it"
            )
        return float(np.angle(gap[0]) / (2 * np.pi))

    def _require_steps_alike(self) -> None:
        """Raise `InputError` where left and right do not step alike, half a cycle apart or so."""
        phase = (np.arange(_SAMPLES) / _SAMPLES).astype(np.float32)
        forward = np.tile(np.array([1.0, 0.0, 0.0], np.float32), (_SAMPLES, 1))
        steps = self.env.actions.reference(phase, forward)
        if steps is None:
            return
        later = self.env.actions.reference(self._phase(phase), forward)
        if np.abs(self.robot.joints(steps) - later).max() > robot_symmetry.ANGLE:
            raise InputError(
                "`task.action.stepping` has no mirror image: left and right do not step alike; "
                "leave `networks.symmetric` false for it"
            )

    def _command(self) -> Kind:
        kind = self.env.commands.command.spec.kind
        if kind not in KINDS:
            raise InputError(
                f"the mirror image of the command {kind!r} is not known; leave "
                "`networks.symmetric` false for it"
            )
        return KINDS[kind]

    def _normal(self, *shape: int) -> np.ndarray:
        return self._rng.normal(size=(_SAMPLES, *shape)).astype(np.float32)

    def _kinds(self) -> dict[str, "_Field"]:
        """Return how each field of a world is drawn and mirrored.

        The draws are independent random numbers: what depends on what does not matter.
        """
        env = self.env
        joints = len(env.robot.joints)
        feet = len(env.robot.feet)
        actions = len(self.actions.index)
        of_feet = self.robot.feet
        return {
            "base_height": self._numbers(),
            "base_quat": self._numbers(4, mirror=QUATERNION),
            "base_lin_vel": self._numbers(3, mirror=VECTOR),
            "base_ang_vel": self._numbers(3, mirror=TURN),
            "projected_gravity": self._numbers(3, mirror=VECTOR),
            "joint_pos": self._numbers(joints, mirror=self._angles),
            "joint_vel": self._numbers(joints, mirror=self.robot.joints),
            "joint_acc": self._numbers(joints, mirror=self.robot.joints),
            "torque": self._numbers(joints, mirror=self.robot.joints),
            "foot_height": self._numbers(feet, mirror=of_feet),
            "foot_vel_w": self._numbers(feet, 3, mirror=lambda v: VECTOR(v[:, of_feet.index])),
            "foot_contact": _Field(
                lambda: self._normal(feet) > 0, lambda values: values[:, of_feet.index]
            ),
            "command": _Field(lambda: self.commands, self._commanded),
            "moving": _Field(lambda: env.commands.moving(self.commands), _same),
            "phase": _Field(self._draw_phase, self._phase),
            "swing": self._numbers(feet, mirror=of_feet),
            "action": self._numbers(actions, mirror=self.actions),
            "last_action": self._numbers(actions, mirror=self.actions),
            "randomized": self._numbers(
                env.randomizer.size, mirror=env.randomizer.mirror(self.robot)
            ),
            "failed": _Field(lambda: np.zeros(_SAMPLES, bool), _same),
            "constants": _Field(lambda: env.constants, _same),
            "scans": _Field(self._draw_scans, self._mirror_scans),
            "inputs": _Field(lambda: self._inputs(self.commands), self._mirror_inputs),
            **self._kinds_on_demand(feet),
        }

    def _kinds_on_demand(self, feet: int) -> dict[str, "_Field"]:
        """Return the same of the fields that are None unless a term of the task reads them."""
        pairs = self.env.engine.foot_pairs
        known = {
            "sole_level": self._numbers(feet, mirror=self.robot.feet),
            "foot_gap": self._numbers(len(pairs), mirror=self._gaps),
            "air_time": self._numbers(feet, mirror=self.robot.feet),
            "base_clearance": self._numbers(),
        }
        nothing = _Field(lambda: None, _same)
        there = self.env.reader.fields
        return {name: kind if name in there else nothing for name, kind in known.items()}

    def _numbers(
        self, *shape: int, mirror: Callable[[np.ndarray], np.ndarray] = lambda values: values
    ) -> "_Field":
        return _Field(lambda: self._normal(*shape), mirror)

    def _draw(self) -> World:
        return World(**{name: kind.draw() for name, kind in self.kinds.items()})

    def _draw_phase(self) -> np.ndarray:
        return self._rng.uniform(size=_SAMPLES).astype(np.float32)

    def _draw_scans(self) -> dict[ScanGrid, np.ndarray]:
        return {grid: self._normal(len(grid.points())) for grid in self._grids}

    def _inputs(self, command: np.ndarray) -> Inputs:
        env = self.env
        sizes = {"joints": len(env.robot.joints), "feet": len(env.robot.feet)}
        stated = {"height_scan": len(env.map.grid.points())} if env.map else {}
        names = observations.signals(env.task.observations)
        widths = {n: width(n, sizes["joints"], sizes["feet"], stated) for n in sorted(names)}
        state = RobotState(**{name: self._normal(size) for name, size in widths.items()})
        last_action = self._normal(len(self.actions.index))
        return Inputs(state, command, last_action, self._draw_phase(), env.actions.default_pose)

    # -- mirror images ----------------------------------------------------------------------

    def _mirror(self, world: World) -> World:
        """Return the worlds with left and right exchanged."""
        return World(
            **{name: kind.mirror(getattr(world, name)) for name, kind in self.kinds.items()}
        )

    def _mirror_scans(self, scans: dict[ScanGrid, np.ndarray]) -> dict[ScanGrid, np.ndarray]:
        return {grid: _scanned(grid, values) for grid, values in scans.items()}

    def _gaps(self, values: np.ndarray) -> np.ndarray:
        """Return the gaps (m, pairs) of the mirrored feet: left and right feet change roles."""
        pairs = self.env.engine.foot_pairs
        other = self.robot.feet.index
        places = [pairs.index((int(other[right]), int(other[left]))) for left, right in pairs]
        return values[:, places]

    def _mirror_inputs(self, inputs: Inputs) -> Inputs:
        state = {name: self._signal(name, values) for name, values in inputs.state.items()}
        return Inputs(
            RobotState(**state),
            self._commanded(inputs.command),
            self.actions(inputs.last_action),
            self._phase(inputs.phase),
            inputs.default_pose,
        )

    def _signal(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return a measured signal in the mirror; `InputError` where that is not known."""
        joints = self.robot.joints
        feet = self.robot.feet
        known: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "joint_pos": self._angles,
            "joint_vel": joints,
            "joint_torque": joints,
            "base_quat": QUATERNION,
            "base_ang_vel": TURN,
            "base_lin_acc": VECTOR,
            "foot_force": feet,
            "height_scan": self._map,
        }
        if name not in known:
            raise InputError(
                f"the mirror image of the signal {name!r} is not known; leave "
                "`networks.symmetric` false for this task"
            )
        return known[name](values)

    def _map(self, values: np.ndarray) -> np.ndarray:
        assert self.env.map is not None
        return _scanned(self.env.map.grid, values)

    def _angles(self, values: np.ndarray) -> np.ndarray:
        default = self.env.actions.default_pose
        return default + self.robot.joints(values - default)

    def _commanded(self, values: np.ndarray) -> np.ndarray:
        return self.command.mirrored(values, self.env.actions.default_pose, self.robot)

    def _phase(self, values: np.ndarray) -> np.ndarray:
        return ((values + self.shift) % 1.0).astype(np.float32)
