"""The table of transitions: every row is walked by its cause, and nothing else is possible."""

import numpy as np
import pytest
from node_helpers import ROOT, policy, rest_pose, rig, robot, with_start

from robot_ppo_export.contract.state import BASIC
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control import states
from robot_ppo_node.control.events import APPROVE_RUN, APPROVE_STAND, Code
from robot_ppo_node.control.exits import HOLD_SECONDS
from robot_ppo_node.control.patience import FAIL_AFTER, SILENT_AFTER
from robot_ppo_node.control.states import (
    ROWS,
    RUNNING,
    SILENT,
    STARTS,
    TRANSITIONS,
    UPRIGHT,
    Event,
    State,
    leads_on,
    next_state,
)
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.node import Node
from robot_ppo_node.safety.reason import Reason

WALKED = [(start, row.old, row.event) for row in ROWS for start in row.starts]


def name(value) -> str:
    return value if isinstance(value, str) else value.name


def in_state(state: State, start: str = "lying"):
    """A node that came to `state` by the table alone, with nothing allowed beyond it."""
    r = rig(
        arm=False,
        p=with_start(start),
        node={"stand": False, "joint_check": state is State.JOINT_CHECK},
    )
    if state is State.PASSIVE:
        r.driver.mutate = lambda tick, measured: None
        return r.ticks(1)
    r.until(State.PREFLIGHT)
    if state is State.PREFLIGHT:
        return r
    if state is not State.DAMP:
        r.node.arm()
        r.until(
            State.JOINT_CHECK
            if state is State.JOINT_CHECK
            else State.READY
            if state > State.STAND
            else State.STAND
        )
    if state in RUNNING:
        r.driver.state.foot_force[:] = 50.0
        r.ticks(60).node.arm()
    if state is State.HALT:
        r.until(State.POLICY).node.stop("test")
    elif state in (State.SIT, State.HOLD):
        r.node.stop("test")
    elif state is State.DAMP:
        r.node.damp("test")
    return r.until(state)


def cause(r, event: Event) -> None:
    """Make happen what the event is about."""
    if event is Event.FIT:
        r.driver.mutate = None
    elif event in (Event.UNFIT, Event.FAULT):
        r.driver.mutate = lambda tick, measured: on_its_back(measured)
    elif event in (Event.GO, Event.GO_JOINT_CHECK, Event.ARMED):
        r.node.arm()
    elif event is Event.CARRIED:
        r.driver.state.foot_force[:] = 50.0
        r.ticks(60).node.arm()
    elif event in (Event.STOP, Event.RELEASED):
        r.node.stop("test")
    elif event is Event.EMERGENCY:
        r.node.damp("test")
    elif event is Event.RESET:
        r.node.reset()
    else:
        assert event in (
            Event.ANSWERED,
            Event.STOOD,
            Event.HALTED,
            Event.LOWERED,
            Event.HELD_LONG,
        )  # time alone brings it


def on_its_back(measured):
    measured.base_quat[:] = (0, 1, 0, 0)
    return measured


@pytest.mark.parametrize(("start", "state", "event"), WALKED, ids=name)
def test_every_row_of_the_table_is_walked_by_its_cause(start, state, event):
    r = in_state(state, start)
    if event is Event.GO_JOINT_CHECK:
        r = rig(arm=False, p=with_start(start), node={"stand": False, "joint_check": True})
        r.until(State.PREFLIGHT)
    assert r.node.state is state
    cause(r, event)
    seen = [state]
    for _ in range(700):
        r.ticks(1)
        if r.node.state is not seen[-1]:
            seen.append(r.node.state)
            break
    assert seen == [state, TRANSITIONS[start][state, event]], r.events()


STATES = sorted({(start, old) for start in STARTS for old, _ in TRANSITIONS[start]})


@pytest.mark.parametrize(("start", "state"), STATES, ids=name)
def test_every_other_event_is_refused_by_the_table(start, state):
    machine = in_state(state, start).node._machine
    for event in (e for e in Event if (state, e) not in TRANSITIONS[start]):
        assert not leads_on(state, event, start)
        text = f"in {state.name} the node of a robot that starts {start} knows no event"
        with pytest.raises(RuntimeError, match=f"{text} {event.name}"):
            next_state(state, event, start)
        with pytest.raises(RuntimeError, match=f"{text} {event.name}"):
            machine._change(0.0, event, Reason("test", "test"))
        assert machine.state is state


ASKED = (Event.STOP, Event.EMERGENCY, Event.RESET, Event.GO)


@pytest.mark.parametrize(
    ("start", "state", "event"),
    [
        (start, s, e)
        for start, s in STATES
        for e in ASKED
        if (s, e) not in TRANSITIONS[start]
        and not (e is Event.STOP and (s, Event.RELEASED) in TRANSITIONS[start])
    ],
    ids=name,
)
def test_a_request_that_means_nothing_in_a_state_changes_nothing(start, state, event):
    r = in_state(state, start)
    cause(r, event)
    r.ticks(1)
    if event is Event.STOP and state in SILENT:
        assert r.node.over  # there is nothing to bring down
    if (state, event) not in ((State.READY, Event.GO), (State.PREFLIGHT, Event.GO)):
        assert r.node.state is state
        assert r.node.fault is None


@pytest.mark.parametrize("start", STARTS)
def test_every_state_of_a_life_cycle_is_reached_and_can_be_left(start):
    missing = State.SIT if start in UPRIGHT else State.HOLD
    assert {*TRANSITIONS[start].values()} == {*State} - {missing}
    assert {old for old, _ in TRANSITIONS[start]} == {*State} - {missing}


@pytest.mark.parametrize(("start", "state"), STATES, ids=name)
def test_every_state_that_sends_can_be_brought_down_by_a_fault_and_by_a_person(start, state):
    if state not in (*SILENT, State.DAMP):
        assert TRANSITIONS[start][state, Event.FAULT] is State.DAMP
        assert TRANSITIONS[start][state, Event.EMERGENCY] is State.DAMP


@pytest.mark.parametrize("start", STARTS)
def test_the_only_way_out_of_damping_is_a_persons(start):
    assert {e for state, e in TRANSITIONS[start] if state is State.DAMP} == {Event.RESET}


# --- nothing moves by itself


def test_without_a_word_nothing_is_ever_sent():
    p = policy()
    clock = SteppedClock()
    driver = FakeDriver(clock, pose=rest_pose())
    node = Node(p, driver, clock, FixedCommand())
    node.prepare()
    for _ in range(2000):
        clock.sleep_until(clock.now() + 0.02)
        node.tick()
    assert node.state is State.PREFLIGHT
    assert not driver.written
    assert str(node.events[-1][1]) == "PREFLIGHT: waiting: the operator's approval to stand up"


def test_each_word_is_good_for_one_step():
    r = rig(arm=False, node={"stand": False}).until(State.PREFLIGHT)
    r.node.arm()
    r.node.arm()
    r.until(State.READY).ticks(500)
    assert r.node.state is State.READY


def test_a_word_said_while_standing_up_does_not_count():
    r = rig(arm=False).until(State.STAND).ticks(3)
    r.node.arm()
    r.until(State.READY).ticks(500)
    assert r.node.state is State.READY


def moved_thigh(by):
    def mutate(tick, measured):
        measured.joint_pos[1] = by
        return measured

    return mutate


def test_a_word_that_a_check_denied_is_used_up():
    """A minute later, when the check passes, nobody expects the robot to move."""
    r = rig(arm=False, mutate=moved_thigh(3.4), node={"stand": False}).until(State.PREFLIGHT)
    r.node.arm()
    r.ticks(200)
    assert "PREFLIGHT: waiting: pose" in r.events()
    r.driver.mutate = None
    r.driver.state.joint_pos[:] = rest_pose()
    r.ticks(3000)
    assert r.node.state is State.PREFLIGHT
    assert not r.driver.written
    assert str(r.node.events[-1][1]) == "PREFLIGHT: waiting: the operator's approval to stand up"
    r.node.arm()
    r.until(State.STAND, limit=2)


def test_negative_control_the_word_of_the_command_line_stays():
    r = rig(arm=False, mutate=moved_thigh(3.4)).until(State.PREFLIGHT).ticks(200)
    r.driver.mutate = None
    r.driver.state.joint_pos[:] = rest_pose()
    r.until(State.READY)


def test_a_word_does_not_outlive_a_robot_that_vanishes():
    r = rig(arm=False, node={"stand": False}).until(State.PREFLIGHT)
    r.node.arm()
    r.driver.mutate = lambda tick, measured: None
    r.until(State.PASSIVE).ticks(100)
    r.driver.mutate = None
    r.ticks(3000)
    assert r.node.state is State.PREFLIGHT
    assert not r.driver.written


def test_a_word_to_walk_that_the_pose_denied_is_used_up():
    r = rig(arm=False).until(State.READY)
    default = robot().joints[1].default
    r.driver.mutate = moved_thigh(default + 1.0)
    r.ticks(5)
    for times in (1, 2):  # each one is answered
        r.node.arm()
        r.ticks(5)
        said = "1.00 rad from the default pose, limit 0.5; free it; then approve it again"
        assert r.events().count(said) == times
    r.driver.mutate = moved_thigh(default)
    r.ticks(3000)
    assert r.node.state is State.READY
    r.node.arm()
    assert r.ticks(1).node.state is State.POLICY


def test_after_a_reset_every_word_is_forgotten_and_said_again_the_robot_walks_again():
    r = rig().until(State.POLICY)
    r.driver.mutate = lambda tick, measured: on_its_back(measured)
    r.until(State.DAMP)
    assert r.node.fault.startswith("tilt")
    r.driver.mutate = lambda tick, measured: upright(measured)
    r.driver.state.joint_pos[:] = rest_pose()
    r.node.reset()
    r.ticks(2)
    assert r.node.fault is None
    sent = len(r.driver.written)
    r.ticks(500)
    assert r.node.state is State.PREFLIGHT
    assert len(r.driver.written) == sent
    r.node.arm()
    r.until(State.READY)
    r.node.arm()
    r.until(State.POLICY)


def test_a_reset_after_the_end_of_damping_begins_anew():
    r = rig(arm=False).until(State.READY)
    r.node.damp("test")
    r.ticks(100)
    assert r.node.over
    r.node.reset()
    r.driver.state.joint_pos[:] = rest_pose()
    r.until(State.PREFLIGHT).ticks(60).node.arm()
    r.until(State.READY)


def upright(measured):
    measured.base_quat[:] = (1, 0, 0, 0)
    return measured


def test_a_stop_before_anything_was_sent_ends_the_node_without_a_command():
    r = rig(arm=False, node={"stand": False})
    r.node.run(0.5)
    assert r.node.over
    assert r.node.state is State.PREFLIGHT
    assert not r.driver.written


def test_a_driver_that_fails_before_anything_was_sent_is_waited_for():
    def broken(tick, measured):
        raise OSError("cable pulled")

    r = rig(mutate=broken).ticks(200)
    assert r.node.state is State.PASSIVE
    assert r.node.fault is None
    waiting = "PASSIVE: waiting: the driver cannot read: OSError: cable pulled"
    assert r.events() == waiting
    r.driver.mutate = None
    r.until(State.POLICY)


def test_damping_after_sitting_down_fades_and_after_a_fault_does_not():
    r = rig().until(State.POLICY).ticks(20)
    r.node.stop("test")
    r.until(State.DAMP)
    gains = [c.kp[0] for c in list(r.driver.written)[-3:]]
    assert gains[-1] > 0.9 * robot().stand.kp
    r.ticks(5)
    halfway = r.driver.written[-1].kp[0]
    assert 0 < halfway < 0.6 * robot().stand.kp
    r.ticks(20)
    assert not r.driver.written[-1].kp.any()


ABORTS = {
    "now": lambda r: r.node.damp("now"),
    "tilt: 3.142 rad, limit 1 rad": lambda r: setattr(
        r.driver, "mutate", lambda tick, measured: on_its_back(measured)
    ),
    "the driver cannot read: OSError: cable": lambda r: setattr(r.driver, "read", broken),
}


def broken():
    raise OSError("cable")


@pytest.mark.parametrize("why", [None, *ABORTS])
def test_the_fade_into_damping_ends_at_once_where_somebody_or_a_guard_says_so(why):
    """None is the negative control: it goes on fading."""
    r = rig(arm=False, ring=60.0).until(State.READY)
    r.node.stop("test")
    r.until(State.DAMP).ticks(2)
    assert r.driver.written[-1].kp.any()
    if why:
        ABORTS[why](r)
    r.ticks(1)
    assert r.driver.written[-1].kp.any() == (why is None)
    assert (str(r.node.events[-1][1]) == f"DAMP: at once: {why}") == (why is not None)


def test_the_fade_into_damping_stays_inside_the_envelope():
    r = rig(arm=False)
    r.until(State.READY).node.stop("test")
    r.until(State.DAMP).ticks(2)
    fast = 0.9 * r.node.envelope.bounds.velocity[0]

    def kicked(tick, measured):
        measured.joint_vel[0] = fast
        return measured

    r.driver.mutate = kicked
    r.ticks(1)
    sent = r.driver.written[-1]
    torque = sent.kp[0] * (sent.target[0] - r.driver.state.joint_pos[0]) - sent.kd[0] * fast
    assert sent.kp.any() and abs(torque) <= robot().joints[0].torque_limit + 1e-3


def test_targets_are_finite_and_continuous_over_a_whole_life():
    """From lying to walking to lying again no target jumps by more than the envelope allows."""
    r = rig().until(State.POLICY).ticks(50)
    r.node.stop("test")
    r.until(State.DAMP).ticks(30)
    targets = np.array([c.target for c in r.driver.written])
    assert np.isfinite(targets).all()
    assert np.abs(np.diff(targets, axis=0)).max() <= robot().safety.max_target_step


# --- robots that cannot lie down


@pytest.mark.parametrize("start", UPRIGHT)
def test_a_robot_that_cannot_lie_down_stands_still_until_the_operator_has_it(start):
    r = in_state(State.POLICY, start)
    r.node.stop("test")
    r.until(State.HALT).ticks(400)
    assert r.node.state is State.HALT  # 8 s, and the network stands still
    assert not r.node.command.any()
    r.node.stop("key o")
    r.ticks(3)
    assert r.node.state is State.DAMP
    assert 0 < r.driver.written[-1].kp[0] < robot().joints[0].kp  # it fades
    assert "SIT" not in r.events()


@pytest.mark.parametrize("state", [State.HOLD, State.HALT])
def test_nobody_holds_it_for_longer_than_is_stated(state):
    r = in_state(state, "standing")
    entered = r.clock.now()
    r.until(State.DAMP)
    assert r.clock.now() - entered == pytest.approx(HOLD_SECONDS, abs=0.03)


def test_what_was_sent_last_is_held():
    r = in_state(State.STAND, "hanging").ticks(40)
    r.driver.state.joint_pos[:] = robot().rest()
    before = r.driver.written[-1].target.copy()
    r.node.stop("test")
    r.ticks(100)
    assert r.node.state is State.HOLD
    assert np.array_equal(r.driver.written[-1].target, before)


def test_a_robot_in_the_air_does_not_run_its_policy():
    r = in_state(State.READY, "hanging")
    r.node.arm()
    r.ticks(100)
    assert r.node.state is State.READY
    assert "READY: waiting: feet: not all of them carry yet: lower the robot" in r.events()
    r.driver.state.foot_force[:] = 50.0
    r.driver.state.foot_force[2] = 0.0
    r.ticks(100).node.arm()
    r.ticks(100)
    assert r.node.state is State.READY  # one foot is in the air
    r.driver.state.foot_force[2] = 50.0
    r.ticks(30).node.arm()
    r.ticks(10)
    assert r.node.state is State.READY  # not for a second yet
    r.ticks(30).node.arm()
    assert r.ticks(1).node.state is State.POLICY


def test_a_robot_that_was_armed_beforehand_starts_once_it_is_lowered():
    r = rig(p=with_start("hanging")).until(State.READY).ticks(1000)
    assert r.node.state is State.READY and r.node.fault is None
    r.driver.state.foot_force[:] = 50.0
    r.until(State.POLICY, 60)


def test_where_the_feet_are_not_measured_a_person_says_that_they_carry():
    signals = frozenset(BASIC) - {"foot_force"}
    r = rig(p=with_start("hanging"), signals=signals).until(State.READY).ticks(200)
    assert r.node.state is State.READY
    assert "feet: not measured: key p once they carry the robot" in r.events()
    r.node.arm()
    assert r.ticks(1).node.state is State.POLICY


def test_a_robot_on_its_gantry_has_its_feet_in_the_air():
    r = rig(p=with_start("hanging"))
    r.driver.state.foot_force[1] = 20.0
    r.ticks(100)
    said = "waiting: feet free: FL carries 20.0 N, limit 5; raise the robot until its feet"
    assert r.node.state is State.PREFLIGHT and said in r.events()
    r.driver.state.foot_force[1] = 0.0
    r.until(State.STAND)


def test_negative_control_a_robot_that_stands_may_carry_itself():
    r = rig(p=with_start("standing"))
    r.driver.state.foot_force[:] = 40.0
    r.until(State.POLICY)


# --- nothing waits for ever


def after(seconds: float) -> int:
    return round(seconds / 0.02)


@pytest.mark.parametrize(
    ("mutate", "fault"),
    [
        (lambda tick, s: on_its_back(s), "tilt: 3.142 rad, limit 1 rad; failing for 5 s"),
        (None, "at rest: FR_thigh_joint moved"),
    ],
)
def test_what_fails_its_checks_ends_with_the_check(mutate, fault):
    r = rig(mutate=mutate or moving_thigh)
    r.ticks(after(FAIL_AFTER - 0.1))
    assert not r.node.over
    r.ticks(after(1.3))
    assert r.node.over and r.node.fault.startswith(fault)
    assert f"giving up: {r.node.fault}" in r.events()
    assert not r.driver.written


def moving_thigh(tick, measured):
    measured.joint_pos[1] = 0.6 + 0.005 * tick
    return measured


def test_a_check_that_passes_in_between_begins_the_time_anew():
    r = rig(arm=False, node={"stand": False}, mutate=lambda tick, s: on_its_back(s))
    r.ticks(after(4.0)).driver.mutate = lambda tick, s: upright(s)
    r.ticks(after(2.0)).driver.mutate = lambda tick, s: on_its_back(s)
    r.ticks(after(4.0))
    assert not r.node.over and r.node.state is State.PASSIVE
    r.ticks(after(1.2))
    assert r.node.over


def test_a_robot_that_falls_silent_ends_the_run_with_what_is_missing():
    r = rig(mutate=lambda tick, s: None).ticks(after(SILENT_AFTER - 0.1))
    assert not r.node.over
    r.ticks(after(0.2))
    assert r.node.over and r.node.fault.startswith("stale_state")
    assert r.node.fault.endswith("no state for 10 s")


def test_where_a_person_has_begun_anew_nothing_ends_by_itself():
    r = in_state(State.DAMP)
    r.driver.mutate = lambda tick, s: on_its_back(s)
    r.node.reset()
    r.ticks(2000)
    assert not r.node.over and r.node.state is State.PASSIVE


def test_a_robot_that_did_not_get_up_sits_down_again():
    r = rig(arm=True).until(State.STAND)
    r.driver.mutate = moved_thigh(robot().joints[1].default + 1.0)
    r.until(State.READY).ticks(after(FAIL_AFTER - 0.1))
    assert r.node.state is State.READY
    r.until(State.SIT, 20).until(State.DAMP)
    assert r.node.fault.startswith("pose: FR_thigh_joint is 1.00 rad from the default pose")


# --- events carry codes


def test_a_reason_to_wait_is_told_once_whatever_its_values_are():
    def leaning(tick, measured):
        angle = 1.2 + 0.01 * tick  # another sentence at every tick
        measured.base_quat[:] = (np.cos(angle / 2), np.sin(angle / 2), 0, 0)
        return measured

    r = rig(mutate=leaning).ticks(100)
    (waiting,) = [event for _, event in r.node.events if event.code is Code.WAITING]
    assert waiting.reason.code == "tilt" and waiting.state is State.PASSIVE
    assert str(waiting) == f"PASSIVE: waiting: {waiting.reason.text}"
    assert not waiting.asks


def test_events_say_what_led_to_a_state_and_when_the_operator_is_asked():
    r = rig(arm=False, p=with_start("standing"), node={"stand": False}).until(State.PREFLIGHT)
    r.ticks(60)
    assert r.node.events[-1][1].reason.code == APPROVE_STAND and r.node.events[-1][1].asks
    r.node.arm()
    r.until(State.READY)
    stood = r.node.events[-1][1]
    assert stood.cause is Event.STOOD and stood.reason.code == APPROVE_RUN and stood.asks
    r.node.stop("test")
    r.until(State.HOLD)
    assert r.node.events[-1][1].asks  # whether somebody holds the robot
    r.driver.mutate = lambda tick, measured: on_its_back(measured)
    r.until(State.DAMP)
    assert r.node.events[-1][1].code is Code.FAULT
    assert r.node.fault_code == "tilt"


# --- the documentation


def test_the_page_of_the_documentation_is_that_of_the_code():
    page = ROOT / "docs" / "node_states.md"
    assert page.read_text() == states.page(), "python -m robot_ppo_node.control.states > " + str(
        page
    )
