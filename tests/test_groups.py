"""Groups: simulations that are exact copies of one, and returns that are scored among them."""

import numpy as np
import pytest
import torch
from env_helpers import ENDLESS, PROMPT, commands, environment, loud, random_actions, tiny_config
from mujoco.batch import MODEL_FIELDS
from ppo_helpers import fingerprint, learner, rollout, weights
from test_gym_tasks import every_task
from test_gym_tasks import random_actions as gym_actions
from test_train import Quiet

from robot_ppo import config
from robot_ppo.envs import serialization
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo.evaluation import gym_evaluation
from robot_ppo.ppo import advantages
from robot_ppo.training.train import Trainer
from robot_ppo_export.errors import InputError

N = 6
STEPS = 50
SOURCE = np.array([0, 0, 3])
TARGET = np.array([1, 2, 5])
OTHERS = np.array([0, 3, 4])

# -- copies of a robot --------------------------------------------------------------------------


def task(**changes):
    """Every randomization, delays and histories; nothing that is drawn on the way."""
    seen = {"joint_vel": {"scale": 0.05, "history": 3}, "base_ang_vel": {}}
    seen |= {"command": {}, "last_action": {}, "gait_clock": {}}
    still = {"noise": {}, "pushes": None, "randomization": PROMPT}
    still |= {"terminations": ENDLESS, "observation": seen}
    return loud(**(still | {"commands": commands(resample=(5.0, 7.0))} | changes))


def walked(**changes):
    """Return an environment after some steps, no two simulations alike."""
    env = environment(task(**changes), N)
    for action in random_actions(25, N):
        env.step(action)
    return env


def alike(seed=1):
    """Actions (T, n, joints) that are equal where one simulation is a copy of another."""
    actions = random_actions(STEPS, N, seed=seed)
    actions[:, TARGET] = actions[:, SOURCE]
    return actions


def told(env, actions):
    """Return all that steps say of each simulation, (T, n, ...) each."""
    steps = [env.step(action) for action in actions]
    kinds = zip(*[(*step[:4], step[4]["observations"]["critic"]) for step in steps], strict=True)
    return [np.array(kind) for kind in kinds]


def equal_rows(arrays, a, b):
    return all(np.array_equal(x[:, a], x[:, b]) for x in arrays)


@pytest.mark.numeric
def test_copies_with_equal_actions_stay_equal_and_the_others_do_not_notice():
    env = walked()
    untouched = walked()
    env.copy_rows(SOURCE, TARGET)
    seen = told(env, alike())
    expected = told(untouched, alike())
    assert equal_rows(seen, SOURCE, TARGET)
    assert all(
        np.array_equal(x[:, OTHERS], y[:, OTHERS]) for x, y in zip(seen, expected, strict=True)
    )
    assert not equal_rows(expected, SOURCE, TARGET)  # negative control
    assert not equal_rows(seen, [0], [3])
    fields = env.engine.arrays()["fields"]
    assert (fields["actuator_delay"] > 0).any() and (fields["sensor_delay"] > 0).any()


def leaves(rows, path=()):
    for name, value in rows.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


def test_a_copy_has_every_row_of_its_source_and_nobody_else_changes():
    """Also what no step shows soon: clocks, timers of pushes, the constants MuJoCo derives."""
    env = walked(noise=loud().noise, pushes={"interval": [0.1, 0.3], "speed": [0.1, 0.7]})
    names = [name for name in MODEL_FIELDS if env.engine.batch.expanded(name) is not None]

    def everything():
        rows = serialization.copy(env._rows()) | serialization.copy(
            {"metrics": env.metrics.arrays()}
        )
        rows["model"] = {name: env.engine.batch.expanded(name).copy() for name in names}
        rows["metrics"]["sums"] = rows["metrics"]["sums"].T
        return dict(leaves(rows))

    before = everything()
    env.copy_rows(SOURCE, TARGET)
    after = everything()
    common = {"metrics.totals", "metrics.steps"}
    assert {
        "ticks",
        "clocks.push",
        "model.body_subtreemass",
        "metrics.counts",
    } < after.keys() - common
    for name in after.keys() - common:
        assert np.array_equal(after[name][TARGET], before[name][SOURCE]), name
        assert np.array_equal(after[name][OTHERS], before[name][OTHERS]), name
    for name in common:
        assert np.array_equal(after[name], before[name]), name
    derived = before["model.body_invweight0"]
    assert not np.array_equal(derived[SOURCE], derived[TARGET])


@pytest.mark.parametrize(
    "part",
    [
        *("action", "joint_vel", "gait_ticks", "randomized", "commands", "observer", "ticks"),
        *("engine.simulations", "engine.fields", "engine.measurement"),
    ],
)
def test_without_any_one_part_they_do_not_stay_equal(part, monkeypatch):
    env = walked(episode_length=1.0)
    env.ticks[:] = [3, 7, 11, 13, 17, 19]  # ends tell how old an episode is
    rows, (name, _, inner) = env._rows(), part.partition(".")
    del (rows[name] if inner else rows)[inner or name]
    monkeypatch.setattr(env, "_rows", lambda: rows)
    env.copy_rows(SOURCE, TARGET)
    assert not equal_rows(told(env, alike()), SOURCE, TARGET)


def test_without_the_derived_constants_they_do_not_stay_equal(monkeypatch):
    env = walked()
    monkeypatch.setattr(env.engine, "derive", lambda ids: None)
    env.copy_rows(SOURCE, TARGET)
    assert not equal_rows(told(env, alike()), SOURCE, TARGET)


# -- copies of Gymnasium's tasks ----------------------------------------------------------------


def last(step):
    """What each simulation saw before any reset, (n, size)."""
    observation = step[0]
    info = step[4]
    mask = info.get("_final_obs", np.zeros(N, bool))
    return np.where(mask[:, None], info.get("final_obs", 0.0), observation)


@every_task
def test_copies_of_a_native_task_stay_equal(task):
    def walked():
        env = MujocoVectorEnv(task, N, seed=1)
        env.ticks[:] = range(N)
        for action in 0.1 * gym_actions(env, 3):
            env.step(action)
        return env

    env = walked()
    untouched = walked()
    env.copy_rows(SOURCE, TARGET)
    actions = 0.3 * gym_actions(env, STEPS, seed=7)
    actions[:, TARGET] = actions[:, SOURCE]
    assert (env.ticks[TARGET] == env.ticks[SOURCE]).all()
    steps = 0
    for action in actions:
        steps += 1
        mine = env.step(action)
        other = untouched.step(action)
        ended = mine[2] | mine[3]
        seen = last(mine)
        assert np.array_equal(seen[SOURCE], seen[TARGET])
        assert all(np.array_equal(x[SOURCE], x[TARGET]) for x in mine[1:4])
        assert not np.array_equal(other[0][SOURCE], other[0][TARGET])
        theirs = last(other)
        assert np.array_equal(seen[OTHERS], theirs[OTHERS])
        if ended.any() or (other[2] | other[3]).any():  # a new start is drawn for each
            break
    assert steps > 4


def test_other_environments_cannot_be_copied():
    with pytest.raises(InputError, match="cannot be copied"):
        ForeignVectorEnv("Pendulum-v1", 4).copy_rows(np.array([0]), np.array([1]))


def test_a_copys_episode_has_the_past_of_its_source():
    env = MujocoVectorEnv("InvertedPendulum-v5", N, seed=1)
    for _ in range(3):
        env.step(np.zeros((N, 1)))
    env.metrics.sums[0, 0] = 100.0
    env.copy_rows(SOURCE, TARGET)
    assert env.metrics.sums[0].tolist() == [100.0, 100.0, 100.0, 3.0, 3.0, 3.0]
    assert env.metrics.counts.tolist() == [3] * N


# -- scores -------------------------------------------------------------------------------------

GAMMA = 0.9


def since_start(rewards, terminated=(), truncated=()):
    """Of one simulation; ends at the steps that are given."""
    ends = [torch.zeros(len(rewards), 1, dtype=torch.bool) for _ in range(2)]
    for end, steps in zip(ends, (terminated, truncated), strict=True):
        end[list(steps)] = True
    rewards = torch.tensor(rewards, dtype=torch.float64)[:, None]
    sums, running = advantages.returns_since_start(rewards, *ends, GAMMA)
    return sums[:, 0].tolist(), running[:, 0].tolist()


def test_a_return_ends_with_the_rollout():
    # 3    2 + 0.9 * 3 = 4.7    1 + 0.9 * 4.7 = 5.23: nothing stands for what comes after.
    sums, running = since_start([1, 2, 3])
    assert sums == pytest.approx([5.23, 4.7, 3]) and all(running)


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_a_return_ends_with_its_episode_and_the_next_one_is_not_scored(kind):
    # 2    1 + 0.9 * 2; the reward of the end itself counts, that of another start does not.
    sums, running = since_start([1, 2, 3, 4], **{kind: [1]})
    assert sums == pytest.approx([2.8, 2, 0, 0])
    assert running == [True, True, False, False]
    assert since_start([1, 2, 3, 4], **{kind: [1, 3]}) == (sums, running)
    assert since_start([1, 2, 300, 400], **{kind: [1]}) == (sums, running)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_equal_returns_are_scored_zero_whatever_their_mean_rounds_to(size):
    """Negative control: in single precision the mean of equal numbers is another number."""
    found = []
    for value in torch.rand(200, generator=torch.Generator().manual_seed(0)):
        equal = (1000 * value).expand(size)
        found.append(float((equal - equal.mean()).abs().max()))
        assert advantages.group_relative(equal, size).abs().max() < 1e-4
    assert max(found) > 1e-5


# -- learning -----------------------------------------------------------------------------------

GROUPED = {"estimator": "group_relative", "group_size": 4}


def test_the_critic_is_left_alone_and_not_spoken_of():
    one = learner(**GROUPED)
    with_critic = learner()
    before = weights(one)
    figures, others = (of.update(rollout(of)) for of in (one, with_critic))
    actors = len(list(one.actor.parameters()))
    changed = [not torch.equal(a, b) for a, b in zip(before, weights(one), strict=True)]
    assert any(changed[:actors]) and not any(changed[actors:])
    critics = {"critic_learning_rate", "critic_grad_norm", "value_loss", "explained_variance"}
    assert others.keys() - figures.keys() == critics and figures.keys() < others.keys()


def updated(change=lambda experience: None, **ppo):
    """A hash of the weights after one update on random experience."""
    one = learner(**(GROUPED | ppo))
    experience = rollout(one)
    change(experience)
    one.update(experience)
    return fingerprint(one)


def test_there_is_nothing_to_recompute_without_a_critic():
    again = {"recompute_advantages": True}
    assert updated(**again) == updated()
    assert updated(**again, estimator="gae") != updated(estimator="gae")


def test_what_comes_after_an_end_teaches_nothing():
    """Actions and rewards of the episodes that follow; those of the first ones do teach."""
    experience = rollout(learner())
    _, running = advantages.returns_since_start(
        experience.rewards, experience.terminated, experience.truncated, GAMMA
    )
    assert 0 < running.sum() < running.numel()

    def other(where):
        def change(experience):
            experience.rewards[where] += torch.arange(float(where.sum()))
            experience.actions[where] += 0.1

        return change

    assert updated(other(~running)) == updated() != updated(other(running))


def contexts(updates, together, **ppo):
    """A bandit whose states are worth far more or less than any action; returns the errors.

    together: the members of a group see one state, as copies do.
    """
    one = learner(**(GROUPED | {"group_size": 8, "epochs": 5, "minibatches": 2} | ppo))
    errors = []
    for i in range(updates):
        experience = rollout(one, seed=i, steps=1, n=256, end=0.0)
        if together:
            first = torch.arange(256) // 8 * 8
            experience.observations[:] = experience.observations[:, first]
            noise = experience.actions - experience.means
            experience.means[:] = experience.means[:, first]
            experience.actions[:] = experience.means + noise
        wanted = 0.8 * experience.observations[..., :3].sin()
        worth = 30 * experience.observations[..., 3]
        experience.rewards[:] = worth - (experience.actions - wanted).square().sum(-1)
        errors.append((experience.means - wanted).square().mean().sqrt().item())
        one.update(experience)
    return errors


def test_what_the_start_is_worth_is_no_noise_in_groups_of_copies():
    """Negative control: among independent starts it is most of the score."""
    copies = contexts(60, together=True)
    strangers = contexts(60, together=False)
    assert copies[0] > 0.4 and copies[-1] < 0.25
    assert strangers[-1] > 0.4


# -- training -----------------------------------------------------------------------------------


def groups(*more):
    return ("ppo.estimator=group_relative", "ppo.group_size=4", *more)


def test_every_rollout_starts_in_groups_that_only_their_actions_drive_apart(tmp_path):
    """The first of a group goes on from where it was, whatever became of the others."""
    still = ("task.noise={}", "task.events.interval={}", "task.commands.twist.resample=[5, 7]")
    seen = []
    last = []

    def look(trainer):
        of = trainer.rollout.observations.unflatten(1, (-1, 4))
        seen.append((of == of[:, :, :1]).all(dim=(1, 2, 3)).tolist())
        if last:
            assert np.array_equal(trainer.rollout.observations[0, ::4], last[-1])
        last.append(trainer.observations["actor"][::4].copy())

    trainer = Trainer(tiny_config(*groups(*still), steps=4 * 64, threads=1), tmp_path)
    trainer.run(Quiet(look))
    assert seen == [[True] + 7 * [False]] * 4


def test_without_groups_no_simulation_is_copied(tmp_path, monkeypatch):
    """Negative control."""
    trainer = Trainer(tiny_config(steps=64, threads=1), tmp_path)
    monkeypatch.setattr(trainer.env, "copy_rows", None)
    trainer.run(Quiet())


QUICK = (
    *("num_envs=128", "rollout=32", "steps=60000", "networks.actor=[32]", "networks.critic=[32]"),
    *("ppo.learning_rate=3e-3", "ppo.learning_rate_schedule=kl", "ppo.kl_target=0.02"),
    *("ppo.minibatches=4", "ppo.epochs=10", "threads=1"),
)


def test_without_a_critic_a_pole_is_learned_to_stand(tmp_path):
    """Mean steps until it falls, of 20 episodes without exploration; 1000 is all there are."""
    overrides = ("ppo.estimator=group_relative", *QUICK)
    settings = config.load("InvertedPendulum-v5", overrides=overrides)
    trainer = Trainer(settings, tmp_path)

    def score():
        return gym_evaluation.evaluate(
            settings, trainer.learner.actor.eval(), episodes=20, seed=5
        ).mean

    before = score()
    trainer.run(Quiet())
    assert before < 40 and score() > 5 * before
