"""Made-up robots: the same for a seed, right in both formats, imported without a flag."""

import mujoco
import numpy as np
import pytest

from benchmarks.generated import anatomy, command, robot_text, until_walking
from benchmarks.generated.parts import Robot
from robot_ppo.derived import walk
from robot_ppo.robot_model import body as bodies
from robot_ppo.robot_model import source
from robot_ppo.robot_model.importing import reading
from robot_ppo_export.contract import spec
from robot_ppo_export.errors import InputError

SEEDS = range(12)


@pytest.mark.parametrize("format_", robot_text.FORMATS)
def test_a_robot_is_a_function_of_its_seed(format_):
    texts = [robot_text.text(anatomy.drawn(seed), format_) for seed in SEEDS]
    assert texts == [robot_text.text(anatomy.drawn(seed), format_) for seed in SEEDS]
    assert len(set(texts)) == len(SEEDS)


def test_masses_and_proportions_are_spread():
    robots = [anatomy.drawn(seed) for seed in range(300)]
    masses = [robot.mass for robot in robots]
    assert min(masses) < 7 and max(masses) > 150
    assert all(5 <= mass <= 200 for mass in masses)
    assert {robot.kind for robot in robots} == set(anatomy.KINDS)
    assert {robot.friction for robot in robots} == {True, False}
    names = [part.name for robot in robots for part in robot.parts]
    assert not any(word in name for name in names for word in ("hip", "knee", "foot", "left"))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_weighs_what_was_drawn_and_moves_alike_in_both_formats(seed, tmp_path):
    robot = anatomy.drawn(seed)
    trees = []
    for format_ in robot_text.FORMATS:
        path = tmp_path / f"robot.{format_}"
        path.write_text(robot_text.text(robot, format_))
        trees.append(reading.read(path, None))
    for tree in trees:
        assert tree.mass == pytest.approx(robot.mass, rel=1e-5)
        assert {joint.name for _, joint in tree.joints()} == set(robot.motors)
    angles = {name: 0.1 * i for i, name in enumerate(sorted(robot.motors))}
    one, other = (tree.centre_of_mass(angles) for tree in trees)
    np.testing.assert_allclose(one, other, atol=1e-5)
    moments = [tree.spatial_inertia() for tree in trees]
    np.testing.assert_allclose(*moments, rtol=1e-4, atol=1e-6 * robot.mass)


def test_its_inertia_is_that_of_its_shapes():
    """MuJoCo, which is told the masses alone, finds the moments that the file states."""
    robot = anatomy.drawn(0)
    stated = mujoco.MjModel.from_xml_string(robot_text.mjcf(robot))
    for part in robot.parts:
        if part.solid.kind == "rod":  # a capsule there, a cylinder here
            continue
        geom = robot_text._geom(part.solid).replace("/>", f' mass="{part.mass}"/>')
        alone = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody><body>{geom}<freejoint/></body></worldbody></mujoco>"
        )
        found = sorted(stated.body(part.name).inertia)
        assert found == pytest.approx(sorted(alone.body(1).inertia), rel=1e-4)


def feet_of(robot: Robot) -> int:
    return {"biped": 2, "quadruped": 4, "hexapod": 6}[robot.kind]


@pytest.mark.parametrize("seed", [0, 1, 2, 9])
def test_it_is_imported_without_a_flag_and_gets_a_task(seed, tmp_path):
    robot = anatomy.drawn(seed)
    folder = command.imported(robot, command.file_format(seed), tmp_path)
    described = spec.load(folder / "robot.yaml")
    assert len(described.feet) == feet_of(robot)
    assert set(described.joint_names) == set(robot.motors)
    task = walk.resolve(str(folder)).task
    offsets = list(task["gait"]["offsets"].values())
    assert sorted(offsets) == [0.0] * (len(offsets) // 2) + [0.5] * (len(offsets) // 2)
    if robot.kind == "quadruped":  # also where the file looks along y: thigh and knee swing it
        body = bodies.measure(described, source.read(folder / described.model).model)
        assert all(sum(joint.pitch for joint in foot.joints) == 2 for foot in body.feet)
    if robot.kind != "biped":
        assert "It stands 5 s" in (folder / "report.md").read_text()


def test_the_table_counts_what_was_imported_and_what_walks():
    figures = {"velocity_error": 0.1, "yaw_error": 0.1, "falls": 0.0}
    limits = {"velocity_error": 0.15, "yaw_error": 0.2, "falls": 0.0}
    begin = {"robot": "quadruped_0", "file": "xml", "mass": 12.0}
    trained = {"steps": 10, "seconds": 1.0, "figures": figures, "limits": limits}
    rows = [
        begin | trained | {"walking": True},
        begin | trained | {"walking": False},
        begin | {"refused": "no foot reaches the ground"},
    ]
    found = command.table(rows)
    assert found.title == "3 made-up robots: 2 imported, 1 walk"
    assert found.row_count == 3


def test_an_import_alone_needs_no_training(tmp_path, capsys):
    words = ["--robots", "1", "--kinds", "quadruped", "--minutes", "0", "--out", str(tmp_path)]
    assert command.main(words) == 0
    assert "1 imported, 0 walk" in capsys.readouterr().out
    assert (tmp_path / "robots" / "quadruped_0" / "robot.yaml").is_file()


@pytest.mark.slow
def test_a_training_ends_when_its_time_is_up_and_says_how_far_it_came(tmp_path):
    folder = command.imported(anatomy.drawn(0), "xml", tmp_path)
    small = ["--set", "num_envs=64", "--set", "rollout=8", "--set", "ppo.minibatches=1"]
    walked = until_walking.train(folder, tmp_path / "run", minutes=0.05, more=small)
    assert not walked.walking and walked.steps > 0 and walked.seconds > 0
    assert set(walked.limits) == {"velocity_error", "yaw_error", "falls"}
    assert set(walked.limits) <= set(walked.figures)


def test_a_training_that_cannot_begin_is_an_error_that_names_its_log(tmp_path):
    with pytest.raises(InputError, match=r"ended with code 2: .*run\.log"):
        until_walking.train(tmp_path / "nobody", tmp_path / "run", minutes=0.1)
