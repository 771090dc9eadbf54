"""`robot-ppo import` of robots whose files say odd things of their legs."""

import dataclasses
import re

import biped_helpers as biped
import mujoco
import numpy as np
import pytest
import quadruped_helpers as quadruped
from import_helpers import LEGS, URDF, imported, link, load, urdf

from robot_ppo.robot_model import symmetry
from robot_ppo.robot_model.importing import (
    describe,
    drawing,
    feet,
    gains,
    limbs,
    mirror_legs,
    reading,
    tree,
)
from robot_ppo_export.errors import InputError


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """A picture takes a second."""
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())


WHEELED = (
    URDF.replace('_ankle" type="fixed"', '_ankle" type="continuous"')
    .replace(
        '<origin xyz="0 0 -0.2"/></joint>', '<origin xyz="0 0 -0.2"/><axis xyz="0 1 0"/></joint>'
    )
    .replace(
        '<origin xyz="0 0 0"/><geometry><sphere radius="0.02"/>',
        '<origin rpy="1.5707963 0 0"/><geometry><cylinder radius="0.06" length="0.03"/>',
    )
)


def test_wheels_are_locked_by_the_flags_that_their_refusal_names(tmp_path):
    with pytest.raises(InputError, match="is a wheel") as refusal:
        imported(tmp_path, WHEELED, "dog.urdf")
    hold = {
        name: float(at) for name, at in re.findall(r"--hold (\w+)=(\S+?)[ ,]", str(refusal.value))
    }
    assert hold == dict.fromkeys(("FL_ankle", "FR_ankle", "RL_ankle", "RR_ankle"), 0.0)
    robot, model = load(imported(tmp_path, None, "dog.urdf", hold=hold))
    assert len(robot.joints) == 12 and len(robot.feet) == 4
    assert float(model.body_mass.sum()) == pytest.approx(4 + 4 * (0.5 + 0.4 + 0.2 + 0.05))


def test_endless_joints_are_bounded_by_the_flag_that_their_refusal_names(tmp_path):
    endless = re.sub(r'(_(?:thigh|knee)" type=)"revolute"', r'\1"continuous"', URDF)
    with pytest.raises(InputError, match="no range of") as refusal:
        imported(tmp_path, endless, "dog.urdf")
    pattern, low, high = re.search(r"--range '(\S+)=(\S+),(\S+)'", str(refusal.value)).groups()
    robot, _ = load(
        imported(tmp_path, None, "dog.urdf", range={pattern: (float(low), float(high))})
    )
    assert robot.joints[2].range == (-3.14, 3.14)
    assert robot.joints[0].range == (-0.8, 0.8)


def lying_shins():
    """Return the quadruped with shins that lie flat at their reference angle."""
    text = re.sub(
        r'(_knee" type="revolute">.*?<origin xyz="0 0 -0.2")/>(.*?)lower="-2.6" upper="-0.3"',
        r'\1 rpy="0 -1.5707963 0"/>\2lower="-1.1" upper="1.3"',
        URDF,
    )
    assert text.count("rpy=") == 4
    return text


def test_a_shin_that_lies_flat_in_the_files_reference_pose_is_no_sole(tmp_path):
    """The robot stands as the same one whose shins are drawn down."""
    found = {}
    for name, text in (("dog", URDF), ("flat", lying_shins())):
        robot, model = load(imported(tmp_path, text, f"{name}.urdf"))
        found[name] = robot.base.height
        assert set(model.geom(robot.feet[0]).type) == {2}  # the file's ball
        assert "(point)" in (tmp_path / "robots" / name / "report.md").read_text()
    assert found["flat"] == pytest.approx(found["dog"], rel=0.1)


BEYOND = f"""<keyframe><key name="home" qpos="0 0 0.3 1 0 0 0 {"1.6 -1.2 " * 4}"/></keyframe>"""


def test_a_keyframe_beyond_the_ranges_is_told_and_not_taken(tmp_path):
    quadruped.write(tmp_path, quadruped.mjcf().replace("</mujoco>", BEYOND + "</mujoco>"))
    folder = imported(tmp_path, None, "dog.xml", torque={"*": 20.0})
    report = (folder / "report.md").read_text()
    assert "look at this: the keyframe home is no standing pose, since it has" in report
    assert "The standing pose: optimized" in report


def test_meshes_are_apart_where_a_plane_is_between_them():
    """Two triangles whose boxes overlap; moved into one another they are not apart."""
    corners = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0.1, 0, 0]])
    links = {"base": tree.Link("base", None, tree.Pose(), 1.0, np.zeros(3), np.eye(3))}
    for name, points in (("left", corners), ("right", -corners)):
        side = tree.Link(
            name, "base", tree.Pose(np.array([0, 0, 0.6])), 1.0, np.zeros(3), np.eye(3)
        )
        side.shapes = [tree.Shape("mesh", np.zeros(3), tree.Pose(), True, points=points)]
        links[name] = side
    links["right"].pose = tree.Pose(np.array([0, 1.05, 1.65]))
    robot = tree.Tree(None, "URDF", links)
    assert feet.are_apart(robot, {}, "left", "right") and feet.are_apart(robot, {}, "right", "left")
    links["right"].pose = tree.Pose(np.array([0, 0.9, 1.5]))
    assert not feet.are_apart(robot, {}, "left", "right")


def test_the_margin_of_a_pose_keeps_it_inside_however_floats_are_rounded():
    for angle in range(-599, 600):
        default = angle / 1e4
        margin = describe.margin(-0.06, 0.06, default)
        assert -0.06 + margin <= default <= 0.06 - margin
        assert margin == pytest.approx(0.06 - abs(default), abs=1.01e-4)


@pytest.mark.parametrize(("heavier", "same"), [(1.04, True), (2.0, False)])
def test_mirror_images_have_the_same_gains_where_they_nearly_weigh_the_same(
    heavier, same, tmp_path
):
    """A left shin that weighs 4 % more; one that weighs twice as much is another leg."""
    left = re.compile(r'(name="[FR]L_calf">.*?)<mass value="0.2"/>(<inertia .*?/>)')
    mass = 0.2 * heavier
    inertia = f'<inertia ixx="{mass * 4e-3}" iyy="{mass * 4e-3}" izz="{mass * 1e-3}"/>'
    text, count = left.subn(rf'\1<mass value="{mass}"/>{inertia}', URDF)
    assert count == 2
    robot, model = load(imported(tmp_path, text, "dog.urdf"))
    figures = {joint.name: (joint.kp, joint.kd) for joint in robot.joints}
    assert (figures["FL_knee"] == figures["FR_knee"]) is same
    assert (figures["FL_thigh"] == figures["FR_thigh"]) is same
    if same:
        symmetry.find(robot, model, moved=0.05)


def test_a_knee_that_bends_the_other_way_than_its_mirror_image_is_told(tmp_path):
    """One axis has the wrong sign; the range that the sentence names makes the pose symmetric."""
    knee = re.compile(r'(name="FR_knee" .*?<axis xyz=)"0 1 0"')
    text = knee.sub(r'\1"0 -1 0"', URDF, count=1)
    told = "FL_knee and FR_knee are mirror images, but bend in opposite ways"
    folder = imported(tmp_path, text, "dog.urdf")
    report = (folder / "report.md").read_text()
    assert report.count("bend in opposite ways") == 1 and f"look at this: {told}" in report
    flags = re.findall(r"--range (\w+)=([-.\d]+),([-.\d]+)", report)
    assert [name for name, *_ in flags] == ["FR_knee", "FL_knee"]
    name, low, high = flags[0]
    mended = {name: (float(low), float(high))}
    folder = imported(tmp_path, None, "dog.urdf", range=mended, overwrite=True)
    assert "bend in opposite ways" not in (folder / "report.md").read_text()
    symmetry.find(*load(folder))


SHELL = (  # a file with y up and z ahead: x of the trunk is its z, y its x, z its y
    link("shell", 0.5, '<box size="0.15 0.1 0.4"/>')
    + '<joint name="built" type="fixed"><parent link="shell"/><child link="trunk"/>'
    '<origin rpy="-1.5707963267948966 -1.5707963267948966 0"/></joint>'
)


def test_up_is_the_axis_on_which_four_legs_stand(tmp_path):
    """A file with y up and z ahead, as of graphics, is the robot that it is with z up."""
    folder = imported(tmp_path, urdf(SHELL), "shell.urdf")
    assert "up is y of the file and not z: 4 legs alike" in (folder / "report.md").read_text()
    robot, model = load(folder)
    plain, _ = load(imported(tmp_path, URDF, "dog.urdf"))
    assert robot.base.height == pytest.approx(plain.base.height, rel=0.02)
    for name, (x, y) in LEGS.items():
        np.testing.assert_allclose(model.body(f"{name}_base").pos, (x, y, 0), atol=1e-9)
    symmetry.find(robot, model)


def test_a_base_on_the_ground_is_raised_to_the_hips(tmp_path):
    """A plate below the robot is its root: its frame is no place from which a height is kept."""
    plate = (
        link("plate", 0.5)
        + '<joint name="built" type="fixed"><parent link="plate"/><child link="trunk"/>'
        '<origin xyz="0 0 0.42"/></joint>'
    )
    folder = imported(tmp_path, urdf(plate), "plate.urdf")
    assert "the base's origin is raised by 0.420 m" in (folder / "report.md").read_text()
    robot, model = load(folder)
    plain, _ = load(imported(tmp_path, URDF, "dog.urdf"))
    assert robot.base.height == pytest.approx(plain.base.height, rel=0.02)
    assert model.body("FL_base").pos[2] == pytest.approx(0, abs=1e-9)
    assert model.body("plate").mass == pytest.approx(4.5)


@pytest.mark.parametrize("height", [0.05, -0.05])
def test_a_base_whose_legs_lie_flat_in_the_file_stays_where_it_is(height, tmp_path):
    """Feet as high as the hips are in no pose to stand in."""
    (tmp_path / "dog.urdf").write_text(URDF)
    robot = reading.read(tmp_path / "dog.urdf")
    for foot in ("FL", "FR", "RL", "RR"):
        robot.links[f"{foot}_base"].pose = tree.Pose(
            np.array([0.0, 0.0, height]), tree.axis_mat(np.array([0, 1.0, 0]), np.pi / 2)
        )
    assert limbs.raise_origin(robot) == ""


def test_what_is_seen_moves_with_its_link(tmp_path):
    """The mesh of a link that is merged is where the link was, also after the base is moved."""
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    (tmp_path / "hat.obj").write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    hat = (
        '<link name="hat"><visual><geometry><mesh filename="hat.obj"/></geometry></visual></link>'
        '<joint name="pin" type="fixed"><parent link="trunk"/><child link="hat"/>'
        '<origin xyz="0.1 0 0.05" rpy="0 0 1.5707963267948966"/></joint>'
    )
    (tmp_path / "dog.urdf").write_text(urdf(hat))
    robot = reading.read(tmp_path / "dog.urdf")
    tree.fuse_rigid(robot)
    tree.move_base(robot, np.array([0, 0, 0.2]))
    tree.turn_base(robot, np.diag([-1.0, -1, 1]))
    seen = next(shape for shape in robot.base.shapes if shape.file is not None)
    wanted = corners[:, [1, 0, 2]] * (-1, 1, 1) + (0.1, 0, 0.05 - 0.2)
    wanted = wanted * (-1, -1, 1)
    np.testing.assert_allclose(seen.file_pose.points(corners), wanted, atol=1e-9)


@pytest.mark.parametrize("moment", ["0", "1"])
def test_a_link_without_inertia_has_that_of_the_box_around_it(moment, tmp_path):
    text = re.sub(
        r'(name="FL_thigh">.*?)<inertia .*?/>',
        rf'\1<inertia ixx="{moment}" iyy="{moment}" izz="{moment}"/>',
        URDF,
        count=1,
    )
    (tmp_path / "dog.urdf").write_text(text)
    robot = reading.read(tmp_path / "dog.urdf")
    x, y, z = 0.03**2, 0.03**2, 0.16**2
    wanted = 0.4 / 12 * np.diag([y + z, x + z, x + y])
    np.testing.assert_allclose(robot.links["FL_thigh"].inertia, wanted, atol=1e-12)
    assert "the link FL_thigh has no inertia" in " ".join(robot.notes)


def test_a_small_inertia_is_kept_however_much_is_seen_of_the_link(tmp_path):
    """A camera of 0.1 kg with its field of view around it."""
    view = (
        '<link name="camera"><inertial><mass value="0.1"/>'
        '<inertia ixx="1e-5" iyy="1e-5" izz="1e-5"/></inertial>'
        '<visual><geometry><box size="5 3 3"/></geometry></visual></link>'
        '<joint name="pin" type="fixed"><parent link="trunk"/><child link="camera"/></joint>'
    )
    (tmp_path / "dog.urdf").write_text(urdf(view))
    robot = reading.read(tmp_path / "dog.urdf")
    np.testing.assert_allclose(robot.links["camera"].inertia, 1e-5 * np.eye(3))


def test_a_biped_whose_toes_and_knees_point_to_its_minus_x_is_turned(tmp_path):
    """The file turned by 180 degrees is the same robot; feet without toes say nothing."""
    text = biped.xml()
    turned = re.sub(r'pos="0 (\S+) -0.18"', lambda m: f'pos="0 {-float(m[1])} -0.18"', text)
    turned = turned.replace('pos="0.02 0 ', 'pos="-0.02 0 ').replace("0 1 0", "0 -1 0")
    found = {}
    for name, file in (("walker", text), ("turned", turned)):
        (tmp_path / f"{name}.xml").write_text(file)
        folder = imported(tmp_path, None, f"{name}.xml")
        assert ("by 180 degrees" in (folder / "report.md").read_text()) is (name == "turned")
        found[name] = load(folder)
    for body in ("l_upper", "r_upper", "l_ankle"):
        one, other = (model.body(body) for _, model in found.values())
        np.testing.assert_allclose(one.pos, other.pos, atol=1e-9)
    assert found["walker"][0].joints == found["turned"][0].joints
    bare = turned.replace('pos="-0.02 0 -0.04"', 'pos="0 0 -0.04"')
    (tmp_path / "bare.xml").write_text(bare)
    assert "by 180" not in (imported(tmp_path, None, "bare.xml") / "report.md").read_text()


def test_links_that_are_only_seen_are_apart_by_what_is_seen(tmp_path):
    (tmp_path / "dog.urdf").write_text(URDF)
    robot = reading.read(tmp_path / "dog.urdf")
    for name in ("FL_calf", "FR_calf"):
        shapes = robot.links[name].shapes
        shapes[:] = [dataclasses.replace(shape, collides=False) for shape in shapes]
    assert feet.are_apart(robot, limbs.reference_pose(robot), "FL_calf", "FR_calf")


def test_a_shin_without_an_ankle_has_no_toes(tmp_path):
    """What is behind it may be its motor."""
    turned = biped.xml().replace('pos="0.02 0 ', 'pos="-0.02 0 ').replace("0 1 0", "0 -1 0")
    (tmp_path / "turned.xml").write_text(turned)
    for ankle in (True, False):
        robot = reading.read(tmp_path / "turned.xml")
        if not ankle:
            for side in "lr":
                robot.links[f"{side}_ankle"].joints.clear()
            tree.fuse_rigid(robot)
        pose = limbs.reference_pose(robot)
        told = limbs.face_forward(robot, pose, limbs.legs(robot, pose))
        assert ("by 180 degrees" in told) is ankle


def test_a_joint_moves_the_lighter_side_where_nothing_is_held():
    """Two discs on one axis: their reduced inertia, which bounds the damping."""
    model = mujoco.MjModel.from_xml_string("""<mujoco><worldbody><body><freejoint/>
      <inertial mass="1" pos="0 0 0" diaginertia="0.1 0.1 0.1"/>
      <body><joint name="waist" axis="0 0 1"/>
        <inertial mass="3" pos="0 0 0" diaginertia="0.7 0.7 0.7"/></body>
      </body></worldbody></mujoco>""")
    moves = gains.inertias(model, model.qpos0)["waist"]
    assert moves.swing == pytest.approx(0.7)
    assert moves.free == pytest.approx(0.1 * 0.7 / (0.1 + 0.7))
    waist = tree.Joint("waist", np.eye(3)[2], torque=5e4)
    tight = gains.gains(waist, gains.Inertias(0.7, 0.02), None, 30.0, 0.5, 2)
    loose = gains.gains(waist, gains.Inertias(0.7, 0.7), None, 30.0, 0.5, 2)
    assert tight.kp == loose.kp
    assert tight.kd == pytest.approx(gains.FASTEST * 0.02) and tight.stand_kd == tight.kd
    assert loose.kd == pytest.approx(1.4 * np.sqrt(loose.kp * 0.7), rel=0.01)


def test_partners_are_found_wherever_on_their_axes_the_anchors_are():
    links = {"base": tree.Link("base", None, tree.Pose(), 1.0, np.zeros(3), np.eye(3))}
    for name, y, along in (("left", 0.2, 0.0), ("right", -0.2, 0.05), ("middle", 0.0, 0.0)):
        hinge = tree.Joint(name, np.eye(3)[1], pos=np.array([0, along, 0]))
        at = tree.Pose(np.array([0.1, y, 0]))
        links[name] = tree.Link(name, "base", at, 1.0, np.zeros(3), np.eye(3), [hinge])
    links["middle"].pose = tree.Pose(np.array([0, 0, 0.3]))
    assert mirror_legs.partners(tree.Tree(None, "URDF", links), {}) == {"left": "right"}


def test_a_mesh_that_cannot_be_shown_is_left_out(tmp_path):
    """It is only seen: a robot needs no looks."""
    (tmp_path / "hull.stl").write_bytes(b"\0" * 80 + (200_001).to_bytes(4, "little"))
    seen = '<visual><geometry><mesh filename="hull.stl"/></geometry></visual>'
    text = URDF.replace("</link>", f"{seen}</link>", 1)
    folder = imported(tmp_path, text, "dog.urdf")
    assert "MuJoCo cannot show hull.stl" in (folder / "report.md").read_text()
    assert not list((folder / "meshes").iterdir())
    load(folder)
