"""MJCF -> `Tree`, by MuJoCo's own compiler: includes, classes, frames and units are resolved."""

import logging
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, motor_rules, source
from robot_ppo.robot_model.importing import meshes
from robot_ppo.robot_model.importing.tree import (
    Joint,
    Keyframe,
    Link,
    Pose,
    Shape,
    Tree,
    pose,
    quat_mat,
)
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

_KINDS = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
    int(mujoco.mjtGeom.mjGEOM_MESH): "mesh",
}
_JOINTS = {
    int(mujoco.mjtJoint.mjJNT_HINGE): "hinge",
    int(mujoco.mjtJoint.mjJNT_SLIDE): "slide",
    int(mujoco.mjtJoint.mjJNT_BALL): "ball",
}
_INERTIAL_SENSORS = (
    int(mujoco.mjtSensor.mjSENS_GYRO),
    int(mujoco.mjtSensor.mjSENS_ACCELEROMETER),
)
_FRAMEQUAT = int(mujoco.mjtSensor.mjSENS_FRAMEQUAT)
log = logging.getLogger(__name__)


def read(path: Path, base: str | None = None) -> Tree:
    """Return the robot in the MJCF at `path`; `InputError` where there is none, or more.

    Args:
        path: of the MJCF.
        base: body at which the robot begins; by default the one that moves freely.
    """
    spec, notes, missing = _loaded(path)
    model = source.compile_model(spec, path)
    root = _root(model, path, base)
    tree = Tree(path, "MJCF", {}, notes=notes)
    ids = [i for i in range(root, model.nbody) if model.body_rootid[i] == model.body_rootid[root]]
    ids = [i for i in ids if _is_below(model, i, root)]
    _refuse_loops(model, path, ids)
    for id in ids:
        link = _link(model, id, ids)
        tree.links[link.name] = link
    _add_shapes(tree, spec, model, ids, path)
    for site in range(model.nsite):
        if int(model.site_bodyid[site]) in ids:
            name = source.names(model, "site", [site])[0]
            at = pose(model.site_pos[site], model.site_quat[site])
            tree.sites[name] = (_name(model, int(model.site_bodyid[site])), at)
    tree.imus = _imus(model)
    tree.warnings += [*_lost_tendons(model), *_lost_equalities(model, ids)]
    tree.missing = {link: file for link, file in missing.items() if link in tree.links}
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    tree.upright = data.xmat[root].reshape(3, 3).copy()
    _add_keyframes(tree, model, root)
    return tree


def _loaded(path: Path) -> tuple[mujoco.MjSpec, list[str], dict[str, str]]:
    """Return the spec without meshes that are not there, what to tell, and link -> lost file."""
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise InputError(f"{path}: MuJoCo cannot read it: {' '.join(str(error).split())}") from None
    spec.compiler.fusestatic = spec.compiler.discardvisual = spec.compiler.alignfree = False
    for joint in spec.joints:
        joint.align = mujoco.mjtAlignFree.mjALIGNFREE_FALSE
    folder = Path(spec.modelfiledir or path.parent)
    lost = {}
    for mesh in spec.meshes:
        if mesh.file and not (folder / spec.meshdir / mesh.file).is_file():
            lost[mesh.name or Path(mesh.file).stem] = mesh.file
    missing: dict[str, str] = {}
    for geom in [geom for geom in spec.geoms if geom.meshname in lost]:
        if geom.contype or geom.conaffinity:
            missing[geom.parent.name] = lost[geom.meshname]
        _refuse_lost_mass(geom, lost[geom.meshname], path)
        spec.delete(geom)
    for mesh in list(spec.meshes):
        if (mesh.name or Path(mesh.file).stem) in lost:
            spec.delete(mesh)
    _drop_references(spec)
    for texture in list(spec.textures):  # looks that need files are not carried over
        if texture.file or any(texture.cubefiles):
            for material in spec.materials:
                material.textures = ["" for _ in material.textures]
            spec.delete(texture)
    notes = []
    if lost:
        names = ", ".join(sorted(lost.values())[:3]) + (", ..." if len(lost) > 3 else "")
        notes.append(f"{len(lost)} mesh files are not there and are left out ({names})")
    return spec, notes, missing


def _drop_references(spec: mujoco.MjSpec) -> None:
    """Delete sensors but those of an IMU, and pairs with the ground, a scene's floor that is lost.

    The robot's geom of such a pair touches the ground by its masks from then on, with the pair's
    friction.
    """
    for sensor in list(spec.sensors):
        if not _is_inertial(sensor):
            spec.delete(sensor)
    geoms = {geom.name: geom for geom in spec.geoms if geom.name}
    for pair in list(spec.pairs):
        there = [geoms[n] for n in (pair.geomname1, pair.geomname2) if n in geoms]
        moving = [geom for geom in there if _moves(geom.parent)]
        if len(moving) == 2:
            continue
        for geom in moving:
            geom.contype = geom.conaffinity = 1
            geom.friction = (pair.friction[0], pair.friction[2], pair.friction[3])
        spec.delete(pair)


def _is_inertial(sensor: mujoco.MjsSensor) -> bool:
    """Return whether a sensor is part of an IMU: at a site, and against the world."""
    if int(sensor.type) == _FRAMEQUAT:
        return sensor.objtype == mujoco.mjtObj.mjOBJ_SITE and not sensor.refname
    return int(sensor.type) in _INERTIAL_SENSORS


def _moves(body: mujoco.MjsBody) -> bool:
    """Return whether a joint is between a body and the world."""
    while body.name != "world":
        if len(body.joints):
            return True
        body = body.parent
    return False


def _refuse_lost_mass(geom: mujoco.MjsGeom, file: str, path: Path) -> None:
    body = geom.parent
    if not body.explicitinertial and geom.mass != 0 and geom.density != 0:
        raise InputError(
            f"{path}: the mesh {file!r} is not there, and the mass of the body {body.name!r} comes "
            "from it; put the file there, or give the body an <inertial>"
        )


def _name(model: mujoco.MjModel, body: int) -> str:
    return source.names(model, "body", [body])[0].replace("#", "body_")


def _is_below(model: mujoco.MjModel, body: int, root: int) -> bool:
    while body > root:
        body = int(model.body_parentid[body])
    return body == root


def _root(model: mujoco.MjModel, path: Path, base: str | None) -> int:
    """Return the body at which the robot begins."""
    hinges = [int(model.jnt_bodyid[j]) for j in range(model.njnt) if model.jnt_type[j] >= 2]
    free = [int(model.jnt_bodyid[j]) for j in range(model.njnt) if model.jnt_type[j] == 0]
    tops = [b for b in range(1, model.nbody) if model.body_parentid[b] == 0]
    found = [b for b in (free or tops) if any(_is_below(model, h, b) for h in hinges)]
    names = [_name(model, b) for b in found]
    if base is not None:
        bodies = {_name(model, b): b for b in range(1, model.nbody)}
        if base not in bodies:
            raise InputError(
                f"--base {base}: {path.name} has no such body{did_you_mean(base, bodies)}"
            )
        return bodies[base]
    if not found:
        raise InputError(
            f"{path}: has no body with hinge joints below it, so there is no robot in it; give the "
            "file that holds the robot"
        )
    if len(found) > 1:
        raise InputError(
            f"{path}: has two robots or more, with the bases {', '.join(names)}; choose one with "
            f"--base {names[0]}"
        )
    return found[0]


def _refuse_loops(model: mujoco.MjModel, path: Path, ids: list[int]) -> None:
    """Raise `InputError` for an equality that closes a chain."""
    for equality in range(model.neq):
        kind = int(model.eq_type[equality])
        if not model.eq_active0[equality] or kind not in (
            int(mujoco.mjtEq.mjEQ_CONNECT),
            int(mujoco.mjtEq.mjEQ_WELD),
        ):
            continue
        ends = [int(model.eq_obj1id[equality]), int(model.eq_obj2id[equality])]
        if model.eq_objtype[equality] == mujoco.mjtObj.mjOBJ_SITE:
            ends = [int(model.site_bodyid[e]) for e in ends]
        name = source.names(model, "equality", [equality])[0]
        if all(end in ids for end in ends):
            raise InputError(
                f"{path}: the equality {name!r} closes a chain between "
                f"{' and '.join(_name(model, e) for e in ends)}, and a chain must be open to be "
                "driven joint by joint; delete the equality and the passive branch of the loop"
            )


def _link(model: mujoco.MjModel, id: int, ids: list[int]) -> Link:
    frame = pose(model.body_pos[id], model.body_quat[id])
    turn = pose(model.body_ipos[id], model.body_iquat[id])
    parent = int(model.body_parentid[id])
    start = int(model.body_jntadr[id])
    joints = range(start, start + int(model.body_jntnum[id]))
    return Link(
        name=_name(model, id),
        parent=_name(model, parent) if id != ids[0] else None,
        pose=frame if id != ids[0] else Pose(),
        mass=float(model.body_mass[id]),
        com=turn.pos,
        inertia=turn.mat @ np.diag(model.body_inertia[id]) @ turn.mat.T,
        joints=[_joint(model, j) for j in joints if id != ids[0] and model.jnt_type[j] != 0],
    )


def _joint(model: mujoco.MjModel, id: int) -> Joint:
    dof = int(model.jnt_dofadr[id])
    limit = motor_rules.torque_limit(model, id)
    driven = np.flatnonzero(
        (model.actuator_trnid[:, 0] == id) & (model.actuator_trntype == 0)
    ).tolist()
    passive = bool(model.nu) and not driven
    limited = bool(model.jnt_limited[id])
    return Joint(
        name=source.names(model, "joint", [id])[0].replace("#", "joint_"),
        kind=_JOINTS[int(model.jnt_type[id])],
        axis=model.jnt_axis[id].copy(),
        pos=model.jnt_pos[id].copy(),
        range=(float(model.jnt_range[id, 0]), float(model.jnt_range[id, 1])) if limited else None,
        torque=min(abs(limit[0]), abs(limit[1])) if limit else None,
        torque_from=limit[2] if limit else "",
        armature=float(model.dof_armature[dof]),
        damping=float(np.max(model.dof_damping[dof])),
        frictionloss=float(model.dof_frictionloss[dof]),
        stiffness=float(np.max(model.jnt_stiffness[id])),
        springref=float(model.qpos_spring[model.jnt_qposadr[id]]),
        ref=float(model.qpos0[model.jnt_qposadr[id]]) if model.jnt_type[id] != 1 else 0.0,
        actuator=None if passive else driven[0] if driven else id,
        mimic=_mimic(model, id),
    )


def _mimic(model: mujoco.MjModel, joint: int) -> tuple[str, float, float] | None:
    """Return which joint this one follows by an equality: name, factor, offset."""
    rows = np.flatnonzero(
        (model.eq_type == int(mujoco.mjtEq.mjEQ_JOINT))
        & (model.eq_obj1id == joint)
        & (model.eq_active0 == 1)
    )
    if not len(rows) or model.eq_obj2id[rows[0]] < 0:
        return None
    offset, factor = model.eq_data[rows[0], :2].tolist()
    return source.names(model, "joint", [int(model.eq_obj2id[rows[0]])])[0], factor, offset


def _add_shapes(
    tree: Tree, spec: mujoco.MjSpec, model: mujoco.MjModel, ids: list[int], path: Path
) -> None:
    colliding = source.colliding_geoms(model)
    files = dict(_files(spec, path))
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        kind = _KINDS.get(int(model.geom_type[geom]))
        if body in ids and kind:
            shape = _shape(model, geom, kind, bool(colliding[geom]), files)
            tree.links[_name(model, body)].shapes.append(shape)


def _files(spec: mujoco.MjSpec, path: Path) -> Iterator[tuple[str, tuple[Path, tuple]]]:
    """Yield each mesh that MuJoCo reads from a file, with it and its scale."""
    folder = Path(spec.modelfiledir or path.parent)
    for mesh in spec.meshes:
        file = folder / spec.meshdir / mesh.file
        plain = not np.any(mesh.refpos) and np.allclose(mesh.refquat, (1, 0, 0, 0))
        if mesh.file and plain and file.suffix.lower() in meshes.SHOWN:
            yield mesh.name or file.stem, (file.resolve(), tuple(map(float, mesh.scale)))


def _shape(model: mujoco.MjModel, geom: int, kind: str, collides: bool, files: dict) -> Shape:
    at = pose(model.geom_pos[geom], model.geom_quat[geom])
    points = file = file_pose = None
    scale = (1.0, 1.0, 1.0)
    if kind == "mesh":
        points = geometry.vertices(model, geom)
        mesh = int(model.geom_dataid[geom])
        file, scale = files.get(source.names(model, "mesh", [mesh])[0], (None, scale))
        file_pose = at @ pose(model.mesh_pos[mesh], model.mesh_quat[mesh]).inverse()
    material = int(model.geom_matid[geom])
    rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
    return Shape(
        kind,
        model.geom_size[geom].copy(),
        at,
        collides,
        source.names(model, "geom", [geom])[0].replace("#", "geom_"),
        points,
        file,
        file_pose,
        scale,
        tuple(float(x) for x in rgba),
        float(model.geom_friction[geom, 0]) if collides else None,
    )


def _imus(model: mujoco.MjModel) -> list[str]:
    """Return the sites of gyroscopes and accelerometers, then those of bare orientations."""
    sites = [
        (int(model.sensor_type[sensor]) == _FRAMEQUAT, int(model.sensor_objid[sensor]))
        for sensor in range(model.nsensor)
    ]
    ordered = [site for _, site in sorted(sites, key=lambda pair: pair[0])]
    return list(dict.fromkeys(source.names(model, "site", ordered)))


def _lost_tendons(model: mujoco.MjModel) -> Iterator[str]:
    if model.ntendon:
        names = ", ".join(source.names(model, "tendon", range(model.ntendon)))
        yield (
            f"the tendons of the file ({names}) are left out, with their springs, limits and "
            "friction: the robot has motors at its joints alone"
        )


def _lost_equalities(model: mujoco.MjModel, ids: list[int]) -> Iterator[str]:
    """Yield a sentence for each equality that holds a joint at a constant."""
    for equality in range(model.neq):
        joint = int(model.eq_obj1id[equality])
        holds = model.eq_type[equality] == mujoco.mjtEq.mjEQ_JOINT and model.eq_active0[equality]
        if holds and model.eq_obj2id[equality] < 0 and int(model.jnt_bodyid[joint]) in ids:
            name = source.names(model, "joint", [joint])[0]
            angle = float(model.eq_data[equality, 0] + model.qpos0[model.jnt_qposadr[joint]])
            yield (
                f"the equality that holds the joint {name} is left out: --hold {name}={angle:.4g} "
                "holds it"
            )


def _add_keyframes(tree: Tree, model: mujoco.MjModel, root: int) -> None:
    start = int(model.body_jntadr[root])
    free = start if start >= 0 and model.jnt_type[start] == 0 else None
    for key in range(model.nkey):
        qpos = model.key_qpos[key]
        if not np.any(qpos - model.qpos0):
            continue
        joints = {
            joint.name: float(qpos[model.joint(joint.name).qposadr[0]])
            for _, joint in tree.joints()
            if joint.kind != "ball" and source.find(model, "joint", joint.name) >= 0
        }
        turned = None
        if free is not None:
            at = int(model.jnt_qposadr[free])
            turned = quat_mat(qpos[at + 3 : at + 7])
        name = source.names(model, "key", [key])[0]
        tree.keyframes[name] = Keyframe(joints, turned)
