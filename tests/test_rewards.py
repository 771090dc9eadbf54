"""Each reward against its closed form on hand-made worlds."""

import math

import env_helpers as helpers
import numpy as np
import pytest
from env_helpers import world

from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.rewards import REWARDS, Rewards
from robot_ppo.envs.robot.world import Constants
from robot_ppo_export.errors import InputError

N = 5
DT = 0.02
TERMS = REWARDS.functions
HAS = frozenset({"gait", "commands.twist"})


def total_of(weights, dt=DT):
    return Rewards(weights, helpers.robot(), dt, HAS)


@pytest.fixture(scope="module")
def context():
    return Constants.of(helpers.robot(), Schedule(helpers.GAIT, helpers.robot()))


DEFAULT = helpers.robot().vector("default")
FASTEST = helpers.robot().vector("velocity_limit")
LOW, HIGH = helpers.robot().vector("range").T


def mean2(values):
    squares = [v**2 for v in values]
    return sum(squares) / len(squares)


def swing(phase):
    """Progress of FR, FL, RR, RL through their swing, 0 in stance; in plain Python."""
    out = []
    for offset in (0.0, 0.5, 0.5, 0.0):
        position = (phase + offset) % 1.0
        out.append(max(0.0, (position - 0.6) / 0.4))
    return out


def beyond(angles):
    """What angles exceed the middle 95 % of their range by, summed."""
    middle = (LOW + HIGH) / 2
    half = 0.95 * (HIGH - LOW) / 2
    return sum(max(0.0, abs(a - m) - h) for a, m, h in zip(angles, middle, half, strict=True))


def scheduled(w, i):
    wanted = [s == 0 for s in swing(w.phase[i])] if w.moving[i] else [True] * 4
    return sum(a == b for a, b in zip(w.foot_contact[i], wanted, strict=True)) / 4


def swinging(w, i):
    if not w.moving[i]:
        return 0.0
    errors = [
        ((h - 0.1 * math.sin(math.pi * s)) / 0.1) ** 2 if s > 0 else 0.0
        for h, s in zip(w.foot_height[i], swing(w.phase[i]), strict=True)
    ]
    return sum(errors) / 4


def upright(w, i):
    return 1 - math.acos(min(1.0, max(-1.0, -w.projected_gravity[i, 2]))) / math.pi


def raised(w, i):
    return upright(w, i) * min(1.0, max(0.0, w.base_height[i] / helpers.robot().base.height))


CLOSED_FORMS = {
    "lin_vel_tracking": (
        {"sigma2": 0.7},
        lambda w, i: math.exp(-((w.base_lin_vel[i, :2] - w.command[i, :2]) ** 2).sum() / 0.7),
    ),
    "yaw_rate_tracking": (
        {"sigma2": 0.4},
        lambda w, i: math.exp(-((w.base_ang_vel[i, 2] - w.command[i, 2]) ** 2) / 0.4),
    ),
    "base_height": ({"target": 0.3}, lambda w, i: (w.base_height[i] - 0.3) ** 2),
    "lin_vel_z": ({}, lambda w, i: w.base_lin_vel[i, 2] ** 2),
    "ang_vel_xy": ({}, lambda w, i: w.base_ang_vel[i, 0] ** 2 + w.base_ang_vel[i, 1] ** 2),
    "orientation": (
        {},
        lambda w, i: w.projected_gravity[i, 0] ** 2 + w.projected_gravity[i, 1] ** 2,
    ),
    "torque": ({}, lambda w, i: mean2(w.torque[i])),
    "action_rate": (
        {},
        lambda w, i: mean2(w.action[i] - w.last_action[i]),
    ),
    "joint_acc": ({}, lambda w, i: mean2(w.joint_acc[i])),
    "joint_vel": ({}, lambda w, i: mean2(w.joint_vel[i])),
    "joint_limits": ({}, lambda w, i: beyond(w.joint_pos[i]) / 12),
    "joint_vel_limits": (
        {"fraction": 0.1},
        lambda w, i: mean2(np.maximum(np.abs(w.joint_vel[i]) / FASTEST - 0.1, 0.0)),
    ),
    "joint_pose": (
        {"joints": np.arange(12, dtype=np.float32)},
        lambda w, i: sum(k * e**2 for k, e in enumerate(w.joint_pos[i] - DEFAULT)) / 12,
    ),
    "joint_pos_tracking": (
        {"sigma2": 2.0},
        lambda w, i: math.exp(-mean2(w.joint_pos[i] - w.command[i]) / 2.0),
    ),
    "default_pose_tracking": (
        {"sigma2": 2.0},
        lambda w, i: math.exp(-mean2(w.joint_pos[i] - DEFAULT) / 2.0),
    ),
    "upright": ({}, upright),
    "raised": ({}, raised),
    "standing_joint_vel": ({}, lambda w, i: raised(w, i) ** 2 * mean2(w.joint_vel[i])),
    "standing_action_rate": (
        {},
        lambda w, i: raised(w, i) ** 2 * mean2(w.action[i] - w.last_action[i]),
    ),
    "standing_pose_tracking": (
        {"sigma2": 2.0},
        lambda w, i: raised(w, i) ** 2 * math.exp(-mean2(w.joint_pos[i] - DEFAULT) / 2.0),
    ),
    "base_height_tracking": (
        {"target": 0.3, "sigma2": 0.7},
        lambda w, i: math.exp(-((w.base_height[i] - 0.3) ** 2) / 0.7),
    ),
    "termination": ({}, lambda w, i: float(w.failed[i])),
    "contact_schedule": ({}, scheduled),
    "swing_height": ({}, swinging),
    "slip": (
        {},
        lambda w, i: (
            sum(
                c * (v[0] ** 2 + v[1] ** 2)
                for c, v in zip(w.foot_contact[i], w.foot_vel_w[i], strict=True)
            )
            / 4
        ),
    ),
    "power": ({}, lambda w, i: sum(abs(w.torque[i] * w.joint_vel[i])) / 12),
    "feet_air_time": (
        {"threshold": 0.3},
        lambda w, i: (
            w.moving[i]
            * sum(
                t - 0.3 if c and t > 0 else 0.0
                for c, t in zip(w.foot_contact[i], w.air_time[i], strict=True)
            )
            / 4
        ),
    ),
    "sole_flat": ({}, lambda w, i: 1 - mean2(w.sole_level[i])),
    "feet_apart": ({"least": 0.5}, lambda w, i: mean2(max(0.0, 0.5 - g) for g in w.foot_gap[i])),
    "stand_still": (
        {},
        lambda w, i: 0.0 if w.moving[i] else sum(abs(w.joint_pos[i] - DEFAULT)) / 12,
    ),
}
"""Name -> parameters, and the reward of row i of a world, in plain Python."""


def test_every_reward_has_a_closed_form_here():
    assert set(CLOSED_FORMS) == set(TERMS)


def test_every_reward_of_the_shipped_task_exists():
    assert set(helpers.shipped().task.rewards) <= set(TERMS)


def world_of(name):
    """A world of five, some told to stand; with a command of the kind that the reward reads."""
    moving = np.array([True, True, False, True, False])
    if "commands.joint_pos" in REWARDS.needs[name]:
        command = np.random.default_rng(8).normal(0, 1, (N, 12)).astype(np.float32)
        return world(N, seed=3, moving=moving, command=command)
    return world(N, seed=3, moving=moving)


@pytest.mark.parametrize("name", TERMS)
def test_a_reward_is_its_closed_form(name, context):
    parameters, closed_form = CLOSED_FORMS[name]
    w = world_of(name)
    got = TERMS[name](w, **parameters)
    assert got.shape == (N,) and got.dtype == np.float32
    expected = [closed_form(w, i) for i in range(N)]
    assert len(set(expected)) > 1  # a constant would not tell one formula from another
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_perfect_tracking_is_worth_one_and_a_perfect_robot_pays_nothing(context):
    level = np.tile(np.float32([0, 0, -1]), (N, 1))
    command = np.tile(np.float32([0.5, -0.2, 0.3]), (N, 1))
    velocity = np.zeros((N, 3), np.float32)
    velocity[:, :2] = command[:, :2]
    rate = np.zeros((N, 3), np.float32)
    rate[:, 2] = command[:, 2]
    pose = np.tile(DEFAULT.astype(np.float32), (N, 1))
    nothing = np.zeros((N, 12), np.float32)
    w = world(
        N,
        command=command,
        base_lin_vel=velocity,
        base_ang_vel=rate,
        projected_gravity=level,
        joint_pos=pose,
        joint_acc=nothing,
        torque=nothing,
        action=nothing,
        last_action=nothing,
        base_height=np.full(N, 0.3, np.float32),
        foot_vel_w=np.zeros((N, 4, 3), np.float32),
        phase=np.full(N, 0.8, np.float32),  # FR and RL half way through their swing
        foot_height=np.tile(np.float32([0.1, 0, 0, 0.1]), (N, 1)),
        foot_contact=np.tile([False, True, True, False], (N, 1)),
        sole_level=np.ones((N, 4), np.float32),
        foot_gap=np.full((N, 4), 0.6, np.float32),
        air_time=np.tile(np.float32([0.2, 0, 0, 0.2]), (N, 1)),
    )
    w.joint_vel = nothing
    w.failed = np.zeros(N, bool)
    good = ("lin_vel_tracking", "yaw_rate_tracking", "contact_schedule", "default_pose_tracking")
    good += ("upright", "raised", "standing_pose_tracking", "base_height_tracking")
    for name, (parameters, _) in CLOSED_FORMS.items():
        if name == "joint_pos_tracking":
            continue  # another command
        value = TERMS[name](w, **parameters)
        assert np.allclose(value, 1.0 if name in good else 0.0, atol=1e-6), name


def test_no_joint_limit_is_paid_inside_the_soft_range(context):
    middle, half = context.soft_range.T
    edge = (middle - half, middle + half)
    assert np.allclose(edge[1] - edge[0], 0.95 * (HIGH - LOW), rtol=1e-6)
    for pose in (*edge, DEFAULT):
        w = world(1, joint_pos=pose[None].astype(np.float32))
        assert TERMS["joint_limits"](w)[0] < 1e-5
    w = world(1, joint_pos=(edge[1][None] + 0.01).astype(np.float32))
    assert TERMS["joint_limits"](w)[0] == pytest.approx(0.01, rel=1e-3)


# -- the sum ------------------------------------------------------------------------------------


def test_the_reward_is_the_sum_of_weight_times_term_times_period(context):
    weights = {"lin_vel_z": {"weight": -2.0}, "lin_vel_tracking": {"weight": 3.0, "sigma2": 0.5}}
    total = total_of(weights)
    w = world(N)
    reward, terms = total.compute(w)
    expected = [
        -2.0 * DT * TERMS["lin_vel_z"](w),
        3.0 * DT * TERMS["lin_vel_tracking"](w, sigma2=0.5),
        np.zeros(N),
    ]
    assert total.names == ("lin_vel_z", "lin_vel_tracking", "termination")
    assert np.allclose(terms, expected, rtol=1e-5)
    assert np.allclose(reward, np.sum(expected, axis=0), rtol=1e-5)
    assert reward.dtype == np.float32


def test_half_the_period_is_half_the_reward():
    weights = {"lin_vel_z": {"weight": -2.0}}
    w = world(N)
    whole, half = (total_of(weights, dt).compute(w)[0] for dt in (DT, DT / 2))
    assert np.allclose(whole, 2 * half)


@pytest.mark.parametrize("period", [DT, DT / 2])
def test_termination_is_paid_once_on_failure_whatever_the_period(period):
    failed = np.array([True, False, False, True, False])
    total = total_of({"termination": {"weight": -4.0}}, period)
    assert np.allclose(total.compute(world(N, failed=failed))[0], -4.0 * failed)


def test_the_settings_are_not_changed(context):
    weights = {"lin_vel_z": {"weight": -2.0}, "termination": {"weight": -5.0}}
    total_of(weights)
    assert weights == {"lin_vel_z": {"weight": -2.0}, "termination": {"weight": -5.0}}


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(N, 1), (), (1,)])
def test_a_term_of_the_wrong_shape_is_named(shape, context, monkeypatch):
    """(n, 1) would broadcast quietly against (n,)."""
    monkeypatch.setitem(TERMS, "lin_vel_z", lambda world: np.zeros(shape, np.float32))
    total = total_of({"torque": {"weight": 1.0}, "lin_vel_z": {"weight": 1.0}})
    with pytest.raises(ValueError, match="reward 'lin_vel_z' has shape"):
        total.compute(world(N))


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (
            {"lin_vel_traking": {"weight": 1.0}},
            "lin_vel_traking`: unknown reward 'lin_vel_traking'; did you mean 'lin_vel_tracking'?",
        ),
        (
            {"lin_vel_tracking": {"weight": 1.0, "sigma": 1.0}},
            "lin_vel_tracking.sigma`: unknown parameter 'sigma'; it takes weight, sigma2",
        ),
        ({"slip": {"weight": 1.0, "sigma2": 1.0}}, "unknown parameter 'sigma2'; it takes weight"),
        ({"base_height": {"weight": 1.0}}, "`task.rewards.base_height`: lacks target"),
    ],
)
def test_an_unknown_name_or_parameter_is_said_with_the_right_ones(weights, text, context):
    with pytest.raises(InputError) as error:
        total_of(weights)
    assert text in str(error.value)


# -- Go2's weights ------------------------------------------------------------------------------

SUMMED = {
    "torque": (-2.0e-5, lambda w: (w.torque**2).sum(axis=1)),
    "action_rate": (-0.1, lambda w: ((w.action - w.last_action) ** 2).sum(axis=1)),
    "joint_acc": (-2.0e-8, lambda w: (w.joint_acc**2).sum(axis=1)),
    "joint_limits": (-2.0, lambda w: np.array([beyond(row) for row in w.joint_pos])),
    "joint_pose": (-0.1, lambda w: ((w.joint_pos - DEFAULT) ** 2).sum(axis=1)),
    "stand_still": (-1.0, lambda w: ~w.moving * np.abs(w.joint_pos - DEFAULT).sum(axis=1)),
    "termination": (-200.0, lambda w: w.failed),
}
"""Name -> weight and sum over joints that the first edition's Go2 was tuned with, per second."""


@pytest.mark.parametrize("name", SUMMED)
def test_go2_pays_what_it_paid_when_terms_were_sums(name):
    task = helpers.shipped().task
    w = world(N, seed=5, moving=np.array([True, False, False, True, False]))
    total = total_of({name: task.rewards[name]}, task.control_period)
    weight, summed = SUMMED[name]
    assert np.allclose(total.compute(w)[0], weight * summed(w) * task.control_period, rtol=1e-5)


def test_a_joints_weight_is_found_by_name_and_by_pattern():
    joints = {"*_hip_joint": 3.0, "FR_hip_joint": 5.0}
    total = total_of({"joint_pose": {"weight": 1.0, "joints": joints}})
    w = world(N, seed=6)
    error = (w.joint_pos - DEFAULT) ** 2
    names = np.array(helpers.robot().joint_names)
    numbers = np.where(np.char.endswith(names, "hip_joint"), 3.0, 1.0)
    numbers[names == "FR_hip_joint"] = 5.0
    assert np.allclose(total.compute(w)[0], DT * (error * numbers).mean(axis=1), rtol=1e-5)
    with pytest.raises(InputError, match=r"joint_pose\.joints`: no joint is named 'FR_hip'; did"):
        total_of({"joint_pose": {"weight": 1.0, "joints": {"FR_hip": 1.0}}})
