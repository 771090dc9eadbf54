"""A student imitates a teacher in the states that the student visits, then learns by PPO."""

import shutil

import numpy as np
import pytest
import torch
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from node_helpers import ROOT
from ppo_helpers import N, distiller, learner, rollout
from test_resume import Killed, Told, digest, lively
from test_train import column

from robot_ppo import cli, config, export
from robot_ppo.config import MemorySpec
from robot_ppo.envs.environment import join
from robot_ppo.ppo.distill import imitates, student_share
from robot_ppo.training import policy_network
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo.training.train import Trainer
from robot_ppo_export import to_onnx
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError, RefusedError

BATCH = ROBOTS * ROLLOUT
PRIVILEGED = "networks.actor_groups=[actor,critic]"
LOUD = "networks.last_gain=2.0"
WALK = ROOT / "tests" / "golden" / "go2_walk.onnx"
GRU = "networks.actor_memory={cell: gru, units: 16}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run whose actor reads what only a simulation knows, and says something."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    sets = ("--set", PRIVILEGED, "--set", LOUD)
    assert cli.main(train_arguments(out, *sets)) == 0
    return out


def student(teacher, *overrides, iterations=4, **flags):
    chosen = ("algorithm=distill", f"distill.teacher={teacher}", GRU, *overrides)
    flags = {"steps": iterations * BATCH, "threads": 1} | flags
    return tiny_config("ppo.learning_rate_schedule=constant", *chosen, **flags)


# -- the loss -----------------------------------------------------------------------------------


MEMORY = {"actor_memory": MemorySpec(cell="gru", units=8)}


@pytest.mark.parametrize("memory", [{}, MEMORY], ids=["mlp", "gru"])
def test_the_gradient_is_that_of_the_squared_error(memory):
    one = distiller(config.Networks(actor=(16,), critic=(16,), **memory))
    experience = rollout(one)
    experience.labels = torch.randn(experience.means.shape)
    wanted = torch.nn.functional.mse_loss(experience.means, experience.labels).item()
    if memory:
        ended = (experience.terminated | experience.truncated)[:-1]
        starts = torch.cat((torch.zeros(1, N, dtype=torch.bool), ended))
        mean = one.actor.unroll(experience.observations, starts, experience.state)[0]
    else:
        mean = one.actor.distribution(experience.observations)[0]
    loss = 0.5 * (mean - experience.labels).square().mean()
    theirs = torch.autograd.grad(loss, list(one.actor.parameters()), allow_unused=True)
    metrics = one.update(experience, progress=0.4)
    assert metrics["imitation_error"] == pytest.approx(wanted**0.5, rel=1e-4)
    for parameter, gradient in zip(one.actor.parameters(), theirs, strict=True):
        if gradient is None:  # the deviation is not imitated
            gradient = torch.zeros_like(parameter)
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_beyond_the_imitation_it_is_ppo():
    one, plain = distiller(), learner(epochs=1, minibatches=1, max_grad_norm=1e9)
    plain.actor.load_state_dict(one.actor.state_dict())
    plain.critic.load_state_dict(one.critic.state_dict())
    for each in (one, plain):
        each.update(rollout(each), progress=0.5)
    for a, b in zip(one.actor.parameters(), plain.actor.parameters(), strict=True):
        assert torch.equal(a, b)


def imitated(one, updates=3):
    """Its labels are what it does already, nearly, and it has learned from many of them."""
    for i in range(updates):
        experience = rollout(one, seed=i)
        experience.labels = experience.means + 1e-3
        one.update(experience, progress=0.4)
    one.actor_optimizer._step += 5000


def test_ppo_does_not_begin_with_a_leap(monkeypatch):
    """Divided by what Adam knows of an imitation, PPO's first steps are several times too long."""

    def moved(one):
        before = one.actor_parameters.vector.detach().clone()
        one.update(rollout(one), progress=0.5)
        return (one.actor_parameters.vector.detach() - before).abs().max().item()

    one, control = distiller(), distiller()
    for each in (one, control):
        imitated(each)
    assert moved(one) <= 1.01e-5  # of one step of a new Adam
    assert one.learning_rate == 1e-5
    monkeypatch.setattr(control.actor_optimizer, "forget", lambda: None)
    control.learning_rate = 1e-5
    assert moved(control) > 2.5e-5


def test_a_rate_that_is_set_stays_where_ppo_begins():
    one = distiller(learning_rate_schedule="constant", learning_rate=3e-4)
    imitated(one, 2)
    one.update(rollout(one), progress=0.5)
    assert one.learning_rate == 3e-4


def test_who_goes_on_where_ppo_begins_forgets_too():
    one, resumed = distiller(), distiller()
    imitated(one, 3)
    resumed.load_state_dict(one.state_dict())
    for each in (one, resumed):
        each.update(rollout(each), progress=0.5)
        each.update(rollout(each), progress=0.6)  # once: its second step remembers the first
        assert each.actor_optimizer.state_dict()["step"] == 2
    assert torch.equal(one.actor_parameters.vector, resumed.actor_parameters.vector)


def test_the_log_says_what_no_kl_steers_while_it_imitates():
    """Its steps are counted and none is left out; from where PPO learns on, KL stops and steers."""
    one = distiller(stop_kl=1e-9, kl_target=0.01, learning_rate_schedule="kl")
    experience = rollout(one)
    experience.labels = torch.zeros_like(experience.means)
    before = [p.clone() for p in one.actor.parameters()]
    metrics = one.update(experience, progress=0.4)
    assert any(not torch.equal(a, b) for a, b in zip(before, one.actor.parameters(), strict=True))
    assert metrics["actor_steps"] == 1
    assert "kl_target" not in metrics and metrics["learning_rate"] == 1e-3
    experience = rollout(one)
    experience.means += 1.0  # far from what acts now
    metrics = one.update(experience, progress=0.5)
    assert metrics["actor_steps"] == 0 and metrics["kl_target"] == 0.01
    assert metrics["learning_rate"] < 1e-3


def test_the_critic_learns_all_along():
    one = distiller()
    experience = rollout(one)
    experience.labels = torch.zeros_like(experience.means)
    before = [p.clone() for p in one.critic.parameters()]
    assert "explained_variance" in one.update(experience, progress=0.0)
    assert any(not torch.equal(a, b) for a, b in zip(before, one.critic.parameters(), strict=True))


# -- who acts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.3, 1.0), (0.4, 1.0), (0.9, 1.0)]
)
def test_the_student_acts_more_and_more(progress, share):
    settings = student("any", "distill.until=0.4", "distill.alone=0.5")
    assert student_share(settings, progress) == pytest.approx(share)
    assert imitates(settings, progress) == (progress < 0.4)
    assert student_share(tiny_config(), 0.0) == 1.0


def test_the_teacher_labels_what_is_visited_and_leads_the_first_simulations(teacher, tmp_path):
    trainer = Trainer(student(teacher, "distill.alone=1"), tmp_path)
    trainer._start_episodes()
    trainer.steps = trainer.config.steps // 2
    seen = []
    step = trainer.env.step
    trainer.env.step = lambda action: seen.append(trainer.observations) or step(action)
    trainer._collect({"physics": 0.0})
    rollout = trainer.rollout
    newest = Checkpoints(teacher).newest()
    actor = load_actor(Checkpoints(teacher).settings(newest), newest)
    inputs = [join(observations, ("actor", "critic")) for observations in seen]
    with torch.no_grad():
        labels = torch.stack([actor(torch.from_numpy(x).float()) for x in inputs])
    assert torch.allclose(rollout.labels, labels, rtol=0, atol=1e-5)
    assert torch.equal(rollout.means[:, : ROBOTS // 2], rollout.labels[:, : ROBOTS // 2])
    gap = (rollout.means - rollout.labels)[:, ROBOTS // 2 :]
    assert gap.abs().mean() > 0.1


def test_the_student_explores_as_widely_as_its_teacher(teacher, tmp_path):
    trainer = Trainer(student(teacher), tmp_path)
    theirs = Checkpoints(teacher).newest().learner["actor"]["log_std"]
    assert torch.equal(trainer.learner.actor.log_std, theirs)
    bound = Trainer(student(teacher, "networks.log_std_range=[-2, 0]"), tmp_path)
    assert not torch.equal(bound.learner.actor.log_std, theirs)


def test_one_command_trains_a_student_that_comes_to_do_as_its_teacher(teacher, tmp_path):
    out = tmp_path / "student"
    keys = (PRIVILEGED, GRU, "ppo.epochs=8", "ppo.learning_rate=5e-3", "ppo.max_grad_norm=10")
    sets = [word for key in keys for word in ("--set", key)]
    arguments = train_arguments(out, "--teacher", str(teacher), *sets, steps=40 * BATCH)
    assert cli.main([*arguments, "--preset", "distill"]) == 0
    errors = column(out, "imitation_error")
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])  # 0.59 to 0.66, by the BLAS kernel
    assert config.load_run(out).distill.teacher == str(teacher.resolve())
    assert cli.main(["doctor", str(out)]) == 0


def test_a_student_that_stops_imitating_goes_on_without_its_teacher(teacher, tmp_path):
    trainer = Trainer(student(teacher, "distill.until=0.5"), tmp_path)
    told = Told()
    asked = []
    lead = trainer.teacher.lead
    trainer.teacher.lead = lambda *a: asked.append(trainer.iteration) or lead(*a)
    trainer.run(told)
    assert set(asked) == {0, 1}
    assert ["imitation_error" in row for row in told.rows] == [True, True, False, False]
    assert ["kl" in row for row in told.rows] == [False, False, True, True]


@pytest.mark.numeric
@pytest.mark.parametrize("latent", [0.0, 0.5])
def test_a_killed_and_resumed_distillation_is_the_unbroken_one(latent, tmp_path):
    """The teacher has a memory too, and goes on with it."""
    master = tmp_path / "teacher"
    Trainer(lively("networks.actor_memory={cell: lstm, units: 8}", LOUD), master).run(Told())
    settings = ("algorithm=distill", f"distill.teacher={master}", GRU, "distill.until=0.8")
    settings += ("ppo.learning_rate_schedule=constant", f"distill.latent={latent}")
    (master / "config.yaml").write_text(config.to_yaml(lively(LOUD)))
    whole = tmp_path / "whole"
    told = Told()
    Trainer(lively(*settings), whole).run(told)
    run = tmp_path / "run"
    before = Told(killed_at=4)
    with pytest.raises(Killed):
        Trainer(lively(*settings), run).run(before)
    copied = shutil.copytree(run, tmp_path / "copied")
    after = Told()
    Trainer(lively(*settings), copied, resume=True).run(after)
    assert digest(Checkpoints(copied).newest()) == digest(Checkpoints(whole).newest())
    assert before.rows[:3] + after.rows == told.rows


# -- what the teacher reads -----------------------------------------------------------------------


BLIND = "task.observations.actor={projected_gravity: {}, joint_pos_error: {}}"


def test_what_the_students_task_lacks_is_added_for_its_teacher(teacher, tmp_path):
    blind = student(
        teacher, BLIND, "task.observations.critic=null", "networks.critic_groups=[actor]"
    )
    trainer = Trainer(blind, tmp_path)
    assert trainer.teacher.groups == ("teacher_actor", "teacher_critic")
    theirs = config.load_run(teacher).task.observations
    ours = trainer.config.task.observations
    assert (ours["teacher_actor"], ours["teacher_critic"]) == (theirs["actor"], theirs["critic"])
    assert trainer.learner.actor.normalizer.mean.shape == (3 + 12,)
    trainer._start_episodes()
    seen = join(trainer.observations, trainer.teacher.groups)
    trainer._collect({"physics": 0.0})
    newest = Checkpoints(teacher).newest()
    actor = load_actor(Checkpoints(teacher).settings(newest), newest)
    with torch.no_grad():
        wanted = actor(torch.from_numpy(seen).float())
    assert torch.allclose(trainer.rollout.labels[0], wanted, rtol=0, atol=1e-5)


def test_a_student_that_goes_on_finds_what_was_added(teacher, tmp_path):
    first = Trainer(student(teacher, BLIND), tmp_path)
    first.run(Told())
    again = Trainer(first.config, tmp_path, resume=True)
    assert again.config == first.config
    assert again.teacher.groups == first.teacher.groups == ("teacher_actor", "critic")


# -- a policy file as the teacher ----------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory, short_rollouts):
    """A run whose policy can be exported, and its file."""
    out = tmp_path_factory.mktemp("plain") / "run"
    assert cli.main(train_arguments(out, "--set", LOUD)) == 0
    file = out.parent / "policy.onnx"
    export.export(out, file)
    return out, file


@pytest.mark.parametrize(
    "network",
    [
        (),
        (GRU, "networks.actor=[12]"),
        ("networks.actor_memory={cell: lstm, units: 6}", "networks.activation=tanh"),
        ("networks.actor=[]", "networks.obs_clip=3.0"),
    ],
    ids=["mlp", "gru", "lstm", "linear"],
)
def test_the_actor_of_a_policy_file_is_the_one_that_was_exported(network, tmp_path, short_rollouts):
    trainer = Trainer(tiny_config(LOUD, *network, threads=1, steps=2 * BATCH), tmp_path)
    trainer.run(Told())
    checkpoint = Checkpoints(tmp_path).newest()
    file = tmp_path / "policy.onnx"
    file.write_bytes(export.build(trainer.config, checkpoint))
    contract, actor = policy_network.read(file)
    wanted = checkpoint.learner["actor"]
    for name, weight in actor.state_dict().items():
        if not name.startswith(("normalizer", "log_std")):
            assert torch.equal(weight, wanted[name]), name
    assert torch.equal(actor.normalizer.std(), trainer.learner.actor.normalizer.std())
    assert np.allclose(np.log(contract.training.deviation), wanted["log_std"], atol=1e-6)


def test_a_network_that_this_release_makes_in_another_way_is_refused(plain, monkeypatch):
    policy_network.read(plain[1])
    monkeypatch.setitem(to_onnx.ACTIVATIONS, "elu", "Relu")
    with pytest.raises(InputError, match="not made as this release makes them; name the folder"):
        policy_network.read(plain[1])


def test_a_file_teaches_what_its_run_does(plain, tmp_path):
    _, file = plain
    of_run, of_file = (
        Trainer(student(source, BLIND), tmp_path / str(i)) for i, source in enumerate(plain)
    )
    assert of_run.teacher.groups == of_file.teacher.groups == ("teacher_actor",)
    for each in (of_run, of_file):
        each.run(Told())
    assert torch.allclose(of_run.rollout.labels, of_file.rollout.labels, atol=1e-5)
    assert torch.allclose(of_run.learner.actor.log_std, of_file.learner.actor.log_std)
    again = Trainer(of_file.config, tmp_path / "1", resume=True)
    assert again.config == of_file.config
    assert Trainer(student(file), tmp_path / "same").teacher.groups == ("actor",)


def test_a_file_that_says_no_deviation_leaves_the_one_that_is_set(tmp_path, caplog):
    early = WALK.with_name("go2_walk_early_format3.onnx")
    trainer = Trainer(student(early, "networks.init_std=0.25"), tmp_path)
    assert torch.allclose(trainer.learner.actor.log_std.exp(), torch.tensor(0.25))
    assert "the student does by `networks.init_std`, 0.25" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("task.robot=go1",), "drives go2, where joint .* has `.*train a student of its own robot"),
        (("task.action={scale: 0.25, clip: 4.0}",), "another `task.action` than this run"),
        (("task.gait.frequency=2.5",), "another `task.gait.frequency` than this run"),
        (("task.control_period=0.04",), "another `task.control_period` than this run"),
        (("task.commands.twist=null", BLIND), "is told vx, vy, yaw_rate, .* is told nothing"),
    ],
    ids=["robot", "action", "gait", "period", "command"],
)
def test_a_file_whose_numbers_mean_something_else_is_refused(plain, tmp_path, overrides, text):
    refused(student(plain[1], *overrides), tmp_path, text)


# -- what is refused ----------------------------------------------------------------------------


def refused(settings, folder, text):
    with pytest.raises(InputError, match=text):
        Trainer(settings, folder)


OTHER = "task.observations.actor.joint_vel={scale: 0.1}"
STIFF = "task.events.reset.kp.range=[0.95, 1.05]"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ((STIFF,), "reads `randomized`, draws within the ranges of its own task.events"),
        (("task.commands.twist=null",), "is told twist, and a robot of this task is told nothing"),
        ((OTHER, "task.observations.teacher_actor={command: {}}"), "delete that group, or begin"),
    ],
    ids=["randomized", "command", "name taken"],
)
def test_readings_that_mean_something_else_are_refused(teacher, tmp_path, overrides, text):
    refused(student(teacher, *overrides), tmp_path, text)


def test_a_teacher_whose_actions_mean_something_else_is_refused(teacher, tmp_path):
    settings = student(teacher, "task.action={scale: 0.25, clip: 4.0}")
    refused(settings, tmp_path, "another `task.action` than this run")


def test_what_rewards_alone_ask_of_a_gait_may_be_another(teacher, tmp_path):
    higher = Trainer(student(teacher, "task.gait.swing_height=0.1"), tmp_path)
    assert higher.teacher.groups == ("actor", "critic")
    refused(student(teacher, "task.gait.frequency=2.5"), tmp_path, "another `task.gait.frequency`")


def test_a_run_does_not_imitate_itself(teacher, capsys):
    """Which --overwrite would delete."""
    arguments = train_arguments(teacher, "--teacher", str(teacher), "--overwrite")
    assert cli.main([*arguments, "--preset", "distill"]) == 2
    assert "is the folder of this run; name another --out" in capsys.readouterr().err
    assert Checkpoints(teacher).paths()


def test_a_teacher_of_another_robot_is_refused(teacher, tmp_path):
    settings = student(teacher, "task.robot=go1")
    refused(settings, tmp_path, "is a run of the robot .*go2, not .*go1")


def test_a_teacher_that_is_no_run_is_refused(tmp_path):
    refused(
        student(tmp_path / "none"),
        tmp_path / "student",
        "distill.teacher`: .*none has no checkpoint",
    )
    policy = tmp_path / "policy.onnx"
    policy.touch()
    with pytest.raises(RefusedError, match=r"policy.onnx: .*empty file"):
        Trainer(student(policy), tmp_path / "student")
    refused(student(policy), tmp_path, "policy.onnx is in the folder of this run; name another")
    refused(student("''"), tmp_path, "distill.teacher`: is empty")


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("ppo.objective=trpo", "trpo measures the KL"),
        ("ppo.objective=kl_dual", "kl_dual measures the KL"),
        ("ppo.estimator=group_relative", "whose critic learns"),
    ],
)
def test_what_imitation_cannot_have_is_refused(override, text):
    with pytest.raises(SettingError, match=text):
        student("any", override, "networks.actor_memory=null")


def test_a_teacher_without_an_imitation_is_refused(teacher, tmp_path, capsys):
    assert cli.main(train_arguments(tmp_path / "run", "--teacher", str(teacher))) == 2
    assert "add --preset distill" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["actor_memory", "critic_memory"])
@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("ppo.objective=trpo",), "differentiates twice"),
        (("ppo.estimator=group_relative", "ppo.group_size=4"), "sequences have no gaps"),
        (("ppo.minibatches=9",), "more than the 8 sequences"),
    ],
)
def test_what_cannot_learn_from_sequences_is_refused(network, overrides, text):
    with pytest.raises(SettingError, match=text):
        tiny_config(f"networks.{network}={{cell: gru, units: 8}}", *overrides)
