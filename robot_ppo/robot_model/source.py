"""A robot's MJCF as it is written: the editable spec, the compiled model, and who is what in both.

    source = read(Path("robots/go2/go2.xml"))
    source.model.body_mass              # what the file says, before a variant changes anything

The ids of the spec's elements are those of `model`. Whatever of the file lies in the world and
cannot move (floors, lights, decoration) is *static*: the variants bring a ground of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo_export.errors import InputError

ROUND_WRAPS = (int(mujoco.mjtWrap.mjWRAP_SPHERE), int(mujoco.mjtWrap.mjWRAP_CYLINDER))
"""Kinds of a tendon's path elements that are geoms."""


@dataclass(frozen=True)
class Text:
    """An MJCF that is in no file of its own."""

    name: str
    """For messages."""
    xml: str

    def __str__(self) -> str:
        """Return the name, as a path would say its own."""
        return self.name


Mjcf = Path | Text
"""An MJCF, by its path or as text."""


@dataclass(frozen=True)
class Source:
    """One MJCF, read and compiled."""

    path: Mjcf
    spec: mujoco.MjSpec
    model: mujoco.MjModel

    @property
    def name(self) -> str:
        """File name, for messages."""
        return self.path.name


def read(path: Mjcf) -> Source:
    """Return the MJCF at `path`; `InputError` where MuJoCo cannot read or compile it."""
    if isinstance(path, Path) and not path.is_file():
        raise InputError(f"{path}: no such MJCF; robot.yaml's `model` names it")
    try:
        if isinstance(path, Text):
            spec = mujoco.MjSpec.from_string(path.xml)
        else:
            spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise InputError(f"{path}: MuJoCo cannot read it: {_line(error)}") from None
    spec.memory = -1  # as much as is needed, whatever <size> says
    # Bodies keep the frames and the number that the file gives them.
    spec.compiler.fusestatic = spec.compiler.discardvisual = spec.compiler.alignfree = False
    for joint in spec.joints:
        joint.align = mujoco.mjtAlignFree.mjALIGNFREE_FALSE
    return Source(path, spec, compile_model(spec, path))


def compile_model(spec: mujoco.MjSpec, path: Mjcf) -> mujoco.MjModel:
    """Return the compiled model; `InputError` with MuJoCo's reason where it refuses."""
    try:
        return spec.compile()
    except ValueError as error:
        raise InputError(f"{path}: MuJoCo rejects it: {_line(error)}") from None


def static_geoms(model: mujoco.MjModel) -> np.ndarray:
    """Return which geoms are fixed to the world, (ngeom,) bool."""
    return model.body_weldid[model.geom_bodyid] == 0


def colliding_geoms(model: mujoco.MjModel) -> np.ndarray:
    """Return which geoms can touch something, by their masks or in a `<pair>`, (ngeom,) bool."""
    colliding = (model.geom_contype | model.geom_conaffinity) != 0
    colliding[model.pair_geom1] = colliding[model.pair_geom2] = True
    return colliding


def meeting_geoms(model: mujoco.MjModel) -> np.ndarray:
    """Return which geoms of the robot can touch one of another of its bodies, (ngeom,) bool."""
    type = model.geom_contype
    affinity = model.geom_conaffinity
    meets = (type[:, None] & affinity) != 0
    meets |= meets.T
    meets[model.pair_geom1, model.pair_geom2] = meets[model.pair_geom2, model.pair_geom1] = True
    bodies = model.geom_bodyid
    own = ~static_geoms(model)
    return (meets & (bodies[:, None] != bodies) & own[:, None] & own).any(axis=1)


def wrapped_geoms(model: mujoco.MjModel) -> set[int]:
    """Return the ids of the geoms that tendons lie on."""
    return set(model.wrap_objid[np.isin(model.wrap_type, ROUND_WRAPS)].tolist())


def find(model: mujoco.MjModel, kind: str, name: str) -> int:
    """Return the id of the object `name` of a kind ("geom", "body", ...), or -1."""
    return mujoco.mj_name2id(model, getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), name)


def names(model: mujoco.MjModel, kind: str, ids: Iterable[int]) -> list[str]:
    """Return the names of objects, "#3" for the third that has none."""
    of = getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}")
    return [mujoco.mj_id2name(model, of, int(i)) or f"#{int(i)}" for i in ids]


def _line(error: ValueError) -> str:
    return " ".join(str(error).split())
