"""Comparison of the model that a policy file carries with the robot's own, array by array.

    carried_check.check(xml, variants.eval_model(robot, xml), variants.eval_model(robot, text))

Every array of the two models that moves a robot is compared, element by element. They may differ by
the rounding of MuJoCo's writer, in looks, and where a mesh was replaced by the primitive around it.
"""

import mujoco
import numpy as np

from robot_ppo.robot_model import source
from robot_ppo.robot_model.source import Mjcf
from robot_ppo_export.errors import InputError

_KINDS = {
    "body": "body",
    "jnt": "joint",
    "geom": "geom",
    "site": "site",
    "eq": "equality",
    "tendon": "tendon",
    "pair": "pair",
    "exclude": "exclude",
    "actuator": "actuator",
    "sensor": "sensor",
    "key": "key",
}
"""Prefix of a kind's arrays -> the kind, as MuJoCo finds its names."""
_COUNTS = {"joint": "jnt", "equality": "eq", "actuator": "u"}
"""Kinds of which the model calls the number otherwise."""
_MORE = ("dof", "qpos0", "qpos", "wrap")
"""Prefixes of arrays whose rows have no names, or have those of joints."""
_LOOKS = ("rgba", "matid", "group", "user", "dataid", "sameframe", "bvhadr", "bvhnum")
_SHAPES = ("type", "size", "pos", "quat", "aabb", "rbound", "fluid")
"""What a primitive has otherwise than the mesh that it was put around."""
_RELATIVE = 1e-4
_OF_LARGEST = 1e-6
"""Of the largest number of an array; both are beyond what six digits leave, and far below what
anybody measures."""


def check(xml: Mjcf, own: mujoco.MjModel, other: mujoco.MjModel) -> None:
    """Raise `InputError` that names the first element in which two models differ.

    Args:
        xml: the robot's own file, for messages.
        own: the evaluation model of it.
        other: that of what is carried.
    """
    for kind in _KINDS.values():
        _check_names(own, other, kind, xml)
    meshes = own.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    for field in _fields(own):
        one = getattr(own, field)
        two = getattr(other, field)
        differ = _differ(one, two) if one.shape == two.shape else np.ones(1, bool)
        for row in np.flatnonzero(differ):
            if not _replaced(own, field, int(row), meshes):
                raise _error(xml, f"{_name(own, field, int(row))} has another {field}")


def _check_names(own: mujoco.MjModel, other: mujoco.MjModel, kind: str, xml: Mjcf) -> None:
    lists = []
    for model in (own, other):
        count = getattr(model, f"n{_COUNTS.get(kind, kind)}")
        lists.append(source.names(model, kind, range(count)))
    if lists[0] != lists[1]:
        apart = sorted(set(lists[0]) ^ set(lists[1])) or lists[0]
        raise _error(xml, f"the {kind} {apart[0]!r} is in one of them only, or in another place")


def _fields(model: mujoco.MjModel) -> list[str]:
    """Return the names of all arrays that move a robot."""
    arrays = [field for field in dir(model) if isinstance(getattr(model, field), np.ndarray)]
    found = []
    for field in arrays:
        prefix, _, rest = field.partition("_")
        if (prefix in _KINDS or prefix in _MORE) and rest not in _LOOKS:
            found.append(field)
    return found


def _differ(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return in which rows (n,) two arrays (n, ...) differ by more than rounding."""
    least = _OF_LARGEST * float(np.abs(one).max(initial=0))
    same = np.isclose(one, two, rtol=_RELATIVE, atol=least, equal_nan=True)
    return np.array([not row.all() for row in same], bool)


def _replaced(model: mujoco.MjModel, field: str, row: int, meshes: np.ndarray) -> bool:
    """Return whether a row may differ, since a primitive stands for a mesh."""
    kind, _, rest = field.partition("_")
    if kind == "geom" and rest in _SHAPES:
        return bool(meshes[row])
    on_mesh = set(model.geom_bodyid[meshes].tolist())
    if kind == "site" and rest in _SHAPES:  # the zone in which a foot feels
        return int(model.site_bodyid[row]) in on_mesh
    # It stands on its primitives, and MuJoCo takes a dof's length from how far a body reaches.
    return field in ("key_qpos", "dof_length") and bool(on_mesh)


def _name(model: mujoco.MjModel, field: str, row: int) -> str:
    """Return what a row of an array is of, in words."""
    prefix = field.partition("_")[0]
    if prefix == "dof":
        prefix = "jnt"
        row = int(model.dof_jntid[row])
    if prefix not in _KINDS:
        return f"number {row}"
    kind = _KINDS[prefix]
    name = source.names(model, kind, [row])[0]
    if kind == "geom":
        return f"the geom {name!r} of the body {model.body(model.geom_bodyid[row]).name!r}"
    return f"the {kind} {name!r}"


def _error(xml: Mjcf, what: str) -> InputError:
    return InputError(
        f"{xml}: the model that the policy file would carry is not the file's: {what}; write that "
        "part of the MJCF more plainly, and please report it, for it should be carried as it is"
    )
