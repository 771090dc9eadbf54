"""The simulated robot: in lockstep, and as a process over UDP."""

import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import mujoco
import node_helpers as helpers
import numpy as np
import pytest
from test_driver_contract import FEET, POSE, DriverContract

from robot_ppo import cli, project
from robot_ppo.sim import server
from robot_ppo.sim.simulated_robot import (
    DivergedRobotError,
    LockstepClock,
    LockstepDriver,
    SimulatedRobot,
)
from robot_ppo_export.contract.state import BASIC, zeros
from robot_ppo_export.errors import InputError
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.capabilities import Capabilities
from robot_ppo_node.drivers.udp.udp_endpoint import NodeEndpoint
from robot_ppo_node.node import Node
from robot_ppo_node.robot_side.base import SILENT_AFTER

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def spec():
    return project.load_robot("go2")


@pytest.fixture(scope="module")
def shared(spec):
    return SimulatedRobot(spec)


@pytest.fixture
def robot(shared):
    shared.reset()
    return shared


def flat(state):
    return np.concatenate([getattr(state, name) for name in BASIC])


def stand(robot):
    """Hold the default pose with the standing gains."""
    s = robot.spec.stand
    n = len(robot.spec.joints)
    robot.drive(robot.spec.vector("default"), np.full(n, s.kp), np.full(n, s.kd))


def within(seconds, condition):
    """Wait until `condition()`, real time, and return whether it came."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("pose", ["rest", "home"])
def test_it_starts_on_the_ground_and_not_in_it(robot, pose):
    robot.reset(pose)
    assert robot.data.contact.dist.min(initial=0) > -1e-12
    robot.data.qpos[2] -= 1e-6  # a micrometre lower it would be in the floor
    mujoco.mj_forward(robot.model, robot.data)
    assert robot.data.contact.dist.min(initial=0) == pytest.approx(-1e-6, rel=1e-3)


@pytest.fixture
def away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands


@pytest.mark.parametrize(
    ("field", "value"), [("qvel", np.nan), ("qvel", 1e12), ("qvel", 2e3), ("qpos", np.nan)]
)
def test_a_robot_that_leaves_physics_is_not_put_on_its_feet(robot, field, value, away):
    stand(robot)
    robot.advance(0.1)
    getattr(robot.data, field)[8] = value
    with pytest.raises(DivergedRobotError, match=r"diverged after 0\.102 s: its state is not fin"):
        robot.advance(0.1)
    with pytest.raises(DivergedRobotError):  # for good
        robot.advance(0.1)
    robot.reset()
    robot.advance(0.1)
    assert np.isfinite(robot.data.qpos).all()


def test_a_process_whose_robot_leaves_physics_ends_with_a_sentence(away, monkeypatch, capsys):
    def broken(robot):
        robot.data.qvel[8] = np.nan
        step(robot)

    step = SimulatedRobot._step
    monkeypatch.setattr(SimulatedRobot, "_step", broken)
    assert cli.main(["sim", "go2", "--port", "0", "--seconds", "5"]) == 3
    assert "robot-ppo: the simulated robot diverged after 0.002 s" in capsys.readouterr().err


def test_home_is_the_keyframe_of_the_model(robot, spec):
    robot.reset("home")
    assert robot.position_w()[2] == pytest.approx(spec.base.height, abs=1e-6)
    assert np.allclose(robot.state().joint_pos, spec.vector("default"), atol=1e-6)


def test_a_target_beyond_the_range_is_held_at_its_end(robot, spec):
    n = len(spec.joints)
    robot.drive(np.full(n, 1e6), np.full(n, 20.0), np.full(n, 1.0))
    assert np.array_equal(robot.target, spec.vector("range")[:, 1])


def test_it_stands_under_the_standing_gains(robot, spec):
    robot.reset("home")
    stand(robot)
    robot.advance(1.0)
    assert robot.time == pytest.approx(1.0, abs=1e-12)
    assert robot.tilt() < 0.05
    assert robot.position_w()[2] > 0.85 * spec.base.height
    assert np.abs(robot.velocity_b()).max() < 0.02
    assert robot.contacts().all()


def test_it_collapses_when_it_only_damps(robot, spec):
    robot.reset("home")
    stand(robot)
    robot.advance(0.5)
    robot.damp()
    robot.advance(2.0)
    assert robot.position_w()[2] < 0.5 * spec.base.height


def test_truth_is_what_the_simulator_moves(robot):
    robot.reset("home")
    robot.data.qpos[3:7] = [np.cos(0.5), 0, 0, np.sin(0.5)]  # turned left by 1 rad
    robot.data.qvel[:6] = [np.cos(1.0), np.sin(1.0), 0.1, 0, 0, 0.7]  # 1 m/s along body x
    assert np.allclose(robot.velocity_b(), [1, 0, 0.1])
    assert robot.yaw_rate() == 0.7


def test_a_sensor_delay_shifts_the_states_by_whole_steps(spec):
    now = SimulatedRobot(spec)
    late = SimulatedRobot(spec, sensor_delay=0.006)
    states = {0: flat(now.state())}
    for step in range(1, 8):
        now.advance(0.002)
        late.advance(0.002)
        states[step] = flat(now.state())
        assert np.array_equal(flat(late.state()), states[max(step - 3, 0)])


def test_noise_is_seeded_and_stays_in_its_half_width(spec, robot):
    noise = {"joint_pos": 0.01, "base_ang_vel": 0.2}
    a, b, c = (SimulatedRobot(spec, noise=noise, seed=seed) for seed in (1, 1, 2))
    x, y, z, clean = (r.state() for r in (a, b, c, robot))
    assert np.array_equal(flat(x), flat(y))
    assert not np.array_equal(flat(x), flat(z))
    error = np.abs(x.joint_pos - clean.joint_pos)
    assert 0 < error.max() <= 0.01 + 1e-6
    assert np.array_equal(x.joint_vel, clean.joint_vel)


def test_noise_of_an_unknown_signal_is_refused(spec):
    with pytest.raises(InputError, match="joint_poss"):
        SimulatedRobot(spec, noise={"joint_poss": 0.1})


def lockstep_run(spec, seconds):
    """Return the node after a run, and every state of the robot."""
    robot = SimulatedRobot(spec, noise={"joint_vel": 0.1})
    commands = FixedCommand((0.3, 0.0, 0.1))
    driver = LockstepDriver(robot)
    clock = LockstepClock(robot)
    node = Node(helpers.policy(), driver, clock, commands, arm=True)
    states = []
    node.run(seconds, on_tick=lambda: states.append(robot.data.qpos.copy()))
    return node, np.array(states)


@pytest.mark.numeric
def test_the_unchanged_node_runs_in_lockstep_and_a_run_is_the_same_every_time(spec):
    node, first = lockstep_run(spec, 4.0)
    _, second = lockstep_run(spec, 4.0)
    texts = " ".join(str(event) for _, event in node.events)
    assert State.POLICY.name in texts
    assert node.fault is None
    assert node.missed == 0
    # 4 s, 1 s of standing still, 2 s of sitting down, and 1 s of damping
    assert abs(len(first) - 400) <= 2
    assert first.tobytes() == second.tobytes()


def opened(robot, joints=None):
    driver = LockstepDriver(robot)
    driver.open(joints or robot.spec.joint_names, robot.spec.feet)
    return driver


class Still:
    """Stands where a simulated robot would: joints of any names, at rest in the contract's pose."""

    def __init__(self, joints):
        self.spec = SimpleNamespace(joint_names=joints, feet=FEET, joints=())
        self.signals = frozenset(BASIC)
        self.steps = 0
        self.time = 0.0

    def state(self):
        state = zeros((), len(self.spec.joint_names), len(FEET))
        state.joint_pos[:] = [POSE.get(name, 0.0) for name in self.spec.joint_names]
        return state

    def measure(self):
        self.steps += 1

    def silence(self):
        self.state = None  # reading it would be an error

    def drive(self, *command):
        self.command = [values.copy() for values in command]

    def commanded(self):
        return dict(zip(self.spec.joint_names, zip(*self.command, strict=True), strict=True))

    def damp(self):
        n = len(self.spec.joint_names)
        self.command = [np.zeros(n), np.zeros(n), np.full(n, helpers.robot().damping.kd)]


class TestLockstepDriver(DriverContract):
    def make(self, joints, signals=frozenset(BASIC)):
        robot = Still(joints)
        driver = LockstepDriver(robot)
        driver.signals = signals
        driver.capabilities = Capabilities()
        return driver, robot


def test_the_driver_gives_each_measurement_once(robot):
    driver = opened(robot)
    assert driver.read() is not None
    assert driver.read() is None
    robot.advance(0.02)
    sample = driver.read()
    assert sample is not None
    assert sample.time == robot.time == 0.02


def test_the_driver_maps_by_name(robot, spec):
    joints = spec.joint_names[::-1]
    driver = opened(robot, joints)
    assert np.array_equal(driver.read().state.joint_pos, robot.state().joint_pos[::-1])
    gain = np.arange(len(joints), dtype=np.float32)
    target = spec.vector("default").astype(np.float32)[::-1].copy()
    driver.write(MotorCommand(target, gain + 20, gain + 40))
    target[:] = -1  # the arrays belong to the node, which goes on to use them
    assert np.array_equal(robot.target, spec.vector("default").astype(np.float32))
    assert np.array_equal(robot.motors.kp[0], gain[::-1] + 20)
    assert np.array_equal(robot.motors.kd[0], gain[::-1] + 40)


def newest(node):
    """The newest state of all that have arrived; one `receive` reads a limited number."""
    last = None
    while message := node.receive():
        last = message
    return last


@pytest.fixture
def served():
    """A robot over UDP on a free port, in a thread; yields its port and a connected node's end."""
    lines = []
    stop = threading.Event()
    thread = threading.Thread(
        target=server.serve,
        args=("go2", server.Place(port=0)),
        kwargs={"say": lines.append, "stop": stop},
    )
    thread.start()
    assert within(10, lambda: lines)
    port = int(lines[0].split("127.0.0.1:")[1].split(".")[0])
    node = NodeEndpoint(port=port)

    def connected():
        node.request_hello()
        node.receive()
        return node.hello is not None

    assert within(5, connected)
    yield port, node
    node.close()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_the_server_answers_hello_streams_states_and_damps_in_silence(served, spec):
    _, node = served
    assert node.hello.joints == spec.joint_names
    assert set(node.hello.signals) == set(BASIC)

    def standing():
        n = len(spec.joints)
        node.send_command(spec.vector("default"), np.full(n, 60.0), np.full(n, 5.0))
        message = newest(node)
        if message is None:
            return False
        carries = np.abs(message.state.joint_torque).max() > 3
        return carries and np.abs(message.state.joint_pos - spec.vector("default")).max() < 0.2

    assert within(10, standing)
    time.sleep(SILENT_AFTER)

    def sinking():
        message = newest(node)
        if message is None:
            return False
        pos, vel, torque = (getattr(message.state, f"joint_{x}") for x in ("pos", "vel", "torque"))
        # Damping is all that is left: torque = -kd * velocity, give or take one physics step.
        only_damped = np.allclose(torque, -spec.damping.kd * vel, atol=0.3)
        return only_damped and np.abs(pos - spec.vector("default")).max() > 0.25

    assert within(10, sinking)


def test_states_arrive_whole_periods_apart(served):
    _, node = served
    times = []

    def hundred():
        message = newest(node)
        times.extend([message.time] if message else [])
        return len(times) >= 100

    assert within(60, hundred)
    # Whole periods apart; some are skipped where the test was slower than the robot.
    periods = np.diff(times) / server.PERIOD
    assert np.allclose(periods, np.rint(periods), atol=1e-6)
    assert (periods > 0.5).all()


def test_a_port_in_use_is_said_in_a_sentence(served):
    port, _ = served
    with pytest.raises(InputError, match=f"{port}.*--port"):
        server.serve("go2", server.Place(port=port), say=lambda line: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly(number):
    code = "from robot_ppo.sim.server import Place, serve; serve('go2', Place(port=0))"
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()  # it lives, and its handlers are in place
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err == b""
    assert b"Simulated" in out
