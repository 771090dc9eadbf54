"""An actor as the blocks of a policy file, and the way back.

to_onnx.network(blocks(actor))
contract, actor = read(Path("go2_walk.onnx"))

The graph of a policy file is the mean alone; how widely it explored is in the contract, where the
file is not older than that (`training.deviation`).
"""

from pathlib import Path

import numpy as np
import torch

from robot_ppo.config import Networks
from robot_ppo.ppo.cells import Cell, Gru, Lstm
from robot_ppo.ppo.networks import ACTIVATIONS, Actor, Normalizer
from robot_ppo_export import to_onnx
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

CELLS: dict[type, type[to_onnx.Gru | to_onnx.Lstm]] = {Gru: to_onnx.Gru, Lstm: to_onnx.Lstm}
BY_STATES = {1: "gru", 2: "lstm"}
"""Number of a network's states -> its kind of memory."""


def blocks(actor: Actor) -> list[to_onnx.Block]:
    """Return the actor's blocks as the ONNX writer takes them."""
    return [_block(module) for module in actor.blocks()]


def _block(module: torch.nn.Module) -> to_onnx.Block:
    """Return one block with its weights as arrays."""
    if isinstance(module, Normalizer):
        return to_onnx.Normalizer(module.mean.float().numpy(), module.std().numpy(), module.clip)
    if isinstance(module, torch.nn.Linear):
        return to_onnx.Linear(module.weight.detach().numpy(), module.bias.detach().numpy())
    if isinstance(module, Cell):
        arrays = {name: weight.detach().numpy() for name, weight in module.named_parameters()}
        return CELLS[type(module)](**arrays)
    for name, kind in ACTIVATIONS.items():
        if isinstance(module, kind):
            return to_onnx.Activation(name)
    raise InputError(f"the network has a block {type(module).__name__}, which no policy file holds")


def read(path: Path) -> tuple[Contract, Actor]:
    """Return the contract of the policy file at `path`, and its network as one that can act.

    Raises:
        RefusedError: it is no policy file.
        InputError: it is one whose network this release would write in another way.
    """
    policy = Policy(path)
    policy.check_golden()
    data = path.read_bytes()
    actor = _actor(policy.contract, to_onnx.arrays_of(data))
    if not to_onnx.is_network(data, blocks(actor)):
        raise InputError(
            f"{path}: its network is not made as this release makes them; name the folder of its "
            "run, or export that again"
        )
    return policy.contract, actor


def networks_of(contract: Contract) -> Networks:
    """Return the settings of the actor that a policy file holds."""
    memory = None
    if contract.states:
        units = next(iter(contract.states.values()))
        memory = {"cell": BY_STATES.get(len(contract.states)), "units": units}
    settings = {
        "actor": contract.network.hidden,
        "activation": contract.network.activation,
        "obs_clip": contract.normalizer.clip,
        "actor_memory": memory,
    }
    return strict.convert(Networks, settings, "network")


@torch.no_grad()
def _actor(contract: Contract, arrays: dict[str, np.ndarray]) -> Actor:
    """Return an actor with these weights; those that the file lacks stay as they are made."""
    size = contract.resolve().size
    actor = Actor(size, contract.action_map().size, networks_of(contract))
    actor.normalizer.mean.copy_(_tensor(arrays, "mean", (size,)))
    actor.normalizer.var.copy_(_tensor(arrays, "std", (size,)).double().square())
    linear = [block for block in actor.mlp if isinstance(block, torch.nn.Linear)]
    for i, block in enumerate(linear):
        block.weight.copy_(_tensor(arrays, f"weight{i}", tuple(block.weight.shape)))
        block.bias.copy_(_tensor(arrays, f"bias{i}", tuple(block.bias.shape)))
    if actor.memory is not None:
        _fill(actor.memory, BY_STATES[len(contract.states)], arrays)
    return actor.eval()


def _fill(cell: Cell, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Give a cell the weights that ONNX's operator has in an order of its own."""
    order = np.argsort(to_onnx.GATES[name])
    rows = cell.gates * cell.units
    for key, weight in (("weight", cell.weight_ih), ("hidden", cell.weight_hh)):
        weight.copy_(_ordered(_tensor(arrays, f"{name}_{key}", (1, *weight.shape))[0], order))
    bias = _tensor(arrays, f"{name}_bias", (1, 2 * rows))[0]
    for part, weight in zip(bias.split(rows), (cell.bias_ih, cell.bias_hh), strict=True):
        weight.copy_(_ordered(part, order))


def _ordered(values: torch.Tensor, order: np.ndarray) -> torch.Tensor:
    """Return the gates of `values`, along its first axis, in another order."""
    gates = values.chunk(len(order))
    return torch.cat([gates[i] for i in order])


def _tensor(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return an array of the graph, or zeros where it has none such: the graph will not compare."""
    array = arrays.get(name)
    if array is None or array.shape != shape:
        return torch.zeros(shape)
    return torch.from_numpy(array)
