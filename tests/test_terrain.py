"""Kinds of ground as functions, and the tiles that they are joined to."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo import config
from robot_ppo.config import Terrain
from robot_ppo.envs.robot import grounds
from robot_ppo.sim import tiles
from robot_ppo.sim.terrain import FADE, KINDS, Tile, heights
from robot_ppo.sim.tiles import BORDER, Tiles, check_room
from robot_ppo.training import run_folder
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

TILE = Tile(size=8.0, spacing=0.1, platform=1.0)
ROUGH = [name for name in KINDS if name != "flat"]
MIDDLE = TILE.ring <= 0.5 + 1e-9
EDGE = TILE.ring >= 4.0 - 1e-9


def section(**changes):
    kinds = {name: {"share": 1} for name in KINDS}
    return Terrain(**({"kinds": kinds, "levels": 3, "columns": 10} | changes))


def kind(name, **parameters):
    """A section of that kind alone."""
    return {"kinds": {name: {"share": 1, **parameters}}}


def built(**changes) -> Tiles:
    return grounds.tiles(section(**changes), helpers.robot())


@pytest.mark.parametrize("name", KINDS)
def test_a_tile_follows_from_kind_level_and_seed_alone(name):
    one = heights(TILE, KINDS[name], 0.7, 3)
    assert np.array_equal(one, heights(TILE, KINDS[name], 0.7, 3))
    assert one.shape == (81, 81) and np.isfinite(one).all()


@pytest.mark.parametrize("name", ["random_rough", "blocks", "waves", "stepping_stones"])
def test_another_seed_is_another_tile(name):
    assert not np.array_equal(heights(TILE, KINDS[name], 1, 0), heights(TILE, KINDS[name], 1, 1))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", KINDS)
def test_robots_start_on_a_level_square_and_tiles_meet_at_height_0(name, level):
    made = heights(TILE, KINDS[name], level, 0)
    assert np.ptp(made[MIDDLE]) < 1e-12
    assert not made[EDGE].any()


@pytest.mark.parametrize("name", ROUGH)
def test_a_higher_level_is_harder(name):
    """By the mean change of height from one grid point to the next."""
    steps = [np.abs(np.diff(heights(TILE, KINDS[name], v, 0))).mean() for v in (0.0, 0.5, 1.0)]
    assert 0 < steps[0] < steps[1] < steps[2]


def outwards(name, level=1.0, **parameters):
    """Heights from the edge of the platform out to the end of the slope, along x."""

    def one(tile, value, rng):
        return KINDS[name](tile, value, rng, **parameters)

    row = heights(TILE, one, level, 0)[40]
    return row[45 : 81 - round(FADE / 0.1)]


@pytest.mark.parametrize("name, sign", [("slope_up", 1), ("slope_down", -1)])
def test_a_slope_has_its_angle(name, sign):
    assert np.diff(outwards(name, angle=(0.1, 0.4))) == pytest.approx(sign * 0.1 * np.tan(0.4))
    assert np.diff(outwards(name, 0, angle=(0.1, 0.4))) == pytest.approx(sign * 0.1 * np.tan(0.1))


@pytest.mark.parametrize("name, sign", [("stairs_up", 1), ("stairs_down", -1)])
def test_stairs_have_their_rise_and_their_tread(name, sign):
    rises = np.diff(outwards(name, 0.5, rise=(0.1, 0.2), tread=0.3))
    edges = np.flatnonzero(rises)
    assert rises[edges] == pytest.approx(sign * 0.15)
    assert (np.diff(edges) == 3).all() and len(edges) == 10


def test_gaps_are_shallow_and_as_wide_as_said():
    made = heights(TILE, KINDS["stepping_stones"], 1.0, 0)
    inside = (TILE.ring < 3.5) & (TILE.ring > 0.5)
    assert made[inside].min() == pytest.approx(-0.15)
    assert made.max() <= 0.02
    # Of a pitch of 0.8 m the stones take 0.5 m, along both axes.
    assert (made[inside] > -0.15).mean() == pytest.approx((0.5 / 0.8) ** 2, abs=0.08)


def test_plates_lean_by_no_more_than_their_angle_between_their_seams():
    made = heights(TILE, KINDS["tilted_plates"], 1.0, 0)
    rise = np.abs(np.diff(made, axis=1))[MIDDLE[:, 1:] == 0] / 0.1
    within = np.median(rise)
    assert 0 < within < np.tan(0.3)


# -- tiles --------------------------------------------------------------------------------------


def test_every_tile_stands_where_its_centre_is_said_to_be():
    made = built()
    field = made.field
    functions = list(KINDS.values())
    for column, kind in enumerate(made.kinds):
        for row, level in enumerate(made.levels):
            x, y = made.centre(np.array(row), np.array(column)) - np.array(field.corner)
            i, j = round(y / 0.1), round(x / 0.1)
            tile = heights(TILE, functions[kind], level, (0, column, row))
            assert np.array_equal(field.heights[i - 40 : i + 41, j - 40 : j + 41], tile)
    assert not field.heights[:, : round(BORDER / 0.1)].any()


def test_the_easiest_row_is_one_part_of_the_way_from_the_low_end_of_a_range():
    ten = built(**kind("stairs_up", rise=[0.02, 0.2]), levels=10, columns=1)
    rises = []
    for row in range(10):
        x, y = ten.centre(np.array(row), np.array(0)) - np.array(ten.field.corner)
        along = ten.field.heights[round(y / 0.1), round(x / 0.1) : round(x / 0.1) + 36]
        rises.append(np.diff(along).max())
    assert rises[0] == pytest.approx(0.038) and rises[-1] == pytest.approx(0.2)
    assert built(levels=1).levels.tolist() == [1.0]


def test_shares_are_columns_and_every_kind_has_one():
    kinds = {"flat": {"share": 0.1}, "waves": {"share": 2}, "blocks": {"share": 4}}
    made = built(kinds=kinds, columns=8)
    assert np.bincount(made.kinds).tolist() == [1, 3, 4]
    assert made.names == ("flat", "waves", "blocks")


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"kinds": {"stars": {"share": 1}}}, "unknown kind of ground 'stars'; did you mean"),
        ({"kinds": {"waves": {"share": 1, "rise": [0, 1]}}}, r"unknown parameter 'rise'; it takes"),
        ({"kinds": {"waves": {}}}, "kinds.waves`: lacks share"),
        ({"kinds": {"waves": {"share": 1, "height": [0.2, 0.1]}}}, r"is not \[low, high\]"),
        (kind("slope_up", angle=[5, 25]), r"slope_up.angle\[0\]`: 5 must be at most 1\.2"),
        (kind("slope_up", angle=[0.4, 0.1]), r"slope_up.angle`: \[0\.4, 0\.1\] is not \[low"),
        (kind("tilted_plates", angle=[-0.1, 0.3]), "-0.1 must be at least 0"),
        (kind("stairs_up", rise=[-0.1, 0.3]), r"rise\[0\]`: -0.1 must be at least 0"),
        (
            kind("stairs_up", tread=0.05),
            r"stairs_up.tread`: 0\.05 m cannot be seen in heights 0\.1",
        ),
        (
            kind("stairs_down", tread=0.1),
            r"must have 2: make it 0\.2 m or more, or `spacing` finer",
        ),
        (kind("stairs_down", tread=4.0), r"4 m is more than the 3\.1 m between a tile's platform"),
        (kind("stepping_stones", stone=5), r"stone`: 5 m is more than the 3\.1 m"),
        (kind("waves", length=0.1), r"waves.length`: 0\.1 m cannot .* make it 0\.4 m or more"),
        (kind("random_rough", width=1e-5), r"random_rough.width`: 1e-05 m cannot be seen"),
        (kind("blocks", width=[0.05, 1.0]), r"blocks.width`: 0\.05 m cannot be seen"),
        ({"columns": 3}, "columns`: 3 is fewer than the 10 kinds"),
        ({"size": 8.05}, "size`: 8.05 m is no multiple of spacing 0.1"),
        ({"size": 1.5}, "size`: 1.5 m leaves no room around the platform of 1 m; it must be 2 m"),
        ({"size": 1000.0, "levels": 900}, r"heights take \d+\.\d GB, and a quarter of this"),
    ],
)
def test_ground_that_cannot_be_is_refused_in_a_sentence(changes, text):
    with pytest.raises(SettingError, match=text):
        built(**changes)


@pytest.mark.parametrize(
    "section",
    [kind("stairs_up", tread=0.2), kind("waves", length=0.4), kind("slope_up", angle=[0, 1.2])],
)
def test_ground_at_its_bounds_is_made_and_is_not_flat(section):
    assert np.ptp(built(**section).field.heights) > 0.1


def test_the_memory_of_a_field_is_told_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(tiles.os, "sysconf", lambda name: 1000)
    with pytest.raises(SettingError, match=r"281 x 841 heights take 0\.0 GB, and a quarter"):
        built()


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_a_level_outside_of_its_range_is_refused(level):
    with pytest.raises(SettingError, match="is not between 0 and 1"):
        heights(TILE, KINDS["flat"], level, 0)


def test_a_robot_needs_room():
    check_room(section(), 0.4, "go2")
    with pytest.raises(SettingError, match="a tile of 8 m is too small for giant"):
        check_room(section(platform=3.0), 2.5, "giant")
    with pytest.raises(SettingError, match=r"platform`: 0\.3 m, and go2 stands on 0\.40 m"):
        check_room(section(platform=0.3), 0.4, "go2")


# -- one tile to walk out of --------------------------------------------------------------------


def test_a_course_has_its_middle_at_0_and_is_as_deep_as_its_level():
    shallow, deep = (tiles.course("stairs_up", level, spacing=0.1) for level in (0.1, 0.9))
    assert shallow.heights.shape == (241, 241) and shallow.corner == (-12.0, -12.0)
    assert deep.heights[120, 120] == deep.heights.min() < shallow.heights.min() < 0


def test_kind_and_level_are_read_from_a_word():
    assert tiles.parse("stairs_up:0.6") == ("stairs_up", 0.6)


@pytest.mark.parametrize(
    "text, said",
    [
        ("stairs:0.6", "unknown kind of ground 'stairs'; did you mean 'stairs_up'"),
        ("waves", "'waves': give the level behind a colon, 0 to 1, as in waves:0.6"),
        ("waves:2", "give the level behind a colon"),
        ("waves:nan", "give the level behind a colon"),
        ("waves:steep", "give the level behind a colon"),
    ],
)
def test_a_word_that_is_no_ground_is_refused_in_a_sentence(text, said):
    with pytest.raises(InputError, match=said):
        tiles.parse(text)


@pytest.mark.parametrize(
    ("task", "overrides", "warned"),
    [
        ("go2_rough", ("task.physics.iterations=3",), True),
        ("go2_rough", ("task.physics.iterations=3", "task.physics.solver=pgs"), False),
        ("go2_walk", ("task.physics.iterations=3",), True),
        ("go2_rough", (), False),
        ("go2_walk", (), False),
        ("Hopper-v5", (), False),
    ],
    ids=["few", "another solver", "few on the plane", "enough", "plane", "no robot"],
)
def test_a_solver_that_stops_too_early_is_said(task, overrides, warned, caplog):
    run_folder._warn_of_the_solver(config.load(task, overrides=overrides))
    assert ("iterations: 3 are too few to solve for contacts" in caplog.text) == warned
