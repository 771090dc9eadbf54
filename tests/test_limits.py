"""A file on the robot tightens the envelope and never loosens it; every guard proves itself."""

import math
import re

import msgspec
import numpy as np
import pytest
from node_helpers import PERIOD, deaf, policy, policy_file, rig, robot, with_safety

from robot_ppo_export.contract import spec
from robot_ppo_export.contract.spec import LARGER_IS_TIGHTER
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.app import cli, report
from robot_ppo_node.safety import guards, limits, self_test
from robot_ppo_node.safety.verdict import Outcome

SAFETY = robot().safety
NAMES = SAFETY.__struct_fields__


def tighter(name: str, value):
    """A value that leaves less room."""
    larger = value + 1 if isinstance(value, int) else value * 1.1 + 0.001
    return larger if name in LARGER_IS_TIGHTER else value * 9 // 10 if value else 0


def looser(name: str, value):
    larger = value + 1 if isinstance(value, int) else value * 1.1 + 0.001
    return value * 0.9 - 1e-6 if name in LARGER_IS_TIGHTER else larger


def written(tmp_path, **values):
    path = tmp_path / "limits.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_can_be_tightened_and_nothing_else_changes(tmp_path, name):
    value = tighter(name, getattr(SAFETY, name))
    got = limits.load(written(tmp_path, **{name: value}), SAFETY)
    assert getattr(got, name) == value
    assert msgspec.structs.replace(got, **{name: getattr(SAFETY, name)}) == SAFETY


@pytest.mark.parametrize("name", NAMES)
def test_a_looser_limit_is_refused_naming_both_values(tmp_path, name):
    present = getattr(SAFETY, name)
    value = looser(name, present)
    with pytest.raises(InputError) as error:
        limits.load(written(tmp_path, **{name: value}), SAFETY)
    assert f"{name} {value:g} is looser than the policy file's {present:g}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_tilts: 0.5", "did you mean 'max_tilt'"),
        ("max_tilt: .nan", "not a finite number"),
        ("max_tilt: steep", "max_tilt"),
        ("max_tilt: -0.5", "is looser"),
        ("- 1", "Expected"),
    ],
)
def test_what_is_not_a_limit_is_refused(tmp_path, text, said):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        limits.load(path, SAFETY)


def test_the_same_file_with_the_same_values_is_accepted(tmp_path):
    assert limits.load(written(tmp_path, max_tilt=SAFETY.max_tilt), SAFETY) == SAFETY


def test_the_tightened_limit_is_the_one_that_fires(tmp_path):
    tight = limits.load(written(tmp_path, max_tilt=0.2), SAFETY)

    def leaning(tick, state):
        state.base_quat[:] = (math.cos(0.15), math.sin(0.15), 0, 0)
        return state

    assert (
        "tilt: 0.3 rad, limit 0.2 rad"
        in rig(mutate=leaning, node={"limits": tight}).ticks(5).events()
    )
    assert "tilt" not in rig(mutate=leaning).ticks(5).events()


def test_the_command_line_refuses_a_looser_limit_with_2(tmp_path, capsys):
    path = written(tmp_path, max_tilt=2.0)
    for command in (["selftest"], ["run", "--driver", "fake"]):
        code = cli.main([command[0], str(policy_file()), *command[1:], "--limits", str(path)])
        assert code == 2
        assert "max_tilt 2 is looser than the policy file's 1" in capsys.readouterr().err


# --- selftest


EVERY = msgspec.structs.replace(SAFETY, min_voltage=24.0)
"""Limits that switch no guard off."""


def test_a_guard_that_its_limit_switches_off_is_said_to_be_off(capsys, tmp_path):
    none = msgspec.structs.replace(SAFETY, min_voltage=0.0)
    (off,) = (r for r in self_test.run(policy(), none) if r.off)
    assert off.guard.name == "voltage" and off.fired is Outcome.PASS
    page = report.selftest_page(self_test.run(policy(), none))
    assert re.search(r"voltage +- +0 V +off: its limit is 0", page)
    assert page.endswith("21 guards, 1 off, all others fired")
    assert report.selftest_page(self_test.run(policy(), EVERY)).endswith("21 guards, all fired")


def accepted(check, *args) -> bool:
    try:
        check(*args)
    except (InputError, RefusedError):
        return False
    return True


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero):RuntimeWarning")
@pytest.mark.parametrize("value", [0, 1, 2, 3, 11, 12, 57])
@pytest.mark.parametrize("name", NAMES)
def test_robot_yaml_is_refused_for_the_limits_with_which_the_self_test_would_refuse(name, value):
    tried = msgspec.structs.replace(SAFETY, **{name: value})
    checked = msgspec.structs.replace(robot(), safety=tried)
    proven = accepted(self_test.prove, policy(), tried)
    assert accepted(spec.check, checked, "robot.yaml") == proven


def test_every_guard_fires_on_its_fault():
    results = self_test.run(policy(), EVERY)
    assert [r.guard for r in results] == list(guards.GUARDS)
    assert all(r.good for r in results)
    for r in results:
        if math.isfinite(r.value) and math.isfinite(r.limit):
            # the guards that count fire at the limit, the others beyond it
            below = r.guard.name == "voltage"
            assert r.value == r.limit or (abs(r.value) > abs(r.limit)) is not below


def test_what_the_node_holds_is_found_once_and_not_for_each_guard(monkeypatch):
    """It resolves every term of the observation: the most of a node's start, once per guard."""
    found = []
    held = self_test.held_signals
    monkeypatch.setattr(self_test, "held_signals", lambda c: found.append(c) or held(c))
    assert all(r.good for r in self_test.run(policy(), EVERY))
    assert len(found) == 1


def test_a_guard_fires_at_the_tightened_limit():
    tight = msgspec.structs.replace(SAFETY, max_tilt=0.3, max_torque_fraction=0.5)
    found = {r.guard.name: r for r in self_test.run(policy(), tight)}
    assert found["tilt"].limit == 0.3
    assert found["torque"].limit == pytest.approx(23.7 / 2)
    assert all(r.good for r in found.values())


@pytest.mark.parametrize("name", [g.name for g in guards.GUARDS])
def test_a_guard_that_does_not_fire_is_found(name, monkeypatch, capsys, tmp_path):
    """Negative control: each guard in turn is made deaf."""
    deaf(monkeypatch, name)
    with pytest.raises(RefusedError, match=f"the guards {name} do not fire"):
        self_test.prove(policy(), EVERY)
    volts = written(tmp_path, min_voltage=24)
    assert cli.main(["selftest", str(policy_file()), "--limits", str(volts)]) == 3
    out = capsys.readouterr().out
    assert "1 DID NOT FIRE" in out
    (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
    assert line.endswith("pass: DID NOT FIRE")


def test_a_guard_without_an_injection_is_a_guard_that_failed(monkeypatch):
    monkeypatch.delitem(self_test.INJECTIONS, "tilt")
    with pytest.raises(RefusedError, match="tilt"):
        self_test.prove(policy(), SAFETY)


def test_limits_in_which_the_robot_cannot_even_stand_are_refused():
    tight = msgspec.structs.replace(SAFETY, joint_range_margin=1.0)
    with pytest.raises(RefusedError, match="does not let the robot stand in its default pose"):
        self_test.prove(policy(), tight)


def test_a_node_proves_its_guards_before_it_opens_the_driver(monkeypatch):
    monkeypatch.delitem(self_test.INJECTIONS, "tilt")
    opened = []
    with pytest.raises(RefusedError):
        rig(mutate=lambda tick, state: opened.append(tick) or state)
    assert not opened


def test_parts_of_the_robot_that_fail_damp_it():
    from robot_ppo_node.control.states import State
    from robot_ppo_node.drivers.base import Health

    r = rig().until(State.POLICY)
    r.driver.health = Health(12)
    r.driver.health.motor_temperature[:] = np.linspace(40, 86, 12)
    r.ticks(1)
    assert r.node.fault == "motor_temperature at RL_calf_joint: 86 degC, limit 85 degC"


def test_a_battery_damps_when_it_is_low_for_a_second_and_not_for_a_sample():
    from robot_ppo_node.control.inputs import SAG
    from robot_ppo_node.control.states import State
    from robot_ppo_node.drivers.base import Health

    r = rig(p=with_safety(min_voltage=24.0))
    r.driver.health = Health(12)
    r.driver.health.voltage = 29.0
    r.until(State.POLICY)
    for low, ticks in ((True, 1), (False, 1), (True, round(SAG / PERIOD) - 1), (False, 1)):
        r.driver.health.voltage = 21.0 if low else 29.0
        r.ticks(ticks)
    assert r.node.state is State.POLICY
    r.driver.health.voltage = 23.9
    r.ticks(round(SAG / PERIOD) - 1)
    assert r.node.state is State.POLICY
    r.ticks(1)
    assert r.node.fault == "voltage: 23.9 V, limit 24 V"


def test_another_writer_damps_a_running_robot_and_keeps_a_lying_one_down():
    from robot_ppo_node.control.states import State

    r = rig().until(State.POLICY)
    r.driver.others = ("vendor",)
    r.ticks(1)
    assert r.node.fault == "other_writers: 1, limit 0"
    r = rig()
    r.driver.others = ("vendor",)
    r.ticks(300)
    assert r.node.state is State.PASSIVE
    assert not r.driver.written
