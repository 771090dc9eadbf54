"""Shadow mode sends nothing, computes what the node computes, and names a joint turned around."""

import re

import numpy as np
import pytest
from node_helpers import PERIOD, contract, policy, rig, robot
from process_helpers import Robot, finish, policy_file, start
from test_node_cli import call

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.app.shadow import ReadOnly, Score, Shadow
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import MotorCommand, Sample
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.safety.measured import Measured, held_signals

pytestmark = pytest.mark.real_time

COMMAND = (0.3, 0.0, 0.1)
NAMES = robot().joint_names
SIGNALS = held_signals(contract())


class Tape(FakeDriver):
    """A robot that somebody else moves: it plays back what another run measured."""

    def __init__(self, clock, rows):
        super().__init__(clock)
        self.rows = rows
        self.at = 0
        self.wrote = 0

    def read(self):
        measured = Measured(SIGNALS)
        measured.flat[:] = self.rows[min(self.at, len(self.rows) - 1)]
        self.at += 1
        return Sample(measured.state, self.at, self.clock.now())

    def write(self, command):
        self.wrote += 1


@pytest.fixture(scope="module")
def walk():
    """The rows of a run in which the node itself moves the robot."""

    def swaying(tick, state):
        if tick > 180:  # it has passed its checks at rest
            state.base_ang_vel[:] = np.sin(0.2 * tick + np.arange(3))
        return state

    node = rig(mutate=swaying, ring=20.0, commands=FixedCommand(COMMAND)).node
    node.run(seconds=10.0)
    rows = node.recorder.rows()
    walking = rows["node_state"] == State.POLICY  # a shadow does not know of the stop
    return {name: values[walking] for name, values in rows.items()}


def shadow_of(rows, seconds=None):
    clock = SteppedClock()
    tape = Tape(clock, rows)
    shadow = Shadow(policy(), ReadOnly(tape), clock, FixedCommand(COMMAND))
    shadow.prepare()
    shadow.run(len(rows) * PERIOD - 1e-6 if seconds is None else seconds)
    return shadow, tape


# --- it sends nothing


def test_every_way_to_send_raises_before_the_robot():
    tape = Tape(SteppedClock(), np.zeros((1, 50)))
    driver = ReadOnly(tape)
    vectors = MotorCommand(*(np.zeros(12, np.float32) for _ in range(3)))
    for send in (lambda: driver.write(vectors), driver.damp):
        with pytest.raises(RuntimeError, match="sends nothing"):
            send()
    with pytest.raises(AttributeError):
        driver.written  # noqa: B018 - there is no way around it to the driver's own members
    assert tape.wrote == 0


def test_a_whole_run_writes_nothing(walk):
    shadow, tape = shadow_of(walk["measured"])
    assert shadow.ticks > 200 and tape.wrote == 0 and not tape.written


def test_a_robot_over_udp_gets_no_command(capsys):
    with Robot() as r:
        arguments = ("--driver", "udp", "--port", r.wire.port, "--shadow", "--seconds", 1.0)
        code, out, err = finish(start("run", policy_file(), *arguments))
        assert (code, err) == (0, "")
        assert not r.commands and r.wire.counters.accepted == 0
    assert "looks on; nothing is sent" in out
    assert int(re.search(r"(\d+) ticks", out)[1]) > 20
    for name in NAMES:
        assert re.search(rf"{name} +\d\.\d{{3}} ", out)


@pytest.mark.parametrize(
    "option",
    [
        *(("--stand",), ("--arm",), ("--joint-check",), ("--realtime",), ("--cpu", 0)),
        *(("--limits", "none.yaml"), ("--publish-hz", 500), ("--record", "none.rlog")),
    ],
    ids=lambda option: option[0],
)
def test_what_means_nothing_in_shadow_mode_is_wrong_input(capsys, option):
    code, _, err = call(capsys, "run", policy_file(), "--driver", "fake", "--shadow", *option)
    assert code == 2 and f"leave out {option[0]}" in err


# --- it computes what the node computes


def test_its_targets_are_the_networks_bit_for_bit(walk):
    shadow, _ = shadow_of(walk["measured"])
    targets, positions = shadow._in_order()
    actions = policy().action_map.target(walk["action"])
    assert targets.tobytes() == actions[: len(targets)].tobytes()
    assert positions.tobytes() == walk["measured"][: len(positions), :12].tobytes()


# --- what it says of the joints


def test_a_robot_that_does_what_the_policy_says_scores_high(walk):
    shadow, _ = shadow_of(walk["measured"])
    score = Score(*shadow._in_order())
    assert (score.correlation[~np.isnan(score.correlation)] > 0.9).all()
    assert score.rms.max() < 0.05
    assert [score.remark(i) for i in range(12)] == [""] * 12
    assert "nothing was sent" in shadow.report()


def waves(joints=12, ticks=400, lag=0):
    t = np.arange(ticks + lag)[:, None]
    targets = np.sin(t * 0.1 * (1 + 0.37 * np.arange(joints))).astype(np.float32)
    return targets[lag:], targets[: len(targets) - lag]


@pytest.mark.parametrize("lag", [0, 1, 4, 10])
def test_the_lag_is_found(lag):
    score = Score(*waves(lag=lag))
    assert score.lag == lag
    assert score.correlation == pytest.approx(np.ones(12), abs=1e-6)
    assert score.rms.max() < 1e-6


def test_a_constant_offset_is_in_the_rms_and_not_in_the_correlation():
    targets, positions = waves()
    score = Score(targets, positions + np.float32(0.25))
    assert score.rms == pytest.approx(np.full(12, 0.25), abs=1e-6)
    assert score.correlation == pytest.approx(np.ones(12), abs=1e-6)


def test_a_joint_that_is_turned_around_is_named():
    targets, positions = waves()
    positions = positions.copy()
    positions[:, 5] *= -1
    score = Score(targets, positions)
    assert "is its sign wrong" in score.remark(5)
    assert score.correlation[5] == pytest.approx(-1)
    assert [i for i in range(12) if score.remark(i)] == [5]


def test_a_joint_that_stands_still_says_nothing():
    targets, positions = waves(lag=2)
    positions = positions.copy()
    positions[:, 3] = 0.1
    score = Score(targets, positions)
    assert np.isnan(score.correlation[3]) and score.remark(3) == ""
    assert score.fit(PERIOD) == "targets fit best 2 ticks later (40 ms)"
    nobody = Score(targets, np.full_like(positions, 0.1))
    assert nobody.fit(PERIOD) == "no joint moved: there is nothing to compare"


def test_noise_is_not_called_a_wrong_sign():
    random = np.random.default_rng(0)
    targets, positions = (random.normal(size=(4000, 12)).astype(np.float32) for _ in range(2))
    score = Score(targets, positions)
    assert np.abs(score.correlation).max() < 0.1
    assert not any(score.remark(i) for i in range(12))


# --- ends


def test_a_driver_that_breaks_is_a_sentence():
    def pulled(tick, state):
        raise OSError("cable")

    clock = SteppedClock()
    shadow = Shadow(policy(), ReadOnly(FakeDriver(clock, mutate=pulled)), clock, FixedCommand())
    shadow.prepare()
    with pytest.raises(RefusedError, match="driver fake cannot read: cable"):
        shadow.run(1.0)


def test_without_a_state_there_is_nothing_to_report():
    clock = SteppedClock()
    silent = FakeDriver(clock, mutate=lambda tick, state: None)
    shadow = Shadow(policy(), ReadOnly(silent), clock, FixedCommand())
    shadow.prepare()
    shadow.run(1.0)
    assert shadow.ticks == 0
    with pytest.raises(RefusedError, match="too few states"):
        shadow.report()


def test_a_stop_ends_it(walk):
    clock = SteppedClock(advance=lambda now: shadow.stop() if now > 1.0 else None)
    shadow = Shadow(policy(), ReadOnly(Tape(clock, walk["measured"])), clock, FixedCommand())
    shadow.prepare()
    shadow.run()
    assert clock.now() < 1.1


def test_it_tells_of_what_training_did_not_see(walk, monkeypatch):
    from test_monitor import trained

    p = policy()
    monkeypatch.setattr(p, "contract", trained(-0.01, 0.01))
    clock = SteppedClock()
    said = []
    shadow = Shadow(p, ReadOnly(Tape(clock, walk["measured"])), clock, FixedCommand(COMMAND))
    shadow.prepare()
    shadow.run(3.0, said.append)
    assert any("outside of training: base_ang_vel" in text for text in said)
    assert "outside of training: base_ang_vel" in shadow.report()
