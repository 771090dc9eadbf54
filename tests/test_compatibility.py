"""Policy beside robot: every row fires where they differ, and says nothing where nobody states."""

import re

import msgspec
import numpy as np
import pytest
from node_helpers import PERIOD, contract, policy_file, rig, robot
from process_helpers import Robot, finish, run_arguments, start, walked

from robot_ppo import project
from robot_ppo.sim import server
from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.app import cli
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.drivers.capabilities import NOTHING, VECTORS, Capabilities, of_robot, problem
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.drivers.unitree.unitree_bodies import BODIES, G1, H1
from robot_ppo_node.robot_side.udp_robot import UdpRobot
from robot_ppo_node.startup import comparison
from robot_ppo_node.startup.comparison import DELAY_TOLERANCE, ROUNDING, Fit
from robot_ppo_node.startup.compatibility import check_compatibility, compare, summary

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
JOINTS = len(NAMES)
WHOLE = Capabilities(
    state_rate=500.0,
    command_rate=(10.0, 500.0),
    position_range=tuple(j.range for j in robot().joints),
    velocity_limit=tuple(j.velocity_limit for j in robot().joints),
    torque_limit=tuple(j.torque_limit for j in robot().joints),
    max_kp=(60.0,) * JOINTS,
    max_kd=(5.0,) * JOINTS,
    delay=(0.0, 0.1),
)
"""Just as much as the policy of the tests needs: gains of standing up, delays of the training."""


def driver(capabilities=WHOLE, joints=NAMES, signals=frozenset(BASIC), feet=FEET):
    fake = FakeDriver(SteppedClock(), joints, signals, capabilities=capabilities)
    fake.feet = feet
    fake.open(NAMES, FEET)
    return fake


def but(**changed) -> Capabilities:
    return msgspec.structs.replace(WHOLE, **changed)


def at(field, joint, value):
    """All of them, but for one joint."""
    values = list(getattr(WHOLE, field))
    values[joint] = value
    return but(**{field: tuple(values)})


def refused(d, c=None, rate=None) -> str:
    with pytest.raises(RefusedError) as error:
        check_compatibility(c or contract(), d, rate)
    return str(error.value)


# --- each row, just inside and just outside


def test_a_robot_that_has_just_what_is_needed_fits_in_every_row():
    rows = check_compatibility(contract(), driver())
    assert {row.fit for row in rows} == {Fit.FITS}
    assert len(rows) == len(comparison.ROWS) - 1  # the feet are not read


RATE = 1 / PERIOD
HALF = 0.5 * ROUNDING
LOW, HIGH = robot().joints[4].range
DIFFERENCES = {
    "state rate [Hz]": (but(state_rate=RATE * (1 - HALF)), but(state_rate=RATE * 0.99)),
    "command rate [Hz]": (but(command_rate=(RATE, RATE)), but(command_rate=(51.0, 500.0))),
    "joint range [rad]": (
        at("position_range", 4, (LOW - 1, HIGH + 1)),
        at("position_range", 4, (LOW + 0.01, HIGH)),
    ),
    "velocity limit [rad/s]": (at("velocity_limit", 2, 15.7), at("velocity_limit", 2, 15.6)),
    "torque limit [N m]": (at("torque_limit", 0, 23.7 * (1 - HALF)), at("torque_limit", 0, 23.6)),
    "largest kp [N m/rad]": (at("max_kp", 5, 60.0), at("max_kp", 5, 59.9)),
    "largest kd [N m s/rad]": (at("max_kd", 11, 5.0), at("max_kd", 11, 4.9)),
    "delay [ms]": (
        but(delay=(0.0, 0.1 + 0.9 * DELAY_TOLERANCE)),
        but(delay=(0.0, 0.1 + 1.1 * DELAY_TOLERANCE)),
    ),
}
"""Row -> capabilities that just fit, and others that just do not."""


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_row_fires_just_beyond_what_is_tolerated(what):
    fits, differs = DIFFERENCES[what]
    assert check_compatibility(contract(), driver(fits))
    text = refused(driver(differs))
    assert "the robot does not fit the policy, and nothing was sent" in text
    (line,) = (line for line in text.splitlines() if line.endswith("DIFFERS"))
    assert line.startswith(what)
    assert f"- {what}: " in text  # and says what to do


def test_every_row_is_tried_here():
    """Signals, feet and joints have tests of their own below."""
    rows = {row.what for row in compare(contract(), driver())}
    assert rows == {*DIFFERENCES, "joints", "signals"}


def test_the_upper_end_of_a_range_fires_too():
    assert "joint range [rad]" in refused(driver(at("position_range", 4, (LOW, HIGH - 0.01))))
    assert "command rate [Hz]" in refused(driver(but(command_rate=(10.0, 49.0))))
    trained = contract().training.randomization | {"actuator_delay": [30.0, 100.0]}
    c = contract()
    c = msgspec.structs.replace(
        c, training=msgspec.structs.replace(c.training, randomization=trained)
    )
    assert "30 to 100  0 to 100" in refused(driver(), c)


def test_a_missing_signal_fires():
    text = refused(driver(signals=frozenset(BASIC) - {"base_ang_vel"}))
    assert "the robot does not measure base_ang_vel" in text


def test_feet_count_only_where_the_policy_reads_them(monkeypatch):
    other = driver(feet=("a", "b", "c", "d"))
    assert check_compatibility(contract(), other)
    # No term of today reads them.
    monkeypatch.setattr(comparison, "needed_signals", lambda contract: ("foot_force",))
    assert check_compatibility(contract(), driver(feet=FEET[::-1]))  # by name, in whatever order
    assert "FR, FL, RR, RL  a, b, c, d" in refused(other)


def test_joints_that_differ_are_refused_before_anything_is_compared():
    other = driver()
    other.joint_names = (*NAMES[:-1], "tail")
    with pytest.raises(RefusedError, match=r"only the robot has \[tail\]"):
        compare(contract(), other)


def test_the_worst_joint_is_named_and_the_others_counted():
    weak = but(torque_limit=tuple(20.0 for _ in NAMES))
    text = refused(driver(weak))
    assert "FR_hip_joint: 23.7  FR_hip_joint: 20 and 11 more  DIFFERS" in text
    assert f"- torque limit [N m]: {', '.join(NAMES)}: train with" in text


def test_joints_are_compared_by_name():
    order = np.random.default_rng(3).permutation(JOINTS)
    shuffled = {name: tuple(getattr(WHOLE, name)[i] for i in order) for name in VECTORS}
    names = tuple(NAMES[i] for i in order)
    assert check_compatibility(contract(), driver(but(**shuffled), names))
    # Negative control: the same figures in the wrong order do not fit.
    refused(driver(but(**shuffled)))


def test_all_differences_come_at_once():
    text = refused(driver(but(state_rate=20.0, delay=(0.2, 0.3))))
    assert re.search(r"state rate \[Hz\] +50 or more +20 +DIFFERS", text)
    assert re.search(r"delay \[ms\] +0 to 100 +200 to 300 +DIFFERS", text)


# --- what is not stated


@pytest.mark.parametrize("field", Capabilities.__struct_fields__)
def test_what_is_not_stated_is_said_and_is_no_difference(field):
    rows = check_compatibility(contract(), driver(but(**{field: None})))
    assert [row.fit for row in rows].count(Fit.UNSTATED) == 1


def test_the_line_at_the_start_names_what_is_not_stated():
    whole = check_compatibility(contract(), driver())
    assert summary(whole) == "policy and robot compared: 10 of 10 fit"
    less = check_compatibility(contract(), driver(but(max_kp=None, delay=None)))
    wanted = "policy and robot compared: 8 of 10 fit; not stated: largest kp, delay"
    assert summary(less) == wanted


# --- the rate of the commands is the node's


def test_commands_that_are_sent_again_count():
    needs_200 = but(command_rate=(200.0, 1000.0))
    assert "command rate [Hz]  50" in refused(driver(needs_200))
    assert check_compatibility(contract(), driver(needs_200), rate_of(per_period=4))
    assert "command rate [Hz]  2000" in refused(driver(needs_200), rate=rate_of(per_period=40))


def rate_of(per_period):
    return rig(node={"publish_rate": per_period / PERIOD}).node._writer.rate


def test_a_node_refuses_before_anything_is_sent():
    with pytest.raises(RefusedError, match="torque limit"):
        rig(capabilities=at("torque_limit", 0, 12.0))


# --- capabilities


@pytest.mark.parametrize(
    ("capabilities", "text"),
    [
        (Capabilities(torque_limit=(1.0,) * 11), "torque_limit has 11 entries for 12 joints"),
        (Capabilities(torque_limit=(0.0,) * 12), "torque_limit has a number that is not above 0"),
        (Capabilities(max_kp=(np.inf,) * 12), "max_kp has a number that is not finite"),
        (Capabilities(state_rate=-1.0), "state_rate has a number that is not above 0"),
        (Capabilities(command_rate=(100.0, 10.0)), "ends below where it begins"),
        (Capabilities(position_range=((1.0, -1.0),) * 12), "ends below where it begins"),
        (Capabilities(delay=(-0.1, 0.1)), "delay begins below 0"),
    ],
)
def test_capabilities_that_contradict_themselves_are_said(capabilities, text):
    assert text in (problem(capabilities, JOINTS) or "")
    with pytest.raises(InputError, match="Hello of x: capabilities: "):
        UdpRobot(Hello("x", NAMES, BASIC, FEET, capabilities), port=0)
    assert problem(WHOLE, JOINTS) is None and problem(NOTHING, JOINTS) is None


def test_the_simulated_robot_states_robot_yaml_and_its_own_rates():
    spec = project.load_robot("go2")
    capabilities = server.hello_of(spec).capabilities
    assert problem(capabilities, JOINTS) is None
    for name in ("position_range", "velocity_limit", "torque_limit"):
        assert getattr(capabilities, name) == getattr(of_robot(spec), name)
    assert capabilities.torque_limit == tuple(spec.vector("torque_limit"))
    assert capabilities.state_rate == 1 / server.PERIOD
    assert (capabilities.max_kp, capabilities.max_kd) == (None, None)  # it takes any


def test_what_unitree_publishes_is_whole_and_alike_on_both_sides():
    for body in BODIES:
        assert problem(body.capabilities, len(body.joint_names)) is None
    for body in (G1, H1):
        ranges = dict(zip(body.joint_names, body.capabilities.position_range, strict=True))
        for name, (low, high) in ranges.items():
            other = ranges[name.replace("left_", "right_")]
            turned = re.search("roll|yaw", name) and name.startswith("left_")
            assert other == ((-high, -low) if turned else (low, high))
    assert G1.capabilities.torque_limit is None  # the vendor contradicts itself
    h1 = dict(zip(H1.joint_names, H1.capabilities.torque_limit, strict=True))
    assert (h1["left_knee_joint"], h1["right_elbow_joint"]) == (300.0, 18.0)


# --- on the command line, over UDP


def stated(r, capabilities):
    r.wire.hello = msgspec.structs.replace(r.wire.hello, capabilities=capabilities)


def test_a_robot_that_is_too_weak_ends_the_run_with_3_and_the_table():
    with Robot() as r:
        stated(r, at("torque_limit", 0, 12.0))
        code, out, err = finish(start(*run_arguments(r, "--arm", "--seconds", 2)))
        assert r.commands == []
    assert code == 3
    assert "torque limit [N m]  FR_hip_joint: 23.7  FR_hip_joint: 12  DIFFERS" in err
    assert "POLICY" not in out


def test_a_run_shows_what_is_not_stated_and_goes_on():
    with Robot() as r:
        stated(r, but(max_kp=None, max_kd=None))
        code, out, _ = walked(*run_arguments(r))
    assert code == 0
    assert "compared: 8 of 10 fit; not stated: largest kp, largest kd" in out
    assert "torque limit" not in out
    assert "POLICY" in out


def test_check_with_a_driver_shows_the_whole_table_and_sends_nothing(capsys):
    arguments = ["check", str(policy_file()), "--driver", "udp", "--port"]
    with Robot() as r:
        stated(r, WHOLE)
        assert cli.main([*arguments, str(r.wire.port)]) == 0
        stated(r, but(delay=(0.3, 0.4)))
        assert cli.main([*arguments, str(r.wire.port)]) == 3
        assert r.commands == []
    out, err = capsys.readouterr()
    for row in compare(contract(), driver()):
        assert re.search(rf"^{re.escape(row.what)} .*fits$", out, re.M), row.what
    assert re.search(r"^delay \[ms\] +0 to 100 +300 to 400 +DIFFERS$", out, re.M)
    assert "- delay [ms]: train with this delay" in err
