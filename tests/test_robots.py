"""The robots that ship: each stands, gets up, is symmetric, and has the gains that the rule gives.

What their two variants have in common is tested in test_robot_files.py and test_spec.py.
"""

import itertools
import re

import mujoco
import numpy as np
import pytest
from contract_helpers import ROOT
from PIL import Image

from robot_ppo import cli, project
from robot_ppo.config import Physics
from robot_ppo.playback import portrait
from robot_ppo.robot_model import geometry, source, symmetry, validation, variants
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.simulated_robot import SimulatedRobot

NAMES = sorted(p.parent.name for p in (ROOT / "robots").glob("*/robot.yaml"))
every_robot = pytest.mark.parametrize("name", NAMES)
GAINS_OF_THEIR_OWN = {"go2"}
"""Robots whose shipped policy was trained with other gains than those of the rule."""
SLOWEST = 4.0
DAMPING = 0.8
SWAY = 3.0
"""The rule: natural frequency [Hz] at least, damping ratio, and share of m g h on each foot."""
ROUNDED = 0.06
"""kp has three significant digits and kd two."""


def files(name):
    folder = ROOT / "robots" / name
    robot = project.load_robot_in(folder)
    return robot, folder / robot.model


class Standing:
    """A robot under the PD law of its motors in the evaluation model, with its standing gains."""

    def __init__(self, name):
        self.robot, xml = files(name)
        self.model = variants.eval_model(self.robot, xml)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_resetDataKeyframe(self.model, self.data, self.model.key("home").id)
        joints = [self.model.joint(name) for name in self.robot.joint_names]
        self.qpos = [joint.qposadr[0] for joint in joints]
        self.qvel = [joint.dofadr[0] for joint in joints]
        base = self.model.joint(int(self.model.body(self.robot.base.body).jntadr[0]))
        self.base = int(base.qposadr[0])
        self.motors = PdMotors(self.robot, 1, self.model.opt.timestep)

    @property
    def angles(self):
        return self.data.qpos[self.qpos]

    @property
    def height(self):
        return self.data.qpos[self.base + 2]

    @property
    def tilt(self):
        _, x, y, _ = self.data.qpos[self.base + 3 : self.base + 7]
        return np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1))

    def stand(self):
        self.motors.kp[:], self.motors.kd[:] = self.robot.stand_gains()

    def go_limp(self):
        self.motors.kp[:], self.motors.kd[:] = 0, self.robot.damping_gains()

    def run(self, seconds, start, end):
        """Lead the targets from one pose to another; at every step, the joints' torques."""
        steps = round(seconds / self.model.opt.timestep)
        for step in range(steps):
            target = start + (end - start) * (step + 1) / steps
            velocity = self.data.qvel[self.qvel]
            self.data.ctrl[:] = self.motors.torque(target, self.angles, velocity)[0]
            mujoco.mj_step(self.model, self.data)

    def lie_down(self):
        """Put the robot on the ground in its rest pose, limp."""
        self.data.qpos[self.qpos] = self.robot.rest()
        mujoco.mj_kinematics(self.model, self.data)
        own = self.model.geom_bodyid > 0
        lowest = geometry.lowest_points(self.model, self.data)[own].min()
        self.data.qpos[self.base + 2] -= lowest
        self.go_limp()
        self.run(1.0, self.robot.rest(), self.robot.rest())


@every_robot
def test_its_files_have_no_problem_and_no_mesh(name):
    robot, xml = files(name)
    file = source.read(xml)
    assert validation.problems(file, robot) == []
    assert file.model.nmesh == 0
    assert abs(geometry.standing_height(file.model, robot) - robot.base.height) < 1e-6


@every_robot
def test_the_lowest_points_of_some_geoms_are_theirs_among_all(name):
    """How high a robot stands is asked of its feet alone, whatever else it carries for eyes."""
    robot, xml = files(name)
    model = source.read(xml).model
    data = geometry.standing_pose(model, robot)
    feet = geometry.FootGeometry(model, robot).geoms
    every = geometry.lowest_points(model, data)
    some = geometry.lowest_points(model, data, feet)
    assert np.array_equal(some[feet], every[feet])
    assert np.isinf(np.delete(some, feet)).all() and np.isfinite(np.delete(every, feet)).any()


@every_robot
def test_it_stands_for_five_seconds_by_its_motors_alone(name):
    standing = Standing(name)
    default = standing.robot.vector("default")
    standing.stand()
    standing.run(5.0, default, default)
    assert standing.tilt < 0.1
    assert standing.height > 0.9 * standing.robot.base.height
    assert np.abs(standing.angles - default).max() < 0.2
    assert np.abs(standing.data.qvel).max() < 0.1


@every_robot
def test_without_torque_it_falls(name):
    """Negative control of the test above: it is the motors that hold the robot."""
    standing = Standing(name)
    standing.motors.kp[:] = standing.motors.kd[:] = 0.0
    default = standing.robot.vector("default")
    standing.run(2.0, default, default)
    assert standing.height < 0.7 * standing.robot.base.height


@pytest.mark.parametrize("name", [n for n in NAMES if files(n)[0].life_cycle.has_rest])
def test_it_gets_up_from_where_it_lies(name):
    standing = Standing(name)
    robot = standing.robot
    standing.lie_down()
    assert standing.height < 0.5 * robot.base.height
    standing.stand()
    standing.run(robot.stand.duration, standing.angles, robot.vector("default"))
    standing.run(1.0, robot.vector("default"), robot.vector("default"))
    assert standing.height > 0.9 * robot.base.height
    assert standing.tilt < 0.1


def line(model, body):
    """A body and all that it hangs on, up to the base."""
    found = []
    while body:
        found.append(body)
        body = int(model.body_parentid[body])
    return found


@every_robot
def test_no_limb_touches_another_where_it_stands_and_where_it_lies(name):
    """By shape, whatever the contact bits say: parts of which none hangs on the other."""
    robot, xml = files(name)
    model = source.read(xml).model
    data = geometry.standing_pose(model, robot)
    colliding = np.flatnonzero(source.colliding_geoms(model)).tolist()
    lines = {geom: line(model, int(model.geom_bodyid[geom])) for geom in colliding}
    for pose in (robot.vector("default"), robot.rest()):
        for joint, angle in zip(robot.joint_names, pose, strict=True):
            data.qpos[model.joint(joint).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        for one, other in itertools.combinations(colliding, 2):
            if lines[one][0] not in lines[other] and lines[other][0] not in lines[one]:
                gap = mujoco.mj_geomDistance(model, data, one, other, 1.0, None)
                assert gap > 0, (model.geom(one).name, model.geom(other).name)


def contacts(model, data):
    """The pairs of bodies that touch, by name; the ground is the world."""
    mujoco.mj_forward(model, data)
    bodies = model.geom_bodyid[data.contact.geom].tolist()
    return {tuple(sorted(model.body(i).name for i in pair)) for pair in bodies}


@every_robot
def test_only_its_feet_touch_anything_where_it_stands(name):
    robot, xml = files(name)
    physics = Physics(timestep=0.01, collisions="self")
    for model in (variants.eval_model(robot, xml), variants.train_model(robot, xml, physics, 0.03)):
        data = geometry.standing_pose(model, robot)
        data.qpos[int(model.joint(int(model.body(robot.base.body).jntadr[0])).qposadr[0]) + 2] -= (
            1e-3
        )
        owners = {
            model.body(int(model.geom_bodyid[geoms[0]])).name for geoms in soles(model, robot)
        }
        assert contacts(model, data) == {tuple(sorted(("world", owner))) for owner in owners}


def soles(model, robot):
    return geometry.foot_geoms(model, robot)


@pytest.mark.parametrize("name, hip", [("g1", "hip_roll_joint"), ("h1", "hip_roll_joint")])
@pytest.mark.parametrize("collisions, touching", [("feet", False), ("self", True), ("all", True)])
def test_legs_meet_in_training_where_the_task_says_so(name, hip, collisions, touching):
    robot, xml = files(name)
    physics = Physics(timestep=0.01, collisions=collisions)
    model = variants.train_model(robot, xml, physics, 0.03)
    data = geometry.standing_pose(model, robot)
    data.qpos[int(model.joint(int(model.body(robot.base.body).jntadr[0])).qposadr[0]) + 2] = 3.0
    for side, sign in (("left", -1), ("right", 1)):
        data.qpos[model.joint(f"{side}_{hip}").qposadr[0]] = 0.3 * sign
    found = contacts(model, data)
    assert bool(found) == touching
    assert all(one[:4] != other[:4] for one, other in found)


def test_what_meets_itself_in_training_does_not_touch_the_ground():
    """Negative control: with every collision geom it does."""
    robot, xml = files("g1")
    for collisions, touching in (("self", False), ("all", True)):
        physics = Physics(timestep=0.01, collisions=collisions)
        model = variants.train_model(robot, xml, physics, 0.03)
        data = geometry.standing_pose(model, robot)
        data.qpos[2:7] = (0.1, 0.7, 0.0, 0.7, 0.0)  # it lies on its front
        assert (("left_knee_link", "world") in contacts(model, data)) == touching


@every_robot
def test_it_is_left_right_symmetric(name):
    robot, xml = files(name)
    mirror = symmetry.find(robot, source.read(xml).model)
    assert sorted(mirror.joints.index.tolist()) == list(range(len(robot.joints)))
    assert (mirror.feet.index != np.arange(len(robot.feet))).all()


def free_inertia(robot, model):
    """What each motor moves where nothing else is held, (joints,) [kg m^2]: 1 / (M^-1)_ii."""
    data = mujoco.MjData(model)
    data.qpos[:] = geometry.home_qpos(model, robot)
    mujoco.mj_forward(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, mass)
    dofs = [model.joint(name).dofadr[0] for name in robot.joint_names]
    return 1 / np.diag(np.linalg.inv(mass))[dofs], model.dof_damping[dofs]


@pytest.mark.parametrize("name", sorted(set(NAMES) - GAINS_OF_THEIR_OWN))
def test_its_gains_are_those_of_the_rule(name):
    """docs/robots.md, "Gains by a rule"."""
    robot, xml = files(name)
    model = source.read(xml).model
    inertia, damping = free_inertia(robot, model)
    limits, kp, kd = (robot.vector(key) for key in ("torque_limit", "kp", "kd"))
    expected = np.maximum(limits, inertia * (2 * np.pi * SLOWEST) ** 2)
    if len(robot.feet) > 2:
        weight = float(model.body_mass.sum()) * 9.81
        expected = np.maximum(expected, SWAY * weight * robot.base.height / len(robot.feet))
    assert kp == pytest.approx(expected, rel=ROUNDED)
    assert kd + damping == pytest.approx(2 * DAMPING * np.sqrt(kp * inertia), rel=ROUNDED)
    assert ((kd + damping) / (2 * np.sqrt(kp * inertia))).min() >= 0.7


@every_robot
def test_the_table_in_the_docs_is_right(name):
    """Mass, joints and height of the base in docs/robots.md, and the picture."""
    robot, xml = files(name)
    page = (ROOT / "docs" / "robots.md").read_text()
    row = next(line for line in page.splitlines() if f"(../robots/{name}/README.md)" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    mass, joints, height = (float(re.findall(r"[\d.]+", cell)[0]) for cell in cells[2:5])
    model = source.read(xml).model
    assert mass == pytest.approx(float(model.body_mass.sum()), abs=0.05)
    assert joints == len(robot.joints)
    assert height == pytest.approx(robot.base.height, abs=0.005)
    picture = ROOT / "docs" / "images" / "robots" / f"{name}.png"
    assert f"images/robots/{name}.png" in row
    assert 1_000 < picture.stat().st_size < 40_000


def test_check_writes_a_picture_of_how_the_robot_stands(tmp_path, capsys):
    picture = tmp_path / "go2.png"
    assert cli.main(["check", "go2", "--picture", str(picture)]) == 0
    assert f"wrote {picture}" in capsys.readouterr().out
    with Image.open(picture) as image:
        assert image.size == (portrait.WIDTH, portrait.HEIGHT)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


@every_robot
def test_braked_it_comes_to_rest_where_its_life_cycle_begins(name):
    """A light base on a gantry, and a light wrist whose motor brakes, must not throw each other."""
    simulated = SimulatedRobot(files(name)[0])
    simulated.advance(2.0)
    speeds = simulated.data.qvel
    assert np.isfinite(speeds).all() and np.abs(speeds).max() < 0.5
    assert simulated.tilt() < 0.2


@pytest.mark.parametrize("name", [n for n in NAMES if not files(n)[0].life_cycle.has_rest])
def test_a_humanoid_is_lowered_from_its_gantry_onto_its_feet(name):
    robot = files(name)[0]
    simulated = SimulatedRobot(robot)
    default = robot.vector("default")
    start = simulated.state().joint_pos.astype(float)
    for step in range(round(robot.stand.duration / 0.02)):
        share = (step + 1) * 0.02 / robot.stand.duration
        simulated.drive(start + (default - start) * share, *robot.stand_gains())
        simulated.advance(0.02)
    simulated.advance(3.0)
    assert simulated.contacts().all()
    assert simulated.tilt() < 0.1
    assert simulated.position_w()[2] == pytest.approx(robot.base.height, abs=0.05)
