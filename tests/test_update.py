"""One PPO update: gradients, the learning rate, determinism, and that it learns."""

import copy
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from ppo_helpers import (
    OBJECTIVES,
    STEPS,
    N,
    bandit,
    fingerprint,
    learner,
    rollout,
    trained,
    weights,
)

from robot_ppo.ppo import actor_loss, advantages, gaussian, schedules, update
from robot_ppo.ppo.rollout import CriticSamples

# -- one gradient step, against a plain one -----------------------------------------------------

WHOLE = {"epochs": 1, "minibatches": 1, "kl_target": None, "max_grad_norm": 1e9}


def plain_step(of, experience, monkeypatch):
    """The same update written plainly: one autograd pass over everything, then torch's Adam."""
    ppo = of.config.ppo
    seen = {}
    gae = advantages.gae
    monkeypatch.setattr(
        advantages, "gae", lambda *a, **k: seen.setdefault("estimated", gae(*a, **k).clone())
    )
    actor = copy.deepcopy(of.actor)
    critic = copy.deepcopy(of.critic)
    of.update(experience)
    monkeypatch.setattr(advantages, "gae", gae)
    estimated = seen["estimated"]
    with torch.no_grad():
        returns = estimated + critic(experience.critic_inputs)
    old = gaussian.log_prob(experience.actions, experience.means, actor.log_std.detach())
    new = gaussian.log_prob(experience.actions, actor(experience.observations), actor.log_std)
    ratio = torch.exp(new - old)
    normalized = (estimated - estimated.mean()) / estimated.std()
    clipped = ratio.clamp(1 - ppo.clip, 1 + ppo.clip)
    objective = torch.minimum(ratio * normalized, clipped * normalized).mean()
    objective = objective + ppo.entropy * gaussian.entropy(actor.log_std)
    optimizer = torch.optim.Adam(actor.parameters(), ppo.learning_rate)
    (-objective).backward()
    optimizer.step()
    optimizer = torch.optim.Adam(critic.parameters(), ppo.critic_learning_rate)
    (0.5 * (critic(experience.critic_inputs) - returns).square().mean()).backward()
    optimizer.step()
    return actor, critic


def test_an_update_is_adam_on_the_clipped_objective_and_on_the_squared_error(monkeypatch):
    ours = learner(entropy=0.01, **WHOLE)
    before = weights(ours)
    experience = rollout(ours)
    plain = plain_step(ours, experience, monkeypatch)
    theirs = [p.detach() for model in plain for p in model.parameters()]
    for old, a, b in zip(before, weights(ours), theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=2e-5)
        assert not torch.allclose(a, old, rtol=0, atol=2e-5)


def gradients(chunk, monkeypatch, **ppo):
    one = learner(**(WHOLE | ppo))
    for each in (one.actor_pass, *one.critic_passes):
        monkeypatch.setattr(each, "most_rows", chunk)
    one.update(rollout(one))
    return [p.grad.clone() for m in (one.actor, one.critic) for p in m.parameters()]


@pytest.mark.parametrize("chunk", [1, 7, 119])
def test_a_minibatch_in_pieces_has_the_gradient_of_the_whole(chunk, monkeypatch):
    whole = gradients(STEPS * N, monkeypatch)
    pieces = gradients(chunk, monkeypatch)
    for a, b in zip(whole, pieces, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    assert all(g.abs().max() > 1e-4 for g in whole)


def test_gradients_are_bounded_for_actor_and_critic_separately(monkeypatch):
    free = gradients(10**6, monkeypatch)
    bounded = gradients(10**6, monkeypatch, max_grad_norm=0.05)
    actor = sum(1 for _ in learner().actor.parameters())

    def norm(tensors):
        return torch.sqrt(sum(t.square().sum() for t in tensors)).item()

    for part in (slice(None, actor), slice(actor, None)):
        assert norm(free[part]) > 0.06
        assert norm(bounded[part]) == pytest.approx(0.05, rel=1e-3)
        scale = 0.05 / norm(free[part])
        for a, b in zip(free[part], bounded[part], strict=True):
            assert torch.allclose(scale * a, b, rtol=1e-3, atol=1e-7)


def test_every_sample_is_used_once_per_epoch(monkeypatch):
    """Also where the minibatches do not divide the samples."""
    one = learner(epochs=2, minibatches=7)
    seen = []
    experience = rollout(one)
    forward = one.actor_pass.forward
    experience.observations[..., 0] = torch.arange(STEPS * N).reshape(STEPS, N)
    monkeypatch.setattr(one.actor.normalizer, "clip", 1e9)
    monkeypatch.setattr(
        one.actor_pass, "forward", lambda x: seen.append(x[:, 0].copy()) or forward(x)
    )
    one._begin(experience, 0.0)
    samples, _ = one._samples(experience)
    seen.clear()
    one._learn_actor(samples, 2)
    used = torch.from_numpy(np.concatenate(seen)).round().int()
    assert torch.equal(used.bincount(), torch.full((STEPS * N,), 2))
    assert not torch.equal(used[: STEPS * N], used[STEPS * N :])  # shuffled anew


@pytest.mark.parametrize(
    ("samples", "count", "sizes"),
    [
        (12, 4, [3, 3, 3, 3]),
        (10, 8, [1, 1, 1, 2, 1, 1, 1, 2]),  # pieces of two were five minibatches, not eight
        (10, 3, [3, 3, 4]),  # not 4, 4 and a stub of 2
        (3, 5, [1, 1, 1]),
    ],
)
def test_there_are_as_many_minibatches_as_configured_of_nearly_one_size(samples, count, sizes):
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(3)).numpy()
    rows = np.arange(samples, dtype=np.float32)
    generator = torch.Generator().manual_seed(3)
    found = list(CriticSamples(rows, rows, rows).minibatches(count, 1, generator))
    assert [len(minibatch) for minibatch in found] == sizes
    assert np.concatenate([minibatch.inputs for minibatch in found]).tolist() == order.tolist()


# -- the normalizer between updates -------------------------------------------------------------


def test_while_learning_the_normalizer_is_the_one_that_acted():
    """So the first ratio is exactly the unchanged policy's: 1."""
    one = learner(**WHOLE)
    one.update_normalizers(rollout(one, seed=5))
    figures = one.update(rollout(one))
    assert figures["ratio_max"] == pytest.approx(1, abs=1e-5)
    assert figures["kl"] == pytest.approx(0, abs=1e-8)
    assert figures["clip_fraction"] == 0


def test_a_normalizer_that_moves_before_learning_breaks_that():
    """Negative control of the test above."""
    one = learner(**WHOLE)
    with torch.no_grad():
        one.actor.mlp[-1].weight.mul_(100)
    one.update_normalizers(rollout(one, seed=5))
    experience = rollout(one)
    one.update_normalizers(experience)
    figures = one.update(experience)
    assert figures["ratio_max"] > 1.01 and figures["kl"] > 1e-4


def test_after_learning_the_rollout_is_counted():
    one = learner()
    experience = rollout(one)
    one.update(experience)
    seen = experience.observations.flatten(0, 1).double()
    assert one.actor.normalizer.count == STEPS * N
    assert torch.allclose(one.actor.normalizer.mean, seen.mean(0))
    assert one.critic.normalizer.count == STEPS * N
    seen = experience.critic_inputs.flatten(0, 1).double()
    assert torch.allclose(one.critic.normalizer.var, seen.var(0, correction=0))


# -- values at the end of an episode ------------------------------------------------------------


def test_the_bootstrap_uses_the_true_final_state_of_what_was_cut_off(monkeypatch):
    one = learner()
    seen = {}
    gae = advantages.gae

    def spy(rewards, values, next_values, *rest):
        seen.update(values=values.clone(), next_values=next_values.clone())
        return gae(rewards, values, next_values, *rest)

    monkeypatch.setattr(advantages, "gae", spy)
    experience = rollout(one)
    assert sum(len(ids) for _, ids, _ in experience.finals) > 3
    with torch.no_grad():
        values = one.critic(experience.critic_inputs)
        expected = torch.cat((values[1:], one.critic(experience.last_critic_inputs)[None]))
        following = expected.clone()
        for t, ids, final in experience.finals:
            following[t, ids] = one.critic(final)
    one.update(experience)
    assert torch.allclose(seen["values"], values, atol=1e-6)
    assert torch.allclose(seen["next_values"], following, atol=1e-6)
    # Negative control: V of the new episode's first state is another number.
    cut = experience.truncated
    assert not torch.isclose(seen["next_values"][cut], expected[cut]).any()
    assert torch.allclose(seen["next_values"][~cut], expected[~cut], atol=1e-6)


# -- determinism --------------------------------------------------------------------------------


def test_a_seed_gives_identical_weights_although_two_threads_learn():
    first = fingerprint(trained())
    assert all(fingerprint(trained()) == first for _ in range(3))
    assert fingerprint(trained(seed=1)) != first


@pytest.mark.parametrize("objective", ["clip", "kl_dual"])
def test_side_by_side_or_one_after_the_other_gives_the_same_bits(objective, monkeypatch):
    prints = set()
    for rows in (0, 10**9):
        monkeypatch.setattr(update, "SIDE_BY_SIDE", rows)
        prints.add(fingerprint(trained(objective=objective)))
    assert len(prints) == 1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_learning_that_is_taken_up_goes_on_as_if_it_had_not_stopped(objective):
    straight = trained(updates=4, objective=objective)
    first = trained(updates=2, objective=objective)
    second = learner(seed=7, objective=objective)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for i in (2, 3):
        second.update(rollout(second, seed=i))
    assert fingerprint(second) == fingerprint(straight)
    assert second.learning_rate == straight.learning_rate
    assert second.penalty == straight.penalty


# -- the learning rate --------------------------------------------------------------------------


def test_a_small_kl_raises_the_learning_rate_and_a_large_one_lowers_it():
    for target, direction in ((1e3, 1), (1e-9, -1)):
        one = learner(kl_target=target, learning_rate=1e-3)
        one.update(rollout(one))
        steps = one.config.ppo.epochs * one.config.ppo.minibatches - 1  # the first KL is zero
        assert one.learning_rate == pytest.approx(1e-3 * 1.5 ** (direction * steps), rel=0.6)
        assert (one.learning_rate > 1e-3) == (direction > 0)


def test_the_rounding_of_an_unmoved_policy_is_no_small_kl():
    """Acting and learning run other numbers of rows at once: their means differ in last bits."""
    one = learner(epochs=1, minibatches=1, kl_target=1e3, learning_rate=1e-3)
    experience = rollout(one)
    experience.means *= 1 + 1e-6
    assert 0 < one.update(experience)["kl"] < schedules.UNMOVED
    assert one.learning_rate == 1e-3
    assert schedules.by_kl(1e-3, 2 * schedules.UNMOVED, 1e3) > 1e-3


@pytest.mark.parametrize(
    ("rate", "kl", "moved"),
    [
        (1e-6, 0.1, 1e-6),  # below the least: too large a KL does not raise it
        (1e-6, 0.001, 1.5e-6),
        (0.05, 0.001, 0.05),  # above the largest: too small a KL does not lower it
        (0.05, 0.1, 0.05 / 1.5),
        (1.2e-5, 0.1, schedules.MIN_LEARNING_RATE),
        (0.9e-2, 0.001, schedules.MAX_LEARNING_RATE),
        (0.0, 0.1, 0.0),
        (0.0, 0.001, 0.0),
        (1e-3, 0.01, 1e-3),
    ],
)
def test_a_learning_rate_never_moves_the_wrong_way(rate, kl, moved):
    assert schedules.by_kl(rate, kl, 0.01) == pytest.approx(moved)


def test_without_a_target_the_learning_rate_stays():
    one = learner(kl_target=None, learning_rate=1e-3)
    assert one.update(rollout(one))["learning_rate"] == one.learning_rate == 1e-3


def test_the_learning_rate_stays_within_its_bounds():
    for target, bound in ((1e3, schedules.MAX_LEARNING_RATE), (1e-9, schedules.MIN_LEARNING_RATE)):
        one = learner(kl_target=target, learning_rate=1e-3, epochs=30)
        one.update(rollout(one))
        assert one.learning_rate == pytest.approx(bound, rel=0.51)
        assert schedules.MIN_LEARNING_RATE <= one.learning_rate <= schedules.MAX_LEARNING_RATE


def test_the_rate_of_the_actor_is_the_one_that_is_applied():
    """With a rate of (nearly) zero the actor stays where it is, and the critic does not."""
    one = learner(learning_rate=1e-12, kl_target=None)
    before = copy.deepcopy(one.actor.mlp.state_dict()), copy.deepcopy(one.critic.mlp.state_dict())
    one.update(rollout(one))
    for old, model, same in ((before[0], one.actor, True), (before[1], one.critic, False)):
        now = model.mlp.state_dict()
        assert all(torch.allclose(old[k], now[k], rtol=0, atol=1e-9) for k in old) == same


# -- what it is for -----------------------------------------------------------------------------


@pytest.mark.parametrize(("bonus", "rises"), [(0.0, False), (0.05, True)])
def test_the_entropy_bonus_raises_the_deviation(bonus, rises):
    """Where nothing is better than anything else, it is the only force."""
    one = learner(entropy=bonus, kl_target=None, learning_rate=1e-2)
    for p in one.critic.mlp.parameters():
        torch.nn.init.zeros_(p)
    for i in range(5):
        experience = rollout(one, seed=i)
        experience.rewards.zero_()
        figures = one.update(experience)
    assert (figures["std"] > 0.55) == rises
    assert rises or figures["std"] == pytest.approx(0.5, abs=1e-6)


def test_a_contextual_bandit_is_learned():
    errors, figures = bandit(100)
    assert errors[0] > 0.4
    assert errors[-1] < 0.15
    assert figures["std"] < 0.25  # and it has become sure


def test_an_actor_that_may_not_move_learns_nothing():
    """Negative control of the test above."""
    errors, _ = bandit(10, kl_target=None, learning_rate=1e-12)
    assert errors[-1] > 0.4


@pytest.mark.parametrize("schedule", ["constant", "kl"])
def test_a_resumed_run_takes_a_new_learning_rate_unless_the_kl_has_moved_it(schedule):
    saved = learner(learning_rate=1e-3, learning_rate_schedule=schedule).state_dict()
    resumed = learner(learning_rate=1e-4, learning_rate_schedule=schedule)
    resumed.load_state_dict(saved)
    assert resumed.learning_rate == (1e-3 if schedule == "kl" else 1e-4)


# -- how a reader gets there --------------------------------------------------------------------


def test_four_calls_in_two_files_lead_from_the_training_loop_to_the_gradient(monkeypatch):
    one = learner(**WHOLE)
    found = []

    def differentiate(*args):
        stack = traceback.extract_stack()
        found.extend(f for f in stack if Path(f.filename).parent.name == "ppo")
        return original(*args)

    original = actor_loss.ActorLoss.differentiate
    monkeypatch.setattr(actor_loss.ActorLoss, "differentiate", differentiate)
    one.update(rollout(one))
    calls = [f.name for f in found if f.name != "_side_by_side"]  # which hands jobs to threads
    assert calls[:3] == ["update", "_learn_actor", "_actor_gradient"]  # and differentiate
    assert {Path(f.filename).name for f in found} == {"update.py"}  # then actor_loss.py
