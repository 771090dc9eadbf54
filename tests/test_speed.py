"""The published figures: their arithmetic, their files, their command line."""

import json

import numpy as np
import pytest
from node_helpers import ROOT

from benchmarks.speed import command, engine_ratio, walking
from robot_ppo import envs
from robot_ppo_export.errors import InputError


def run(seed, seconds, raw):
    return {"seed": seed, "peak_mb": 100 + seed, "seconds_to_walking": seconds, **raw}


def test_seconds_become_raw_steps_at_the_mean_of_the_speeds_around_them():
    assert walking.raw_equivalent(60.0, 10_000.0, 30_000.0) == {
        "raw_steps_per_second": 20_000,
        "walk_raw_steps": 1_200_000,
    }
    assert walking.raw_equivalent(None, 1.0, 1.0)["walk_raw_steps"] is None


def test_the_slowest_seed_counts_in_seconds_and_in_steps():
    slow_clock = run(1, 90.0, walking.raw_equivalent(90.0, 10_000.0, 10_000.0))
    many_steps = run(2, 60.0, walking.raw_equivalent(60.0, 20_000.0, 20_000.0))
    figures = walking.summary([slow_clock, many_steps])
    assert figures["seconds_to_walking"] == 90.0
    assert figures["walk_raw_steps"] == 1_200_000
    assert figures["peak_mb"] == 102


def test_a_seed_that_never_walks_leaves_no_figure():
    never = run(2, None, walking.raw_equivalent(None, 1.0, 1.0))
    figures = walking.summary([run(1, 9.0, walking.raw_equivalent(9.0, 1.0, 1.0)), never])
    assert figures["seconds_to_walking"] is None and figures["walk_raw_steps"] is None


def test_the_command_prints_and_writes_what_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(command.FIGURES, "env", (lambda: {"env_ratio": 0.9}, ""))
    out = tmp_path / "env.json"
    assert command.main(["env", "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["bench"] == "env" and written["env_ratio"] == 0.9
    assert written["machine"]["cores"] >= 1 and written["bench_seconds"] >= 0
    assert "env_ratio" in capsys.readouterr().out


def test_wrong_input_is_one_sentence(monkeypatch, capsys):
    def refuse():
        raise InputError("no robot")

    monkeypatch.setitem(command.FIGURES, "env", (refuse, ""))
    assert command.main(["env"]) == 2
    assert capsys.readouterr().err == "benchmarks.speed: no robot\n"


@pytest.mark.parametrize(
    "words", [[], ["speed"], ["walk", "--seeds", "0"], ["env", "--seeds", "2"]]
)
def test_a_malformed_command_line_has_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(words)
    assert end.value.code == 2


def test_the_yardstick_makes_the_same_steps_from_the_same_states():
    env = envs.make_named("go2_walk", 4, seed=1)
    raw = engine_ratio.Raw(env)
    env.reset(seed=1)
    action = np.full((4, 12), 0.1, np.float32)
    before = env.engine.batch.state[:, 0].copy()  # the first entry is the time
    assert raw.seconds(action) > 0
    np.testing.assert_allclose(raw.batch.state[:, 0] - before, 0.02, rtol=1e-6)
    env.step(action)
    np.testing.assert_array_equal(raw.batch.bind("ctrl"), env.engine.batch.bind("ctrl"))
    assert np.ptp(raw.batch.bind("ctrl")) > 0
    times = engine_ratio.walking_times(steps=2, simulations=4, warm_up=1)
    assert times.shape == (2, 2) and (times > 0).all()


def test_the_wheel_holds_no_benchmarks():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "robot_ppo" in build["targets"]["wheel"]["only-include"]
    assert "benchmarks" not in build["targets"]["wheel"]["only-include"]
