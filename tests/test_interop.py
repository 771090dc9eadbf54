"""Other libraries train on our environments, and what they get is what the environment gave."""

import gymnasium
import numpy as np
import pytest
from fork_server import workstation
from gymnasium.vector import AutoresetMode
from node_helpers import ROOT
from test_docs import blocks

from robot_ppo_export.errors import InputError

GO2, CHEETAH, PENDULUM = (
    f"robot_ppo/{name}" for name in ("Go2Walk-v0", "HalfCheetah-v5", "InvertedPendulum-v5")
)
ENDING = [GO2, PENDULUM]
"""Tasks in which clumsy actions end episodes soon."""
PAGE = ROOT / "docs" / "interop.md"


def make(env_id, n=6, seed=3):
    return gymnasium.make_vec(env_id, num_envs=n, threads=1, seed=seed)


def clumsy(envs, steps):
    """Actions that make robots fall, (steps, n, k)."""
    shape = (steps, envs.num_envs, envs.single_action_space.shape[0])
    return np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)


def almost_over(envs, rows):
    """Let time end the episodes of `rows` at the next step."""
    limit = getattr(envs, "max_ticks", None) or envs.task.max_steps
    envs.ticks[rows] = limit - 1


# -- Stable-Baselines3 --------------------------------------------------------------------------


@pytest.fixture
def sb3():
    pytest.importorskip("stable_baselines3")
    from robot_ppo.interop import sb3

    return sb3


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [GO2, CHEETAH, PENDULUM])
def test_sb3_gets_the_environments_own_numbers(sb3, env_id):
    plain = make(env_id)
    adapted = sb3.Sb3VecEnv(make(env_id))
    assert np.array_equal(plain.reset(seed=5)[0], (adapted.seed(5), adapted.reset())[1])
    for action in clumsy(plain, 60):
        observation, reward, failed, cut, info = plain.step(action)
        theirs = adapted.step(action)
        assert np.array_equal(observation, theirs[0])
        assert np.array_equal(reward, theirs[1])
        assert np.array_equal(failed | cut, theirs[2])
        for i, told in enumerate(theirs[3]):
            assert bool(told) == bool(failed[i] | cut[i])
            if told:
                assert np.array_equal(told["terminal_observation"], info["final_obs"][i])
                assert not np.array_equal(told["terminal_observation"], theirs[0][i])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENDING)
def test_sb3_hears_of_time_limits_and_of_failures_which_is_which(sb3, env_id):
    envs = sb3.Sb3VecEnv(make(env_id))
    envs.reset()
    kinds = set()
    for action in clumsy(envs.envs, 60):
        almost_over(envs.envs, [0])
        _, _, done, infos = envs.step(action)
        for i in np.flatnonzero(done):
            kinds.add((i == 0, infos[i]["TimeLimit.truncated"]))
    assert {(True, True), (False, False)} <= kinds
    assert (False, True) not in kinds


def collected(adapter):
    """Collect one step in which time ends the episode of simulation 1.

    Returns the environment's rewards, those in the buffer of Stable-Baselines3 (n,), and the
    discounted values of the true last observation and of the one after the reset.
    """
    import torch
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", adapter, n_steps=1, batch_size=3, n_epochs=1, seed=1, device="cpu")
    _, callback = model._setup_learn(3)
    envs = adapter.envs
    steps = []
    almost_over(envs, [1])
    step = envs.step

    def noted(action):
        done = step(action)
        steps.append((done[1].astype(np.float32), done[0][1:2], done[4]["final_obs"][1:2]))
        return done

    envs.step = noted
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 1)
    ((given, after, last),) = steps
    with torch.no_grad():
        values = [float(model.policy.predict_values(torch.from_numpy(x))) for x in (last, after)]
    return given, model.rollout_buffer.rewards[0], [model.gamma * value for value in values]


@pytest.mark.slow
def test_sb3_values_the_true_last_observation_of_an_episode_that_time_ended(sb3):
    given, buffered, (value, other) = collected(sb3.Sb3VecEnv(make(CHEETAH, 3)))
    assert np.allclose(buffered - given, [0, value, 0], atol=1e-5)
    assert abs(value - other) > 1e-3


@pytest.mark.slow
def test_sb3_would_value_nothing_without_the_flag_and_the_wrong_thing_without_the_array(sb3):
    """Negative control."""

    class Deaf(sb3.Sb3VecEnv):
        def step_wait(self):
            *rest, infos = super().step_wait()
            return (*rest, [{**told, "TimeLimit.truncated": False} for told in infos])

    class Blind(sb3.Sb3VecEnv):
        def step_wait(self):
            observation, *rest, infos = super().step_wait()
            infos[1]["terminal_observation"] = observation[1]
            return (observation, *rest, infos)

    given, buffered, _ = collected(Deaf(make(CHEETAH, 3)))
    assert np.array_equal(buffered, given)
    given, buffered, (value, other) = collected(Blind(make(CHEETAH, 3)))
    assert buffered[1] - given[1] == pytest.approx(other, abs=1e-5)
    assert buffered[1] - given[1] != pytest.approx(value, abs=1e-4)


@pytest.mark.slow
def test_sb3_seeds_and_options_count_once(sb3):
    envs = sb3.Sb3VecEnv(make(GO2))
    envs.seed(7)
    first = envs.reset()
    again = envs.reset()
    envs.seed(7)
    assert np.array_equal(envs.reset(), first)
    assert not np.array_equal(again, first)
    envs.set_options({"spread_episodes": True})
    envs.reset()
    assert len(set(envs.envs.ticks)) > 1
    envs.reset()
    assert set(envs.envs.ticks) == {0}


@pytest.mark.slow
def test_sb3_refuses_what_resets_in_the_next_step(sb3):
    late = gymnasium.make_vec("Pendulum-v1", num_envs=2)
    with pytest.raises(InputError, match=r"AutoresetMode\.SAME_STEP"):
        sb3.Sb3VecEnv(late)


@pytest.mark.slow
def test_sb3_takes_gymnasiums_own_vector_environments(sb3):
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    make = gymnasium.make_vec
    envs = sb3.Sb3VecEnv(make("Pendulum-v1", num_envs=2, vector_kwargs=same))
    envs.seed(1)
    envs.reset()
    for _ in range(200):
        observation, _, done, infos = envs.step(np.zeros((2, 1), np.float32))
    assert done.all() and all(told["TimeLimit.truncated"] for told in infos)
    plain = gymnasium.make("Pendulum-v1")
    plain.reset(seed=1)
    for _ in range(200):
        last = plain.step(np.zeros(1, np.float32))[0]
    assert np.array_equal(infos[0]["terminal_observation"], last)
    assert not np.array_equal(observation[0], last)


@pytest.mark.slow
def test_sb3_simulations_have_attributes_in_common_and_none_of_their_own(sb3):
    envs = sb3.Sb3VecEnv(make(GO2, 2))
    assert envs.get_attr("num_envs") == [2, 2]
    assert envs.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    with pytest.raises(InputError, match=r"on `\.envs`"):
        envs.set_attr("ticks", 0, indices=[1])
    with pytest.raises(InputError, match=r"on `\.envs`"):
        envs.env_method("reset")


# -- rsl_rl -------------------------------------------------------------------------------------


@pytest.fixture
def rsl_rl():
    pytest.importorskip("rsl_rl")
    from robot_ppo.interop import rsl_rl

    return rsl_rl


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [GO2, CHEETAH, PENDULUM])
def test_rsl_rl_gets_the_environments_own_numbers(rsl_rl, env_id):
    import torch

    plain = make(env_id)
    adapted = rsl_rl.RslRlVecEnv(make(env_id))
    observation, info = plain.reset()

    def equal(groups):
        assert set(groups.keys()) == set(info["observations"])
        assert info["observations"]["actor"] is observation
        for name, wanted in info["observations"].items():
            assert np.array_equal(groups[name].numpy(), wanted.astype(np.float32))

    equal(adapted.get_observations())
    for action in clumsy(plain, 60):
        observation, reward, failed, cut, info = plain.step(action)
        groups, their_reward, done, extras = adapted.step(torch.from_numpy(action))
        equal(groups)
        equal(adapted.get_observations())
        assert np.array_equal(their_reward.numpy(), reward.astype(np.float32))
        assert np.array_equal(done.numpy(), failed | cut)
        assert np.array_equal(extras["time_outs"].numpy(), cut)
        assert ("log" in extras) == (failed | cut).any()
        if "log" in extras:
            returns = info["episode_metrics"]["return"][failed | cut]
            assert extras["log"]["Episode/return"] == returns.mean()


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENDING)
def test_rsl_rl_hears_of_time_limits_and_of_failures_which_is_which(rsl_rl, env_id):
    import torch

    envs = rsl_rl.RslRlVecEnv(make(env_id))
    timed = np.zeros(6, bool)
    failed = np.zeros(6, bool)
    for action in torch.from_numpy(clumsy(envs.envs, 60)):
        ages = envs.episode_length_buf.clone()
        ages[0] = envs.max_episode_length - 1
        envs.episode_length_buf = ages
        _, _, done, extras = envs.step(action)
        timed |= extras["time_outs"].numpy()
        failed |= (done & ~extras["time_outs"]).numpy()
    assert timed.tolist() == [True, False, False, False, False, False]
    assert failed[1:].any()


@pytest.mark.slow
def test_rsl_rl_sees_and_sets_the_age_of_episodes(rsl_rl):
    import torch

    envs = rsl_rl.RslRlVecEnv(make(CHEETAH, 2))
    assert envs.max_episode_length == 1000 and envs.num_actions == 6
    envs.episode_length_buf = torch.tensor([10, 20])
    envs.step(torch.zeros(2, 6))
    assert envs.episode_length_buf.tolist() == [11, 21] == envs.envs.ticks.tolist()


@pytest.mark.slow
def test_rsl_rl_refuses_an_environment_of_others(rsl_rl):
    with pytest.raises(InputError, match="not SyncVectorEnv"):
        rsl_rl.RslRlVecEnv(gymnasium.make_vec("Pendulum-v1", num_envs=2))


# -- both ---------------------------------------------------------------------------------------

SHORT = {
    "num_envs=256": "num_envs=16",
    "num_envs=1024": "num_envs=16",
    "batch_size=1536": "batch_size=96",
    "2_000_000": "768",
    "learn(100": "learn(2",
}
"""What becomes less when the page's programs run here."""


@pytest.mark.slow
@pytest.mark.parametrize("library, made", [
    ("stable_baselines3", "go2.zip"), ("rsl_rl", "runs/rsl_rl/model_1.pt"),
])  # fmt: skip
def test_the_programs_of_the_page_train(library, made, tmp_path, monkeypatch, capsys):
    pytest.importorskip(library)
    (code,) = (text for text in blocks(PAGE, "python") if f"from {library}" in text)
    for long, short in SHORT.items():
        code = code.replace(long, short)
    assert "num_envs=16" in code and ("768" in code or "learn(2" in code)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / made).stat().st_size > 10_000


@pytest.mark.parametrize("library, module, package", [
    ("stable_baselines3", "sb3", "stable-baselines3"), ("rsl_rl", "rsl_rl", "rsl-rl-lib"),
])  # fmt: skip
def test_a_missing_library_is_named_with_what_to_install(library, module, package):
    hidden = f"import sys; sys.modules[{library!r}] = None; import robot_ppo.interop.{module}"
    said = workstation.run("-c", hidden).stderr.strip().splitlines()[-1]
    assert said.endswith(f"needs {package}: pip install 'robot-ppo[peers]'")


def test_the_programs_of_the_page_are_ten_lines():
    """Imports aside; runs where neither library is installed."""
    programs = blocks(PAGE, "python")
    assert len(programs) == 2
    for code in programs:
        lines = [line for line in code.splitlines() if line and "import" not in line]
        assert len(lines) <= 10
