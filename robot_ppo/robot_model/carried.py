"""The robot's model inside a policy file: one MJCF of primitives, without meshes and looks.

    text = carried.pack(robot, Path("robots/go2/go2.xml"))      # into the file's metadata
    xml = carried.mjcf(contract.robot, text, "go2_walk.onnx")   # the robot's folder, or this

It lets a policy be scored and played where its robot's folder is not. Bodies, inertias, joints and
primitives are those of the compiled model to the last bit; colliding meshes become the box or
capsule around them. MuJoCo's own writer rounds to six digits, so numbers are written again here.
"""

import base64
import binascii
import logging
import xml.etree.ElementTree as ET
import zlib

import mujoco
import numpy as np

from robot_ppo import project
from robot_ppo.robot_model import assembly, source
from robot_ppo.robot_model.importing import fitting
from robot_ppo.robot_model.importing.tree import pose
from robot_ppo.robot_model.source import Mjcf, Source, Text
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError, RefusedError

LARGEST = 100_000
"""[bytes] of the packed text."""
_UNPACKED = 20_000_000
"""[bytes] A text that unpacks to more was not written by us."""
log = logging.getLogger(__name__)


def pack(robot: RobotSpec, xml: Mjcf) -> str:
    """Return the model as text for a policy file, or "" where it is too large to be carried."""
    file = source.read(xml)
    _reduce(file, robot)
    model = source.compile_model(file.spec, xml)
    text = base64.b85encode(zlib.compress(_exact(file.spec, model), 9)).decode()
    if len(text) > LARGEST:
        log.warning(
            "%s: its model takes %.0f kB and %.0f may be carried; the policy file goes without, "
            "and needs the robot's folder to be scored and played",
            *(xml, len(text) / 1e3, LARGEST / 1e3),
        )
        return ""
    return text


def unpack(text: str, what: str) -> Text:
    """Return the MJCF in a policy file's text, or raise `RefusedError`."""
    try:
        data = zlib.decompressobj()
        xml = data.decompress(base64.b85decode(text), _UNPACKED)
    except (ValueError, zlib.error, binascii.Error) as error:
        raise RefusedError(f"{what}: the robot's model in it cannot be read: {error}") from None
    if not data.eof:
        raise RefusedError(f"{what}: the robot's model in it is cut off or too large")
    return Text(f"the model in {what}", xml.decode("utf-8", "replace"))


def mjcf(robot: RobotSpec, packed: str, what: str, given: str | None = None) -> Mjcf:
    """Return the MJCF of a robot: from its folder, where that is found, else the carried one.

    Args:
        robot: as the policy file has it.
        packed: text from the file, "" without one.
        what: name of the file, for messages.
        given: name or folder of the robot, by default its name.
    """
    try:
        return project.robot_folder(given or robot.name) / robot.model
    except InputError:
        if not packed:
            raise
    log.warning("no robot %r here: %s brings its model, without looks", robot.name, what)
    return unpack(packed, what)


def _reduce(file: Source, robot: RobotSpec) -> None:
    """Delete what no variant is made of; make primitives of meshes."""
    spec = file.spec
    model = file.model
    geoms = {geom.id: geom for geom in spec.geoms}
    assembly.pin_masses(spec, model)
    assembly.clear_outputs(spec, robot)
    kept = set(np.flatnonzero(source.colliding_geoms(model) & ~source.static_geoms(model)).tolist())
    assembly.delete_geoms(spec, geoms, kept | source.wrapped_geoms(model))
    for id, geom in geoms.items():
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
            _make_primitive(geom, model, id)
        geom.material = ""
    for elements in (spec.meshes, spec.hfields, spec.textures, spec.materials, spec.lights):
        for element in list(elements):
            spec.delete(element)
    for camera in list(spec.cameras):
        spec.delete(camera)


def _make_primitive(geom: mujoco.MjsGeom, model: mujoco.MjModel, id: int) -> None:
    from robot_ppo.robot_model import geometry

    shape = fitting.around(geometry.vertices(model, id))
    at = pose(model.geom_pos[id], model.geom_quat[id]) @ shape.pose
    kinds = {"box": mujoco.mjtGeom.mjGEOM_BOX, "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE}
    geom.type = kinds[shape.kind]
    geom.meshname = ""
    geom.size = shape.size
    geom.pos = at.pos
    geom.quat = at.quat
    geom.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    geom.fromto[:] = np.nan


def _exact(spec: mujoco.MjSpec, model: mujoco.MjModel) -> bytes:
    """Return MuJoCo's text of the spec with the compiled model's numbers at full precision."""
    root = ET.fromstring(spec.to_xml())
    compiler = root.find("compiler")
    if compiler is None:
        compiler = ET.Element("compiler")
        root.insert(0, compiler)
    compiler.attrib.pop("meshdir", None)
    compiler.attrib.pop("texturedir", None)
    compiler.set("angle", "radian")
    world = root.find("worldbody")
    assert world is not None
    counters: dict[str, int] = dict.fromkeys(("body", "joint", "geom", "site"), 0)
    _rewrite_children(world, model, counters)
    assert counters["body"] == model.nbody - 1
    return ET.tostring(root)


def _rewrite_children(element: ET.Element, model: mujoco.MjModel, counters: dict[str, int]) -> None:
    """Rewrite the numbers of a body's parts, then of the bodies in it, as MuJoCo numbers them."""
    for child in element:
        if child.tag in _WRITERS:
            kind = "joint" if child.tag == "freejoint" else child.tag
            _WRITERS[child.tag](child, model, counters[kind])
            counters[kind] += 1
    for child in element.findall("body"):
        counters["body"] += 1
        _body(child, model, counters["body"])
        _rewrite_children(child, model, counters)


def _body(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    _place(element, model.body_pos[id], model.body_quat[id])
    inertial = element.find("inertial")
    if inertial is not None:
        inertial.attrib.clear()
        _place(inertial, model.body_ipos[id], model.body_iquat[id])
        inertial.set("mass", repr(float(model.body_mass[id])))
        inertial.set("diaginertia", _text(model.body_inertia[id]))


def _joint(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    if model.jnt_type[id] == mujoco.mjtJoint.mjJNT_FREE:
        return
    dof = int(model.jnt_dofadr[id])
    element.set("pos", _text(model.jnt_pos[id]))
    if model.jnt_type[id] != mujoco.mjtJoint.mjJNT_BALL:
        element.set("axis", _text(model.jnt_axis[id]))
    if np.any(model.jnt_range[id]):
        element.set("range", _text(model.jnt_range[id]))
    if np.any(model.jnt_actfrcrange[id]):
        element.set("actuatorfrcrange", _text(model.jnt_actfrcrange[id]))
    for key in ("armature", "frictionloss"):
        element.set(key, repr(float(getattr(model, f"dof_{key}")[dof])))
    element.set("damping", repr(float(model.dof_damping[dof])))
    element.set("stiffness", repr(float(model.jnt_stiffness[id])))


def _geom(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    for key in ("fromto", "euler", "axisangle", "xyaxes", "zaxis", "rgba", "material"):
        element.attrib.pop(key, None)
    _place(element, model.geom_pos[id], model.geom_quat[id])
    element.set("size", _text(model.geom_size[id]))
    element.set("friction", _text(model.geom_friction[id]))


def _site(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    _place(element, model.site_pos[id], model.site_quat[id])


_WRITERS = {"joint": _joint, "freejoint": _joint, "geom": _geom, "site": _site}


def _place(element: ET.Element, pos: np.ndarray, quat: np.ndarray) -> None:
    element.set("pos", _text(pos))
    element.set("quat", _text(quat))


def _text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)
