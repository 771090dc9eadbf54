"""How level soles are, and how far apart feet: against poses whose answer is known."""

import math

import mujoco
import numpy as np
import pytest

from robot_ppo import project
from robot_ppo.robot_model import body, geometry, lifting, variants
from robot_ppo.robot_model.soles import Soles


def stood(name: str):
    """Return soles, model and data of a robot in its default pose."""
    robot = project.load_robot(name)
    model = variants.eval_model(robot, project.robot_folder(name) / robot.model)
    return Soles(model, robot), model, geometry.standing_pose(model, robot)


def seen(soles, model, data):
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    return soles.level(data.xmat[None])[0], soles.gap(data.geom_xpos[None], data.qpos[None, 3:7])[0]


def bend(model, data, joint: str, angle: float) -> None:
    data.qpos[model.joint(joint).qposadr[0]] += angle


@pytest.mark.parametrize("name, pairs", [("g1", 1), ("h1", 1), ("go2", 4)])
def test_in_the_default_pose_soles_are_flat_and_left_feet_to_the_left(name, pairs):
    level, gap = seen(*stood(name))
    assert level == pytest.approx(1, abs=1e-6)
    assert len(gap) == pairs and (gap > 0.1).all()


def test_a_turned_ankle_tilts_its_sole_alone():
    soles, model, data = stood("g1")
    bend(model, data, "right_ankle_roll_joint", 0.2)
    level, _ = seen(soles, model, data)
    assert level == pytest.approx([1, math.cos(0.2)], abs=1e-4)


def test_the_gap_is_that_of_the_robots_own_sides_and_negative_where_legs_cross():
    soles, model, data = stood("g1")
    _, apart = seen(soles, model, data)
    data.qpos[3:7] = [math.cos(0.6), 0, 0, math.sin(0.6)]
    assert seen(soles, model, data)[1] == pytest.approx(apart, abs=1e-6)
    for joint in ("left_hip_roll_joint", "right_hip_roll_joint"):
        bend(model, data, joint, -0.25 if joint.startswith("left") else 0.25)
    assert seen(soles, model, data)[1] < 0
    bend(model, data, "left_knee_joint", 0.3)
    assert np.isfinite(seen(soles, model, data)[1]).all()


@pytest.mark.parametrize("name", ["g1", "h1"])
@pytest.mark.parametrize("foot", [0, 1])
def test_a_lift_raises_its_own_foot_straight_and_level(name, foot):
    soles, model, data = stood(name)
    robot = project.load_robot(name)
    joints = [j.name for j in body.measure(robot, model).feet[foot].joints if j.pitch]
    geoms = geometry.foot_geoms(model, robot)
    before = [data.geom_xpos[ids].mean(axis=0) for ids in geoms]
    for joint, angle in lifting.lifted(model, robot, foot, joints, 0.08).items():
        bend(model, data, joint, angle)
    level, _ = seen(soles, model, data)
    after = [data.geom_xpos[ids].mean(axis=0) for ids in geoms]
    assert after[foot] - before[foot] == pytest.approx([0, 0, 0.08], abs=5e-3)
    assert after[1 - foot] == pytest.approx(before[1 - foot], abs=1e-9)
    assert level == pytest.approx(1, abs=2e-3)
