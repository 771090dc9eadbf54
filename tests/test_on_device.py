"""The learner on a device: what it learns on the CPU is what the CPU's own learner learns.

No GPU is needed: torch's device `meta` has shapes and no numbers.
"""

import re

import numpy as np
import pytest
import torch
from env_helpers import replace
from ppo_helpers import (
    ACTIONS,
    CRITIC_SIZE,
    NETWORKS,
    SIZE,
    STEPS,
    N,
    fingerprint,
    learner,
    rollout,
)

from robot_ppo import cli
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import learners, on_device, symmetric
from robot_ppo.ppo.actor_loss import ActorLoss
from robot_ppo.ppo.distill import Distiller
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.on_device import DeviceLearner, DeviceParameters
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.ranks import Ranks
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.ppo.update import Learner
from robot_ppo_export.errors import InputError

SETTINGS = [
    {"learning_rate_schedule": "kl", "kl_target": 0.01, "entropy": 0.01},
    {"objective": "kl_adaptive", "normalize_advantages": "minibatch", "stop_kl": 0.5},
    {"normalize_returns": True, "recompute_advantages": True, "value_clip": 0.2},
    {"objective": "clip", "estimator": "rewards_to_go", "max_grad_norm": 0.1},
    {"estimator": "group_relative", "group_size": 5},
]


def pair(**settings):
    """A learner of each kind, with equal networks."""
    plain = learner(**settings)
    twin = learner(**settings)
    return plain, DeviceLearner(twin.config, twin.actor, twin.critic)


@pytest.mark.parametrize("settings", SETTINGS)
def test_both_learners_learn_the_same(settings):
    """To 2e-5 of weights near 1 after three updates: sums are added in another order."""
    plain, other = pair(**settings)
    before = {k: v.clone() for k, v in plain.state_dict()["actor"].items()}
    for i in range(3):
        experience = rollout(plain, seed=i)
        wanted = plain.update(experience)
        found = other.update(experience)
        assert set(found) == set(wanted)
        for name in found:
            assert found[name] == pytest.approx(wanted[name], rel=2e-3, abs=2e-5), name
        for name in ("actor", "critic"):
            for key, value in plain.state_dict()[name].items():
                assert torch.allclose(other.state_dict()[name][key], value, atol=2e-5), key
        # What is compared next starts from equal weights: an error of one does not grow in both.
        other.load_state_dict(plain.state_dict())
    moved = max((plain.state_dict()["actor"][k] - v).abs().max() for k, v in before.items())
    assert moved > 1e-3


def test_a_gradient_is_made_symmetric_and_clipped_as_on_the_cpu():
    plain, other = (symmetric_actor() for _ in range(2))
    parameters = FlatParameters(plain), DeviceParameters(other)
    for one in parameters:
        one.gradient.copy_(torch.arange(len(one.gradient)) * 0.01)
        one.symmetrize_gradient()
    for limit in (1e3, 0.5):
        lengths = [one.clip_grad_norm(limit) for one in parameters]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
        assert torch.allclose(parameters[0].gradient, parameters[1].gradient, rtol=1e-6)
    assert parameters[1].gradient.norm() == pytest.approx(0.5, rel=1e-4)


def symmetric_actor():
    actor = Actor(4, 2, NETWORKS)
    symmetric.tie(actor, Mirror.halves(4), Mirror.halves(2))
    return actor


def test_the_policy_is_the_same_and_a_state_dict_goes_on_on_the_cpu():
    plain, other = pair()
    observations = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(4, 0)
    pairs = zip(plain.policy(observations, none), other.policy(observations, none), strict=True)
    for a, b in pairs:
        assert torch.allclose(a, b, atol=1e-6)
    other.update(rollout(other))
    plain.load_state_dict(other.state_dict())
    assert fingerprint(plain) == fingerprint(other)


def test_every_tensor_of_an_update_is_on_the_learners_device():
    """`meta` computes nothing, and refuses an operation on tensors of two devices."""
    config = replace(learner(normalize_returns=True).config, device="meta")
    actor = Actor(SIZE, ACTIONS, NETWORKS)
    one = DeviceLearner(config, actor, Critic(CRITIC_SIZE, NETWORKS, True))
    experience = Rollout.empty(STEPS, N, SIZE, CRITIC_SIZE, ACTIONS, device="meta")
    experience.last_critic_inputs = torch.zeros(N, CRITIC_SIZE)  # as environments give it
    experience.finals = [(2, torch.tensor([1, 3]), torch.zeros(2, CRITIC_SIZE))]
    old = np.zeros(ACTIONS, np.float32)
    one.loss = ActorLoss(one.objective, one._coefficients(), old, 0.01)
    for_actor, for_critic = one._samples(experience)
    assert for_critic is not None
    minibatch = next(for_actor.minibatches(3, 1, torch.Generator()))
    found = [*for_actor.arrays(), *for_critic.arrays(), *minibatch.arrays()]
    found += [*one.actor_backward(minibatch).values(), one.critic_backward(for_critic)]
    one.critic.update_returns(for_critic.returns)
    for parameters, optimizer in (
        (one.actor_parameters, one.actor_optimizer),
        (one.critic_parameters, one.critic_optimizer),
    ):
        parameters.symmetrize_gradient()
        found.append(parameters.clip(1.0))
        optimizer.step(1e-3)
        found += [parameters.vector, parameters.gradient, *optimizer.state_dict().values()]
    one.update_normalizers(experience)
    found += [*one.actor.state_dict().values(), *one.critic.state_dict().values()]
    assert {x.device.type for x in found} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):  # negative control
        _ = experience.rewards + torch.zeros(STEPS, N)


@pytest.mark.parametrize(
    "device, sentence",
    [
        ("cuda", "`device: cuda`: torch finds no GPU"),
        ("cuda:1", "`device: cuda:1`: torch finds no GPU"),
        ("meta", "networks learn on cpu, cuda or cuda:N"),
        ("gpu", "`device: gpu`: is no device; cpu, cuda or cuda:N"),
    ],
)
def test_a_device_that_is_not_there_is_one_sentence(device, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = replace(learner().config, device=device)
    with pytest.raises(InputError, match=re.escape(sentence)):
        on_device.check(config, Ranks())


def test_the_configuration_says_which_learner_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    one = learner()
    networks = (one.actor, one.critic, Ranks())
    assert type(learners.make(one.config, *networks)) is Learner
    imitation = replace(one.config, algorithm="distill")
    assert type(learners.make(imitation, *networks)) is Distiller
    with pytest.raises(InputError, match="torch finds no GPU"):
        learners.make(replace(one.config, device="cuda"), *networks)


def test_what_learns_on_the_cpu_alone_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_device.check(replace(learner().config, device="cuda"), Ranks())
    with pytest.raises(InputError, match="learns on the CPU"):
        on_device.check(replace(learner(objective="trpo").config, device="cuda"), Ranks())
    two = Ranks()
    two.size = 2
    with pytest.raises(InputError, match="learns in one process"):
        on_device.check(replace(learner().config, device="cuda"), two)


def test_a_run_is_told_where_it_learns(tmp_path, capsys):
    words = [
        "train",
        "InvertedDoublePendulum-v5",
        "--out",
        str(tmp_path / "run"),
        "--device",
        "tpu9",
    ]
    assert cli.main(words) == 2
    assert "`device: tpu9`: is no device" in capsys.readouterr().err
