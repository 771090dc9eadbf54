"""The scorecard for rough ground: what counts as crossed, and the one number per kind."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from robot_ppo.config import Condition
from robot_ppo.evaluation import ground, ground_table, scorecard
from robot_ppo.evaluation.ground import Crossing, GroundCard
from robot_ppo.sim.terrain import KINDS, Tile, measure
from robot_ppo_export.contract import command
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy
from tests import env_helpers as helpers

SHIPPED = Path(__file__).parent / "golden" / "go2_walk.onnx"


def crossing(level, crossed, condition="nominal", kind="waves", fallen=0):
    stuck = 20 - crossed - fallen
    return Crossing(kind, level, condition, 20, crossed, fallen, stuck, 0.1, 1.0)


def test_the_number_of_a_kind_is_the_level_up_to_which_every_level_counts():
    def highest(*crossed):
        rows = [crossing(0.2 * (i + 1), c) for i, c in enumerate(crossed)]
        return GroundCard(("waves",), rows).highest("waves")

    assert highest(20, 18, 17, 20) == 0.4
    assert highest(17, 20) is None
    assert highest(18) == 0.2


def test_pushes_have_a_number_of_their_own():
    card = GroundCard(("waves",), [crossing(0.2, 20), crossing(0.2, 3, "pushes", fallen=17)])
    data = card.to_json()
    assert data["highest_level"] == {"nominal": {"waves": 0.2}, "pushes": {"waves": None}}
    row = data["crossings"][1]
    assert row["success"] == 0.15 and row["interval"] == pytest.approx([0.032, 0.379], abs=1e-3)


def test_the_page_shows_every_kind_and_what_its_level_means():
    card = GroundCard(
        ("waves", "stairs_up"), [crossing(0.2, 20), crossing(0.2, 19, kind="stairs_up")]
    )
    console = Console(file=io.StringIO(), width=100)
    ground_table.show(card, console)
    text = console.file.getvalue()
    assert all(part in text for part in ("20/20", "19/20", "0.2: rise 0.06 m", "83% or more"))


def test_a_level_means_its_kinds_first_range():
    assert measure("slope_up", 0.5) == ("angle", pytest.approx(0.25))
    assert measure("flat", 0.5) == ("", 0.0)


def test_kinds_are_chosen_by_name():
    assert set(ground.chosen(None)) == set(KINDS) - {"flat"}
    assert ground.chosen("stairs_up, flat") == ("stairs_up", "flat")
    with pytest.raises(InputError, match="unknown kind of ground 'stairs'; did you mean"):
        ground.chosen("stairs")


def test_a_policy_that_is_not_told_to_walk_ahead_is_refused():
    contract, act = scorecard.load(SHIPPED)
    slow = helpers.replace(contract, command=command.twist((-0.2, 0.2), (0, 0), (0, 0)))
    with pytest.raises(InputError, match=r"walk ahead at 0\.4 to 0\.6 m/s, which is no command"):
        ground.crossed(slow, lambda: act, ("flat",))


@pytest.fixture
def near(monkeypatch):
    """A way of 40 cm, on tiles of 4 m."""
    monkeypatch.setattr(ground, "WAY", 0.4)
    monkeypatch.setattr(ground, "_TILE", Tile(size=4.0, spacing=0.1, platform=1.0))


def run(act=None, **changes):
    contract, _ = scorecard.load(SHIPPED)
    options = {"levels": (0.2, 0.4), "trials_each": 2, "conditions": (Condition("nominal"),)}

    def begin():
        return act or Policy(SHIPPED).for_many()

    return ground.crossed(contract, begin, ("flat",), **(options | changes), threads=1)


def test_who_walks_crosses_and_the_next_level_is_tried(near):
    card = run()
    assert [c.crossed for c in card.crossings] == [2, 2] and card.highest("flat") == 0.4
    assert all(c.fallen == c.stuck == 0 for c in card.crossings)
    assert 0 < card.crossings[0].velocity_error < 0.5 < 20 * card.crossings[0].cost_of_transport


def test_who_stands_is_stuck_and_no_harder_level_is_tried(near):
    card = run(act=lambda observation: np.zeros((len(observation), 12), np.float32))
    (only,) = card.crossings
    assert (only.level, only.crossed, only.fallen, only.stuck) == (0.2, 0, 0, 2)


def test_who_is_thrown_over_has_fallen(near):
    card = run(conditions=(Condition("thrown", push=12.0),), levels=(0.2,))
    assert card.crossings[0].crossed + card.crossings[0].fallen == 2


def test_trials_head_everywhere_and_start_on_their_own_tiles(near):
    contract, _ = scorecard.load(SHIPPED)
    made = ground._Trials(
        contract, ["flat", "waves"], 0.5, [Condition("a"), Condition("b")], 10, 1, 0, None
    )
    quat = made.engine.qpos[:, made.engine.base_quat]
    yaw = np.sort(2 * np.arctan2(quat[:10, 3], quat[:10, 0]) % (2 * np.pi))
    assert np.diff(yaw, append=yaw[0] + 2 * np.pi).max() < 1.2
    assert np.array_equal(quat[:20], quat[20:])
    x, y = made.engine.qpos[:, made.engine.base_pos][:, :2].T
    assert len(np.unique(y.round(3))) == 2 and len(np.unique(x.round(3))) == 4
    above = made.engine.base_heights(made.engine.qpos)
    assert above == pytest.approx(contract.robot.base.height, abs=1e-3)


def test_without_a_terminal_a_line_says_which_level_is_tried(monkeypatch, capsys):
    """It takes half an hour, of which a file that takes the output heard nothing."""

    def crossed(*_, progress, **__):
        for done in (0.1, 0.2, 0.5, 1.0, 1.0):
            progress(done)
        return GroundCard(("waves",), [crossing(0.2, 20)])

    monkeypatch.setattr(ground, "crossed", crossed)
    monkeypatch.setattr(scorecard, "load", lambda _: (None, None))
    monkeypatch.setattr(scorecard, "mjcf_of", lambda *_: None)
    ground_table.run(Path("file.onnx"), None, None, quick=True)
    told = [line for line in capsys.readouterr().out.splitlines() if "is tried" in line]
    assert told[0] == "level 0.2 is tried, 20% of all" and len(told) == 4
