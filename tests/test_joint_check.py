"""Each joint answers for itself, with the right sign, and the delay is the one that was put in."""

import functools
import time

import msgspec
import mujoco
import numpy as np
import pytest
from node_helpers import policy, rig, robot

from robot_ppo import project
from robot_ppo.sim.simulated_robot import LockstepClock, LockstepDriver, SimulatedRobot
from robot_ppo_export.contract.contract import DELAY_RANDOMIZATIONS
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.node import Node
from robot_ppo_node.startup import delay_fit
from robot_ppo_node.startup.delay_fit import DELAYS, INERTIAS, DelayFit, step_response
from robot_ppo_node.startup.joint_check import FIT, REST, STEP

pytestmark = pytest.mark.real_time

KP = 20.0
KD = 5.0 / 3


def hung_up(motor_delay=0.0, sensor_delay=0.0) -> SimulatedRobot:
    """A Go2 whose base is held in the air: a million times as heavy, and carried."""
    delays = {"motor_delay": motor_delay, "sensor_delay": sensor_delay}
    noise = {"joint_pos": 0.002, "base_ang_vel": 0.01}
    hung = SimulatedRobot(project.load_robot("go2"), noise=noise, **delays)
    model, base = hung.model, hung.model.body(hung.spec.base.body).id
    model.body_mass[base] *= 1e6
    model.body_inertia[base] *= 1e6
    mujoco.mj_setConst(model, hung.data)
    hung.reset()
    hung.data.qpos[2] += 0.6
    hung.data.xfrc_applied[base, 2] = -model.opt.gravity[2] * model.body_mass.sum()
    hung.advance(1.0)
    return hung


def checked(hung: SimulatedRobot, p=None) -> Node:
    """A node that has checked its joints, or given up."""
    p = p or policy()
    node = Node(
        *(p, LockstepDriver(hung), LockstepClock(hung), FixedCommand()),
        stand=True,
        joint_check=True,
    )
    node.prepare()
    for _ in range(700):
        node.clock.sleep_until(node.clock.now() + node.period)
        node.tick()
        if node.state in (State.STAND, State.DAMP):
            return node
    raise AssertionError(node.events)


def measured_delay(node: Node) -> float:
    """In ms."""
    (check,) = [c for c in node.checks if c.name == "delay"]
    return float(check.value.partition(" ms")[0])


@pytest.mark.parametrize(("motor", "sensor"), [(0.0, 0.0), (0.01, 0.01), (0.02, 0.02)])
def test_the_delay_of_a_robot_that_hangs_is_measured(motor, sensor):
    node = checked(hung_up(motor, sensor))
    assert node.state is State.STAND, node.events
    # By other noise of the encoders, 0 ms are measured as 0 to 8 ms, and 20 ms as 19 to 22 ms.
    assert measured_delay(node) == pytest.approx(1e3 * (motor + sensor), abs=9)


def test_a_delay_that_training_never_saw_is_a_fault():
    contract = policy().contract
    training = msgspec.structs.replace(
        contract.training, randomization={"actuator_delay": [0.0, 5.0], "sensor_delay": [0.0, 5.0]}
    )
    p = policy()
    p.contract, before = msgspec.structs.replace(contract, training=training), contract
    try:
        node = checked(hung_up(0.02, 0.02), p)
    finally:
        p.contract = before
    assert node.fault.startswith("delay: 4")
    assert "trained with 0 to 10 ms" in node.fault
    assert all(name in node.fault for name in DELAY_RANDOMIZATIONS)


def test_a_delay_that_training_saw_as_that_of_buses_and_packets_passes():
    contract = policy().contract
    ranges = {"sensor_delay": [0.0, 5.0], "group_delay": [0.0, 20.0], "packet_delay": [0.0, 20.0]}
    training = msgspec.structs.replace(contract.training, randomization=ranges)
    p = policy()
    p.contract, before = msgspec.structs.replace(contract, training=training), contract
    try:
        node = checked(hung_up(0.02, 0.02), p)
    finally:
        p.contract = before
    assert node.state is State.STAND, node.fault


def test_a_robot_on_the_ground_is_told_to_be_hung_up():
    node = checked(SimulatedRobot(project.load_robot("go2"), noise={"base_ang_vel": 0.01}))
    assert node.state is State.DAMP
    assert node.fault.startswith("joint check")


def crossed(motion):
    """A fake robot whose joints answer as `motion(target, pose)` says, from its lying pose."""
    r = rig(arm=False, node={"joint_check": True})
    r.driver._move = functools.partial(_follow, r.driver, motion)
    for _ in range(700):
        r.ticks(1)
        if r.node.state in (State.STAND, State.DAMP):
            return r.node
    raise AssertionError(r.events())


def _follow(driver, motion):
    driver.state.base_ang_vel[0] = 1e-4 * (driver.reads % 8)
    driver.state.base_lin_acc[2] = 9.81
    if driver.written and driver.written[-1].kp.any():
        driver.state.joint_pos[:] = motion(driver.written[-1].target, robot().rest().astype("f4"))


def test_a_robot_whose_joints_follow_passes():
    assert crossed(lambda target, rest: target).state is State.STAND


def test_a_joint_with_the_wrong_sign_is_found():
    def wrong(target, rest):
        answer = target.copy()
        answer[4] = 2 * rest[4] - target[4]
        return answer

    fault = crossed(wrong).fault
    assert fault.startswith("joint check FL_thigh_joint: moved")
    assert "look at its sign" in fault


def test_two_joints_that_are_swapped_are_found():
    def swapped(target, rest):
        answer = target.copy()
        answer[[0, 3]] = rest[[0, 3]] + (target - rest)[[3, 0]]
        return answer

    fault = crossed(swapped).fault
    assert fault.startswith("joint check FR_hip_joint: moved")
    assert "FL_hip_joint moved instead" in fault


def test_a_joint_that_does_not_move_is_found():
    fault = crossed(lambda target, rest: np.where(np.arange(12) == 8, rest, target)).fault
    assert fault.startswith("joint check RR_calf_joint: moved +0.000 rad")
    assert "hang the robot up" in fault


def test_only_one_joint_moves_at_a_time_and_by_no_more_than_the_step():
    r = rig(arm=False, node={"joint_check": True}).until(State.JOINT_CHECK)
    while r.node.state is State.JOINT_CHECK:
        away = np.abs(r.driver.written[-1].target - robot().rest())
        # a lying calf is 5 mrad outside the margin of its range, and is sent at the margin
        assert (away > 0.03).sum() <= 1
        assert away.max() <= STEP + 1e-6
        r.ticks(1)


@pytest.mark.parametrize("inertia", [0.005, 0.0347, 0.2])
def test_the_step_response_obeys_its_equation(inertia):
    """Under-, critically and overdamped: I q'' = kp (1 - q) - kd q' by finite differences."""
    t = np.arange(0.0, 0.5, 1e-4)
    q = step_response(t, np.array(inertia), KP, KD)
    velocity = np.gradient(q, t)
    acceleration = np.gradient(np.gradient(q, t), t)
    error = inertia * acceleration - KP * (1 - q) + KD * velocity
    assert np.abs(error[5:-5]).max() < 0.02 * KP  # differences of 0.1 ms
    assert q[0] == 0
    assert step_response(np.array([-1.0]), np.array(inertia), KP, KD) == 0


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.05])
@pytest.mark.parametrize("inertia", [0.01, 0.1])
def test_a_delay_is_recovered_from_a_clean_answer(delay, inertia):
    times = np.arange(1, 9) * 0.02
    answers = 0.7 * step_response(times - delay, np.array(inertia), KP, KD)
    fit, _ = fitted(times, answers)
    assert fit.delay == pytest.approx(delay, abs=0.0021)


def fitted(times, answers):
    """A finished fit, and the processor time of each of its steps [s]."""
    fit = DelayFit(times, answers, KP, KD)
    durations = []
    while not fit.done:
        before = time.thread_time()
        fit.step()
        durations.append(time.thread_time() - before)
    return fit, durations


NOISY = np.arange(1, 17) * 0.02, np.random.default_rng(0).normal(0.8, 0.2, 16)


def test_a_fit_in_steps_is_the_fit_at_once(monkeypatch):
    in_steps, durations = fitted(*NOISY)
    monkeypatch.setattr(delay_fit, "PER_STEP", len(INERTIAS))
    at_once, one = fitted(*NOISY)
    assert in_steps.delay == at_once.delay
    assert len(one) == 1 and len(durations) > 10


def test_a_fit_fits_into_the_ticks_of_one_joint_and_a_step_into_a_tick():
    """All joints at once took 625 ms on a busy machine, and the guards of the clock fired."""
    _, durations = fitted(*NOISY)
    assert len(durations) <= 2 * REST / policy().contract.control_period
    typical = np.median([fitted(*NOISY)[1] for _ in range(10)])
    print(f"{typical * 1e3:.2f} ms per step")
    assert typical < 0.002


def test_no_tick_of_a_joint_check_tries_more_than_one_step_of_a_fit(monkeypatch):
    sizes = []
    in_tick = []
    original = delay_fit.step_response

    def counted(t, inertia, kp, kd):
        sizes[-1] += np.broadcast(t, inertia).size
        return original(t, inertia, kp, kd)

    monkeypatch.setattr(delay_fit, "step_response", counted)
    r = rig(arm=False, node={"joint_check": True}).until(State.JOINT_CHECK)
    while r.node.state is State.JOINT_CHECK:
        sizes.append(0)
        r.ticks(1)
        in_tick.append(sizes[-1])
    assert max(in_tick) == delay_fit.PER_STEP * len(DELAYS) * 2 * FIT
    assert sum(in_tick) == len(robot().joints) * len(INERTIAS) * len(DELAYS) * 2 * FIT


@pytest.mark.parametrize(
    ("ranges", "delay"),
    [
        ({}, (0.0, 0.0)),
        ({"actuator_delay": [2.0, 12.0], "sensor_delay": [0.0, 15.0]}, (0.002, 0.027)),
        ({"actuator_delay": [2.0, 12.0], "group_delay": [1.0, 5.0]}, (0.003, 0.017)),
        ({"sensor_delay": [3.0, 4.0], "packet_delay": [10.0, 15.0]}, (0.003, 0.019)),
        ({name: [1.0, 10.0] for name in DELAY_RANDOMIZATIONS}, (0.003, 0.04)),
    ],
)
def test_the_trained_delay_is_that_of_everything_on_the_way(ranges, delay):
    """A packet's delay is drawn from 0 to the simulation's own: it adds to the largest alone."""
    training = msgspec.structs.replace(policy().contract.training, randomization=ranges)
    assert training.delay() == pytest.approx(delay)
