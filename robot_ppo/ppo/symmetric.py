"""Networks that treat left and right alike: what they do in the mirror is the mirror image.

    mean(mirror(observation)) = mirror(mean(observation))        value(mirror(x)) = value(x)

holds for every weight that training can reach, at no cost in the forward and backward pass, and in
the exported file. The hidden units of a layer come in pairs, unit i and unit i + half, which
exchange places in the mirror. Then the equation above says of each weight matrix that it equals
its own mirror image, W = M_out W M_in with the mirrors of the layer's inputs and outputs. Weights
that start so stay so if every gradient is replaced by its mean with its mirror image, because
Adam treats equal entries equally; that mean is the gradient of the objective over the samples and
their mirror images. So a sample teaches about both sides: twice the data for the time of one
(`networks.symmetric`; docs/ppo.md has what it is worth).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from robot_ppo.mirror import Mirror
from robot_ppo.ppo.cells import Cell
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo_export.errors import InputError


def tie(actor: Actor, of_observation: Mirror, of_actions: Mirror) -> None:
    """Make an actor symmetric, for good; its weights become those of their symmetric part.

    Args:
        actor: any that has not learned yet.
        of_observation: mirror of what it reads.
        of_actions: mirror of what it says.
    """
    mirrors = _mirrors_of_network(actor, of_observation, of_actions)
    spread = Mirror(of_actions.index, np.abs(of_actions.sign))  # a deviation has no direction
    mirrors["log_std"] = spread
    if actor.log_std_head is not None:
        last = Mirror.halves(actor.log_std_head.in_features)
        mirrors["log_std_head.weight"] = _of_matrix(spread, last)
    _start(actor, mirrors)
    actor.normalizer.mirror = of_observation


def tie_critic(critic: Critic, of_inputs: Mirror) -> None:
    """Make a critic symmetric, for good: a state is worth what its mirror image is worth."""
    _start(critic, _mirrors_of_network(critic, of_inputs, Mirror.identity(1)))
    critic.normalizer.mirror = of_inputs


def is_tied(actor: Actor, of_actions: Mirror) -> bool:
    """Return whether the units of an actor's last hidden layer are pairs that `tie` made."""
    last = actor.mlp[-1]
    assert isinstance(last, nn.Linear)
    if last.in_features % 2:
        return False
    image = _mirrored(last.weight, _of_matrix(of_actions, Mirror.halves(last.in_features)))
    return torch.allclose(image, last.weight, rtol=1e-3, atol=1e-6)


def _mirrors_of_network(network: Actor | Critic, into: Mirror, out: Mirror) -> dict[str, Mirror]:
    """Return the mirror of every parameter of cell and MLP, flattened, by its name."""
    mirrors = {}
    if network.memory is not None:
        of_cell, into = _mirrors_of_cell(network.memory, into)
        mirrors |= {f"memory.{name}": mirror for name, mirror in of_cell.items()}
    of_layers = _mirrors_of_layers(network.mlp, into, out)
    return mirrors | {f"mlp.{name}": mirror for name, mirror in of_layers.items()}


def _mirrors_of_cell(cell: Cell, into: Mirror) -> tuple[dict[str, Mirror], Mirror]:
    """Return the mirror of every parameter of a cell, and that of what it says and remembers.

    Units exchange places within each gate, so that what is done to them one by one is mirrored.
    """
    units = _halves(cell.units)
    gates = Mirror.joined([units] * cell.gates)
    mirrors = {
        "weight_ih": _of_matrix(gates, into),
        "weight_hh": _of_matrix(gates, units),
        "bias_ih": gates,
        "bias_hh": gates,
    }
    return mirrors, units


def _mirrors_of_layers(mlp: nn.Sequential, into: Mirror, out: Mirror) -> dict[str, Mirror]:
    """Return the mirror of every parameter, flattened, by its name in the MLP."""
    linear = {name: m for name, m in mlp.named_children() if isinstance(m, nn.Linear)}
    mirrors: dict[str, Mirror] = {}
    for at, (name, layer) in enumerate(linear.items()):
        last = at == len(linear) - 1
        after = out if last else _halves(layer.out_features)
        mirrors[f"{name}.weight"] = _of_matrix(after, into)
        mirrors[f"{name}.bias"] = after
        into = after
    return mirrors


def _halves(width: int) -> Mirror:
    if width % 2:
        raise InputError(
            f"`networks`: the hidden layer of {width} units cannot be symmetric: units come in "
            "pairs; give it an even width, or set networks.symmetric false"
        )
    return Mirror.halves(width)


def _of_matrix(rows: Mirror, columns: Mirror) -> Mirror:
    """Return the mirror of a flattened matrix, whose rows and columns are mirrored."""
    index = rows.index[:, None] * len(columns.index) + columns.index
    return Mirror(index.ravel(), np.outer(rows.sign, columns.sign).ravel())


@torch.no_grad()
def _start(network: Actor | Critic, mirrors: dict[str, Mirror]) -> None:
    """Replace the weights by their symmetric part, at the scale that they had."""
    ordered: Sequence[Mirror] = [mirrors[name] for name, _ in network.named_parameters()]
    for parameter, mirror in zip(network.parameters(), ordered, strict=True):
        image = _mirrored(parameter, mirror)
        # The mean of two independent numbers is smaller than either by the root of two.
        scale = math.sqrt(0.5) if parameter.ndim > 1 else 0.5
        parameter.copy_(scale * (parameter + image))
    network.mirrors = ordered


def _mirrored(parameter: Tensor, mirror: Mirror) -> Tensor:
    return torch.from_numpy(mirror(parameter.detach().numpy().ravel())).view(parameter.shape)
