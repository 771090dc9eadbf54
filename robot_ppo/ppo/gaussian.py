"""Diagonal Gaussians: log-density, entropy and the exact KL divergence. Pure functions.

`mean` is (..., k); `log_std` is (k,) or (..., k); the last axis is summed.
"""

import math

import torch
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)


def log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return log N(x; mean, std), (...)."""
    z = (x - mean) * torch.exp(-log_std)
    return -0.5 * (z * z + 2 * log_std + _LOG_2PI).sum(-1)


def entropy(log_std: Tensor) -> Tensor:
    """Return the differential entropy, (...)."""
    return (log_std + 0.5 * (1 + _LOG_2PI)).sum(-1)


def kl(mean_p: Tensor, log_std_p: Tensor, mean_q: Tensor, log_std_q: Tensor) -> Tensor:
    """Return KL(p || q) = sum log(sq/sp) + (sp^2 + (mp - mq)^2) / (2 sq^2) - 1/2, (...)."""
    ratio = torch.exp(2 * (log_std_p - log_std_q))
    distance = (mean_p - mean_q) * torch.exp(-log_std_q)
    return 0.5 * (ratio + distance * distance - 1 - 2 * (log_std_p - log_std_q)).sum(-1)
