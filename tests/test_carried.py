"""A policy file carries its robot's model, and needs no folder of the robot to be simulated."""

import dataclasses
import logging
import shutil

import msgspec
import numpy as np
import pytest
import quadruped_helpers as quadruped
from biped_helpers import write_policy, write_robot

from robot_ppo import cli, project
from robot_ppo.config import Physics
from robot_ppo.robot_model import carried, fingerprint, source, variants
from robot_ppo.robot_model.importing import fitting
from robot_ppo.robot_model.source import Text
from robot_ppo_export.errors import InputError, RefusedError

EXACT = ("body_mass", "body_inertia", "body_ipos", "body_pos", "body_quat", "geom_size", "geom_pos")
EXACT += ("geom_quat", "geom_friction", "jnt_range", "jnt_axis", "dof_armature", "dof_damping")
EXACT += (
    "key_qpos",
    "geom_contype",
    "geom_conaffinity",
    "geom_solref",
    "sensor_type",
    "body_iquat",
)


def shipped(name):
    robot = project.load_robot(name)
    return robot, project.robot_folder(name) / robot.model


@pytest.mark.parametrize("name", project.robot_names())
def test_the_variants_of_the_carried_model_are_those_of_the_file_to_the_last_bit(name):
    robot, xml = shipped(name)
    packed = carried.pack(robot, xml)
    assert 0 < len(packed) < carried.LARGEST
    text = carried.unpack(packed, "x.onnx")
    for build in (
        lambda p: variants.eval_model(robot, p),
        lambda p: variants.train_model(robot, p, Physics(timestep=0.01), 0.02),
    ):
        one = build(xml)
        two = build(text)
        for field in EXACT:
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field), err_msg=field)


CORNERS = " ".join(
    f"{x} {y} {z}" for x in (-0.2, 0.2) for y in (-0.08, 0.08) for z in (-0.05, 0.05)
)
MESH = (
    ("<worldbody>", f'<asset><mesh name="m" vertex="{CORNERS}"/></asset><worldbody>'),
    ('type="box" size="0.2 0.08 0.05"', 'type="mesh" mesh="m"'),
)
SITE = '<site name="imu"/>'
TAIL = '<body name="tail" pos="-0.2 0 0.1">{joint}<inertial pos="-0.1 0 0" mass="0.1" '
TAIL += 'diaginertia="0.001 0.001 0.0001"/></body>'
SPRING = '<joint name="tail" axis="0 1 0" stiffness="50" springref="0.1" ref="0.05"/>'
LOOSE = '<joint name="tail" axis="0 1 0"/>'
HOME = f"0 0 {quadruped.HEIGHT!r} 1 0 0 0"
ANGLES = " ".join(str(angle) for angle in quadruped.POSE.values())
WRITTEN = {
    "a comment that XML forbids": [("<compiler", "<!-- of big--dog.urdf --><compiler")],
    "a damping that is not linear": [('damping="0.1"', 'damping="0.123456789 0.02"')],
    "a geom in a frame": [
        (
            SITE,
            '<frame pos="0 0 .08" euler="0 0 .3"><geom name="load" type="box" size=".05 .03 .01"/>'
            f"</frame>{SITE}",
        )
    ],
    "a class of a frame, in another": [
        ("</default>", '<default class="soft"><geom friction="0.3"/></default></default>'),
        (
            SITE,
            '<frame childclass="soft"><frame pos="0 0 .06"><geom size=".01"/></frame></frame>'
            + SITE,
        ),
    ],
    "geoms that are replicated": [
        (
            SITE,
            '<replicate count="3" offset=".02 0 0"><geom size=".01" pos="0 0 .07"/></replicate>'
            + SITE,
        )
    ],
    "a leg in a frame": [
        ('<body name="FR_thigh" pos="0.2 -0.1 0">', '<frame pos=".2 -.1 0"><body name="FR_thigh">'),
        ('<body name="FL_thigh"', '</frame><body name="FL_thigh"'),
    ],
    "a pair with the ground": [
        ("<worldbody>", '<worldbody><geom name="ground" type="plane" size="0 0 .05"/>'),
        (
            "<actuator>",
            '<contact><pair geom1="FR" geom2="ground" condim="4" friction=".3 .3 .05 0 0"/>'
            "</contact><actuator>",
        ),
    ],
    "a joint with a spring": [
        (SITE, SITE + TAIL.format(joint=SPRING)),
        (
            "<actuator>",
            f'<keyframe><key name="home" qpos="{HOME} 0.1 {ANGLES}"/></keyframe><actuator>',
        ),
    ],
    "a coupled joint": [
        (SITE, SITE + TAIL.format(joint=LOOSE)),
        (
            "<actuator>",
            '<equality><joint joint1="tail" joint2="FR_hip"/></equality>'
            f'<keyframe><key name="home" qpos="{HOME} 0.6 {ANGLES}"/></keyframe><actuator>',
        ),
    ],
}
"""Ways to write a robot that MuJoCo's writer or the project's could lose something of."""


@pytest.mark.parametrize("what", WRITTEN)
def test_however_a_robot_is_written_the_carried_one_is_it(tmp_path, what):
    path = quadruped.write(tmp_path, quadruped.mjcf(*WRITTEN[what]))
    robot = quadruped.robot()
    text = carried.unpack(carried.pack(robot, path), "x.onnx")
    one = variants.eval_model(robot, path)
    two = variants.eval_model(robot, text)
    names = [source.names(model, "geom", range(model.ngeom)) for model in (one, two)]
    assert names[0] == names[1]
    for field in (*EXACT, "qpos0", "qpos_spring", "dof_dampingpoly", "geom_condim", "eq_data"):
        np.testing.assert_allclose(
            getattr(one, field), getattr(two, field), rtol=1e-5, err_msg=field
        )


@pytest.mark.parametrize(
    ("part", "named"),
    [("_geom", "the geom 'trunk' of the body 'trunk'"), ("_joint", "the joint 'FR_hip'")],
)
def test_a_model_that_would_be_another_robot_is_refused_by_name(tmp_path, monkeypatch, part, named):
    path = quadruped.write(tmp_path, quadruped.mjcf())
    write = getattr(carried, part)

    def wrong(element, model, id):
        write(element, model, id)
        if element.get("type") != "free":
            element.set("friction" if part == "_geom" else "damping", "0.33")

    monkeypatch.setitem(carried._WRITERS, part.removeprefix("_"), wrong)
    with pytest.raises(InputError, match=rf"dog\.xml: the model .* is not the file's: {named} has"):
        carried.pack(quadruped.robot(), path)


def test_where_primitives_for_meshes_make_no_robot_the_file_goes_without(
    tmp_path, monkeypatch, caplog
):
    around = fitting.around
    huge = (1.0, 1.0, 1.0)
    monkeypatch.setattr(fitting, "around", lambda p: dataclasses.replace(around(p), size=huge))
    path = quadruped.write(tmp_path, quadruped.mjcf(*MESH))
    with caplog.at_level(logging.WARNING):
        assert carried.pack(quadruped.robot(), path) == ""
    assert "the policy file goes without a model" in caplog.text


def test_numbers_that_mujocos_writer_would_round_are_kept(tmp_path):
    mass = "0.20000000123456"
    low = "-1.5000000001"
    edits = ('mass="0.2"', f'mass="{mass}"'), ('range="-1.5 1.5"', f'range="{low} 1.5"')
    path = quadruped.write(tmp_path, quadruped.mjcf(*edits))
    robot = quadruped.robot()
    joints = [
        msgspec.structs.replace(j, range=(float(low), 1.5)) if j.range[0] == -1.5 else j
        for j in robot.joints
    ]
    robot = msgspec.structs.replace(robot, joints=tuple(joints))
    model = source.read(carried.unpack(carried.pack(robot, path), "x.onnx")).model
    assert float(mass) in model.body_mass and float(low) in model.jnt_range[:, 0]


def test_a_mesh_becomes_the_primitive_around_it(tmp_path):
    robot = quadruped.robot()
    path = quadruped.write(tmp_path, quadruped.mjcf(*MESH))
    model = source.read(carried.unpack(carried.pack(robot, path), "x.onnx")).model
    assert model.nmesh == 0
    half = model.geom_aabb[model.geom("trunk").id, 3:]  # of a capsule, for it is elongated
    np.testing.assert_allclose(sorted(half), (0.065, 0.065, 0.2), atol=1e-6)


@pytest.mark.parametrize("text", ["", "no", "c-jL1000"])
def test_a_text_that_is_damaged_is_refused(text):
    with pytest.raises(RefusedError, match=r"x\.onnx: the robot's model in it"):
        carried.unpack(text, "x.onnx")


@pytest.fixture
def policy(tmp_path):
    """A policy file that carries its robot, of which there is no folder any more."""
    robot = write_robot(tmp_path / "gone" / "walker", "standing")
    packed = carried.pack(robot, tmp_path / "gone" / "walker" / "walker.xml")
    path = write_policy(tmp_path / "walker.onnx", robot, 0.05, packed)
    folder = shutil.move(tmp_path / "gone" / "walker", tmp_path / "walker")
    return path, robot, packed, folder


def test_the_robots_folder_goes_before_what_the_file_carries(policy, tmp_path, monkeypatch):
    path, robot, packed, folder = policy
    monkeypatch.chdir(tmp_path)
    assert carried.mjcf(robot, packed, str(path)) == folder.resolve() / "walker.xml"


def test_without_the_folder_the_file_is_played(policy, tmp_path, monkeypatch, capsys, caplog):
    path, robot, packed, _ = policy
    monkeypatch.chdir(tmp_path / "gone")
    assert isinstance(carried.mjcf(robot, packed, str(path)), Text)
    with caplog.at_level(logging.WARNING):
        cli.main(["play", str(path), "--plot", str(tmp_path / "p.png"), "--seconds", "0.2"])
    assert "no robot 'walker' here" in caplog.text
    assert "standing" in capsys.readouterr().out or (tmp_path / "p.png").exists()


def test_a_file_without_a_model_names_the_places_where_its_robot_was_looked_for(
    policy, tmp_path, monkeypatch
):
    _, robot, _, _ = policy
    monkeypatch.chdir(tmp_path / "gone")
    with pytest.raises(InputError, match=r"unknown robot 'walker'.*looked in robots, "):
        carried.mjcf(robot, "", "walker.onnx")


def test_a_model_that_is_too_large_is_left_out_and_that_is_told(monkeypatch, caplog):
    monkeypatch.setattr(carried, "LARGEST", 100)
    with caplog.at_level(logging.WARNING):
        assert carried.pack(*shipped("go2")) == ""
    assert "the policy file goes without" in caplog.text


def test_a_robot_that_is_not_here_is_not_compared(caplog):
    with caplog.at_level(logging.WARNING):
        fingerprint.warn_if_edited("0" * 64, "no_such_robot", "the policy")
    assert not caplog.records
