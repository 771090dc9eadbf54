"""Every environment of ours keeps the contract, and the contract catches those that do not."""

import env_helpers as helpers
import gymnasium
import numpy as np
import pytest
from environment_contract import EnvironmentContract, NativeContract
from gymnasium.spaces import Box

from robot_ppo import config, envs, project
from robot_ppo.envs import serialization
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv


class RobotContract(NativeContract):
    """Robots observe the raw action and are paid for it; what is clipped is its effect."""

    task: str
    overrides: tuple[str, ...] = ()

    def make(self, n, seed, threads=1):
        task = config.load(self.task, overrides=self.overrides).task
        return envs.native(task, n, threads, seed)

    def _moved_alike(self, one, other, mine, theirs):
        assert np.array_equal(one.engine.qpos, other.engine.qpos)


class TestGo2Walk(RobotContract):
    task = "go2_walk"


class TestGo2JointHold(RobotContract):
    task = "go2_joint_hold"


class TestGo2StandUp(RobotContract):
    task = "go2_stand_up"


class TestGo2RoughScan(RobotContract):
    """Tiles, levels and maps are part of a simulation's state."""

    task = "go2_rough_scan"
    overrides = ("task.terrain.spacing=0.1", "task.terrain.levels=3", "task.terrain.columns=10")


class TestEverythingOn(RobotContract):
    """Noise, delays, pushes, all randomizations, histories."""

    def make(self, n, seed, threads=1):
        seen = helpers.shipped().task.observations["actor"]
        task = helpers.loud(observation=seen | {"joint_vel": {"history": 3}})
        return helpers.environment(task, n, threads, seed)


class GymContract(NativeContract):
    task: str

    def make(self, n, seed, threads=1):
        return MujocoVectorEnv(self.task, n, threads, seed)


def _gym_contract(task):
    return type(f"Test{task.partition('-')[0]}", (GymContract,), {"task": task})


for _task in project.GYM_TASKS:
    globals()[_gym_contract(_task).__name__] = _gym_contract(_task)


class Drift(gymnasium.Env):
    """A point that drifts; its episodes end in a failure or at a time limit, by `cut`."""

    observation_space = Box(-np.inf, np.inf, (2, 1), np.float32)
    action_space = Box(-2.0, 2.0, (1,), np.float32)

    def __init__(self, cut=False):
        self.cut = cut

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        self.place = self.np_random.uniform(-1, 1, (2, 1)).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.clock += 1
        self.place += 0.1 + 0.1 * np.float32(action)
        over = self.clock >= 3
        return self.place.copy(), float(self.place[0, 0]), over and not self.cut, over, {}


@pytest.fixture(autouse=True)
def _drifts():
    before = dict(gymnasium.registry)
    gymnasium.register("DriftFails-v0", entry_point=Drift)
    gymnasium.register("DriftCut-v0", entry_point=Drift, kwargs={"cut": True})
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


class ForeignContract(EnvironmentContract):
    saves = False
    id: str
    steps_to_the_end = 0

    def make(self, n, seed, threads=1):
        return ForeignVectorEnv(self.id, n, seed)

    def near_the_end(self, env):
        for _ in range(self.steps_to_the_end):
            env.step(np.zeros((env.num_envs, *env.single_action_space.shape), np.float32))
        env.metrics.clear(np.arange(env.num_envs))


class TestForeignThatFails(ForeignContract):
    id = "DriftFails-v0"


class TestForeignThatIsCutOff(ForeignContract):
    id = "DriftCut-v0"


class TestForeignPendulum(ForeignContract):
    id = "Pendulum-v1"
    steps_to_the_end = 198


# -- rewards that are not finite ------------------------------------------------------------------


def fails_alone(env, action):
    reward, failed, cut = env.step(action)[1:4]
    assert failed.tolist() == [False, True, False] and not cut.any()
    assert np.isfinite(reward).all() and env.diverged == 1
    assert np.isfinite(env.step(np.zeros_like(action))[1]).all()
    assert env.diverged == 1


def test_a_robot_whose_penalty_is_beyond_float32_fails_alone():
    env = TestGo2Walk().make(3, 1)
    env.reset(seed=3)
    action = np.zeros((3, 12), np.float32)
    action[1] = 1e30
    with np.errstate(over="ignore"):
        fails_alone(env, action)


def test_a_task_of_gymnasium_whose_reward_is_not_finite_fails_alone(monkeypatch):
    env = Right(3, 1)
    env.reset(seed=3)
    compute = env.task.reward

    def once(*given):
        reward, terms = compute(*given)
        reward[1] = np.nan
        monkeypatch.undo()
        return reward, terms

    monkeypatch.setattr(env.task, "reward", once)
    fails_alone(env, np.zeros((3, 6), np.float32))


# -- negative controls --------------------------------------------------------------------------


class Right(MujocoVectorEnv):
    def __init__(self, n, seed, threads=1):
        super().__init__("HalfCheetah-v5", n, threads, seed)


class OtherDtype(Right):
    def step(self, actions):
        observation, *rest, info = super().step(actions)
        return observation.astype(np.float32), *rest, info


class LacksAGroup(Right):
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"observations": {}}


class CountsTimeAsFailure(Right):
    def step(self, actions):
        observation, reward, failed, cut, info = super().step(actions)
        return observation, reward, failed | cut, cut, info


class ShowsTheNewStart(Right):
    def step(self, actions):
        observation, *rest, info = super().step(actions)
        if "final_obs" in info:
            new = observation.copy()
            info |= {"final_obs": new, "final_observations": {"actor": new}}
        return observation, *rest, info


class ShowsTheOneBefore(Right):
    def step(self, actions):
        before = self._present()["actor"]
        *rest, info = super().step(actions)
        if "final_obs" in info:
            info |= {"final_obs": before, "final_observations": {"actor": before}}
        return *rest, info


class EndsTwice(Right):
    def _begin(self, ids, anew=False):
        ticks = self.ticks[ids].copy()
        super()._begin(ids, anew)
        if not anew:
            self.ticks[ids] = ticks


class ForgetsTheReturn(Right):
    def step(self, actions):
        self.metrics.sums[:] = 0.0
        return super().step(actions)


class ReusesItsArrays(Right):
    buffer = None

    def step(self, actions):
        observation, *rest, info = super().step(actions)
        if self.buffer is None:
            self.buffer = observation
        self.buffer[:] = observation
        return self.buffer, *rest, info | {"observations": {"actor": self.buffer}}


class ActsBeyondTheSpace(Right):
    def step(self, actions):
        self._limits = np.array([[-np.inf], [np.inf]], np.float32) * np.ones(6, np.float32)
        return super().step(actions)


class TakesAnyShape(Right):
    def _taken(self, actions, order="C"):
        actions = np.broadcast_to(np.asarray(actions, np.float32), (self.num_envs, 6))
        return super()._taken(actions, order)


class TakesNan(Right):
    def _taken(self, actions, order="C"):
        return super()._taken(actions, order)[0], np.zeros(0, int)


class HasNoSeed(Right):
    def reset(self, *, seed=None, options=None):
        return super().reset(options=options)


class AlwaysStartsAlike(Right):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=0, options=options)


class SavesNoGenerator(Right):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"rng": self._rng.bit_generator.state})


class LendsItsState(Right):
    def state_dict(self):
        return self._state()


class LoadsByHalves(Right):
    def load_state_dict(self, state):
        self.engine.qpos[:] = 0.0
        super().load_state_dict(state)


class CopiesOnlyPhysics(Right):
    def copy_rows(self, source, target):
        serialization.copy_rows({"simulations": self.batch.state}, source, target)


class DivergesTogether(Right):
    def _quarantine(self, ids):
        super()._quarantine(np.arange(self.num_envs))


NEGATIVE = {
    OtherDtype: "test_a_step_is_of_the_spaces_and_in_all_groups",
    LacksAGroup: "test_a_step_is_of_the_spaces_and_in_all_groups",
    CountsTimeAsFailure: "test_an_episodes_figures_are_the_sums_of_its_rewards",
    ShowsTheNewStart: "test_the_final_observation_is_that_of_an_episode_that_goes_on",
    ShowsTheOneBefore: "test_the_final_observation_is_neither_the_one_before_nor_that_of_the_new_"
    "start",
    EndsTwice: "test_an_episode_starts_anew_in_the_step_in_which_it_ends",
    ForgetsTheReturn: "test_an_episodes_figures_are_the_sums_of_its_rewards",
    ReusesItsArrays: "test_what_was_returned_is_the_callers",
    ActsBeyondTheSpace: "test_actions_outside_the_space_are_clipped_to_it",
    TakesAnyShape: "test_actions_that_are_not_one_row_for_each_simulation_are_refused",
    TakesNan: "test_an_action_that_is_not_finite_fails_alone",
    HasNoSeed: "test_a_seed_decides_everything_through_the_ends_of_episodes",
    AlwaysStartsAlike: "test_without_a_seed_the_next_episodes_start_otherwise",
    SavesNoGenerator: "test_it_goes_on_bit_for_bit_from_its_state",
    LendsItsState: "test_it_goes_on_bit_for_bit_from_its_state",
    LoadsByHalves: "test_a_state_that_does_not_fit_is_refused_and_changes_nothing",
    CopiesOnlyPhysics: "test_copies_of_simulations_are_exact",
    DivergesTogether: "test_one_that_diverges_fails_alone_and_starts_anew",
}
"""What is broken -> the law that notices it."""


def contract_of(kind):
    return type(
        kind.__name__,
        (NativeContract,),
        {"make": lambda self, n, seed, threads=1: kind(n, seed, threads)},
    )()


@pytest.mark.parametrize("kind", NEGATIVE, ids=lambda kind: kind.__name__)
def test_a_broken_environment_is_noticed(kind):
    law = NEGATIVE[kind]
    getattr(contract_of(Right), law)()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(contract_of(kind), law)()
