"""Driver `unitree` and a simulated robot of the same kind, over a real DDS domain on loopback."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from dds_helpers import Alive, free_domain, within
from node_helpers import ROOT, contract, robot
from process_helpers import environment

pytest.importorskip("cyclonedds")

import msgspec

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, DriverFault, MotorCommand
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.unitree import unitree_motion
from robot_ppo_node.drivers.unitree.unitree_bodies import BODIES, G1, H1, QUADRUPED, body_of
from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS
from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
from robot_ppo_node.drivers.unitree.unitree_messages import Message, decode
from robot_ppo_node.drivers.unitree.unitree_remote import Remote
from robot_ppo_node.drivers.unitree.unitree_states import STATES
from robot_ppo_node.robot_side.unitree_robot import TEMPERATURE, VOLTAGE, UnitreeRobot
from robot_ppo_node.safety import state_guards
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.safety.verdict import Outcome

pytestmark = pytest.mark.real_time

GO2 = robot()
SIGNALS = held_signals(contract())
E_STOP = Remote(frozenset({"L2", "B"}), 0, 0, 0, 0)


def spec_of(body):
    """A robot.yaml of another body, as far as a driver reads it."""
    joints = tuple(msgspec.structs.replace(GO2.joints[0], name=n) for n in body.joint_names)
    unitree = msgspec.structs.replace(GO2.unitree, message_family=body.family)
    return msgspec.structs.replace(GO2, name=body.name, joints=joints, unitree=unitree)


class Pair:
    """A robot that lives, and a driver for it on the same domain."""

    def __init__(self, body=QUADRUPED, motion="", sends=True, **connection):
        self.spec = GO2 if body is QUADRUPED else spec_of(body)
        self.domain = free_domain()
        self.names = self.spec.joint_names
        self.end = UnitreeRobot(body, self.names, self.domain, motion=motion)
        self.pose = np.linspace(-1, 1, len(self.names), dtype="f4")
        self.robot = Alive(self.end, self.names, GO2.feet, self.pose, sends)
        connection = {"robot": self.spec, "domain": self.domain, "wait": 5.0, **connection}
        self.driver = create("unitree", MonotonicClock(), Connection(**connection))

    def open(self):
        self.driver.open(self.names, GO2.feet)
        return self

    def write(self, target=0.5, kp=20.0, kd=0.5):
        ones = np.ones(len(self.names), np.float32)
        self.driver.write(MotorCommand(ones * target, ones * kp, ones * kd))

    def last(self):
        return self.robot.commands[-1][1]

    def sample(self):
        return within(2, self.driver.read)

    def close(self):
        self.driver.close()
        self.robot.close()


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(unitree_motion, "STAND_DOWN_SECONDS", 0.1)
    monkeypatch.setattr(unitree_motion, "RELEASE_SECONDS", 0.05)
    pairs = []

    def make(*args, **kwargs):
        pairs.append(Pair(*args, **kwargs))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


# --- bodies


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_a_body_has_a_mode_for_every_motor_of_its_message(body):
    motors = len(Message(body.family, "LowCmd_").motors)
    assert len(body.modes) == motors >= len(body.slots)
    assert len(set(body.joint_names)) == len(body.joint_names)
    assert all(body.modes[i] for i in body.motors)  # no joint is switched off


def test_the_motor_orders_are_the_published_ones():
    """Spot checks against the vendor's documents, counted by hand."""
    assert QUADRUPED.slots[3] == "FL_hip_joint" and QUADRUPED.slots[11] == "RL_calf_joint"
    assert H1.slots[9] is None and H1.slots[6] == "torso_joint"
    assert H1.slots[10] == "left_ankle_joint" and H1.slots[19] == "left_elbow_joint"
    assert G1.slots[12:15] == tuple(f"waist_{axis}_joint" for axis in ("yaw", "roll", "pitch"))
    assert G1.slots[22] == "right_shoulder_pitch_joint" and len(G1.joint_names) == 29


def test_the_motor_orders_of_the_docs_are_those_of_the_code():
    page = (ROOT / "docs" / "drivers.md").read_text()
    for body in BODIES:
        names = ", ".join((name or "-").removesuffix("_joint") for name in body.slots)
        assert f"| {body.name} | {names} |" in page


def test_the_order_of_robot_yaml_is_the_motor_order():
    assert GO2.joint_names == QUADRUPED.joint_names
    assert body_of(GO2) is QUADRUPED


def test_a_robot_of_somebody_else_is_refused():
    with pytest.raises(RefusedError, match=r"is not a Unitree robot: robot\.yaml lacks `unitree"):
        body_of(msgspec.structs.replace(GO2, unitree=None))
    other = msgspec.structs.replace(GO2.unitree, message_family="unitree_xx")
    with pytest.raises(RefusedError, match=r"unitree_go .*unitree_hg"):
        body_of(msgspec.structs.replace(GO2, unitree=other))


# --- there and back


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_states_and_commands_reach_the_joint_of_their_name(make, body):
    pair = make(body, motion_mode="ignore").open()
    assert pair.sample().state.joint_pos == pytest.approx(pair.pose)
    n = len(pair.names)
    command = np.arange(3 * n, dtype="f4").reshape(3, n)
    pair.driver.write(MotorCommand(*command))
    assert within(2, lambda: pair.robot.commands)
    got = pair.robot.commands[0][1]
    assert np.array_equal([got.target, got.kp, got.kd], command)


def test_the_imu_and_the_health_of_the_motors_arrive(make):
    pair = make()
    pair.robot.state.base_quat[:] = [0.5, 0.5, -0.5, 0.5]
    pair.robot.state.joint_vel[:] = 2
    pair.robot.state.joint_torque[:] = -3
    motors = pair.end._state.motors
    motors["temperature"][4] = 61
    pair.end._state.fields["power_v"] = 29.5
    pair.open()
    sample = pair.sample()
    assert sample.state.base_quat.tolist() == [0.5, 0.5, -0.5, 0.5]  # wxyz
    assert sample.state.base_lin_acc[2] == pytest.approx(9.81)
    assert (sample.state.joint_vel == 2).all() and (sample.state.joint_torque == -3).all()
    assert sample.health.hottest() == (4, 61.0)
    assert sample.health.voltage == 29.5
    assert sample.health.lost_motors() == (0, 0.0)


@pytest.mark.parametrize("body", [QUADRUPED, G1], ids=lambda body: body.name)
def test_a_simulated_robot_has_a_battery_and_warm_motors(make, body):
    """So that limits of the envelope can be tried on it."""
    health = make(body, motion_mode="ignore").open().sample().health
    assert (health.motor_temperature == TEMPERATURE).all()
    if body is QUADRUPED:
        assert health.voltage == pytest.approx(VOLTAGE)
        limits = msgspec.structs.replace(GO2.safety, min_voltage=VOLTAGE + 1)
        draft = Draft(GO2, SIGNALS, observation=1, period=0.02)
        draft.measure(voltage=health.voltage)
        bounds, loose = (Bounds(GO2, x, SIGNALS) for x in (limits, GO2.safety))
        assert state_guards.voltage(bounds, draft.measurement).outcome is Outcome.DAMP
        assert state_guards.voltage(loose, draft.measurement) is None


def test_a_motor_whose_lost_packets_keep_growing_is_lost(make):
    pair = make(motion_mode="ignore").open()
    lost = pair.end._state.motors["lost"]

    def lose_until(condition, loses):
        for _ in range(500):
            lost[7] += loses
            if condition(within(1, pair.driver.read).health.lost_motors()):
                return True
            time.sleep(0.003)
        return False

    assert lose_until(lambda found: found == (7, 1.0), loses=1)
    assert lose_until(lambda found: found[1] == 0, loses=0)  # it answers again


def test_mode_machine_is_echoed_and_never_assumed(make):
    pair = make(G1, motion_mode="ignore")
    pair.end.mode_machine = 6  # a robot with a locked waist
    pair.open()
    pair.write()
    assert within(2, lambda: pair.end.counters.accepted)
    assert pair.end.counters.malformed == {}
    pair.end.mode_machine = 5  # negative control: the robot refuses any other number
    assert within(2, lambda: "mode_machine" in pair.end.counters.malformed)


# --- a robot that is not there


def test_no_robot_is_refused_in_a_sentence(make):
    pair = make(wait=0.2, sends=False)
    with pytest.raises(RefusedError, match=r"no rt/lowstate of unitree_go within 0\.2 s") as error:
        pair.open()
    assert f"interface lo, DDS domain {pair.domain}" in str(error.value)


def test_two_robots_on_one_domain_are_refused(make):
    pair = make(motion_mode="ignore")
    with (
        UnitreeRobot(QUADRUPED, pair.names, pair.domain),
        pytest.raises(RefusedError, match="more than one robot sends rt/lowstate"),
    ):
        pair.open()


# --- the vendor's controller


def test_a_running_controller_is_refused(make):
    pair = make(motion="normal")
    with pytest.raises(RefusedError, match=r"'normal' runs the robot.*--motion-mode release"):
        pair.open()
    assert pair.end.calls == [unitree_motion.CHECK_MODE]  # asked, and touched nothing


def test_who_only_watches_lets_the_controller_run_and_is_not_noticed(make):
    pair = make(motion="normal", watch_only=True)
    watch = pair.end.bus.watch(COMMANDS)
    pair.open()
    assert pair.sample().state.joint_pos == pytest.approx(pair.pose)
    assert pair.end.calls == [] and pair.end.motion == "normal"  # nothing was even asked
    for send in (pair.write, pair.driver.damp):
        with pytest.raises(AssertionError):
            send()
    time.sleep(0.2)
    assert watch.writers() == () and not pair.robot.commands


def test_it_is_released_when_asked_to_after_lying_down(make):
    pair = make(motion="normal", motion_mode="release").open()
    m = unitree_motion
    assert pair.end.calls == [m.CHECK_MODE, m.STAND_DOWN, m.RELEASE_MODE, m.CHECK_MODE]
    pair.write()
    assert within(2, lambda: pair.robot.commands)


@pytest.mark.parametrize("code", [3203, None], ids=["refused", "silent"])
def test_a_robot_that_does_not_say_that_it_lies_down_is_not_released(make, monkeypatch, code):
    """It may be standing, and would drop."""
    pair = make(motion="normal", motion_mode="release", wait=1.5)
    m = unitree_motion
    serve = pair.end._serve
    if code is None:
        del pair.end._channels["byte"].services[m.SPORT]
    else:
        answers = {m.STAND_DOWN: (code, "")}
        monkeypatch.setattr(pair.end, "_serve", lambda n, api: answers.get(api) or serve(n, api))
    said = "did not answer" if code is None else f"answered with code {code}"
    with pytest.raises(RefusedError, match=f"asked to lie down and {said}: nothing was released"):
        pair.open()
    assert m.RELEASE_MODE not in pair.end.calls and pair.end.motion == "normal"


def test_negative_control_while_it_runs_the_robot_takes_no_command(make):
    pair = make(motion="normal", motion_mode="ignore").open()
    pair.write()
    assert within(2, lambda: pair.end.counters.foreign)
    assert not pair.robot.commands


def test_a_controller_that_does_not_let_go_is_refused_after_the_time(make, monkeypatch):
    pair = make(motion="ai", motion_mode="release", wait=1.0)
    serve = pair.end._serve
    stubborn = unitree_motion.RELEASE_MODE
    monkeypatch.setattr(
        pair.end, "_serve", lambda name, api: (0, "") if api == stubborn else serve(name, api)
    )
    before = time.monotonic()
    with pytest.raises(RefusedError, match="'ai' was not released within 1 s"):
        pair.open()
    assert time.monotonic() - before < 4


def test_a_question_that_was_lost_is_asked_again(make, monkeypatch):
    """The robot may find our reader of answers only after it has answered."""
    monkeypatch.setattr(unitree_motion, "ANSWER_WITHIN", 0.2)
    pair = make()
    services = pair.end._channels["byte"].services
    requests, answers = services[unitree_motion.SWITCHER]
    lost = []

    def send(answer):
        if len(lost) < 2:
            lost.append(answer)
        else:
            answers.send(answer)

    services[unitree_motion.SWITCHER] = (requests, SimpleNamespace(send=send))
    pair.open()
    assert len(lost) == 2
    assert set(pair.end.calls) == {unitree_motion.CHECK_MODE}


def test_a_robot_that_does_not_answer_is_refused(make):
    pair = make(wait=1.0)
    pair.end._channels["byte"].services.clear()
    with pytest.raises(RefusedError, match=r"'motion_switcher' did not answer.*ignore"):
        pair.open()


@pytest.mark.parametrize("answer", [(0, "not json"), (0, "[]"), (0, '{"name": 3}'), (3203, "")])
def test_an_answer_that_makes_no_sense_is_refused(make, monkeypatch, answer):
    pair = make()
    monkeypatch.setattr(pair.end, "_serve", lambda name, api: answer)
    with pytest.raises(RefusedError, match=r"answered with code .*: end the vendor's mode"):
        pair.open()


# --- somebody else


@pytest.fixture
def writer():
    """Joins a pair's domain with a writer for the motors."""
    buses = []

    def join(pair):
        buses.append(participant.Bus(pair.domain))
        return buses[-1].writer(COMMANDS, idl_type("unitree_go", "LowCmd_"))

    yield join
    for bus in buses:
        bus.close()


def test_a_foreign_writer_is_refused_before_the_run(make, writer):
    pair = make()
    writer(pair)
    with pytest.raises(RefusedError, match=r"somebody else can send rt/lowcmd \(unitree_go"):
        pair.open()


def test_who_lives_is_refused_at_once_and_named(make, writer):
    said = []
    pair = make(say=said.append)
    writer(pair)
    with pytest.raises(RefusedError, match=rf"of this process, process {os.getpid()} on "):
        pair.open()
    assert said == []


DYING = """
import sys, time
from robot_ppo_node.drivers.dds import participant as dds
from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
whole = dds.configuration
dds.configuration = lambda *a: whole(*a).replace("</Discovery>", LEASE + "</Discovery>")
LEASE = "<LeaseDuration>{lease} s</LeaseDuration>"
bus = dds.Bus({domain})
writer = bus.writer("{topic}", idl_type("unitree_go", "{message}"))
print("there", flush=True)
time.sleep(60)
"""


def killed(pair, lease, topic=COMMANDS, message="LowCmd_"):
    """A program that could write `topic`, and was killed with -9; its number."""
    code = DYING.format(lease=lease, domain=pair.domain, topic=topic, message=message)
    program = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE
    )
    program.stdout.readline()
    time.sleep(0.2)
    with participant.Bus(pair.domain) as bus:
        watch = bus.watch(topic)
        assert within(2, lambda: [s for s in watch.foreign_writers() if s.process == program.pid])
        (seen,) = (s for s in watch.foreign_writers() if s.process == program.pid)
        assert seen.is_running and seen.lease == lease
        program.kill()
        program.communicate()
        assert not seen.is_running
    return program.pid


def test_who_was_killed_is_waited_for_and_named(make):
    """Whoever was on the domain before its death, as this process, sees it until its lease ends."""
    said = []
    pair = make(say=said.append)
    pid = killed(pair, lease=2.0)
    began = time.monotonic()
    pair.open()
    assert 0.5 < time.monotonic() - began < 4
    (text,) = said
    assert "somebody else can send rt/lowcmd (unitree_go::msg::dds_::LowCmd_ of " in text
    assert f", process {pid} on " in text
    assert "waiting for it to go, 3 s at the most" in text
    pair.write()
    assert within(2, lambda: pair.robot.commands)


def test_who_outlasts_the_wait_is_refused(make):
    pair = make(wait=1.0)
    killed(pair, lease=10.0)
    began = time.monotonic()
    with pytest.raises(RefusedError, match="somebody else can send rt/lowcmd"):
        pair.open()
    assert 1.0 < time.monotonic() - began < 4


def test_a_robot_that_was_killed_is_waited_for_while_another_lives(make):
    said = []
    pair = make(say=said.append)
    killed(pair, lease=2.0, topic=STATES, message="LowState_")
    pair.open()
    assert "more than one robot sends rt/lowstate here" in said[0]


def test_a_foreign_writer_during_the_run_is_damping(make, writer):
    pair = make().open()
    pair.write()
    assert pair.driver.other_writers() == ()
    writer(pair)
    ends = time.monotonic() + 2
    with pytest.raises(DriverFault, match="somebody else can send"):
        while time.monotonic() < ends:
            pair.driver.read()
            pair.write()
            time.sleep(0.005)
    assert pair.driver.other_writers()
    pair.write()  # whatever the node does now, the motors brake
    time.sleep(0.02)
    assert not pair.last().kp.any() and (pair.last().kd == GO2.damping.kd).all()


def test_a_silent_writer_is_tolerated_when_asked_to_but_not_one_that_speaks(make, writer):
    pair = make(allow_silent_writers=True)
    writer = writer(pair)
    pair.open()
    pair.write()
    time.sleep(0.1)
    pair.driver.read()
    writer.write(Message("unitree_go", "LowCmd_").encode())
    ends = time.monotonic() + 2
    with pytest.raises(DriverFault, match="somebody else sends rt/lowcmd"):
        while time.monotonic() < ends:
            pair.driver.read()
            time.sleep(0.005)


# --- commands


def test_commands_are_repeated_at_500_hz(make):
    pair = make(control_period=1.0).open()  # so that a stale command is not what is measured
    began = time.monotonic()
    pair.write()
    assert within(10, lambda: pair.driver.repeater.sent >= 100)
    sent = pair.driver.repeater.sent
    assert sent <= (time.monotonic() - began) / 0.002 + 1
    assert within(2, lambda: len(pair.robot.commands) > 20)  # one look takes the newest only


def test_polling_sends_nothing_and_changes_nothing(make):
    pair = make()
    pair.driver.poll()  # not open yet
    pair.open()
    pair.driver.poll()
    time.sleep(0.05)
    assert not pair.robot.commands
    pair.write(0.5)
    before = bytes(pair.driver._command.memory)
    pair.driver.poll()
    assert pair.driver._command.memory == before
    assert within(2, lambda: pair.robot.commands) and (pair.last().target == 0.5).all()


def test_a_node_that_hangs_is_damping_after_three_periods(make):
    pair = make(control_period=0.02).open()
    pair.write()
    assert within(2, lambda: pair.robot.commands and not pair.last().kp.any())
    moving = [at for at, command in pair.robot.commands if command.kp.any()]
    assert moving[-1] - moving[0] < 0.06 + 0.1


def test_damping_that_is_asked_for_after_a_command_has_nothing_of_it(make):
    pair = make(motion_mode="ignore").open()
    pair.write(target=0.3, kp=35.0)
    handover = pair.driver.damping_sender(np.full(12, 2.5, np.float32))
    sent = decode(bytes.fromhex(handover.arguments["command"]), "unitree_go", "LowCmd_").motors
    assert not any(sent[name].any() for name in ("q", "dq", "tau", "kp"))
    assert (sent["kd"][:12] == 2.5).all() and (sent["mode"][:12] == 1).all()


def test_damp_and_close_end_in_damping(make):
    pair = make().open()
    pair.write()
    assert within(2, lambda: pair.robot.commands)
    pair.driver.damp()
    assert within(2, lambda: not pair.last().kp.any())
    assert (pair.last().kd == GO2.damping.kd).all()
    for _ in range(5):
        pair.write()
    pair.driver.close()
    time.sleep(0.05)
    assert not pair.last().kp.any()


def test_a_run_that_never_commanded_sends_nothing_at_all(make):
    pair = make().open()
    pair.sample()
    pair.driver.close()
    time.sleep(0.05)
    assert not pair.robot.commands


def test_closing_leaves_no_thread(make):
    pair = make().open()
    before = threading.active_count()
    pair.driver.close()
    assert threading.active_count() == before - 1


# --- the remote control


def test_the_remote_control_is_heard_and_its_e_stop_latches(make):
    pair = make().open()
    pair.write()
    assert pair.sample() and pair.driver.remote is None
    pair.end.remote = Remote(frozenset({"A"}), 0.5, 1.0, -1.0, 0.0)
    assert within(2, lambda: pair.sample() and pair.driver.remote)
    assert pair.driver.remote == pair.end.remote
    pair.end.remote = E_STOP
    with pytest.raises(DriverFault, match="B and L2 pressed"):
        within(2, lambda: pair.sample() and False)
    pair.end.remote = dataclasses.replace(E_STOP, buttons=frozenset())
    for _ in range(3):  # letting go does not start anything
        pair.write()
        time.sleep(0.01)
    with pytest.raises(DriverFault, match="pressed"):
        within(2, lambda: pair.sample() and False)
    assert not pair.last().kp.any()


# --- malformed


def test_a_state_of_another_family_is_not_heard(make):
    pair = make(wait=0.3, sends=False)
    with participant.Bus(pair.domain) as bus:
        writer = bus.writer(STATES, idl_type("unitree_hg", "LowState_"))
        writer.write(Message("unitree_hg", "LowState_").encode())
        with pytest.raises(RefusedError, match="no rt/lowstate"):
            pair.open()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.fields.__setitem__("level_flag", 0), "head"),
        (lambda m: m.motors["q"].__setitem__(3, np.nan), "command value"),
        (lambda m: m.motors["kp"].__setitem__(3, -1), "command value"),
        (lambda m: m.motors["tau"].__setitem__(3, np.inf), "command value"),
        (lambda m: m.motors["mode"].__setitem__(3, 0), "mode"),
    ],
)
def test_the_robot_drops_a_wrong_command_and_says_why(make, writer, change, reason):
    pair = make()
    writer = writer(pair)
    message = Message("unitree_go", "LowCmd_")
    message.fields["head"], message.fields["level_flag"] = (0xFE, 0xEF), 0xFF
    message.motors["mode"] = 1
    assert within(2, lambda: writer.readers)
    writer.write(message.encode())
    assert within(2, lambda: pair.end.counters.accepted) == 1
    change(message)
    writer.write(message.encode())
    assert within(2, lambda: pair.end.counters.malformed) == {reason: 1}
    broken = bytearray(message.encode())
    broken[-1] ^= 1
    writer.write(bytes(broken))
    assert within(2, lambda: pair.end.counters.malformed.get("checksum")) == 1
    assert pair.end.counters.accepted == 1
