"""A made-up robot as a list of parts, and the chance that draws it.

A part is a link with the hinge that moves it; at zero every link's frame has the axes of the base.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Hinge:
    """A joint and its motor, between a part and its parent."""

    name: str
    axis: Point
    low: float
    """[rad]"""
    high: float
    torque: float
    """Limit [N m]."""
    velocity: float
    """Limit [rad/s]."""


@dataclass(frozen=True)
class Solid:
    """A primitive of a part, in the part's frame."""

    kind: str
    """box, rod or ball"""
    size: Point
    """Half sizes of a box; radius and half length of a rod; radius of a ball [m]."""
    at: Point
    along: Point = (0.0, 0.0, 1.0)
    """Unit vector of a rod's axis; a box is never turned."""


@dataclass(frozen=True)
class Part:
    """A link of a made-up robot."""

    name: str
    parent: str | None
    at: Point
    """Origin in the parent's frame [m]."""
    hinge: Hinge | None
    mass: float
    """[kg], evenly in `solid`."""
    solid: Solid


@dataclass(frozen=True)
class Robot:
    """A made-up robot."""

    name: str
    kind: str
    """quadruped, biped or hexapod"""
    mass: float
    leg: float
    """Length of a straight leg from its last hip joint to the ground [m]."""
    parts: tuple[Part, ...]
    """Parents before children."""
    motors: tuple[str, ...]
    """Joints in the order of the file's actuators."""
    friction: bool
    """Whether the file says what the motors' rotors and bearings are like."""


class Chance:
    """Draws that depend on a seed alone."""

    def __init__(self, seed: int) -> None:
        """Start the sequence of a seed."""
        self.rng = np.random.default_rng([seed, 0x1E6])
        self.said: set[str] = set()

    def between(self, low: float, high: float) -> float:
        """Return a number, evenly distributed."""
        return float(self.rng.uniform(low, high))

    def around(self, low: float, high: float) -> float:
        """Return a number whose logarithm is evenly distributed."""
        return math.exp(self.between(math.log(low), math.log(high)))

    def happens(self, probability: float) -> bool:
        """Return true so often."""
        return bool(self.rng.random() < probability)

    def one_of(self, choices: Sequence[str]) -> str:
        """Return one of several."""
        return choices[int(self.rng.integers(len(choices)))]

    def shuffled(self, things: Sequence[str]) -> list[str]:
        """Return them in another order."""
        return [str(things[i]) for i in self.rng.permutation(len(things))]

    def word(self) -> str:
        """Return a name that means nothing and was not given before."""
        while True:
            syllables = [
                self.one_of("bdfgklmnprstvz") + self.one_of("aeiou")
                for _ in range(int(self.rng.integers(2, 4)))
            ]
            word = "".join(syllables)
            if word not in self.said:
                self.said.add(word)
                return word


def inertia(part: Part) -> np.ndarray:
    """Return the inertia of a part about its centre, in the part's axes (3, 3) [kg m^2]."""
    a, b, c = part.solid.size
    if part.solid.kind == "box":
        return part.mass / 3 * np.diag([b * b + c * c, a * a + c * c, a * a + b * b])
    if part.solid.kind == "ball":
        return 0.4 * part.mass * a * a * np.eye(3)
    axis = np.array(part.solid.along)
    along = np.outer(axis, axis)
    across = part.mass * (3 * a * a + 4 * b * b) / 12
    return across * (np.eye(3) - along) + part.mass * a * a / 2 * along


def sideways(parts: Sequence[Part]) -> list[Part]:
    """Return a robot whose file has it look along y: everything is turned by 90 degrees about z."""
    found = []
    for part in parts:
        solid = part.solid
        size = (solid.size[1], solid.size[0], solid.size[2]) if solid.kind == "box" else solid.size
        solid = replace(solid, at=_turned(solid.at), size=size, along=_turned(solid.along))
        hinge = part.hinge and replace(part.hinge, axis=_turned(part.hinge.axis))
        found.append(replace(part, at=_turned(part.at), hinge=hinge, solid=solid))
    return found


def _turned(point: Point) -> Point:
    return (-point[1], point[0], point[2])
