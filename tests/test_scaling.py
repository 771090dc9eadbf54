"""The model of the cost of an iteration, what it is fitted to, and the network of its runs."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from node_helpers import ROOT

from benchmarks.rank_runs import Cost, summary
from benchmarks.scaling import command, extrapolation, network, page
from benchmarks.scaling.model import (
    Model,
    Network,
    columns,
    fit,
    hops,
    largest,
    nonnegative,
    traffic,
)
from benchmarks.scaling.settings import FITTED, HELD_OUT, Run
from benchmarks.speed import ranks_ratio
from robot_ppo_export.errors import InputError

TRUE = Model(
    cores=2,
    collect_call=1e-3,
    collect_sample=40e-6,
    learn_minibatch=2e-3,
    learn_sample=7e-6,
    crowded=1.1,
    in_turns=1.2,
    imbalance=0.05,
    hop=60e-6,
    delay_hops=1.0,
    relay=90e-6,
    payload={"float32": 100e3, "int8": 26e3},
)


def cost(run, model=TRUE, factor=1.0):
    """What a run costs by a model; `factor` times as much where something disturbed it."""
    steps = 6 * run.per_rank * run.ranks
    collect = columns(run)[0] @ (model.collect_call, model.collect_sample)
    hop = model.hop + model.relay * run.slowed + run.delay
    waited = model.waits(run, Network(hop, run.bandwidth))
    sent = traffic(run, model.payload[run.form])
    parts = {"physics": factor * collect, "policy": 0.0, "environment": 0.0, "learn": 0.0}
    return Cost(steps, factor * model.predict(run), waited, sent, parts, 300.0)


def test_a_model_is_found_again_in_what_it_predicts():
    measured = [(run, cost(run)) for run in (*FITTED, *HELD_OUT)]
    found = fit(measured, cores=2)
    for name, value in vars(TRUE).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.03), name
    assert command.largest_error(found, measured) < 0.01


def test_held_out_runs_have_no_say_and_their_errors_are_seen():
    measured = [(run, cost(run)) for run in FITTED]
    measured += [(run, cost(run, factor=1.5)) for run in HELD_OUT]
    found = fit(measured, cores=2)
    assert found == fit(measured[: len(FITTED)], cores=2)
    assert command.largest_error(found, measured) == pytest.approx(1 / 3, abs=0.01)


def test_one_disturbed_run_does_not_bend_the_model():
    disturbed = next(run for run in FITTED if run.ranks == 2)
    measured = [(run, cost(run, factor=1.4 if run == disturbed else 1.0)) for run in FITTED]
    measured += [(run, cost(run)) for run in HELD_OUT]
    assert command.largest_error(fit(measured, cores=2), measured) < 0.05


def test_coefficients_are_not_negative_and_least_absolute_errors():
    rows = [[1.0, x] for x in range(1, 8)]
    values = [2.0 + 3.0 * x for x in range(1, 8)]
    np.testing.assert_allclose(nonnegative(rows, values), [2.0, 3.0], rtol=1e-3)
    values[3] *= 3
    np.testing.assert_allclose(nonnegative(rows, values), [2.0, 3.0], rtol=0.02)
    assert nonnegative(rows, [10.0 - x for x in range(1, 8)])[1] == 0.0


def test_the_expected_largest_of_n_is_that_of_draws():
    draws = np.random.default_rng(0).normal(size=(20_000, 64))
    for ranks in (2, 8, 64):
        assert largest(ranks) == pytest.approx(draws[:, :ranks].max(axis=1).mean(), rel=0.05)


def test_a_ring_hands_on_and_sends_as_its_algorithm_does():
    two = Run(2, 512)
    assert hops(two) == 2 * (32 + 12) and hops(Run(8, 512)) == 14 * (32 + 12)
    assert traffic(two, 1000.0) == 16 * 1000.0  # of both gradients, once for every minibatch
    assert traffic(Run(512, 512), 1000.0) == pytest.approx(2 * traffic(two, 1000.0), rel=0.01)


def test_efficiency_falls_with_ranks_and_rises_with_every_lever():
    slow = Network(200e-6, 125e6)
    efficiencies = [TRUE.efficiency(Run(ranks, 512), slow) for ranks in (2, 8, 64, 512)]
    assert efficiencies == sorted(efficiencies, reverse=True) and efficiencies[0] < 1
    for name, move in extrapolation.LEVERS.items():
        moved = TRUE.efficiency(move(Run(64, 512)), slow)
        assert moved > efficiencies[2] or name == "none"
    calm = replace(TRUE, imbalance=0.001)
    rows = extrapolation.levers(calm)
    assert all(row["one machine"] >= rows[0]["one machine"] for row in rows)
    assert rows[-1]["one machine"] > rows[0]["one machine"]


def test_the_parts_of_an_iteration_are_all_of_it():
    parts = extrapolation.parts(TRUE, Run(64, 512), Network(200e-6, 125e6))
    assert sum(parts.values()) == pytest.approx(1.0, abs=0.003)


def rows(*seconds, waited=0.1):
    common = {"sent": 50.0, "physics": 0.2, "policy": 0.1, "environment": 0.1, "learn": 0.5}
    return [{"wall": wall, "waited": waited, **common} for wall in seconds]


def test_costs_are_medians_of_means_over_ranks():
    found = summary([rows(1.0, 1.0, 9.0), rows(1.2, 1.2, 9.0)], 1000, 300.0)
    assert found.seconds == pytest.approx(1.1) and found.waited == pytest.approx(0.1)
    assert found.parts["learn"] == 0.5 and found.sent == 50.0
    assert found.spread == pytest.approx(0.1 * 2**0.5 / 1.0)


def test_the_figures_of_ranks_are_ratios_within_a_round():
    alone = [Cost(6144, s, 0.0, 0.0, {}, 380.0) for s in (0.4, 0.8, 0.4)]
    two = [Cost(6144, s, 0.02, 6144 * 130.0, {}, 300.0) for s in (0.36, 0.72, 0.36)]
    figures = ranks_ratio.figures(
        {"alone": alone, "float32": two, "int8": two}, Cost(6144, 1.0, 0.0, 0.0, {}, 290.4)
    )
    assert figures["float32_ranks_ratio"] == pytest.approx(1.111)
    assert figures["int8_bytes_per_step"] == 130.0
    assert figures["float32_waiting_share"] == pytest.approx(0.0556, abs=1e-4)
    assert figures["four_ranks_memory_mb"] == 290


ECHO = """
import socket
listening = socket.create_server(("10.77.0.1", 5000))
listening.settimeout(20)
one, _ = listening.accept()
while data := one.recv(65536):
    one.sendall(data)
"""
ASK = """
import socket, time
for _ in range(100):
    try:
        one = socket.create_connection(("10.77.0.1", 5000), timeout=20)
        break
    except OSError:
        time.sleep(0.05)
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times = []
for size in (1, 1, 1, 100_000):
    begin = time.perf_counter()
    one.sendall(bytes(size))
    while size:
        size -= len(one.recv(size))
    times.append(time.perf_counter() - begin)
print(times)
"""


@pytest.mark.real_time
def test_packets_meet_the_delay_and_the_bandwidth():
    if (refusal := network.refusal()) is not None:
        pytest.skip(refusal)
    with network.Network(2, delay=0.02, bandwidth=5e6) as made:
        echo = subprocess.Popen([*made.prefixes[0], sys.executable, "-c", ECHO])
        ask = [*made.prefixes[1], sys.executable, "-c", ASK]
        said = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True)
        assert echo.wait(30) == 0
    small, _, least, large = json.loads(said.stdout)
    assert min(small, least) >= 0.04  # there and back
    assert large >= 0.04 + 100_000 / 5e6
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert "robot_ppo_" not in listed.stdout


def test_a_network_that_is_refused_says_why(monkeypatch):
    def refuse(*words):
        raise subprocess.CalledProcessError(1, words, stderr="Operation not permitted\n")

    monkeypatch.setattr(network, "_ip", refuse)
    assert network.refusal() == "no network of its own for each rank: Operation not permitted"


def test_what_is_printed_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(network, "refusal", lambda: "no")
    monkeypatch.setattr(
        command,
        "measure_all",
        lambda runs, *_: [(run, cost(run)) for run in runs],
    )
    out = tmp_path / "scaling.json"
    doc = tmp_path / "page.md"
    doc.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n")
    assert command.main(["--json", str(out), "--doc", str(doc)]) == 0
    written = json.loads(out.read_text())
    assert written["network"] == "no" and written["largest_error_held_out"] < 0.01
    assert {row["network"] for row in written["extrapolated"]} == set(extrapolation.NETWORKS)
    assert len(written["runs"]) == sum(not run.slowed for run in (*FITTED, *HELD_OUT))
    text = doc.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert f"| {HELD_OUT[0].name} | {round(cost(HELD_OUT[0]).seconds, 4)} |" in text
    assert "| a hop on the loopback [us] | " in text


def test_a_page_without_a_place_for_the_tables_is_refused(tmp_path):
    doc = tmp_path / "page.md"
    doc.write_text("nothing")
    with pytest.raises(InputError, match=r"page\.md: has no place for the tables"):
        page.write(doc, {})
    assert page.BEGIN in (ROOT / "docs" / "scaling.md").read_text()
