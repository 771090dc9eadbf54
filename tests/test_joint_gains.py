"""Gains of standing and of damping that differ from joint to joint, wherever they are sent."""

import msgspec
import node_helpers as helpers
import numpy as np
import pytest

from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import report
from robot_ppo_node.control.setpoints import WEAK, Setpoints
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.robot_side.udp_robot import UdpRobot

NAMES = helpers.robot().joint_names
KP = {name: 50.0 + i for i, name in enumerate(NAMES)}
KD = {name: 4.0 + 0.1 * i for i, name in enumerate(NAMES)}
BRAKE = {name: 2.0 + 0.1 * i for i, name in enumerate(NAMES)}


def spec():
    robot = helpers.robot()
    stand = msgspec.structs.replace(robot.stand, kp=KP, kd=KD)
    damping = msgspec.structs.replace(robot.damping, kd=BRAKE)
    return msgspec.structs.replace(robot, stand=stand, damping=damping)


def values(gains, names=NAMES):
    return np.array([gains[name] for name in names], np.float32)


@pytest.fixture(scope="module")
def policy():
    contract = msgspec.structs.replace(helpers.contract(), robot=spec())
    return Policy(helpers.write_policy(contract))


def test_the_setpoints_of_every_state_have_them(policy):
    setpoints = Setpoints(policy)
    for state in (State.STAND, State.READY, State.SIT, State.HOLD):
        assert np.array_equal(setpoints.gains[state][0], values(KP))
        assert np.array_equal(setpoints.gains[state][1], values(KD))
    assert np.allclose(setpoints.gains[State.JOINT_CHECK][0], values(KP) * WEAK)
    assert np.array_equal(setpoints.gains[State.DAMP][1], values(BRAKE))
    assert np.array_equal(setpoints.damping, values(BRAKE))


def test_the_policy_file_brings_them_and_its_report_lists_them(policy):
    assert policy.contract.robot.damping.kd == BRAKE
    assert f"{NAMES[0]}: 50, {NAMES[1]}: 51" in report.describe_page(policy)


@pytest.mark.parametrize("order", [NAMES, tuple(reversed(NAMES))])
def test_damping_over_udp_is_each_joints_own_in_the_order_of_the_robot(order):
    end = UdpRobot(Hello("go2", order, BASIC, ()), 0)
    clock = helpers.SteppedClock(lambda time: None)
    damping = Connection(robot=spec()).damping
    driver = UdpDriver(clock, port=end.port, damping=damping)
    driver.adopt(Hello("go2", order, BASIC, ()), NAMES, ())
    assert np.array_equal(driver._damping, values(BRAKE, order))
    end.close()


def test_a_simulated_robot_that_nobody_commands_brakes_with_them():
    robot = SimulatedRobot(spec())
    assert np.allclose(robot.motors.kd[0], values(BRAKE))
    assert not robot.motors.kp.any()


def test_one_number_means_all_joints():
    robot = helpers.robot()
    setpoints = Setpoints(helpers.policy())
    assert np.array_equal(setpoints.damping, np.full(len(NAMES), robot.damping.kd, np.float32))
