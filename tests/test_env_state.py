"""An environment goes on from its state bit for bit, and needs every entry of it."""

import functools
import itertools

import env_helpers as helpers
import numpy as np
import pytest
import torch
from env_helpers import environment, loud, random_actions
from mujoco.batch import MODEL_FIELDS

from robot_ppo.envs import serialization
from robot_ppo_export.errors import InputError

N = 10
BEFORE = 25
AFTER = 45


def task(**changes):
    """Everything that can be random is, episodes end often, and observations remember."""
    seen = helpers.shipped().task.observations["actor"]
    seen = seen | {"joint_vel": {"scale": 0.05, "history": 3}}
    rewards = helpers.shipped().task.rewards | {"feet_air_time": {"weight": 1.0, "threshold": 0.1}}
    default = {"episode_length": 0.4, "observation": seen, "rewards": rewards}
    return loud(**(default | changes))


def stepped(env, actions):
    """All that the steps return and all that the log would hear, array by array."""
    for action in actions:
        observation, reward, failed, truncated, info = env.step(action)
        yield from (observation, reward, failed, truncated, info["observations"]["critic"])
        if "_final_obs" in info:
            yield from (info["_final_obs"], *info["final_observations"].values())
        figures = info.get("episode_metrics", {})
        yield from (figures[name] for name in sorted(figures))
    drained = env.metrics.drain()
    yield np.array(list(env.metrics.behaviour().values()))
    yield from (drained[name] for name in sorted(drained))
    yield np.array(env.diverged)


def same(a, b):
    """Whether two tellings are one; nothing is stepped past the first difference."""
    return all(np.array_equal(x, y) for x, y in itertools.zip_longest(a, b))


def leaves(state, path=()):
    for name, value in state.items():
        if isinstance(value, dict) and name != "rng":
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


@functools.cache
def middle():
    """The state after some steps, and what the next ones return."""
    env = environment(task(), N, threads=2)
    for action in random_actions(BEFORE, N):
        env.step(action)
    env.metrics.drain()
    env.diverged = 3
    state = env.state_dict()
    return state, list(stepped(env, random_actions(AFTER, N, seed=1)))


@functools.cache
def other():
    return environment(task(), N, seed=99).state_dict()


def continued(state, threads=1):
    env = environment(task(), N, threads, seed=99)
    env.load_state_dict(state)
    return stepped(env, random_actions(AFTER, N, seed=1))


@pytest.mark.numeric
@pytest.mark.parametrize("threads", [1, 2])
def test_an_environment_goes_on_bit_for_bit_through_resets_pushes_and_commands(threads):
    state, expected = middle()
    assert same(continued(state, threads), expected)


def test_what_went_on_had_resets_pushes_commands_and_delays_in_it():
    env = environment(task(), N)
    env.load_state_dict(middle()[0])
    pushed = env.engine.push
    pushes = []
    commanded = env.commands.values.copy()
    ended = 0
    env.engine.push = lambda ids, v: (pushes.append(len(ids)), pushed(ids, v))
    for action in random_actions(AFTER, N, seed=1):
        ended += "episode_metrics" in env.step(action)[4]
    assert ended > 1 and len(pushes) > 2
    changed = (env.commands.values != commanded).any(axis=1)  # but who is told to stand twice
    assert changed.mean() > 0.5
    fields = env.engine.arrays()["fields"]
    assert (fields["actuator_delay"] > 0).any() and (fields["sensor_delay"] > 0).any()


def test_a_state_is_a_copy_and_can_be_gone_on_from_twice():
    state, expected = middle()
    before = serialization.copy(state)
    assert same(continued(state), expected) and same(continued(state), expected)
    for path in leaves(state):
        assert np.array_equal(entry(before, path), entry(state, path))


def entry(state, path):
    return functools.reduce(lambda part, name: part[name], path, state)


SIMULATION = ("time", "qpos", "qvel", "qacc_warmstart", "history")
ENTRIES = [p for p in leaves(environment(task(), 1).state_dict()) if p[-1] != "fresh"]
"""`fresh` is False everywhere after a step: see the observer's own test."""


@pytest.mark.parametrize("path", ENTRIES, ids=".".join)
def test_without_any_one_entry_it_would_not(path):
    state, expected = middle()
    mixed = serialization.copy(state)
    entry(mixed, path[:-1])[path[-1]] = entry(other(), path)
    assert not same(continued(mixed), expected)


@pytest.mark.parametrize("part", SIMULATION)
def test_without_any_one_part_of_the_simulations_it_would_not(part):
    """Before a reset, in float64: the warm start decides the last bits only."""
    envs = [environment(task(), N, seed=99) for _ in range(2)]
    kept = envs[0].engine.batch.bind(part).copy()
    for env in envs:
        env.load_state_dict(middle()[0])
    envs[0].engine.batch.bind(part)[...] = kept
    velocities = [[], []]
    for action in random_actions(10, N, seed=1):
        for env, seen in zip(envs, velocities, strict=True):
            env.step(action)
            seen.append(env.engine.qvel.copy())
    assert not same(*velocities)


def test_every_model_field_comes_back_also_those_that_mujoco_derives():
    one = environment(task(), N, seed=1)
    two = environment(task(), N, seed=2)
    names = [name for name in MODEL_FIELDS if one.engine.batch.expanded(name) is not None]
    derived = set(names) - set(one.engine.arrays()["fields"])
    assert {"body_subtreemass", "dof_invweight0", "body_invweight0"} <= derived
    fields = {name: one.engine.batch.expanded(name) for name in names}
    assert not all(np.array_equal(fields[n], two.engine.batch.expanded(n)) for n in derived)
    two.load_state_dict(one.state_dict())
    for name, values in fields.items():
        assert np.array_equal(values, two.engine.batch.expanded(name)), name
    assert np.array_equal(one.engine.batch.state, two.engine.batch.state)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("ticks"), r"state\.ticks is missing"),
        (lambda s: s.update(tocks=1), r"state\.tocks is unknown"),
        (
            lambda s: s.update(ticks=s["ticks"][:2]),
            r"state\.ticks is int64 \(2,\), not int64 \(10,\)",
        ),
        (lambda s: s.update(diverged="no"), r"state\.diverged is str, not int"),
        (lambda s: s["engine"].update(fields={}), r"state\.engine\.fields\.\w+ is missing"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, complaint):
    env = environment(task(), N, seed=5)
    before = env.state_dict()
    state = serialization.copy(middle()[0])
    change(state)
    with pytest.raises(InputError, match=complaint):
        env.load_state_dict(state)
    after = env.state_dict()
    for path in leaves(before):
        assert np.array_equal(entry(before, path), entry(after, path)), path


def test_tensors_are_saved_as_arrays_and_come_back():
    live = {"a": torch.arange(6.0).reshape(3, 2), "b": {"c": torch.tensor([True, False, True])}}
    state = serialization.copy(live)
    assert isinstance(state["a"], np.ndarray) and state["b"]["c"].dtype == bool
    live["a"] += 1
    live["b"]["c"][:] = False
    assert state["a"][0].tolist() == [0, 1] and state["b"]["c"].any()
    serialization.fill(live, state)
    assert live["a"].tolist() == state["a"].tolist()
    assert live["b"]["c"].tolist() == [True, False, True]
    serialization.copy_rows(live, np.array([0]), np.array([2]))
    assert live["a"].tolist() == [[0, 1], [2, 3], [0, 1]]


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.float32), np.zeros((3, 2)), 0.0])
def test_what_does_not_fit_a_tensor_is_refused(wrong):
    live = {"a": torch.ones(3, 2)}
    with pytest.raises(InputError, match=r"state\.a is"):
        serialization.fill(live, {"a": wrong})
    assert live["a"].all()
