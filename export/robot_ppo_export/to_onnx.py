"""Arrays + contract + golden traces -> one policy file.

The graph is built node by node from arrays, not traced from a network, so the same checkpoint
gives the same bytes. This module alone imports `onnx` (extra `train`); reading does not need it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from robot_ppo_export import checksum, golden
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import RefusedError

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


@dataclass(frozen=True)
class Gru:
    """A gated recurrent unit; gates in torch's order: reset, update, new."""

    weight_ih: np.ndarray
    """(3 units, in)"""
    weight_hh: np.ndarray
    """(3 units, units)"""
    bias_ih: np.ndarray
    """(3 units,)"""
    bias_hh: np.ndarray
    """(3 units,)"""


@dataclass(frozen=True)
class Lstm:
    """A long short-term memory; gates in torch's order: input, forget, cell, output."""

    weight_ih: np.ndarray
    """(4 units, in)"""
    weight_hh: np.ndarray
    """(4 units, units)"""
    bias_ih: np.ndarray
    """(4 units,)"""
    bias_hh: np.ndarray
    """(4 units,)"""


GATES: dict[str, tuple[int, ...]] = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Name of a cell's arrays -> torch's gates in the order of ONNX's operator."""

Block = Normalizer | Linear | Activation | Gru | Lstm
"""A piece of a network. A network is a list of them, from the observation to the action."""


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


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a policy file, by their names in its graph."""
    graph = onnx.ModelProto.FromString(data).graph
    return {array.name: numpy_helper.to_array(array).copy() for array in graph.initializer}


def is_network(data: bytes, blocks: Sequence[Block]) -> bool:
    """Return whether the graph of a policy file is the one that these blocks are written as."""
    return onnx.ModelProto.FromString(data).graph == network(blocks).graph


@dataclass
class _Builder:
    """Nodes and arrays of a graph under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    """Name of each state that the graph takes in -> its width; it gives out `next_<name>`."""

    def array(self, name: str, values: np.ndarray | float) -> str:
        """Add an array and return its name, with a number behind it where it is not the first."""
        count = sum(known.rstrip("0123456789") == name for known in self.arrays)
        unique = f"{name}{count}" if count else name
        with np.errstate(over="ignore"):
            self.arrays[unique] = np.asarray(values, np.float32)
        if not np.isfinite(self.arrays[unique]).all():
            raise RefusedError(f"{unique} holds a number that is not finite: the training diverged")
        return unique

    def integers(self, name: str, values: list[int]) -> str:
        """Add an array of integers, or find the one of this name, and return the name."""
        self.arrays[name] = np.array(values, np.int64)
        return name

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"x{len(self.nodes)}"
        self.add(operator, inputs, [output], **attributes)
        return output

    def add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a node with these names for its outputs; "" leaves one out."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def state(self, width: int) -> str:
        """Add a state of so many numbers for each robot, and return its name."""
        name = f"state_{len(self.states)}"
        self.states[name] = width
        return name


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


def _gru(builder: _Builder, block: Gru, source: str) -> str:
    units = block.weight_hh.shape[1]
    states = [builder.state(units)]
    options = {"hidden_size": units, "linear_before_reset": 1}  # as torch does it
    return _recurrent(builder, block, source, "GRU", states, **options)


def _lstm(builder: _Builder, block: Lstm, source: str) -> str:
    units = block.weight_hh.shape[1]
    states = [builder.state(units), builder.state(units)]
    return _recurrent(builder, block, source, "LSTM", states, hidden_size=units)


def _recurrent(
    builder: _Builder,
    block: Gru | Lstm,
    source: str,
    operator: str,
    states: list[str],
    **options: int,
) -> str:
    """Add one step of ONNX's operator over a sequence; return the name of its output.

    Args:
        builder: takes the nodes.
        block: the cell.
        source: name of its input (N, in).
        operator: of ONNX.
        states: names of the states (N, units), the cell's output first.
        options: attributes of the operator.
    """
    name = operator.lower()
    gates = _gates(block, GATES[name])
    arrays = [builder.array(f"{name}_{key}", gates[key]) for key in ("weight", "hidden", "bias")]
    axis = builder.integers("first_axis", [0])
    # a sequence of one step, and one direction: (1, N, ...)
    x, *before = (builder.node("Unsqueeze", [each, axis]) for each in (source, *states))
    after = [f"after_{state}" for state in states]
    builder.add(operator, [x, *arrays, "", *before], ["", *after], **options)
    for state, each in zip(states, after, strict=True):
        builder.add("Squeeze", [each, axis], [f"next_{state}"])
    return f"next_{states[0]}"


def _gates(block: Gru | Lstm, order: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return a cell's weights as ONNX has them: (1, gates units, ...), in its order of gates."""

    def ordered(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.split(x, len(order))[i] for i in order])

    bias = np.concatenate((ordered(block.bias_ih), ordered(block.bias_hh)))
    return {
        "weight": ordered(block.weight_ih)[None],
        "hidden": ordered(block.weight_hh)[None],
        "bias": bias[None],
    }


WRITERS: dict[type, Callable[[_Builder, Any, str], str]] = {
    Normalizer: _normalizer,
    Linear: _linear,
    Activation: _activation,
    Gru: _gru,
    Lstm: _lstm,
}
"""Kind of block -> function that adds its nodes to (builder, block, name of its input) and returns
the name of its output."""


def _graph(blocks: Sequence[Block]) -> onnx.GraphProto:
    """Return observation (N, size) -> action (N, joints) as a graph.

    With a memory it also takes the states (N, units), zeros at the start of an episode, and gives
    those of the next tick.
    """
    joints = [block.weight.shape[0] for block in blocks if isinstance(block, Linear)][-1]
    builder = _Builder()
    name = "observation"
    for block in blocks:
        name = WRITERS[type(block)](builder, block, name)
    builder.nodes[-1].output[0] = "action"
    inputs = {"observation": _size(blocks)} | builder.states
    outputs = {"action": joints} | {f"next_{n}": width for n, width in builder.states.items()}
    return helper.make_graph(
        builder.nodes,
        "actor",
        [_rows(name, width) for name, width in inputs.items()],
        [_rows(name, width) for name, width in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in builder.arrays.items()],
    )


def _size(blocks: Sequence[Block]) -> int:
    """Return the size of the observation: the width of the first weights."""
    for block in blocks:
        if isinstance(block, Linear):
            return block.weight.shape[1]
        if isinstance(block, Gru | Lstm):
            return block.weight_ih.shape[1]
    raise ValueError("no block has weights")


def _rows(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])


def states_of(blocks: Sequence[Block]) -> dict[str, int]:
    """Return name -> width of each state that the graph of these blocks takes in."""
    _, *states = network(blocks).graph.input
    return {state.name: state.type.tensor_type.shape.dim[1].dim_value for state in states}
