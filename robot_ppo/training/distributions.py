"""Observations and actions of the last step of a rollout, by name, for histograms."""

from typing import TYPE_CHECKING

import numpy as np

from robot_ppo.envs.environment import EXPORTED, Environment
from robot_ppo.envs.robot.robot_env import RobotEnv

if TYPE_CHECKING:
    from robot_ppo.training.train import Trainer


def distributions(trainer: "Trainer") -> dict[str, np.ndarray]:
    """Return tag -> finite values over the simulations, a tag without any left out.

    A tag is `actions/` and the name of a joint (its place where there are no joints), or
    `observations/` and the group's terms, in the units that the network sees, not normalized.
    """
    rollout = trainer.rollout
    actions = rollout.actions[-1].cpu().numpy()
    names = _action_names(trainer.env, actions.shape[1])
    found = {f"actions/{name}": actions[:, i] for i, name in enumerate(names)}
    seen = rollout.observations[-1].cpu().numpy()
    offset = 0
    for group in trainer.config.networks.actor_groups:
        for name, place in _terms(trainer.env, group).items():
            found[f"observations/{name}"] = seen[:, offset + place.start : offset + place.stop]
        offset += trainer.env.observation_groups[group]
    finite = {tag: values[np.isfinite(values)] for tag, values in found.items()}
    return {tag: values for tag, values in finite.items() if values.size}


def _action_names(env: Environment, size: int) -> list[str]:
    if isinstance(env, RobotEnv) and len(env.robot.joints) == size:
        return list(env.robot.joint_names)
    return [str(i) for i in range(size)]


def _terms(env: Environment, group: str) -> dict[str, slice]:
    """Return the terms of an observation group, or the group as a whole, and their places."""
    if not isinstance(env, RobotEnv):
        return {group: slice(0, env.observation_groups[group])}
    if group == EXPORTED:
        return env.layout.slices
    return {f"{group}/{k}": place for k, place in env.others[group].layout.slices.items()}
