"""docs/metrics.md: every column that a log has, and no other."""

import csv
import re

import pytest
import torch
from env_helpers import SMALL, train_arguments
from node_helpers import ROOT
from ppo_helpers import OBJECTIVES, distiller, learner, rollout

from robot_ppo import cli
from robot_ppo.training.logger import SHOWN

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|(.*?)\|$", PAGE.replace(r"\|", "¦"), re.M)
COLUMNS = {name for first, _, _ in ROWS for name in re.findall(r"`([^`]+)`", first)}

FAMILIES = ("reward_", "curriculum_", "level_")
"""How columns begin that are named after something in the task."""

OPTIONS = {"stop_kl": 1.0}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Every column of a robot's log and of a Gymnasium task's, every figure of every objective."""
    runs = tmp_path_factory.mktemp("runs")
    columns = set()
    for task in ("go2_walk", "go2_rough", "Hopper-v5"):
        words = ["train", task, *train_arguments(runs / task, tiny=SMALL)[2:]]
        assert cli.main(words) == 0
        with (runs / task / "log.csv").open(newline="") as file:
            columns |= set(next(csv.reader(file)))
    for objective in OBJECTIVES:
        options = {} if objective == "trpo" else OPTIONS
        one = learner(objective=objective, **options)
        columns |= set(one.update(rollout(one)))
    student = distiller(latent=1.0)
    experience = rollout(student)
    experience.labels = experience.means.clone()
    experience.latents = torch.zeros(*experience.rewards.shape, 16)
    return columns | set(student.update(experience))


def test_the_page_has_rows():
    """Negative control for the reader of the table."""
    assert {"kl", "beta", "time_physics", "explained_variance"} <= COLUMNS and len(ROWS) > 25


def test_every_column_of_a_log_is_explained(logged):
    named = {name for name in logged if not name.startswith(FAMILIES)}
    assert named <= COLUMNS, f"docs/metrics.md lacks {sorted(named - COLUMNS)}"


def test_every_family_of_columns_is_explained_and_logged(logged):
    explained = {name.partition("<")[0] for name in COLUMNS if "<" in name}
    assert explained == set(FAMILIES)
    assert all(any(name.startswith(family) for name in logged) for family in FAMILIES)


def test_every_column_that_is_explained_is_logged(logged):
    assert {name for name in COLUMNS if "<" not in name} <= logged


def test_what_the_live_table_shows_is_marked():
    marked = {name for first, _, _ in ROWS for name in re.findall(r"`([^`]+)`\*", first)}
    assert {name for name, _, _ in SHOWN} | {"steps", "steps_per_second"} == marked


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_update_logs_what_a_run_needs_to_be_explained(objective):
    one = learner(objective=objective)
    figures = one.update(rollout(one))
    wanted = {
        "kl", "clip_fraction", "ratio_max", "entropy", "std", "explained_variance", "value_loss",
        "surrogate", "actor_grad_norm", "critic_grad_norm", "critic_learning_rate",
    }  # fmt: skip
    wanted |= {"beta", "kl_after"} if objective.startswith("kl_") else set()
    more = {"kl_after", "backtracks", "surrogate_gain"}
    wanted |= more if objective == "trpo" else {"learning_rate"}
    assert wanted <= set(figures)


def test_the_kl_target_is_logged_where_the_learning_rate_follows_it():
    one = learner(kl_target=0.02, kl_target_end=0.01)
    assert one.update(rollout(one), progress=0.5)["kl_target"] == pytest.approx(0.015)
    for other in ({"learning_rate_schedule": "constant"}, {"kl_target": None}):
        two = learner(**other)
        assert "kl_target" not in two.update(rollout(two))
