"""A student that learns its teacher's latent, too: the activation of the last hidden layer."""

import shutil

import msgspec
import numpy as np
import pytest
import torch
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from ppo_helpers import ACTIONS, NETWORKS, SIZE, N, distiller, fingerprint, rollout
from test_train import column

from robot_ppo import cli, config
from robot_ppo.config import MemorySpec
from robot_ppo.envs.environment import join
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import autograd, mlp, symmetric
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo.training.train import Trainer
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

BATCH = ROBOTS * ROLLOUT
WEIGHT = 0.7
WIDTH = NETWORKS.actor[-1]
INTO = Mirror.of([1, 0, 2, 3, 4], [1, 1, -1, 1, -1])
OUT = Mirror.of([1, 0, 2], [1, 1, -1])
KINDS = {
    "mlp": NETWORKS,
    "std of the state": msgspec.structs.replace(NETWORKS, std="state"),
    "gru": msgspec.structs.replace(NETWORKS, actor_memory=MemorySpec(units=8)),
    "lstm": msgspec.structs.replace(NETWORKS, actor_memory=MemorySpec(cell="lstm", units=8)),
}


def labelled(one):
    """A rollout with a teacher's actions and latents."""
    experience = rollout(one)
    generator = torch.Generator().manual_seed(3)
    experience.labels = torch.randn(experience.means.shape, generator=generator)
    experience.latents = torch.randn(*experience.rewards.shape, WIDTH, generator=generator)
    return experience


def outputs(actor, experience, observations):
    """Mean and latent (T, n, ...), block after block."""
    features = actor.normalizer(observations)
    if actor.memory is not None:
        ended = (experience.terminated | experience.truncated)[:-1]
        starts = torch.cat((torch.zeros(1, N, dtype=torch.bool), ended))
        features = actor.memory(features, starts, experience.state)[0]
    latent = actor.mlp[:-1](features)
    return actor.mlp[-1](latent), latent


def stated_loss(found, labels, latents):
    mean, latent = found
    of_actions = (mean - labels).square().mean() / 2
    return of_actions + WEIGHT * (latent - latents).square().mean() / 2


def mirrored(mirror, x):
    return torch.from_numpy(mirror(x.numpy()))


# -- the loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("most_rows", [None, 50])
@pytest.mark.parametrize("tied", [False, True], ids=["free", "symmetric"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_stated_loss(kind, tied, most_rows):
    """Of a symmetric student, that over the samples and their mirror images."""
    tie = (lambda actor: symmetric.tie(actor, INTO, OUT)) if tied else None
    one = distiller(KINDS[kind], latent=WEIGHT, tie=tie)
    by_hand = kind == "mlp"
    assert isinstance(one._imitation_pass, mlp.LatentMlp if by_hand else autograd.Autograd)
    if by_hand:
        one._imitation_pass.most_rows = most_rows
    experience = labelled(one)
    seen = experience.observations
    loss = stated_loss(outputs(one.actor, experience, seen), experience.labels, experience.latents)
    if tied and one.actor.memory is None:
        image = stated_loss(
            outputs(one.actor, experience, mirrored(INTO, seen)),
            mirrored(OUT, experience.labels),
            mirrored(Mirror.halves(WIDTH), experience.latents),
        )
        loss = (loss + image) / 2
    theirs = torch.autograd.grad(loss, list(one.actor.parameters()), allow_unused=True)
    if tied and one.actor.memory is not None:  # whose first memory has a mirror image, too
        theirs = [(g + mirrored_gradient(g, m)) / 2 if g is not None else None
                  for g, m in zip(theirs, one.actor.mirrors, strict=True)]  # fmt: skip
    gap = outputs(one.actor, experience, seen)[1] - experience.latents
    wanted = gap.detach().square().mean().sqrt().item()
    metrics = one.update(experience, progress=0.4)
    assert metrics["latent_error"] == pytest.approx(wanted, rel=1e-4)
    for parameter, gradient in zip(one.actor.parameters(), theirs, strict=True):
        if gradient is None:  # the deviation is not imitated
            gradient = torch.zeros_like(parameter)
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def mirrored_gradient(gradient, mirror):
    return mirrored(mirror, gradient.ravel()).view(gradient.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_zero_changes_no_bit(kind):
    """Nor does one too small for a float; one of 1 does."""
    prints = []
    for weight, with_latents in ((0.0, False), (0.0, True), (1e-35, True), (1.0, True)):
        one = distiller(KINDS[kind], latent=weight)
        experience = labelled(one)
        if not with_latents:
            experience.latents = None
        metrics = one.update(experience, progress=0.4)
        assert ("latent_error" in metrics) == (weight > 0)
        prints.append(fingerprint(one))
    assert prints[0] == prints[1] == prints[2] != prints[3]


# -- from a privileged teacher to a blind student -----------------------------------------------


PRIVILEGED = "networks.actor_groups=[actor,critic]"
TRUTH = "task.observations.critic={base_lin_vel: {}}"
LOUD = "networks.last_gain=2.0"
GRU = "networks.actor_memory={cell: gru, units: 16}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run whose actor reads what only a simulation knows, and says something."""
    return trained(tmp_path_factory.mktemp("teacher") / "run")


def trained(out, *overrides):
    sets = [word for key in (PRIVILEGED, TRUTH, LOUD, *overrides) for word in ("--set", key)]
    assert cli.main(train_arguments(out, *sets)) == 0
    return out


def student(teacher, *overrides):
    chosen = ("algorithm=distill", f"distill.teacher={teacher}", "distill.latent=1", GRU, TRUTH)
    return tiny_config(*chosen, *overrides, steps=2 * BATCH, threads=1)


def test_the_rollout_has_the_teachers_latents_where_the_student_is(teacher, tmp_path):
    trainer = Trainer(student(teacher), tmp_path)
    trainer._start_episodes()
    seen = []
    step = trainer.env.step
    trainer.env.step = lambda action: seen.append(trainer.observations) or step(action)
    trainer._collect({"physics": 0.0})
    newest = Checkpoints(teacher).newest()
    actor = load_actor(Checkpoints(teacher).settings(newest), newest)
    inputs = torch.stack(
        [torch.from_numpy(join(groups, ("actor", "critic"))).float() for groups in seen]
    )
    with torch.no_grad():
        latents = actor.mlp[:-1](actor.normalizer(inputs))
    assert torch.allclose(trainer.rollout.latents, latents, rtol=0, atol=1e-5)


def test_a_blind_student_comes_to_do_and_think_as_its_privileged_teacher(teacher, tmp_path):
    """Without a weight worth the name, its latent stays another one."""
    falls = {}
    for weight in (1.0, 1e-9):
        out = tmp_path / f"weight {weight}"
        keys = (TRUTH, GRU, "num_envs=32", "ppo.epochs=8", "ppo.learning_rate=5e-3")
        keys += ("ppo.max_grad_norm=10", "distill.alone=0", f"distill.latent={weight}")
        sets = [word for key in keys for word in ("--set", key)]
        steps = 30 * 32 * ROLLOUT
        arguments = train_arguments(out, "--teacher", str(teacher), *sets, steps=steps)
        assert cli.main([*arguments, "--preset", "distill"]) == 0
        assert config.load_run(out).networks.actor_groups == ("actor",)
        errors = [np.array(column(out, name)) for name in ("imitation_error", "latent_error")]
        falls[weight] = [float(each[-5:].mean() / each[:5].mean()) for each in errors]
    actions, latents = zip(*falls.values(), strict=True)
    assert max(actions) < 0.8
    assert latents[0] < 0.8 and latents[1] > 0.95, falls


def test_a_privileged_run_goes_on_and_is_never_exported(teacher, tmp_path, capsys):
    run = shutil.copytree(teacher, tmp_path / "run")
    steps = Checkpoints(run).newest().steps
    capsys.readouterr()
    assert cli.main(["train", "go2_walk", "--out", str(run), "--resume", "--steps", "256"]) == 0
    assert Checkpoints(run).newest().steps > steps
    said = capsys.readouterr().out
    assert f"--preset distill --teacher {run}" in said and "robot-ppo export" not in said
    assert cli.main(["export", str(run), "-o", str(tmp_path / "policy.onnx")]) == 2
    assert "robot-ppo train TASK --preset distill --teacher RUN" in capsys.readouterr().err
    assert not (tmp_path / "policy.onnx").exists()


# -- what is refused ----------------------------------------------------------------------------


def refused(settings, folder, text):
    with pytest.raises(InputError, match=text):
        Trainer(settings, folder)


def test_a_student_whose_last_layer_has_another_width_is_refused(teacher, tmp_path):
    settings = student(teacher, "networks.actor=[16,24]")
    text = "student has 24 units.*teacher .*run has 16; end networks.actor with 16"
    refused(settings, tmp_path, f"distill.latent`.*{text}")
    Trainer(student(teacher, "networks.actor=[24,16]"), tmp_path)
    Trainer(student(teacher, "networks.actor=[16,24]", "distill.latent=0"), tmp_path)


def test_a_student_whose_units_cannot_say_what_the_teachers_do_is_refused(teacher, tmp_path):
    settings = student(teacher, "networks.activation=tanh")
    refused(settings, tmp_path, "distill.latent`: a layer of tanh cannot reach.*elu")


def test_a_symmetric_student_learns_the_latent_of_a_symmetric_teacher_only(teacher, tmp_path):
    tied, free = ("networks.symmetric=true", "networks.symmetric=false")
    lopsided = trained(tmp_path / "teacher", free)
    text = "distill.latent`: the student's hidden units are pairs"
    refused(student(lopsided, tied), tmp_path / "no", text)
    assert config.load_run(teacher).networks.symmetric
    for each in ((teacher, tied), (teacher, free), (lopsided, free)):
        Trainer(student(*each), tmp_path / "yes")
    Trainer(student(lopsided, tied, "distill.latent=0"), tmp_path / "actions alone")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("distill.latent=1",), "distill.latent`: does nothing without `algorithm: distill`"),
        (("algorithm=distill", "distill.latent=1", "networks.actor=[]"), "networks.actor has none"),
        (("algorithm=distill", "distill.latent=-1"), "distill.latent"),
    ],
)
def test_a_latent_that_there_is_not_is_refused(overrides, text):
    with pytest.raises(SettingError, match=text):
        tiny_config(*overrides)


def test_the_mirror_of_a_tied_actor_is_found_and_of_a_free_one_is_not():
    tied, free = distiller(tie=lambda a: symmetric.tie(a, INTO, OUT)).actor, distiller().actor
    assert symmetric.is_tied(tied, OUT) and not symmetric.is_tied(free, OUT)
    assert (len(OUT.index), len(INTO.index)) == (ACTIONS, SIZE)
