"""Makes what a tick sends: a state's targets and gains, faded, and inside the envelope.

proposal = maker.propose(State.STAND, elapsed, measurement, command)
decision, objection = maker.make(State.STAND, elapsed, measurement, proposal)
decision = maker.brake(proposal)          # where a guard objects
"""

from collections.abc import Mapping

import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.policy_runner import PolicyRunner, Proposal
from robot_ppo_node.control.setpoints import Setpoints
from robot_ppo_node.control.states import RUNNING, State
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.startup.joint_check import JointCheck


class CommandMaker:
    """One policy's commands to the motors."""

    def __init__(
        self, policy: Policy, limits: Limits, signals: Mapping[str, int], joint_check: bool
    ) -> None:
        """Make commands inside `limits`; `signals` are those of a measurement, with their widths.

        `joint_check` says whether every joint is tried before standing up.
        """
        self.envelope = Envelope(policy.contract.robot, limits, signals)
        self.setpoints = Setpoints(policy)
        self.runner = PolicyRunner(policy)
        weak = self.setpoints.gains[State.JOINT_CHECK]
        self.joint_check = JointCheck(policy.contract, *weak) if joint_check else None
        self.sent = self.setpoints.limp(self.setpoints.default)
        """The last command that was sent, or where standing up begins."""
        self._halts = policy.contract.command.kind == "twist"
        """The policy can be asked to stand still."""

    def start_at(self, pose: np.ndarray) -> None:
        """Go on from damping at `pose` (joints,) [rad]: nothing jumps."""
        self.sent = self.setpoints.limp(pose)

    def enter_state(self) -> None:
        """Begin a state: what was sent last is where targets and gains fade from."""
        self.setpoints.begin(self.sent)

    def propose(
        self, state: State, elapsed: float, measurement: Measurement, command: np.ndarray
    ) -> Proposal:
        """Return what `state` wants, `elapsed` [s] after its start.

        In HALT the policy gets zero in place of a `command` (k,) that is a twist.
        """
        if state in RUNNING:
            halts = state is State.HALT and self._halts
            return self.runner.run(measurement, np.zeros_like(command) if halts else command)
        return self.runner.idle(self._pose(state, elapsed), command)

    def make(
        self, state: State, elapsed: float, measurement: Measurement, proposal: Proposal
    ) -> tuple[Decision, Reason | None]:
        """Return what is sent, with the gains of `state`; or why it must not be."""
        motors = self.setpoints.faded(state, proposal.target, elapsed)
        decision = self._decision(proposal, motors)
        objection = self.envelope.check_target(measurement, decision)
        if objection is None:
            self.sent = motors
        return decision, objection

    def brake(self, proposal: Proposal) -> Decision:
        """Return a decision that only brakes, whatever was proposed."""
        motors = self.setpoints.damped(self.sent.target)
        decision = self._decision(proposal, motors)
        self.sent = motors
        return decision

    def nothing(self, command: np.ndarray) -> Decision:
        """Return the decision of a state that sends nothing."""
        motors = self.setpoints.nothing()
        proposal = self.runner.idle(motors.target, command)
        return self._decision(proposal, motors, sends=False)

    def _pose(self, state: State, elapsed: float) -> np.ndarray:
        """Return the target (joints,) [rad] of a state in which the network does not run."""
        if state is State.DAMP:
            return self.sent.target
        if state is State.JOINT_CHECK and self.joint_check:
            return self.joint_check.target(elapsed)
        return self.setpoints.pose(state, elapsed)

    def _decision(self, proposal: Proposal, motors: MotorCommand, sends: bool = True) -> Decision:
        return Decision(
            motors,
            self.sent.target,
            proposal.observation,
            proposal.action,
            proposal.command,
            sends,
            proposal.ran,
        )
