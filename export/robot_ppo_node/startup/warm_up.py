"""Runs guards and network a few times before the first tick, and forgets it."""

from collections.abc import Mapping

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.envelope import Envelope

TICKS = 60
"""Dummy ticks: the first runs allocate and are many times slower."""


def warm_up(policy: Policy, envelope: Envelope, signals: Mapping[str, int]) -> None:
    """Tick on a robot that stands still; policy and envelope are afterwards as at their start."""
    contract = policy.contract
    draft = Draft(contract.robot, signals, policy.layout.size, contract.control_period)
    command = np.zeros(contract.command.size, np.float32)
    for _ in range(TICKS):
        envelope.check_state(draft.measurement)
        draft.motors.target[:] = policy.tick(draft.state, command)
        envelope.check_target(draft.measurement, draft.decision)
    policy.reset()
    envelope.reset()
