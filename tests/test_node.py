"""The state machine walks every edge and no other; every fault ends in damping with its reason."""

import itertools
import math

import numpy as np
import pytest
from node_helpers import PERIOD, BusyClock, policy, policy_file, rest_pose, rig, robot, with_safety

from robot_ppo_export.errors import RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.app.replay import replay
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import COMMAND_TIMEOUT, FixedCommand, parse
from robot_ppo_node.commands.keyboard import Keyboard
from robot_ppo_node.control.command_writer import UNSENT_FOR
from robot_ppo_node.control.exits import POSE_GATE
from robot_ppo_node.control.setpoints import FADE
from robot_ppo_node.control.settings import DAMP_SECONDS
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import DriverFault
from robot_ppo_node.drivers.sends import Unsent


def is_damping(command) -> bool:
    return not command.kp.any() and (command.kd == np.float32(robot().damping.kd)).all()


# --- transitions


def test_nothing_is_sent_before_the_robot_answers():
    r = rig(mutate=lambda tick, state: None).ticks(100)
    assert r.node.state is State.PASSIVE
    assert not r.driver.written
    assert "waiting: stale_state" in r.events()


def test_a_robot_lying_on_its_back_is_not_stood_up():
    def on_its_back(tick, state):
        state.base_quat[:] = (0, 1, 0, 0)
        return state

    r = rig(mutate=on_its_back).ticks(100)
    assert r.node.state is State.PASSIVE
    assert r.events() == "PASSIVE: waiting: tilt: 3.142 rad, limit 1 rad"


def test_the_policy_never_starts_without_an_arm():
    r = rig(arm=False).ticks(1000)
    assert r.node.state is State.READY
    assert r.node.policy.ticks == 0
    r.node.arm()
    assert r.ticks(1).node.state is State.POLICY


def test_the_policy_does_not_start_far_from_the_default_pose():
    def stuck(tick, state):
        state.joint_pos[1] = robot().joints[1].default + POSE_GATE + 0.1
        return state

    r = rig(mutate=stuck).ticks(300)
    assert r.node.state is State.READY
    assert "READY: waiting: pose: FR_thigh_joint is 0.60 rad from the default pose" in r.events()


def test_damping_is_latched():
    r = rig().until(State.POLICY)
    r.node.damp("test")
    r.ticks(1)
    r.node.arm()
    r.node.stop("test")
    r.ticks(500)
    assert r.node.state is State.DAMP
    assert all(is_damping(c) for c in list(r.driver.written)[-500:])


# --- what is sent


def test_standing_up_begins_where_the_joints_are_and_ends_in_the_default_pose():
    r = rig(arm=False).until(State.READY).ticks(round(FADE / PERIOD) + 1)
    first = r.driver.written[0]
    last = r.driver.written[-1]
    # the lying calf is 5 mrad outside the margin of the range, and is sent at the margin
    assert np.abs(first.target - rest_pose()).max() < robot().safety.joint_range_margin
    assert not first.kp.any()
    assert (last.target == robot().vector("default").astype("f4")).all()
    assert (last.kp == np.float32(robot().stand.kp)).all()


def test_targets_and_gains_never_jump_between_standing_and_policy():
    r = rig().until(State.POLICY).ticks(round(FADE / PERIOD) + 5)
    sent = list(r.driver.written)
    gains = np.array([c.kp[0] for c in sent])
    ramp = robot().stand.kp * PERIOD / FADE  # the steepest fade: from 0 to the standing gain
    assert np.abs(np.diff(gains)).max() <= ramp + 1e-3
    assert gains[-1] == robot().joints[0].kp
    start = next(i for i, c in enumerate(sent) if i and c.kp[0] < sent[i - 1].kp[0])
    first_step = np.abs(sent[start].target - sent[start - 1].target).max()
    assert first_step < np.abs(sent[-1].target - sent[start - 1].target).max() / 4


def test_after_the_fade_the_targets_are_the_policys_bit_for_bit():
    r = rig(ring=60).until(State.POLICY).ticks(50)
    rows = r.node.recorder.rows()
    action = rows["action"][-1]
    assert (rows["target"][-1] == r.node.policy.action_map.target(action)).all()


def test_sitting_down_begins_at_the_last_target_and_never_jumps():
    r = rig().until(State.POLICY).ticks(30)
    r.node.stop("test")
    before = r.until(State.SIT).driver.written[-2]
    r.until(State.DAMP)
    sent = [before, *list(r.driver.written)[-round(robot().stand.duration / PERIOD) :]]
    targets, gains = (np.array([getattr(c, k) for c in sent]) for k in ("target", "kp"))
    # smoothstep is at most 1.5 times as fast as a straight line
    way = np.abs(rest_pose() - before.target).max()
    assert np.abs(np.diff(targets, axis=0)).max() <= 1.6 * way * PERIOD / robot().stand.duration
    assert np.abs(np.diff(gains, axis=0)).max() <= robot().stand.kp * PERIOD / FADE + 1e-3


# --- faults


def faulty(at: int, change):
    """Apply `change` to the measurement from read `at` on."""
    return lambda tick, state: change(state) if tick >= at else state


def nan_velocity(state):
    state.joint_vel[5] = np.nan
    return state


def tipped(state):
    state.base_quat[:] = (np.cos(0.6), 0, np.sin(0.6), 0)
    return state


def spinning(state):
    state.base_ang_vel[2] = 13.0
    return state


def broken_encoder(state):
    state.joint_vel[0] = 100.0
    return state


def frozen(state):
    state.base_ang_vel[0] = 0.0
    state.joint_pos[:] = 0.9 * robot().vector("default")
    return state


def raising(state):
    raise OSError("cable pulled")


FAULTS = {
    "finite_state at joint_vel[5]": (nan_velocity, 1),
    "tilt: 1.2 rad": (tipped, 1),
    "angular_rate: 13 rad/s": (spinning, 1),
    "joint_velocity at FR_hip_joint: 100 rad/s": (broken_encoder, 1),
    "frozen_state at base_quat[0]: 5 ticks": (frozen, 5),
    "stale_state: 0.1 s, limit 0.09 s": (lambda state: None, 5),
    "the driver cannot read: OSError: cable pulled": (raising, 1),
}


@pytest.mark.parametrize("state", [State.STAND, State.READY, State.POLICY])
@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_ends_in_damping_with_its_reason(reason, state):
    change, ticks = FAULTS[reason]
    armed = state is State.POLICY
    # 0.09, because an age of exactly 0.1 s is a matter of the last bit
    r = rig(arm=armed, p=with_safety(stale_after=0.09)).until(state).ticks(3)
    r.driver.mutate = faulty(0, change)
    before = len(r.driver.written)
    r.ticks(ticks)
    assert r.node.state is State.DAMP
    assert r.node.fault.startswith(reason)
    assert is_damping(r.driver.written[-1])
    # and not a tick later than stated: the command before the last one was not damping
    assert len(r.driver.written) == before + ticks
    assert not is_damping(r.driver.written[-2])


def hung_imu(state):
    """Its joints live on."""
    state.base_ang_vel[0] = 0.0
    return state


def hung_joints(pose):
    """The IMU lives on."""

    def mutate(state):
        state.joint_pos[:] = pose
        return state

    return mutate


def test_an_imu_that_hangs_alone_is_a_fault():
    r = rig().until(State.POLICY).ticks(3)
    r.driver.mutate = faulty(0, hung_imu)
    r.ticks(5)
    assert r.node.fault == "frozen_state at base_quat[0]: 5 ticks, limit 5 ticks"


@pytest.mark.parametrize("amplitude", [0.1, 0.0])
def test_joints_that_hang_alone_are_a_fault_where_they_are_told_to_move(amplitude):
    """Negative control: encoders of a robot that stands still may well repeat themselves."""
    r = rig().until(State.POLICY).ticks(20)
    sign = iter(itertools.cycle([1, -1]))
    r.node.policy.act = lambda observation: np.full(12, amplitude * next(sign), "f4")
    r.driver.mutate = faulty(0, hung_joints(r.driver.state.joint_pos.copy()))
    try:
        r.ticks(30)
    finally:
        del r.node.policy.act
    wanted = "frozen_state at joint_pos[0]: 5 ticks, limit 5 ticks" if amplitude else None
    assert r.node.fault == wanted


def test_a_nan_action_is_never_sent():
    r = rig().until(State.POLICY).ticks(3)
    r.node.policy.act = lambda observation: np.full(12, np.nan, "f4")
    try:
        r.ticks(1)
    finally:
        del r.node.policy.act
    assert r.node.fault.startswith("finite_action at FR_hip_joint: nan")
    assert is_damping(r.driver.written[-1])
    assert all(np.isfinite(c.target).all() for c in r.driver.written)


def test_a_driver_that_cannot_send_is_a_fault():
    r = rig().until(State.POLICY)
    sending = r.driver.write
    r.driver.write = lambda command: (_ for _ in ()).throw(OSError("no route"))
    r.ticks(1)
    r.driver.write = sending
    r.ticks(1)
    assert "could not send" in r.node.fault
    assert is_damping(r.driver.written[-1])


def contested(tick, state):
    raise DriverFault("somebody else sends rt/lowcmd")


def leaning(tick, state):
    state.base_quat[:] = [math.sqrt(0.5), math.sqrt(0.5), 0, 0]
    return state


@pytest.mark.parametrize(
    ("mutate", "code", "text"),
    [
        (contested, "driver", "driver fake: somebody else sends rt/lowcmd"),
        (leaning, "tilt", "tilt: 1.571 rad, limit 1 rad"),
        (lambda tick, state: None, "stale_state", "stale_state: inf s, limit 0.1 s"),
    ],
)
def test_a_run_whose_time_is_over_before_anything_passed_ends_with_what_failed(mutate, code, text):
    r = rig(mutate=mutate)
    r.node.run(3.0)
    assert r.node.fault_code == code
    assert r.node.fault == f"{text}; until the time was over"
    assert not r.driver.written


def test_what_the_driver_says_is_wrong_is_a_failure_and_no_silence():
    r = rig(mutate=contested, node={"fail_after": 2.0, "silent_after": 1.0})
    r.node.run(10.0)
    assert r.clock.now() == pytest.approx(2.0, abs=2 * PERIOD)
    assert r.node.fault == "driver fake: somebody else sends rt/lowcmd; failing for 2 s"


def test_an_orderly_end_before_the_robot_moves_is_no_fault():
    """A person who stops a run, and a run that only waits for a person."""
    r = rig(mutate=leaning).ticks(5)
    r.node.stop("key o")
    r.ticks(1)
    assert r.node.over and r.node.fault is None
    waiting = rig(arm=False, node={"stand": False})
    waiting.node.run(3.0)
    assert waiting.node.fault is None


def counting(r):
    """Let the robot's driver count what it cannot send instead of raising it."""
    r.driver.lost = Unsent()
    r.driver.unsent = lambda: r.driver.lost
    r.node._writer._counting = r.driver
    return r


def test_a_driver_that_could_not_send_for_long_is_a_fault_and_one_loss_is_told():
    r = counting(rig(ring=60.0)).until(State.POLICY)
    r.driver.lost = Unsent(lost=1, failing=0.02)
    r.ticks(5)
    assert r.node.fault is None
    assert r.events().endswith("commands: 1 could not be sent, " + NONE_STALE)
    r.driver.lost = Unsent(lost=6, failing=UNSENT_FOR + 0.01)
    r.ticks(2)
    assert r.node.fault == "the driver could not send the previous command"
    told = [text for text in r.events().splitlines() if "could not be sent" in text]
    assert [text.split()[1] for text in told] == ["1", "6"]  # when it has doubled, not every time
    rows, meta = r.node.recorder.log()
    assert replay(policy(), rows, meta) == len(rows["time"])


NONE_STALE = "0 were late and became damping"


def test_before_the_robot_moves_a_driver_that_cannot_send_is_waited_for():
    r = counting(rig(ring=60.0))
    r.driver.lost = Unsent(lost=1, failing=1.0)
    r.ticks(200)
    assert r.node.state is State.PASSIVE and r.node.fault is None and not r.driver.written
    r.driver.lost = Unsent(lost=1)
    r.until(State.READY)
    rows, meta = r.node.recorder.log()
    assert replay(policy(), rows, meta) == len(rows["time"])


def test_the_first_reason_stays():
    r = rig().until(State.POLICY)
    r.driver.mutate = faulty(0, tipped)
    r.ticks(1)
    r.driver.mutate = faulty(0, nan_velocity)
    r.ticks(10)
    assert r.node.fault.startswith("tilt")
    assert len([e for e in r.events().splitlines() if e.startswith("DAMP")]) == 1


def test_a_state_from_the_future_is_a_fault():
    r = rig().until(State.POLICY)
    clock = SteppedClock()
    clock.time = r.clock.time + 1.0
    r.driver.clock = clock
    r.ticks(1)
    assert r.node.fault.startswith("stale_state")


def test_limits_come_from_the_contract():
    r = rig(p=with_safety(max_tilt=0.1)).until(State.POLICY)
    r.driver.mutate = faulty(0, lambda s: (s.base_quat.__setitem__(1, 0.06), s)[1])
    r.ticks(1)
    assert "limit 0.1 rad" in r.node.fault


# --- the loop


def test_run_stops_by_itself_and_damps_for_the_stated_time():
    r = rig()
    r.node.run(4.0)
    assert r.node.fault is None
    assert r.events().endswith("HALT: the 4 s are over\nSIT: standing still\nDAMP: lowered")
    sent = list(r.driver.written)
    damped = list(itertools.takewhile(is_damping, reversed(sent)))
    fading = round(FADE / PERIOD)
    whole = round(DAMP_SECONDS / PERIOD)
    assert whole - fading <= len(damped) <= whole + 1
    assert sent[-len(damped) - 1].kp.any()  # and it faded into damping
    rest = robot().rest().astype("f4")
    assert np.abs(sent[-1].target - rest).max() <= robot().safety.joint_range_margin


def test_a_run_that_nobody_ends_goes_on_damping():
    r = rig(mutate=faulty(150, tipped), node={"damp_after_fault": np.inf})
    r.node.run(on_tick=lambda: r.node.end() if r.node.ticks == 2000 else None)
    assert r.node.ticks == 2001
    assert sum(is_damping(c) for c in r.driver.written) > 1800


def test_a_driver_that_polls_is_asked_before_every_tick_and_its_trouble_is_the_ticks():
    r = rig()
    polls = []

    class Polling(type(r.driver)):
        def poll(self):
            polls.append(self.clock.now())
            raise OSError("no")

    r.driver.__class__ = Polling
    node = type(r.node)(policy(), r.driver, r.clock, FixedCommand((0.3, 0.0, 0.1)), arm=True)
    node.run(2.0)
    assert node.fault is None
    assert np.diff(polls) == pytest.approx(np.full(len(polls) - 1, PERIOD))
    assert len(polls) == node.ticks


def test_the_policy_is_warmed_up_before_every_tick_that_runs_it(monkeypatch):
    r = rig()
    warmed = []
    ran = []

    def warm_up(state, command):
        warmed.append(r.node.ticks)
        raise RuntimeError("no")

    monkeypatch.setattr(r.node.policy, "warm_up", warm_up)
    r.node.run(6.0, lambda: ran.append(r.node.ticks - 1) if r.node.decision.ran else None)
    assert r.node.fault is None
    assert warmed == [*ran[1:], ran[-1] + 1]  # the first is decided in the tick, as is the end


class Counting(Policy):
    """A policy with a state of its own: every tick moves its targets a little farther."""

    count = warmed = 0

    def reset(self):
        super().reset()
        self.count = 0

    def tick(self, state, command):
        self.count += 1
        return super().tick(state, command) + np.float32(1e-5) * np.float32(self.count)

    def warm_up(self, state, command):
        self.warmed += 1
        super().warm_up(state, command)


class Restless(Counting):
    """The negative control: it is advanced by being warmed up."""

    def warm_up(self, state, command):
        self.tick(state, command)


def walked(kind, loop):
    """The policy, how many ticks ran it, and what was sent; with the node's loop, or its ticks."""
    p = kind(policy_file())
    r = rig(p=p)
    ran = []
    if loop:
        r.node.run(6.0, lambda: ran.append(r.node.decision.ran))
    else:
        for _ in range(round(6.0 / PERIOD)):
            r.ticks(1)
            ran.append(r.node.decision.ran)
    return p, sum(ran), [c.target.tobytes() for c in r.driver.written][: round(5.9 / PERIOD) - 60]


def test_warming_up_before_the_deadline_never_advances_the_policy():
    warm, ran, sent = walked(Counting, loop=True)
    assert warm.warmed >= ran - 1 > 100
    assert warm.count == ran
    cold, _, alone = walked(Counting, loop=False)
    assert cold.warmed == 0
    assert sent == alone


def test_negative_control_a_policy_that_warming_up_advances_is_seen():
    restless, ran, sent = walked(Restless, loop=True)
    assert restless.count > ran
    assert sent != walked(Counting, loop=False)[2]


def test_an_error_in_the_loop_leaves_a_damping_command_behind():
    r = rig()

    def interrupt():
        if r.node.state is State.POLICY:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        r.node.run(on_tick=interrupt)
    assert is_damping(r.driver.written[-1])


def test_missed_deadlines_in_a_row_damp_and_single_ones_do_not():
    one_late = itertools.chain([0] * 150, itertools.cycle([0.045, 0, 0]))
    r = rig(clock=BusyClock(one_late))
    r.node.run(8.0)
    assert r.node.fault is None
    assert r.node.missed > 20
    r = rig(clock=BusyClock(itertools.chain([0] * 150, [0.045, 0.045, 0.045])))
    r.node.run(8.0)
    assert r.node.fault == "missed_deadlines: 6, limit 5"


# --- commands


class Source:
    name = "test"

    def __init__(self, command, age=0.0):
        self.answer = np.array(command, "f4"), age

    def read(self, now):
        return self.answer


@pytest.mark.parametrize(
    ("command", "age", "wanted"),
    [
        ((0.5, 0.1, -0.2), 0.0, (0.5, 0.1, -0.2)),
        ((9.0, -9.0, 9.0), 0.0, (0.8, -0.3, 0.7)),
        ((0.5, 0.1, -0.2), COMMAND_TIMEOUT + 0.01, (0, 0, 0)),
        ((np.nan, 0.1, 0.1), 0.0, (0, 0, 0)),
    ],
)
def test_commands_are_clipped_and_old_ones_are_zero(command, age, wanted):
    r = rig(commands=Source(command, age)).ticks(1)
    assert r.node.command == pytest.approx(np.array(wanted), abs=1e-6)


def test_a_command_source_that_fails_is_a_zero_command_not_a_fault():
    class Gone:
        name = "gone"

        def read(self, now):
            raise OSError("unplugged")

    r = rig(commands=Gone()).until(State.POLICY).ticks(5)
    assert not r.node.command.any()
    assert r.node.state is State.POLICY


def test_keys_move_the_command_inside_the_trained_range():
    asked = []
    bounds = policy().contract.command.bounds()
    actions = {"p": lambda: asked.append("go on"), "x": lambda: asked.append("damp")}
    keys = Keyboard(bounds, (0, 0, 0), actions, file=0)
    for key in "w" * 50 + "e" + "?":
        keys.press(key)
    assert keys.command == pytest.approx([0.8, 0.0, -0.14])
    for key in " px":
        keys.press(key)
    assert not keys.command.any()
    assert asked == ["go on", "damp"]


def test_a_command_line_command_is_three_numbers():
    assert parse("0.5,0,-0.1") == (0.5, 0.0, -0.1)


# --- preparation


def test_a_robot_without_a_needed_signal_is_refused():
    with pytest.raises(RefusedError, match="does not measure base_quat") as error:
        rig(signals=frozenset({"joint_pos", "joint_vel", "base_ang_vel"}))
    assert "base_ang_vel, joint_pos, joint_vel  DIFFERS" in str(error.value)


def test_warming_up_leaves_no_trace():
    r = rig()
    assert r.node.policy.ticks == 0
    assert not r.node.policy.last_action.any()
    assert r.node.envelope.fired_counts() == {}
    assert not r.driver.written
