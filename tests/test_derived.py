"""The derived task `walk`: a function of the robot's model, the same for every name in it."""

import dataclasses
import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import quadruped_helpers as dog
import yaml

from robot_ppo import cli, config, project
from robot_ppo.derived import disturbances, gaits, numbers, speeds, styles, walk
from robot_ppo.robot_model import body as bodies
from robot_ppo.robot_model import source
from robot_ppo.robot_model.body import Foot
from robot_ppo_export.contract import spec
from robot_ppo_export.errors import InputError

GO2 = project.robot_folder("go2")


def leaves(tree, path=()):
    if isinstance(tree, dict) and tree:
        for key, item in tree.items():
            yield from leaves(item, (*path, key))
    elif isinstance(tree, list):
        for i, item in enumerate(tree):
            yield from leaves(item, (*path, i))
    else:
        yield path, tree


def test_go2_gets_the_numbers_that_were_tuned_by_hand():
    tuned = dict(
        leaves(yaml.safe_load((GO2.parent.parent / "configs/tasks/go2_walk.yaml").read_text()))
    )
    derived = dict(leaves(walk.resolve("go2").task))
    same = {k: (v, derived[k]) for k, v in tuned.items() if k in derived}
    numbers = {k: v for k, v in same.items() if isinstance(v[0], float)}
    assert len(numbers) > 100
    for key, (by_hand, value) in numbers.items():
        assert value == pytest.approx(by_hand, rel=0.025, abs=1e-9), key
    assert {k: v for k, v in same.items() if isinstance(v[0], str) and v[0] != v[1]} == {}
    missing = {key[:3] for key in tuned if key not in derived}
    assert missing == {("evaluation", "conditions", "payload +3 kg")}


def renamed(robot: str, folder: Path) -> dict[str, str]:
    """Write a robot with every name replaced by nonsense; return old name -> new."""
    folder.mkdir()
    original = project.robot_folder(robot)
    described = spec.load(original / "robot.yaml")
    model = source.read(original / described.model).model
    kinds = {"body": model.nbody, "geom": model.ngeom, "site": model.nsite}
    found = {getattr(model, kind)(i).name for kind, count in kinds.items() for i in range(count)}
    found = (found | set(described.joint_names)) - {"", "floor", "world"}
    names = {old: f"q{i * 7919 % 1009:04d}" for i, old in enumerate(sorted(found))}
    text = (original / described.model).read_text()
    text = re.sub(r'="([^"]*)"', lambda m: f'="{names.get(m[1], m[1])}"', text)
    (folder / described.model).write_text(text)
    data = translated(yaml.safe_load((original / "robot.yaml").read_text()), names)
    (folder / "robot.yaml").write_text(yaml.safe_dump(data | {"name": folder.name}))
    return names


def translated(tree, names: dict[str, str]):
    """Return a tree with every text that is a name replaced, and keys that name a joint."""
    if isinstance(tree, dict):
        own = {k: names.get(k, k) if of_a_joint(v) else k for k, v in tree.items()}
        return {own[key]: translated(item, names) for key, item in tree.items()}
    if isinstance(tree, list):
        return [translated(item, names) for item in tree]
    return names.get(tree, tree) if isinstance(tree, str) else tree


def of_a_joint(value) -> bool:
    """Return whether a value is what joints have: a number, or a part in a step."""
    return isinstance(value, float | int) or (isinstance(value, dict) and "angle" in value)


@pytest.mark.parametrize("robot", ["go2", "spot", "g1"])
def test_names_of_joints_feet_and_bodies_mean_nothing(robot, tmp_path):
    names = renamed(robot, tmp_path / "xyzzy")
    assert set(project.load_robot(robot).joint_names) <= set(names)
    nonsense = walk.resolve(str(tmp_path / "xyzzy")).task
    assert nonsense | {"robot": robot} == translated(walk.resolve(robot).task, names)


def foot(name: str, x: float, y: float) -> Foot:
    return Foot(name, x, y, 0.3, ())


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"a": (0, 1), "b": (0, -1)}, {"a": 0.5, "b": 0.0}),
        (
            {"a": (-1, -1), "b": (1, 1), "c": (-1, 1), "d": (1, -1)},
            {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0},
        ),
        (
            {"a": (1, 1), "b": (0, 1), "c": (-1, 1), "d": (1, -1), "e": (0, -1), "f": (-1, -1)},
            {"a": 0.5, "b": 0.0, "c": 0.5, "d": 0.0, "e": 0.5, "f": 0.0},
        ),
    ],
)
def test_a_gait_follows_from_where_the_feet_are(places, expected):
    feet = [foot(name, *place) for name, place in places.items()]
    assert gaits.offsets(feet) == expected


def test_eight_feet_step_in_a_wave_with_two_feet_up_at_a_time():
    feet = [foot(f"{x}{y}", x, y) for x in range(4) for y in (-1, 1)]
    found = gaits.offsets(feet)
    assert sorted(found.values()) == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert all(found[f"{x}-1"] != found[f"{x}1"] for x in range(4))
    assert 8 * (1 - gaits.stance(feet)) == pytest.approx(1.6)


def scaled(tmp_path: Path, factor: float, name: str) -> bodies.Body:
    """Return the helper quadruped with every length times `factor`."""
    lengths = re.compile(r'(pos|size|fromto)="([^"]*)"')

    def larger(match: re.Match) -> str:
        return f'{match[1]}="{" ".join(f"{float(v) * factor:.9g}" for v in match[2].split())}"'

    path = tmp_path / f"{name}.xml"
    path.write_text(lengths.sub(larger, dog.mjcf()))
    robot = dog.robot(base={"body": "trunk", "height": dog.HEIGHT * factor})
    joints = tuple(msgspec.structs.replace(j, torque_limit=200.0) for j in robot.joints)
    robot = msgspec.structs.replace(robot, joints=joints)
    return bodies.measure(robot, source.read(path).model)


def test_a_robot_four_times_as_large_walks_twice_as_fast_and_steps_half_as_often(tmp_path):
    small = scaled(tmp_path, 1.0, "small")
    large = scaled(tmp_path, 4.0, "large")
    tasks = [numbers.plain(walk._tree(robot)) for robot in (small, large)]
    one, four = tasks
    assert large.leg == pytest.approx(4 * small.leg)
    assert four["gait"]["frequency"] == pytest.approx(one["gait"]["frequency"] / 2, rel=0.01)
    assert four["gait"]["swing_height"] == pytest.approx(4 * one["gait"]["swing_height"], rel=0.01)
    assert four["rewards"]["base_height"]["weight"] * 16 == pytest.approx(
        one["rewards"]["base_height"]["weight"], rel=0.01
    )
    assert four["commands"]["twist"]["vx"][1] == pytest.approx(
        2 * one["commands"]["twist"]["vx"][1], rel=0.01
    )
    assert four["events"]["reset"]["payload"] == one["events"]["reset"]["payload"]


def test_slow_joints_slow_the_commands_down_and_say_so(tmp_path):
    body = scaled(tmp_path, 1.0, "dog")
    joints = tuple(msgspec.structs.replace(j, velocity_limit=2.0) for j in body.robot.joints)
    slow = dataclasses.replace(body, robot=msgspec.structs.replace(body.robot, joints=joints))
    fast = speeds.fastest(body, styles.ON_MANY)
    limited = speeds.fastest(slow, styles.ON_MANY)
    assert limited.forward < 0.6 * fast.forward
    assert limited.forward / fast.forward == pytest.approx(limited.yaw / fast.yaw)
    assert "velocity limits" in limited.limited_by
    assert "velocity limits" not in fast.limited_by


def test_legs_that_swing_sideways_are_told_where_forward_is(tmp_path):
    path = tmp_path / "dog.xml"
    path.write_text(dog.mjcf(('axis="0 1 0"', 'axis="1 0 0"')))
    with pytest.raises(InputError, match=r"'trunk' \(FR_hip, FR_knee\).*; x must be forward"):
        bodies.measure(dog.robot(), source.read(path).model)


def test_knees_that_hardly_stretch_slow_the_commands_down(tmp_path):
    body = scaled(tmp_path, 1.0, "dog")

    def stiff(foot, turn):
        turns = (-turn, turn)
        hip, knee = foot.joints
        return dataclasses.replace(foot, joints=(hip, dataclasses.replace(knee, turns=turns)))

    def fastest(turn):
        feet = tuple(stiff(foot, turn) for foot in body.feet)
        return speeds.fastest(dataclasses.replace(body, feet=feet), styles.ON_MANY)

    free = speeds.fastest(body, styles.ON_MANY)
    foot = stiff(body.feet[0], 0.2)
    hip, knee = (np.array(joint.anchor) for joint in foot.joints)
    thigh, shank = np.linalg.norm(hip - knee), np.linalg.norm(knee)
    inner = np.arccos((thigh**2 + shank**2 - hip @ hip) / (2 * thigh * shank)) + 0.2
    longest = np.sqrt(thigh**2 + shank**2 - 2 * thigh * shank * np.cos(inner))
    ahead = np.sqrt(longest**2 - hip[2] ** 2) - abs(hip[0])
    assert foot.ahead() == pytest.approx(ahead, rel=1e-6)
    slow = fastest(0.2)
    sweep = speeds.half_sweep(body, free.forward / free.part)
    assert slow.part == pytest.approx(0.7 * ahead / sweep)
    assert "knees stretch" in slow.limited_by
    assert not fastest(0.0).limited_by  # no knee: it is not this that decides


def test_weak_hips_slow_the_commands_down_and_lighten_the_payload(tmp_path):
    body = scaled(tmp_path, 1.0, "dog")
    hips = {foot.joints[0].name: foot.joints[0] for foot in body.feet}
    moment = body.share * speeds.half_sweep(body, speeds.fastest(body, styles.ON_MANY).forward)
    joints = tuple(
        msgspec.structs.replace(j, torque_limit=hips[j.name].load + 0.6 * moment)
        if j.name in hips
        else j
        for j in body.robot.joints
    )
    weak = dataclasses.replace(body, robot=msgspec.structs.replace(body.robot, joints=joints))
    slow = speeds.fastest(weak, styles.ON_MANY)
    assert slow.forward == pytest.approx(0.6 * speeds.fastest(body, styles.ON_MANY).forward)
    assert "torque limits of the hips" in slow.limited_by
    assert disturbances.payload(body) == 0.2
    loads = {joint.name: joint.load for foot in body.feet for joint in foot.joints}
    barely = tuple(
        msgspec.structs.replace(j, torque_limit=1.01 * loads[j.name] + 1e-3)
        for j in body.robot.joints
    )
    weak = dataclasses.replace(body, robot=msgspec.structs.replace(body.robot, joints=barely))
    assert disturbances.payload(weak) == 0.05


def test_a_foot_is_lifted_by_the_knee_that_bends():
    """Thigh and calf of 0.2 m: the distance from hip to foot follows from the knee's angle."""
    angle = 0.6
    thigh = (0.2 * math.sin(angle), 0.0, 0.2 * math.cos(angle))
    hip = bodies.LegJoint("hip", 0, True, 0.0, (0.0, 0.0, 2 * thigh[2]), (0.0, 1.0, 0.0))
    knee = bodies.LegJoint("knee", 1, True, 0.0, thigh, (0.0, -1.0, 0.0))
    found = Foot("foot", 0.0, 0.0, 0.4, (hip, knee))
    for bend in (0.1, 0.55, 1.0):
        nearer = 0.4 * math.cos(angle) - 0.4 * math.cos(angle + bend / 2)
        assert found.lift(bend) == pytest.approx(nearer)
    assert Foot("foot", 0.0, 0.0, 0.4, (hip,)).lift(0.5) == 0.0


def test_a_leg_that_is_nearly_straight_steps_less_high():
    steps = {}
    for robot in ("go2", "anymal_c"):
        spec_of = project.load_robot(robot)
        model = source.read(project.robot_folder(robot) / spec_of.model).model
        body = bodies.measure(spec_of, model)
        steps[robot] = speeds.gait(body, styles.ON_MANY)["swing_height"].value / body.leg
    assert steps["go2"] == pytest.approx(styles.ON_MANY.swing, rel=0.01)
    assert steps["anymal_c"] < 0.6 * styles.ON_MANY.swing


@pytest.mark.parametrize("robot", ["go2", "spot", "h1"])
def test_no_unit_of_action_asks_for_more_than_a_joint_has(robot):
    described = project.load_robot(robot)
    scale = walk.resolve(robot).task["action"]["scale"]
    for joint in described.joints:
        one = scale[joint.name] if isinstance(scale, dict) else scale
        assert one * joint.kp <= 0.7525 * joint.torque_limit  # three digits are written
    assert isinstance(scale, dict) == (robot != "go2")


@pytest.mark.parametrize("robot", ["go2", "anymal_c", "g1"])
def test_what_is_shown_is_what_is_trained(robot):
    resolved = walk.resolve(robot)
    page = resolved.shown()
    assert yaml.safe_load(page) == resolved.task
    settings = config.load(resolved.named)
    assert settings.task.name == "walk"
    for word in ("sqrt(leg / g)", "sqrt(g leg)", "/ leg^2", "weight leg", "of the mass"):
        assert word in page


def test_a_number_that_was_set_is_shown_as_set(capsys):
    words = ["train", "walk", "--robot", "go2", "--show", "--set", "task.gait.frequency=1.5"]
    assert cli.main(words) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "frequency:" in x)
    assert re.fullmatch(r"\s*frequency: 1\.5\s+# --set", line)


def test_mistakes_are_one_sentence_that_says_what_to_do(tmp_path, capsys):
    assert cli.main(["train", "walk"]) == 2
    assert "add --robot" in capsys.readouterr().err
    assert cli.main(["train", "go2_walk", "--robot", "go2"]) == 2
    assert "goes with the task `walk`" in capsys.readouterr().err
    assert cli.main(["train", "walk", "--robot", "nobody"]) == 2
    assert "unknown robot 'nobody'" in capsys.readouterr().err
    assert (
        cli.main(["train", "walk", "--robot", "go2", "--show", "--set", "task.gait.speed=1"]) == 2
    )
    assert "speed" in capsys.readouterr().err
    hopper = spec.load(GO2 / "robot.yaml")
    hopper = msgspec.structs.replace(hopper, feet=hopper.feet[:1])
    with pytest.raises(InputError, match="needs at least two"):
        bodies.measure(hopper, source.read(GO2 / hopper.model).model)


def test_a_waist_is_no_leg_and_no_arm():
    folder = project.robot_folder("g1")
    robot = spec.load(folder / "robot.yaml")
    found = bodies.measure(robot, source.read(folder / robot.model).model)
    assert found.trunk == {f"waist_{axis}_joint" for axis in ("yaw", "roll", "pitch")}
    assert math.isclose(found.leg, 0.661, abs_tol=0.01)
    assert [joint.pitch for joint in found.feet[0].joints] == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.slow
def test_a_derived_run_trains_resumes_and_is_not_mixed_up(tmp_path, capsys):
    out = str(tmp_path / "run")
    small = ["--set", "num_envs=8", "--set", "rollout=4", "--set", "ppo.minibatches=1"]
    words = ["train", "walk", "--robot", "go1", "--out", out]
    assert cli.main([*words, *small, "--steps", "64"]) == 0
    resume = ["train", "walk", "--out", out, "--resume", "--steps", "128"]
    assert cli.main(resume) == 0
    assert config.robot_task(config.load_run(tmp_path / "run"), "this").robot == "go1"
    assert cli.main([*resume, "--robot", "go2"]) == 2
    assert "is a run of the robot go1, not go2" in capsys.readouterr().err


@pytest.mark.parametrize("mass, least", [(6.921, 1.0), (0.3, 0.2)])
def test_a_payload_leaves_a_light_base_a_third_of_its_mass(mass, least):
    """A small link between a torso and legs weighs less than 1/15 of the robot."""
    robot = project.load_robot("go2")
    body = bodies.measure(robot, source.read(GO2 / robot.model).model)
    body.model.body(body.robot.base.body).mass = mass
    low = disturbances.reset(body, styles.of(body))["payload"]["range"].value[0]
    assert low == pytest.approx(-least, abs=0.02)
