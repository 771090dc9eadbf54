"""A stop in mid-stride: the robot stands still before it lies down, and does not tip over."""

from pathlib import Path

import pytest

from robot_ppo import project
from robot_ppo.sim.simulated_robot import LockstepClock, LockstepDriver, SimulatedRobot
from robot_ppo_export.policy import Policy
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control import exits
from robot_ppo_node.control.states import State
from robot_ppo_node.node import Node

SHIPPED = Path(__file__).parent / "golden" / "go2_walk.onnx"
STRIDE = 25
"""Ticks of one gait cycle: 50 Hz, 2 Hz."""
UNLUCKY = 18
"""The tick at which the shipped policy leans farthest if it lies down at once."""


def stopped(vx: float, tick: int) -> tuple[Node, SimulatedRobot, float]:
    """The shipped policy, stopped after 3 s and `tick` ticks of walking, and its largest tilt."""
    noise = {"base_ang_vel": 0.01, "joint_pos": 0.01}
    robot = SimulatedRobot(project.load_robot("go2"), noise=noise)
    ends = LockstepDriver(robot), LockstepClock(robot), FixedCommand((vx, 0, 0))
    node = Node(Policy(SHIPPED), *ends, arm=True)
    node.prepare()

    def tilt_until(done) -> float:
        largest = 0.0
        while not done():
            node.clock.sleep_until(node.clock.now() + node.period)
            node.tick()
            largest = max(largest, robot.tilt())
        return largest

    tilt_until(lambda: node.state is State.POLICY)
    ends_at = node.ticks + round(3 / node.period) + tick
    tilt_until(lambda: node.ticks >= ends_at)
    assert robot.velocity_b()[0] > 0.5 * vx
    node.stop("test")
    return node, robot, tilt_until(lambda: node.over)


@pytest.mark.parametrize(("vx", "tick"), [(0.3, 0), (0.6, UNLUCKY), (0.8, STRIDE // 2)])
def test_a_robot_that_is_stopped_while_it_walks_lies_down_upright(vx, tick):
    node, robot, tilt = stopped(vx, tick)
    print(f"{vx} m/s, tick {tick}: tilt {tilt:.3f} rad")
    assert node.fault is None
    assert tilt < 0.3
    assert robot.position_w()[2] < 0.6 * robot.spec.base.height  # it lies
    texts = [str(event) for _, event in node.events]
    assert texts[-3:] == ["HALT: test", "SIT: standing still", "DAMP: lowered"]


def test_negative_control_without_standing_still_it_leans_far(monkeypatch):
    monkeypatch.setattr(exits, "HALT_SECONDS", 0.0)
    _, _, tilt = stopped(0.6, UNLUCKY)
    assert tilt > 0.4  # 0.5, beside less than 0.3 above


def test_while_it_stands_still_the_policy_is_asked_for_zero_and_the_log_says_so(tmp_path):
    """And nothing fades: the network goes on with its own targets."""
    from node_helpers import rig

    r = rig(ring=60, commands=FixedCommand((0.5, 0.0, 0.3))).until(State.POLICY).ticks(30)
    r.node.stop("test")
    r.ticks(10)
    assert r.node.state is State.HALT
    rows, _ = r.node.recorder.log()
    halted = rows["node_state"] == State.HALT
    assert halted.sum() == 10
    assert not rows["command"][halted].any() and rows["command"][~halted][-1].any()
    assert (rows["wanted"][halted] == rows["wanted"][~halted][-1]).all()
    action_map = r.node.policy.action_map
    for row in range(-10, 0):
        assert (rows["target"][row] == action_map.target(rows["action"][row])).all()
