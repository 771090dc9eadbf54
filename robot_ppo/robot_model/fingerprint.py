"""The fingerprint of a robot: which model and which robot.yaml a policy was trained with.

    fingerprint.of(robot, xml)                     # 64 hexadecimal digits
    fingerprint.record(run, "go2")                 # a run keeps it
    fingerprint.warn_if_edited(contract.model_fingerprint, "go2", "policy.onnx")

It covers what moves a robot: the MJCF as MuJoCo compiles it, includes and meshes with it, without
colours, lights and geoms that only eyes need, and every figure of robot.yaml. Formatting, comments
and looks may change.

Files of robots that nobody edited keep their fingerprint when it comes to cover more: what was
added (`_UNUSUAL`, the angles at which passive joints begin) counts only where it is not what MuJoCo
assumes of a file that does not say it.
"""

import hashlib
import logging
from pathlib import Path

import msgspec
import mujoco
import numpy as np

from robot_ppo import project
from robot_ppo.robot_model import source
from robot_ppo.robot_model.source import Mjcf
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

log = logging.getLogger(__name__)

RUN_FILE = "model_fingerprints.txt"
"""In a run's folder: a line for every model that it was trained with, the newest last."""

_FIELDS = {
    "body": ("parentid", "pos", "quat", "mass", "inertia", "ipos", "iquat", "gravcomp"),
    "jnt": ("type", "bodyid", "pos", "axis", "range", "limited", "stiffness", "solref", "solimp"),
    "dof": ("armature", "damping", "frictionloss"),
    "site": ("bodyid", "pos", "quat"),
    "eq": ("type", "obj1id", "obj2id", "data", "solref", "solimp"),
    "tendon": ("range", "limited", "stiffness", "damping", "lengthspring"),
    "wrap": ("type", "objid", "prm"),
    "pair": ("geom1", "geom2", "friction", "solref", "solimp", "margin", "gap"),
    "exclude": ("signature",),
}
"""Arrays of the compiled model that the variants are made of, by kind of object."""
_SOLREF = (0.02, 1.0)
_SOLIMP = (0.9, 0.95, 0.001, 0.5, 2.0)
_UNUSUAL: dict[str, float | tuple[float, ...]] = {
    "jnt_margin": 0,
    "jnt_stiffnesspoly": 0,
    "jnt_springyield": 0,
    "dof_dampingpoly": 0,
    "dof_solref": _SOLREF,
    "dof_solimp": _SOLIMP,
    "eq_active0": 1,
    "tendon_frictionloss": 0,
    "tendon_armature": 0,
    "tendon_margin": 0,
    "tendon_stiffnesspoly": 0,
    "tendon_dampingpoly": 0,
    "tendon_springyield": 0,
    "tendon_solref_lim": _SOLREF,
    "tendon_solimp_lim": _SOLIMP,
    "tendon_solref_fri": _SOLREF,
    "tendon_solimp_fri": _SOLIMP,
    "pair_dim": 3,
    "pair_solreffriction": 0,
    "pair_adhesion": 0,
}
"""Arrays that count where they have another value than MuJoCo's own, which is given."""
_UNUSUAL_GEOM = ("adhesion", "surfacevel")
"""The same of geoms; MuJoCo's own value is 0."""
_GEOM_FIELDS = (
    "type",
    "bodyid",
    "pos",
    "quat",
    "size",
    "contype",
    "conaffinity",
    "condim",
    "priority",
    "friction",
    "solref",
    "solimp",
    "solmix",
    "margin",
    "gap",
)


def of(robot: RobotSpec, xml: Mjcf) -> str:
    """Return the fingerprint of a robot.yaml with its MJCF at `xml`."""
    model = source.read(xml).model
    digest = hashlib.sha256(_stated(robot))
    for kind, fields in _FIELDS.items():
        for field in fields:
            _add(digest, f"{kind}_{field}", getattr(model, f"{kind}_{field}"))
    colliding = source.colliding_geoms(model)
    for field in _GEOM_FIELDS:
        _add(digest, f"geom_{field}", getattr(model, f"geom_{field}")[colliding])
    _add(digest, "mesh_vert", _vertices(model, colliding))
    for field, usual in _UNUSUAL.items():
        _add_unusual(digest, field, getattr(model, field), usual)
    for field in _UNUSUAL_GEOM:
        _add_unusual(digest, f"geom_{field}", getattr(model, f"geom_{field}")[colliding], 0)
    for field, angles in _angles(model, robot).items():
        _add_unusual(digest, field, angles, 0)
    for kind, count in (("body", model.nbody), ("joint", model.njnt), ("geom", model.ngeom)):
        ids = np.flatnonzero(colliding).tolist() if kind == "geom" else range(count)
        digest.update("\0".join(source.names(model, kind, ids)).encode())
    return digest.hexdigest()


def of_robot(name: str) -> str:
    """Return the fingerprint of the robot `name` as its files are now."""
    robot = project.load_robot(name)
    return of(robot, project.robot_folder(name) / robot.model)


def record(run: Path, name: str) -> None:
    """Write into the folder of a run with which model it goes on."""
    known = recorded(run)
    now = of_robot(name)
    if not known or known[-1] != now:
        write_atomically(run / RUN_FILE, "".join(f"{line}\n" for line in (*known, now)).encode())


def recorded(run: Path) -> list[str]:
    """Return the fingerprints in the folder of a run, the newest last; [] of an older run."""
    path = run / RUN_FILE
    return path.read_text().split() if path.is_file() else []


def newest(run: Path) -> str | None:
    """Return the fingerprint of the model that a run was trained with last, or None."""
    known = recorded(run)
    return known[-1] if known else None


def warn_if_edited(trained_with: str | None, name: str, what: str | Path) -> None:
    """Warn, in one sentence, where the robot `name` is not what `what` was trained with.

    Where there is no such robot, there is nothing to compare.
    """
    if trained_with is None:
        return
    try:
        project.robot_folder(name)
    except InputError:
        return
    now = of_robot(name)
    if now != trained_with:
        log.warning(
            "%s was trained with another model of %s than %s holds now (fingerprint %s, "
            "now %s): what follows is about the edited robot",
            *(what, name, project.robot_folder(name), trained_with[:12], now[:12]),
        )


def _stated(robot: RobotSpec) -> bytes:
    """Return every figure of robot.yaml that is not a default, so that new keys change nothing."""
    defaults = dict(
        zip(
            RobotSpec.__struct_fields__[-len(RobotSpec.__struct_defaults__) :],
            RobotSpec.__struct_defaults__,
            strict=True,
        )
    )
    stated = {
        key: value
        for key, value in msgspec.structs.asdict(robot).items()
        if key != "description" and not (key in defaults and value == defaults[key])
    }
    return msgspec.json.encode(stated, order="deterministic")


def _add(digest: "hashlib._Hash", name: str, values: np.ndarray) -> None:
    """Add an array as float32: the last bits are those of a compiler, not of a person."""
    digest.update(f"\0{name}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values, np.float32).tobytes())


def _add_unusual(
    digest: "hashlib._Hash", name: str, values: np.ndarray, usual: float | tuple[float, ...]
) -> None:
    """Add an array where any of its rows is not `usual`."""
    if np.any(np.asarray(values, np.float32) != np.asarray(usual, np.float32)):
        _add(digest, name, values)


def _angles(model: mujoco.MjModel, robot: RobotSpec) -> dict[str, np.ndarray]:
    """Return `ref` and `springref` of joints [rad, m], and where those begin that nobody drives.

    The driven ones begin at the default pose; of the others it is the keyframe `home` that says it.
    """
    kinds = mujoco.mjtJoint
    single = (model.jnt_type == kinds.mjJNT_HINGE) | (model.jnt_type == kinds.mjJNT_SLIDE)
    places = model.jnt_qposadr[single]
    found = {"ref": model.qpos0[places], "springref": model.qpos_spring[places]}
    if (home := source.find(model, "key", "home")) >= 0:
        passive = np.ones(model.nq, bool)
        for joint in range(model.njnt):
            free = model.jnt_type[joint] == kinds.mjJNT_FREE
            if free or model.joint(joint).name in robot.joint_names:
                start = int(model.jnt_qposadr[joint])
                passive[start : start + (7 if free else 1)] = False
        found["home"] = (model.key_qpos[home] - model.qpos0)[passive]
    return found


def _vertices(model: mujoco.MjModel, geoms: np.ndarray) -> np.ndarray:
    """Return the vertices of every mesh that can touch something."""
    meshes = set(model.geom_dataid[geoms & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)])
    spans = [
        model.mesh_vert[model.mesh_vertadr[i] :][: model.mesh_vertnum[i]] for i in sorted(meshes)
    ]
    return np.concatenate(spans) if spans else np.zeros((0, 3))
