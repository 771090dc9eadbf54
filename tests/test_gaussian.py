"""Diagonal Gaussians, against torch.distributions and against sampling."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from robot_ppo.ppo import gaussian

B = 50
K = 6


def parameters(seed, per_sample):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(B, K, generator=generator, dtype=torch.float64)
    shape = (B, K) if per_sample else (K,)
    return mean, 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def distribution(mean, log_std):
    return Independent(Normal(mean, log_std.exp().expand_as(mean)), 1)


@pytest.fixture(params=[False, True], ids=["shared std", "std per sample"])
def p(request):
    return parameters(0, request.param)


@pytest.fixture
def q(p):
    return parameters(1, p[1].ndim == 2)


def test_log_prob_is_that_of_torch(p):
    x = parameters(2, False)[0]
    expected = distribution(*p).log_prob(x)
    assert torch.allclose(gaussian.log_prob(x, *p), expected, rtol=1e-12)


def test_entropy_is_that_of_torch(p):
    expected = distribution(*p).entropy()
    assert torch.allclose(gaussian.entropy(p[1]).expand(B), expected, rtol=1e-12)


def test_kl_is_that_of_torch(p, q):
    expected = kl_divergence(distribution(*p), distribution(*q))
    assert torch.allclose(gaussian.kl(*p, *q), expected, rtol=1e-10)


def test_kl_is_the_mean_log_ratio_of_samples(p, q):
    torch.manual_seed(0)
    x = distribution(*p).sample((5_000,))
    ratios = gaussian.log_prob(x, *p) - gaussian.log_prob(x, *q)
    error = ratios.std(0) / len(x) ** 0.5
    assert (((ratios.mean(0) - gaussian.kl(*p, *q)) / error).abs() < 5).all()  # standard errors


def test_kl_of_a_gaussian_with_itself_is_zero_and_otherwise_positive(p, q):
    assert torch.allclose(gaussian.kl(*p, *p), torch.zeros(B, dtype=torch.float64), atol=1e-12)
    assert (gaussian.kl(*p, *q) > 0).all()


def test_kl_is_not_symmetric(p, q):
    assert not torch.isclose(gaussian.kl(*p, *q), gaussian.kl(*q, *p)).any()


def test_a_wider_gaussian_has_more_entropy_by_the_logarithm(p):
    grown = gaussian.entropy(p[1] + torch.log(torch.tensor(2.0))) - gaussian.entropy(p[1])
    assert torch.allclose(grown, K * torch.log(torch.tensor(2.0, dtype=torch.float64)))


def test_the_mean_score_is_zero_so_a_baseline_changes_no_gradient():
    """By a grid of equal shares of the distribution's mass."""
    share = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    at = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)  # mean, log std
    actions = (at[0] + at[1].exp() * torch.special.ndtri(share)).detach()[:, None]
    log_probs = gaussian.log_prob(actions, at[:1], at[1:])
    (score,) = torch.autograd.grad(log_probs.mean(), at, retain_graph=True)
    assert score.tolist() == pytest.approx([0, 0], abs=1e-3)
    # Negative control: weighed with what the action brings, it is not zero.
    (gradient,) = torch.autograd.grad((log_probs * actions[:, 0]).mean(), at)
    assert gradient.tolist() == pytest.approx([1, 0], abs=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 1.0])
def test_the_second_moment_of_the_ratio_is_exponential_in_the_kl(shift):
    """Of two Gaussians that differ in their means."""
    x = torch.linspace(-15, 15, 40_001, dtype=torch.float64)[:, None]
    old = torch.zeros(1, dtype=torch.float64)
    log_std = torch.tensor([0.3], dtype=torch.float64)
    new = old + shift * log_std.exp()
    before = gaussian.log_prob(x, old, log_std)
    ratio = torch.exp(gaussian.log_prob(x, new, log_std) - before)
    moment = torch.trapezoid(ratio**2 * before.exp(), x[:, 0])
    assert moment == pytest.approx(float(torch.exp(2 * gaussian.kl(old, log_std, new, log_std))))
