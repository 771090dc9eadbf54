"""Network output to joint target: zero is the default pose, and no target leaves the range."""

import msgspec
import numpy as np
import pytest
from contract_helpers import JOINTS, robot, same_bits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_ppo_export.contract.action import ActionMap, ActionSpec
from robot_ppo_export.errors import InputError

SCALE = 0.5
CLIP = 4.0
actions = hnp.arrays(np.float32, JOINTS, elements=st.floats(-1e6, 1e6, width=32))


def action_map(scale=SCALE, clip=CLIP, margin=None) -> ActionMap:
    spec = robot()
    if margin is not None:
        safety = msgspec.structs.replace(spec.safety, joint_range_margin=margin)
        spec = msgspec.structs.replace(spec, safety=safety)
    return ActionMap(ActionSpec(scale=scale, clip=clip), spec)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_action_zero_is_the_default_pose_bit_for_bit(zero):
    target = action_map().target(np.full(JOINTS, zero, np.float32))
    assert same_bits(target, robot().vector("default").astype(np.float32))


def test_inside_all_limits_the_target_is_the_formula():
    random = np.random.default_rng(0)
    action = random.uniform(-0.5, 0.5, (100, JOINTS)).astype(np.float32)
    default = robot().vector("default").astype(np.float32)
    assert same_bits(action_map().target(action), default + np.float32(SCALE) * action)


@given(actions)
def test_a_target_stays_inside_the_range_by_its_margin(action):
    # Float32 may round the bound itself; it is the same bound for all.
    low, high = robot().vector("range").T
    margin = robot().safety.joint_range_margin
    target = action_map().target(action)
    assert (target >= (low + margin).astype(np.float32)).all()
    assert (target <= (high - margin).astype(np.float32)).all()


def test_the_margin_is_what_keeps_a_target_off_the_stop():
    action = np.full(JOINTS, 100, np.float32)
    high = robot().vector("range")[:, 1]
    for margin in (0.0, 0.05, 0.2):
        target = action_map(scale=5.0, margin=margin).target(action)
        assert same_bits(target, (high - margin).astype(np.float32))


@given(actions)
def test_an_action_beyond_its_clip_counts_as_the_clip(action):
    m = action_map(scale=0.1)  # so small that the range does not hide the clip
    assert same_bits(m.target(action), m.target(np.clip(action, -CLIP, CLIP)))


def test_the_clip_bounds_the_reach():
    far = np.full(JOINTS, 50, np.float32)
    m = action_map(scale=0.01)
    default = robot().vector("default").astype(np.float32)
    assert same_bits(m.target(far), default + np.float32(0.01) * np.float32(CLIP))
    assert not same_bits(m.target(far), action_map(scale=0.01, clip=60.0).target(far))


def test_action_undoes_target_where_nothing_is_clipped():
    m = action_map()
    random = np.random.default_rng(0)
    action = random.uniform(-0.5, 0.5, (100, JOINTS)).astype(np.float32)
    assert np.allclose(m.action(m.target(action)), action, rtol=0, atol=2e-6)
    assert not m.action(m.default_pose).any()


@pytest.mark.parametrize("n", [1, 7, 4096])
def test_one_robot_and_n_simulations_give_equal_bits(n):
    action = np.random.default_rng(0).normal(0, 3, (n, JOINTS)).astype(np.float32)
    m = action_map()
    many = m.target(action)
    assert many.dtype == np.float32
    for i in range(n):
        assert same_bits(m.target(action[i]), many[i])


def test_a_number_that_is_none_comes_out_as_none():
    """The map must not hide it: the envelope stops the robot on it."""
    action = np.zeros(JOINTS, np.float32)
    action[3] = np.nan
    assert np.isnan(action_map().target(action)).tolist() == [i == 3 for i in range(JOINTS)]


@pytest.mark.parametrize("key", ["scale", "clip"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_scale_or_clip_that_is_not_above_zero_is_refused(key, value):
    with pytest.raises(InputError, match=rf"`action\.{key}`: .* must be above 0"):
        action_map(**{key: value})


def test_a_scale_per_joint_moves_each_joint_by_its_own():
    names = robot().joint_names
    scale = {name: 0.1 + 0.05 * i for i, name in enumerate(reversed(names))}
    action = np.full(JOINTS, 0.5, np.float32)
    moved = action_map(scale).target(action)
    each = [action_map(scale[name]).target(action)[i] for i, name in enumerate(names)]
    assert same_bits(moved, np.array(each, np.float32))
    same = action_map(dict.fromkeys(names, SCALE))
    assert same_bits(same.target(action), action_map().target(action))
    assert same.action(same.target(action)) == pytest.approx(action, abs=1e-6)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"tail": 0.5}, "name each joint once; differs by tail"),
        ({"FR_hip_joint": 0.0}, "action.scale.FR_hip_joint`: 0.0 must be above 0"),
        ({"FR_hip_joint": float("nan")}, "action.scale.FR_hip_joint`: nan must be above 0"),
    ],
)
def test_a_scale_per_joint_that_does_not_fit_is_refused(change, text):
    with pytest.raises(InputError, match=text):
        action_map(dict.fromkeys(robot().joint_names, 0.5) | change)


def test_a_joint_of_robot_yaml_may_have_a_scale_of_its_own():
    joints = list(robot().joints)
    joints[2] = msgspec.structs.replace(joints[2], action_scale=0.25)
    spec = msgspec.structs.replace(robot(), joints=tuple(joints))
    expected = np.full(JOINTS, SCALE, np.float32)
    expected[2] = 0.25
    assert same_bits(ActionMap(ActionSpec(scale=SCALE), spec).scale, expected)
    named = dict.fromkeys(spec.joint_names, 0.75)  # the task's, joint by joint, goes before it
    assert (ActionMap(ActionSpec(scale=named), spec).scale == 0.75).all()
    action = np.full(JOINTS, 0.1, np.float32)
    default = robot().vector("default").astype(np.float32)
    target = ActionMap(ActionSpec(scale=SCALE), spec).target(action)
    assert same_bits(target, default + expected * action)
