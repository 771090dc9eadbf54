"""The operator's side of a node: its status, and requests to it."""

import numpy as np

from robot_ppo_node.control.command_writer import CommandWriter
from robot_ppo_node.control.events import NodeEvent
from robot_ppo_node.control.inputs import NodeInputs
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.state_machine import StateMachine
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.sends import Unsent
from robot_ppo_node.host.durations import Durations
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.startup.preflight import Check


class OperatedNode:
    """A node as seen by whoever started it; requests take effect at the next tick."""

    def __init__(
        self,
        inputs: NodeInputs,
        machine: StateMachine,
        writer: CommandWriter,
        decision: Decision,
    ) -> None:
        """Put a node together from its parts; `decision` stands for a tick before the first."""
        self.decision = decision
        """Decision of the last tick."""
        self.durations = Durations()
        """Durations of the ticks."""
        self._inputs = inputs
        self._machine = machine
        self._writer = writer
        self._requests = Requests()

    @property
    def state(self) -> State:
        """State of the node."""
        return self._machine.state

    @property
    def fault(self) -> str | None:
        """Sentence of the guard or error that brought the robot down, or None."""
        return str(self._machine.fault) if self._machine.fault else None

    @property
    def fault_code(self) -> str | None:
        """Code of that guard, check or error, or None."""
        return self._machine.fault.code if self._machine.fault else None

    @property
    def sends(self) -> bool:
        """Whether this state sends something."""
        return self._machine.sends

    @property
    def endless(self) -> bool:
        """Whether damping, once begun, goes on until somebody ends it."""
        return self._machine.damping.endless

    @property
    def checks(self) -> list[Check]:
        """Results of the last PREFLIGHT and joint check."""
        return self._machine.exits.checks

    @property
    def over(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._machine.over

    @property
    def events(self) -> list[tuple[float, NodeEvent]]:
        """Everything that happened, with its time [s]; `str` makes a sentence of an event."""
        return self._machine.announcer.events

    @property
    def envelope(self) -> Envelope:
        """The guards, and what they counted."""
        return self._machine.envelope

    @property
    def measurement(self) -> Measurement:
        """Measurement of the last tick."""
        return self._inputs.newest

    @property
    def wanted(self) -> tuple[np.ndarray, float]:
        """The command as its source gave it, and its age [s]."""
        return self._inputs.wanted

    @property
    def command(self) -> np.ndarray:
        """Command that the policy gets, (k,) in the units of the contract's command."""
        return self.decision.command

    @property
    def excursions(self) -> dict[str, int]:
        """Entry of the observation -> how often it left the range of its training."""
        return self._machine.monitor.excursions()

    @property
    def ticks(self) -> int:
        """Ticks since the start."""
        return self.durations.count

    @property
    def missed(self) -> int:
        """Deadlines missed since the start."""
        return self._inputs.missed

    @property
    def unsent(self) -> Unsent:
        """Commands that could not be sent, where the driver counts them."""
        return self._writer.unsent

    def arm(self) -> None:
        """Approve, as the operator: stand up from PREFLIGHT, or run the policy from READY."""
        self._requests.approval = True

    def stop(self, reason: str) -> None:
        """Sit down, or stand still and be held, then damp; not a fault. Again: let go of it."""
        self._requests.stop = reason

    def damp(self, reason: str) -> None:
        """Damp at once; not a fault."""
        self._requests.emergency = reason

    def reset(self) -> None:
        """Leave DAMP for PASSIVE, with every approval forgotten. Only a person says so."""
        self._requests.reset = True

    def shorten_damping(self, seconds: float) -> None:
        """Send damping for so long [s] after a stop, whatever the constructor was told."""
        self._machine.damping.after_stop = seconds

    def taken_over(self, text: str) -> None:
        """Take in that the watchdog has the robot, as `text` says."""
        self._requests.taken_over = text

    def end(self, after: float = 0.0) -> None:
        """Damp at once, and stop damping at most `after` [s] after the next tick."""
        if self.sends:
            self.damp("ended")
        else:
            self.stop("ended")
        self._requests.end = after
