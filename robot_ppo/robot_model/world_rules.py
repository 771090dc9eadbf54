"""Rules of `validation.py` for the world around the robot: ground, ties, air, gravity."""

from collections.abc import Iterator

import mujoco
import numpy as np

from robot_ppo.robot_model import source
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import RobotSpec


def world(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find what lies in the world: a flat floor is replaced, anything else would be missing."""
    model = file.model
    static = source.static_geoms(model) & source.colliding_geoms(model)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for geom in np.flatnonzero(static):
        name = source.names(model, "geom", [int(geom)])[0]
        kind = mujoco.mjtGeom(int(model.geom_type[geom]))
        if kind != mujoco.mjtGeom.mjGEOM_PLANE:
            word = kind.name.removeprefix("mjGEOM_").lower()
            yield (
                f"{file.name} has the {word} {name!r} in the world; the ground comes from the "
                "task, so delete it"
            )
        elif abs(data.geom_xpos[geom, 2]) > 1e-6 or data.geom_xmat[geom, 8] < 1 - 1e-9:
            yield (
                f"{file.name} has the ground {name!r} at a height of {data.geom_xpos[geom, 2]:g} m "
                "or inclined; the variants stand on a level floor at height 0, so delete it"
            )
    fixed = np.flatnonzero(model.body_weldid == 0)
    for equality in range(model.neq):
        if _touches_world(model, equality, fixed):
            name = source.names(model, "equality", [equality])[0]
            yield f"{file.name}: the equality {name!r} ties the robot to the world; delete it"
    for name in source.names(model, "tendon", _tied_tendons(model)):
        yield f"{file.name}: the tendon {name!r} ties the robot to the world; delete it"


_BODY_TIES = (int(mujoco.mjtEq.mjEQ_CONNECT), int(mujoco.mjtEq.mjEQ_WELD))


def _tied_tendons(model: mujoco.MjModel) -> Iterator[int]:
    """Yield the tendons that have a site or a geom in the world."""
    world = np.flatnonzero(model.body_weldid == 0)
    kinds = model.wrap_type
    ids = model.wrap_objid
    bodies = np.full(model.nwrap, -1)
    at_site = kinds == int(mujoco.mjtWrap.mjWRAP_SITE)
    bodies[at_site] = model.site_bodyid[ids[at_site]]
    at_geom = np.isin(
        kinds, [int(mujoco.mjtWrap.mjWRAP_SPHERE), int(mujoco.mjtWrap.mjWRAP_CYLINDER)]
    )
    bodies[at_geom] = model.geom_bodyid[ids[at_geom]]
    for tendon in range(model.ntendon):
        start = int(model.tendon_adr[tendon])
        if np.isin(bodies[start : start + int(model.tendon_num[tendon])], world).any():
            yield tendon


def _touches_world(model: mujoco.MjModel, equality: int, world: np.ndarray) -> bool:
    if model.eq_type[equality] not in _BODY_TIES:
        return False
    ids = np.array([model.eq_obj1id[equality], model.eq_obj2id[equality]])
    if model.eq_objtype[equality] == mujoco.mjtObj.mjOBJ_SITE:
        ids = model.site_bodyid[ids]
    return bool(np.isin(ids, world).any())


def options(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find physics that the variants do not have; numerical options they set themselves."""
    option = file.model.opt
    if not np.allclose(option.gravity, (0, 0, -9.81), atol=0.02):
        yield (
            f"{file.name} has the gravity {option.gravity.tolist()}; the variants have 9.81 m/s^2 "
            "downwards, so delete it"
        )
    for name in ("wind", "density", "viscosity"):
        if np.any(getattr(option, name)):
            yield f"{file.name} has {name} in its <option>; the variants have no air, so delete it"
    for body in np.flatnonzero(file.model.body_gravcomp):
        yield (
            f"{file.name}: the body {file.model.body(body).name!r} has gravcomp, which takes its "
            "weight away; delete it"
        )
