"""Arrays + contract + golden traces -> one policy file.

The graph is built node by node from arrays, not traced from a network, so the same checkpoint
gives the same bytes. This module alone imports `onnx` (extra `train`); reading does not need it.
"""

from dataclasses import dataclass
from pathlib import Path

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


@dataclass
class Actor:
    """The weights of a normalizer and an MLP."""

    mean: np.ndarray
    """(size,)"""
    std: np.ndarray
    """(size,)"""
    obs_clip: float
    layers: list[tuple[np.ndarray, np.ndarray]]
    """Weight (out, in) and bias (out,) of each layer, the last one the output."""
    activation: str


def write(path: Path, actor: Actor, contract: Contract, traces: golden.GoldenTraces) -> None:
    """Write the policy file atomically; it is read back and verified by the caller."""
    write_atomically(path, build(actor, contract, traces))


def build(actor: Actor, contract: Contract, traces: golden.GoldenTraces) -> bytes:
    """Return the bytes of the policy file: graph, contract, golden traces, checksum."""
    model = network(actor)
    metadata = {
        "robot_ppo.contract": contracts.to_json(contract),
        "robot_ppo.golden": golden.to_json(traces),
        checksum.KEY: checksum.BLANK,
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return checksum.insert(model.SerializeToString(deterministic=True))


def network(actor: Actor) -> onnx.ModelProto:
    """Return the network alone as a model, without contract or golden traces."""
    return helper.make_model(
        _graph(actor),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="robot-ppo",
    )


def _graph(actor: Actor) -> onnx.GraphProto:
    """Return observation (N, size) -> action (N, joints) as a graph."""
    size, joints = actor.layers[0][0].shape[1], actor.layers[-1][0].shape[0]
    arrays: dict[str, np.ndarray] = {
        "mean": actor.mean,
        "std": actor.std,
        "low": np.array(-actor.obs_clip),
        "high": np.array(actor.obs_clip),
    }
    nodes = [
        helper.make_node("Sub", ["observation", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["x0"]),
    ]
    last = len(actor.layers) - 1
    for i, (weight, bias) in enumerate(actor.layers):
        arrays |= {f"weight{i}": weight, f"bias{i}": bias}
        out = "action" if i == last else f"h{i}"
        gemm_in = [f"x{i}", f"weight{i}", f"bias{i}"]
        nodes.append(helper.make_node("Gemm", gemm_in, [out], transB=1))
        if i != last:
            nodes.append(helper.make_node(ACTIVATIONS[actor.activation], [out], [f"x{i + 1}"]))
    with np.errstate(over="ignore"):
        arrays = {name: np.asarray(values, np.float32) for name, values in arrays.items()}
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise RefusedError(f"{name} holds a number that is not finite: the training diverged")
    return helper.make_graph(
        nodes,
        "actor",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["N", joints])],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
