"""The environment on mujoco_warp beside `RobotEnv`: same task, same draws, tensors for arrays."""

import re

import env_helpers as helpers
import numpy as np
import pytest
import torch
from environment_contract import NativeContract
from warp_helpers import N, gap, gaps, missing, pair, simulated, task_of, watch

from robot_ppo import cli, config, envs
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.envs.robot.warp_env import WarpEnv, check
from robot_ppo.ppo import on_device
from robot_ppo.ppo.on_device import DeviceLearner
from robot_ppo.sim.warp_robot import WarpRobot
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo.training.train import Trainer
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

# -- the same task ------------------------------------------------------------------------------

STEPS = 50
CLOSE = 1e-4
"""Measured with 64 robots, of anything in world, observations and rewards: 1.1e-5, after one step
and after 50. That is single precision."""


@simulated
def test_world_observations_and_every_reward_are_those_of_the_environment_on_the_cpu():
    plain, twin = pair(n=64)
    assert {*helpers.FIELDS} - {"packet_loss", "packet_delay"} == {*plain.randomizer.fields}
    found = [gaps(plain, twin, a) for a in helpers.random_actions(STEPS, 64, size=0.3)]
    assert {f"reward {name}" for name in plain.rewards.names} <= found[0].keys()
    assert {"observed actor", "observed critic", "foot_contact", "torque"} <= found[0].keys()
    for name in found[0]:
        assert found[0][name].max() < CLOSE, name
        assert found[-1][name].max() < CLOSE, name
    assert plain.seen[0].foot_contact.any()  # they have landed, and are not in the air any more


@simulated
def test_a_robot_with_other_motors_is_another_robot():
    """Negative control."""
    plain, twin = pair()
    gain = twin.engine.fields["actuator_gainprm"]
    gain *= 1.1
    found = gaps(plain, twin, helpers.random_actions(1, N)[0])
    assert found["torque"].min() > CLOSE
    assert found["observed critic"].min() > CLOSE


@simulated
def test_sensors_have_noise_of_the_tasks_width_that_a_seed_decides():
    wide = {"joint_pos": 0.5, "base_quat": 0.02}
    still = {"reset": {"heading": [0.0, 0.0]}, "randomization": {}, "pushes": {}}
    task = helpers.quiet(noise=wide, **still)
    envs_ = [WarpEnv(task, helpers.robot(), 64, seed, "cpu") for seed in (1, 1, 2)]
    seen = [env.last_inputs.state.joint_pos.numpy() for env in envs_]
    error = seen[0] - envs_[0].engine.qpos.numpy()[:, envs_[0].engine.joint_qpos]
    assert np.abs(error).max() < 0.5
    assert error.std() == pytest.approx(0.5 / np.sqrt(3), rel=0.1)
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])
    before = envs_[0].last_inputs.state.joint_pos
    envs_[0].step(torch.zeros(64, 12))
    assert not torch.equal(before, envs_[0].last_inputs.state.joint_pos)


@simulated
def test_tensors_may_be_changed_later_and_nobody_differentiates_through_physics():
    env = WarpEnv(task_of(), helpers.robot(), 2, 4, "cpu")
    observation = env.step(torch.zeros(2, 12, requires_grad=True))[0]
    assert not observation.requires_grad
    with torch.inference_mode():
        observation = env.step(torch.zeros(2, 12))[0]
    observation += 1  # tensors of inference mode may not be
    env.reset()


# -- resets -------------------------------------------------------------------------------------


def copies(env):
    """Every tensor of the engine, copied, by its dotted name."""
    found = {}

    def add(part, path):
        for name, value in part.items():
            if isinstance(value, dict):
                add(value, f"{path}{name}.")
            else:
                found[path + name] = value.clone()

    add(env.engine.arrays(), "")
    add(env.engine._read, "read.")
    return found


@simulated
def test_who_starts_anew_starts_as_on_the_cpu_and_the_others_stay_to_the_bit():
    plain, twin = pair(seed=6)
    for action in helpers.random_actions(5, N):
        gaps(plain, twin, action)
    before = copies(twin)
    some = np.array([1, 2, 6])
    others = np.array([0, 3, 4, 5, 7])
    for env in (plain, twin):
        env._begin(some)
    after = copies(twin)
    assert before.keys() == after.keys()
    for name, values in after.items():
        assert torch.equal(values[others], before[name][others]), name
    moved = [name for name, values in after.items() if not torch.equal(values, before[name])]
    wanted = {"qpos", "qvel", "ctrl", "history", "time"}
    assert {f"simulations.{name}" for name in wanted} <= {*moved}
    assert {"fields.body_mass", "measurement.gyro_bias", "read.sensordata"} <= {*moved}
    assert "constants.dof_invweight0" in moved
    theirs = twin._present(some)
    for name, rows in plain._present(some).items():
        assert gap(np.float64(rows), theirs[name].numpy()).max() < 1e-6, name
    # And what the others do next is what they do where nobody started anew.
    found = gaps(plain, twin, helpers.random_actions(1, N)[0])
    assert all(values.max() < CLOSE for values in found.values())


@simulated
def test_more_start_at_once_than_the_cpu_has_simulations_for(monkeypatch):
    monkeypatch.setattr("robot_ppo.sim.warp_robot.STARTERS", 3)
    few = WarpEnv(task_of(), helpers.robot(), N, 4, "cpu")
    monkeypatch.undo()
    many = WarpEnv(task_of(), helpers.robot(), N, 4, "cpu")
    assert (few.engine._starter.n, many.engine._starter.n) == (3, N)
    one = copies(few)
    for name, values in copies(many).items():
        assert torch.equal(values, one[name]), name


class Fetched(WarpEnv):
    """Its tensors as numpy's arrays, for the laws of every environment."""

    def reset(self, **words):
        observation, info = super().reset(**words)
        return self._plain(observation), self._plain(info)

    def step(self, actions):
        return tuple(self._plain(part) for part in super().step(actions))

    def _plain(self, part):
        if isinstance(part, dict):
            return {name: self._plain(value) for name, value in part.items()}
        return part.numpy().copy() if isinstance(part, torch.Tensor) else part


@pytest.mark.slow
@pytest.mark.skipif(missing is not None, reason=missing or "")
class TestOnADevice(NativeContract):
    """Seeds, ends, states, copies and divergence are those of every environment."""

    def make(self, n, seed, threads=1):
        task = helpers.loud(randomization=helpers.PROMPT)
        return Fetched(task, helpers.robot(), n, seed, "cpu")

    def _moved_alike(self, one, other, mine, theirs):
        assert torch.equal(one.engine.qpos, other.engine.qpos)


@simulated
def test_a_punch_is_felt_and_a_reset_ends_it():
    punch = {"punch": {"interval": [0.02, 0.02], "force": [80.0, 80.0]}}
    task = task_of()
    events = helpers.replace(task.events, interval=punch)
    task = helpers.replace(task, events=events)
    plain = watch(RobotEnv(task, helpers.robot(), N, 1, 4))
    twin = watch(WarpEnv(task, helpers.robot(), N, 4, "cpu"))
    found = [gaps(plain, twin, a) for a in np.zeros((3, N, 12), np.float32)]
    assert twin.engine._forces.abs().max() > 50
    assert all(values.max() < CLOSE for values in found[-1].values())
    twin._begin(np.arange(N))
    assert twin.engine._forces.abs().max() == 0


@simulated
def test_contacts_that_are_left_out_are_told_once(monkeypatch, caplog):
    twin = WarpEnv(helpers.shipped().task, helpers.robot(), N, 4, "cpu")
    for _ in range(10):  # a solver that is cut off is what the task asks for
        twin.step(torch.zeros(N, 12))
    twin.metrics.behaviour()
    assert not caplog.records
    monkeypatch.setattr(twin.engine, "cut_short", lambda: 2)
    for _ in range(2):
        twin.metrics.behaviour()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "contacts of 2 simulations" in caplog.text and "collisions: feet" in caplog.text


@simulated
def test_left_and_right_are_exchanged_as_on_the_cpu():
    plain, twin = (envs.symmetry(env) for env in pair(n=2))
    assert plain is not None and twin is not None
    for one, other in (
        (plain.actions, twin.actions),
        *zip(*(s.groups.values() for s in (plain, twin)), strict=True),
    ):
        assert np.array_equal(one.index, other.index) and np.array_equal(one.sign, other.sign)


# -- learning -----------------------------------------------------------------------------------


class Silent:
    def log(self, trainer, metrics, times):
        assert all(np.isfinite(value) for value in metrics.values())


def trainer_of(folder, monkeypatch, iterations=2, **flags):
    """A run on Warp's CPU device, which users are refused."""
    monkeypatch.setattr(on_device, "check", lambda config, ranks: None)
    steps = iterations * helpers.ROBOTS * helpers.ROLLOUT
    settings = helpers.replace(helpers.tiny_config(), engine="warp", steps=steps)
    return Trainer(settings, folder, **flags)


@simulated
def test_a_short_training_learns_and_what_leaves_the_device_is_known(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path, monkeypatch)
    assert isinstance(trainer.env, WarpEnv) and isinstance(trainer.learner, DeviceLearner)
    before = {k: v.clone() for k, v in trainer.learner.actor.state_dict().items()}
    trainer.run(Silent())
    after = trainer.learner.actor.state_dict()
    assert all(v.isfinite().all() for v in after.values())
    weights = [name for name in before if not name.startswith("normalizer")]
    assert any((after[name] - before[name]).abs().max() > 1e-4 for name in weights)
    rollout = trainer.rollout
    assert all(x.isfinite().all() for x in (rollout.observations, rollout.rewards))
    left = leaving(monkeypatch)
    trainer._collect({"physics": 0.0})
    # Failures, rewards, actions that are not finite: a number each. Ids of what diverged: none.
    # Where episodes have ended, their sums.
    sums = len(trainer.env.metrics.sums)
    ended = {shape for shape in left if shape[0] == sums and len(shape) == 2}
    assert set(left) - ended == {(helpers.ROBOTS,), (0,)}
    assert all(count < helpers.ROBOTS for _, count in ended)
    np.asarray(trainer.observations["actor"])  # negative control
    assert (helpers.ROBOTS, trainer.env.observation_groups["actor"]) in left


def leaving(monkeypatch):
    """Return a list that will hold the shape of every tensor that becomes an array of numpy's."""
    shapes = []
    for name in ("numpy", "__array__"):
        whole = getattr(torch.Tensor, name)

        def told(tensor, *given, whole=whole, **words):
            shapes.append(tuple(tensor.shape))
            return whole(tensor, *given, **words)

        monkeypatch.setattr(torch.Tensor, name, told)
    return shapes


@simulated
def test_a_run_that_goes_on_is_the_unbroken_one(tmp_path, monkeypatch):
    """On the CPU, where sums have one order."""
    unbroken = trainer_of(tmp_path / "a", monkeypatch, 2).run(Silent())
    trainer_of(tmp_path / "b", monkeypatch, 1).run(Silent())
    saved = Checkpoints(tmp_path / "b").newest()
    assert isinstance(saved.episodes["observations"]["actor"], np.ndarray | torch.Tensor)
    resumed = trainer_of(tmp_path / "b", monkeypatch, 2, resume=True).run(Silent())
    for name, value in unbroken.learner["actor"].items():
        assert torch.equal(value, resumed.learner["actor"][name]), name


# -- what is refused ----------------------------------------------------------------------------

PACKETS = helpers.events({"packet_loss": (0.0, 0.1)})
SCAN = {"height_scan": {}}
REFUSED = {
    "task.terrain": lambda task: config.load_task("go2_rough"),
    "task.observations.actor.height_scan": lambda task: observed(task, "actor", SCAN),
    "task.observations.critic.height_scan_true": lambda task: observed(
        task, "critic", {"height_scan_true": {}}
    ),
    "task.events.reset.packet_loss": lambda task: helpers.replace(task, events=PACKETS),
}


def observed(task, group, terms):
    groups = task.observations
    return helpers.replace(task, observations=groups | {group: groups[group] | terms})


@pytest.mark.parametrize("key", REFUSED)
def test_a_part_that_only_the_cpu_has_is_one_sentence(key):
    task = helpers.shipped().task
    check(task)
    wrong = REFUSED[key](task)
    with pytest.raises(SettingError, match=r"mujoco_warp.*; leave `engine: warp` out") as caught:
        WarpEnv(wrong, helpers.robot(), 1, 0, "cpu")
    assert caught.value.key == key


WORDS = ["engine=warp"]
NOT_TOGETHER = [
    ("go2_walk", WORDS, "engine", "is for a GPU"),
    ("InvertedDoublePendulum-v5", [*WORDS, "device=cuda"], "engine", "simulates robots"),
    ("go2_walk", [*WORDS, "device=cuda", "algorithm=distill"], "device", "learns on the CPU"),
    (
        "go2_walk",
        [*WORDS, "device=cuda", "networks.actor_memory.cell=gru"],
        "networks.actor_memory",
        "learns on the CPU",
    ),
]


@pytest.mark.parametrize("task, words, key, text", NOT_TOGETHER)
def test_settings_that_do_not_go_together_are_one_sentence(task, words, key, text):
    with pytest.raises(SettingError, match=re.escape(text)) as caught:
        config.load(task, overrides=tuple(words))
    assert caught.value.key == key


def test_without_a_gpu_a_run_is_refused_before_anything_is_built(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(envs, "make", lambda *_: pytest.fail("an environment was made"))
    words = helpers.train_arguments(tmp_path / "run", "--device", "cuda", "--set", "engine=warp")
    assert cli.main(words) == 2
    assert "`device: cuda`: torch finds no GPU" in capsys.readouterr().err


def test_trpo_does_not_learn_on_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    words = (*WORDS, "device=cuda", "ppo.objective=trpo")
    with pytest.raises(InputError, match=r"`ppo\.objective: trpo` learns on the CPU"):
        Trainer(config.load("go2_walk", overrides=words), None)


def test_packets_are_refused_by_the_engine_too():
    with pytest.raises(InputError, match="has no packet_loss"):
        WarpRobot(helpers.train_model(), helpers.robot(), 1, fields=("packet_loss",), device="cpu")
