"""Fields of a world that are read on demand: for every kind of term that says that it reads one."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo_export.errors import InputError

KINDS = {
    "rewards": (REWARDS, {"weight": 1.0}, lambda level: level.mean(axis=-1)),
    "terminations": (TERMINATIONS, {}, lambda level: level.mean(axis=-1) < 0),
    "metrics": (METRICS, {}, lambda level: level.mean(axis=-1)),
    "observations": (OBSERVATIONS, {}, lambda level: level),
}
"""Kind -> table, what the YAML gives a term, and a value of the field."""


def task_with(monkeypatch, kind, field, seen):
    """The quiet task with a term of one's own, which appends what it reads to `seen`."""
    table, given, value = KINDS[kind]

    def own_term(world):
        seen.append(getattr(world, field))
        return value(seen[-1])

    monkeypatch.setattr(table, "functions", dict(table.functions))
    monkeypatch.setattr(table, "needs", dict(table.needs))
    monkeypatch.setattr(table, "reads", dict(table.reads))
    table.add(reads=(field,))(own_term)
    there = getattr(helpers.shipped().task, kind)
    terms = {"own_term": given}
    if kind == "observations":
        return helpers.quiet(observations={**there, "critic": {**there["critic"], **terms}})
    return helpers.quiet(**{kind: {**there, **terms}})


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_read_for_a_term_of_ones_own_that_says_so(monkeypatch, kind):
    seen = []
    env = helpers.environment(task_with(monkeypatch, kind, "sole_level", seen), 2)
    env.step(np.zeros((2, helpers.JOINTS), np.float32))
    assert seen and all(level.shape[-1] == helpers.FEET for level in seen)


def test_a_task_whose_terms_say_nothing_pays_nothing():
    world, _ = helpers.environment(helpers.quiet(), 2)._read()
    assert world.sole_level is None and world.foot_gap is None


def test_a_field_that_nobody_reads_on_demand_is_refused(monkeypatch):
    task = task_with(monkeypatch, "rewards", "sole_levels", [])
    with pytest.raises(InputError, match=r"reads='sole_levels'; .* on demand is sole_level"):
        helpers.environment(task)
