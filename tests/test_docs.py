"""README and docs: what they show exists, parses and runs."""

import argparse
import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import import_helpers
import node_helpers as helpers
import pytest
from dds_helpers import free_domain
from node_helpers import ROOT
from process_helpers import free_port

from robot_ppo import cli as workstation
from robot_ppo import config, project
from robot_ppo.derived import walk
from robot_ppo.playback import script
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import cli as robot_side
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver
from robot_ppo_node.safety import limits
from robot_ppo_node.startup import preflight

FRONT = tuple(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SAFETY.md"))
PAGES = (*FRONT, *sorted((ROOT / "docs").glob("*.md")))
SHIPPED = "tests/golden/go2_walk.onnx"

MODULES = {"robot-ppo": "robot_ppo.cli", "robot-ppo-node": "robot_ppo_node.app.cli"}
BENCHMARKS = ("faults", "generated", "peers", "peers.recipes", "ppo_paper", "scaling", "speed")
TINY = {
    "train": ["--steps", "4096", "--set", "num_envs=64"],
    "eval": ["--quick"],
    "play": ["--seconds", "0.5"],
    "run": ["--seconds", "4"],
    "doctor": ["--seconds", "0.5"],
    "sim": ["--seconds", "1"],
}
"""What a command gets on top, so that running it takes seconds."""
SHELL = ("", "sh", "bash")
"""Languages of the fenced blocks whose commands run here."""
HARDWARE = "robot"
"""Language of the fenced blocks whose commands need a robot, or what one left: they are parsed."""
LASTS = ("--seconds", "60")
"""How long a robot in the background lives at the most."""


def blocks(page, *languages):
    """The fenced blocks of a page in one of these languages; "" is a block that names none."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [text for language, text in fences if language in languages]


def inline(page):
    """What stands between single backquotes, outside the fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def lines(page, *tools, languages=(*SHELL, HARDWARE)):
    """The command lines of a page's fenced blocks that call one of `tools`, in order."""
    shown = [line for text in blocks(page, *languages) for line in text.splitlines()]
    return [line for line in shown if line.split(" ")[0] in tools]


def words(line):
    """A line's words as a shell sees them, without comment and `&`."""
    return [word for word in shlex.split(line, comments=True) if word != "&"]


def parser_of(tool):
    return workstation.parser() if tool == "robot-ppo" else robot_side.parser()


def subparsers(tool):
    actions = parser_of(tool)._actions
    return next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices


def shown(*tools, how=lines):
    """Parameters: every (page, command) of all pages."""
    return [
        pytest.param(page, line, id=f"{page.name}: {line[:50]}")
        for page in PAGES
        for line in dict.fromkeys(how(page, *tools))
    ]


def in_text(page, *tools):
    return [text for text in inline(page) if text.split(" ")[0] in tools]


# -- they parse ---------------------------------------------------------------------------------


def test_the_pages_show_commands():
    """Negative control for the tables of this file: they are not empty."""
    assert len(lines(ROOT / "README.md", *MODULES)) >= 8
    assert len(lines(ROOT / "docs" / "node.md", *MODULES)) >= 5


MADE = {
    "README.md": ("my_robot",),
    "any_robot.md": ("my_robot",),
    "your_robot.md": ("aliengo",),
}
"""Page -> the robot of one's own that it makes; test_your_robot.py runs that."""


@pytest.mark.parametrize("page, line", shown(*MODULES))
def test_every_command_line_parses_and_its_robot_or_task_exists(page, line):
    tool, *arguments = words(line)
    parsed = parser_of(tool).parse_args(arguments)
    made = MADE.get(page.name, ())
    task = getattr(parsed, "task", None)
    robot = getattr(parsed, "robot", None)
    if task == walk.NAME:  # no YAML: it is derived from the robot
        assert robot or parsed.resume
    else:
        assert task is None or task in made or config.load_task(task)
    assert robot in (None, *made, *project.robot_names())


def test_only_what_needs_a_robot_is_spared_from_running():
    """A block marked as hardware drives a real network interface, or reads what that left."""
    made = set()
    for page in PAGES:
        for line in lines(page, *MODULES, languages=(HARDWARE,)):
            parsed = parser_of(words(line)[0]).parse_args(words(line)[1:])
            if words(line)[1] == "run":
                vendors = parsed.domain == 1 and parsed.motion_mode == "ignore"  # simulator
                network = parsed.driver in ("unitree", "ros2") and parsed.interface != "lo"
                assert network or vendors, line
                made |= {parsed.record} - {None}
            else:
                assert parsed.log in made, line
    assert made


@pytest.mark.parametrize("page, line", shown(*MODULES, how=in_text))
def test_every_command_in_a_sentence_has_a_real_name_and_real_options(page, line):
    tool, *rest = words(line)
    if not rest:
        return
    command, *options = rest
    known = subparsers(tool)[command]._option_string_actions
    assert {word for word in options if word.startswith("-")} <= set(known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_override_in_a_sentence_is_a_real_key(page):
    given = [x for text in inline(page) for x in re.findall(r"--set ('[^']+'|\S+=\S+)", text)]
    overrides = [text.strip("'") for text in given]
    config.load("go2_walk", overrides=overrides)
    assert overrides or page.name != "README.md"


SECTIONS = {
    "task": config.Task,
    "ppo": config.Ppo,
    "networks": config.Networks,
    "distill": config.Distill,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_in_a_sentence_is_in_its_section(page):
    """`task.physics_timestep` is none: it is `task.physics.timestep`."""
    for text in inline(page):
        key = re.fullmatch(r"(task|ppo|networks|distill)\.([a-z_]+)[\w.]*", text)
        if key and not text.endswith((".py", ".yaml")):
            assert key[2] in SECTIONS[key[1]].__struct_fields__, text


def test_every_command_of_a_benchmark_parses():
    said = []
    for page in PAGES:
        texts = [*inline(page), *lines(page, "python")]
        said += [text for text in texts if text.startswith("python -m benchmarks.")]
    for text in said:
        name, *arguments = words(text.removeprefix("python -m benchmarks."))
        assert name in BENCHMARKS, text
        module = name if "." in name else f"{name}.command"
        importlib.import_module(f"benchmarks.{module}").parser().parse_args(arguments)
    assert {words(text)[2].removeprefix("benchmarks.") for text in said} == set(BENCHMARKS)


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for line in (*lines(page, "make"), *in_text(page, "make")):
            assert set(words(line)[1:]) <= targets, f"{page.name}: {line}"
    assert {"demo", "test", "lint"} <= targets


# -- they exist ---------------------------------------------------------------------------------


TOPS = (
    *("benchmarks", "configs", "docs", "export", "robot_ppo", "robots", "tests", "typings"),
    *(f.name for package in ("robot_ppo", "export/robot_ppo_export", "export/robot_ppo_node")
      for f in sorted((ROOT / package).iterdir()) if f.is_dir() and f.name != "__pycache__"),
)  # fmt: skip
"""Folders that a path in the pages may begin with."""


def exists(path, near):
    """Whether a repository file is called `path`, from the root, from `near` or by its end."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    bases = (ROOT, near)
    ends = ("robot_ppo", "export", "benchmarks", "tests", "robots", "configs")
    return any(any(base.glob(pattern)) for base in bases) or any(
        any((ROOT / top).glob(f"**/{pattern}")) for top in ends
    )


def links(page):
    found = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    return [link for link in found if not link.startswith("http")]


def named_files(page):
    """Paths in backquotes: with a folder of ours in front, or Python files."""
    path = re.compile(rf"({'|'.join(TOPS)})/[\w<>./-]*|[\w<>/-]+\.py")
    return [text for text in inline(page) if path.fullmatch(text) and text != "my_robot.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    missing = {name for name in named_files(page) if not exists(name, page.parent)}
    missing |= {link for link in links(page) if not (page.parent / link).exists()}
    assert not missing, f"{page.name} names {sorted(missing)}"


def test_a_file_that_does_not_exist_is_noticed():
    """Negative control."""
    assert not exists("robot_ppo/envs/rewords.py", ROOT)
    assert {"benchmarks", "safety", "sim"} <= set(TOPS)
    assert exists("robots/<robot>/robot.yaml", ROOT)


# -- they run: in the test's own process --------------------------------------------------------


def test_the_python_of_the_readme_runs():
    (code,) = blocks(ROOT / "README.md", "python")
    names = {}
    assert "num_envs=1024" in code
    exec(code.replace("num_envs=1024", "num_envs=4"), names)
    assert names["observation"].shape[0] == 4
    names["envs"].close()


def test_the_python_of_gymnasiums_tasks_runs():
    (code,) = blocks(ROOT / "docs" / "gym_tasks.md", "python")
    names = {}
    exec(code, names)
    assert names["observation"].shape == (64, 17)
    names["envs"].close()


def test_the_node_has_what_its_page_shows():
    (code,) = blocks(ROOT / "docs" / "node.md", "python")
    node = helpers.rig().node
    tree = ast.parse(code)
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        called = eval(ast.unparse(call.func), {"node": node, "Node": type(node)})
        if isinstance(call.func, ast.Name) or isinstance(call.func.value, ast.Name):
            keywords = {k.arg: None for k in call.keywords}
            inspect.signature(called).bind(*call.args, **keywords)
    for attribute in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute)):
        eval(ast.unparse(attribute), {"node": node})


@pytest.mark.parametrize("page", ["deploy.md", "envelope.md"])
def test_the_limits_files_that_are_shown_tighten_the_shipped_policy(page, tmp_path):
    ((name, text),) = files(ROOT / "docs" / page).items()
    (tmp_path / name).write_text(text)
    safety = Policy(ROOT / SHIPPED).contract.robot.safety
    assert limits.load(tmp_path / name, safety) != safety


def said_by_the_node():
    """Every piece of text in the node's own code."""
    for path in (ROOT / "export").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_refusal_that_the_deployment_page_explains_is_said_by_the_node():
    page = (ROOT / "docs" / "deploy.md").read_text().partition("## 8.")[2]
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    said = tuple(said_by_the_node())
    unsaid = [text for text in quoted if not any(text in one for one in said)]
    assert not unsaid
    assert len(quoted) >= 30
    assert not any("a sentence that nobody says" in one for one in said)


def test_every_check_of_preflight_is_on_the_deployment_page():
    page = (ROOT / "docs" / "deploy.md").read_text()
    for check in preflight.CHECKS:
        name = check.__name__.removesuffix("_distance").replace("_", " ")
        assert f"| `{name}` |" in page


def test_the_states_on_the_safety_page_are_the_nodes():
    page = (ROOT / "SAFETY.md").read_text()
    rows = re.findall(r"^\| ([A-Z_]+(?:, [A-Z_]+)*) \|", page, re.M)
    assert {State[name] for row in rows for name in row.split(", ")} == set(State)


def test_the_drivers_with_a_watchdog_on_the_safety_page_are_those_that_hand_over():
    named = re.search(r"with drivers (.*?) \(\[the watchdog\]", (ROOT / "SAFETY.md").read_text())[1]
    made = {"udp": UdpDriver, "unitree": UnitreeDriver, "ros2": Ros2Driver, "fake": FakeDriver}
    hand_over = {name for name, kind in made.items() if hasattr(kind, "damping_sender")}
    assert set(re.findall(r"`(\w+)`", named)) == hand_over == set(made) - {"fake"}


def test_the_script_of_the_playback_page_is_one(tmp_path):
    (text,) = blocks(ROOT / "docs" / "play.md", "yaml")
    path = tmp_path / "script.yaml"
    path.write_text(text)
    assert len(script.load_script(path)) == 3


# -- they run: for real -------------------------------------------------------------------------


def needs_opengl():
    import mujoco

    from robot_ppo.rendering import picture

    try:
        picture.Picture(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16).close()
    except InputError as reason:
        pytest.skip(str(reason))


def start(line, folder, *more):
    """One command line, with little to do, as a process in `folder`."""
    tool, command, *rest = words(line)
    little = [] if (tool, command) == ("robot-ppo", "doctor") else TINY.get(command, [])
    path = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    return subprocess.Popen(
        [sys.executable, "-m", MODULES[tool], command, *rest, *little, *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "XDG_STATE_HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, line):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, f"{line}\n{out}"


def files(page):
    """Name -> text of the YAML blocks that begin with their file's name as a comment."""
    texts = blocks(page, "yaml")
    return {text.splitlines()[0][2:]: text for text in texts if re.match(r"# \w+\.yaml\n", text)}


def finish_beside_a_node(line, folder):
    """A stop wants somebody who takes it: the node of the line, on a robot of arithmetic."""
    key = words(line)[words(line).index("--key") :]
    node = start(f"robot-ppo-node run {SHIPPED} --driver fake --source udp", folder, *key)
    for text in node.stdout:
        if "not armed" in text:
            break
    finish(start(line, folder), line)
    finish(node, "the node of " + line)


def run_page(page, folder):
    """Every command line of a page, in order, for real, beside the files that it shows."""
    for name, text in files(page).items():
        (folder / name).write_text(text)
    for line in lines(page, *MODULES, languages=SHELL):
        if line.endswith("&") or re.search(r"&\s+#", line):
            continue  # a robot in the background: it comes with the node, below
        name = words(line)[1]
        port = ("--port", str(free_port()))
        if "--driver" in words(line):
            driver = words(line)[words(line).index("--driver") + 1]
            place = port if driver == "udp" else ("--domain", str(free_domain()))
            robot = start(f"robot-ppo sim go2 --transport {driver}", folder, *place, *LASTS)
            try:
                finish(start(line, folder, *place), line)
            finally:
                robot.kill()
                robot.communicate()
        elif "--stop" in words(line):
            finish_beside_a_node(line, folder)
        else:
            finish(start(line, folder, *(port if name == "sim" else ())), line)


@pytest.mark.slow
def test_the_readme_from_training_to_the_running_node(tmp_path):
    needs_opengl()
    (tmp_path / "my_robot.urdf").write_text(import_helpers.URDF)
    run_page(ROOT / "README.md", tmp_path)
    for made in ("runs/go2/scorecard.json", "runs/go2/scorecard.png", "go2_walk.onnx",
                 "go2_walk.mp4", "go2_walk.png"):  # fmt: skip
        assert (tmp_path / made).stat().st_size > 1000, made


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.parent.name == "docs" and p.name not in MADE
     and lines(p, *MODULES, languages=SHELL)],
    ids=lambda page: page.name,
)  # fmt: skip
def test_the_commands_of_the_docs_with_the_shipped_policy(page, tmp_path):
    shipped = ROOT / SHIPPED
    needs_opengl()
    (tmp_path / SHIPPED).parent.mkdir(parents=True)
    for copy in (tmp_path / SHIPPED, tmp_path / Path(SHIPPED).name):
        shutil.copyfile(shipped, copy)
    run_page(page, tmp_path)
