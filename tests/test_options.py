"""What a preset can turn on or off in an update, each by its effect."""

import copy

import env_helpers as helpers
import numpy as np
import pytest
import torch
from ppo_helpers import (
    NETWORKS,
    OBJECTIVES,
    SIZE,
    bandit,
    fingerprint,
    learner,
    rollout,
    weights,
)

from robot_ppo.ppo import actor_loss, advantages, schedules


def after(progress=0.0, updates=1, **kwargs):
    """Return a learner after updates, and the figures of the last."""
    one = learner(**kwargs)
    for i in range(updates):
        figures = one.update(rollout(one, seed=i), progress)
    return one, figures


# -- objectives ---------------------------------------------------------------------------------


def test_every_objective_gives_other_weights():
    prints = {fingerprint(after(updates=3, objective=o)[0]) for o in OBJECTIVES}
    assert len(prints) == len(OBJECTIVES)


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o != "unclipped"])
def test_every_objective_but_the_control_learns_the_bandit(objective):
    errors, figures = bandit(60, objective=objective, kl_bound=0.05, beta=0.3)
    assert errors[0] > 0.4 and errors[-1] < 0.25
    assert figures["std"] < 0.45


FAST = {"learning_rate": 3e-3, "kl_target": None, "epochs": 20, "max_grad_norm": 1e9}
"""Steps that are too large, without anything that makes them smaller."""


def test_without_clip_or_price_the_policy_runs_away():
    kls = {o: after(objective=o, beta=3.0, **FAST)[1]["kl"] for o in OBJECTIVES}
    bounded = [kl for objective, kl in kls.items() if objective != "unclipped"]
    assert kls["unclipped"] > 3 * max(bounded)


def test_the_price_brings_the_kl_to_its_bound():
    late = {}
    for objective in ("kl_fixed", "kl_adaptive", "kl_dual"):
        one = learner(objective=objective, beta=0.1, kl_bound=0.02, **(FAST | {"epochs": 10}))
        figures = [one.update(rollout(one, seed=i)) for i in range(30)]
        late[objective] = sum(f["kl_after"] for f in figures[20:]) / 10
        before = figures[-2]["beta"]
        last = figures[-1]
        assert (before == last["beta"] == one.penalty.beta) == (objective == "kl_fixed")
    assert late["kl_fixed"] > 0.06
    assert 0.01 < late["kl_adaptive"] < 0.04
    assert 0.01 < late["kl_dual"] < 0.04


def test_a_fixed_price_stays_and_is_logged():
    one, figures = after(updates=3, objective="kl_fixed", beta=0.7)
    assert figures["beta"] == one.penalty.beta == 0.7
    assert "beta" not in after(objective="clip")[1]


def test_beta_is_saved_and_a_new_objective_starts_with_its_own():
    one, _ = after(updates=3, objective="kl_dual")
    state = copy.deepcopy(one.state_dict())
    assert state["beta"] == one.penalty.beta != 1.0
    two = learner(objective="kl_dual")
    two.load_state_dict(state)
    assert two.penalty.beta == one.penalty.beta
    three = learner(objective="kl_dual")
    three.load_state_dict(learner(objective="clip").state_dict())
    assert three.penalty.beta == 1.0


# -- schedules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("progress", "left"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0), (1.5, 0.0)])
def test_a_linear_schedule_goes_from_one_end_to_the_other(progress, left):
    assert schedules.linear(3.0, 1.0, progress) == 1.0 + 2.0 * left
    assert schedules.linear(3.0, None, progress) == 3.0


def test_a_linear_learning_rate_falls_for_actor_and_critic():
    one, figures = after(progress=0.25, learning_rate_schedule="linear", learning_rate=1e-3)
    assert figures["learning_rate"] == pytest.approx(0.75e-3)
    assert one.critic_learning_rate == pytest.approx(0.75e-3)
    still = learner(learning_rate_schedule="linear")
    old = weights(still)
    still.update(rollout(still), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(old, weights(still), strict=True))


def test_a_constant_learning_rate_does_not_follow_the_kl():
    for target in (1e3, 1e-9):
        one, _ = after(learning_rate_schedule="constant", kl_target=target)
        assert one.learning_rate == 1e-3
        assert after(learning_rate_schedule="kl", kl_target=target)[0].learning_rate != 1e-3


def test_the_learning_rate_follows_the_kl_under_any_objective():
    for objective in ("kl_dual", "kl_fixed", "unclipped"):
        assert after(objective=objective, kl_target=1e3)[0].learning_rate > 1e-3


def quiet_std(progress, **kwargs):
    """The deviation after updates in which nothing is better than anything else."""
    one = learner(kl_target=None, learning_rate=1e-2, **kwargs)
    for p in one.critic.mlp.parameters():
        torch.nn.init.zeros_(p)
    for i in range(5):
        experience = rollout(one, seed=i)
        experience.rewards.zero_()
        figures = one.update(experience, progress)
    return figures["std"]


def test_the_entropy_bonus_follows_its_schedule():
    assert quiet_std(0.0, entropy=0.05, entropy_end=0.0) > 0.55
    assert quiet_std(1.0, entropy=0.05, entropy_end=0.0) == pytest.approx(0.5, abs=1e-6)
    assert quiet_std(1.0, entropy=0.05) > 0.55
    half = after(0.5, entropy=0.05, entropy_end=0.01)[0]
    assert half.entropy_weight == pytest.approx(0.03)


# -- early stop ---------------------------------------------------------------------------------


def test_the_actors_epochs_end_at_the_kl_and_the_critics_do_not():
    free, _ = after(**FAST)
    stopped, figures = after(**FAST, stop_kl=0.05)
    assert 0 < figures["actor_steps"] < 20 * 3
    assert figures["kl"] < 0.05 < after(**FAST)[1]["kl"]
    actor = len(list(free.actor.parameters()))
    a = weights(free)
    b = weights(stopped)
    assert all(torch.equal(x, y) for x, y in zip(a[actor:], b[actor:], strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(a[:actor], b[:actor], strict=True))


def test_a_stop_that_is_never_reached_changes_nothing():
    one, figures = after(stop_kl=1e6)
    assert figures["actor_steps"] == 2 * 3
    assert fingerprint(one) == fingerprint(after()[0])


def test_a_stop_holds_for_recomputed_advantages_too():
    figures = after(**FAST, stop_kl=0.05, recompute_advantages=True)[1]
    assert 0 < figures["actor_steps"] < 20 * 3


# -- advantages ---------------------------------------------------------------------------------


def estimates(monkeypatch, **kwargs):
    """Return the advantages of every minibatch of one epoch, and the raw ones."""
    seen = []
    raw = []
    gae = advantages.gae
    differentiate = actor_loss.ActorLoss.differentiate

    def spy(loss, mean, log_std, samples, whole):
        seen.append(torch.tensor(samples.advantages))
        return differentiate(loss, mean, log_std, samples, whole)

    one = learner(epochs=1, **kwargs)
    monkeypatch.setattr(actor_loss.ActorLoss, "differentiate", spy)
    monkeypatch.setattr(advantages, "gae", lambda *a: raw.append(gae(*a)) or raw[-1])
    one.update(rollout(one))
    return seen, raw[0]


def test_advantages_normalized_per_batch_are_so_over_the_batch_only(monkeypatch):
    seen, _ = estimates(monkeypatch, normalize_advantages="batch")
    assert len(seen) == 3
    assert torch.cat(seen).mean() == pytest.approx(0, abs=1e-6)
    assert torch.cat(seen).std() == pytest.approx(1, abs=1e-5)
    assert all(abs(some.mean()) > 1e-3 for some in seen)


def test_advantages_normalized_per_minibatch_are_so_in_every_one(monkeypatch):
    seen, _ = estimates(monkeypatch, normalize_advantages="minibatch")
    for some in seen:
        assert some.mean() == pytest.approx(0, abs=1e-6)
        assert some.std() == pytest.approx(1, abs=1e-5)


def test_advantages_that_are_not_normalized_are_what_was_estimated(monkeypatch):
    seen, raw = estimates(monkeypatch, normalize_advantages="none")
    assert torch.equal(torch.cat(seen).sort()[0], raw.flatten().sort()[0])


def rounds(monkeypatch, **kwargs):
    """Return the actor's samples, the critic's and the epochs of every round of one update."""
    one = learner(epochs=3, **kwargs)
    actor = []
    critic = []
    learn_actor = one._learn_actor
    learn_critic = one._learn_critic
    monkeypatch.setattr(one, "_learn_actor", lambda *a: actor.append(a) or learn_actor(*a))
    monkeypatch.setattr(one, "_learn_critic", lambda *a: critic.append(a) or learn_critic(*a))
    figures = one.update(rollout(one))
    return [(a[0], c[0], a[1]) for a, c in zip(actor, critic, strict=True)], figures


def test_recomputed_advantages_are_new_and_the_policy_that_acted_is_the_same(monkeypatch):
    seen, figures = rounds(monkeypatch, recompute_advantages=True)
    assert [epochs for _, _, epochs in seen] == [1, 1, 1]
    (first, critic, _), (second, other, _), _ = seen
    assert not np.allclose(first.advantages, second.advantages)
    assert not np.allclose(critic.values, other.values)
    assert np.array_equal(first.log_probs, second.log_probs)
    assert np.array_equal(first.means, second.means)
    assert figures["kl"] > 0 and "explained_variance" in figures


def test_without_it_they_are_computed_once(monkeypatch):
    seen, _ = rounds(monkeypatch)
    assert [epochs for _, _, epochs in seen] == [3]


def test_rewards_to_go_need_no_value_of_where_they_start(monkeypatch):
    (first, critic, _), *_ = rounds(monkeypatch, estimator="rewards_to_go")[0]
    one = learner()
    experience = rollout(one)
    with torch.no_grad():
        _, values, following = one.values(experience)
    ends = experience.terminated, experience.truncated
    sums = advantages.rewards_to_go(experience.rewards, following, *ends, 0.97)
    assert np.allclose(critic.returns, sums.flatten())
    assert np.allclose(first.advantages, advantages.normalize(sums).flatten(), atol=1e-5)
    estimated = advantages.gae(experience.rewards, values, following, *ends, 0.97, 0.9)
    assert not np.allclose(critic.returns, (estimated + values).flatten(), atol=1e-2)


# -- the critic ---------------------------------------------------------------------------------


def explained(normalize_returns, scale):
    """How much a critic explains of rewards that it can know, after a while."""
    one = learner(
        normalize_returns=normalize_returns, critic_learning_rate=3e-3, epochs=5, kl_target=None
    )
    for i in range(25):
        experience = rollout(one, seed=i, end=0.0)
        experience.terminated[:] = True
        experience.truncated[:] = False
        experience.finals = []
        experience.rewards[:] = scale * (3 + experience.critic_inputs[..., 0].sin())
        figures = one.update(experience)
    return figures["explained_variance"]


def test_normalized_returns_are_learned_at_any_scale():
    assert explained(True, 1.0) > 0.7
    assert explained(True, 1000.0) > 0.7
    assert explained(False, 1.0) > 0.7
    assert explained(False, 1000.0) < 0.1  # negative control


def test_normalized_returns_are_taken_up_with_their_statistics():
    one, _ = after(updates=2, normalize_returns=True)
    two = learner(seed=7, normalize_returns=True)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    experience = rollout(one, seed=9)
    for of in (one, two):
        of.update(experience)
    assert fingerprint(one) == fingerprint(two)


def test_a_bounded_value_moves_less():
    def change(value_clip):
        one = learner(value_clip=value_clip, critic_learning_rate=1e-2, epochs=10)
        experience = rollout(one)
        normalizer = copy.deepcopy(one.critic.normalizer)  # as before the update
        x = normalizer(experience.critic_inputs)
        with torch.no_grad():
            old = one.critic.mlp(x)
            one.update(experience)
            return (one.critic.mlp(x) - old).abs().mean()

    assert change(0.01) < 0.5 * change(None)


# -- the deviation ------------------------------------------------------------------------------

OWN = helpers.replace(NETWORKS, std="state")


def test_with_a_deviation_per_state_the_first_ratio_is_one():
    whole = {"epochs": 1, "minibatches": 1, "kl_target": None}
    one = learner(networks=OWN, **whole)
    with torch.no_grad():
        one.actor.log_std_head.weight.mul_(50)
    figures = one.update(rollout(one))
    assert figures["ratio_max"] == pytest.approx(1, abs=1e-5)
    assert figures["kl"] == pytest.approx(0, abs=1e-7)
    # Negative control: the common deviation is not that of the policy that acted.
    two = learner(networks=OWN, **whole)
    with torch.no_grad():
        two.actor.log_std_head.weight.mul_(50)
    experience = rollout(two)
    experience.log_stds[:] = two.actor.log_std.detach()
    assert two.update(experience)["ratio_max"] > 1.01


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_deviation_per_state_learns_where_to_be_sure(objective):
    """Half of the states do not care what is done; with one for all, all are equal."""
    ppo = {"objective": objective, "epochs": 5, "kl_bound": 0.05, "beta": 0.3, "entropy": 0.02}
    one = learner(networks=OWN, **ppo)
    for i in range(20):
        experience = rollout(one, seed=i, steps=4, n=64)
        cares = experience.observations[..., 0] > 0
        experience.critic_inputs[..., :SIZE] = experience.observations
        experience.rewards[:] = -experience.actions.square().sum(-1) * cares
        experience.terminated[:] = True
        experience.truncated[:] = False
        experience.finals = []
        figures = one.update(experience)
    x = torch.randn(500, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        std = one.actor.distribution(x)[1].exp().mean(-1)
    assert std[x[:, 0] > 0.3].mean() < 0.8 * std[x[:, 0] < -0.3].mean()
    assert figures["std"] > 0


def test_a_bounded_deviation_does_not_grow_past_its_bound():
    bounded = helpers.replace(NETWORKS, log_std_range=(-3.0, -0.6))
    loud = {"entropy": 0.5, "learning_rate": 1e-2, "kl_target": None, "updates": 10, "epochs": 5}
    assert after(networks=bounded, **loud)[1]["std"] < torch.tensor(-0.6).exp()
    assert after(**loud)[1]["std"] > 0.8  # negative control


def test_a_state_deviation_is_taken_up():
    one, _ = after(updates=2, networks=OWN)
    two = learner(seed=7, networks=OWN)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    experience = rollout(one, seed=9)
    for of in (one, two):
        of.update(experience)
    assert fingerprint(one) == fingerprint(two)
