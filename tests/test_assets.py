"""Robots, tasks and presets are found by path and name, and a wrong name gets the list."""

import re

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


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A working folder without anything in it."""
    monkeypatch.delenv(project.PATH_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(place, robot="", task=""):
    """Put files of these names into a place; what they hold does not matter here."""
    if robot:
        (place / "robots" / robot).mkdir(parents=True)
        (place / "robots" / robot / "robot.yaml").touch()
    if task:
        (place / "configs" / "tasks").mkdir(parents=True, exist_ok=True)
        (place / "configs" / "tasks" / f"{task}.yaml").touch()


@kinds
def test_an_unknown_name_is_refused_with_the_nearest_all_and_the_places(kind, empty, monkeypatch):
    find, names, shipped, wrong = KINDS[kind]
    monkeypatch.setenv(project.PATH_VARIABLE, "more")
    sub = {"robot": "robots", "task": "configs/tasks", "preset": "configs/train"}[kind]
    with pytest.raises(InputError) as error:
        find(wrong)
    known = f"did you mean {shipped!r}? Known: {', '.join(names())}"
    looked = f"looked in {sub}, more/{sub}, what is shipped"
    assert str(error.value) == f"unknown {kind} {wrong!r}; {known}; {looked}"


@kinds
@pytest.mark.parametrize("name", ["zzz", "", ".", ".."])
def test_a_name_that_is_no_path_is_looked_up(kind, name, empty):
    with pytest.raises(InputError, match=f"^unknown {kind} "):
        KINDS[kind][0](name)


@kinds
@pytest.mark.parametrize("name", ["../go2", "go2/..", "/no/go2", "go2.yaml/", "no/go2.yaml"])
def test_a_path_that_leads_nowhere_is_refused_as_a_path(kind, name, empty):
    with pytest.raises(InputError, match=f"^{name}: (no such file|has no robot.yaml)"):
        KINDS[kind][0](name)


def test_a_model_in_place_of_a_robot_is_told_what_to_do(tmp_path):
    model = tmp_path / "my dog.URDF"
    with pytest.raises(InputError, match=re.escape(f"robot-ppo import '{model}'")):
        project.robot_folder(str(model))
    (tmp_path / "robot.yaml").touch()
    with pytest.raises(InputError, match=re.escape(f"give its folder, {str(tmp_path)!r}")):
        project.robot_folder(str(model))


def test_a_wrong_path_gets_the_nearest_that_is_there(empty):
    add(empty, robot="dog", task="run")
    with pytest.raises(InputError, match=r"did you mean 'robots/dog'\?$"):
        project.robot_folder("robots/dgo")
    with pytest.raises(InputError, match=r"did you mean 'configs/tasks/run.yaml'\?$"):
        project.task_path("configs/tasks/rn.yaml")


def test_the_lists_are_what_the_folders_hold(empty, monkeypatch):
    monkeypatch.setattr(project, "root", lambda: empty)
    assert (project.robot_names(), project.task_names(), project.preset_names()) == ([], [], [])
    add(empty, robot="b", task="run")
    (empty / "robots" / "a").mkdir()  # a folder without a robot.yaml is no robot
    (empty / "configs" / "tasks" / "notes.txt").touch()
    assert (project.robot_names(), project.task_names()) == (["b"], ["run"])
    with pytest.raises(InputError, match=r"unknown task 'walk'\. Known: run"):
        project.task_path("walk")


def test_the_first_place_that_has_a_name_wins(empty, monkeypatch):
    first = empty / "first"
    second = empty / "second"
    for place in (empty, first, second):
        add(place, robot="everywhere")
    for place in (first, second):
        add(place, task="twice")
    add(second, robot="there")
    monkeypatch.setenv(project.PATH_VARIABLE, f"{first}:{second}")
    assert project.robot_folder("everywhere").resolve() == empty / "robots" / "everywhere"
    assert project.task_path("twice") == first / "configs" / "tasks" / "twice.yaml"
    assert project.robot_folder("there") == second / "robots" / "there"
    assert project.robot_folder("go2") == project.root() / "robots" / "go2"


def test_a_robot_of_ones_own_hides_the_shipped_one_of_its_name(empty):
    assert project.robot_folder("go2") == project.root() / "robots" / "go2"
    add(empty, robot="go2")
    assert project.robot_folder("go2").resolve() == empty / "robots" / "go2"


def test_the_list_says_where_each_is_from(empty):
    add(empty, robot="dog")
    lines = dict(line.split(maxsplit=1) for line in project.listing("robot"))
    assert (lines["dog"], lines["go2"]) == ("robots/dog", "shipped")


def test_a_robot_is_a_folder_its_robot_yaml_or_a_name(empty):
    folder = empty / "robots" / "dog"
    add(empty, robot="dog")
    for given in ("dog", "robots/dog", "robots/dog/robot.yaml", "robots/../robots/dog", folder):
        assert project.robot_folder(str(given)).resolve() == folder


@pytest.mark.parametrize("place", ["beside", "robots", "its own folder"])
def test_a_task_that_is_given_by_its_path_finds_the_robot_near_it(place, tmp_path, empty):
    away = tmp_path / "away"
    folder = away / "robots" / "dog"
    add(away, robot="dog")
    tasks = {"beside": away / "robots", "robots": away / "configs" / "tasks"}.get(place, folder)
    tasks.mkdir(parents=True, exist_ok=True)
    assert project.robot_beside(tasks / "dog_walk.yaml", "dog") == str(folder)
    assert project.robot_beside(tasks / "dog_walk.yaml", "go2") == "go2"


def test_a_robot_that_a_task_gives_as_a_path_starts_at_the_tasks_folder(empty):
    add(empty, robot="dog", task="run")
    found = project.robot_beside(empty / "configs" / "tasks" / "run.yaml", "../../robots/dog")
    assert found == str(empty / "robots" / "dog")


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
