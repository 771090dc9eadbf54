"""`robot-ppo import`: foreign model files become robots that weigh what they did, and stand."""

import re
import struct

import biped_helpers as biped
import msgspec
import mujoco
import numpy as np
import pytest
import quadruped_helpers as quadruped
import yaml
from import_helpers import URDF, imported, joint, link, options, urdf

from robot_ppo import cli
from robot_ppo.robot_model import geometry, source, symmetry, validation
from robot_ppo.robot_model.importing import drawing, fitting, gains, meshes, reading, tree
from robot_ppo.sim import standing
from robot_ppo_export.contract import spec
from robot_ppo_export.errors import InputError

TORQUE = {"torque": {"*": 20.0}}


def load(folder):
    robot = spec.load(folder / "robot.yaml")
    return robot, source.read(folder / robot.model)


@pytest.fixture(scope="module")
def dog(tmp_path_factory):
    """The quadruped of the URDF, imported."""
    return imported(tmp_path_factory.mktemp("urdf"), URDF, "dog.urdf")


# -- links and their inertia


def random_link(rng, name, parent):
    turn = tree.axis_mat(np.array([0.6, 0.0, 0.8]), rng.uniform(-3, 3))
    moments = np.diag(rng.uniform(1.0, 1.4, 3))
    at = tree.Pose(rng.normal(size=3), turn)
    return tree.Link(
        name, parent, at, rng.uniform(1, 3), rng.normal(size=3), turn @ moments @ turn.T
    )


def test_merging_links_conserves_mass_centre_and_inertia_as_mujoco_has_them():
    """The tree's sums, before and after, are those of MuJoCo's model of the separate bodies."""
    rng = np.random.default_rng(1)
    names = ["a", "b", "c", "d"]
    links = {n: random_link(rng, n, p) for n, p in zip(names, [None, "a", "b", "b"], strict=True)}
    links["a"].pose = tree.Pose()
    robot = tree.Tree(None, "URDF", links)
    body = "".join(
        f'<body pos="{" ".join(map(repr, x.pose.pos.tolist()))}" '
        f'quat="{" ".join(map(repr, x.pose.quat.tolist()))}"><inertial mass="{x.mass!r}" '
        f'pos="{" ".join(map(repr, x.com.tolist()))}" fullinertia="'
        + " ".join(
            repr(float(x.inertia[i, j]))
            for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
        )
        + '"/>'
        + ("<freejoint/>" if n == "a" else "")
        + ("</body>" if n in "c" else "")
        for n, x in links.items()
    )
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><worldbody>{body}</body></body></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    full = np.zeros((6, 6))
    mujoco.mj_fullM(model, data, full)
    assert tree.fuse_rigid(robot) == 3
    assert list(robot.links) == ["a"]
    assert robot.mass == pytest.approx(full[0, 0])
    np.testing.assert_allclose(robot.centre_of_mass({}), data.subtree_com[1], atol=1e-9)
    np.testing.assert_allclose(robot.spatial_inertia(), full[3:, 3:], atol=1e-8)


def test_locking_a_joint_puts_what_hangs_on_it_where_the_joint_did(tmp_path):
    (tmp_path / "dog.urdf").write_text(URDF)
    robot = reading.read(tmp_path / "dog.urdf")
    angles = {"FL_hip": 0.3, "FL_knee": -0.7}
    wanted = robot.frames(angles)["FL_toe"]
    for name, angle in angles.items():
        tree.lock(robot, name, angle)
    found = robot.frames({})["FL_toe"]
    np.testing.assert_allclose(found.pos, wanted.pos, atol=1e-12)
    np.testing.assert_allclose(found.mat, wanted.mat, atol=1e-12)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """A picture takes a second; the module's robot has one."""
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())


# -- a URDF


def test_a_urdf_becomes_a_robot_without_a_number_set_by_hand(dog):
    robot, file = load(dog)
    assert validation.problems(file, robot) == []
    assert robot.joint_names == tuple(
        f"{leg}_{j}" for leg in ("FL", "FR", "RL", "RR") for j in ("hip", "thigh", "knee")
    )
    assert float(file.model.body_mass.sum()) == pytest.approx(4 + 4 * (0.5 + 0.4 + 0.2 + 0.05))
    assert robot.life_cycle.start == "lying"
    assert "It stands 5 s by the policy's gains alone" in (dog / "report.md").read_text()


def test_it_gets_up_by_its_motors_and_not_without_them(dog):
    robot, _ = load(dog)
    assert standing.gets_up(robot, dog / robot.model) == ""
    limp = msgspec.structs.replace(robot, stand=spec.Stand(0.0, 0.0, 2.0))
    assert "rad away from the default pose" in standing.gets_up(limp, dog / robot.model)


@pytest.mark.parametrize("tries, start", [(1, "lying"), (2, "standing")])
def test_legs_that_do_not_get_up_splayed_fold_straight_or_it_starts_standing(
    tmp_path, monkeypatch, tries, start
):
    seen = []

    def gets_up(robot, xml):
        seen.append(robot)
        return "a leg sticks" if len(seen) <= tries else ""

    monkeypatch.setattr(standing, "gets_up", gets_up)
    folder = imported(tmp_path, URDF, "dog.urdf")
    robot, _ = load(folder)
    assert robot.life_cycle.start == start
    straight = seen[1]
    for name, angle in zip(straight.joint_names, straight.vector("default"), strict=True):
        if name.endswith("hip"):  # which swings sideways
            assert straight.rest_pose[name] == pytest.approx(angle, abs=1e-3)
    said = "a leg sticks (legs folded, splayed); a leg sticks (legs folded, straight"
    assert (said in (folder / "report.md").read_text()) == (start == "standing")


def test_every_file_that_was_promised_is_there(dog):
    assert {p.name for p in dog.iterdir()} == {
        "robot.yaml",
        "dog.xml",
        "report.md",
        "README.md",
        "views.png",
    }
    report = (dog / "report.md").read_text()
    assert "armature of all joints: " in report
    assert "4 links without a joint are merged" in report
    assert "no leg touches another as the robot stands" in report
    assert "left and right are mirror images" in report
    assert "- gait: trot, " in report and "- action scale [rad]: " in report


def test_the_pose_is_level_mirrored_and_away_from_the_stops(dog):
    robot, file = load(dog)
    data = geometry.standing_pose(file.model, robot)
    feet = geometry.FootGeometry(file.model, robot)
    assert np.abs(feet.clearance(data.geom_xpos[None], data.geom_xmat[None])).max() < 1e-3
    mirror = symmetry.find(robot, file.model)
    default = robot.vector("default")
    np.testing.assert_allclose(mirror.joints(np.zeros_like(default)), 0, atol=1e-9)
    for one in robot.joints:
        assert one.range[0] + 0.05 <= one.default <= one.range[1] - 0.05


def test_gains_are_at_the_stated_damping_ratio_and_within_the_torque_limit(dog):
    robot, file = load(dog)
    qpos = geometry.home_qpos(file.model, robot)
    data = mujoco.MjData(file.model)
    data.qpos[:] = qpos
    mujoco.mj_forward(file.model, data)
    full = np.zeros((file.model.nv, file.model.nv))
    mujoco.mj_fullM(file.model, data, full)
    for one in robot.joints:
        dof = file.model.joint(one.name).dofadr[0]
        ratio = one.kd / (2 * np.sqrt(one.kp * full[dof, dof]))
        assert ratio == pytest.approx(0.7, rel=0.01)
        assert one.kp * gains.SATURATION <= one.torque_limit * 1.01


def test_a_weak_robot_stands_straighter(dog, tmp_path):
    """Its knees carry its weight on two of four legs with 60 % of their torque."""
    weak, _ = load(imported(tmp_path, URDF.replace('effort="20"', 'effort="6"'), "weak.urdf"))
    strong, _ = load(dog)
    assert weak.base.height > 1.08 * strong.base.height


def test_names_do_not_matter(dog, tmp_path):
    """The same robot with nonsense for names has the same figures."""
    words = re.findall(r'name="([^"]+)"', URDF)
    text = URDF
    for i, word in enumerate(sorted(set(words), key=len, reverse=True)):
        text = text.replace(f'"{word}"', f'"q{i}z"')
    robot, _ = load(imported(tmp_path, text, "dog.urdf"))
    known, _ = load(dog)
    for field in ("default", "range", "kp", "kd", "torque_limit", "velocity_limit"):
        np.testing.assert_array_equal(robot.vector(field), known.vector(field))


# -- an MJCF


def test_an_mjcf_without_torque_limits_is_asked_for_them_and_taken_with_the_flag(tmp_path):
    path = quadruped.write(tmp_path, quadruped.mjcf())
    with pytest.raises(InputError, match=r"no torque limit of the joints FR_hip.* --torque '\*"):
        imported(tmp_path, None, "dog.xml")
    assert [p.name for p in tmp_path.iterdir()] == ["dog.xml"]  # nothing half-written
    folder = imported(tmp_path, None, "dog.xml", **TORQUE)
    robot, file = load(folder)
    assert set(robot.feet) == {"FR_calf", "FL_calf", "RR_calf", "RL_calf"}
    assert float(file.model.body_mass.sum()) == pytest.approx(
        source.read(path).model.body_mass.sum()
    )


def test_a_keyframe_wins_over_the_optimization(tmp_path):
    pose = " ".join(["0.5 -1.0"] * 4)
    key = f'<keyframe><key name="up" qpos="0 0 0.37 1 0 0 0 {pose}"/></keyframe></mujoco>'
    quadruped.write(tmp_path, quadruped.mjcf(("</mujoco>", key)))
    robot, _ = load(imported(tmp_path, None, "dog.xml", **TORQUE))
    assert set(robot.vector("default")) == {0.5, -1.0}
    assert "keyframe up of the file" in (tmp_path / "robots" / "dog" / "robot.yaml").read_text()


def test_a_pose_of_ones_own_wins_over_both(tmp_path):
    quadruped.write(tmp_path, quadruped.mjcf())
    pose = {name: 0.7 if name.endswith("hip") else -1.4 for name in quadruped.POSE}
    (tmp_path / "pose.yaml").write_text(yaml.safe_dump(pose))
    robot, _ = load(imported(tmp_path, None, "dog.xml", pose=str(tmp_path / "pose.yaml"), **TORQUE))
    assert set(robot.vector("default")) == {0.7, -1.4}


def test_a_robot_that_looks_along_y_is_turned(tmp_path):
    """The same quadruped built facing y stands, and its feet lie as those of one that faces x."""
    turned = [(f'pos="{x} {y} 0"', f'pos="{-y} {x} 0"') for x, y in quadruped.LEGS.values()]
    edits = [(a, f"@{i}@") for i, (a, _) in enumerate(turned)] + [
        (f"@{i}@", b) for i, (_, b) in enumerate(turned)
    ]
    text = quadruped.mjcf(*edits).replace('axis="0 1 0"', 'axis="-1 0 0"')
    text = text.replace('pos="0 -0.2 0"', 'pos="0.0 -0.3 0"')
    quadruped.write(tmp_path, text)
    folder = imported(tmp_path, None, "dog.xml", **TORQUE)
    robot, file = load(folder)
    data = geometry.standing_pose(file.model, robot)
    axis = data.xaxis[file.model.joint("FR_hip").id]
    assert abs(axis[1]) > 0.99


def test_a_biped_hangs_and_its_soles_are_level(tmp_path):
    biped.write_robot(tmp_path / "walker", "standing")
    text = (tmp_path / "walker" / "walker.xml").read_text()
    robot, file = load(imported(tmp_path, text, "walker.xml", **TORQUE))
    assert robot.life_cycle.start == "hanging"
    assert len(robot.feet) == 2
    data = geometry.standing_pose(file.model, robot)
    clear = geometry.FootGeometry(file.model, robot).clearance(
        data.geom_xpos[None], data.geom_xmat[None]
    )
    assert np.abs(clear).max() < 1e-3


def test_soles_are_level_where_the_knee_begins_at_its_stop(tmp_path):
    """Without a keyframe; the pose in which feet are looked at may not bend the knee."""
    text = re.sub(r"<keyframe>.*</keyframe>", "", biped.xml())
    robot, file = load(imported(tmp_path, text, "walker.xml", **TORQUE))
    data = geometry.standing_pose(file.model, robot)
    for geoms in geometry.foot_geoms(file.model, robot):
        assert data.geom_xmat[geoms[0], 8] > 0.9999
    base = file.model.body(robot.base.body).id
    mujoco.mj_comPos(file.model, data)
    middle = data.geom_xpos[geometry.FootGeometry(file.model, robot).geoms, 0].mean()
    assert data.subtree_com[base, 0] == pytest.approx(middle, abs=0.01)


# -- arms, fingers, what is held

ARM = "".join(
    [
        link("arm", 0.6),
        joint("shoulder", "trunk", "arm", "0.1 0 0.08", "0 1 0", 'lower="-1" upper="1"'),
        link("finger", 0.01),
        joint("thumb", "arm", "finger", "0 0 0.2", "0 1 0", 'lower="0" upper="1"'),
        link("slider", 0.05),
        joint("jaw", "arm", "slider", "0 0 0.2", "0 1 0", 'lower="0" upper="0.02"').replace(
            "revolute", "prismatic"
        ),
    ]
)


def test_an_arm_is_held_and_its_fingers_are_rigid(tmp_path):
    robot, file = load(imported(tmp_path, urdf(ARM), "dog.urdf", hold={"shoulder": 0.4}))
    by_name = {joint.name: joint for joint in robot.joints}
    assert "thumb" not in by_name and "jaw" not in by_name
    assert by_name["shoulder"].held and by_name["shoulder"].default == 0.4
    assert not any(joint.held for name, joint in by_name.items() if name != "shoulder")
    assert float(file.model.body_mass.sum()) == pytest.approx(8.6 + 0.66)
    report = (tmp_path / "robots" / "dog" / "report.md").read_text()
    assert "jaw is rigid at 0: it slides" in report


def test_a_joint_is_left_to_the_policy_where_a_person_says_so(tmp_path):
    robot, _ = load(imported(tmp_path, urdf(ARM), "dog.urdf", leave=("shoulder", "thumb")))
    left = {joint.name: joint.held for joint in robot.joints if joint.name in ("shoulder", "thumb")}
    assert left == {"shoulder": False, "thumb": False}


# -- refusals


WHEELS = re.sub(
    r'(_ankle" type=")fixed(".*?-0.2"/>)', r'\1continuous\2<axis xyz="0 1 0"/>', URDF
).replace(
    '<origin xyz="0 0 0"/><geometry><sphere radius="0.02"/>',
    '<origin rpy="1.5707963 0 0"/><geometry><cylinder radius="0.06" length="0.03"/>',
)
SECOND = link("crate", 1.0)
LOOP = '<joint name="bar" type="fixed"><parent link="FR_calf"/><child link="FL_calf"/></joint>'
REFUSED = {
    "an unknown root": ("<model/>", r"its root element is <model>"),
    "no XML": ("robot", r"is no XML"),
    "two bases": (
        urdf(SECOND),
        r"has two bases or more, trunk, crate; choose one with --base trunk",
    ),
    "a closed chain": (urdf(LOOP), r"the link 'FL_calf' is the child of two joints, which closes"),
    "wheels": (
        WHEELS,
        r"the link 'FL_toe' is a wheel: its joint 'FL_ankle' turns without end.*--hold FL_ankle=0",
    ),
    "no torque": (
        re.sub(r' effort="\d+"', "", URDF),
        r"no torque limit of the joints FL_hip.*effort",
    ),
    "no range": (
        URDF.replace('"FL_knee" type="revolute"', '"FL_knee" type="continuous"'),
        r"no range of the joint FL_knee: .*--range 'FL_knee=-3.14,3.14'",
    ),
    "a joint of a leg that slides": (
        URDF.replace('"FL_knee" type="revolute"', '"FL_knee" type="prismatic"'),
        r"the joint 'FL_knee' of the leg 'FL_calf' slides",
    ),
    "a mesh that is not there": (
        URDF.replace(
            '<sphere radius="0.02"/>', '<mesh filename="package://dog/foot.stl"/>'
        ).replace(
            '<cylinder radius="0.015" length="0.1"/>', '<mesh filename="package://dog/calf.stl"/>'
        ),
        r"the mesh 'package://dog/(calf|foot).stl', the collision of the foot '.*', is not there",
    ),
    "a foot's mesh that is not there, while the shin is": (
        URDF.replace('<sphere radius="0.02"/>', '<mesh filename="package://dog/foot.stl"/>'),
        r"the mesh 'package://dog/foot.stl', the collision of the foot '.*', is not there; put the",
    ),
    "a parent that is no link": (
        URDF.replace('<parent link="FL_thigh"/>', '<parent link="FL_tigh"/>'),
        r"names the parent 'FL_tigh', which is no link; did you mean 'FL_thigh'",
    ),
    "an axis without length": (
        URDF.replace('xyz="1 0 0"', 'xyz="0 0 0"', 1),
        r"the axis of the joint 'FL_hip' is 0 0 0",
    ),
    "two links of one name": (
        URDF.replace('<link name="FR_toe">', '<link name="FL_toe">'),
        r"(two links are called 'FL_toe'; rename one|names the child 'FR_toe', which is no link)",
    ),
    "a mass of no robot": (
        URDF.replace('<mass value="4.0"/>', '<mass value="4e9"/>'),
        r"the link 'trunk' has 4e\+09 kg",
    ),
    "a robot that cannot stand by its torques": (
        URDF.replace('effort="20"', 'effort="1"'),
        r"the joint '.._knee' needs [0-9.]+ N m to carry its share of 8.6 kg and has 1; .*"
        r"--torque .._knee=NM",
    ),
    "a pose that collides": (
        re.sub(r'(?<=xyz=")-0.2 ', "0.19 ", URDF),
        r"in the standing pose '..(_base|_calf|_thigh)' is 0.\d* m inside of '.*--pose",
    ),
    "a number that is none": (
        URDF.replace('<mass value="4.0"/>', '<mass value="nan"/>'),
        r"<mass value='nan'> is no finite number; correct it",
    ),
    "macros": (
        URDF.replace("<robot ", '<robot xmlns:xacro="urn:xacro" ').replace(
            "</robot>", "<xacro:leg/></robot>"
        ),
        r"holds xacro macros; expand them first",
    ),
}


def test_a_foot_that_is_only_seen_gets_a_shape_fitted_to_its_mesh(tmp_path):
    """URDF visuals are read where a link has no collision."""
    (tmp_path / "calf.stl").write_bytes(stl(CUBE * (0.01, 0.005, 0.03) + (0, 0, -0.1)))
    shape = '<collision><origin xyz="0 0 -0.1"/><geometry><cylinder radius="0.015" length="0.1"/>'
    seen = '<visual><geometry><mesh filename="calf.stl"/></geometry></visual>'
    text = URDF.replace(f"{shape}</geometry></collision>", seen)
    ball = (
        '<collision><origin xyz="0 0 0"/><geometry><sphere radius="0.02"/></geometry></collision>'
    )
    assert text != URDF and ball in text
    _, file = load(imported(tmp_path, text.replace(ball, ""), "dog.urdf"))
    foot = file.model.geom("FL_calf")
    assert foot.type[0] == mujoco.mjtGeom.mjGEOM_SPHERE
    assert foot.pos[2] - foot.size[0] == pytest.approx(-0.19, abs=0.005)


def test_a_comment_about_macros_is_none(tmp_path):
    (tmp_path / "dog.urdf").write_text(URDF.replace("<robot ", "<!-- of <xacro:leg/> --><robot "))
    assert len(reading.read(tmp_path / "dog.urdf").links) == 17


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_imported_is_refused_in_a_sentence_and_leaves_nothing(what, tmp_path):
    text, sentence = REFUSED[what]
    with pytest.raises(InputError, match=sentence):
        imported(tmp_path, text, "dog.urdf")
    out = tmp_path / "robots"
    assert not out.exists() or not list(out.iterdir())


FLAGS = {
    "base": ("nothing", r"--base nothing: dog.urdf has no such link"),
    "imu": ("FL_toe", r"--imu FL_toe: is on 'FL_calf', which moves against the base 'trunk'"),
    "pose": ("squat", r"--pose squat: is neither a keyframe of the file nor a YAML"),
    "feet": (("FL_hoof",), r"--feet FL_hoof: the robot has no such link; did you mean"),
    "hold": ({"arm_*": 0.0}, r"--hold arm_\*: the robot has no such joint"),
    "name": ("a/b", r"--name a/b: is no name"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_that_fits_nothing_is_refused(flag, tmp_path):
    value, sentence = FLAGS[flag]
    with pytest.raises(InputError, match=sentence):
        imported(tmp_path, URDF, "dog.urdf", **{flag: value})


def test_a_robot_that_is_there_is_replaced_only_on_request(dog):
    before = (dog / "robot.yaml").read_bytes()
    with pytest.raises(InputError, match=r"is there already; --overwrite replaces it, --name"):
        imported(dog.parent.parent, URDF, "dog.urdf")
    assert (dog / "robot.yaml").read_bytes() == before


@pytest.mark.parametrize("text", ["knee", "knee=", "knee=x", "=3", "knee=nan"])
def test_a_number_by_joint_is_checked(text):
    with pytest.raises(InputError, match="--hold"):
        options.number_by_joint("--hold", [text])


def test_the_command_line_says_what_comes_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog.urdf").write_text(URDF)
    assert cli.main(["import", "dog.urdf"]) == 0
    said = capsys.readouterr().out
    assert "\n4 feet: FL_calf, FR_calf, RL_calf, RR_calf (--feet names others)\n" in said
    assert "It stands 5 s" in said and said.endswith("robot-ppo train walk --robot dog\n")
    assert cli.main(["import", "dog.urdf", "--out", "mine"]) == 0  # where no name is looked for
    assert capsys.readouterr().out.endswith("robot-ppo train walk --robot mine/dog\n")
    assert cli.main(["check", "dog"]) == 0
    assert "action scale [rad]: " in capsys.readouterr().out
    assert cli.main(["import", "cat.urdf"]) == 2


# -- meshes and what is fitted to them

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-2, 2) for z in (-3, 3)], float)


def stl(points):
    triangles = [(a, b, c) for a in points for b in points[:2] for c in points[2:3]]
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *a, *b, *c, 0) for a, b, c in triangles)
    return b"\0" * 80 + struct.pack("<I", len(triangles)) + body


ASCII = "solid x\n" + "".join(f"vertex {x} {y} {z}\n" for x, y, z in CUBE)
OBJ = "".join(f"v {x} {y} {z}\n" for x, y, z in CUBE)
DAE = f"""<COLLADA xmlns="x"><asset><unit meter="0.5"/><up_axis>Z_UP</up_axis></asset>
<library_geometries><geometry id="g"><mesh><source id="p"><float_array>
{" ".join(str(v) for v in CUBE.flatten())}</float_array></source>
<vertices><input semantic="POSITION" source="#p"/></vertices></mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene><node><scale>2 2 2</scale><instance_geometry url="#g"/></node>
</visual_scene></library_visual_scenes></COLLADA>"""
FILES = {"a.stl": stl(CUBE), "b.stl": ASCII.encode(), "c.obj": OBJ.encode(), "d.dae": DAE.encode()}


@pytest.mark.parametrize("name", FILES)
def test_vertices_of_every_format_are_those_that_were_written(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name])
    found = meshes.vertices(tmp_path / name)
    np.testing.assert_allclose(np.unique(found, axis=0), np.unique(CUBE, axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ["a.stl", "b.dae", "c.ply"])
def test_a_mesh_that_is_none_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="convert it"):
        meshes.vertices(tmp_path / name)


def test_a_box_is_fitted_to_a_box_however_it_is_turned():
    turn = tree.axis_mat(np.array([0.6, 0.8, 0.0]), 0.7)
    shape = fitting.around(CUBE @ turn.T * 0.1 + (1, 0, 0))
    volume = np.prod(2 * shape.size) if shape.kind == "box" else np.inf
    assert volume == pytest.approx(48e-3)


def test_a_ball_is_fitted_to_the_end_of_a_leg():
    shape = tree.Shape("capsule", np.array([0.02, 0.1, 0]), tree.Pose(np.array([0, 0, -0.1])), True)
    found = fitting.ball(shape.cloud(), np.array([0.0, 0, -1]))
    assert found.size[0] == pytest.approx(0.02, rel=0.1)
    np.testing.assert_allclose(found.pose.pos, (0, 0, -0.2), atol=2e-3)


def test_the_sole_of_a_foot_is_its_underside():
    shape = tree.Shape(
        "box", np.array([0.1, 0.04, 0.03]), tree.Pose(np.array([0.02, 0, -0.05])), True
    )
    found = fitting.sole(shape.cloud(), np.array([0, 0, 1.0]))
    np.testing.assert_allclose(sorted(found.size), (0.01, 0.04, 0.1), atol=1e-9)
    assert found.pose.pos[2] - found.size[2] == pytest.approx(-0.08)


def test_the_hull_of_a_square_is_its_corners():
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    inside = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))
    found = drawing.hull(np.concatenate([inside, corners]))
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, corners.tolist()))
