"""What every driver keeps: one class of tests, and a subclass for each driver."""

import numpy as np
import pytest
from node_helpers import robot

from robot_ppo_export.contract.state import SIGNALS, zeros
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.node import drivers
from robot_ppo_export.node.clock import MonotonicClock
from robot_ppo_export.node.drivers.base import (
    JointMap,
    Measured,
    MotorCommand,
    check_joints,
    needed_signals,
    negotiate,
)
from robot_ppo_export.node.drivers.fake import FakeDriver
from robot_ppo_export.node.drivers.udp import UdpDriver
from robot_ppo_export.node.drivers.udp_protocol import Hello, RobotEndpoint

NAMES = robot().joint_names
FEET = robot().feet
SHUFFLED = tuple(np.random.default_rng(3).permutation(NAMES).tolist())
POSE = {name: 0.1 * i for i, name in enumerate(NAMES)}


def pose_of(names) -> np.ndarray:
    return np.array([POSE[name] for name in names], "f4")


class DriverContract:
    """A driver's tests: `make` gives a driver and the robot's end of it.

    The robot's joints stand at `POSE`. The robot's end has `measure()`, which lets the robot send
    one more measurement, and `commanded()`, the last command as {joint: (target, kp, kd)}.
    """

    def make(self, joints, signals=frozenset(SIGNALS)):
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _close_all(self):
        self.opened = []
        yield
        for thing in self.opened:
            thing.close()

    def test_states_come_in_the_contracts_order(self):
        driver, end = self.make(SHUFFLED)
        driver.open(NAMES, FEET)
        end.measure()
        assert driver.read().state.joint_pos == pytest.approx(pose_of(NAMES))
        assert driver.joint_names == SHUFFLED

    def test_commands_reach_the_joint_of_their_name(self):
        driver, end = self.make(SHUFFLED)
        driver.open(NAMES, FEET)
        target = pose_of(NAMES)
        driver.write(MotorCommand(target, target + 1, target + 2))
        for name, values in end.commanded().items():
            assert values == pytest.approx((POSE[name], POSE[name] + 1, POSE[name] + 2), rel=1e-6)

    def test_negative_control_mapping_by_index_would_be_wrong(self):
        assert not np.allclose(pose_of(SHUFFLED), pose_of(NAMES))

    def test_read_does_not_repeat_itself_and_sequences_grow(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        end.measure()
        first = driver.read()
        end.measure()
        second = driver.read()
        assert second.sequence > first.sequence
        assert second.time >= first.time

    def test_shapes_are_those_of_the_contract(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        end.measure()
        measured = Measured(len(NAMES), len(FEET))
        measured.update(driver.read().state)
        assert measured.state.joint_pos == pytest.approx(pose_of(NAMES))

    @pytest.mark.parametrize(
        ("offered", "text"),
        [
            (NAMES[:-1], "only the policy has [RL_calf_joint], only the robot has []"),
            ((*NAMES, "tail"), "only the policy has [], only the robot has [tail]"),
            (("hip", *NAMES[1:]), "only the policy has [FR_hip_joint], only the robot has [hip]"),
        ],
    )
    def test_joints_that_differ_are_refused_naming_both_sides(self, offered, text):
        driver, _ = self.make(offered)
        with pytest.raises(RefusedError) as error:
            driver.open(NAMES, FEET)
        assert text in str(error.value)

    def test_a_signal_that_is_missing_is_refused_by_name(self):
        from node_helpers import contract

        driver, _ = self.make(NAMES, frozenset(SIGNALS) - {"base_ang_vel"})
        driver.open(NAMES, FEET)
        with pytest.raises(RefusedError, match="does not measure base_ang_vel"):
            negotiate(contract(), driver)

    def test_a_robot_that_fits_is_accepted(self):
        from node_helpers import contract

        driver, _ = self.make(SHUFFLED, frozenset(needed_signals(contract())))
        driver.open(NAMES, FEET)
        negotiate(contract(), driver)

    def test_closing_twice_is_harmless(self):
        driver, _ = self.make(NAMES)
        driver.close()
        driver.open(NAMES, FEET)
        driver.close()
        driver.close()


class TestFake(DriverContract):
    def make(self, joints, signals=frozenset(SIGNALS)):
        pose = np.array([POSE.get(name, 0.0) for name in joints], "f4")
        driver = FakeDriver(MonotonicClock(), joints, signals, pose)

        class End:
            def measure(self):
                pass

            def commanded(self):
                c = driver.written[-1]
                rows = zip(c.target, c.kp, c.kd, strict=True)
                return dict(zip(joints, rows, strict=True))

        return driver, End()


class TestUdp(DriverContract):
    def make(self, joints, signals=frozenset(SIGNALS)):
        import threading
        import time

        wire = RobotEndpoint(Hello("test", joints, tuple(signals), FEET), port=0)
        driver = UdpDriver(MonotonicClock(), port=wire.port, wait=5.0)
        self.opened += [wire, driver]
        state = zeros((), len(joints), len(FEET))
        state.joint_pos[:] = [POSE.get(name, 0.0) for name in joints]
        received = []

        def answer(until):
            while wire.counters.received == until and time.monotonic() < ends:
                received.append(wire.receive(time.monotonic()))
                time.sleep(0.002)

        ends = time.monotonic() + 5.0
        threading.Thread(target=answer, args=(0,), daemon=True).start()

        class End:
            def measure(self):
                wire.send_state(0.0, state)
                time.sleep(0.01)

            def commanded(self):
                time.sleep(0.02)
                command = wire.receive(time.monotonic())
                rows = zip(command.target, command.kp, command.kd, strict=True)
                return dict(zip(joints, rows, strict=True))

        return driver, End()


def test_an_unknown_driver_is_answered_with_the_list():
    with pytest.raises(InputError, match="did you mean 'udp'"):
        drivers.create("upd", MonotonicClock(), "127.0.0.1", None, 1.0)


def test_two_joints_of_one_name_are_refused():
    with pytest.raises(RefusedError, match="share a name"):
        check_joints(("a", "b"), ("a", "a"), "test")


def test_a_joint_map_there_and_back_is_the_identity():
    joints = JointMap(NAMES, SHUFFLED, "test")
    values = np.arange(len(NAMES))
    assert (joints.from_robot(joints.to_robot(values)) == values).all()
    assert (joints.to_robot(pose_of(NAMES)) == pose_of(SHUFFLED)).all()
