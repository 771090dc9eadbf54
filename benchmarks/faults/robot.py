"""Faults of the robot, the computer and the network's output, in lockstep.

What a guard must see just beyond its limit is what `selftest` injects into it, put into what the
robot measures; the rest happens as it would: states stay away or repeat, ticks take too long, the
clock leaps, the network gives nonsense.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.fault import CLAMPED, NOTHING, REFUSED, Fault, Seen
from benchmarks.faults.world import World
from robot_ppo_node.commands.base import COMMAND_TIMEOUT
from robot_ppo_node.control.inputs import SAG
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Sample
from robot_ppo_node.safety import self_test
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.measured import Measured, held_signals

ROUNDING = 1e-4
"""[N m] of float32 in kp (target - q) - kd dq."""
LEAP = 1.0
"""[s]"""


def _run(
    inject: Callable[[World], float | None], tightened: dict[str, Any] | None = None
) -> Callable[[Path], Seen]:
    """Return a run in which `inject` begins the fault and returns what its limit allows [s]."""

    def run(path: Path) -> Seen:
        with World(path, tightened) as world:
            since = world.walk()
            return world.damped(since, inject(world) or 0.0)

    return run


def _measured(guard: str) -> Callable[[World], None]:
    """Return the injection of `selftest` into a guard, made by the robot."""

    def inject(world: World) -> None:
        bounds = world.node.envelope.bounds
        contract = world.policy.contract
        signals = held_signals(contract)

        def change(sample: Sample) -> Sample:
            draft = Draft(contract.robot, signals, observation=0, period=world.period)
            draft.measured.update(sample.state)
            self_test.INJECTIONS[guard](bounds, draft)
            world.driver.others = ("somebody else",) * draft.measurement.others
            return replace(sample, state=draft.state, health=draft.health)

        world.driver.change = change

    return inject


def _low_voltage(world: World) -> float:
    _measured("voltage")(world)
    return SAG


def _stale(world: World) -> float:
    world.driver.change = lambda sample: None
    return world.limits.stale_after


def _frozen(world: World) -> float:
    last = Measured(held_signals(world.policy.contract))
    last.flat[:] = world.node.measurement.flat
    world.driver.change = lambda sample: replace(sample, state=last.state)
    return (world.limits.frozen_ticks - 1) * world.period


def _late(world: World) -> float:
    """Every tick takes one and a half periods, so that every second deadline is missed."""
    world.busy = 1.5 * world.period
    return (2 * world.limits.max_missed_deadlines) * world.period


def _clock_in_wait(leap: float) -> Callable[[World], None]:
    def inject(world: World) -> None:
        world.clock.leap = leap

    return inject


def _clock_in_tick(leap: float) -> Callable[[World], None]:
    def inject(world: World) -> None:
        world.clock.ahead += leap

    return inject


def _nan_action(world: World) -> None:
    world.policy.broken = lambda action: action * np.nan


def _over_torque(path: Path) -> Seen:
    """Let the network alternate between its largest actions; check the commands at the robot."""
    with World(path) as world:
        world.walk()
        world.driver.asked.clear()
        clip = world.policy.contract.action.clip
        world.policy.broken = lambda action: np.full_like(action, clip * (-1) ** world.node.ticks)
        world.step(5)
        node = world.node
        asked = np.abs(world.driver.asked).max(axis=0)
        said = [line for line in node.envelope.report() if "torque" in line]
        within = bool((asked <= node.envelope.bounds.torque + ROUNDING).all())
        i = int((asked / node.envelope.bounds.torque).argmax())
        most = f"the robot was asked for {asked[i]:.4g} N m at the most"
        return Seen(CLAMPED if said and within else NOTHING, "; ".join([*said, most]))


def _command_timeout(path: Path) -> Seen:
    """Silence the operator: the command must become zero while the policy runs."""
    with World(path) as world:
        world.operator.lost_at = world.walk()
        world.step(round(COMMAND_TIMEOUT / world.period) + 1)
        command = world.node.command
        went_on = world.node.state is State.POLICY
        age = world.node.wanted[1]
        text = f"command {age:.2f} s old, time-out {COMMAND_TIMEOUT:g} s: "
        text += f"asked for {', '.join(f'{x:g}' for x in command)}"
        return Seen(REFUSED if went_on and not command.any() else NOTHING, text)


def _guarded(name: str, guard: str, injected: str, **tightened: float) -> Fault:
    return Fault(name, injected, _run(_measured(guard), tightened), guard)


def _leap(name: str, how: str, inject: Callable[[World], None]) -> Fault:
    return Fault(name, f"the clock leaps {LEAP:g} s {how}", _run(inject), "clock_jump")


FAULTS = (
    Fault("stale_state", "the robot sends no more states", _run(_stale), "stale_state"),
    Fault("frozen_state", "states go on, all with the same bits", _run(_frozen), "frozen_state"),
    _guarded("nan_state", "finite_state", "a measured velocity is NaN"),
    Fault("nan_action", "the network's output is NaN", _run(_nan_action), "finite_action"),
    _guarded("broken_quaternion", "orientation", "the orientation is not of norm one"),
    _guarded("tilt", "tilt", "the robot tips over, 1 % beyond the limit"),
    _guarded("spin", "angular_rate", "the robot spins, 1 % beyond the limit"),
    _guarded("joint_out_of_range", "joint_position", "an encoder is 0.01 rad beyond its limit"),
    _guarded("joint_too_fast", "joint_velocity", "a joint is 1 % faster than its limit"),
    Fault(
        "over_torque",
        "the network asks for all that it can, to and fro",
        _over_torque,
        "torque at",
        (CLAMPED,),
    ),
    _guarded("lost_motor", "lost_motors", "a motor does not answer any more"),
    _guarded("hot_motor", "motor_temperature", "a motor is 1 % beyond its limit"),
    Fault(
        "low_voltage",
        "the battery is 0.01 V below a limit of 24 V",
        _run(_low_voltage, {"min_voltage": 24.0}),
        "voltage",
    ),
    _guarded("other_writer", "other_writers", "the driver sees another writer"),
    Fault(
        "late_tick",
        "every tick takes one and a half periods",
        _run(_late),
        "missed_deadlines",
    ),
    _leap("clock_forward", "ahead while the node waits", _clock_in_wait(LEAP)),
    _leap("clock_back", "back while the node waits", _clock_in_wait(-LEAP)),
    _leap("clock_back_in_tick", "back while the node works", _clock_in_tick(-LEAP)),
    Fault(
        "command_timeout",
        "the operator is not heard any more",
        _command_timeout,
        "asked for 0, 0, 0",
        (REFUSED,),
    ),
)
