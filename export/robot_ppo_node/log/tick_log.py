"""Puts one tick of a node into its recorder."""

from robot_ppo_node.control.inputs import NodeInputs
from robot_ppo_node.control.requests import NOTHING, Requests
from robot_ppo_node.control.state_machine import StateMachine
from robot_ppo_node.log.recorder import (
    ARM,
    EMERGENCY,
    FRESH,
    READ_FAILED,
    RESET,
    STOP,
    TAKEN_OVER,
    WRITE_FAILED,
    Recorder,
)
from robot_ppo_node.safety.measurement import Decision, Measurement


def append_tick(
    recorder: Recorder,
    now: float,
    asked: Requests,
    inputs: NodeInputs,
    machine: StateMachine,
    decision: Decision,
    *,
    write_failed: bool,
    missed: int,
    late: float,
    duration: float,
) -> None:
    """Record a tick.

    Args:
        recorder: where to.
        now: start of the tick [s].
        asked: what people and the watchdog asked for.
        inputs: what was measured and commanded.
        machine: the state machine after the tick.
        decision: what was sent.
        write_failed: the command could not be sent.
        missed: deadlines missed just before.
        late: time from the deadline to the start of the tick [s].
        duration: time that it took [s].
    """
    m = inputs.newest
    recorder.append(
        time=now,
        node_state=machine.state,
        flags=flags(asked, m, write_failed),
        missed=missed,
        sequence=m.sequence,
        sample_time=m.sample_time,
        measured=m.flat,
        health=m.health.flat,
        others=m.others,
        source=inputs.commands.name,
        wanted=inputs.wanted[0],
        wanted_age=inputs.wanted[1],
        command=decision.command,
        policy_tick=machine.policy.ticks - 1 if decision.ran else -1,
        observation=decision.observation,
        action=decision.action,
        target=decision.motors.target,
        kp=decision.motors.kp,
        kd=decision.motors.kd,
        guards=machine.envelope.fired,
        outside=machine.monitor.outside,
        late=late,
        duration=duration,
    )


def flags(asked: Requests, measurement: Measurement, write_failed: bool) -> int:
    """Return what happened to the node in a tick, as bits of the column `flags`."""
    happened = READ_FAILED * (measurement.trouble is not None)
    happened |= FRESH * measurement.fresh | WRITE_FAILED * write_failed
    if asked is NOTHING:
        return happened
    return happened | (
        ARM * asked.approval
        | STOP * bool(asked.stop or asked.unguarded)
        | EMERGENCY * bool(asked.emergency)
        | RESET * asked.reset
        | TAKEN_OVER * bool(asked.taken_over)
    )
