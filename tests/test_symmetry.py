"""Left and right: the mirror map of a robot and of a task, and networks that obey it."""

import dataclasses

import msgspec
import mujoco
import numpy as np
import pytest
import torch
from env_helpers import replace, robot, shipped
from ppo_helpers import rollout

from robot_ppo import config, envs, project
from robot_ppo.config import Networks, Ppo
from robot_ppo.envs.robot import mirrored
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.world import World
from robot_ppo.mirror import TURN, VECTOR, Mirror
from robot_ppo.ppo import symmetric
from robot_ppo.ppo.networks import Actor, Critic, Normalizer
from robot_ppo.ppo.rollout import rows as rows_of
from robot_ppo.ppo.update import Learner
from robot_ppo.robot_model import symmetry, variants
from robot_ppo_export.errors import InputError

PARTNERS = {"FR": "FL", "FL": "FR", "RR": "RL", "RL": "RR"}


def model(change=lambda spec: None):
    """Return the Go2's MJCF after a change, compiled."""
    spec = mujoco.MjSpec.from_file(str(project.robot_folder("go2") / "go2.xml"))
    change(spec)
    return spec.compile()


@pytest.fixture(scope="module")
def go2():
    return symmetry.find(robot(), model())


def test_angles_are_compared_from_the_pose_that_the_file_draws(go2):
    """With `ref`, mirrored legs have other numbers for the same pose."""

    def shift(spec):
        for joint in spec.joints[1:]:
            joint.ref += 0.1

    def described(names):
        joints = tuple(
            msgspec.structs.replace(j, default=j.default + 0.1 * (j.name in names))
            for j in robot().joints
        )
        return msgspec.structs.replace(robot(), joints=joints)

    found = symmetry.find(described(robot().joint_names), model(shift))
    assert np.array_equal(found.joints.sign, go2.joints.sign)
    with pytest.raises(InputError, match="beside the mirror image"):
        symmetry.find(described(robot().joint_names[:1]), model(shift))


def test_a_base_may_be_heavier_on_one_side_by_what_training_moves_it(go2):
    def aside(spec):
        spec.body("base_link").ipos[1] += 0.02

    with pytest.raises(InputError, match=r"base_link lies 0\.04 m beside"):
        symmetry.find(robot(), model(aside), moved=0.03)
    found = symmetry.find(robot(), model(aside), moved=0.05)
    assert np.array_equal(found.joints.index, go2.joints.index)


# -- signed permutations ------------------------------------------------------------------------


def test_a_mirror_is_its_own_inverse():
    mirror = Mirror.of([1, 0, 2, 3], [-1, -1, 1, -1])
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert np.array_equal(mirror(mirror(x)), x)
    assert not np.array_equal(mirror(x), x)


@pytest.mark.parametrize("index, sign", [([1, 2, 0], [1, 1, 1]), ([1, 0], [1, -1])])
def test_what_is_not_its_own_inverse_is_no_mirror(index, sign):
    with pytest.raises(ValueError, match="mirrored twice"):
        Mirror.of(index, sign)


# -- the robot ----------------------------------------------------------------------------------


def test_every_joint_of_go2_pairs_with_the_same_joint_of_the_other_side(go2):
    for i, name in enumerate(robot().joint_names):
        leg, rest = name.split("_", 1)
        assert robot().joint_names[go2.joints.index[i]] == f"{PARTNERS[leg]}_{rest}"
        assert go2.joints.sign[i] == (-1 if rest == "hip_joint" else 1)
    feet = robot().feet
    assert [feet[i] for i in go2.feet.index] == [PARTNERS[foot] for foot in feet]


def test_names_do_not_matter(go2):
    def rename(spec):
        for i, body in enumerate(spec.bodies[2:]):
            body.name = f"b{i * 7 % 100}"

    found = symmetry.find(robot(), model(rename))
    assert np.array_equal(found.joints.index, go2.joints.index)
    assert np.array_equal(found.joints.sign, go2.joints.sign)


def test_a_joint_that_turns_about_the_opposite_axis_has_the_opposite_sign():
    def turn(spec):
        spec.joint("FL_thigh_joint").axis = [0, -1, 0]

    turned = replace(
        robot(),
        joints=tuple(
            replace(j, default=-j.default) if j.name == "FL_thigh_joint" else j
            for j in robot().joints
        ),
    )
    found = symmetry.find(turned, model(turn))
    signs = dict(zip(robot().joint_names, found.joints.sign, strict=True))
    assert signs["FL_thigh_joint"] == signs["FR_thigh_joint"] == -1
    assert signs["RL_thigh_joint"] == 1


def test_a_light_body_may_be_off_as_far_as_the_robot_does_not_feel_it(go2):
    """A head of 0.1 kg 1 cm to the left is nothing; of 3 kg, or 6 cm to the left, it is."""

    def headed(mass, aside):
        def change(spec):
            head = spec.body("base_link").add_body(name="head", pos=[0.3, 0, 0.1])
            head.add_joint(name="neck", axis=[0, 0, 1])
            head.mass, head.ipos, head.inertia = mass, [0, aside, 0], [1e-4] * 3
            head.explicitinertial = True

        return change

    neck = msgspec.structs.replace(robot().joints[0], name="neck", default=0.0)
    with_neck = msgspec.structs.replace(robot(), joints=(*robot().joints, neck))
    found = symmetry.find(with_neck, model(headed(0.1, 0.01)))
    assert np.array_equal(found.joints.index[:-1], go2.joints.index)
    for mass, aside in ((3.0, 0.01), (0.1, 0.06)):
        with pytest.raises(InputError, match="the body head lies"):
            symmetry.find(with_neck, model(headed(mass, aside)))


def heavier(spec):
    spec.body("FL_calf").mass = 3.0


def aside(spec):
    body = spec.body("FL_calf")
    body.ipos = [body.ipos[0] + 0.05, *body.ipos[1:]]


def crooked(spec):
    spec.joint("RL_thigh_joint").axis = [0.2, 0.98, 0]


def elsewhere(spec):
    spec.joint("RL_thigh_joint").pos = [0.05, 0, 0]


def rounder(spec):
    body = spec.body("FL_thigh")
    body.inertia = np.array(body.inertia) * [1.5, 1.5, 1]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (heavier, "F[LR]_calf and F[LR]_calf weigh"),
        (aside, "F[LR]_calf and F[LR]_calf lie 0.05 m beside"),
        (crooked, "R[LR]_thigh_joint has no partner|not symmetric"),
        (elsewhere, "R[LR]_thigh_joint has no partner|not symmetric"),
        (rounder, "the inertias of the bodies F[LR]_thigh and F[LR]_thigh differ"),
    ],
)
def test_what_is_not_symmetric_is_named(change, sentence):
    with pytest.raises(InputError, match=sentence):
        symmetry.find(robot(), model(change))


def test_figures_of_robot_yaml_must_be_symmetric_too():
    joints = list(robot().joints)
    joints[0] = replace(joints[0], kp=99.0)
    with pytest.raises(InputError, match="the kp of FR_hip_joint and FL_hip_joint differs"):
        symmetry.find(replace(robot(), joints=tuple(joints)), model())


def test_the_mirror_image_of_a_trajectory_is_the_trajectory_of_the_mirror_image(go2):
    """The physics themselves: in the air and on the ground, with torques, for a quarter second."""
    path = project.robot_folder("go2") / robot().model
    one = variants.eval_model(robot(), path)
    rng = np.random.default_rng(1)
    first = mujoco.MjData(one)
    second = mujoco.MjData(one)
    default = robot().vector("default")
    start(one, first, default, rng)
    mirror_state(first, second, go2, default)
    for step in range(125):
        torque = 3 * np.sin(0.1 * step + np.arange(12))
        first.ctrl[:], second.ctrl[:] = torque, go2.joints(torque)
        mujoco.mj_step(one, first)
        mujoco.mj_step(one, second)
    expected = mujoco.MjData(one)
    mirror_state(first, expected, go2, default)
    assert np.abs(first.qpos[7:] - default).max() > 0.1  # something has happened
    assert second.qpos == pytest.approx(expected.qpos, abs=2e-3)
    assert second.qvel == pytest.approx(expected.qvel, abs=0.1)


def start(one, data, default, rng):
    mujoco.mj_resetDataKeyframe(one, data, 0)
    data.qpos[3:7] = [0.99, 0.1, 0.05, 0.02]
    data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
    data.qpos[2] += 0.05
    data.qpos[7:] = default + rng.uniform(-0.1, 0.1, 12)
    data.qvel[:] = rng.uniform(-0.5, 0.5, 18)


def mirror_state(source, target, go2, default):
    target.qpos[:3] = VECTOR(source.qpos[:3])
    target.qpos[3:7] = source.qpos[3:7] * [1, -1, 1, -1]
    target.qpos[7:] = default + go2.joints(source.qpos[7:] - default)
    target.qvel[:3] = VECTOR(source.qvel[:3])
    target.qvel[3:6] = TURN(source.qvel[3:6])
    target.qvel[6:] = go2.joints(source.qvel[6:])


# -- observations -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walk():
    env = envs.make(replace(shipped(), num_envs=2))
    return env, mirrored.symmetry(env)


def test_every_group_of_every_shipped_task_has_a_mirror_image(walk):
    for task in ("go2_walk", "go2_joint_hold", "go2_stand_up"):
        env = envs.make(replace(config.load(task), num_envs=2))
        found = envs.symmetry(env)
        assert found.groups.keys() == env.observation_groups.keys()
        for name, mirror in found.groups.items():
            assert len(mirror.index) == env.observation_groups[name]


def test_the_mirrored_observation_is_what_it_should_be(walk):
    env, found = walk
    names = [str(entry) for entry in env.layout.entries(env.robot.joint_names)]
    actor = found.groups["actor"]
    pairs = {name: (names[j], s) for name, j, s in zip(names, actor.index, actor.sign, strict=True)}
    assert pairs["base_ang_vel x"] == ("base_ang_vel x", -1)
    assert pairs["base_ang_vel y"] == ("base_ang_vel y", 1)
    assert pairs["projected_gravity y"] == ("projected_gravity y", -1)
    assert pairs["command vy"] == ("command vy", -1)
    assert pairs["joint_vel FR_hip_joint"] == ("joint_vel FL_hip_joint", -1)
    assert pairs["gait_clock sin"] == ("gait_clock sin", -1)  # half a cycle later


def test_a_term_with_a_parameter_is_mirrored_as_it_is_computed():
    """Twice the phase comes a whole cycle later in the mirror: it has the sign that it had."""
    given = "task.observations.actor.gait_clock.harmonics=2"
    env = envs.make(replace(config.load("go2_walk", overrides=[given]), num_envs=2))
    names = [str(entry) for entry in env.layout.entries(env.robot.joint_names)]
    actor = envs.symmetry(env).groups["actor"]
    signs = dict(zip(names, actor.sign.tolist(), strict=True))
    waves = [f"gait_clock {name}" for name in ("sin", "cos", "sin 2", "cos 2")]
    assert [signs[name] for name in waves] == [-1, -1, 1, 1]


def add_term(monkeypatch, name, function):
    monkeypatch.setitem(OBSERVATIONS.functions, name, function)
    monkeypatch.setitem(OBSERVATIONS.needs, name, ())


def test_a_term_that_somebody_adds_is_mirrored_without_a_word(walk, monkeypatch):
    env, _ = walk
    add_term(monkeypatch, "knees", lambda world: world.joint_pos[:, [2, 5]])
    task = env.task
    critic = {**task.observations["critic"], "knees": {}}
    other = envs.make_task(replace(task, observations={**task.observations, "critic": critic}), 2)
    mirror = mirrored.symmetry(other).groups["critic"]
    assert mirror.index[-2:].tolist() == [len(mirror.index) - 1, len(mirror.index) - 2]
    assert mirror.sign[-2:].tolist() == [1, 1]


ON_DEMAND = {"sole_level": 4, "foot_gap": 4, "air_time": 4, "base_clearance": 1}
"""Fields of Go2's world that are read for a term alone -> their numbers."""


def read_on_demand(walk, monkeypatch):
    """An environment whose critic ends with these fields, in this order."""
    env, _ = walk
    for name in ON_DEMAND:
        monkeypatch.setitem(OBSERVATIONS.reads, f"own_{name}", (name,))
        add_term(
            monkeypatch,
            f"own_{name}",
            lambda world, name=name: getattr(world, name).reshape(len(world.phase), -1),
        )
    critic = {**env.task.observations["critic"], **{f"own_{name}": {} for name in ON_DEMAND}}
    task = replace(env.task, observations={**env.task.observations, "critic": critic})
    return envs.make_task(task, 2)


def test_fields_that_are_read_on_demand_are_mirrored_as_they_are_measured(walk, monkeypatch):
    """A pose and its mirror image, both in the engine: gaps change between pairs of feet."""
    env = read_on_demand(walk, monkeypatch)
    count = sum(ON_DEMAND.values())
    mirror = mirrored.symmetry(env).groups["critic"]
    start = len(mirror.index) - count
    last = Mirror(mirror.index[start:] - start, mirror.sign[start:])
    joints = symmetry.find(env.robot, env.engine.model).joints
    default = env.robot.vector("default")
    qpos = np.tile(env.engine.model.key("home").qpos, (2, 1))
    pose = default + np.random.default_rng(0).uniform(-0.3, 0.3, 12)
    qpos[:, env.engine.joint_qpos] = [pose, default + joints(pose - default)]
    qpos[:, 2] += 0.05
    env.engine.reset(np.arange(2), qpos, np.zeros((2, env.engine.model.nv)), {})
    world, _ = env._read()
    seen, image = np.concatenate(
        [getattr(world, name).reshape(2, -1) for name in ON_DEMAND], axis=1
    )
    assert np.allclose(last(seen), image, atol=1e-3)
    assert not np.allclose(seen, image, atol=1e-2)


def test_a_field_whose_mirror_image_nobody_says_is_refused(walk, monkeypatch):
    env, _ = walk
    kinds = mirrored._Worlds._kinds
    known = kinds(mirrored._Worlds(env, symmetry.find(env.robot, env.engine.model)))
    assert known.keys() == {field.name for field in dataclasses.fields(World)}
    for name in known:
        without = {k: v for k, v in known.items() if k != name}
        monkeypatch.setattr(mirrored._Worlds, "_kinds", lambda _, without=without: without)
        with pytest.raises(InputError, match=f"mirror image of the world's field '{name}' is not"):
            mirrored.symmetry(env)


def test_a_term_without_mirror_image_is_named(walk, monkeypatch):
    env, _ = walk
    add_term(monkeypatch, "knee", lambda world: world.joint_pos[:, [2]])
    task = env.task
    critic = {**task.observations["critic"], "knee": {}}
    other = envs.make_task(replace(task, observations={**task.observations, "critic": critic}), 2)
    with pytest.raises(InputError, match="the observation knee has no mirror image"):
        envs.symmetry(other)
    assert envs.symmetry(other, "auto") is None
    assert envs.symmetry(other, False) is None


def critic_with(walk, monkeypatch, name, function):
    """An environment whose critic ends with this term."""
    env, _ = walk
    add_term(monkeypatch, name, function)
    critic = {**env.task.observations["critic"], name: {}}
    return envs.make_task(
        replace(env.task, observations={**env.task.observations, "critic": critic}), 2
    )


REPEATED = {
    "one twice": (lambda w: w.joint_pos[:, [2, 2, 5, 5]], [2, 3, 0, 1], [1, 1, 1, 1]),
    "of either sign": (
        lambda w: w.joint_pos[:, [2, 2, 5, 5]] * np.array([-1, 1, 1, 1]),
        [2, 3, 0, 1],
        [-1, 1, -1, 1],
    ),
    "in itself": (lambda w: w.base_lin_vel[:, [1, 1, 0]], [0, 1, 2], [-1, -1, 1]),
    "flags": (lambda w: w.foot_contact, [1, 0, 3, 2], [1, 1, 1, 1]),
    "tiny": (lambda w: 1e-6 * w.joint_pos[:, [2, 5]], [1, 0], [1, 1]),
}
"""A term of a critic, and the mirror of its entries, by hand; FR, FL, RR, RL are the feet."""


@pytest.mark.parametrize("case", REPEATED)
def test_equal_entries_are_paired_in_their_order(case, walk, monkeypatch):
    function, index, sign = REPEATED[case]
    mirror = mirrored.symmetry(critic_with(walk, monkeypatch, "own", function)).groups["critic"]
    start = len(mirror.index) - len(index)
    assert (mirror.index[start:] - start).tolist() == index
    assert mirror.sign[start:].tolist() == sign


def test_an_entry_that_no_random_world_changes_has_no_known_mirror_image(walk, monkeypatch):
    """Feet that all stay below a threshold look alike, but they change places in the mirror."""
    env = critic_with(walk, monkeypatch, "high", lambda world: world.foot_height > 50)
    with pytest.raises(InputError, match="observation high has no mirror image: entry 0 is the s"):
        envs.symmetry(env)
    assert envs.symmetry(env, "auto") is None


def test_what_does_not_come_back_is_named_too():
    a, b, c = np.random.default_rng(0).normal(size=(3, 9))
    with pytest.raises(InputError, match="observation own has no mirror image: mirrored twice"):
        mirrored._of_term("own", np.stack((a, b, c), 1), np.stack((b, c, a), 1))


@pytest.mark.parametrize("name", ["base_com", "imu_bias", "imu_mounting", "encoder_offset"])
@pytest.mark.parametrize("drawn", [[0.0, 0.05], [0.02, 0.08], [0.03, 0.03], [-0.02, 0.03]])
def test_a_range_that_is_not_centred_on_0_has_no_mirror_image(name, drawn, walk):
    """V would be the same for a base 5 cm to the left as for one in the middle."""
    env, _ = walk
    reset = {**env.task.events.reset, name: {"range": drawn}}
    other = envs.make_task(replace(env.task, events=replace(env.task.events, reset=reset)), 2)
    with pytest.raises(InputError, match=rf"`task\.events: {name}`: the range \[.*centre it on 0"):
        envs.symmetry(other)
    assert envs.symmetry(other, "auto") is None


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("base_com", [-0.05, 0.05]), ("imu_bias", [0, 0]), ("payload", [0, 3]), ("kp", [0.9, 1.2])],
)
def test_one_that_is_or_whose_numbers_keep_their_sign_has_one(name, drawn, walk):
    env, _ = walk
    reset = {**env.task.events.reset, name: {"range": drawn}}
    other = envs.make_task(replace(env.task, events=replace(env.task.events, reset=reset)), 2)
    assert envs.symmetry(other) is not None


def test_a_gait_without_mirror_image_is_refused(walk):
    env, _ = walk
    gait = replace(env.task.gait, offsets={"FR": 0.0, "FL": 0.25, "RR": 0.5, "RL": 0.6})
    with pytest.raises(InputError, match=r"task\.gait\.offsets"):
        envs.symmetry(envs.make_task(replace(env.task, gait=gait), 2))


def test_a_task_of_gymnasium_has_no_mirror_image():
    env = envs.make(config.load("Hopper-v5", overrides=["num_envs=2"]))
    with pytest.raises(InputError, match="only tasks of robots"):
        envs.symmetry(env)


# -- networks -----------------------------------------------------------------------------------

OBSERVATION = Mirror.of([1, 0, 2, 3, 4], [1, 1, -1, 1, -1])
INPUTS = Mirror.of([1, 0, 2, 3, 4, 6, 5], [1, 1, -1, 1, -1, -1, -1])
ACTIONS = Mirror.of([1, 0, 2], [-1, -1, 1])
NETWORKS = Networks(actor=(16, 8), critic=(8, 6), activation="elu", last_gain=1.0)


def tied(networks=NETWORKS, **ppo):
    torch.manual_seed(0)
    settings = replace(shipped(), networks=networks, ppo=Ppo(epochs=2, minibatches=3, **ppo))
    actor = Actor(5, 3, networks)
    critic = Critic(7, networks, settings.ppo.normalize_returns)
    symmetric.tie(actor, OBSERVATION, ACTIONS)
    symmetric.tie_critic(critic, INPUTS)
    return Learner(settings, actor, critic)


def of_mirror(mirror, x):
    return torch.from_numpy(mirror(x.detach().numpy()))


def is_symmetric(one) -> bool:
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    y = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, log_std = one.actor.distribution(x)
        image, image_log_std = one.actor.distribution(of_mirror(OBSERVATION, x))
        values = one.critic(y)
        others = one.critic(of_mirror(INPUTS, y))
    spread = Mirror(ACTIONS.index, np.abs(ACTIONS.sign))
    assert mean.std() > 0.05 and values.std() > 0.05
    return (
        torch.allclose(image, of_mirror(ACTIONS, mean), atol=1e-5)
        and torch.allclose(image_log_std, of_mirror(spread, log_std), atol=1e-5)
        and torch.allclose(values, others, atol=1e-5)
    )


@pytest.mark.parametrize("std", ["global", "state"])
@pytest.mark.parametrize("objective", ["clip", "trpo"])
def test_a_symmetric_network_stays_symmetric_whatever_it_learns(objective, std):
    one = tied(replace(NETWORKS, std=std), objective=objective, normalize_returns=True)
    assert is_symmetric(one)
    before = one.actor_parameters.vector.detach().clone()
    for seed in range(3):
        one.update(rollout(one, seed=seed))
    assert not torch.equal(before, one.actor_parameters.vector)
    assert is_symmetric(one)


def test_weights_stay_their_own_mirror_images_to_the_bit():
    one = tied()
    for seed in range(3):
        one.update(rollout(one, seed=seed))
    for parameters in (one.actor_parameters, one.critic_parameters):
        vector = parameters.vector.detach().numpy()
        assert np.array_equal(parameters.mirror(vector), vector)


def test_without_the_mean_of_the_gradient_they_do_not(monkeypatch):
    """Negative control."""
    one = tied()
    monkeypatch.setattr(one.actor_parameters, "symmetrize_gradient", lambda: None)
    one.update(rollout(one))
    assert not is_symmetric(one)


def test_the_gradient_is_that_of_the_samples_and_their_mirror_images_together():
    one = tied()
    one.config = replace(one.config, ppo=replace(one.config.ppo, minibatches=1))
    experience = rollout(one)
    one._begin(experience, 0.0)
    samples, _ = one._samples(experience)
    one._actor_gradient(samples)
    one.actor_parameters.symmetrize_gradient()
    found = one.actor_parameters.gradient.clone()
    both = rollout(one, n=40)
    images = {"observations": OBSERVATION, "actions": ACTIONS, "means": ACTIONS}
    for name in ("observations", "actions", "means"):
        rows = getattr(experience, name)
        getattr(both, name)[:] = torch.cat((rows, of_mirror(images[name], rows)), dim=1)
    advantages = torch.from_numpy(samples.advantages).view(6, 20).repeat(1, 2)
    inputs = one.actor_pass.inputs(both.observations.flatten(0, 1))
    doubled = type(samples).of(both, inputs, rows_of, one.loss.old_log_std, advantages)
    one._actor_gradient(doubled)
    assert torch.allclose(one.actor_parameters.gradient, found, atol=1e-6)


def test_a_normalizer_counts_mirror_images():
    x = torch.randn(700, 5) * 3 + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    one = Normalizer(5, 10.0)
    plain = Normalizer(5, 10.0)
    one.mirror = OBSERVATION
    one.update(x)
    plain.update(torch.cat((x, of_mirror(OBSERVATION, x))))
    assert torch.allclose(one.mean, plain.mean, atol=1e-6)
    assert torch.allclose(one.var, plain.var, rtol=1e-5)


def test_an_odd_layer_cannot_be_symmetric():
    actor = Actor(5, 3, replace(NETWORKS, actor=(15, 8)))
    with pytest.raises(InputError, match=r"15 units .* even"):
        symmetric.tie(actor, OBSERVATION, ACTIONS)


@pytest.mark.parametrize("wanted", [True, "auto"])
def test_training_goes_on_symmetric_after_a_resume(wanted, tmp_path, quiet_trainer):
    settings = replace(
        shipped(),
        num_envs=8,
        steps=8 * 6 * 2,
        networks=replace(shipped().networks, symmetric=wanted),
    )
    quiet_trainer(settings, tmp_path)
    more = replace(settings, steps=8 * 6 * 4)
    parameters = quiet_trainer(more, tmp_path, resume=True).learner.actor_parameters
    vector = parameters.vector.detach().numpy()
    assert parameters.mirror is not None
    assert np.array_equal(parameters.mirror(vector), vector)


@pytest.fixture
def quiet_trainer():
    from robot_ppo.training.train import Trainer

    class Log:
        def log(self, *_):
            pass

    def train(settings, folder, resume=False):
        trainer = Trainer(settings, folder, resume=resume)
        trainer.run(Log())
        return trainer

    return train
