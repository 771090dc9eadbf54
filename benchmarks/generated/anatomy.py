"""Random legged robots, each a function of its seed.

    robot = anatomy.drawn(7)            # quadruped, biped or hexapod in turn
    anatomy.drawn(7, "biped")

What is drawn: mass, how long the legs are for it, thigh to shank, trunk, order of the joints of a
hip, knees forward or back, their pose at zero, signs of axes, ranges, torques and speeds, the
order of legs and motors in the file, whether it looks along x or y, and every name.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.generated.parts import Chance, Hinge, Part, Point, Robot, Solid, sideways

KINDS = ("quadruped", "biped", "hexapod")
GRAVITY = 9.81
"""[m/s^2]"""
X = (1.0, 0.0, 0.0)
Y = (0.0, 1.0, 0.0)
Z = (0.0, 0.0, 1.0)
_AXES = {"roll": X, "pitch": Y, "yaw": Z}


@dataclass(frozen=True)
class Build:
    """Figures that all legs of a robot share."""

    mass: float
    leg: float
    thigh: float
    """Length [m]; the shank has the rest of the leg."""
    trunk: Point
    """Half sizes [m]."""
    torque: float
    """Limit of a hip [N m]."""
    knee_torque: float
    """Limit of a knee [N m]."""
    velocity: float
    """Limit of a hip [rad/s]; a knee has less."""
    leg_mass: float
    """[kg]"""

    @property
    def shank(self) -> float:
        """Length [m], down to the ground."""
        return self.leg - self.thigh


@dataclass(frozen=True)
class Plan:
    """One leg of a robot on many feet."""

    name: str
    at: Point
    """Where it begins on the trunk [m]."""
    side: float
    """1 on the left, -1 on the right."""
    hips: tuple[str, ...]
    """Axes of the hip's joints, from the trunk on."""
    knee: float
    """1: the knee is behind the line from hip to foot; -1: ahead of it."""
    bent: float
    """Angle of the thigh at zero [rad]; the shank leans as much to the other side."""
    signs: tuple[float, float, float]
    """Of the axes of the joints: 1 or -1."""
    open_knee: bool
    """Whether the straight leg is inside of the knee's range."""


def drawn(seed: int, kind: str | None = None) -> Robot:
    """Return the robot of a seed; without a kind, seeds take turns."""
    kind = kind or KINDS[seed % len(KINDS)]
    chance = Chance(seed)
    mass = chance.around(5.0, 200.0)
    make = {"quadruped": _quadruped, "biped": _biped, "hexapod": _hexapod}[kind]
    parts, leg = make(chance, mass)
    motors = _motors(chance, parts)
    if chance.happens(0.25):
        parts = sideways(parts)
    return Robot(f"{kind}_{seed}", kind, mass, leg, tuple(parts), motors, chance.happens(0.5))


def _motors(chance: Chance, parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the joints as the file lists them: as the legs are, or in any order."""
    names = [part.hinge.name for part in parts if part.hinge]
    return tuple(chance.shuffled(names) if chance.happens(0.5) else names)


# -- four and six feet ----------------------------------------------------------------------------


def _quadruped(chance: Chance, mass: float) -> tuple[list[Part], float]:
    build = _build(chance, mass, legs=4)
    order = ("pitch", "roll") if chance.happens(0.2) else ("roll", "pitch")
    front = _sign(chance)
    rear = front if chance.happens(0.7) else -front
    return _on_many(chance, build, {0.8: (order, front), -0.8: (order, rear)}), build.leg


def _hexapod(chance: Chance, mass: float) -> tuple[list[Part], float]:
    build = _build(chance, mass, legs=6)
    knee = _sign(chance)
    order = ("yaw", "roll") if chance.happens(0.5) else ("roll", "pitch")
    return _on_many(chance, build, {x: (order, knee) for x in (0.9, 0.0, -0.9)}), build.leg


def _build(chance: Chance, mass: float, legs: int) -> Build:
    leg = 0.3 * (mass / 15) ** (1 / 3) * chance.between(0.9, 1.4)
    length = leg * chance.between(0.65, 0.95) * (1.4 if legs == 6 else 1.0)
    trunk = (length, leg * chance.between(0.22, 0.35), leg * chance.between(0.12, 0.2))
    moment = mass * GRAVITY * leg * 4 / legs
    hip = moment * chance.between(0.3, 0.6)
    speed = chance.between(2.5, 5.0) * math.sqrt(GRAVITY / leg)
    share = chance.between(0.35, 0.5)
    return Build(
        mass=mass,
        leg=leg,
        thigh=leg * chance.between(0.44, 0.54),
        trunk=trunk,
        torque=hip,
        knee_torque=hip * chance.between(1.1, 1.8),
        velocity=speed,
        leg_mass=share * mass / legs,
    )


def _on_many(
    chance: Chance, build: Build, rows: dict[float, tuple[tuple[str, str], float]]
) -> list[Part]:
    """Return a robot with a pair of legs for each place along the trunk."""
    trunk = _trunk(chance, build, len(rows) * 2)
    bent = chance.between(0.4, 0.8) if chance.happens(0.3) else 0.0
    signs = (_sign(chance), _sign(chance), _sign(chance))
    open_knee = chance.happens(0.3)
    plans = [
        Plan(
            chance.word(),
            (x * build.trunk[0], side * build.trunk[1], 0.0),
            side,
            hips,
            knee,
            bent,
            signs,
            open_knee,
        )
        for x, (hips, knee) in rows.items()
        for side in (1.0, -1.0)
    ]
    chosen = {plan.name: plan for plan in plans}
    order = chance.shuffled(list(chosen))
    words = [chance.word() for _ in range(3)]
    return [trunk, *(part for name in order for part in _leg(chosen[name], build, trunk, words))]


def _trunk(chance: Chance, build: Build, legs: int) -> Part:
    solid = Solid("box", build.trunk, (0.0, 0.0, 0.0))
    mass = build.mass - legs * build.leg_mass
    return Part(chance.word(), None, (0.0, 0.0, 0.0), None, mass, solid)


def _leg(plan: Plan, build: Build, trunk: Part, words: Sequence[str]) -> list[Part]:
    """Return hip, thigh, shank, and a ball that is fixed to the end of the shank: the foot."""
    if plan.hips == ("yaw", "roll"):
        return _spread_leg(plan, build, trunk, words)
    names = [f"{plan.name}_{word}" for word in words]
    thigh_at = (0.0, plan.side * 0.25 * build.leg, 0.0)
    lean = plan.knee * plan.bent
    thigh = _down(build.thigh, lean)
    shank = _down(build.shank, -lean)
    limits = _Limits(plan, build)
    foot = 0.07 * build.leg
    hip_solid = Solid("ball", (0.12 * build.leg, 0.0, 0.0), (0.0, 0.0, 0.0))
    masses = [share * build.leg_mass for share in (0.35, 0.4, 0.2, 0.05)]
    return [
        Part(names[0], trunk.name, plan.at, limits.hip(0, names[0]), masses[0], hip_solid),
        Part(names[1], names[0], thigh_at, limits.hip(1, names[1]), masses[1], _rod(thigh, 0.06)),
        Part(names[2], names[1], thigh, limits.knee(names[2]), masses[2], _rod(shank, 0.04)),
        Part(
            f"{plan.name}_end",
            names[2],
            shank,
            None,
            masses[3],
            Solid("ball", (foot, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ),
    ]


def _down(length: float, lean: float) -> Point:
    """Return the end of a rod that hangs down, turned about y [m]."""
    return (-length * math.sin(lean), 0.0, -length * math.cos(lean))


def _rod(end: Point, thickness: float) -> Solid:
    """Return a rod from the origin to a point; its radius is a fraction of its length."""
    length = math.dist((0, 0, 0), end)
    x, y, z = (value / length for value in end)
    middle = (end[0] / 2, end[1] / 2, end[2] / 2)
    return Solid("rod", (2 * thickness * length, 0.45 * length, 0.0), middle, (x, y, z))


@dataclass(frozen=True)
class _Limits:
    """The hinges of a leg."""

    plan: Plan
    build: Build

    def hip(self, number: int, name: str) -> Hinge:
        """Return one of the two joints of a hip."""
        axis = self.plan.hips[number]
        if axis == "pitch":
            low, high = sorted((-self.plan.knee * 1.2, self.plan.knee * 2.4))
            lean = self.plan.knee * self.plan.bent
            return self._hinge(number, name, axis, low - lean, high - lean)
        return self._hinge(number, name, axis, -0.9, 0.9)

    def knee(self, name: str) -> Hinge:
        """Return the knee: it bends one way."""
        most = -self.plan.knee * 2.6
        least = self.plan.knee * 0.05 if self.plan.open_knee else -self.plan.knee * 0.3
        at_zero = -2 * self.plan.knee * self.plan.bent
        low, high = sorted((most - at_zero, least - at_zero))
        hinge = self._hinge(2, name, "pitch", low, high)
        return replace(hinge, torque=self.build.knee_torque, velocity=0.7 * self.build.velocity)

    def _hinge(self, number: int, name: str, axis: str, low: float, high: float) -> Hinge:
        sign = self.plan.signs[number]
        if sign < 0:
            low, high = -high, -low
        x, y, z = (sign * value for value in _AXES[axis])
        return Hinge(name, (x, y, z), low, high, self.build.torque, self.build.velocity)


def _spread_leg(plan: Plan, build: Build, trunk: Part, words: Sequence[str]) -> list[Part]:
    """Return an insect's leg: it swings about z, and femur and tibia bend up and down."""
    names = [f"{plan.name}_{word}" for word in words]
    side = plan.side
    coxa = (0.0, side * 0.2 * build.leg, 0.0)
    femur = (0.0, side * build.thigh * math.cos(0.3), build.thigh * math.sin(0.3))
    tibia = (0.0, side * build.shank * 0.3, -1.3 * build.shank)
    limits = _Limits(plan, build)
    lift = limits.hip(1, names[1])
    bend = replace(limits.hip(1, names[2]), torque=build.knee_torque)
    masses = [share * build.leg_mass for share in (0.3, 0.4, 0.25, 0.05)]
    foot = Solid("ball", (0.07 * build.leg, 0.0, 0.0), (0.0, 0.0, 0.0))
    return [
        Part(names[0], trunk.name, plan.at, limits.hip(0, names[0]), masses[0], _rod(coxa, 0.1)),
        Part(names[1], names[0], coxa, lift, masses[1], _rod(femur, 0.06)),
        Part(names[2], names[1], femur, bend, masses[2], _rod(tibia, 0.04)),
        Part(f"{plan.name}_end", names[2], tibia, None, masses[3], foot),
    ]


def _sign(chance: Chance) -> float:
    return 1.0 if chance.happens(0.5) else -1.0


# -- two feet -------------------------------------------------------------------------------------

_HIPS = (("pitch", "roll", "yaw"), ("yaw", "roll", "pitch"), ("roll", "pitch", "yaw"))
"""Orders of a humanoid's hip."""


def _biped(chance: Chance, mass: float) -> tuple[list[Part], float]:
    leg = 0.66 * (mass / 33) ** (1 / 3) * chance.between(0.9, 1.1)
    moment = mass * GRAVITY * leg
    hip = moment * chance.between(0.35, 0.55)
    arms = chance.happens(0.5)
    leg_mass = mass * chance.between(0.18, 0.24)
    build = Build(
        mass=mass,
        leg=leg,
        thigh=leg * chance.between(0.44, 0.5),
        trunk=(0.13 * leg, 0.2 * leg, leg * chance.between(0.28, 0.36)),
        torque=hip,
        knee_torque=hip * chance.between(1.2, 1.6),
        velocity=chance.between(5.0, 8.0) * math.sqrt(GRAVITY / leg),
        leg_mass=leg_mass,
    )
    trunk = _torso(chance, build, 0.1 * mass if arms else 0.0)
    hips = _HIPS[int(chance.between(0, len(_HIPS)))]
    words = [chance.word() for _ in range(6)]
    rolls = chance.happens(0.7)
    parts = [trunk]
    for name in (chance.word(), chance.word()):
        side = 1.0 if len(parts) == 1 else -1.0
        parts += _human_leg(name, side, build, trunk, hips, words, rolls)
    if arms:
        bones = [chance.word() for _ in range(2)]
        parts += [p for side in (1.0, -1.0) for p in _arm(chance, side, build, trunk, bones)]
    return parts, leg


def _torso(chance: Chance, build: Build, arms: float) -> Part:
    """Return a trunk whose origin is between the hips."""
    solid = Solid("box", build.trunk, (0.0, 0.0, build.trunk[2] + 0.1 * build.leg))
    mass = build.mass - 2 * build.leg_mass - arms
    return Part(chance.word(), None, (0.0, 0.0, 0.0), None, mass, solid)


def _human_leg(
    name: str,
    side: float,
    build: Build,
    trunk: Part,
    hips: tuple[str, ...],
    words: Sequence[str],
    rolls: bool,
) -> list[Part]:
    """Return hip, thigh, shank and foot; the hip's joints are close to each other."""
    names = [f"{name}_{word}" for word in words]
    leg = build.leg
    small = Solid("ball", (0.07 * leg, 0.0, 0.0), (0.0, 0.0, 0.0))
    mass = build.leg_mass
    ankle = 0.06 * leg
    thigh = (0.0, 0.0, -build.thigh)
    shank = (0.0, 0.0, -(build.shank - ankle))
    sole = Solid("box", (0.15 * leg, 0.05 * leg, 0.01 * leg), (0.05 * leg, 0.0, -0.05 * leg))
    hinges = [_human_hip(names[i], hips[i], side, build) for i in range(3)]
    knee = Hinge(names[3], Y, -0.05, 2.3, build.knee_torque, 0.8 * build.velocity)
    pitch = Hinge(names[4], Y, -0.9, 0.7, 0.6 * build.torque, build.velocity)
    roll = Hinge(names[5], X, -0.35, 0.35, 0.4 * build.torque, build.velocity)
    here = (0.0, 0.0, 0.0)
    parts = [
        Part(names[0], trunk.name, (0.0, side * 0.16 * leg, 0.0), hinges[0], 0.14 * mass, small),
        Part(names[1], names[0], here, hinges[1], 0.14 * mass, small),
        Part(names[2], names[1], here, hinges[2], 0.36 * mass, _rod(thigh, 0.07)),
        Part(names[3], names[2], thigh, knee, 0.24 * mass, _rod(shank, 0.05)),
    ]
    if not rolls:
        return [*parts, Part(names[4], names[3], shank, pitch, 0.12 * mass, sole)]
    cross = Solid("ball", (0.04 * leg, 0.0, 0.0), here)
    return [
        *parts,
        Part(names[4], names[3], shank, pitch, 0.03 * mass, cross),
        Part(names[5], names[4], here, roll, 0.09 * mass, sole),
    ]


def _human_hip(name: str, axis: str, side: float, build: Build) -> Hinge:
    low, high = {"pitch": (-2.0, 1.0), "roll": (-0.5, 1.5), "yaw": (-1.0, 1.0)}[axis]
    if axis == "roll" and side < 0:
        low, high = -high, -low
    torque = build.torque * (0.8 if axis == "yaw" else 1.0)
    return Hinge(name, _AXES[axis], low, high, torque, build.velocity)


def _arm(
    chance: Chance, side: float, build: Build, trunk: Part, bones: Sequence[str]
) -> list[Part]:
    """Return an upper arm that swings and a forearm."""
    leg = build.leg
    name = chance.word()
    names = [f"{name}_{bone}" for bone in bones]
    shoulder = (0.0, side * 0.28 * leg, 2 * build.trunk[2])
    bone = (0.0, 0.0, -0.4 * leg)
    torque = 0.1 * build.torque
    swing = Hinge(names[0], Y, -2.5, 2.5, torque, build.velocity)
    elbow = Hinge(names[1], Y, -2.0, 0.1, torque, build.velocity)
    mass = 0.05 * build.mass
    return [
        Part(names[0], trunk.name, shoulder, swing, 0.6 * mass, _rod(bone, 0.06)),
        Part(names[1], names[0], bone, elbow, 0.4 * mass, _rod(bone, 0.05)),
    ]
