"""A policy file whose network has a memory: random weights, golden traces by torch."""

import functools
import tempfile
from pathlib import Path

import msgspec
import node_helpers
import numpy as np
import torch

from robot_ppo.config import MemorySpec, Networks
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor
from robot_ppo.training import policy_network
from robot_ppo_export import golden, to_onnx
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.policy import Policy

CELLS = ("gru", "lstm")
UNITS = 24
JOINTS = 12


def actor(cell: str, size: int, gain: float = 0.3) -> Actor:
    """An actor that remembers, with random weights of all kinds; the shipped normalizer."""
    memory = MemorySpec(cell=cell, units=UNITS)
    torch.manual_seed(0)
    one = Actor(size, JOINTS, Networks(actor=(16,), actor_memory=memory, last_gain=gain))
    assert one.memory is not None
    with torch.no_grad():
        for bias in (one.memory.bias_ih, one.memory.bias_hh):
            bias.normal_(0, 0.3)
    return one.eval()


def contract(one: Actor) -> Contract:
    states = to_onnx.states_of(policy_network.blocks(one))
    return msgspec.structs.replace(node_helpers.contract(), states=states)


def traces(one: Actor, c: Contract) -> golden.GoldenTraces:
    """The traces of `node_helpers`, of two episodes, with this actor's actions."""
    plain = node_helpers.actor(c.resolve().size, JOINTS)
    recorded = node_helpers.traces(c, plain)
    half = len(recorded) // 2
    parts = []
    for part in (slice(0, half), slice(half, None)):
        act = Acting(one)
        parts += [act(observation[None])[0] for observation in _observed(recorded, c, part)]
    action = np.stack(parts)
    observation = np.concatenate(
        [_observed(recorded, c, slice(0, half)), _observed(recorded, c, slice(half, None))]
    )
    starts = np.zeros(len(action), np.float32)
    starts[half] = 1
    target = c.action_map().target(action)
    return golden.GoldenTraces(recorded.inputs, observation, action, target, starts)


def _observed(recorded: golden.GoldenTraces, c: Contract, part: slice) -> np.ndarray:
    """The observations of a part of the ticks, from a start on."""
    observer = node_helpers.Observer(c.resolve(), ())
    pose = c.action_map().default_pose
    ticks = range(len(recorded))[part]
    return np.stack([observer.observe(recorded.tick(t, pose)) for t in ticks])


@functools.cache
def policy_bytes(cell: str) -> bytes:
    one = actor(cell, node_helpers.contract().resolve().size)
    c = contract(one)
    return to_onnx.build(policy_network.blocks(one), c, traces(one, c))


@functools.cache
def policy_file(cell: str = "gru") -> Path:
    path = Path(tempfile.mkdtemp(prefix="robot-ppo-test-")) / "policy.onnx"
    path.write_bytes(policy_bytes(cell))
    return path


def policy(cell: str = "gru") -> Policy:
    return Policy(policy_file(cell))
