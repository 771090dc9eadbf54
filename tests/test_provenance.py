"""The commit in a policy file: of this project's own repository, or of none."""

import shlex
import subprocess
from pathlib import Path

import pytest

from robot_ppo import cli, project
from robot_ppo.derived import walk
from robot_ppo.training import provenance, run_folder


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one file, in which the project lies."""
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    return tmp_path


def test_the_commit_is_that_of_the_project(repository):
    assert provenance.git_commit() == git(repository, "rev-parse", "HEAD")


def test_a_change_is_said_and_a_file_that_git_does_not_know_is_none(repository):
    commit = provenance.git_commit()
    (repository / "notes.txt").write_text("mine")
    assert provenance.git_commit() == commit
    (repository / "code.py").write_text("2")
    assert provenance.git_commit() == f"{commit}+changes"


def test_a_repository_around_an_installed_copy_says_nothing(repository, monkeypatch):
    inside = repository / "site-packages" / "robot_ppo" / "_assets"
    inside.mkdir(parents=True)
    monkeypatch.setattr(project, "root", lambda: inside)
    assert provenance.git_commit() == ""


def test_a_repository_that_the_environment_names_says_nothing(repository, tmp_path, monkeypatch):
    """As in a hook of git, which runs commands with GIT_DIR set."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "two")
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert provenance.git_commit() == commit


def test_outside_of_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    assert provenance.git_commit() == ""


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() == ""


def test_a_run_says_where_it_was_started_and_an_older_one_says_nothing(tmp_path, repository):
    assert provenance.load(tmp_path) == provenance.Origin()
    provenance.record(tmp_path)
    origin = provenance.load(tmp_path)
    assert origin.started.endswith("UTC") and "CPUs" in origin.machine
    assert origin.versions["mujoco"] and origin.git_commit == provenance.git_commit()
    (tmp_path / provenance.FILE).write_text("{")
    assert provenance.load(tmp_path) == provenance.Origin()


def test_the_task_of_a_command_may_be_a_path_with_a_space():
    words = run_folder.command_of("my tasks/hop.yaml", Path("runs/hop"), None, [], {})
    assert cli.parser().parse_args(shlex.split(words)[1:]).task == "my tasks/hop.yaml"


def test_the_command_of_a_run_asks_for_the_same_run_again():
    task = walk.resolve("go2").named
    flags = {"seed": 2, "steps": None, "distill": {"teacher": "/runs/a teacher"}}
    settings = ["ppo.gamma=0.98", "task.commands.twist.vx=[-0.5, 0.5]"]
    words = run_folder.command_of(task, Path("runs/my go2"), "distill", settings, flags)
    args = cli.parser().parse_args(shlex.split(words)[1:])
    assert (args.task, args.robot, args.out) == ("walk", "go2", Path("runs/my go2"))
    assert (args.preset, args.seed, args.steps, args.teacher, args.set) == (
        "distill", 2, None, "/runs/a teacher", settings,
    )  # fmt: skip
