"""A file that is no policy file is refused with what it is, as onnx reads it."""

import numpy as np
import onnx
import pytest
from contract_helpers import policy_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from robot_ppo_export.errors import RefusedError
from robot_ppo_export.onnx_summary import summarize
from robot_ppo_export.policy import Policy


def model(inputs, outputs, producer="pytorch", version="2.4.0", metadata=(), weight="w"):
    """A model with these tensors, (name, type, shape) each, and one constant."""
    tensors = [[helper.make_tensor_value_info(*t) for t in side] for side in (inputs, outputs)]
    constant = helper.make_tensor(weight, TensorProto.FLOAT, [2], [1.0, 2.0])
    node = helper.make_node("Identity", [inputs[0][0]], [outputs[0][0]])
    graph = helper.make_graph([node], "g", *tensors, initializer=[constant])
    made = helper.make_model(graph, producer_name=producer, producer_version=version)
    helper.set_model_props(made, dict(metadata))
    return made.SerializeToString()


FLOAT = TensorProto.FLOAT
RECURRENT = model(
    [("obs", FLOAT, ["batch", 45]), ("h_in", FLOAT, [1, 1, 256])],
    [("actions", FLOAT, [None, 12]), ("h_out", FLOAT, [1, 1, 256])],
)


def test_a_recurrent_graph_of_another_program_is_described_and_refused(tmp_path):
    path = tmp_path / "lstm.onnx"
    path.write_bytes(RECURRENT)
    with pytest.raises(RefusedError) as error:
        Policy(path)
    text = str(error.value)
    assert "lstm.onnx: is not a robot-ppo policy file (no robot_ppo.sha256) but ONNX" in text
    assert (
        "ONNX by pytorch 2.4.0: inputs obs float[batch, 45], h_in float[1, 1, 256]; outputs "
        "actions float[?, 12], h_out float[1, 1, 256]; no metadata"
    ) in text
    assert "contract, golden traces" in text and "`robot-ppo export`" in text


def test_constants_that_are_listed_as_inputs_are_none():
    """As older programs write."""
    data = model([("x", FLOAT, [1]), ("w", FLOAT, [2])], [("y", FLOAT, [1])], metadata={"a": "b"})
    assert (
        summarize(data)
        == "ONNX by pytorch 2.4.0: inputs x float[1]; outputs y float[1]; metadata a"
    )


def test_a_policy_file_of_ours_is_described_too():
    """What is shown of a damaged one."""
    text = summarize(policy_bytes())
    assert "inputs observation float[" in text and "outputs action float[" in text
    assert "robot_ppo.contract, robot_ppo.golden" in text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04...", "a zip archive, such as a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"hello", "no whole ONNX file"),
        (RECURRENT[:-20], "no whole ONNX file"),
    ],
)
def test_what_is_no_onnx_is_named(data, text):
    assert summarize(data).startswith(text)


names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=30)
tensors = st.lists(
    st.tuples(
        names,
        st.sampled_from([FLOAT, TensorProto.INT64, TensorProto.FLOAT16]),
        st.lists(st.integers(0, 10**6) | names, max_size=4),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda t: t[0],
)


@settings(max_examples=100)
@given(tensors, tensors, names, names, st.dictionaries(names, names, max_size=5))
def test_any_model_is_described_as_onnx_reads_it(inputs, outputs, producer, version, metadata):
    data = model(inputs, outputs, producer, version, metadata, weight="a constant")
    read = onnx.load_from_string(data)

    def said(value):
        dimensions = value.type.tensor_type.shape.dim
        shape = (d.dim_param or str(d.dim_value) for d in dimensions)
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
        return f"{value.name} {kind}[{', '.join(shape)}]"

    text = summarize(data)
    assert text.startswith(f"ONNX by {read.producer_name} {read.producer_version}: inputs ")
    assert f"inputs {', '.join(map(said, read.graph.input))}; outputs" in text
    assert f"outputs {', '.join(map(said, read.graph.output))}; " in text
    keys = sorted(prop.key for prop in read.metadata_props)
    assert text.endswith(f"metadata {', '.join(keys)}" if keys else "no metadata")


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_are_a_phrase_that_can_be_printed(data):
    changed = bytearray(RECURRENT)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(changed)))
    for sample in (bytes(changed), bytes(changed[:end]), np.random.default_rng(end).bytes(end)):
        text = summarize(sample)
        assert text and text.isprintable() and len(text) < 2000
