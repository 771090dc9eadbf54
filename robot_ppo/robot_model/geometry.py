"""Contact points of a robot with the ground: the geoms of each foot, and their lowest points.

    feet = FootGeometry(model, robot)
    feet.clearance(data.geom_xpos[None], data.geom_xmat[None])      # (1, feet) [m]

A foot is a geom, a body (then it is every geom of that body that can touch something), or a list
of geoms of one body (`foot_geoms` in robot.yaml). The lowest point of a sphere, capsule, cylinder,
box, ellipsoid or mesh is exact; a mesh counts by its vertices.
"""

from collections.abc import Callable, Iterable

import mujoco
import numpy as np

from robot_ppo.robot_model import source
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

_TYPES = mujoco.mjtGeom
_BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
SOLID = (
    _TYPES.mjGEOM_SPHERE,
    _TYPES.mjGEOM_CAPSULE,
    _TYPES.mjGEOM_ELLIPSOID,
    _TYPES.mjGEOM_CYLINDER,
    _TYPES.mjGEOM_BOX,
    _TYPES.mjGEOM_MESH,
)
"""Types of geoms that have a lowest point."""


def foot_geoms(model: mujoco.MjModel, robot: RobotSpec) -> list[np.ndarray]:
    """Return the ids of each foot's geoms, in the order of `robot.feet`.

    Raises:
        InputError: a foot does not exist, touches nothing, or belongs to several bodies.
    """
    found = [_geoms_of(model, foot, robot.foot_geoms.get(foot)) for foot in robot.feet]
    ids, counts = np.unique(np.concatenate([*found, np.zeros(0, int)]), return_counts=True)
    if shared := source.names(model, "geom", ids[counts > 1].tolist()):
        raise InputError(f"robot.yaml's `feet`: two feet share the geom {', '.join(shared)}")
    return found


def _geoms_of(model: mujoco.MjModel, foot: str, given: tuple[str, ...] | None) -> np.ndarray:
    geom = source.find(model, "geom", foot)
    body = source.find(model, "body", foot)
    if given is not None:
        ids = [source.find(model, "geom", name) for name in given]
        missing = [name for name, id in zip(given, ids, strict=True) if id < 0]
        _require(not missing, model, f"the geom {', '.join(map(repr, missing))} of foot {foot!r}")
    elif geom >= 0:
        ids = [geom]
    else:
        _require(body >= 0, model, f"the foot {foot!r} (neither a geom nor a body)")
        collide = source.colliding_geoms(model) & (model.geom_bodyid == body)
        ids = np.flatnonzero(collide).tolist()
    return _checked(model, foot, np.array(ids, int))


def _require(exists: bool, model: mujoco.MjModel, what: str) -> None:
    if not exists:
        raise InputError(f"robot.yaml's `feet`: the MJCF does not have {what}; {_hint(model)}")


def _checked(model: mujoco.MjModel, foot: str, ids: np.ndarray) -> np.ndarray:
    where = f"robot.yaml's `feet`: {foot!r}"
    if not ids.size or not source.colliding_geoms(model)[ids].all():
        raise InputError(f"{where} has a geom that touches nothing, or none; {_hint(model)}")
    bodies = np.unique(model.geom_bodyid[ids])
    if len(bodies) > 1:
        listed = ", ".join(source.names(model, "body", bodies))
        raise InputError(f"{where} has geoms on several bodies ({listed}); name those of one")
    types = [_TYPES(int(model.geom_type[i])) for i in ids]
    for type in types:
        if type not in SOLID:
            kind = type.name.removeprefix("mjGEOM_").lower()
            raise InputError(
                f"{where} is made of a {kind}, whose lowest point is not known; make it a sphere, "
                "capsule, cylinder, box, ellipsoid or mesh"
            )
    return ids


def _hint(model: mujoco.MjModel) -> str:
    """Return the bodies at the ends of the legs, which have geoms that can touch something."""
    ends = set(range(1, model.nbody)) - set(model.body_parentid.tolist())
    touching = set(model.geom_bodyid[source.colliding_geoms(model)].tolist())
    found = ", ".join(source.names(model, "body", sorted(ends & touching)))
    return f"name geoms, or bodies that end a leg: {found or 'none has a geom that touches'}"


class FootGeometry:
    """The geoms that a robot's feet are made of, in a compiled model."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Find the geoms; `InputError` as in `foot_geoms`."""
        found = foot_geoms(model, robot)
        self.geoms = np.concatenate(found) if found else np.zeros(0, int)
        """Ids of all geoms of all feet, foot by foot, (g,)."""
        ends = np.cumsum([len(ids) for ids in found]).tolist()
        self._slices = [slice(end - len(ids), end) for end, ids in zip(ends, found, strict=True)]
        self._single = len(self.geoms) == len(found)
        self._round = bool((model.geom_type[self.geoms] == _TYPES.mjGEOM_SPHERE).all())
        self._radii = model.geom_size[self.geoms, 0]
        self._shapes = [Shape(model, int(id)) for id in self.geoms]

    @property
    def needs_rotation(self) -> bool:
        """True where `clearance` reads `geom_xmat`: spheres look the same from everywhere."""
        return not self._round

    def clearance(
        self,
        geom_xpos: Array,
        geom_xmat: Array | None = None,
        ground: Callable[[Array, Array], Array] | None = None,
    ) -> Array:
        """Return the height of each foot's lowest point (n, feet) [m], float32.

        It is that above the ground below the middle of the geom which has the point.

        Args:
            geom_xpos: positions of all geoms (n, ngeom, 3) [m].
            geom_xmat: their rotations (n, ngeom, 3, 3) or (n, ngeom, 9), row by row; may be left
                out where `needs_rotation` is false.
            ground: x and y (n, g) [m] -> height of the ground there; None: 0 everywhere.
        """
        xp = namespace(geom_xpos)
        centres = geom_xpos[:, self.geoms]
        if self._round:
            lowest = centres[..., 2] - self._radii
        else:
            assert geom_xmat is not None
            axes = geom_xmat.reshape(*geom_xpos.shape, 3)[:, self.geoms, 2]
            below = [shape.below(axes[:, i]) for i, shape in enumerate(self._shapes)]
            lowest = centres[..., 2] - xp.stack(below, axis=1)
        if ground is not None:
            lowest = lowest - ground(centres[..., 0], centres[..., 1])
        if not self._single:
            parts = [xp.min(lowest[:, own], axis=1) for own in self._slices]
            lowest = xp.stack(parts, axis=1)
        return xp.astype(lowest, xp.float32)


class Shape:
    """Shape of one geom: the distance that it reaches below its centre."""

    def __init__(self, model: mujoco.MjModel, geom: int) -> None:
        """Take type, size and, of a mesh, its vertices."""
        self.type = _TYPES(int(model.geom_type[geom]))
        self.size = model.geom_size[geom].copy()
        self.points = vertices(model, geom) if self.type == _TYPES.mjGEOM_MESH else None

    def below(self, up: Array) -> Array:
        """Return the distance from the centre down to the lowest point (n,) [m].

        `up` (n, 3) is the world's vertical in the geom's frame: the third row of its rotation.
        """
        if self.points is not None:
            return -namespace(up).min(up @ self.points.T, axis=1)
        return half_extent(self.type, self.size, up)


def half_extent(type: mujoco.mjtGeom, size: Array, up: Array) -> Array:
    """Return how far a primitive reaches from its centre along directions (n,) [m].

    Args:
        type: of the geom; none of a mesh.
        size: as MuJoCo has it (3,) [m].
        up: unit vectors (n, 3) in the geom's frame.
    """
    xp = namespace(up)
    across = size[0]
    along = size[1]
    z = xp.abs(up[:, 2])
    if type == _TYPES.mjGEOM_SPHERE:
        return xp.zeros_like(z) + across
    if type == _TYPES.mjGEOM_CAPSULE:
        return across + along * z
    if type == _TYPES.mjGEOM_CYLINDER:
        return across * xp.hypot(up[:, 0], up[:, 1]) + along * z
    if type == _TYPES.mjGEOM_BOX:
        return xp.abs(up) @ size
    return xp.sqrt(xp.sum(xp.square(up * size), axis=1))


def vertices(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Return the vertices of a mesh geom in the geom's frame, (k, 3) [m], those of its hull."""
    mesh = int(model.geom_dataid[geom])
    start = int(model.mesh_vertadr[mesh])
    count = int(model.mesh_vertnum[mesh])
    vertices = model.mesh_vert[start : start + count].astype(np.float64)
    graph = int(model.mesh_graphadr[mesh])
    if graph < 0:
        return vertices
    hull = int(model.mesh_graph[graph])
    # The graph is [vertices, faces, edge addresses (vertices), vertex numbers (vertices), ...].
    return vertices[model.mesh_graph[graph + 2 + hull : graph + 2 + 2 * hull]]


class Outline:
    """The geoms of a robot that can touch something: how low it reaches in any pose."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Find the geoms that are not fixed to the world."""
        touching = source.colliding_geoms(model) & ~source.static_geoms(model)
        ids = [i for i in np.flatnonzero(touching) if _TYPES(int(model.geom_type[i])) in SOLID]
        self._model = model
        self._data = mujoco.MjData(model)
        self._ids = np.array(ids, int)
        self._shapes = [Shape(model, int(i)) for i in ids]

    def lowest(self, qpos: np.ndarray) -> np.ndarray:
        """Return the height of the lowest point (m,) [m] in the positions `qpos` (m, nq)."""
        centres = np.empty((len(qpos), len(self._ids)))
        up = np.empty((len(qpos), len(self._ids), 3))
        for i, row in enumerate(qpos):
            self._data.qpos[:] = row
            mujoco.mj_kinematics(self._model, self._data)
            centres[i] = self._data.geom_xpos[self._ids, 2]
            up[i] = self._data.geom_xmat[self._ids, 6:]
        below = [shape.below(up[:, i]) for i, shape in enumerate(self._shapes)]
        return (centres - np.stack(below, axis=1)).min(axis=1)


def lowest_points(
    model: mujoco.MjModel, data: mujoco.MjData, geoms: Iterable[int] | None = None
) -> np.ndarray:
    """Return the height of each geom's lowest point, (ngeom,) [m]; inf where it has none.

    `geoms` are the ids of those that are asked for, None: all; the others are inf.
    """
    lowest = np.full(model.ngeom, np.inf)
    for geom in range(model.ngeom) if geoms is None else geoms:
        if _TYPES(int(model.geom_type[geom])) in SOLID:
            up = data.geom_xmat[geom].reshape(3, 3)[2:3]
            lowest[geom] = data.geom_xpos[geom, 2] - Shape(model, geom).below(up)[0]
    return lowest


def footprint(model: mujoco.MjModel, robot: RobotSpec) -> float:
    """Return the longer side of the rectangle that the feet stand on [m], in the default pose."""
    feet = FootGeometry(model, robot).geoms
    points = standing_pose(model, robot).geom_xpos[feet, :2]
    return float(np.ptp(points, axis=0).max()) if len(feet) else 0.0


def bounds(model: mujoco.MjModel, geoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and half lengths (3,) [m] of the box around `geoms` in their body's frame."""
    corners = []
    for geom in geoms:
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        centre = model.geom_aabb[geom, :3]
        half = model.geom_aabb[geom, 3:]
        corners.append(model.geom_pos[geom] + (centre + _BOX * half) @ turn.reshape(3, 3).T)
    points = np.concatenate(corners)
    low = points.min(axis=0)
    high = points.max(axis=0)
    return (low + high) / 2, (high - low) / 2


LEVEL = 0.001
"""[m] A `base.height` that is so near to the height at which the robot stands is taken as it is."""


def standing_pose(model: mujoco.MjModel, robot: RobotSpec) -> mujoco.MjData:
    """Return the robot in its default pose on the ground, level, with all frames computed."""
    data = mujoco.MjData(model)
    data.qpos[:] = home_qpos(model, robot)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    return data


def home_qpos(model: mujoco.MjModel, robot: RobotSpec) -> np.ndarray:
    """Return the standing position (nq,): base level, default pose, the lowest foot on the ground.

    Joints that robot.yaml does not have (springs) stand as in the keyframe `home`, where there is
    one, and as in the reference pose elsewhere.
    """
    qpos = _level_qpos(model, robot)
    height = standing_height(model, robot)
    if abs(height - robot.base.height) > LEVEL:
        qpos[_base(model, robot) + 2] = height
    return qpos


def standing_height(model: mujoco.MjModel, robot: RobotSpec) -> float:
    """Return the height of the base [m] at which the lowest foot touches flat ground."""
    data = mujoco.MjData(model)
    data.qpos[:] = _level_qpos(model, robot)
    mujoco.mj_kinematics(model, data)
    feet = FootGeometry(model, robot).geoms
    return robot.base.height - float(lowest_points(model, data, feet)[feet].min())


def _level_qpos(model: mujoco.MjModel, robot: RobotSpec) -> np.ndarray:
    """Return the default pose (nq,) with the base level at `base.height`."""
    home = source.find(model, "key", "home")
    qpos = model.key_qpos[home].copy() if home >= 0 else model.qpos0.copy()
    base = _base(model, robot)
    qpos[base : base + 7] = (0, 0, robot.base.height, 1, 0, 0, 0)
    for joint in robot.joints:
        qpos[model.joint(joint.name).qposadr[0]] = joint.default
    return qpos


def _base(model: mujoco.MjModel, robot: RobotSpec) -> int:
    """Return the address of the base's free joint in qpos."""
    return int(model.jnt_qposadr[model.body_jntadr[model.body(robot.base.body).id]])


def imu_carrier(model: mujoco.MjModel, robot: RobotSpec) -> np.ndarray | None:
    """Return the orientation (4,) in the base of the body that carries the IMU; None: the base."""
    site = model.site(robot.imu.site)
    if int(model.site_bodyid[site.id]) == model.body(robot.base.body).id:
        return None
    back = np.empty(4)
    carrier = np.empty(4)
    mujoco.mju_negQuat(back, model.site_quat[site.id])
    mujoco.mju_mulQuat(carrier, imu_mounting(model, robot), back)
    return carrier.astype(np.float32)


def imu_mounting(model: mujoco.MjModel, robot: RobotSpec) -> np.ndarray:
    """Return the quaternion (4,) that turns vectors of the IMU's site into the base's frame.

    It is that of the default pose; it never changes where the site is fixed to the base.
    """
    data = standing_pose(model, robot)
    back = np.empty(4)
    quat = np.empty(4)
    site = np.empty(4)
    mujoco.mju_negQuat(back, data.xquat[model.body(robot.base.body).id])
    mujoco.mju_mat2Quat(site, data.site_xmat[model.site(robot.imu.site).id])
    mujoco.mju_mulQuat(quat, back, site)
    return quat if quat[0] >= 0 else -quat
