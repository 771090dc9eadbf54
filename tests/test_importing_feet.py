"""What `robot-ppo import` takes for a foot: the file's own shapes, wherever it can."""

import re
import shutil
from pathlib import Path

import mujoco
import numpy as np
import pytest
import quadruped_helpers as quadruped
from import_helpers import URDF, imported, load

from robot_ppo.robot_model import geometry, symmetry
from robot_ppo.robot_model.importing import drawing, feet, tree
from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo_export.errors import InputError

BALL = '<collision><origin xyz="0 0 0"/><geometry><sphere radius="0.02"/></geometry></collision>'


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """A picture takes a second."""
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())


def collision(geometry_, at="0 0 0", turn="0 0 0"):
    return (
        f'<collision><origin xyz="{at}" rpy="{turn}"/><geometry>{geometry_}</geometry></collision>'
    )


def with_toes(*shapes):
    """Return the quadruped with other shapes at the end of each leg."""
    text = re.sub(r'(_toe">.*?)' + re.escape(BALL), r"\1" + "".join(shapes), URDF)
    assert text.count("".join(shapes)) == 4
    return text


def test_what_holds_arrays_is_equal_to_itself_alone():
    one, two = (tree.Shape("sphere", np.ones(3), tree.Pose(), True) for _ in range(2))
    assert one in (two, one) and one not in (two,)
    first, second = (tree.Joint("knee", np.ones(3)) for _ in range(2))
    assert first != second and first.pos is not second.pos


def test_a_knee_and_a_foot_of_equal_balls_are_two(tmp_path):
    text = URDF.replace(
        '<cylinder radius="0.015" length="0.1"/></geometry></collision>',
        '<cylinder radius="0.015" length="0.1"/></geometry></collision>'
        + collision('<sphere radius="0.02"/>'),
    )
    _, model = load(imported(tmp_path, text, "dog.urdf"))
    assert model.geom("FL_calf").pos[2] == -0.2
    assert model.geom("FL_calf_collision_2").pos[2] == 0.0


def test_made_up_shapes_that_overlap_as_the_robot_stands_are_left_out(tmp_path):
    """Hips that are only seen; those of a file that collide are told, thighs are refused."""
    thick = URDF.replace('"0.03 0.03 0.16"', '"0.03 0.3 0.16"')
    with pytest.raises(InputError, match=r"'FL_thigh' is 0.\d* m inside of 'FR_thigh'.*--pose"):
        imported(tmp_path, thick, "dog.urdf")
    wide = URDF.replace('<sphere radius="0.03"/>', '<box size="0.04 0.2 0.04"/>')
    folder = imported(tmp_path, wide, "dog.urdf")
    told = r"look at this: FL_base is 0.\d* m inside of FR_base as it stands"
    assert re.search(told, (folder / "report.md").read_text())
    shutil.rmtree(folder)
    seen = re.sub(r"(_base.*?)<collision>(.*?)</collision>", r"\1<visual>\2</visual>", wide)
    folder = imported(tmp_path, seen, "dog.urdf")
    _, model = load(folder)
    names = [model.geom(i).name for i in range(model.ngeom)]
    assert "FL_thigh_collision_1" in names and "FL_base_collision_1" not in names
    assert "looks of FL_base, FR_base, RL_base, RR_base" in (folder / "report.md").read_text()


LYING = "1.5707963267948966 0 0"
KEPT = {
    "toe and heel": [
        ('<sphere radius="0.02"/>', "0.03 0 0"),
        ('<sphere radius="0.02"/>', "-0.03 0 0.008"),
    ],
    "a box": [('<box size="0.12 0.06 0.02"/>', "-0.002 0 0")],
    "a lying capsule": [('<capsule radius="0.015" length="0.05"/>', "0 0 0", LYING)],
}


@pytest.mark.parametrize("what", KEPT)
def test_primitives_at_the_end_of_a_leg_are_its_foot_as_the_file_has_them(what, tmp_path):
    shapes = KEPT[what]
    text = with_toes(*(collision(*shape) for shape in shapes))
    folder = imported(tmp_path, text, "dog.urdf")
    robot, model = load(folder)
    for geoms in geometry.foot_geoms(model, robot):
        found = sorted(model.geom_pos[geoms].tolist())
        wanted = sorted([float(x) for x in at.split()] for _, at, *_ in shapes)
        np.testing.assert_allclose(found, np.add(wanted, (0, 0, -0.2)), atol=1e-9)
    kind = re.search(r"<(\w+)", shapes[0][0])[1]
    assert {int(t) for t in model.geom_type[geoms]} == {
        int(getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}"))
    }
    symmetry.find(robot, model)
    length = float(re.search(r"Legs of ([0-9.]+) m", (folder / "report.md").read_text())[1])
    assert length == pytest.approx(robot.base.height, abs=2e-3)  # the hips are level with the base


def test_the_friction_of_an_ellipsoid_is_its_own(tmp_path):
    ball = 'size="0.02" pos="0 0 -0.2"'
    text = quadruped.mjcf(
        (ball, 'type="ellipsoid" size="0.03 0.02 0.02" pos="0 0 -0.2" friction="1.4"')
    )
    quadruped.write(tmp_path, text)
    robot, model = load(imported(tmp_path, None, "dog.xml", torque={"*": 20.0}))
    for name in robot.feet:
        assert model.geom(name).type[0] == mujoco.mjtGeom.mjGEOM_ELLIPSOID
        assert model.geom(name).friction[0] == pytest.approx(1.4)


def foot_of(*shapes):
    """Return the foot of a leg that hangs down, with shapes on its last link."""
    knee = tree.Joint("knee", np.array([0.0, 1.0, 0.0]))
    calf = tree.Link("calf", "trunk", tree.Pose(), 1.0, np.zeros(3), np.eye(3), [knee], [*shapes])
    robot = tree.Tree(Path("dog.xml"), "MJCF", {"calf": calf})
    return feet.foot(robot, Leg("calf", ("calf",), ("knee",)), tree.Pose())


def shape(kind, size, z, friction=None, points=None):
    at = tree.Pose(np.array([0.0, 0.0, z]))
    return tree.Shape(kind, np.array(size), at, True, points=points, friction=friction)


@pytest.mark.parametrize("half", [0.03, 0.07])
@pytest.mark.parametrize("kind", ["capsule", "cylinder"])
def test_a_solid_that_lies_is_the_foot_and_a_wide_one_the_sole(kind, half):
    turn = tree.axis_mat(np.array([1.0, 0.0, 0.0]), np.pi / 2)
    at = tree.Pose(np.array([0.0, 0.0, -0.2]), turn)
    solid = tree.Shape(kind, np.array([0.02, half, 0]), at, True)
    found = foot_of(shape("cylinder", (0.01, 0.08, 0), -0.1), solid)
    assert found.shapes == (solid,)
    assert found.flat == (half > 0.05)
    np.testing.assert_allclose(found.centre()[:2], 0, atol=1e-9)
    assert found.lowest(tree.Pose()) == pytest.approx(-0.22)


CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


@pytest.mark.parametrize("half, flat", [(0.015, False), (0.1, True)])
def test_what_is_fitted_has_the_friction_of_the_shape_that_touches_the_ground(half, flat):
    shin = shape("cylinder", (0.01, 0.08, 0), -0.1, 0.6)
    mesh = shape("mesh", (0, 0, 0), -0.2, 1.4, CUBE * (half, half, 0.02))
    for shapes in ((shin, mesh), (mesh, shin)):
        found = foot_of(*shapes)
        assert found.flat == flat
        assert [s.friction for s in found.shapes] == [1.4]


def test_the_ball_at_the_end_of_a_shin_is_in_its_middle():
    """A shin of the same width everywhere; it has four corners, none of which is the end."""
    (ball,) = foot_of(shape("box", (0.015, 0.01, 0.1), -0.1)).shapes
    assert ball.kind == "sphere" and ball.size[0] > 0.01
    np.testing.assert_allclose(ball.pose.pos[:2], 0, atol=1e-9)
    assert ball.pose.pos[2] - ball.size[0] == pytest.approx(-0.2, abs=1e-3)


@pytest.mark.parametrize("kind", ["sphere", "capsule", "cylinder", "box", "ellipsoid"])
def test_how_far_a_shape_reaches_is_how_far_its_points_do(kind):
    turn = tree.axis_mat(np.array([0.6, 0.0, 0.8]), 0.9)
    solid = tree.Shape(kind, np.array([0.03, 0.02, 0.01]), tree.Pose(np.ones(3), turn), True)
    for direction in np.eye(3):
        far = float((solid.cloud() @ direction).max())
        assert far <= solid.reach(direction) + 1e-9
        assert far == pytest.approx(solid.reach(direction), abs=2e-3)
