"""Every fault ends as it must, with its reason and in time; and not where its guard is deaf."""

import json
import re

import pytest
from node_helpers import ROOT, deaf

from benchmarks.faults import command, files, packets, robot
from benchmarks.faults.command import FAULTS
from benchmarks.faults.fault import (
    CLAMPED,
    DAMPED,
    NODE_DEAD,
    NOT_RUN,
    NOTHING,
    REFUSED,
    Fault,
    Seen,
)
from benchmarks.faults.world import Heard, damped
from robot_ppo_node.commands import base
from robot_ppo_node.drivers.udp import udp_wire
from robot_ppo_node.safety import guards, self_test

pytestmark = pytest.mark.real_time

SHIPPED = ROOT / "tests" / "golden" / "go2_walk.onnx"
PAGE = ROOT / "docs" / "safety_results.md"
FAST = (*robot.FAULTS, *packets.FAULTS, *files.FAULTS)
SLOW = tuple(fault for fault in FAULTS if fault not in FAST)
GUARDED = [f for f in robot.FAULTS if f.reason.split()[0] in {g.name for g in guards.GUARDS}]


def name(fault: Fault) -> str:
    return fault.name


@pytest.mark.parametrize("fault", FAST, ids=name)
def test_a_fault_ends_as_it_must(fault):
    seen = fault.run(SHIPPED)
    assert fault.good(seen), seen


@pytest.mark.slow
@pytest.mark.parametrize("fault", SLOW, ids=name)
def test_a_fault_of_a_process_ends_as_it_must(fault):
    seen = fault.run(SHIPPED)
    if seen.outcome == NOT_RUN:
        pytest.skip(seen.reason)
    assert fault.good(seen), seen


# --- negative controls


@pytest.mark.parametrize("fault", GUARDED, ids=name)
def test_with_a_deaf_guard_it_does_not(fault, monkeypatch):
    deaf(monkeypatch, fault.reason.split()[0])
    monkeypatch.setattr(self_test, "prove", lambda policy, limits: None)
    seen = fault.run(SHIPPED)
    assert not fault.good(seen), seen


def test_the_guarded_faults_are_all_but_one_of_the_lockstep_ones():
    assert {f.name for f in robot.FAULTS} - {f.name for f in GUARDED} == {"command_timeout"}


def test_a_command_that_never_ages_is_found(monkeypatch):
    monkeypatch.setattr(base, "COMMAND_TIMEOUT", 1e9)
    assert robot.FAULTS[-1].run(SHIPPED).outcome == NOTHING


def by_name(name: str) -> Fault:
    return command.BY_NAME[name]


@pytest.mark.parametrize("of", ["duplicated_state", "reordered_state", "replayed_command"])
def test_ends_that_do_not_look_at_sequence_numbers_are_found(of, monkeypatch):
    monkeypatch.setattr(udp_wire.Newest, "accept", lambda self, sequence: True)
    assert not by_name(of).good(by_name(of).run(SHIPPED))


@pytest.mark.parametrize("of", ["malformed_state", "malformed_command", "network_gone_and_back"])
def test_a_network_that_works_is_not_a_fault(of, monkeypatch):
    monkeypatch.setattr(packets.Tapped, "sendto", lambda self, data, to: untampered(self, data, to))
    assert by_name(of).run(SHIPPED).outcome == NOTHING


def untampered(tapped, data, to):
    return super(packets.Tapped, tapped).sendto(data, to)


def test_a_file_that_loads_is_found(monkeypatch):
    monkeypatch.setitem(files.CORRUPTIONS, "nothing", lambda data: data)
    seen = by_name("corrupted_file").run(SHIPPED)
    assert (seen.outcome, seen.reason) == (NOTHING, "loaded: nothing")


# --- judging


PERIOD = 0.02


def heard(*damping) -> list[Heard]:
    return [Heard(PERIOD * i, bool(d)) for i, d in enumerate(damping)]


def test_ticks_are_counted_from_the_moment_that_the_limit_allows():
    seen = damped(heard(0, 0, 0, 1, 1), PERIOD, 1.0, PERIOD, "why")
    assert (seen.outcome, seen.reason, seen.allowed) == (DAMPED, "why", 1.0)
    assert seen.ticks == pytest.approx(1.0)


@pytest.mark.parametrize("commands", [(0, 0, 0, 0), (0, 1, 0, 1), (1, 0, 0, 0)])
def test_what_is_not_damped_for_good_is_not_damped(commands):
    """Damping from before the fault does not count, and neither does one that ends."""
    assert damped(heard(*commands), 0.0, 0.0, PERIOD, "").outcome == NOTHING


@pytest.mark.parametrize(
    ("seen", "good"),
    [
        (Seen(DAMPED, "tilt: 2 rad", 0.0, 2.0), True),
        (Seen(DAMPED, "tilt: 2 rad", 0.0, 2.1), False),
        (Seen(DAMPED, "tilt: 2 rad", 0.0, None), False),
        (Seen(DAMPED, "spin", 0.0, 1.0), False),
        (Seen(REFUSED, "tilt: 2 rad"), False),
        (Seen(CLAMPED, "tilt: 2 rad"), False),
        (Seen(NOTHING, "tilt: 2 rad"), False),
        (Seen(NOT_RUN, "install it"), True),
    ],
)
def test_a_row_is_good_only_with_outcome_reason_and_time(seen, good):
    fault = Fault("x", "", lambda path: seen, "tilt")
    assert fault.good(seen) == good


# --- the command


def test_one_fault_is_written_as_data(tmp_path, capsys):
    out = tmp_path / "faults.json"
    assert command.main(["--only", "tilt", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["faults"]
    assert (row["name"], row["outcome"], row["good"]) == ("tilt", DAMPED, True)
    assert row["ticks"] == pytest.approx(1.0)
    assert "tilt: 1.01 rad, limit 1 rad" in capsys.readouterr().out


def test_a_hole_in_the_envelope_exits_with_3(monkeypatch, capsys):
    hole = Fault("hole", "", lambda path: Seen(NOTHING, "the robot walked on"), "")
    monkeypatch.setattr(command, "FAULTS", (hole,))
    assert command.main([]) == 3
    assert "NOT AS IT MUST BE: hole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "tillt"], "did you mean 'tilt'"),
        (["--only", "tilt", "--out", "x.md"], "leave out --only"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, said, capsys):
    assert command.main(options) == 2
    assert said in capsys.readouterr().err


# --- the page


def rows() -> list[list[str]]:
    lines = re.findall(r"^\| `.*$", PAGE.read_text(), re.M)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_has_the_rows_of_the_code():
    assert [(r[0].strip("`"), r[1]) for r in rows()] == [(f.name, f.injected) for f in FAULTS]


def test_the_page_shows_every_fault_ended_as_it_must():
    for fault, (_, _, outcome, reason, allowed, ticks) in zip(FAULTS, rows(), strict=True):
        seen = Seen(outcome, reason, float(allowed), None if ticks == "-" else float(ticks))
        assert outcome != NOT_RUN
        assert fault.good(seen), seen


def test_the_page_is_written_by_the_code():
    made = command.page([(f, Seen(NOT_RUN, "a|b")) for f in FAULTS])
    assert made.splitlines()[0] == PAGE.read_text().splitlines()[0]
    assert made.count("a\\|b") == len(FAULTS)
    assert max(fault.most for fault in FAULTS) == NODE_DEAD
