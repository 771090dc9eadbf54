"""Describe a file from its bytes alone, for the message about a file that is no policy file.

Nothing is loaded or run: a reader of protobuf's wire format, for the few fields of ONNX that name
producer, inputs and outputs (onnx.proto, ModelProto). A library could be brought down by a file
that nobody has checked.

    summarize(data)    # 'ONNX by pytorch 2.4.0: inputs obs float[1, 45], h float[1, 1, 256]; ...'
"""

from collections.abc import Iterator
from typing import NamedTuple

OTHERS = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch checkpoint"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: `git lfs pull`"),
)
"""First bytes -> what such a file is."""
NUMBERS = {1: "float", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "double"}
"""`TensorProto.DataType` -> word."""
SHOWN = 6
"""Inputs, and outputs, that a sentence names."""
LONGEST = 40
"""Letters of a name that are shown."""


class _Field(NamedTuple):
    number: int
    value: int
    """Of a number; 0 for bytes."""
    data: bytes


def summarize(data: bytes) -> str:
    """Return what the bytes are, in a phrase."""
    if not data:
        return "an empty file"
    for start, text in OTHERS:
        if data.startswith(start):
            return text
    try:
        return _onnx(data)
    except (ValueError, UnicodeDecodeError):
        return "no whole ONNX file"


def _onnx(data: bytes) -> str:
    """Return a phrase about an ONNX model; ValueError for what is none."""
    model = list(_fields(data))
    graphs = [f.data for f in model if f.number == 7]
    if len(graphs) != 1 or not any(f.number == 1 and f.value for f in model):
        raise ValueError
    graph = list(_fields(graphs[0]))
    constants = {_text(f.data, 8) for f in graph if f.number == 5}
    inputs = [_tensor(f.data) for f in graph if f.number == 11]
    free = [tensor for name, tensor in inputs if name not in constants]
    outputs = [tensor for _, tensor in (_tensor(f.data) for f in graph if f.number == 12)]
    keys = sorted(_text(f.data, 1) for f in model if f.number == 14)
    producer = " ".join(_shown(f.data) for f in model if f.number in (2, 3)) or "an unnamed program"
    metadata = f"metadata {_list(keys)}" if keys else "no metadata"
    return f"ONNX by {producer}: inputs {_list(free)}; outputs {_list(outputs)}; {metadata}"


def _fields(data: bytes) -> Iterator[_Field]:
    """Yield the fields of a protobuf message, or raise ValueError."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number = tag >> 3
        kind = tag & 7
        value = 0
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
        elif kind not in (1, 5):
            raise ValueError
        if number == 0 or at + size > len(data):
            raise ValueError
        yield _Field(number, value, data[at : at + size])
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends, or raise ValueError."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError


def _text(message: bytes, number: int) -> str:
    """Return a field of text, "" where it is left out."""
    return next((_shown(f.data) for f in _fields(message) if f.number == number), "")


def _tensor(value_info: bytes) -> tuple[str, str]:
    """Return name and description of an input or output, such as "obs float[1, 45]"."""
    name = _text(value_info, 1)
    types = [f.data for f in _fields(value_info) if f.number == 2]
    tensors = [f.data for t in types for f in _fields(t) if f.number == 1]
    if not tensors:
        return name, f"{name} (no tensor)"
    parts = list(_fields(tensors[0]))
    kind = next((NUMBERS.get(f.value, f"type {f.value}") for f in parts if f.number == 1), "?")
    dimensions = [d.data for f in parts if f.number == 2 for d in _fields(f.data) if d.number == 1]
    return name, f"{name} {kind}[{', '.join(map(_dimension, dimensions))}]"


def _dimension(message: bytes) -> str:
    for field in _fields(message):
        if field.number == 1:
            return str(field.value)
        if field.number == 2:
            return _shown(field.data)
    return "?"


def _shown(raw: bytes) -> str:
    """Return text of a file as it can be printed: no controls, not too long."""
    text = raw.decode()
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= LONGEST else f"{printable[:LONGEST]}..."


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" if names else "none"
