"""Unitree's DDS types, for cyclonedds; imported only where a driver opens a domain.

An octet can be declared `byte` or `uint8`. The bytes of a message are the same, and DDS does not
connect the one with the other. `byte` is what we say unless somebody on the domain says `uint8`, as
the vendor's Python SDK does with cyclonedds 11: 0.10, which the vendor's other software is made
with, does not know the type code of a uint8; a 0.10.2 peer was seen to crash on it.
"""

import functools
from typing import Any

from cyclonedds.idl import make_idl_struct, types

from robot_ppo_node.drivers.dds.participant import raw
from robot_ppo_node.drivers.unitree.unitree_messages import (
    F32,
    I16,
    I32,
    STRUCTS,
    U8,
    U16,
    U32,
)

OCTETS: dict[str, Any] = {"byte": types.byte, "uint8": types.uint8}
"""Ways to declare an octet, ours first."""
NUMBERS: dict[str, Any] = {
    U16: types.uint16,
    U32: types.uint32,
    I16: types.int16,
    I32: types.int32,
    F32: types.float32,
}


@functools.cache
def idl_type(family: str, name: str, octet: str = "byte") -> Any:
    """Return the DDS type of a structure; "LowCmd_" and "LowState_" carry raw bytes.

    `octet` is a key of `OCTETS`.
    """
    fields: dict[str, Any] = {}
    numbers = NUMBERS | {U8: OCTETS[octet]}
    for field, kind, *length in STRUCTS[family][name]:
        inner = idl_type(family, kind, octet) if kind in STRUCTS[family] else numbers[kind]
        fields[field] = types.array[inner, length[0]] if length else inner
    kind = make_idl_struct(name, f"{family}.msg.dds_.{name}", fields)
    return raw(kind) if name.startswith("Low") else kind


def _api(name: str, **fields: Any) -> Any:
    return make_idl_struct(name, f"unitree_api.msg.dds_.{name}", fields)


RequestIdentity = _api("RequestIdentity_", id=types.int64, api_id=types.int64)
RequestLease = _api("RequestLease_", id=types.int64)
RequestPolicy = _api("RequestPolicy_", priority=types.int32, noreply=bool)
RequestHeader = _api(
    "RequestHeader_", identity=RequestIdentity, lease=RequestLease, policy=RequestPolicy
)
ResponseStatus = _api("ResponseStatus_", code=types.int32)
ResponseHeader = _api("ResponseHeader_", identity=RequestIdentity, status=ResponseStatus)


@functools.cache
def request_type(octet: str = "byte") -> Any:
    """Return the DDS type of a question to a service of the robot."""
    binary = types.sequence[OCTETS[octet]]
    return _api("Request_", header=RequestHeader, parameter=str, binary=binary)


@functools.cache
def response_type(octet: str = "byte") -> Any:
    """Return the DDS type of an answer."""
    binary = types.sequence[OCTETS[octet]]
    return _api("Response_", header=ResponseHeader, data=str, binary=binary)
