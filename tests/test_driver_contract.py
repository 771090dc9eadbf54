"""What every driver keeps: one class of tests, and a subclass for each driver."""

import itertools
import time

import numpy as np
import pytest
from dds_helpers import Alive, free_domain, within
from node_helpers import contract, robot

from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node import drivers
from robot_ppo_node.clock import MonotonicClock, SteppedClock
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.drivers.joint_map import JointMap, check_joints
from robot_ppo_node.drivers.replay_driver import ReplayDriver
from robot_ppo_node.drivers.state_rate import LONG, MeasuresStateRate, explanation
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.robot_side.udp_robot import UdpRobot
from robot_ppo_node.safety.measured import Measured, held_signals, needed_signals
from robot_ppo_node.startup.compatibility import check_compatibility

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
SHUFFLED = tuple(np.random.default_rng(3).permutation(NAMES).tolist())
POSE = {name: 0.1 * i for i, name in enumerate(NAMES)}


def pose_of(names) -> np.ndarray:
    return np.array([POSE[name] for name in names], "f4")


def brakes(commanded, damping) -> bool:
    """Whether {joint: (target, kp, kd)} is damping."""
    return all((kp, kd) == (0, pytest.approx(damping)) for _, kp, kd in commanded.values())


class DriverContract:
    """A driver's tests: `make` gives a driver and the robot's end of it.

    The robot's joints stand at `POSE`. The robot's end has `measure()`, which lets the robot send
    at least one more measurement, `silence()`, after which it sends none, and `commanded()`, the
    last command as {joint: (target, kp, kd)}.
    """

    def make(self, joints, signals=frozenset(BASIC)):
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
        measured = Measured(held_signals(contract()))
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
        driver, _ = self.make(NAMES, frozenset(BASIC) - {"base_ang_vel"})
        driver.open(NAMES, FEET)
        with pytest.raises(RefusedError, match="does not measure base_ang_vel"):
            check_compatibility(contract(), driver)

    def test_a_robot_that_fits_is_accepted(self):
        driver, _ = self.make(SHUFFLED, frozenset(needed_signals(contract())))
        driver.open(NAMES, FEET)
        check_compatibility(contract(), driver)

    def test_times_and_sequences_never_go_back(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        samples = []
        for _ in range(5):
            end.measure()
            samples.append(driver.read())
        times = [sample.time for sample in samples]
        assert times == sorted(times)
        assert all(b.sequence > a.sequence for a, b in itertools.pairwise(samples))

    def test_a_robot_that_falls_silent_gives_nothing_new_and_nobody_waits(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        end.measure()
        assert driver.read() is not None
        end.silence()
        driver.read()  # what was still under way
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert driver.read() is None
            took.append(time.monotonic() - began)
        assert np.median(took) < 0.005  # one that waits would do so every time

    def test_damp_brakes_every_joint(self):
        driver, end = self.make(SHUFFLED)
        driver.open(NAMES, FEET)
        driver.write(MotorCommand(pose_of(NAMES), *np.ones((2, len(NAMES)), "f4")))
        end.commanded()
        driver.damp()
        assert brakes(end.commanded(), robot().damping.kd)

    def test_damping_is_the_last_thing_that_is_sent(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        driver.write(MotorCommand(pose_of(NAMES), *np.ones((2, len(NAMES)), "f4")))
        assert not brakes(end.commanded(), robot().damping.kd)
        driver.close()
        assert brakes(end.commanded(), robot().damping.kd)

    def test_a_command_is_copied_and_not_kept(self):
        driver, end = self.make(NAMES)
        driver.open(NAMES, FEET)
        target = pose_of(NAMES)
        driver.write(MotorCommand(target, target + 1, target + 2))
        target[:] = 77  # the arrays belong to the node, which goes on to use them
        assert all(values[0] != 77 for values in end.commanded().values())

    def test_closing_twice_is_harmless(self):
        driver, _ = self.make(NAMES)
        driver.close()
        driver.open(NAMES, FEET)
        driver.close()
        driver.close()


class TestFake(DriverContract):
    def make(self, joints, signals=frozenset(BASIC)):
        pose = np.array([POSE.get(name, 0.0) for name in joints], "f4")
        driver = FakeDriver(MonotonicClock(), joints, signals, pose)

        class End:
            def measure(self):
                pass

            def silence(self):
                driver.mutate = lambda tick, state: None

            def commanded(self):
                c = driver.written[-1]
                rows = zip(c.target, c.kp, c.kd, strict=True)
                return dict(zip(joints, rows, strict=True))

        return driver, End()


class LiveEnd:
    """The far end of a driver, alive in a thread."""

    def __init__(self, alive, joints):
        self.alive = alive
        self.joints = joints

    def measure(self):
        sends = self.alive.sent
        ends = time.monotonic() + 2
        while self.alive.sent < sends + 2 and time.monotonic() < ends:
            time.sleep(0.002)

    def silence(self):
        self.alive.sends = False
        time.sleep(0.02)

    def commanded(self):
        assert within(2, lambda: self.alive.commands)  # the first one may find nobody listening
        time.sleep(0.03)
        _, command = self.alive.commands[-1]
        rows = zip(command.target, command.kp, command.kd, strict=True)
        return dict(zip(self.joints, rows, strict=True))


class LiveContract(DriverContract):
    """For a driver whose robot is elsewhere: `connect` gives driver and far end."""

    def connect(self, joints, signals):
        raise NotImplementedError

    def make(self, joints, signals=frozenset(BASIC)):
        driver, end = self.connect(joints, signals)
        pose = [POSE.get(name, 0.0) for name in joints]
        alive = Alive(end, joints, FEET, pose)
        self.opened += [driver, alive]
        return driver, LiveEnd(alive, joints)

    @pytest.mark.parametrize("every", [0.001, 0.01])
    def test_it_knows_how_often_the_robot_states_its_measurements(self, every):
        driver, end = self.make(NAMES)
        end.alive.every = every
        driver.open(NAMES, FEET)
        began = time.monotonic()
        while (waited := time.monotonic() - began) < 0.5 or driver.state_period is None:
            assert waited < 20, "it was never told"
            driver.read()
            time.sleep(0.005)
        # The first state may have been sent before the driver was opened.
        assert 0.9 * every <= driver.state_period < 1.5 * every + 0.002
        assert isinstance(driver, MeasuresStateRate)
        assert bool(explanation(driver, "joint_velocity")) == (every > LONG)


class TestUdp(LiveContract):
    def connect(self, joints, signals):
        end = UdpRobot(Hello("test", joints, tuple(signals), FEET), port=0)
        return UdpDriver(MonotonicClock(), port=end.port, wait=5.0), end


class TestUnitree(LiveContract):
    def connect(self, joints, signals):
        pytest.importorskip("cyclonedds")
        from robot_ppo_node.drivers.unitree.unitree_bodies import Body
        from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver
        from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot

        body = Body("test", "unitree_go", joints, (1,) * 20)
        domain = free_domain()
        connection = Connection(robot=robot(), domain=domain, wait=5.0, control_period=10.0)
        driver = UnitreeDriver(MonotonicClock(), connection, body)
        driver.signals &= signals
        return driver, UnitreeRobot(body, joints, domain)


class TestRos2(LiveContract):
    def connect(self, joints, signals):
        pytest.importorskip("cyclonedds")
        from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver
        from robot_ppo_node.robot_side.ros2_robot import Ros2Robot

        domain = free_domain()
        connection = Connection(robot=robot(), domain=domain, wait=5.0, control_period=10.0)
        return Ros2Driver(MonotonicClock(), connection), Ros2Robot(joints, domain, signals=signals)


class TestReplay(DriverContract):
    def make(self, joints, signals=frozenset(BASIC)):
        widths = held_signals(contract()) | {"foot_force": len(FEET)}
        joint_signals = ("joint_pos", "joint_vel", "joint_torque")
        places = Measured(widths | dict.fromkeys(joint_signals, len(joints)))
        places.state.joint_pos[:] = [POSE.get(name, 0.0) for name in joints]
        count = 1000
        period = 0.02
        rows = {
            "sequence": np.arange(1, count + 1),
            "sample_time": 7 + period * np.arange(count),
            "measured": np.tile(places.flat, (count, 1)),
        }
        clock = SteppedClock()
        driver = ReplayDriver(clock, rows, {"joints": joints, "measured": places.places})
        driver.signals = signals

        class End:
            def measure(self):
                clock.sleep_until(clock.now() + period)

            def silence(self):
                clock.sleep_until(1000.0)

            def commanded(self):
                c = driver.written[-1]
                rows = zip(c.target, c.kp, c.kd, strict=True)
                return dict(zip(joints, rows, strict=True))

        return driver, End()


def test_an_unknown_driver_is_answered_with_the_list():
    with pytest.raises(InputError, match="did you mean 'udp'"):
        drivers.create("upd", MonotonicClock(), Connection())


def test_two_joints_of_one_name_are_refused():
    with pytest.raises(RefusedError, match="share a name"):
        check_joints(("a", "b"), ("a", "a"), "test")


def test_a_joint_map_there_and_back_is_the_identity():
    joints = JointMap(NAMES, SHUFFLED, "test")
    values = np.arange(len(NAMES))
    assert (joints.from_robot(joints.to_robot(values)) == values).all()
    assert (joints.to_robot(pose_of(NAMES)) == pose_of(SHUFFLED)).all()
