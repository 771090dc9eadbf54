"""A randomization that somebody adds: one function, which says what it writes."""

import numpy as np
import pytest

from robot_ppo import config, envs
from robot_ppo.envs.robot.randomization import FACTOR, RANDOMIZATIONS, WRITES, randomization
from robot_ppo_export.errors import InputError


def soft_feet(rows, draw, ids):
    """Factor on the time constant of the feet's contacts."""
    rows["geom_solref"][:, ids.feet, 0] *= draw


@pytest.fixture
def tables(monkeypatch):
    """The tables, which are afterwards what they were."""
    for table in (RANDOMIZATIONS.functions, RANDOMIZATIONS.needs, RANDOMIZATIONS.reads, WRITES):
        monkeypatch.setitem(table, "soft_feet", None)
        monkeypatch.delitem(table, "soft_feet")


def env_of(*ranges):
    given = [f"task.events.reset.{name}={{range: {span}}}" for name, span in ranges]
    return envs.make(config.load("go2_walk", overrides=["num_envs=8", *given]))


def test_one_function_is_drawn_for_every_simulation_and_told_to_the_critic(tables):
    shipped = env_of()
    randomization("geom_solref", within=FACTOR)(soft_feet)
    env = env_of(("soft_feet", "[0.5, 2.0]"))
    env.reset(seed=1)
    feet = env.randomizer.ids.feet
    nominal = env.engine.model.geom_solref[feet, 0]
    factors = env.engine.arrays()["fields"]["geom_solref"][:, feet, 0] / nominal
    assert (factors == factors[:, :1]).all()  # one draw for all feet
    assert len(np.unique(factors[:, 0])) == 8
    assert ((factors >= 0.5) & (factors <= 2.0)).all()
    assert env.observation_groups["critic"] == shipped.observation_groups["critic"] + 1


def test_without_the_fields_that_it_writes_it_is_refused(tables):
    RANDOMIZATIONS.add()(soft_feet)
    with pytest.raises(InputError, match=r"soft_feet.*fields it writes.*@randomization"):
        env_of(("soft_feet", "[0.5, 2.0]"))


def test_a_field_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"'geom_softness'.*MjModel"):
        randomization("geom_softness", within=FACTOR)


def test_its_range_is_held_to_its_bounds(tables):
    randomization("geom_solref", within=FACTOR)(soft_feet)
    with pytest.raises(InputError, match=r"-0\.5 must be at least 0: it is a factor"):
        env_of(("soft_feet", "[-0.5, 2.0]"))
