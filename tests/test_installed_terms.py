"""Terms of installed packages, by the entry points `robot_ppo.terms`, in Pythons of their own."""

import os
import sys

import env_helpers as helpers
import pytest
from contract_helpers import ROOT
from fork_server import workstation

from robot_ppo import envs, installed_terms
from robot_ppo.envs.robot import observations
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.evaluation import evaluate
from robot_ppo_export.errors import InputError

GOOD = '''
from robot_ppo.envs.robot.rewards import REWARDS

@REWARDS.add()
def forward_speed(world):
    """Squared speed along x [m^2/s^2]."""
    return world.base_lin_vel[:, 0] ** 2
'''
TAKEN = GOOD.replace("forward_speed", "slip")
TASK = "extends: go2_walk\nrobot: go2\nrewards: {forward_speed: {weight: -1.0}}\n"


def installed(folder, source=GOOD):
    """A folder as pip leaves it: a module, and what its distribution says of itself."""
    (folder / "my_terms.py").write_text(source)
    about = folder / "my_terms-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-terms\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[robot_ppo.terms]\nmy = my_terms\n")
    return folder


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "slow.yaml"
    path.write_text(TASK)
    return path


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A function that installs a module in this Python until the test ends."""

    def install(source=GOOD):
        monkeypatch.syspath_prepend(str(installed(tmp_path, source)))
        monkeypatch.setattr(REWARDS, "functions", dict(REWARDS.functions))
        monkeypatch.setattr(REWARDS, "needs", dict(REWARDS.needs))
        installed_terms.load.cache_clear()

    yield install
    installed_terms.load.cache_clear()
    sys.modules.pop("my_terms", None)


def python(*words, beside=()):
    """What a fresh Python ends with, which finds the folders `beside` too."""
    path = os.pathsep.join([*map(str, beside), str(ROOT / "export"), str(ROOT)])
    env = os.environ | {"PYTHONPATH": path}
    done = workstation.run(*words, env=env)
    return done.returncode, done.stdout + done.stderr


def training(task, out):
    words = helpers.train_arguments(out)
    return [words[0], str(task), *words[2:]]


def test_a_task_is_trained_with_an_installed_term_and_not_without_it(task, tmp_path):
    """Its policy is scored and exported in the same process; `eval` reads the run in another."""
    run = tmp_path / "run"
    there = [installed(tmp_path)]
    code, said = python("-m", "robot_ppo", *training(task, run), beside=there)
    assert code == 0, said
    assert "forward_speed" in (run / "log.csv").read_text().splitlines()[0]
    code, said = python("-m", "robot_ppo", "eval", str(run), "--trials", "2", beside=there)
    assert "Traceback" not in said and code in (0, 1), said
    with pytest.raises(InputError, match="unknown reward 'forward_speed'"):  # in this Python
        envs.make_named(str(task))


def test_a_program_of_ones_own_registers_terms_and_calls_main(task, tmp_path):
    program = tmp_path / "my_train.py"
    main = "import sys\nfrom robot_ppo.cli import main\nsys.exit(main())\n"
    program.write_text(f"{GOOD}\n{main}")
    code, said = python(str(program), *training(task, tmp_path / "run"))
    assert code == 0, said


def test_nothing_is_imported_before_a_task_is_resolved(task, tmp_path):
    """Neither by the package, nor by the listing, nor by the YAML that names a term."""
    script = (
        "import robot_ppo, sys\nfrom robot_ppo import cli, config\ncli.main(['list'])\n"
        f"config.load_task({str(task)!r})\nassert 'my_terms' not in sys.modules\n"
        "from robot_ppo import envs\n"
        f"assert envs.make_named({str(task)!r}).rewards.names and 'my_terms' in sys.modules"
    )
    code, said = python("-c", script, beside=[installed(tmp_path)])
    assert code == 0, said
    assert "terms of your own: my_terms (package my-terms)" in said


DOORS = {
    "an environment": lambda: envs.make_named("go2_walk"),
    "a layout": lambda: observations.layout(helpers.shipped().task, helpers.robot()),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        (TAKEN, "the reward 'slip' is there already, from robot_ppo.envs.robot.rewards; give"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_its_package(door, source, why, beside):
    beside(source)
    with pytest.raises(InputError) as error:
        DOORS[door]()
    said = str(error.value)
    assert said.startswith("the terms `my_terms` of the installed package my-terms cannot be")
    assert why in said and said.endswith("; mend or uninstall that package")


def test_a_policy_file_is_scored_with_installed_kinds_of_commands_and_states(monkeypatch):
    contract = helpers.contract_of(helpers.tiny_config())
    called = []
    monkeypatch.setattr(installed_terms, "load", lambda: called.append(True))
    evaluate.plan(contract)
    assert called
