"""Learning that diverges: said at once, seen by the doctor, and never written into a checkpoint."""

import numpy as np
import pytest
import torch
from env_helpers import tiny_config, train_arguments
from test_train import BATCH, Quiet, refused

from robot_ppo import cli
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo.training.train import DivergedError, Trainer

HUGE = ("ppo.learning_rate_schedule=constant", "save_every=0")


def broken(trainer, name, value):
    """Let a network's first weight be `value`."""
    with torch.no_grad():
        next(getattr(trainer.learner, name).mlp.parameters())[0, 0] = value


@pytest.mark.parametrize("name", ["actor", "critic"])
def test_weights_that_are_not_finite_are_logged_and_not_saved(name, tmp_path, monkeypatch):
    """Also where the next rollout would not notice: after the last update, or a save."""
    trainer = Trainer(tiny_config("save_every=0", steps=3 * BATCH), tmp_path)
    logged = []
    update = trainer.learner.update

    def diverging(*args):
        figures = update(*args)
        if trainer.iteration == 2:
            broken(trainer, name, np.nan)
        return figures

    monkeypatch.setattr(trainer.learner, "update", diverging)
    with pytest.raises(DivergedError) as error:
        trainer.run(Quiet(lambda t: logged.append(t.iteration)))
    assert str(error.value) == (
        f"the {name}'s weights are no longer finite after {3 * BATCH} steps: learning diverged; "
        "the last checkpoint stays: --resume --set ppo.kl_target=..., smaller, goes on from it"
    )
    assert logged == [1, 2, 3]
    assert Checkpoints(tmp_path).newest().steps == 2 * BATCH


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ((), "ppo.kl_target"),
        (("ppo.kl_target=null",), "ppo.learning_rate"),
        (("ppo.objective=trpo",), "ppo.kl_bound"),
    ],
)
def test_the_remedy_is_a_setting_that_has_an_effect(overrides, key, tmp_path):
    trainer = Trainer(tiny_config(*overrides), tmp_path)
    assert str(trainer._diverged("the policy's output is")).endswith(f"with a smaller {key}")
    assert tiny_config(*overrides, f"{key}=1e-4")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_policy_that_cannot_act_is_not_saved(tmp_path):
    """Its weights are finite and its deviation is not."""
    trainer = Trainer(tiny_config(*HUGE, steps=BATCH), tmp_path)

    def widen(trainer):
        with torch.no_grad():
            trainer.learner.actor.log_std[:] = 1e3

    words = "the policy's output is no longer finite after 64 steps: learning diverged; start anew "
    with pytest.raises(DivergedError, match=f"{words}with a smaller ppo.learning_rate$"):
        trainer.run(Quiet(widen))
    assert not Checkpoints(tmp_path).paths()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverges_says_so_and_the_doctor_agrees(tmp_path, capsys):
    sets = [word for key in (*HUGE, "ppo.learning_rate=1e30") for word in ("--set", key)]
    said = refused(train_arguments(tmp_path / "run", *sets), capsys)
    assert "no longer finite after 64 steps: learning diverged; start anew with a smaller" in said
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    assert cli.main(["doctor", str(tmp_path / "run")]) == 0
    assert "not_finite" in capsys.readouterr().out
