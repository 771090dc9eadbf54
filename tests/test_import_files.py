"""What `robot-ppo import` takes from a model file: frames, IMU, friction, keyframes, units."""

from types import SimpleNamespace

import numpy as np
import pytest
import quadruped_helpers as quadruped
from import_helpers import URDF, options, urdf

from robot_ppo.derived import biped as derived_biped
from robot_ppo.robot_model.importing import discovery, reading
from robot_ppo_export.errors import InputError

TORQUE = {"*": 20.0}


def found(folder, text, **flags):
    """Return what is found in a file, without the trials in simulation."""
    file = folder / ("dog.urdf" if "<robot" in text else "dog.xml")
    file.write_text(text)
    torque = flags.pop("torque", TORQUE)
    tree = reading.read(file, flags.get("base"))
    return discovery.found(tree, options.Options(file, torque=torque, **flags), "dog")[0]


def hips(findings):
    """Return where the legs begin, in the base's frame: (feet, 2), x and y."""
    frames = findings.tree.frames(findings.pose)
    return np.array([frames[foot.leg.links[0]].pos[:2] for foot in findings.feet])


# -- which way it looks

TRUNK = '<body name="trunk" pos="0 0 0.4">'
HIPS = np.array(list(quadruped.LEGS.values()))
TURNS = {
    "yaw 180": "0 0 0 1",
    "yaw 45": "0.9238795 0 0 0.3826834",
    "yaw 90": "0.7071068 0 0 0.7071068",
    "yaw -60 and a pitch of 20": "0.8528686 0.0868241 0.1503837 -0.4924039",
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_base_keeps_its_x_axis_however_it_is_turned_in_the_file(turn, tmp_path):
    body = TRUNK.replace(">", f' quat="{TURNS[turn]}">')
    seen = found(tmp_path, quadruped.mjcf((TRUNK, body)))
    order = [foot.leg.foot.removesuffix("_calf") for foot in seen.feet]
    assert order == list(quadruped.LEGS)
    got = hips(seen)
    assert np.array_equal(np.sign(got), np.sign(HIPS))
    if "pitch" not in turn:
        np.testing.assert_allclose(got, HIPS, atol=1e-5)


def test_a_urdf_that_is_turned_against_its_world_looks_ahead(tmp_path):
    world = (
        '<link name="world"/><joint name="stand" type="fixed"><parent link="world"/>'
        '<child link="trunk"/><origin xyz="0 0 0.4" rpy="0 0 3.14159"/></joint>'
    )
    np.testing.assert_allclose(
        hips(found(tmp_path, urdf(world))), hips(found(tmp_path, URDF)), atol=1e-5
    )


# -- keyframes


def key(name, height, pose, quat="1 0 0 0"):
    angles = " ".join([pose] * 4)
    return f'<key name="{name}" qpos="0 0 {height} {quat} {angles}"/>'


def with_keys(*keys):
    return quadruped.mjcf(("</mujoco>", f"<keyframe>{''.join(keys)}</keyframe></mujoco>"))


CROUCH = key("crouch", 0.2, "1.2 -2.3")
KEYS = {
    "the one that is called so": ([CROUCH, key("home", 0.37, "0.5 -1")], "home", "crouch"),
    "the tallest": (
        [CROUCH, key("up", 0.37, "0.5 -1"), key("z", 0.3, "0.8 -1.6")],
        "up",
        "crouch, z",
    ),
}


@pytest.mark.parametrize("what", KEYS)
def test_of_several_keyframes_it_stands_in(what, tmp_path):
    keys, name, others = KEYS[what]
    seen = found(tmp_path, with_keys(*keys))
    assert seen.pose["FR_hip"] == 0.5
    where = f"keyframe {name} of the file; --pose takes another that stands level: {others}"
    assert seen.pose_from == where


SIDE = "0.7071068 -0.7071068 0 0"


def test_up_is_that_of_the_keyframe_it_stands_in_where_the_reference_pose_lies(tmp_path):
    """The base of the file lies on its side at the reference; its keyframe sets it upright."""
    text = with_keys(key("stand", 0.37, "0.5 -1", "0.7071068 0.7071068 0 0"))
    text = text.replace('<site name="imu"/>', f'<site name="imu"/><frame quat="{SIDE}">')
    text = text.replace("\n  </body>\n  </worldbody>", "</frame></body></worldbody>")
    seen = found(tmp_path, text)
    assert len(seen.feet) == 4
    np.testing.assert_allclose(hips(seen), HIPS, atol=1e-5)
    assert "up is that of the keyframe stand, not of the file's reference pose" in seen.steps


def test_a_keyframe_of_a_fallen_robot_is_not_taken_for_upright(tmp_path):
    seen = found(tmp_path, with_keys(key("fallen", 0.1, "0.5 -1", SIDE)))
    assert seen.pose_from.startswith("optimized") and len(seen.feet) == 4


def test_a_biped_whose_legs_do_not_swing_ahead_is_refused_in_a_sentence():
    hip = SimpleNamespace(name="hip", pitch=False)
    body = SimpleNamespace(
        robot=SimpleNamespace(name="dog"), feet=[SimpleNamespace(name="left", joints=[hip])]
    )
    with pytest.raises(InputError, match="the foot 'left' turns about the axis across the body"):
        derived_biped.stepping(body, {"swing_height": 0.05, "offsets": {"left": 0}, "stance": 0.6})
