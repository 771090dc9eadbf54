"""Robots, tasks and presets are found by name, and a wrong name gets the list."""

import gymnasium
import pytest

from robot_ppo import project
from robot_ppo.envs import registration
from robot_ppo_export.errors import InputError

KINDS = {
    "robot": (project.robot_folder, project.robot_names, "go2", "goo2"),
    "task": (project.task_path, project.task_names, "go2_walk", "go2_wlk"),
    "preset": (project.preset_path, project.preset_names, "default", "defualt"),
}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_what_is_shipped_exists(kind):
    find, names, shipped, _ = KINDS[kind]
    assert shipped in names()
    assert names() == sorted(names())
    assert all(find(name).exists() for name in names())


@kinds
def test_an_unknown_name_is_refused_with_the_nearest_and_all(kind):
    find, names, shipped, wrong = KINDS[kind]
    with pytest.raises(InputError) as error:
        find(wrong)
    text = f"unknown {kind} {wrong!r}; did you mean {shipped!r}? Known: {', '.join(names())}"
    assert str(error.value) == text


@kinds
@pytest.mark.parametrize("name", ["zzz", "", "../go2", "go2/..", "/etc/passwd", "go2.yaml/"])
def test_a_name_is_never_a_path(kind, name):
    find, names, _, _ = KINDS[kind]
    with pytest.raises(InputError) as error:
        find(name)
    assert str(error.value).endswith(f"Known: {', '.join(names())}")


def test_the_lists_are_what_the_folders_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    assert (project.robot_names(), project.task_names(), project.preset_names()) == ([], [], [])
    (tmp_path / "robots" / "b").mkdir(parents=True)
    (tmp_path / "robots" / "b" / "robot.yaml").touch()
    (tmp_path / "robots" / "a").mkdir()  # a folder without a robot.yaml is no robot
    (tmp_path / "configs" / "tasks").mkdir(parents=True)
    (tmp_path / "configs" / "tasks" / "run.yaml").touch()
    (tmp_path / "configs" / "tasks" / "notes.txt").touch()
    assert (project.robot_names(), project.task_names()) == (["b"], ["run"])
    with pytest.raises(InputError, match=r"unknown task 'walk'\. Known: run"):
        project.task_path("walk")


def test_in_a_wheel_the_assets_are_inside_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "_PACKAGE", tmp_path / "robot_ppo")
    assert project.root() == tmp_path
    (tmp_path / "robot_ppo" / "_assets").mkdir(parents=True)
    assert project.root() == tmp_path / "robot_ppo" / "_assets"


@pytest.mark.parametrize(
    "task, name",
    [
        ("go2_walk", "robot_ppo/Go2Walk-v0"),
        ("stand", "robot_ppo/Stand-v0"),
        ("a_b_c", "robot_ppo/ABC-v0"),
    ],
)
def test_a_gymnasium_id_is_the_task_in_camel_case(task, name):
    assert registration.env_id(task) == name


def test_every_task_is_registered_with_gymnasium_and_registering_again_changes_nothing():
    import robot_ppo  # noqa: F401

    before = dict(gymnasium.registry)
    assert {registration.env_id(task) for task in project.task_names()} <= set(before)
    registration.register()
    assert gymnasium.registry == before
