"""Golden traces are of one episode, however short those of the training are."""

import env_helpers as helpers
import pytest
import torch

from robot_ppo import export
from robot_ppo.envs.robot import observations
from robot_ppo.ppo.networks import Actor
from robot_ppo.training.checkpoint import Checkpoint
from robot_ppo_export.policy import Policy

SHORT = "task.episode_length=0.5"
"""25 control periods of go2_walk, where a trace has 96."""
REMEMBERING = "task.observations.actor.joint_vel.history=3"


@pytest.mark.parametrize("memory", ["networks.actor_memory=null", "networks.actor_memory={}"])
def test_a_policy_of_short_episodes_proves_its_golden_traces(memory, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "ROLLOUT_TICKS", 20)
    settings = helpers.tiny_config(SHORT, REMEMBERING, memory)
    size = observations.layout(settings.task, helpers.robot()).size
    torch.manual_seed(0)
    actor = Actor(size, helpers.JOINTS, settings.networks)
    checkpoint = Checkpoint(0, 0.0, 0, {"actor": actor.state_dict()}, {})
    path = tmp_path / "policy.onnx"
    path.write_bytes(export.build(settings, checkpoint))
    policy = Policy(path)
    assert len(policy.golden) == export.GOLDEN_TICKS
    policy.check_golden()


def test_long_episodes_stay_as_long_as_they_are():
    task = helpers.quiet()
    assert export._endless(task).episode_length == task.episode_length
