"""The term mechanism: one table per kind, the same errors, and a page that lists them all."""

import inspect
import re
from pathlib import Path

import env_helpers as helpers
import pytest

from robot_ppo.envs.robot.commands import COMMANDS
from robot_ppo.envs.robot.curriculum import CURRICULUM
from robot_ppo.envs.robot.events import INTERVALS, STATES
from robot_ppo.envs.robot.grounds import GROUNDS
from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.randomization import RANDOMIZATIONS
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Fraction, PerJoint, Positive, Range, Table
from robot_ppo_export.contract.terms import TERMS

PAGE = Path(__file__).parents[1] / "docs" / "tasks.md"
TABLES = {
    "commands": COMMANDS,
    "measured": TERMS,
    "observations": OBSERVATIONS,
    "rewards": REWARDS,
    "terminations": TERMINATIONS,
    "states": STATES,
    "randomizations": RANDOMIZATIONS,
    "intervals": INTERVALS,
    "curriculum": CURRICULUM,
    "metrics": METRICS,
    "grounds": GROUNDS,
}


def row(table, name):
    """A term's row of the page, from its signature and the first paragraph of its docstring."""
    text = " ".join(table.functions[name].__doc__.split("\n\n")[0].split()).replace("|", "\\|")
    parameters = ", ".join(f"`{p}`" for p in table.parameters(name))
    needs = ", ".join(f"`{need}`" for need in table.needs[name])
    return f"| `{name}` | {parameters or '-'} | {needs or '-'} | {text} |"


def rows(kind):
    head = ["| Name | Parameters | Needs | Meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(row(TABLES[kind], name) for name in TABLES[kind].functions)])


@pytest.mark.parametrize("kind", TABLES)
def test_the_page_lists_every_term_as_the_code_has_it(kind):
    behind = PAGE.read_text().partition(f"<!-- terms: {kind} -->\n")[2]
    section = behind.partition("\n\n")[0].rstrip()
    assert section == rows(kind), f"put this below the mark in docs/tasks.md:\n{rows(kind)}"


@pytest.mark.parametrize("kind", TABLES)
def test_every_term_says_what_it_is(kind):
    for name, function in TABLES[kind].functions.items():
        assert re.match(r".+\.", function.__doc__.split("\n")[0]), name


# -- errors -------------------------------------------------------------------------------------

PETS = Table("pet", optional={"weight": Positive}, name=str)


@PETS.add()
def cat(
    house: str, *, lives: Positive, sleeps: Range = (0.0, 1.0), purrs: Fraction = 0.5
) -> tuple[object, ...]:
    """A cat."""
    return house, lives, sleeps, purrs


@PETS.add("garden")
def dog(house: str, *, joints: PerJoint) -> object:
    """A dog."""
    return joints


def resolve(has=(), **entries):
    return PETS.resolve("task.pets", entries, helpers.robot().joint_names, frozenset(has))


def test_a_term_is_called_with_its_parameters():
    term = resolve(cat={"name": "Tom", "lives": 9})["cat"]
    assert term.function("ours") == ("ours", 9, (0.0, 1.0), 0.5)
    assert term.own == {"name": "Tom"} and term.parameters == {"lives": 9}
    assert resolve(cat={"name": "Tom", "lives": 9, "weight": 4})["cat"].own["weight"] == 4


def test_a_signature_is_read_once_and_that_of_a_function_in_its_place_anew(monkeypatch):
    """As a notebook's cell that runs again; what a caller does to an answer stays with it."""
    table = Table("pet")

    def fish(house: str, *, length: Positive) -> None: ...

    short = table.add()(fish)

    def fish(house: str, *, depth: Positive = 2.0) -> None: ...

    read = []
    signature = inspect.signature
    monkeypatch.setattr(inspect, "signature", lambda f: read.append(f) or signature(f))
    for _ in range(2):
        assert [*table.parameters("fish")] == ["length"]
        table.parameters("fish").clear()
    table.add()(fish)
    for _ in range(2):
        assert [*table.parameters("fish")] == ["depth"] and table.defaults("fish") == {"depth": 2.0}
        assert table.one("task.pets", "fish", {"depth": 3.0}, ()).parameters == {"depth": 3.0}
    assert read == [short, fish]


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"cta": {}}, "`task.pets.cta`: unknown pet 'cta'; did you mean 'cat'? Known: cat,"),
        (
            {"cat": {"live": 9}},
            "`task.pets.cat.live`: unknown parameter 'live'; it takes name, weight, lives",
        ),
        ({"cat": {"name": "Tom"}}, "`task.pets.cat`: lacks lives"),
        ({"cat": {"lives": 9}}, "`task.pets.cat`: lacks name"),
        ({"cat": {"name": 3, "lives": 9}}, "`task.pets.cat.name`: Expected `str`, got `int`"),
        ({"cat": {"name": "T", "lives": "x"}}, "`task.pets.cat.lives`: Expected `float`, got"),
        ({"cat": {"name": "T", "lives": 0}}, "`task.pets.cat.lives`: 0 must be above 0"),
        ({"cat": {"name": "T", "lives": 1, "purrs": 2}}, "cat.purrs`: 2 must be at most 1"),
        ({"cat": {"name": "T", "lives": 1, "sleeps": [2, 1]}}, "[2.0, 1.0] is not [low, high]"),
        ({"cat": {"name": "T", "lives": float("inf")}}, "lives`: inf is not a finite number"),
        ({"cat": {"name": "T", "lives": 1, "weight": 0}}, "cat.weight`: 0 must be above 0"),
        ({"dog": {}}, "`task.pets.dog`: needs `task.garden`, and the task has none; add it or"),
    ],
)
def test_a_wrong_entry_is_said_with_its_path(entries, text):
    with pytest.raises(SettingError) as error:
        resolve(**entries)
    assert text in str(error.value)


def test_one_number_is_each_joints():
    number = resolve(["garden"], dog={"name": "Rex", "joints": 2})["dog"].function("ours")
    assert number.tolist() == [2.0] * helpers.JOINTS
