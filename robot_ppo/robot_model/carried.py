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
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from robot_ppo import project
from robot_ppo.robot_model import assembly, carried_check, source, variants
from robot_ppo.robot_model.importing import fitting
from robot_ppo.robot_model.importing.tree import pose
from robot_ppo.robot_model.source import Mjcf, Source, Text
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError, RefusedError

LARGEST = 100_000
"""[bytes] of the packed text."""
_UNPACKED = 20_000_000
"""[bytes] A text that unpacks to more was not written by us."""
Names = set[tuple[str, str]]
"""Kind and name of elements."""
log = logging.getLogger(__name__)


def pack(robot: RobotSpec, xml: Mjcf) -> str:
    """Return the model as text for a policy file, or "" where it cannot be carried.

    That is where it is too large, or where the robot with primitives for its meshes is refused.

    Raises:
        InputError: what would be carried is another robot.
    """
    file = source.read(xml)
    key = source.find(file.model, "key", "home")
    home = file.model.key_qpos[key] if key >= 0 else None
    _reduce(file, robot)
    unnamed = _name_all(file.spec)
    model = source.compile_model(file.spec, xml)
    written = _exact(file.spec, model, unnamed, home)
    text = base64.b85encode(zlib.compress(written, 9)).decode()
    if len(text) > LARGEST:
        log.warning(
            "%s: its model takes %.0f kB and %.0f may be carried; the policy file goes without, "
            "and needs the robot's folder to be scored and played",
            *(xml, len(text) / 1e3, LARGEST / 1e3),
        )
        return ""
    own = variants.eval_model(robot, xml)
    try:
        other = variants.eval_model(robot, unpack(text, "the policy file"))
    except InputError as error:
        if not (own.geom_type == mujoco.mjtGeom.mjGEOM_MESH).any():
            raise
        log.warning(
            "%s: with primitives for its meshes it is refused, so that the policy file goes "
            "without a model, and needs the robot's folder to be scored and played: %s",
            *(xml, error),
        )
        return ""
    carried_check.check(xml, own, other)
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
    paired = {*model.pair_geom1.tolist(), *model.pair_geom2.tolist()}  # of the file's ground, too
    assembly.delete_geoms(spec, geoms, kept | paired | source.wrapped_geoms(model))
    for id, geom in geoms.items():
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
            _make_primitive(geom, model, id)
        geom.material = ""
    for elements in (spec.meshes, spec.hfields, spec.textures, spec.materials, spec.lights):
        for element in list(elements):
            spec.delete(element)
    for camera in list(spec.cameras):
        spec.delete(camera)
    spec.comment = ""  # MuJoCo reads "--" in it, and nobody else does


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


def _name_all(spec: mujoco.MjSpec) -> Names:
    """Name what has no name, so that it is found again in text and model; return which."""
    given: Names = set()
    for kind, elements in (
        ("body", spec.bodies),
        ("joint", spec.joints),
        ("geom", spec.geoms),
        ("site", spec.sites),
    ):
        taken = {element.name for element in elements}
        for i, element in enumerate(elements):
            if not element.name:
                name = f"{kind} {i}"
                while name in taken:
                    name += "_"
                element.name = name
                given.add((kind, name))
    return given


def _exact(
    spec: mujoco.MjSpec, model: mujoco.MjModel, unnamed: Names, home: np.ndarray | None
) -> bytes:
    """Return MuJoCo's text of the spec with the compiled model's numbers at full precision.

    Args:
        spec: in which every body, joint, geom and site has a name.
        model: it, compiled.
        unnamed: kind and name of those that have none in the text.
        home: the keyframe `home` (nq,); None: there is none.
    """
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
    _rewrite(world, model, unnamed)
    if home is not None:
        keyframe = ET.SubElement(root, "keyframe")
        ET.SubElement(keyframe, "key", name="home", qpos=_text(home))
    return ET.tostring(root)


def _rewrite(element: ET.Element, model: mujoco.MjModel, unnamed: Names) -> None:
    """Write the parts of a body, and the bodies in it, with their numbers and in their order.

    The model has no frames: their places are in its numbers, their classes go to their parts.
    """
    parts = []
    for child, inherited in list(_without_frames(element, None)):
        kind = "joint" if child.tag == "freejoint" else child.tag
        key = "childclass" if kind == "body" else "class"
        if inherited is not None and key not in child.attrib and child.tag != "freejoint":
            child.set(key, inherited)
        id = source.find(model, kind, child.get("name", ""))
        assert id >= 0
        parts.append((_ORDER.index(kind), id, child))
        if (kind, child.get("name", "")) in unnamed:
            del child.attrib["name"]
    for child in list(element):
        if child.tag == "frame" or child.tag in _WRITERS:
            element.remove(child)
    for _, id, child in sorted(parts, key=lambda part: part[:2]):
        _WRITERS[child.tag](child, model, id)
        element.append(child)
        if child.tag == "body":
            _rewrite(child, model, unnamed)


def _without_frames(
    element: ET.Element, inherited: str | None
) -> Iterator[tuple[ET.Element, str | None]]:
    """Yield the parts of a body, frame by frame, and the class that a frame gives them."""
    for child in element:
        if child.tag == "frame":
            yield from _without_frames(child, child.get("childclass", inherited))
        elif child.tag in _WRITERS:
            yield child, inherited


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
    damping = model.dof_damping[dof], *model.dof_dampingpoly[dof]
    element.set("damping", _polynomial(damping))
    element.set("stiffness", _polynomial((model.jnt_stiffness[id], *model.jnt_stiffnesspoly[id])))
    if model.jnt_type[id] != mujoco.mjtJoint.mjJNT_BALL:
        adr = int(model.jnt_qposadr[id])
        element.set("ref", repr(float(model.qpos0[adr])))
        element.set("springref", repr(float(model.qpos_spring[adr])))


def _geom(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    for key in ("fromto", "euler", "axisangle", "xyaxes", "zaxis", "rgba", "material"):
        element.attrib.pop(key, None)
    _place(element, model.geom_pos[id], model.geom_quat[id])
    element.set("size", _text(model.geom_size[id]))
    element.set("friction", _text(model.geom_friction[id]))


def _site(element: ET.Element, model: mujoco.MjModel, id: int) -> None:
    _place(element, model.site_pos[id], model.site_quat[id])


_WRITERS = {"joint": _joint, "freejoint": _joint, "geom": _geom, "site": _site, "body": _body}
_ORDER = ("joint", "geom", "site", "body")


def _place(element: ET.Element, pos: np.ndarray, quat: np.ndarray) -> None:
    element.set("pos", _text(pos))
    element.set("quat", _text(quat))


def _polynomial(values: Sequence[float]) -> str:
    """Return a polynomial's coefficients; one number where it is linear."""
    return _text(np.array(values if any(values[1:]) else values[:1]))


def _text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)
