"""Our recipe beside another's: what differs, and what is shown of it."""

import io

import pytest
from rich.console import Console

from benchmarks.peers import recipes
from robot_ppo import config


@pytest.mark.parametrize("name", recipes.COLUMNS)
def test_a_column_is_a_configuration(name):
    settings = config.load("go2_walk", overrides=recipes.COLUMNS[name])
    ours = config.load("go2_walk")
    task = config.robot_task(settings, "this test")
    assert ("its recipe" in name) == (settings.ppo != ours.ppo)
    assert ("its recipe" in name) == (settings.networks != ours.networks)
    events = task.events
    assert ("its conditions" in name) == (not task.noise) == (not events.interval)
    assert set(events.reset) == {"home_pose", "friction"} or "our task" in name


def test_the_recipe_has_its_batch():
    settings = config.load("go2_walk", overrides=recipes.RECIPE)
    assert settings.num_envs * settings.rollout == 24_576
    assert settings.networks.actor == settings.networks.critic == (128, 128)


def test_the_table_adds_the_falls_of_all_conditions_and_marks_what_never_walked():
    conditions = {"nominal": {"falls": 1.0}, "pushes": {"falls": 20.0}}
    walked = {"seconds_to_walking": 60.5, "walk_raw_steps": 1_200_000, "steps_to_walking": 900_000}
    never = {"seconds_to_walking": None, "walk_raw_steps": None}
    out = io.StringIO()
    Console(file=out, width=120).print(
        recipes.table(
            {
                "a": {**walked, "conditions": conditions},
                "b": {**never, "conditions": {"nominal": {"falls": 0.0}}},
            }
        )
    )
    a, b = (line.split() for line in out.getvalue().splitlines() if line.startswith("│"))
    assert [word for word in a if word not in "│"] == ["a", "60.5", "1,200,000", "900,000", "21"]
    assert [word for word in b if word not in "│"] == ["b", "-", "-", "-", "0"]
