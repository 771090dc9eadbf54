"""Runs the network, or stands in for it in states without one."""

from typing import NamedTuple

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.safety.measurement import Measurement
from robot_ppo_node.safety.monitor import Monitor
from robot_ppo_node.safety.reason import Reason


class Proposal(NamedTuple):
    """Targets, before gains and guards, and what they come from."""

    target: np.ndarray
    """(joints,) [rad]"""
    command: np.ndarray
    """Command that the policy gets (k,)."""
    observation: np.ndarray
    """(size,) what the network saw, zeros where it does not run"""
    action: np.ndarray
    """(joints,) its raw output; 0 of joints that are held, zeros where it does not run"""
    ran: bool


class PolicyRunner:
    """One policy and its distribution monitor."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.monitor = Monitor(policy.contract)
        self._no_action = np.zeros(len(policy.contract.robot.joints), np.float32)
        self._no_observation = np.zeros(policy.layout.size, np.float32)

    def begin(self) -> None:
        """Start the policy anew."""
        self.policy.reset()
        self.monitor.reset()

    def run(self, measurement: Measurement, command: np.ndarray) -> Proposal:
        """Return what the network wants, and advance the policy by one tick."""
        policy = self.policy
        target = policy.tick(measurement.state, command)
        action = policy.action_map.of_joints(policy.last_action)
        return Proposal(target, command, policy.observation, action, ran=True)

    def idle(self, target: np.ndarray, command: np.ndarray) -> Proposal:
        """Return `target` as it is, without the network."""
        return Proposal(target, command, self._no_observation, self._no_action, ran=False)

    def warnings(self, proposal: Proposal) -> list[Reason]:
        """Return what in the observation training did not show."""
        texts = self.monitor.watch(proposal.observation)
        return [Reason("outside_of_training", text) for text in texts]
