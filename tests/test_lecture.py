"""docs/ppo.md: the functions and tests that it names exist, its figures are what it says."""

import ast
import functools
import importlib
import math
import re
import sys

import env_helpers as helpers
import pytest
import torch
from node_helpers import ROOT

FIGURES = ROOT / "docs" / "figures"
PAGE = (ROOT / "docs" / "ppo.md").read_text()
MODULES = ("objectives", "gaussian", "advantages", "penalty", "trpo", "schedules", "networks")
SETTINGS = sorted(set(re.findall(r"`((?:ppo|networks)\.[a-z_]+)`", PAGE)))
FUNCTIONS = sorted(set(re.findall(rf"`((?:{'|'.join(MODULES)})\.\w+)`", PAGE)) - {*SETTINGS})
TESTS = sorted(set(re.findall(r"`(tests/\w+\.py::\w+)`", PAGE)))
KIBI = 1024


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(FIGURES))
    yield
    sys.path.remove(str(FIGURES))


@pytest.fixture(scope="module")
def problems(path):
    return importlib.import_module("problems")


@pytest.fixture(scope="module")
def make(path):
    return importlib.import_module("make")


# -- what it names ------------------------------------------------------------------------------


def test_the_page_names_what_it_is_about():
    """Negative control for the patterns above."""
    assert {"objectives.clip", "penalty.kl_dual", "advantages.gae", "trpo.ascend"} <= set(FUNCTIONS)
    assert len(TESTS) > 20 and len(SETTINGS) > 8


@functools.cache
def defined(file):
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def exists(name):
    """Whether `module.function` is one of ours, or `tests/file.py::test` a test."""
    file, separator, test = name.partition("::")
    if separator:
        return (ROOT / file).is_file() and test.startswith("test_") and test in defined(file)
    module, _, function = name.partition(".")
    return callable(getattr(importlib.import_module(f"robot_ppo.ppo.{module}"), function, None))


@pytest.mark.parametrize("name", [*FUNCTIONS, *TESTS])
def test_every_function_and_test_that_the_page_names_exists(name):
    assert exists(name)


def test_what_does_not_exist_is_noticed():
    """Negative control."""
    assert not exists("objectives.clipp")
    assert not exists("tests/test_objectives.py::test_it_is_an_optimistic_bound")
    assert not exists("tests/test_objective.py::test_it_is_a_pessimistic_bound")


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_that_the_page_names_exists(key):
    section, _, name = key.partition(".")
    assert hasattr(getattr(helpers.shipped(), section), name)


def test_every_formula_says_who_computes_and_who_proves_it():
    formulas = list(re.finditer(r"^```math\n.*?^```\n", PAGE, re.M | re.S))
    assert len(formulas) >= 14
    for formula in formulas:
        paragraph = PAGE[formula.end() :].lstrip("\n").partition("\n\n")[0]
        assert paragraph.startswith("> Computed by `"), formula.group()
        assert re.search(r"`tests/\w+\.py::test_\w+`", paragraph), formula.group()


def test_the_page_shows_every_figure_and_no_other(make):
    shown = re.findall(r"\]\(figures/(\w+)\.png\)", PAGE)
    assert sorted(shown) == sorted(make.FIGURES)
    assert sorted(shown) == sorted(p.stem for p in FIGURES.glob("*.png"))


@pytest.mark.parametrize("path_of_figure", sorted(FIGURES.glob("*.png")), ids=lambda p: p.stem)
def test_pictures_are_small(path_of_figure):
    assert path_of_figure.read_bytes().startswith(b"\x89PNG")
    assert path_of_figure.stat().st_size < 150 * KIBI


@pytest.mark.slow
def test_the_script_draws_every_figure(make, tmp_path):
    for name in make.FIGURES:
        assert make.save(name, tmp_path).stat().st_size > 10 * KIBI


def test_a_figure_is_drawn_again_to_the_byte(make, tmp_path):
    first = make.save("beta", tmp_path).read_bytes()
    assert make.save("beta", tmp_path).read_bytes() == first
    assert len(first) > 10 * KIBI


# -- what it says of them -----------------------------------------------------------------------


def test_the_minimum_differs_from_clipping_alone_in_two_of_the_four_cases(problems):
    from robot_ppo.ppo import objectives

    outside = torch.tensor([0.5, 1.5], dtype=torch.float64)
    slopes = {}
    for gain in (1.0, -1.0):
        for name, of in (("min", objectives.clip), ("alone", problems.clipping_alone)):
            found = problems.one_sample(lambda r, a, of=of: of(r, a, 0.2), gain, outside)
            slopes[name, gain] = found[1].tolist()
    assert slopes == {
        ("min", 1.0): [1, 0],
        ("min", -1.0): [0, -1],
        ("alone", 1.0): [0, 0],
        ("alone", -1.0): [0, 0],
    }


def test_an_old_batch_is_right_on_average_and_soon_says_nothing(problems):
    shifts = torch.tensor([0.0, 0.1414, 1.4142, 2.0], dtype=torch.float64)
    found = problems.trust(shifts, batches=200)
    assert found["kl"].tolist() == pytest.approx([0, 0.01, 1, 2], rel=1e-3)
    error = found["unclipped"].std(0) / math.sqrt(200)
    assert ((found["unclipped"].mean(0) - found["truth"]).abs() < 5 * error + 1e-12).all()
    # 98 % of the samples count at a KL of 0.01; at 1, exp(-2) of them would in a large batch.
    assert found["effective"][1] == pytest.approx(0.98, abs=0.005)
    large = problems.trust(shifts, size=40_000, batches=4)["effective"]
    assert large[2] == pytest.approx(math.exp(-2), rel=0.1)
    # The clipped objective is the smaller one, and its best point is nearer.
    assert (found["clipped"] <= found["unclipped"] + 1e-12).all()
    line = torch.linspace(0, 3, 31).double()
    middles = {k: problems.trust(line, batches=50)[k].mean(0) for k in ("clipped", "unclipped")}
    assert line[middles["clipped"].argmax()] < line[middles["unclipped"].argmax()] / 2


def test_the_dual_price_stays_and_the_other_alternates(problems):
    adaptive, kls = problems.prices("kl_adaptive", 45)
    assert adaptive[-4:] == [8.0, 4.0, 8.0, 4.0]
    assert [kl / problems.BOUND for kl in kls[-2:]] == pytest.approx([0.49, 1.96])
    dual, kls = problems.prices("kl_dual", 45)
    assert dual[13:] == pytest.approx([problems.MULTIPLIER] * 32, rel=0.02)  # a dozen updates
    assert kls[-1] == pytest.approx(problems.BOUND, rel=1e-3)
    assert set(problems.prices("kl_fixed", 45)[0]) == {1.0}


def test_trpos_full_step_breaks_the_bound_and_the_half_of_it_is_taken(problems):
    problem = problems.OneAction(peak=0.35, width=0.2)
    bound = 0.2
    step = problems.natural_step(problem, bound)
    assert len(step["tried"]) == 2 and step["backtracks"] == 1
    assert problem.kl(step["tried"][0]) > bound
    assert problem.kl(step["end"]) == pytest.approx(step["kl_after"]) and step["kl_after"] <= bound
    assert torch.allclose(step["tried"][0] - problem.old, 2 * (step["end"] - problem.old))
    # Fisher's matrix of (mean, log std): 1 / std^2 and 2.
    expected = torch.diag(torch.tensor([1 / problems.STD**2, 2.0]).double())
    assert torch.allclose(step["fisher"], expected, atol=1e-9)
    # To narrow by a factor costs more than to widen by it.
    log = torch.tensor([0.0, math.log(2)], dtype=torch.float64)
    assert problem.kl(problem.old - log) > 2 * problem.kl(problem.old + log)


def test_the_values_of_the_ring_are_its_values(problems):
    """The equation that defines them, by hand: with 1/2 it stays, with 1/2 it goes on."""
    _, pay, values, truth = problems.ring()
    for s in range(problems.STATES):
        onward = 0.5 * values[s] + 0.5 * values[(s + 1) % problems.STATES]
        assert values[s] == pytest.approx(float(pay[s] + problems.GAMMA * onward))
    assert torch.allclose(truth.sum(1), torch.zeros(problems.STATES).double(), atol=1e-12)
    assert truth[-1, 1] > 0 > truth[0, 1]  # going on pays before state 0, and not in it


@pytest.mark.parametrize("lam", [0.0, 0.8])
def test_under_the_true_values_gae_is_unbiased(problems, lam):
    """What `lambda_errors` builds on."""
    from robot_ppo.ppo import advantages

    states, actions, rewards = problems.walk(60, 8000)
    _, _, values, truth = problems.ring()
    never = torch.zeros_like(rewards, dtype=torch.bool)
    seen = values[states]
    found = advantages.gae(rewards, seen[:-1], seen[1:], never, never, problems.GAMMA, lam)[0]
    for s in range(problems.STATES):
        for a in (0, 1):
            some = found[(states[0] == s) & (actions[0] == a)]
            error = some.std() / math.sqrt(len(some))
            assert abs(some.mean() - truth[s, a]) < 5 * error


def test_the_worse_the_critic_the_larger_the_best_lambda(problems, make):
    lambdas = torch.linspace(0, 1, 11)
    bias, noise = problems.lambda_errors(lambdas, [0.0, 0.3, 1.0], n=3000)
    total = bias**2 + noise**2 / make.SAMPLES
    best = lambdas[total.argmin(1)].tolist()
    assert best == pytest.approx([0.0, 0.75, 0.9], abs=0.051)
    assert torch.equal(bias[0], torch.zeros_like(bias[0]))
    assert (bias[1:, 0] > 10 * bias[1:, -1]).all() and (noise[:, -1] > 2 * noise[:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weight", "reward", "deviation"), [(0.0, 0.5, 0.1), (0.2, 1.0, 0.1), (3.0, 0.0, 1e9)]
)
def test_the_bonus_for_entropy_decides_where_the_search_ends(
    problems, make, weight, reward, deviation
):
    for seed in range(make.SEEDS):
        deviations, rewards = problems.search(weight, make.UPDATES, seed)
        assert rewards[-1] == pytest.approx(reward, abs=0.05)
        assert deviations[-1] < deviation
        assert weight < 1 or deviations[-1] > 10
