"""One control step, in the order that robot_env.py documents, and what it promises to its users."""

import env_helpers as helpers
import mujoco
import numpy as np
import pytest
from env_helpers import ENDLESS, PROMPT, commands, environment, loud, quiet, random_actions, replace

from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo_export.errors import InputError

N = 4
DT = helpers.shipped().task.control_period


def run(env, actions):
    """Step through `actions`; return every array that came back, stacked over time."""
    first, info = env.reset(seed=3)
    rows = [(first, info["observations"]["critic"])]
    rest = []
    for action in actions:
        observation, reward, failed, truncated, info = env.step(action)
        rows.append((observation, info["observations"]["critic"]))
        rest.append((reward, failed, truncated))
    observations, privileged = (np.stack(column) for column in zip(*rows, strict=True))
    return [observations, privileged, *(np.stack(column) for column in zip(*rest, strict=True))]


def term(env, observation, name):
    """The slice of one actor term."""
    return observation[..., env.layout.slices[name]]


def lookup(env, privileged, name):
    """The slice of one privileged term."""
    sizes = {"base_lin_vel": 3, "base_ang_vel_true": 3, "projected_gravity_true": 3}
    sizes |= {"base_height": 1, "joint_pos_true": 12, "joint_vel_true": 12}
    sizes |= {"foot_height": 4, "foot_contact": 4, "randomized": env.randomizer.size}
    offset = 0
    for each in env.task.observations["critic"]:
        if each == name:
            return privileged[..., offset : offset + sizes[each]]
        offset += sizes[each]
    raise KeyError(name)


def only_reward(**entries):
    return {name: {"weight": 1.0, **parameters} for name, parameters in entries.items()}


# -- determinism --------------------------------------------------------------------------------


@pytest.mark.numeric
def test_a_seed_gives_equal_bits_at_any_number_of_threads():
    task = loud(episode_length=0.3)
    actions = random_actions(40, N)
    one = run(environment(task, threads=1, seed=1), actions)
    two = run(environment(task, threads=2, seed=2), actions)
    assert one[4].any()  # episodes ended and began on the way
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


def test_another_seed_gives_other_bits():
    env = environment(loud())
    first = env.reset(seed=3)[0]
    assert not np.array_equal(first, env.reset(seed=4)[0])
    assert np.array_equal(first, env.reset(seed=3)[0])


def test_reset_takes_the_seed_of_a_list_and_none_goes_on_with_the_stream():
    env = environment(loud())
    first = env.reset(seed=[3, 4, 5, 6])[0]
    assert np.array_equal(first, env.reset(seed=3)[0])
    assert not np.array_equal(first, env.reset()[0])


def test_what_a_step_returns_is_never_overwritten():
    env = environment(loud(episode_length=0.1))
    reset_observation, reset_info = env.reset(seed=0)
    kept = [reset_observation, reset_info["observations"]["critic"]]
    for action in random_actions(6, N):
        observation, reward, failed, truncated, info = env.step(action)
        kept += [observation, reward, failed, truncated, info["observations"]["critic"]]
        if "final_obs" in info:
            kept += [info["final_obs"], info["final_observations"]["critic"], info["_final_obs"]]
            kept += list(info["episode_metrics"].values())
    assert len(kept) > 2 + 5 * 6  # the final ones are among them
    copies = [array.copy() for array in kept]
    for action in random_actions(12, N, seed=1):
        env.step(action)
    for array, copy in zip(kept, copies, strict=True):
        assert np.array_equal(array, copy)


def test_the_action_that_was_given_is_not_kept_by_reference():
    env = environment(quiet())
    other = environment(quiet())
    action = random_actions(1, N)[0]
    expected = other.step(action)[0]
    got = env.step(action)[0]
    action[:] = 99.0
    assert np.array_equal(got, expected)
    assert np.array_equal(env.step(0 * action)[1], other.step(0 * action)[1])


# -- the true final observation -----------------------------------------------------------------

HISTORIES = {
    "base_ang_vel": {"history": 3},
    "projected_gravity": {},
    "command": {},
    "joint_pos_error": {"history": 2},
    "last_action": {},
    "gait_clock": {},
}


@pytest.mark.parametrize("observation", [helpers.shipped().task.observations["actor"], HISTORIES])
def test_the_final_observation_is_the_one_that_a_longer_episode_would_have_seen(observation):
    ticks = 10
    cut = environment(loud(observation=observation, episode_length=ticks * DT))
    longer = environment(loud(observation=observation, episode_length=20.0))
    for env in (cut, longer):
        env.reset(seed=5)
    for action in random_actions(ticks - 1, N, size=0.1):
        assert not cut.step(action)[3].any()
        longer.step(action)
    action = random_actions(1, N, seed=2, size=0.1)[0]
    observed, reward, failed, truncated, info = cut.step(action)
    true, true_reward, _, not_cut, true_info = longer.step(action)
    assert truncated.all() and not failed.any() and not not_cut.any()
    assert np.array_equal(info["final_obs"], true)
    assert np.array_equal(info["final_observations"]["critic"], true_info["observations"]["critic"])
    assert np.array_equal(reward, true_reward)
    # Negative control: the new episode's first observation, which is returned, is another one.
    assert not np.isclose(observed, true).all(axis=1).any()
    assert (
        not np.isclose(info["observations"]["critic"], true_info["observations"]["critic"])
        .all(axis=1)
        .any()
    )


def test_only_the_rows_that_ended_are_replaced():
    env = environment(loud())
    unbroken = environment(loud())
    for one in (env, unbroken):
        one.reset(seed=0)
    env.ticks[:] = [0, env.max_ticks - 1, 0, 0]
    action = random_actions(1, N)[0]
    observation, _, _, truncated, info = env.step(action)
    assert truncated.tolist() == info["_final_obs"].tolist() == [False, True, False, False]
    same = (observation == unbroken.step(action)[0]).all(axis=1)
    assert same.tolist() == [True, False, True, True]
    for rows in (info["final_obs"], *info["final_observations"].values()):
        assert rows.any(axis=1).tolist() == [False, True, False, False]
    assert env.ticks.tolist() == [1, 0, 1, 1]


def test_without_an_end_there_is_no_final_observation():
    env = environment(quiet())
    assert set(env.step(random_actions(1, N)[0])[4]) == {"observations"}


# -- failure and time limit ---------------------------------------------------------------------


def upside_down(env, row):
    env.engine.qpos[row, 3:7] = [0, 1, 0, 0]
    env.engine.qpos[row, 2] = 1.0


def test_failure_and_time_limit_are_kept_apart():
    env = environment(quiet())
    env.ticks[:] = [0, 0, env.max_ticks - 1, env.max_ticks - 1]
    upside_down(env, 1)
    upside_down(env, 3)
    _, _, failed, truncated, info = env.step(np.zeros((N, 12)))
    assert failed.tolist() == [False, True, False, True]
    assert truncated.tolist() == [False, False, True, False]  # a fall is a fall, also at the limit
    assert info["_final_obs"].tolist() == [False, True, True, True]
    assert info["episode_metrics"]["failed"].tolist() == [0, 1, 0, 1]


def test_without_limits_nothing_fails():
    """Negative control of the test above."""
    env = environment(quiet(terminations=ENDLESS))
    upside_down(env, 1)
    assert not env.step(np.zeros((N, 12)))[2].any()


def test_failure_costs_its_weight_once():
    free = {"lin_vel_z": {"weight": 0.0}}
    env = environment(quiet(rewards=free | {"termination": {"weight": -20.0}}))
    upside_down(env, 1)
    reward = env.step(np.zeros((N, 12)))[1]
    assert np.allclose(reward, [0, -20.0, 0, 0])
    assert np.allclose(env.step(np.zeros((N, 12)))[1], 0)


def test_episodes_that_start_together_can_be_spread_over_the_time_limit():
    env = environment(quiet(), n=64)
    env.reset(seed=0)
    assert (env.ticks == 0).all()
    env.reset(seed=0, options={"spread_episodes": True})
    assert env.ticks.min() >= 0 and env.ticks.max() < env.max_ticks
    assert len(set(env.ticks.tolist())) > 32


@pytest.fixture
def sick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands
    task = replace(quiet(randomization=helpers.EXTREMES), rewards=helpers.shipped().task.rewards)
    return environment(task), environment(task)


def test_a_diverged_simulation_is_reset_counted_and_named(sick, caplog):
    env, healthy = sick
    actions = random_actions(3, N, size=0.1)
    for e in sick:
        e.reset(seed=1)
        e.step(actions[0])
    env.engine.qvel[2, 3] = np.nan
    observation, reward, failed, truncated, info = env.step(actions[1])
    healthy.step(actions[1])
    assert failed.tolist() == [False, False, True, False] and not truncated.any()
    assert env.diverged == 1
    assert "simulations [2] diverged and were reset (1 so far)" in caplog.text
    assert reward[2] == env.rewards.termination
    for array in (
        observation,
        reward,
        info["observations"]["critic"],
        info["final_obs"],
        env.engine.qpos,
    ):
        assert np.isfinite(array).all()
    assert np.isfinite(info["final_observations"]["critic"]).all()
    assert all(np.isfinite(figure).all() for figure in info["episode_metrics"].values())
    (ended,) = np.flatnonzero(info["_episode_metrics"])
    figures = {name: rows[ended] for name, rows in info["episode_metrics"].items()}
    parts = [value for name, value in figures.items() if name.startswith("reward_")]
    assert figures["return"] == pytest.approx(sum(parts), rel=1e-6)  # sums in another order
    assert figures["reward_termination"] == env.rewards.termination
    assert env.ticks.tolist() == [2, 2, 0, 2]
    others = [0, 1, 3]
    for action in actions[2:]:
        env.step(action)
        healthy.step(action)
        assert np.array_equal(env.engine.qpos[others], healthy.engine.qpos[others])
        assert np.array_equal(env.engine.qvel[others], healthy.engine.qvel[others])
    assert env.diverged == 1 and healthy.diverged == 0


# -- the documented order -----------------------------------------------------------------------


def test_1_the_action_becomes_the_contracts_target(monkeypatch):
    env = environment(quiet())
    seen = []
    step = env.engine.step
    monkeypatch.setattr(env.engine, "step", lambda t: seen.append(t.copy()) or step(t))
    action = random_actions(1, N, size=3.0)[0]
    env.step(action)
    assert np.array_equal(seen[0], env.actions.target(action))


def test_3_a_push_that_is_due_comes_after_the_physics_and_is_seen_at_once():
    always = dict(interval=(DT, DT), speed=(0.5, 0.5))
    pushed = environment(quiet(pushes=always))
    free = environment(quiet())
    for env in (pushed, free):
        env.reset(seed=1)
    seen = [env.step(np.zeros((N, 12)))[4]["observations"]["critic"] for env in (pushed, free)]
    assert np.array_equal(pushed.engine.qpos, free.engine.qpos)
    change = pushed.engine.qvel - free.engine.qvel
    assert np.allclose(np.linalg.norm(change[:, :2], axis=1), 0.5)
    assert not change[:, 2:].any()
    velocity = [lookup(free, s, "base_lin_vel") for s in seen]
    assert np.allclose(np.linalg.norm(velocity[0] - velocity[1], axis=1), 0.5, atol=1e-5)


def plain_models(env):
    engine = env.engine
    return [(engine.batch.get_model(i), engine.batch.get_data(i)) for i in range(env.num_envs)]


def rotation(quat):
    """The matrix from body to world."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def test_4_without_noise_the_actor_sees_the_true_state_of_one_physics_step_ago():
    env = environment(quiet())
    env.reset(seed=1)
    action = random_actions(1, N)[0]
    old = plain_models(env)
    for i, (model, data) in enumerate(old):
        data.ctrl[:] = env.actions.target(action)[i]
        for _ in range(env.engine.substeps - 1):
            mujoco.mj_step(model, data)
    observation = env.step(action)[0]
    qpos, qvel = (np.stack([getattr(d, f) for _, d in old]) for f in ("qpos", "qvel"))
    scales = {spec.name: np.float32(spec.scale) for spec in env.layout.specs}
    default = env.actions.default_pose
    expected = qpos[:, 7:].astype(np.float32) - default
    assert np.array_equal(term(env, observation, "joint_pos_error"), expected)
    got = term(env, observation, "joint_vel") / scales["joint_vel"]
    assert np.allclose(got, qvel[:, 6:], rtol=1e-6, atol=1e-6)
    got = term(env, observation, "base_ang_vel") / scales["base_ang_vel"]
    assert np.allclose(got, qvel[:, 3:6], rtol=1e-5, atol=1e-6)
    down = np.stack([-rotation(quat)[2] for quat in qpos[:, 3:7]])
    assert np.allclose(term(env, observation, "projected_gravity"), down, atol=1e-6)
    assert np.array_equal(term(env, observation, "last_action"), action)
    # Negative control: the present state is another one.
    present = env.engine.qpos[:, 7:].astype(np.float32) - default
    assert not np.isclose(term(env, observation, "joint_pos_error"), present).all(axis=1).any()


def test_4_the_critic_sees_the_present_state_without_noise():
    env = environment(loud())
    env.reset(seed=1)
    info = env.step(random_actions(1, N)[0])[4]
    qpos = env.engine.qpos
    qvel = env.engine.qvel
    for name, true in (
        ("joint_pos_true", qpos[:, 7:]),
        ("joint_vel_true", qvel[:, 6:]),
        ("base_height", qpos[:, 2:3]),
        ("base_ang_vel_true", qvel[:, 3:6]),
    ):
        assert np.array_equal(
            lookup(env, info["observations"]["critic"], name), true.astype(np.float32)
        ), name


def test_noise_is_uniform_within_its_half_width():
    """The same state, seen with and without noise."""
    widths = {"joint_pos": 0.01, "joint_vel": 1.0, "base_ang_vel": 0.2}
    noisy = environment(quiet(noise=widths), n=64)
    clean = environment(quiet(), n=64)
    seen = [env.reset(seed=1)[0] for env in (noisy, clean)]
    names = {"joint_pos": "joint_pos_error", "joint_vel": "joint_vel"}
    names |= {"base_ang_vel": "base_ang_vel"}
    scales = {spec.name: spec.scale for spec in noisy.layout.specs}
    for signal, name in names.items():
        error = (term(noisy, seen[0], name) - term(clean, seen[1], name)) / scales[name]
        assert 0.9 * widths[signal] < np.abs(error).max() <= widths[signal] * (1 + 1e-4), signal
        assert abs(error.mean()) < 0.15 * widths[signal], signal


def test_6_reward_belongs_to_the_command_that_was_observed():
    reward_terms = only_reward(lin_vel_tracking={"sigma2": 0.5})
    redrawn = commands(resample=(DT, DT), standing_fraction=0.0)
    env = environment(quiet(rewards=reward_terms, commands=redrawn, terminations=ENDLESS))
    observation, _ = env.reset(seed=1)
    for action in random_actions(6, N, size=0.1):
        observed = term(env, observation, "command")
        observation, reward, _, _, info = env.step(action)
        velocity = lookup(env, info["observations"]["critic"], "base_lin_vel")[:, :2]

        def tracking(command, velocity=velocity):
            return np.exp(-((velocity - command[:, :2]) ** 2).sum(axis=1) / 0.5) * DT

        assert np.allclose(reward, tracking(observed), rtol=1e-5)
        # Negative control: the command has been redrawn since.
        assert not np.isclose(reward, tracking(term(env, observation, "command"))).any()


def test_6_reward_compares_this_action_with_the_one_before():
    env = environment(quiet(rewards=only_reward(action_rate={})))
    last = np.zeros((N, 12), np.float32)
    for action in random_actions(3, N, size=0.1):
        reward = env.step(action)[1]
        assert np.allclose(reward, ((action - last) ** 2).mean(axis=1) * DT, rtol=1e-5)
        last = action


def test_7_an_episodes_figures_are_the_sums_of_its_steps():
    env = environment(loud(episode_length=8 * DT, terminations=ENDLESS))
    env.reset(seed=1)
    total = np.zeros(N)
    for action in random_actions(8, N):
        _, reward, _, truncated, info = env.step(action)
        total += reward
    assert truncated.all()
    episode = info["episode_metrics"]
    assert np.allclose(episode["return"], total)
    terms = sum(episode[f"reward_{name}"] for name in env.rewards.names)
    assert np.allclose(terms, total, atol=1e-5)
    assert np.allclose(episode["length"], 8 * DT)
    drained = env.metrics.drain()
    assert np.array_equal(drained["return"], episode["return"])
    assert not len(env.metrics.drain()["return"])  # each episode is told once


def test_finished_episodes_that_nobody_asks_for_do_not_pile_up():
    env = environment(quiet(), n=1)
    for _ in range(5000):
        env.metrics.finish(np.array([0]), np.array([True]))
    assert len(env.metrics.drain()["return"]) < 2000


def test_8_commands_are_redrawn_when_due_and_not_before():
    env = environment(quiet(commands=commands(resample=(0.1, 0.3)), terminations=ENDLESS))
    observation, _ = env.reset(seed=1)
    kept = np.zeros(N, int)
    lengths = []
    for action in random_actions(60, N, size=0.0):
        before = term(env, observation, "command")
        observation = env.step(action)[0]
        changed = (term(env, observation, "command") != before).any(axis=1)
        kept += 1
        lengths += kept[changed].tolist()
        kept[changed] = 0
    assert min(lengths) >= round(0.1 / DT) and max(lengths) <= round(0.3 / DT)
    assert len(lengths) >= 60 * DT / 0.3 * N - N


def test_11_the_first_observation_is_of_the_new_episode():
    env = environment(quiet(episode_length=3 * DT))
    env.reset(seed=1)
    for action in random_actions(3, N):
        observation = env.step(action)[0]
    assert not term(env, observation, "last_action").any()
    assert np.array_equal(term(env, observation, "command"), env.commands.values)
    present = env.engine.qpos[:, 7:].astype(np.float32) - env.actions.default_pose
    assert np.array_equal(term(env, observation, "joint_pos_error"), present)
    assert np.allclose(present, 0, atol=1e-6)


def test_11_histories_of_a_new_episode_hold_nothing_of_the_old_one():
    changes = {"observation": HISTORIES, "episode_length": 20.0, "terminations": ENDLESS}
    env = environment(loud(randomization=PROMPT, **changes))
    env.reset(seed=1)
    env.ticks[:] = [0, env.max_ticks - 4, 0, 0]
    for action in random_actions(4, N):
        observation = env.step(action)[0]
    for name, length in (("base_ang_vel", 3), ("joint_pos_error", 2)):
        values = term(env, observation, name).reshape(N, length, -1)
        same = [(np.diff(row, axis=0) == 0).all() for row in values]
        assert same == [False, True, False, False], name


def test_joint_acceleration_is_the_change_of_velocity_over_the_step_also_after_a_reset():
    task = quiet(
        rewards=only_reward(joint_acc={}),
        episode_length=3 * DT,
        reset=dict(joint_pos=0.0, joint_vel=1.0, base_lin_vel=0.0, base_ang_vel=0.0),
    )
    env = environment(task)
    env.reset(seed=1)
    for action in random_actions(7, N):
        before = env.engine.qvel[:, 6:].astype(np.float32)
        _, reward, _, _, info = env.step(action)
        critic = info.get("final_observations", info["observations"])["critic"]
        change = lookup(env, critic, "joint_vel_true") - before
        assert np.allclose(reward, ((change / DT) ** 2).mean(axis=1) * DT, rtol=1e-4)


# -- starts and pushes --------------------------------------------------------------------------


def test_an_episode_starts_within_the_disturbance_that_the_task_allows():
    how = dict(joint_pos=0.1, joint_vel=0.2, base_lin_vel=0.3, base_ang_vel=0.4)
    env = environment(quiet(reset=how), n=64)
    env.reset(seed=1)
    home = env.engine.model.key("home").qpos
    qpos = env.engine.qpos
    qvel = env.engine.qvel
    for value, width in (
        (qpos[:, 7:] - home[7:], how["joint_pos"]),
        (qvel[:, 6:], how["joint_vel"]),
        (qvel[:, :3], how["base_lin_vel"]),
        (qvel[:, 3:6], how["base_ang_vel"]),
    ):
        assert 0.9 * width < np.abs(value).max() <= width + 1e-12
    heading = 2 * np.arctan2(qpos[:, 6], qpos[:, 3])
    assert heading.min() < -2 and heading.max() > 2  # in every direction
    assert np.allclose(qpos[:, 4:6], 0)  # upright
    assert (env.engine.foot_heights() > -0.05).all()


def test_gait_clocks_start_everywhere_in_the_cycle():
    env = environment(quiet(), n=256)
    env.reset(seed=1)
    phase = env.gait_clock.phase()
    assert phase.min() < 0.05 and phase.max() > 0.9
    before = phase.copy()
    env.step(np.zeros((256, 12)))
    turned = (env.gait_clock.phase() - before) % 1
    assert np.allclose(turned, DT * env.task.gait.frequency, atol=1e-6)


def test_pushes_come_within_the_interval_and_the_speed(monkeypatch):
    interval = (0.1, 0.3)
    speed = (0.2, 0.6)
    task = quiet(pushes=dict(interval=interval, speed=speed), terminations=ENDLESS)
    env = environment(task, n=16)
    env.reset(seed=1)
    pushes = []
    push = env.engine.push
    monkeypatch.setattr(
        env.engine, "push", lambda ids, v: pushes.append((ids, v.copy())) or push(ids, v)
    )
    since = np.zeros(16, int)
    gaps = []
    for _ in range(60):
        pushes.clear()
        env.step(np.zeros((16, 12)))
        since += 1
        for ids, _ in pushes:
            gaps += since[ids].tolist()
            since[ids] = 0
        for _, velocity in pushes:
            size = np.linalg.norm(velocity, axis=1)
            assert (size >= speed[0] - 1e-9).all() and (size <= speed[1] + 1e-9).all()
    assert len(gaps) > 16
    assert min(gaps) == round(interval[0] / DT) and max(gaps) == round(interval[1] / DT)


def test_the_draws_of_the_randomization_reach_the_critic():
    env = environment(quiet(randomization={"payload": (0.0, 2.0)}), n=8)
    _, info = env.reset(seed=1)
    draws = lookup(env, info["observations"]["critic"], "randomized")[:, 0]
    base = env.engine.model.body("base_link").id
    payload = env.engine._fields["body_mass"][:, base] - env.engine.model.body_mass[base]
    assert np.allclose(payload, 1.0 + draws, atol=1e-6)
    assert len(set(draws.tolist())) == 8


# -- wrong names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"noise": {"joint_poss": 0.1}},
            "`task.noise.joint_poss`: unknown signal 'joint_poss'; did you mean",
        ),
        (
            {"observations": {"actor": {"command": {}}, "teacher": {"base_hight": {}}}},
            "teacher.base_hight`: unknown term 'base_hight'; did you mean 'base_height'?",
        ),
        (
            {"randomization": {"frictoin": (0.5, 1.0)}},
            "`task.events.reset.frictoin`: unknown event 'frictoin'; did you mean 'friction'?",
        ),
        (
            {"rewards": {"slipp": {"weight": 1.0}}},
            "`task.rewards.slipp`: unknown reward 'slipp'; did you mean 'slip'?",
        ),
        (
            {"observation": {"comand": {}}},
            "`task.observations.actor.comand`: unknown term 'comand'; did you mean 'command'?",
        ),
    ],
)
def test_an_unknown_name_is_said_with_those_that_exist(change, text):
    with pytest.raises(InputError) as error:
        environment(quiet(**change))
    assert text in str(error.value)
    assert "Known: " in str(error.value)


def test_every_name_of_the_shipped_task_exists():
    env = environment(helpers.shipped().task)
    assert set(env.task.rewards) <= set(REWARDS.functions)
    observation = env.reset(seed=0)[0]
    assert observation.shape == (N, env.layout.size) and observation.dtype == np.float32
    assert np.isfinite(observation).all()
