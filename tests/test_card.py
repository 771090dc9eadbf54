"""The scorecard's exact intervals, dead zones, many short trials, and how they are shown."""

import msgspec
import numpy as np
import pytest
from rich.console import Console
from test_evaluate import COMMANDS, FIGURES, card, commands, contract, with_section, zeros

from robot_ppo.config import Condition
from robot_ppo.envs.robot import trials
from robot_ppo.evaluation import dead_zones, evaluate, plot, scorecard
from robot_ppo.evaluation.card import dead_zone
from robot_ppo.evaluation.scorecard import Options
from robot_ppo_export.contract.command import twist
from robot_ppo_export.errors import InputError

__all__ = ["commands", "contract"]  # fixtures

# -- falls --------------------------------------------------------------------------------------


def fallen(count, trials=45):
    """A card of which so many trials fell under its first condition."""
    one = card()
    one.figures = {name: np.zeros((2, trials)) for name in FIGURES}
    one.commands = np.resize(one.commands, (trials, 3))
    one.figures["falls"][0, :count] = 1
    return one


@pytest.mark.parametrize(
    ("count", "trials", "low", "high"),
    [
        (0, 45, 0.0, 1 - 0.025 ** (1 / 45)),  # closed forms where none or all fell
        (45, 45, 0.025 ** (1 / 45), 1.0),
        (0, 1000, 0.0, 1 - 0.025 ** (1 / 1000)),
        (1, 45, 1 - 0.975 ** (1 / 45), 0.1177),  # the binomial's tails are checked below
    ],
)
def test_falls_have_the_interval_of_clopper_and_pearson(count, trials, low, high):
    found = fallen(count, trials).falls()
    assert found.value == count / trials
    assert (found.low, found.high) == (pytest.approx(low, rel=2e-3), pytest.approx(high, rel=2e-3))
    if 0 < count < trials:  # each tail has 2.5 %
        draws = np.random.default_rng(0).binomial(trials, [[found.low], [found.high]], (2, 200_000))
        assert (draws[0] >= count).mean() == pytest.approx(0.025, abs=0.002)
        assert (draws[1] <= count).mean() == pytest.approx(0.025, abs=0.002)


def test_more_trials_say_more():
    few = fallen(0, 45).falls().high
    many = fallen(0, 1000).falls().high
    assert few > 0.07 and many < 0.004


def test_the_json_has_the_interval_of_every_condition():
    data = msgspec.json.decode(msgspec.json.encode(fallen(3).to_json()))
    assert data["falls"] == 3 and data["conditions"]["pushes"]["falls"] == 0
    low, high = data["falls_interval"]
    assert low < 3 / 45 < high
    assert data["conditions"]["nominal"]["falls_interval"] == [low, high]
    assert data["conditions"]["pushes"]["falls_interval"][0] == 0.0
    assert "dead_zone" not in data


def shown(one) -> str:
    console = Console(record=True, width=160)
    scorecard.show(one, console)
    return console.export_text()


def test_falls_are_shown_with_their_interval_once_for_each_number():
    text = shown(fallen(3))
    assert "3 of 45 fell: 1.4 to 18 % of all trials do (95 %)" in text
    assert text.count("0 of 45 fell: 0 to 7.9 % of all trials do (95 %)") == 1
    assert "0 of 1000 fell: 0 to 0.37 %" in shown(fallen(0, 1000))


# -- dead zones ---------------------------------------------------------------------------------


def curve(measured):
    """A response to commands from -0.5 to 0.5 in steps of a tenth."""
    asked = np.array([-0.5, -0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5])
    return np.column_stack((asked, [measured(c) for c in asked]))


@pytest.mark.parametrize(
    ("measured", "zone"),
    [
        (lambda c: c, (-0.1, 0.1)),
        (lambda c: 0.0, (None, None)),
        (lambda c: -c, (None, None)),  # the wrong way is no motion
        (lambda c: c if c > 0.25 else 0.0, (None, 0.3)),
        (lambda c: c if abs(c) > 0.15 else 0.0, (-0.2, 0.2)),
        (lambda c: 0.51 * c, (-0.1, 0.1)),
        (lambda c: 0.49 * c, (None, None)),
        # Followed at 0.1 and at 0.3 and more, and not at 0.2: it moves from 0.3 on.
        (lambda c: 0.0 if round(c, 1) == 0.2 else c, (-0.1, 0.3)),
    ],
)
def test_the_smallest_command_that_moves_it_is_the_one_from_which_all_do(measured, zone):
    assert dead_zone(curve(measured)) == zone


def test_the_ladder_goes_along_one_axis_at_a_time_within_the_ranges():
    axis, ladder = dead_zones.commands(twist((-1.0, 2.0), (0.0, 0.4), (-1.0, 1.0)))
    assert axis[0] == -1 and not ladder[0].any()
    assert (np.count_nonzero(ladder[1:], axis=1) == 1).all()
    for i, (low, high) in enumerate([(-0.5, 1.0), (0.02, 0.2), (-0.5, 0.5)]):
        mine = ladder[axis == i, i]
        assert (np.diff(mine) > 0).all()
        assert (mine[0], mine[-1]) == (
            pytest.approx(low if low < 0 else 0.2 / dead_zones.STEPS),
            pytest.approx(high),
        )


def test_a_policy_that_stands_is_moved_by_no_command(contract, monkeypatch):
    monkeypatch.setattr(dead_zones, "STEPS", 2)
    planned = evaluate.plan(with_section(contract, seconds=1.0, unscored=0.5))
    found = dead_zones.measure(contract, zeros, planned, threads=1)
    assert list(found) == ["vx", "vy", "yaw_rate"]
    assert [len(one) for one in found.values()] == [4, 4, 4]
    one = card()
    one.response = found
    assert one.dead_zone() == dict.fromkeys(found, (None, None))
    data = msgspec.json.decode(msgspec.json.encode(one.to_json()))
    assert data["dead_zone"]["vx"] == [None, None] and len(data["response"]["yaw_rate"]) == 4
    assert "smallest commands that move it: vx none / none" in shown(one)


def test_what_a_policy_does_at_rest_is_no_answer_to_a_command(contract, monkeypatch):
    """A simulated robot that creeps at 0.3 m/s whatever it is told does not move by a command."""
    monkeypatch.setattr(dead_zones, "STEPS", 2)

    def creeping(contract, act, conditions, *rest, planned, **more):
        one = card()
        ahead = np.full((1, len(planned.commands)), 0.3)
        one.measured = {name: ahead for name in ("vx", "vy", "yaw_rate")}
        return one

    monkeypatch.setattr(evaluate, "evaluate", creeping)
    planned = evaluate.plan(with_section(contract))
    found = dead_zones.measure(contract, zeros, planned)
    assert dead_zone(found["vx"]) == (None, None)


# -- many short trials --------------------------------------------------------------------------


def options(contract, **given):
    return scorecard.planned_for(contract, Options(**given))


def test_trials_are_drawn_in_the_ranges_of_the_command_and_short(contract):
    planned = options(contract, trials=300)
    low, high = contract.command.bounds().T
    assert planned.commands.shape == (300, 3)
    assert ((planned.commands >= low) & (planned.commands <= high)).all()
    assert np.abs(planned.commands.mean(axis=0)).max() < 0.15
    assert (planned.seconds, planned.unscored) == (trials.SHORT, 2.0)
    assert options(contract, trials=3, seconds=1.0).unscored == 0.5
    assert len(options(contract).commands) == 45  # without the option


def test_the_length_of_drawn_trials_needs_drawn_trials(contract):
    with pytest.raises(InputError, match="--seconds is the length of drawn trials: give --trials"):
        options(contract, seconds=2.0)


def test_a_policy_may_be_scored_by_the_section_of_another_task(contract):
    planned = options(contract, task="go2_corners")
    names = [c.name for c in planned.conditions]
    assert names[0] == "nominal" and len(names) > len(options(contract).conditions)
    with pytest.raises(InputError, match=r"limits\.joint_error`: unknown figure"):
        options(contract, task="go2_joint_hold")


def test_many_trials_of_a_standing_policy_have_a_narrow_interval(contract):
    short = with_section(contract)
    planned = options(short, trials=60, seconds=0.4)
    one = evaluate.evaluate(short, zeros, (Condition("nominal"),), threads=2, planned=planned)
    assert one.figures["falls"].shape == (1, 60) and one.falls().high < 0.06


def test_dead_zones_are_measured_without_memories_of_the_trials(contract, monkeypatch, tmp_path):
    """A policy that remembers its robots cannot go on with others."""

    def load(source):
        seen = []

        def act(observation):
            seen.append(len(observation))
            assert len(set(seen)) == 1
            return zeros(observation)

        return short, act

    section = {"seconds": 0.2, "unscored": 0.1, "commands": {"vx": [0.0]}}
    short = with_section(contract, **section)
    monkeypatch.setattr(dead_zones, "STEPS", 1)
    monkeypatch.setattr(scorecard, "load", load)
    monkeypatch.setattr(scorecard, "mjcf_of", lambda source, contract: None)
    one = scorecard.run(tmp_path, None, None, Options(threads=1))
    assert one.commands.shape == (1, 3) and list(one.response) == ["vx", "vy", "yaw_rate"]
    assert not scorecard.run(tmp_path, None, None, Options(quick=True, threads=1)).response


# -- the picture --------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [True, False])
def test_a_picture_is_drawn_of_a_grid_and_of_drawn_twists(grid, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    one = fallen(2) if grid else fallen(2, 30)
    one.commands = np.array(COMMANDS, np.float32) if grid else drawn(30)
    one.response = {name: curve(lambda c: c) for name in ("vx", "vy", "yaw_rate")}
    titles = []
    from matplotlib.axes import Axes

    kept = Axes.set_title
    monkeypatch.setattr(
        Axes, "set_title", lambda self, text, **k: titles.append(text) or kept(self, text, **k)
    )
    path = tmp_path / "card.png"
    plot.write_plot(one, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    fell = "2 of 45 fell (0.54 to 15 %)" if grid else "2 of 30 fell (0.82 to 22 %)"
    assert any(fell in title for title in titles), titles
    assert any("dead zone, vy" in title for title in titles)


def drawn(n):
    return np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(np.float32)


def test_a_task_without_a_twist_has_no_picture(tmp_path):
    one = card()
    one.units = {"pose_error": "rad", "falls": ""}
    with pytest.raises(InputError, match="--plot draws errors"):
        plot.write_plot(one, tmp_path / "card.png")
