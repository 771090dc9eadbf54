"""Unitree's messages: published checksums, C layouts, and the bytes that cyclonedds makes."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_ppo_node.drivers.unitree import unitree_messages as messages
from robot_ppo_node.drivers.unitree.unitree_crc import crc32
from robot_ppo_node.drivers.unitree.unitree_messages import (
    STRUCTS,
    MalformedMessageError,
    Message,
    decode,
    layout,
)

TOPICS = [(family, name) for family in STRUCTS for name in ("LowCmd_", "LowState_")]
C_FORMATS = {
    ("unitree_go", "LowCmd_"): "<4B4IH2x" + "B3x5f3I" * 20 + "4B" + "55Bx2I",
    ("unitree_go", "LowState_"): (
        "<4B4IH2x" + "13fB3x" + "B3x7fB3x3I" * 20 + "4BiH4B15H" + "8hI41B3xf2B2x2f4H2I"
    ),
    ("unitree_hg", "LowCmd_"): "<2B2x" + "B3x5fI" * 35 + "5I",
    ("unitree_hg", "LowState_"): "<2I2B2xI" + "13fh2x" + "B3x4f2hf7I" * 35 + "40B5I",
}
"""Written down from the vendor's C headers, with the padding spelled out."""
SIZES = {
    ("unitree_go", "LowCmd_"): (812, 808),
    ("unitree_go", "LowState_"): (1180, 1176),
    ("unitree_hg", "LowCmd_"): (1004, 1000),
    ("unitree_hg", "LowState_"): (2092, 2088),
}
"""C layout, CDR body [bytes]."""


def filled(family, name, seed):
    """A message of random numbers, every one of them finite."""
    message = Message(family, name)
    random = np.random.default_rng(seed)
    _fill(message.fields, random)
    return message


def _fill(row, random):
    for field in row.dtype.names:
        value = row[field]
        if value.dtype.names:
            for inner in value if value.ndim else [value]:
                _fill(inner, random)
        else:
            row[field] = random.integers(0, 127, value.shape)


def leaves(row):
    """Every number of a message, in wire order."""
    for field in row.dtype.names:
        value = row[field]
        if value.dtype.names:
            for inner in value if value.ndim else [value]:
                yield from leaves(inner)
        else:
            yield from np.atleast_1d(value).tolist()


# --- checksum


def bitwise(structure):
    """The checksum bit by bit, as its definition says."""
    crc = 0xFFFFFFFF
    for word in struct.unpack(f"<{len(structure) // 4 - 1}I", structure[:-4]):
        for bit in range(31, -1, -1):
            top = (crc >> 31) ^ (word >> bit & 1)
            crc = (crc << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if top else 0)
    return crc


@settings(max_examples=20)
@given(st.binary(min_size=8, max_size=400).filter(lambda b: len(b) % 4 == 0))
def test_the_checksum_is_its_definition(structure):
    assert crc32(structure) == bitwise(structure)


def test_the_last_word_is_not_part_of_it():
    assert crc32(b"abcd" * 5 + b"....") == crc32(b"abcd" * 5 + b"####")
    assert crc32(b"abcd" * 5 + b"....") != crc32(b"abce" * 5 + b"....")


def test_negative_control_plain_crc32_gives_another_number():
    zeros = bytes(812)
    assert zlib.crc32(zeros[:-4]) != crc32(zeros)


def go_command():
    message = Message("unitree_go", "LowCmd_")
    message.fields["head"] = 0xFE, 0xEF
    message.fields["level_flag"] = 0xFF
    message.motors["mode"] = 1
    return message


def test_published_checksums_of_go():
    assert crc32(bytes(812)) == 0x4B5A4880
    message = go_command()
    assert crc32(message.memory) == 0x57ECF19D
    message.motors["q"], message.motors["dq"] = 2.146e9, 16000.0
    assert crc32(message.memory) == 0x06E577CD
    message = go_command()
    message.motors["q"] = 0.1 * np.arange(20)
    message.motors["kp"], message.motors["kd"] = 20, 0.5
    assert crc32(message.memory) == 0xA9E3E989


def test_published_checksums_of_hg():
    assert crc32(bytes(1004)) == 0xFE172F9F
    message = Message("unitree_hg", "LowCmd_")
    message.fields["mode_machine"] = 5
    message.motors["mode"] = 1
    assert crc32(message.memory) == 0x77176F39


# --- layout


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_sizes(family, name):
    message = Message(family, name)
    assert (len(message.memory), len(message.encode()) - 4) == SIZES[family, name]


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_the_c_layout_is_the_vendors(family, name):
    message = filled(family, name, 1)
    assert list(struct.unpack(C_FORMATS[family, name], message.memory)) == list(
        leaves(message.fields)
    )


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_cyclonedds_encodes_the_same_bytes(family, name):
    """An independent encoder: the generic one of cyclonedds, field by field."""
    pytest.importorskip("cyclonedds")
    from cyclonedds.idl import IdlStruct

    message = filled(family, name, 2)
    payload = message.encode()
    assert IdlStruct.serialize(_sample(family, name, message.fields)) == payload


def _sample(family, name, row):
    from robot_ppo_node.drivers.unitree.unitree_idl import idl_type

    values = {}
    for field, kind, *length in STRUCTS[family][name]:
        if kind not in STRUCTS[family]:
            values[field] = row[field].tolist()
        elif length:
            values[field] = [_sample(family, kind, inner) for inner in row[field]]
        else:
            values[field] = _sample(family, kind, row[field])
    return idl_type(family, name)(**values)


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_octets_are_declared_as_bytes_and_never_as_uint8(family, name):
    """A uint8 in the type information crashes peers of cyclonedds 0.10: see unitree_idl.py."""
    pytest.importorskip("cyclonedds")
    from cyclonedds.idl import types

    from robot_ppo_node.drivers.unitree import unitree_idl as idl

    def declared(kind):
        for hint in kind.__annotations__.values():
            inner = getattr(hint, "__metadata__", (hint,))[0]
            inner = getattr(inner, "subtype", inner)
            if hasattr(inner, "__annotations__") and hasattr(inner, "__idl__"):
                yield from declared(inner)
            else:
                yield inner

    found = [
        *declared(idl.idl_type(family, name)),
        *declared(idl.request_type()),
        *declared(idl.response_type()),
    ]
    assert types.byte in found
    assert types.uint8 not in found and types.int8 not in found


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_a_message_survives_the_wire(family, name):
    message = filled(family, name, 3)
    again = decode(message.encode(), family, name)
    assert list(leaves(again.fields)) == list(leaves(message.fields))
    assert again.intact()


# --- malformed


@pytest.mark.parametrize(("family", "name"), TOPICS)
def test_wrong_bytes_are_refused_by_reason(family, name):
    payload = Message(family, name).encode()
    for bad in (payload[:-1], payload + b"\0", payload[:4], messages.HEADER):
        with pytest.raises(MalformedMessageError, match="size"):
            decode(bad, family, name)
    for bad in (b"", b"\x00\x00" + payload[2:], b"\x00\x07" + payload[2:]):
        with pytest.raises(MalformedMessageError, match="encoding"):
            decode(bad, family, name)


@settings(max_examples=200)
@given(st.integers(4, 4 + 808 - 1), st.integers(0, 7))
def test_a_flipped_bit_breaks_the_checksum(at, bit):
    payload = bytearray(filled("unitree_go", "LowCmd_", 4).encode())
    payload[at] ^= 1 << bit
    changed = decode(bytes(payload), "unitree_go", "LowCmd_")
    # The one byte of CDR padding that the C structure does not have carries nothing.
    assert not changed.intact() or at == 4 + 23


def test_the_layouts_are_made_once():
    assert layout("unitree_go", "LowCmd_") is layout("unitree_go", "LowCmd_")


# --- the robot's side


@pytest.mark.parametrize(
    ("dq", "kd", "tau", "taken"),
    [(0, 1, 0, True), (2.0, 1, 0, False), (0, 1, 0.5, False), (16000.0, 0, 0, True)],
)
def test_a_feed_forward_torque_is_refused_and_not_ignored(dq, kd, tau, taken):
    """A velocity without a gain is no torque: 16000 is the vendor's word for "no velocity"."""
    from robot_ppo_node.drivers.unitree.unitree_bodies import QUADRUPED
    from robot_ppo_node.robot_side.unitree_robot import BEGINNING, CommandDecoder

    command = Message("unitree_go", "LowCmd_")
    command.fields["head"] = tuple(BEGINNING[:2])
    command.fields["level_flag"] = BEGINNING[2]
    command.motors["mode"] = 1
    command.motors["dq"] = dq
    command.motors["kd"] = kd
    command.motors["tau"] = tau
    decoder = CommandDecoder(QUADRUPED, QUADRUPED.joint_names)
    if taken:
        assert decoder.decode(command.encode(), 0).kd.tolist() == [kd] * 12
        return
    with pytest.raises(MalformedMessageError, match="feed-forward"):
        decoder.decode(command.encode(), 0)
