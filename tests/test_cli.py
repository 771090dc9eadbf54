"""`robot-ppo` as a person and a script call it: exit codes, sentences, help."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading

import env_helpers as helpers
import pytest
from env_helpers import train_arguments
from fork_server import node, workstation
from node_helpers import ROOT

import robot_ppo
from robot_ppo import cli
from robot_ppo.commands import training
from robot_ppo.envs.gymnasium.gym_tasks import TASKS
from robot_ppo.envs.robot import trials
from robot_ppo_export.policy import Policy

COMMANDS = (
    *("list", "import", "check", "train", "tune", "doctor"),
    *("eval", "export", "play", "report", "sim", "log"),
)


def words(text):
    return " ".join(text.split())


def refused(arguments, capsys, code=2):
    """The one sentence with which a command line is refused."""
    assert cli.main([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    said = err.strip()
    assert said.startswith("robot-ppo: ") and "\n" not in said
    assert "Traceback" not in out + err
    return said


def rejected(arguments, capsys):
    """What argparse says, in its own way, with its own exit code 2."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return words(said)


# -- help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    said = words(capsys.readouterr().out)
    assert said.startswith(f"usage: robot-ppo {command}")
    examples = said.partition("examples: ")[2]
    assert examples.startswith("robot-ppo") and f"robot-ppo {command}" in examples


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_parse(command):
    (sub,) = (a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    texts = [sub.choices[command].epilog, cli.EPILOG]
    lines = [line.strip().removesuffix("&") for text in texts for line in text.splitlines()]
    shown = [shlex.split(line, comments=True) for line in lines if line.startswith("robot-ppo ")]
    assert len(shown) >= 5
    for words in shown:
        cli.parser().parse_args(words[1:])


def test_every_option_has_a_line_of_help():
    (sub,) = (a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    bare = [(name, a.dest) for name, p in sub.choices.items() for a in p._actions if not a.help]
    assert not bare


def test_help_names_every_command_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    said = words(capsys.readouterr().out)
    for command in COMMANDS:
        assert f" {command} " in said
    assert "exit codes: 0 done; 2 wrong input; 3 a policy file refused" in said


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", "--out --preset --seed --steps --minutes --threads --set --resume --overwrite"),
        ("doctor", "--json"),
        ("eval", "--json --plot --quick"),
        ("export", "-o"),
        ("play", "--video --plot --seconds --command"),
        ("sim", "--port"),
        ("log", "--mcap --plot"),
    ],
)
def test_the_options_that_scripts_use_exist(command, options, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert all(option in said for option in options.split())


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"robot-ppo {robot_ppo.__version__}"


def test_list_names_robots_tasks_and_presets_and_where_they_are_from(capsys, tmp_path, monkeypatch):
    (tmp_path / "robots" / "dog").mkdir(parents=True)
    (tmp_path / "robots" / "dog" / "robot.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        "robots:",
        "tasks:",
        "presets:",
        "derived tasks: walk, of any robot: robot-ppo train walk --robot ROBOT",
        f"tasks of Gymnasium: {', '.join(TASKS)}, gym:ID (any other of Box spaces)",
    ]
    words = [line.split() for line in lines]
    assert ["dog", "robots/dog"] in words and ["go2", "shipped"] in words
    assert ["go2_walk", "shipped"] in words and ["default", "shipped"] in words


# -- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "go2_wlak"], "unknown task 'go2_wlak'; did you mean 'go2_walk'? Known: "),
        (
            ["train", "HalfCheeta-v5"],
            "unknown task 'HalfCheeta-v5'; did you mean 'HalfCheetah-",
        ),
        (["train", "HalfCheetah-v5", "--set", "task.gait=1"], "key `task.gait`. Known: name"),
        (["train", "gym:Pendulun-v1"], "no environment 'Pendulun-v1'; did you mean 'Pendulum-v1'?"),
        (["train", "gym:CartPole-v1"], "its action space is Discrete; only continuous tasks"),
        (["train", "gym:Blackjack-v1"], "its observation space is Tuple; only continuous tasks"),
        (["train", "gym:nothing:Pendulum-v1"], "there is no module 'nothing'; put its folder on"),
        (["train", "go2_walk", "--preset", "defautl"], "unknown preset 'defautl'; did you mean"),
        (["sim", "go3"], "unknown robot 'go3'; did you mean 'go2'? Known: "),
        (
            ["train", "go2_walk", "--set", "ppo.gama=0.98"],
            "--set ppo.gama=0.98: unknown key `ppo.gama`; did you mean 'gamma'? Known: ",
        ),
        (["train", "go2_walk", "--set", "task.robot=go3"], "unknown robot 'go3'"),
        (["train", "go2_walk", "--set", "ppo.gamma=high"], "`ppo.gamma`: Expected `float`"),
        (["train", "go2_walk", "--set", "ppo.gamma"], "write it as path.to.key=value"),
        (["train", "go2_walk", "--set", "ppo.gamma=2"], "`ppo.gamma`: "),
        (
            ["train", "go2_walk", "--set", "task.rewards.slpi={weight: 1}"],
            "unknown reward 'slpi'; did you mean 'slip'?",
        ),
        (
            ["train", "go2_walk", "--set", "task.events.reset.frictions.range=[0, 1]"],
            "unknown event 'frictions'; did you mean 'friction'?",
        ),
        (["train", "go2_walk", "--set", "task.physics.timestep=0.007"], "must divide"),
        (["train", "go2_walk", "--steps", "0"], "`steps`: 0 must be at least 1"),
        (["tarin", "go2_walk"], "unknown command 'tarin'; did you mean 'train'? Known: check, d"),
    ],
)
def test_wrong_input_is_one_sentence_with_the_right_name_and_exit_code_2(
    arguments, text, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert text in refused(arguments, capsys)


READERS = {"eval": ["eval", "--quick"], "play": ["play", "--plot", "x.png"]}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("missing", ["nothing_here", "nothing_here.onnx"])
def test_a_missing_run_or_file_is_said(command, missing, capsys, tmp_path):
    assert "nothing_here" in refused([*READERS[command], tmp_path / missing], capsys)


@pytest.mark.parametrize(
    ("arguments", "lacks"),
    [
        *(([*words, "."], "no checkpoint here") for words in READERS.values()),
        (["export", ".", "-o", "x.onnx"], "no checkpoint here"),
        (["doctor", "."], "config.yaml"),
    ],
)
def test_a_folder_without_a_run_is_said(arguments, lacks, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lacks in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", READERS)
def test_a_file_that_is_no_policy_is_refused_with_exit_code_3(command, capsys, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no policy")
    assert "x.onnx" in refused([*READERS[command], tmp_path / "x.onnx"], capsys, code=3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: COMMAND"),
        (["train"], "required: TASK"),
        (["train", "go2_walk", "--resume", "--overwrite"], "not allowed with argument"),
        (["train", "go2_walk", "--steps", "many"], "invalid int value: 'many'"),
        (["export", "run"], "required: -o"),
        (["eval", "run", "--seed", "-1"], "--seed: -1 must be at least 0"),
        (["eval", "run", "--threads", "-1"], "--threads: -1 must be at least 0"),
        (["sim", "go2", "--port", "65536"], "65536 is not a port between 0 and 65535"),
        (["sim", "go2", "--seconds", "0"], "0 is not a number of seconds above 0"),
        (["sim", "go2", "--seconds", "nan"], "nan is not a number of seconds above 0"),
    ],
)
def test_a_malformed_command_line_has_exit_code_2(arguments, text, capsys):
    assert text in rejected(arguments, capsys)


# -- missing libraries --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "go2_walk"],
        ["doctor", "run"],
        ["eval", "run"],
        ["export", "run", "-o", "x.onnx"],
        ["play", "x.onnx"],
        ["sim", "go2"],
    ],
)
def test_a_missing_extra_says_what_to_install(arguments, capsys, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "mujoco" else object())
    said = refused(arguments, capsys)
    assert said == "robot-ppo: this command needs mujoco: pip install 'robot-ppo[train]'"


def test_list_needs_no_extra(capsys, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main(["list"]) == 0


def test_the_command_line_alone_loads_nothing_heavy():
    code = (
        "import sys; from robot_ppo import cli; cli.parser();"
        "heavy = {'torch', 'mujoco', 'onnx', 'rich', 'av'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    path = f"{ROOT}:{ROOT / 'export'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [["walk_the_dog"], ["go2_walk", "--set", "ppo.clipp=0.1"], ["go2_walk", "--out", "."]],
    ids=["task", "key", "folder"],
)
def test_what_is_wrong_with_a_training_is_said_before_torch_is_loaded(words, tmp_path):
    """In half a second instead of two and a half."""
    (tmp_path / "config.yaml").write_text("")
    code = (
        "import sys; from robot_ppo import cli; code = cli.main(['train', *sys.argv[1:]]);"
        "sys.exit('torch' if 'torch' in sys.modules else code)"
    )
    done = node.run("-c", code, *words, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("robot-ppo: "), done.stderr


# -- the whole line -----------------------------------------------------------------------------


SHORT = ("--set", "task.evaluation.seconds=1.0", "--set", "task.evaluation.unscored=0.4")
"""Scorecards of a second."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory, short_rollouts):
    """A run of two iterations, and its policy file."""
    folder = tmp_path_factory.mktemp("line")
    assert cli.main(train_arguments(folder / "run", *SHORT)) == 0
    assert cli.main(["export", str(folder / "run"), "-o", str(folder / "walk.onnx")]) == 0
    return folder


def scored(policy, name, *more):
    path = policy / f"{name}.json"
    source = "run" if name == "run" else "walk.onnx"
    arguments = ["eval", str(policy / source), "--json", str(path), "--quick", *more]
    assert cli.main(arguments) == 0
    return json.loads(path.read_text())


def test_eval_writes_the_figures_that_scripts_read(policy, capsys):
    data = scored(policy, "run", "--plot", str(policy / "card.png"))
    assert {"velocity_error", "yaw_error", "falls", "walking"} <= set(data)
    assert isinstance(data["walking"], bool) and isinstance(data["velocity_error"], float)
    assert list(data["conditions"]) == ["nominal"]
    assert (policy / "card.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "nominal" in said and "not walking (nominal: velocity_error <= 0.15" in words(said)


def test_a_policy_file_scores_as_the_run_that_it_came_from(policy):
    """The same weights; two runtimes, which differ in the last bits."""
    run = scored(policy, "run")
    file = scored(policy, "file")
    for figure in ("velocity_error", "yaw_error", "foot_slip"):
        assert run[figure] == pytest.approx(file[figure], rel=5e-2), figure
    assert run["source"]["steps"] == file["source"]["steps"] == 2 * 64


def test_a_policy_file_says_what_the_scorecard_said_when_it_was_exported(policy):
    run = scored(policy, "run")
    scores = Policy(policy / "walk.onnx").contract.scores
    assert scores is not None and scores.condition == "nominal"
    assert scores.passed == run["passed"] is False
    assert scores.gain == pytest.approx(run["gain"])
    figures = run["conditions"]["nominal"]
    assert scores.figures == pytest.approx({k: figures[k] for k in scores.figures})
    assert set(figures) == {*scores.figures, "falls_interval", "gain"}


def test_without_quick_every_condition_is_scored(policy):
    path = policy / "all.json"
    assert cli.main(["eval", str(policy / "run"), "--json", str(path)]) == 0
    names = [c.name for c in trials.CONDITIONS]
    assert list(json.loads(path.read_text())["conditions"]) == names


def test_an_unwritable_target_is_said(policy, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "x.onnx"
    assert "cannot be written" in refused(["export", policy / "run", "-o", target], capsys)


def test_a_folder_where_a_policy_file_should_be_is_said(policy, capsys, tmp_path):
    said = refused(["export", policy / "run", "-o", tmp_path], capsys)
    assert said == f"robot-ppo: {tmp_path}: is a folder; name the policy file, e.g. {tmp_path}/" + (
        "policy.onnx"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def forbidden(tmp_path):
    """A folder that nobody may look into: the tests' root may, so they are somebody else then."""
    folder = tmp_path / "forbidden"
    me = os.geteuid()
    folder.mkdir(mode=0)
    if me == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "go2_walk", "--out"),
        ("train", "go2_walk", "--resume", "--out"),
        ("doctor",),
        ("eval",),
        ("export", "-o", "x.onnx"),
    ],
    ids=" ".join,
)
def test_a_folder_that_may_not_be_read_is_said(words, capsys, forbidden):
    said = refused([*words, forbidden / "run"], capsys)
    assert f"{forbidden / 'run'}" in said and "Permission denied" in said


def test_a_name_that_no_file_can_have_is_said(capsys):
    assert "File name too long" in refused(["train", "go2_walk", "--out", "x" * 300], capsys)


def test_more_than_the_memory_holds_is_said(capsys, monkeypatch):
    def full(_):
        raise MemoryError("Unable to allocate 9 EiB")

    monkeypatch.setattr(training, "_train", full)
    said = refused(["train", "go2_walk"], capsys)
    assert said == "robot-ppo: not enough memory (Unable to allocate 9 EiB); lower num_envs"


def test_a_reader_that_goes_away_ends_a_command_as_it_ends_any_program():
    line = f"{sys.executable} -m robot_ppo.cli list | true"
    path = f"{ROOT}:{ROOT / 'export'}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_run_of_an_older_configuration_is_said(policy, capsys, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    text = (policy / "run" / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("rollout:", "roll_out:"))
    said = refused(["eval", folder], capsys)
    assert "unknown key `roll_out`; did you mean 'rollout'?" in said


def test_the_program_has_the_exit_code_of_main(tmp_path):
    done = workstation.run("-m", "robot_ppo.cli", "train", "walk_the_dog", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("robot-ppo: unknown task 'walk_the_dog'")
    assert helpers.TASK in done.stderr


def test_a_pipe_hears_what_is_said_while_the_command_runs():
    """`robot-ppo sim go2 | tee log`, and whoever waits for the line that says where to go."""
    path = f"{ROOT}:{ROOT / 'export'}"
    own = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {"PYTHONPATH": path}
    words = [sys.executable, "-m", "robot_ppo", "sim", "go2", "--port", "0"]
    process = subprocess.Popen(words, env=own, stdout=subprocess.PIPE, text=True)
    end = threading.Timer(60, process.kill)
    end.start()
    try:
        assert process.stdout.readline() != ""
        assert process.poll() is None
    finally:
        end.cancel()
        process.kill()
        process.wait()
