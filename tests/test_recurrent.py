"""PPO over sequences: the memory that acted is the one that learns, across ends and rollouts."""

import copy

import msgspec
import pytest
import torch
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
    trained,
    weights,
)

from robot_ppo.config import MemorySpec
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import advantages, gaussian, symmetric
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.rollout import ActorSamples
from robot_ppo.ppo.sequences import by_sequence, records, starts_of
from robot_ppo.ppo.update import Learner
from robot_ppo_export.errors import InputError

WHOLE = {"epochs": 1, "minibatches": 1, "kl_target": None, "max_grad_norm": 1e9}
CELLS = ("gru", "lstm")


def remembering(cell, **changes):
    memory = MemorySpec(cell=cell, units=12)
    return msgspec.structs.replace(NETWORKS, actor_memory=memory, critic_memory=memory, **changes)


@pytest.mark.parametrize("std", ["global", "state"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_first_pass_over_the_sequences_is_the_policy_that_acted(cell, std):
    one = learner(networks=remembering(cell, std=std, last_gain=1.0), **WHOLE)
    experience = rollout(one, end=0.2)
    assert (experience.terminated | experience.truncated).sum() > 10
    figures = one.update(experience)
    assert figures["ratio_max"] == pytest.approx(1, abs=1e-4)
    assert figures["kl"] == pytest.approx(0, abs=1e-8)


def without_ends(experience):
    experience.terminated[:] = False


def without_the_state(experience):
    experience.state.zero_()


@pytest.mark.parametrize("spoil", [without_ends, without_the_state])
def test_negative_control_another_memory_is_another_policy(spoil):
    one = learner(networks=remembering("gru", last_gain=1.0), **WHOLE)
    experience = rollout(one, end=0.2)
    spoil(experience)
    assert one.update(experience)["ratio_max"] > 1.01


def plain_values(critic, inputs, starts, state):
    """Normalized values (T, n) and states, step by step."""
    found = []
    states = []
    for x, begins in zip(inputs, starts, strict=True):
        state = state * ~begins[:, None]
        features, after = critic.memory(
            critic.normalizer(x)[None], torch.zeros(1, len(x), dtype=torch.bool), state
        )
        state = after[0]
        found.append(critic.mlp(features[0]).squeeze(-1))
        states.append(state)
    return torch.stack(found), torch.stack(states)


@pytest.mark.parametrize("cell", CELLS)
def test_values_are_those_of_the_memory_at_each_state(cell):
    """Also of true final states, and of the state after the rollout."""
    one = learner(networks=remembering(cell), **WHOLE)
    experience = rollout(one, end=0.2)
    one.values.state = torch.rand(N, one.critic.state_size)
    with torch.no_grad():
        _, values, following = one.values(experience)
        starts = starts_of(experience)
        wanted, states = plain_values(
            one.critic, experience.critic_inputs, starts, one.values.state
        )
        assert torch.allclose(values, wanted, rtol=0, atol=1e-5)
        ended = experience.terminated | experience.truncated
        assert torch.allclose(following[:-1][~ended[:-1]], wanted[1:][~ended[:-1]], atol=1e-5)
        for t, ids, final in experience.finals:
            alone = one.critic.step(final, states[t, ids])
            assert torch.allclose(following[t, ids], alone, rtol=0, atol=1e-5)
        last = one.critic.step(experience.last_critic_inputs, states[-1])
        on = ~ended[-1]
        assert on.any() and torch.allclose(following[-1, on], last[on], rtol=0, atol=1e-5)
    assert len(experience.finals) > 0
    one.values.advance()
    assert torch.equal(one.values.state[~on], torch.zeros_like(one.values.state[~on]))
    assert torch.allclose(one.values.state[on], states[-1, on], rtol=0, atol=1e-5)


def test_an_update_is_adam_on_the_objective_over_sequences(monkeypatch):
    """Step by step through torch's own cell, by autograd alone."""
    one = learner(networks=remembering("gru"), entropy=0.01, **WHOLE)
    experience = rollout(one, end=0.2)
    seen = {}
    gae = advantages.gae
    monkeypatch.setattr(
        advantages, "gae", lambda *a, **k: seen.setdefault("found", gae(*a, **k).clone())
    )
    actor = copy.deepcopy(one.actor)
    one.update(experience)
    ppo = one.config.ppo
    cell = torch.nn.GRUCell(SIZE, 12)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(actor.memory, name))
    state = experience.state
    means = []
    for x, begins in zip(experience.observations, starts_of(experience), strict=True):
        state = cell(actor.normalizer(x), state * ~begins[:, None])
        means.append(actor.mlp(state))
    old = gaussian.log_prob(experience.actions, experience.means, actor.log_std.detach())
    ratio = torch.exp(
        gaussian.log_prob(experience.actions, torch.stack(means), actor.log_std) - old
    )
    normalized = (seen["found"] - seen["found"].mean()) / seen["found"].std()
    clipped = ratio.clamp(1 - ppo.clip, 1 + ppo.clip)
    objective = torch.minimum(ratio * normalized, clipped * normalized).mean()
    objective = objective + ppo.entropy * gaussian.entropy(actor.log_std)
    optimizer = torch.optim.Adam(actor.parameters(), ppo.learning_rate)
    (-objective).backward()
    before = [p.detach().clone() for p in actor.parameters()]
    optimizer.step()
    for old_one, a, b in zip(before, one.actor.parameters(), actor.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=5e-5)
        assert not torch.allclose(a, old_one, rtol=0, atol=1e-4)


def test_minibatches_hold_whole_sequences_and_every_one_once_per_epoch():
    one = learner(networks=remembering("gru"))
    experience = rollout(one)
    experience.actions[..., 0] = torch.arange(STEPS * N).reshape(STEPS, N)
    one._begin(experience, 0.0)
    samples, for_critic = one._samples(experience)
    assert len(samples) == len(for_critic) == N and samples.count == STEPS * N
    seen = []
    for minibatch in samples.minibatches(3, 1, one.generators[0]):
        steps = minibatch.steps()
        assert len(steps) == len(minibatch) * STEPS
        numbers = steps.actions[:, 0].reshape(-1, STEPS)
        assert (numbers[:, 1:] - numbers[:, :-1] == N).all()  # one simulation, step after step
        seen += numbers[:, 0].tolist()
    assert sorted(seen) == list(range(N))


def test_a_sample_is_a_record_of_one_simulation():
    one = learner(networks=remembering("lstm"))
    experience = rollout(one)
    starts = starts_of(experience)
    samples = records(experience.observations, starts, experience.state)
    some = samples.take([3, 1], 0)
    assert (some["observations"][0] == experience.observations[:, 3].numpy()).all()
    assert (some["starts"][1] == starts[:, 1].numpy()).all()
    assert (some["state"][1] == experience.state[1].numpy()).all()


def test_of_one_step_a_sequence_is_the_step():
    """T = 1: samples are still sequences, and their steps are rows."""
    one = learner(networks=remembering("gru"), **WHOLE)
    experience = rollout(one, steps=1)
    inputs = records(experience.observations, starts_of(experience), experience.state)
    flat = torch.zeros(1, N)
    samples = ActorSamples.of(
        experience, inputs, by_sequence, one.actor.log_std.detach().numpy(), flat
    )
    assert samples.actions.shape == (N, 1, ACTIONS)
    assert samples.steps().actions.shape == (N, ACTIONS)
    assert one.update(experience)["ratio_max"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_an_update_repeats_to_the_bit(cell):
    assert fingerprint(trained(networks=remembering(cell))) == fingerprint(
        trained(networks=remembering(cell))
    )


def test_the_actor_alone_may_remember():
    networks = msgspec.structs.replace(remembering("gru"), critic_memory=None)
    one = learner(networks=networks)
    before = weights(one)
    one.update(rollout(one))
    assert all(not torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))
    assert one.values.state is None


def test_a_critic_alone_may_remember():
    networks = msgspec.structs.replace(remembering("gru"), actor_memory=None)
    one = learner(networks=networks)
    experience = rollout(one)
    one.update(experience)
    assert one.values.state.shape == (N, 12)
    assert one.actor_pass.most_rows is not None  # the passes of a plain MLP


def test_what_a_network_with_a_memory_says_needs_its_memory():
    actor = Actor(SIZE, ACTIONS, remembering("gru"))
    with pytest.raises(TypeError, match="over sequences"):
        actor.distribution(torch.zeros(1, SIZE))


def test_the_critic_groups_have_another_size():
    assert learner(networks=remembering("gru")).critic.memory.weight_ih.shape[1] == CRITIC_SIZE


# -- left and right alike -------------------------------------------------------------------------

INTO = Mirror.of([1, 0, 2, 3, 4], [1, 1, -1, 1, 1])
OUT = Mirror.of([1, 0, 2], [1, 1, -1])


def symmetric_learner(cell):
    networks = remembering(cell, last_gain=1.0)
    config = learner(networks=networks, critic_learning_rate=1e-2).config
    torch.manual_seed(0)
    actor = Actor(SIZE, ACTIONS, networks)
    symmetric.tie(actor, INTO, OUT)
    critic = Critic(CRITIC_SIZE, networks, False)
    symmetric.tie_critic(critic, Mirror.identity(CRITIC_SIZE))
    return Learner(config, actor, critic)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_stays_its_own_mirror_image_while_it_learns(cell):
    one = symmetric_learner(cell)
    x = torch.randn(5, 4, SIZE, generator=torch.Generator().manual_seed(1))
    image = torch.from_numpy(INTO(x.numpy()))
    starts = torch.rand(5, 4, generator=torch.Generator().manual_seed(2)) < 0.2
    empty = torch.zeros(4, one.actor.state_size)
    before = one.actor.unroll(x, starts, empty)[0].detach().numpy()
    for i in range(3):
        one.update(rollout(one, seed=i))
        with torch.no_grad():
            mean = one.actor.unroll(x, starts, empty)[0].numpy()
            mirrored = one.actor.unroll(image, starts, empty)[0].numpy()
        assert abs(OUT(mean) - mirrored).max() < 1e-5
    assert abs(mean - before).max() > 1e-2 and abs(mean - mirrored).max() > 0.1


def test_a_cell_of_an_odd_number_of_units_is_refused():
    networks = msgspec.structs.replace(NETWORKS, actor_memory=MemorySpec(units=7))
    with pytest.raises(InputError, match="the hidden layer of 7 units cannot be symmetric"):
        symmetric.tie(Actor(SIZE, ACTIONS, networks), INTO, OUT)
