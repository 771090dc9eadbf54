"""Arrays + contract + golden traces -> one policy file.

The graph is built node by node from arrays, not traced from a network, so the same checkpoint
gives the same bytes. This module alone imports `onnx` (extra `train`); reading does not need it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from robot_ppo_export import checksum, golden
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import RefusedError
from robot_ppo_export.files import write_atomically

OPSET = 17
IR_VERSION = 8
"""Both are read by onnxruntime 1.16 and later."""

ACTIVATIONS = {"elu": "Elu", "relu": "Relu", "tanh": "Tanh"}
"""Name in the training preset -> ONNX operator; the only three that export."""


@dataclass(frozen=True)
class Normalizer:
    """clip((x - mean) / std, -clip, clip)."""

    mean: np.ndarray
    """(size,)"""
    std: np.ndarray
    """(size,)"""
    clip: float


@dataclass(frozen=True)
class Linear:
    """W x + b."""

    weight: np.ndarray
    """(out, in)"""
    bias: np.ndarray
    """(out,)"""


@dataclass(frozen=True)
class Activation:
    """A function of each entry."""

    name: str
    """Key of `ACTIVATIONS`."""


Block = Normalizer | Linear | Activation
"""A piece of a network. A network is a list of them, from the observation to the action."""


def write(
    path: Path, blocks: Sequence[Block], contract: Contract, traces: golden.GoldenTraces
) -> None:
    """Write the policy file atomically; it is read back and verified by the caller."""
    write_atomically(path, build(blocks, contract, traces))


def build(
    blocks: Sequence[Block], contract: Contract, traces: golden.GoldenTraces, robot_model: str = ""
) -> bytes:
    """Return the bytes of the policy file: graph, contract, golden traces, checksum.

    `robot_model` is the robot's model, packed; without one, the file has none.
    """
    model = network(blocks)
    metadata = {
        "robot_ppo.contract": contracts.to_json(contract),
        "robot_ppo.golden": golden.to_json(traces),
        checksum.KEY: checksum.BLANK,
    }
    if robot_model:
        metadata[contracts.MODEL_KEY] = robot_model
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return checksum.insert(model.SerializeToString(deterministic=True))


def network(blocks: Sequence[Block]) -> onnx.ModelProto:
    """Return the network alone as a model, without contract or golden traces."""
    return helper.make_model(
        _graph(blocks),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="robot-ppo",
    )


@dataclass
class _Builder:
    """Nodes and arrays of a graph under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def array(self, name: str, values: np.ndarray | float) -> str:
        """Add an array and return its name, with a number behind it where it is not the first."""
        count = sum(known.rstrip("0123456789") == name for known in self.arrays)
        unique = f"{name}{count}" if count else name
        with np.errstate(over="ignore"):
            self.arrays[unique] = np.asarray(values, np.float32)
        if not np.isfinite(self.arrays[unique]).all():
            raise RefusedError(f"{unique} holds a number that is not finite: the training diverged")
        return unique

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output


def _normalizer(builder: _Builder, block: Normalizer, source: str) -> str:
    centred = builder.node("Sub", [source, builder.array("mean", block.mean)])
    scaled = builder.node("Div", [centred, builder.array("std", block.std)])
    low = builder.array("low", -block.clip)
    high = builder.array("high", block.clip)
    return builder.node("Clip", [scaled, low, high])


def _linear(builder: _Builder, block: Linear, source: str) -> str:
    count = sum(node.op_type == "Gemm" for node in builder.nodes)
    weight = builder.array(f"weight{count}", block.weight)
    bias = builder.array(f"bias{count}", block.bias)
    return builder.node("Gemm", [source, weight, bias], transB=1)


def _activation(builder: _Builder, block: Activation, source: str) -> str:
    return builder.node(ACTIVATIONS[block.name], [source])


WRITERS: dict[type, Callable[[_Builder, Any, str], str]] = {
    Normalizer: _normalizer,
    Linear: _linear,
    Activation: _activation,
}
"""Kind of block -> function that adds its nodes to (builder, block, name of its input) and returns
the name of its output."""


def _graph(blocks: Sequence[Block]) -> onnx.GraphProto:
    """Return observation (N, size) -> action (N, joints) as a graph."""
    linear = [block for block in blocks if isinstance(block, Linear)]
    size = linear[0].weight.shape[1]
    joints = linear[-1].weight.shape[0]
    builder = _Builder()
    name = "observation"
    for block in blocks:
        name = WRITERS[type(block)](builder, block, name)
    builder.nodes[-1].output[0] = "action"
    return helper.make_graph(
        builder.nodes,
        "actor",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["N", joints])],
        [numpy_helper.from_array(values, name) for name, values in builder.arrays.items()],
    )
