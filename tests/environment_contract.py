"""What every environment of ours promises: `robot_ppo.envs.environment.Environment`, as tests.

    class TestMine(EnvironmentContract):
        def make(self, n, seed, threads=1):
            return MyVectorEnv(n, seed)

        def near_the_end(self, env):      # the next episode ends in the second to fourth step
            env.ticks[:] = LIMIT - 3 - np.arange(env.num_envs)

An environment that cannot be saved sets `saves = False`; then asking for it is an `InputError`.
Laws that only hold for what runs on the native engine are in `NativeContract`.
"""

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from robot_ppo.envs import serialization
from robot_ppo_export.errors import InputError

N = 3
STEPS = 6


class EnvironmentContract:
    """The laws. Environments are made once and start every law with a `reset(seed=...)`."""

    saves = True

    def make(self, n, seed, threads=1):
        raise NotImplementedError

    def near_the_end(self, env):
        raise NotImplementedError

    # -- the tools of the laws ----------------------------------------------------------------

    @functools.cached_property
    def _twins(self):
        return self.make(N, seed=1), self.make(N, seed=2)

    def started(self, seed=3):
        """Two environments that start alike, at the same seed."""
        one, other = _cached(type(self))._twins
        for env in (one, other):
            env.reset(seed=seed)
            env.metrics.drain()
        return one, other

    def actions(self, env, steps=STEPS, seed=0, size=0.3):
        """Random actions well inside the space, (steps, n, k)."""
        space = env.single_action_space
        drawn = np.random.default_rng(seed).uniform(-1, 1, (steps, env.num_envs, *space.shape))
        return (size * drawn * np.minimum(space.high, 1.0)).astype(np.float32)

    def end(self, env, steps=4):
        """The steps until the first episodes end, each with the observation before it."""
        before = env.reset(seed=3)[0].copy()
        self.near_the_end(env)
        for action in self.actions(env, steps):
            step = env.step(action)
            yield before, step
            if (step[2] | step[3]).any():
                return
            before = step[0].copy()
        raise AssertionError(f"no episode ended in {steps} steps: near_the_end is not near")

    def ended(self, env):
        """The observation before the step in which episodes end first, and that step."""
        return list(self.end(env))[-1]

    # -- spaces ---------------------------------------------------------------------------------

    def test_spaces_are_boxes_of_the_size_of_the_actors_group(self):
        env, _ = self.started()
        space = env.single_observation_space
        actions = env.single_action_space
        assert isinstance(space, Box) and isinstance(actions, Box)
        assert space.shape == (env.observation_groups["actor"],)
        assert len(actions.shape) == 1 and actions.dtype == np.float32
        assert (actions.low < actions.high).all()
        assert env.num_envs == N and env.diverged == 0

    def test_a_start_is_of_the_spaces_and_in_all_groups(self):
        env, _ = self.started()
        observation, info = env.reset(seed=5)
        self._is_of(env, observation, info["observations"])

    def test_a_step_is_of_the_spaces_and_in_all_groups(self):
        env, _ = self.started()
        for action in self.actions(env):
            observation, reward, failed, cut, info = env.step(action)
            self._is_of(env, observation, info["observations"])
            assert reward.shape == failed.shape == cut.shape == (N,)
            assert np.issubdtype(reward.dtype, np.floating) and np.isfinite(reward).all()
            assert failed.dtype == cut.dtype == bool
            assert not (failed & cut).any(), "time that is cut off is no failure"

    def _is_of(self, env, observation, groups):
        space = env.single_observation_space
        assert observation.dtype == space.dtype and observation.shape == (N, *space.shape)
        assert all(space.contains(row) for row in observation)
        assert {name: rows.shape for name, rows in groups.items()} == {
            name: (N, size) for name, size in env.observation_groups.items()
        }
        assert np.array_equal(groups["actor"], observation)
        assert all(np.isfinite(rows).all() for rows in groups.values())

    def test_what_was_returned_is_the_callers(self):
        env, _ = self.started()
        kept = []
        for action in self.actions(env):
            observation, reward, failed, cut, info = env.step(action)
            arrays = (observation, reward, failed, cut, *info["observations"].values())
            kept.append([(array, array.copy()) for array in arrays])
        env.reset(seed=4)
        for array, copy in (pair for step in kept for pair in step):
            assert np.array_equal(array, copy)

    def test_actions_outside_the_space_are_clipped_to_it(self):
        one, other = self.started()
        space = one.single_action_space
        bounded = np.isfinite(space.high) & np.isfinite(space.low)
        far = np.where(bounded, space.high, 0.0).astype(np.float32)
        farther = np.where(bounded, 2 * space.high + 1, 0.0).astype(np.float32)
        for _ in range(3):
            mine = one.step(np.tile(far, (N, 1)))
            theirs = other.step(np.tile(farther, (N, 1)))
            assert np.array_equal(mine[2], theirs[2])
        self._moved_alike(one, other, mine, theirs)

    def _moved_alike(self, one, other, mine, theirs):
        """Whether two environments did the same."""
        assert np.array_equal(mine[0], theirs[0])
        assert np.array_equal(mine[1], theirs[1])

    # -- ends -----------------------------------------------------------------------------------

    def test_an_episode_starts_anew_in_the_step_in_which_it_ends(self):
        env, _ = self.started()
        for _, (observation, _, failed, cut, info) in self.end(env):
            done = failed | cut
            assert ("final_obs" in info) == ("_final_obs" in info) == done.any()
            self._is_of(env, observation, info["observations"])
        assert np.array_equal(info["_final_obs"], done)
        assert np.array_equal(info["_final_observations"], done)
        final = info["final_observations"]
        assert {name: rows.shape for name, rows in final.items()} == {
            name: (N, size) for name, size in env.observation_groups.items()
        }
        assert np.array_equal(final["actor"][done], info["final_obs"][done])
        more = env.step(self.actions(env, 1, seed=8)[0])
        assert not (more[2] | more[3])[done].any(), "the new episode ended at once"

    def test_the_final_observation_is_neither_the_one_before_nor_that_of_the_new_start(self):
        env, _ = self.started()
        before, (observation, _, failed, cut, info) = self.ended(env)
        for i in np.flatnonzero(failed | cut):
            assert not np.array_equal(info["final_obs"][i], observation[i])
            assert not np.array_equal(info["final_obs"][i], before[i])

    def test_an_episodes_figures_are_the_sums_of_its_rewards(self):
        env, _ = self.started()
        total = np.zeros(N)
        for _, step in self.end(env):
            total += step[1]
        _, _, failed, cut, info = step
        done = failed | cut
        figures = info["episode_metrics"]
        assert np.array_equal(info["_episode_metrics"], done)
        assert all(values.shape == (N,) for values in figures.values())
        assert np.allclose(figures["return"][done], total[done], rtol=1e-5, atol=1e-6)
        assert np.array_equal(figures["failed"][done], failed[done])
        drained = env.metrics.drain()
        assert set(drained) == set(env.metrics.columns) == set(figures)
        assert np.array_equal(drained["return"], figures["return"][done])
        assert not len(env.metrics.drain()["return"])

    # -- seeds ----------------------------------------------------------------------------------

    def test_a_seed_decides_everything_through_the_ends_of_episodes(self):
        one, other = self.started()
        tellings = []
        for env in (one, other):
            env.reset(seed=11)
            self.near_the_end(env)
            tellings.append([told(env.step(a)) for a in self.actions(env, 8)])
        assert same(*tellings)

    def test_another_seed_starts_otherwise(self):
        one, other = self.started()
        assert not np.array_equal(one.reset(seed=1)[0], other.reset(seed=2)[0])

    def test_without_a_seed_the_next_episodes_start_otherwise(self):
        env, _ = self.started()
        assert not np.array_equal(env.reset(seed=1)[0].copy(), env.reset()[0])

    # -- states ---------------------------------------------------------------------------------

    def test_it_goes_on_bit_for_bit_from_its_state(self):
        env, other = self.started()
        if not self.saves:
            with pytest.raises(InputError):
                other.load_state_dict(env.state_dict())
            return
        for action in self.actions(env, 4, seed=1):
            env.step(action)
        env.metrics.drain()
        state = env.state_dict()
        kept = serialization.copy(state)
        self.near_the_end(env)
        state_at_end = env.state_dict()
        told_by_it = [told(env.step(a)) for a in self.actions(env, 8, seed=2)]
        assert equal_states(state, kept), "a state changes with the environment it was taken from"
        other.reset(seed=77)
        other.load_state_dict(state_at_end)
        assert same(told_by_it, [told(other.step(a)) for a in self.actions(env, 8, seed=2)])
        assert equal_states(env.state_dict(), other.state_dict())

    def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(self):
        if not self.saves:
            return
        env, _ = self.started()
        before = env.state_dict()
        for change in (lambda s: s.pop("ticks"), lambda s: s.update(diverged="no")):
            wrong = self.make(N, seed=5).state_dict()
            change(wrong)
            with pytest.raises(InputError):
                env.load_state_dict(wrong)
            assert equal_states(env.state_dict(), before)

    def test_copies_of_simulations_are_exact(self):
        env, _ = self.started()
        source = np.array([0])
        target = np.array([2])
        if not self.saves:
            with pytest.raises(InputError):
                env.copy_rows(source, target)
            return
        for action in self.actions(env, 3, seed=1):
            env.step(action)
        before = dict(arrays(env.state_dict()))
        env.copy_rows(source, target)
        after = dict(arrays(env.state_dict()))
        larger = dict(arrays(self.make(N + 1, seed=1).state_dict()))
        by_row = [n for n, rows in after.items() if larger[n].shape[:1] != rows.shape[:1]]
        assert len(by_row) > 2
        for name in by_row:
            assert np.array_equal(after[name][2], after[name][0]), name
            assert np.array_equal(after[name][1], before[name][1]), name

    def test_the_physics_clock_runs_with_the_steps(self):
        env, _ = self.started()
        before = env.physics_seconds
        env.step(self.actions(env, 1)[0])
        assert env.physics_seconds > before


class NativeContract(EnvironmentContract):
    """What runs on the native engine promises besides."""

    def near_the_end(self, env):
        env.ticks[:] = env.max_ticks - 3 - np.arange(env.num_envs)

    def test_it_is_a_vector_environment_that_says_when_it_resets(self):
        env, _ = self.started()
        assert isinstance(env, gymnasium.vector.VectorEnv)
        assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
        assert env.observation_space.shape == (N, *env.single_observation_space.shape)
        assert env.action_space.shape == (N, *env.single_action_space.shape)

    def test_the_final_observation_is_that_of_an_episode_that_goes_on(self):
        env, other = self.started()
        env.reset(seed=3)
        env.ticks[:] = [env.max_ticks - 1, 0, 0]
        other.load_state_dict(env.state_dict())
        other.ticks[:] = 0
        action = self.actions(env, 1)[0]
        info = env.step(action)[4]
        unbroken = other.step(action)[4]
        assert info["_final_obs"].tolist() == [True, False, False]
        for name, rows in unbroken["observations"].items():
            assert np.array_equal(info["final_observations"][name][0], rows[0]), name
            assert np.array_equal(info["observations"][name][1:], rows[1:]), name

    def test_any_number_of_threads_gives_the_same_bits(self):
        one = self.started()[0]
        two = self.make(N, seed=1, threads=2)
        tellings = []
        for env in (one, two):
            env.reset(seed=11)
            self.near_the_end(env)
            tellings.append([told(env.step(a)) for a in self.actions(env)])
        assert same(*tellings)

    def test_episodes_can_start_at_different_ages(self):
        env = self.make(64, seed=1)
        env.reset(seed=1, options={"spread_episodes": True})
        assert len(np.unique(env.ticks)) > 10
        assert env.ticks.min() >= 0 and env.ticks.max() < env.max_ticks

    def test_one_that_diverges_fails_alone_and_starts_anew(self):
        env, other = self.started()
        before = env.diverged
        state = env.state_dict()
        other.load_state_dict(state)
        env.engine.qvel[1] = np.nan
        action = self.actions(env, 1)[0]
        observation, reward, failed, cut, info = env.step(action)
        theirs = other.step(action)
        assert env.diverged == before + 1
        assert failed.tolist() == [False, True, False] and not cut.any()
        assert np.isfinite(observation).all() and np.isfinite(reward).all()
        assert np.isfinite(info["final_obs"]).all()
        assert not np.array_equal(theirs[0][1], observation[1])
        env.diverged = 0

    def test_an_action_that_is_not_finite_fails_alone(self):
        for value in (np.nan, np.inf, -np.inf):
            env, other = self.started()
            other.load_state_dict(env.state_dict())
            action = self.actions(env, 1)[0]
            wild = action.copy()
            wild[1, 0] = value
            observation, reward, failed, cut, info = env.step(wild)
            theirs = other.step(action)
            assert failed.tolist() == [False, True, False] and not cut.any()
            assert reward[1] == getattr(getattr(env, "rewards", None), "termination", 0.0)
            assert np.array_equal(reward[[0, 2]], theirs[1][[0, 2]])
            assert np.isfinite(observation).all() and np.isfinite(info["final_obs"]).all()
            assert env.diverged == 1 and not np.isfinite(wild[1, 0])
            assert not env.step(action)[2].any()
            env.diverged = 0

    def test_actions_that_are_not_one_row_for_each_simulation_are_refused(self):
        env, _ = self.started()
        k = env.single_action_space.shape[0]
        for shape in ((N, k + 1), (N + 1, k), (1, k), (k,), (N, 1, k), ()):
            with pytest.raises(ValueError, match=r"one row for each simulation"):
                env.step(np.zeros(shape, np.float32))
        env.step(np.zeros((N, k)).tolist())

    def test_what_a_reset_cannot_do_is_refused(self):
        env, _ = self.started()
        first = env.reset(seed=3)[0]
        assert np.array_equal(first, env.reset(seed=[3, 4, 5])[0])
        assert not np.array_equal(first, env.reset(seed=[None] * N)[0])
        for seeds in ([3, 2, 1], [3, 4], [3, 4, 5, 6], [3, None, 5], []):
            with pytest.raises(ValueError, match="share one random generator"):
                env.reset(seed=seeds)
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(options={"reset_mask": np.array([True, False, False])})


@functools.cache
def _cached(contract):
    """One object of a contract's class, which keeps its environments."""
    return contract()


def told(step):
    """Every array that a step returns, copied, by name."""
    observation, reward, failed, cut, info = step
    arrays = {"observation": observation, "reward": reward, "failed": failed, "cut": cut}
    arrays |= info["observations"]
    if "_final_obs" in info:
        mask = arrays["mask"] = info["_final_obs"]
        arrays |= {f"final {k}": v[mask] for k, v in info["final_observations"].items()}
        arrays |= {f"figure {k}": v[mask] for k, v in info["episode_metrics"].items()}
    return {name: np.array(values) for name, values in arrays.items()}


def same(one, other):
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(one, other, strict=True)
    )


def arrays(state, path=""):
    """Every array of a state, by its dotted name."""
    for name, value in state.items():
        if isinstance(value, dict) and name != "rng":
            yield from arrays(value, f"{path}{name}.")
        elif isinstance(value, np.ndarray):
            yield f"{path}{name}", value


def equal_states(one, other):
    mine = dict(arrays(one))
    theirs = dict(arrays(other))
    return (
        mine.keys() == theirs.keys()
        and all(np.array_equal(mine[name], theirs[name]) for name in mine)
        and one.get("rng") == other.get("rng")
    )
