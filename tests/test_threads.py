"""Settings of the process: objects change none, commands change them and put them back."""

import numpy as np
import pytest
import torch
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from threadpoolctl import threadpool_info, threadpool_limits

from robot_ppo import cli
from robot_ppo.training.threads import single_threaded
from robot_ppo.training.train import Trainer


def settings():
    """Threads of torch and of each BLAS, and where the global random streams are."""
    blas = [x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"]
    assert blas
    return torch.get_num_threads(), blas, torch.get_rng_state().tolist(), np.random.get_state()[2]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


class Spy:
    """Stands in the logger's place: notes the settings while a training runs."""

    def __init__(self):
        self.seen = []

    def log(self, trainer, metrics, times):
        self.seen.append(settings())


def test_a_trainer_changes_nothing_when_it_is_made_nor_when_it_runs(two_threads, tmp_path):
    before = settings()
    trainer = Trainer(tiny_config(steps=ROBOTS * ROLLOUT), tmp_path)
    spy = Spy()
    assert settings() == before
    trainer.run(spy)
    assert spy.seen == [before]
    assert settings() == before


def test_the_context_holds_both_to_one_thread_and_restores_them(two_threads):
    before = settings()
    with pytest.raises(KeyError), single_threaded():
        threads, blas, *_ = settings()
        assert threads == 1 and set(blas) == {1}
        raise KeyError
    assert settings() == before
    assert before[0] == 2 and set(before[1]) == {2}


@pytest.mark.parametrize("command", ["train", "eval", "export"])
def test_a_command_computes_on_one_thread_and_restores_what_was(
    command, two_threads, tmp_path, monkeypatch, short_rollouts
):
    out = tmp_path / "run"
    seen = []
    before = settings()
    forward = torch.nn.Linear.forward
    monkeypatch.setattr(
        torch.nn.Linear, "forward", lambda *a: seen.append(settings()[:2]) or forward(*a)
    )
    assert cli.main(train_arguments(out)) == 0
    if command != "train":
        seen.clear()
        more = ["--quick"] if command == "eval" else ["-o", str(tmp_path / "policy.onnx")]
        assert cli.main([command, str(out), *more]) == 0
    assert seen and all(threads == 1 and set(blas) == {1} for threads, blas in seen)
    assert settings()[:2] == before[:2]
