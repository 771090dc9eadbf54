"""The race against other libraries: its arithmetic, its fairness, its words."""

import contextlib
import json
import time

import env_helpers as helpers
import pytest

from benchmarks.peers import command as peers
from benchmarks.peers import learners
from benchmarks.speed import gym_ratio
from robot_ppo import config

pytestmark = pytest.mark.real_time


def tiny(task="InvertedPendulum-v5"):
    return config.load(task, overrides=helpers.SMALL)


def peer(log, name, seconds):
    """A peer that notes its turns and claims to take `seconds`."""

    @contextlib.contextmanager
    def make():
        yield lambda: (log.append(name), seconds)[1]
        log.append(f"{name} closed")

    return make


def test_all_take_turns_and_who_is_hopeless_rests():
    log = []
    entrants = {"a": peer(log, "a", 2.0), "b": peer(log, "b", 1.0), "c": peer(log, "c", 2.1)}
    ours, theirs = peers.race(tiny(), entrants, turns=3)
    assert "".join(log[: -len(entrants)]) == "abc" + "ab" * (peers.WARM_UP + 2)
    assert log[-3:] == ["c closed", "b closed", "a closed"]
    batch = helpers.ROBOTS * helpers.ROLLOUT
    assert theirs == {"a": batch / 2.0, "b": batch / 1.0, "c": batch / 2.1}
    assert 10 < ours < 1e7


def test_our_time_is_without_the_peers(tmp_path):
    seconds = []

    def slow_peer(ours):
        seconds.append(ours)
        time.sleep(0.3)

    learners.ours(tiny(), tmp_path, 4, slow_peer)
    assert len(seconds) == 4
    assert min(seconds) < 0.3


def test_the_ratio_is_over_the_fastest_way_to_run_the_peer():
    result = peers._result("x", tiny(), 3000.0, {"slow": 500.0, "fast": 1500.0}, 1.5, 3)
    assert (result.ratio, result.fastest, result.theirs) == (2.0, "fast", 1500)
    assert "minibatch 32, 2 epochs, networks 16 tanh" in result.settings


def test_a_number_of_threads_that_slows_torch_down_is_not_raced(monkeypatch):
    import torch

    set_to = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)

    def slow_with_two(tensor):
        backward(tensor)
        time.sleep(0.02 if set_to[-1] == slow else 0.0)

    monkeypatch.setattr(torch.Tensor, "backward", slow_with_two)
    slow = 2
    assert learners.useful_threads(tiny(), repeats=5) == [1]
    slow = 1
    assert learners.useful_threads(tiny(), repeats=5) == [2]
    assert set_to[-1] == 1


def test_the_defaults_of_stable_baselines3_are_its_defaults():
    ppo = pytest.importorskip("stable_baselines3").PPO
    import inspect

    default = {k: p.default for k, p in inspect.signature(ppo).parameters.items()}
    settings = config.load("HalfCheetah-v5", overrides=peers.SB3_DEFAULTS)
    batch = settings.num_envs * settings.rollout
    ours = settings.ppo
    assert default["n_steps"] == batch
    assert default["batch_size"] == batch // ours.minibatches
    assert default["n_epochs"] == ours.epochs
    assert (default["gamma"], default["gae_lambda"]) == (ours.gamma, ours.gae_lambda)
    assert (default["clip_range"], default["ent_coef"]) == (ours.clip, ours.entropy)
    assert default["learning_rate"] == ours.learning_rate
    assert default["max_grad_norm"] == ours.max_grad_norm
    assert default["normalize_advantage"] and ours.normalize_advantages == "minibatch"
    assert settings.networks.actor == settings.networks.critic == (64, 64)


def test_the_figure_of_the_environments_is_that_of_the_speed_benchmark(
    monkeypatch, capsys, tmp_path
):
    speeds = {"ours": 30, "sync": 6, "async": 5}
    measured = {
        f"{task}_{way}_per_second": v for task in gym_ratio.TASKS for way, v in speeds.items()
    }
    measured |= {f"{task}_ratio": 5.0 for task in gym_ratio.TASKS} | {"simulations": 64}
    monkeypatch.setattr(gym_ratio, "bench_gym", lambda **_: measured)
    out = tmp_path / "peers.json"
    assert peers.main(["--only", "env_over_gymnasium", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())["figures"]
    assert set(figures) == {f"env_over_gymnasium_{task}" for task in gym_ratio.TASKS}
    for figure in figures.values():
        assert (figure["ours"], figure["theirs"], figure["fastest"]) == (30, 6, "sync")
    assert figures["env_over_gymnasium_Humanoid-v5"]["at_least"] == 3
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "env_over_gymnasium_Half" in
              line and "│" in line)  # fmt: skip
    assert "30/s" in row and "6/s" in row and "5.00" in row


@pytest.mark.parametrize("name, ways, batch, minibatches", [
    ("train_over_sb3_default", ["1 envs dummy", "8 envs dummy"], 2048, 32),
    ("train_over_sb3_recommended", ["envs dummy", "envs subproc"], None, None),
    ("train_over_rsl_rl", [" normalized", " not normalized"], 6144, 4),
])  # fmt: skip
def test_every_figure_races_every_way_with_its_batch(name, ways, batch, minibatches, monkeypatch):
    raced = []

    def race(settings, entrants, turns):
        raced.append((settings, entrants))
        return 400.0, {way: 100.0 for way in entrants}

    monkeypatch.setattr(peers, "race", race)
    monkeypatch.setattr(peers, "_require", lambda *_: None)
    monkeypatch.setattr(learners, "useful_threads", lambda settings: [1])  # measures for seconds
    (result,) = peers.FIGURES[name](True)
    ((settings, entrants),) = raced
    assert (result.name, result.ratio) == (name, 4.0)
    assert all(any(way in entrant for entrant in entrants) for way in ways)
    if batch is None:  # the preset, whatever it is tuned to
        assert settings == config.load("HalfCheetah-v5")
    else:
        assert settings.num_envs * settings.rollout == batch
        assert settings.ppo.minibatches == minibatches


def test_a_missing_peer_is_one_sentence_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert peers.main(["--only", "train_over_rsl_rl"]) == 2
    assert capsys.readouterr().err == (
        "benchmarks.peers: this figure needs rsl_rl: pip install 'robot-ppo[train,peers]'\n"
    )


def test_the_settings_of_rsl_rl_are_those_of_the_preset():
    settings = config.load("go2_walk")
    theirs = learners.rsl_rl_settings(settings, normalize=True)
    assert theirs["actor"]["hidden_dims"] == settings.networks.actor
    assert theirs["critic"]["hidden_dims"] == settings.networks.critic
    algorithm = theirs["algorithm"]
    assert algorithm["num_learning_epochs"] == settings.ppo.epochs
    assert algorithm["num_mini_batches"] == settings.ppo.minibatches
    assert algorithm["lam"] == settings.ppo.gae_lambda
    assert not algorithm["use_clipped_value_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dummy", "subproc"])
def test_stable_baselines3_trains_one_iteration_at_a_time(kind):
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("imageio")
    with learners.sb3(tiny(), 4, kind, threads=1) as iterate:
        assert all(0 < iterate() < 60 for _ in range(2))


@pytest.mark.slow
def test_rsl_rl_trains_one_iteration_at_a_time():
    pytest.importorskip("rsl_rl")
    settings = config.load("go2_walk", overrides=helpers.SMALL)
    with learners.rsl_rl(settings, "robot_ppo/Go2Walk-v0", 1, normalize=True) as iterate:
        assert all(0 < iterate() < 60 for _ in range(2))
