"""A kind of command that somebody adds: one function, and one entry that says what it means."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo import config, envs
from robot_ppo.config import Task
from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.commands import COMMANDS, KINDS, Command, Kind
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.evaluation import evaluate
from robot_ppo.robot_model import symmetry
from robot_ppo_export.contract.command import CommandEntry, CommandSpec
from robot_ppo_export.contract.tables import Positive
from robot_ppo_export.errors import InputError

NAMES = ("FR_hip_joint", "FL_hip_joint")
TASK = (
    "task.commands={joint_pos: null, hips: {spread: 0.2, resample: [2.0, 4.0]}}",
    "task.rewards.joint_pos_tracking=null",
    "task.metrics.joint_error=null",
    "task.evaluation.limits={joint_error: null, hip_error: 0.1}",
    "num_envs=2",
)


def hips(_, *, spread: Positive) -> Command:
    """Angles of the two front hips [rad]."""
    entries = [CommandEntry(name=name, unit="rad", low=-spread, high=spread) for name in NAMES]
    spec = CommandSpec(kind="hips", entries=tuple(entries))
    return Command(spec, np.zeros(2, np.float32))


def hip_error(motion):
    places = [helpers.robot().joint_names.index(name) for name in NAMES]
    return {"hip_error": np.abs(motion.joint_pos[:, places] - motion.command).mean(axis=1)}


MEANING = Kind({"hip_error": "rad"}, hip_error, lambda values, pose, robot: -values[:, ::-1])
"""In the mirror the left hip does what the right one did, to the other side."""


@pytest.fixture(autouse=True)
def added(monkeypatch):
    monkeypatch.setitem(COMMANDS.functions, "hips", hips)
    monkeypatch.setitem(COMMANDS.needs, "hips", ())


def load(*overrides):
    return config.load("go2_joint_hold", overrides=[*TASK, *overrides])


def task_of(settings) -> Task:
    assert isinstance(settings.task, Task)
    return settings.task


def made(settings) -> RobotEnv:
    env = envs.make(settings)
    assert isinstance(env, RobotEnv)
    return env


def test_it_is_scored_by_its_own_figures(monkeypatch):
    monkeypatch.setitem(KINDS, "hips", MEANING)
    settings = load()
    contract = helpers.contract_of(settings)
    section = task_of(settings).evaluation
    assert section is not None
    planned = trials.plan(
        section, contract.command, contract.robot, contract.control_period, "evaluation"
    )
    assert list(planned.units)[:2] == ["hip_error", "falls"]
    run = evaluate.Run(contract, list(planned.conditions[:1]), threads=1, seed=0, planned=planned)
    for tick in range(100):
        run.tick(lambda seen: np.zeros((len(seen), helpers.JOINTS)), scored=tick >= 50)
    error = run.scorecard().figures["hip_error"][0]
    places = [helpers.robot().joint_names.index(name) for name in NAMES]
    off = np.abs(planned.commands - helpers.robot().vector("default")[places]).mean(axis=1)
    assert np.abs(error - off).max() < 0.03  # it stands in the default pose, from which it sags
    assert np.ptp(off) > 0.1


def test_it_is_mirrored_as_its_entry_says(monkeypatch):
    monkeypatch.setitem(KINDS, "hips", MEANING)
    env = made(load())
    names = [str(entry) for entry in env.layout.entries(env.robot.joint_names)]
    found = envs.symmetry(env)
    assert found is not None
    actor = found.groups["actor"]
    right = names.index(f"command {NAMES[0]}")
    assert (names[actor.index[right]], actor.sign[right]) == (f"command {NAMES[1]}", -1)


def test_without_an_entry_it_trains_and_is_neither_scored_nor_mirrored():
    with pytest.raises(InputError, match=r"of the kind 'hips' cannot be scored .*null it"):
        envs.make(load())
    env = made(load("task.evaluation=null"))
    assert env.commands.values.shape == (2, 2)
    with pytest.raises(InputError, match="mirror image of the command 'hips' is not known"):
        envs.symmetry(env)
    assert envs.symmetry(env, "auto") is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_its_own_mirror_image_twice(kind):
    env = made(helpers.tiny_config())
    robot = symmetry.find(env.robot, env.engine.model)
    pose = env.actions.default_pose
    size = {"twist": 3, "joint_pos": helpers.JOINTS, "none": 0}[kind]
    values = np.random.default_rng(0).normal(size=(5, size)).astype(np.float32)
    once = KINDS[kind].mirrored(values, pose, robot)
    twice = KINDS[kind].mirrored(once, pose, robot)
    assert np.allclose(twice, values, atol=1e-6)
    assert size == 0 or not np.allclose(once, values)
