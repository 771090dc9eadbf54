"""Policy files made wrong: by accident, with a seal that breaks, and by an expert, who seals again.

A mutation returns the bytes of a changed file, or None where what it did changed nothing. A seal
says that a file is whole, not who made it: an expert who writes another consistent file, such as
one with other gains, has made another policy. So what is resealed here contradicts itself: a part
is missing or of the wrong kind, the sizes do not fit, or the golden traces were not made by this
network and this contract.
"""

import copy
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import onnx
from contract_helpers import entry
from fuzz_helpers import mutate
from policy_meanings import MEANINGS

from robot_ppo_export import checksum, golden
from robot_ppo_export.policy import TOLERANCE

Changed = bytes | None
OUTPUTS = ("observation", "action", "target")
CLEAR = 10 * TOLERANCE
"""A number is changed by more than this, so that no rounding hides it."""
BLOCK = 512
"""[bytes] of a disk."""


class Mutator:
    """One policy file, and the ways in which it is mutated."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        model = onnx.ModelProto.FromString(data)
        self.contract = msgspec.json.decode(entry(model, "robot_ppo.contract").value)
        self.traces = golden.from_json(entry(model, "robot_ppo.golden").value)
        self.kinds: dict[str, Callable[[random.Random], Changed]] = {
            "bytes": self.wrong_bytes,
            "blocks": self.moved_blocks,
            "sealed contract key gone": self.key_gone,
            "sealed contract key more": self.key_more,
            "sealed contract kind": self.wrong_kind,
            "sealed contract number": self.impossible_number,
            "sealed contract meaning": self.other_meaning,
            "sealed golden number": self.golden_number,
            "sealed golden shape": self.golden_shape,
            "sealed golden text": self.golden_text,
            "sealed weight": self.weight,
            "sealed graph": self.graph,
        }

    def mutation(self, rng: random.Random) -> tuple[str, bytes]:
        """Return the kind and the bytes of a file that is not this one."""
        while True:
            # As many accidents as experts.
            accident = rng.random() < 0.5
            names = [name for name in self.kinds if name.startswith("sealed") != accident]
            name = rng.choice(names)
            changed = self.kinds[name](rng)
            if changed is not None and changed != self.data:
                return name, changed

    # -- accidents: the seal breaks

    def wrong_bytes(self, rng: random.Random) -> Changed:
        return mutate(self.data, rng)

    def moved_blocks(self, rng: random.Random) -> Changed:
        """A block that is missing, doubled, zeroed, or in another's place."""
        data = bytearray(self.data)
        a, b = (rng.randrange(0, len(data), BLOCK) for _ in range(2))
        kind = rng.randrange(4)
        first = data[a : a + BLOCK]
        second = data[b : b + BLOCK]
        if kind == 0:
            del data[a : a + BLOCK]
        elif kind == 1:
            data[b:b] = first
        elif kind == 2:
            data[a : a + BLOCK] = bytes(len(first))
        else:
            data[a : a + BLOCK], data[b : b + BLOCK] = second, first
        return bytes(data)

    # -- experts: the contract

    def key_gone(self, rng: random.Random) -> Changed:
        """A key that must be there is not."""
        data = copy.deepcopy(self.contract)
        needed = [p for p in _paths(data) if isinstance(p[-1], str) and not _optional(p)]
        path = rng.choice([p for p in needed if p not in LATER or _at(data, p) != LATER[p]])
        del _at(data, path[:-1])[path[-1]]
        return self.with_contract(data)

    def key_more(self, rng: random.Random) -> Changed:
        """A key that nobody knows."""
        data = copy.deepcopy(self.contract)
        places = [p for p in [(), *_paths(data)] if isinstance(_at(data, p), dict) and not _free(p)]
        _at(data, rng.choice(places))[rng.choice(("more", "kp2", "", "Name"))] = rng.choice(
            (1, "x")
        )
        return self.with_contract(data)

    def wrong_kind(self, rng: random.Random) -> Changed:
        """A value of another kind: a text for a number, a list for a structure."""
        data = copy.deepcopy(self.contract)
        path = rng.choice([p for p in _paths(data) if not _free(p[:-1]) and p not in OPAQUE])
        wrong = ["x", 7, [], {}, [1, 2, 3], {"a": 1}, True]
        _put(data, path, rng.choice([w for w in wrong if _kind(w) != _kind(_at(data, path))]))
        return self.with_contract(data)

    def impossible_number(self, rng: random.Random) -> Changed:
        """A number that is none, or too large for one."""
        data = copy.deepcopy(self.contract)
        numbers = [p for p in _paths(data) if _kind(_at(data, p)) == "number" and not _free(p[:-1])]
        _put(data, rng.choice(numbers), MARK)
        text = msgspec.json.encode(data).decode()
        token = rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0x10", "", "--1"))
        return self.with_texts(contract=text.replace(f'"{MARK}"', token))

    def other_meaning(self, rng: random.Random) -> Changed:
        """Another layout, scale, pose or order than the golden traces were made with."""
        data = copy.deepcopy(self.contract)
        rng.choice(MEANINGS)(data, rng)
        return None if data == self.contract else self.with_contract(data)

    # -- experts: the golden traces

    def golden_number(self, rng: random.Random) -> Changed:
        """A number that is not the one that was recorded."""
        arrays = self.arrays()
        values = arrays[rng.choice(("observation", "action", "target"))]
        at = rng.randrange(values.size)
        step = rng.choice((CLEAR, 0.1, 1.0, 1e6, math.nan, math.inf)) * rng.choice((1, -1))
        values.flat[at] += np.float32(step)
        return self.with_arrays(arrays)

    def golden_shape(self, rng: random.Random) -> Changed:
        """Too few ticks, or an array of another size."""
        arrays = self.arrays()
        if rng.random() < 0.3:
            few = rng.randrange(golden.MIN_TICKS)
            return self.with_arrays({name: values[:few] for name, values in arrays.items()})
        name = rng.choice(sorted(arrays))
        values = arrays[name]
        cut = [values[:-1], np.concatenate((values, values[:1])), values[..., None]]
        cut += [values[:, :-1]] if values.ndim > 1 and values.shape[1] else []
        arrays[name] = rng.choice(cut)
        return self.with_arrays(arrays)

    def golden_text(self, rng: random.Random) -> Changed:
        """Damage to the text of the traces: a name, a shape, the data."""
        data = msgspec.json.decode(golden.to_json(self.traces))
        name = rng.choice(sorted(data))
        kind = rng.randrange(4)
        if kind == 0:
            del data[name]
        elif kind == 1:
            del data[name][rng.choice(("shape", "data"))]
        elif kind == 2:
            data[name]["shape"] = [*data[name]["shape"], rng.choice((0, 2, -3))]
        else:
            data[name]["data"] = data[name]["data"][: rng.randrange(len(data[name]["data"]) or 1)]
        return self.with_texts(golden_text=msgspec.json.encode(data).decode())

    # -- experts: the graph

    def weight(self, rng: random.Random) -> Changed:
        """A weight that gives other actions than those of the golden traces; most ways do."""
        model = onnx.ModelProto.FromString(self.data)
        tensor = rng.choice(list(model.graph.initializer))
        values = np.array(onnx.numpy_helper.to_array(tensor))
        at = rng.randrange(values.size)
        before = values.flat[at]
        with np.errstate(over="ignore"):
            values.flat[at] = rng.choice((-before, 0.0, before + 1, 10 * before, np.nan, 3e38))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        with np.errstate(all="ignore"):
            error = np.abs(_actions(arrays, self.traces.observation) - self.traces.action)
        unseen = np.isfinite(error).all() and error.max() <= CLEAR
        return None if unseen else self.resealed(model)

    def graph(self, rng: random.Random) -> Changed:
        """A graph that is another one, or none."""
        model = onnx.ModelProto.FromString(self.data)
        graph = model.graph
        kind = rng.randrange(6)
        if kind == 0:
            del graph.node[rng.randrange(len(graph.node))]
        elif kind == 1:
            node = rng.choice(list(graph.node))
            node.op_type = rng.choice(
                [op for op in ("Add", "Relu", "Tanh", "Nop", "") if op != node.op_type]
            )
        elif kind == 2:
            del graph.initializer[rng.randrange(len(graph.initializer))]
        elif kind == 3:
            node = rng.choice(list(graph.node))
            i = rng.randrange(len(node.input))
            others = [n.input[0] for n in graph.node if n.input[0] != node.input[i]]
            node.input[i] = rng.choice(others)
        elif kind == 4:
            rng.choice([graph.input[0], graph.output[0]]).name = rng.choice(("x", "", "obs"))
        else:  # of the input: the size of an output is what the runtime computes
            graph.input[0].type.tensor_type.shape.dim[1].dim_value += rng.choice((-1, 1, 1000))
        return self.resealed(model)

    # -- putting it together

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: np.array(values) for name, values in self.traces.inputs.items()}
        return arrays | {
            k: np.array(getattr(self.traces, k)) for k in ("observation", "action", "target")
        }

    def with_arrays(self, arrays: dict[str, np.ndarray]) -> bytes:
        outputs = [arrays[k] for k in OUTPUTS]
        inputs = {k: values for k, values in arrays.items() if k not in OUTPUTS}
        return self.with_texts(golden_text=golden.to_json(golden.GoldenTraces(inputs, *outputs)))

    def with_contract(self, data: dict[str, Any]) -> bytes:
        return self.with_texts(contract=msgspec.json.encode(data).decode())

    def with_texts(self, contract: str | None = None, golden_text: str | None = None) -> bytes:
        model = onnx.ModelProto.FromString(self.data)
        for key, text in (("contract", contract), ("golden", golden_text)):
            if text is not None:
                entry(model, f"robot_ppo.{key}").value = text
        return self.resealed(model)

    def resealed(self, model: onnx.ModelProto) -> bytes:
        entry(model, checksum.KEY).value = checksum.BLANK
        return checksum.insert(model.SerializeToString(deterministic=True))


MARK = "a number was here"
FREE = (
    *(("robot", "units"), ("training", "randomization"), ("training", "noise")),
    ("training", "versions"),
)
"""Places whose keys are anybody's: another one there is another consistent contract."""
OPAQUE = (("evaluation",), ("model_fingerprint",), ("scores",))
"""Fields that say nothing to the node."""
LATER = {("action", "held"): [], ("action", "stepping"): None, ("states",): {}}
"""Keys that older files lack -> what that means: without them such a contract is the same."""


def _free(path: tuple) -> bool:
    return path[:2] in FREE or path[:1] in OPAQUE


def _optional(path: tuple) -> bool:
    """Whether a contract without this key is a whole one: a limit that has a default.

    So is an old one that does not say the quaternion's order: there is one only.
    """
    if path == ("robot", "imu", "quaternion"):
        return True
    limits = ("max_tilt", "max_angular_rate", "max_target_step", "joint_range_margin")
    required = (*limits, "stale_after", "frozen_ticks", "max_missed_deadlines")
    return _free(path) or (path[:2] == ("robot", "safety") and path[-1] not in required)


def _paths(data: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the way to every value inside."""
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield (*path, key)
            yield from _paths(data[key], (*path, key))


def _at(data: Any, path: tuple) -> Any:
    for key in path:
        data = data[key]
    return data


def _put(data: Any, path: tuple, value: Any) -> None:
    _at(data, path[:-1])[path[-1]] = value


def _kind(value: Any) -> str:
    kinds = ((bool, "bool"), (str, "text"), (int | float, "number"), (list, "list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _actions(arrays: dict[str, np.ndarray], observations: np.ndarray) -> np.ndarray:
    """The network of elu layers, in numpy: what a changed weight makes of the observations."""
    x = (observations - arrays["mean"]) / arrays["std"]
    x = np.fmin(np.fmax(x, arrays["low"]), arrays["high"])  # a bound that is NaN bounds nothing
    layers = sum(name.startswith("weight") for name in arrays)
    for i in range(layers):
        x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
        if i < layers - 1:
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return x
