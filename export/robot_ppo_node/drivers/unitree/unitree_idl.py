"""Unitree's DDS types, for cyclonedds; imported only where a driver opens a domain.

Octets are declared `types.byte`, not `types.uint8`: cyclonedds 11 describes a uint8 to its peers
with a type code that 0.10, which the vendor's software is made with, does not know; a 0.10.2 peer
was seen to crash on it. The bytes of the messages are the same either way.
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

NUMBERS: dict[str, Any] = {
    U8: types.byte,
    U16: types.uint16,
    U32: types.uint32,
    I16: types.int16,
    I32: types.int32,
    F32: types.float32,
}


@functools.cache
def idl_type(family: str, name: str) -> Any:
    """Return the DDS type of a structure; "LowCmd_" and "LowState_" carry raw bytes."""
    fields: dict[str, Any] = {}
    for field, kind, *length in STRUCTS[family][name]:
        inner = idl_type(family, kind) if kind in STRUCTS[family] else NUMBERS[kind]
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
Request = _api("Request_", header=RequestHeader, parameter=str, binary=types.sequence[types.byte])
ResponseStatus = _api("ResponseStatus_", code=types.int32)
ResponseHeader = _api("ResponseHeader_", identity=RequestIdentity, status=ResponseStatus)
Response = _api("Response_", header=ResponseHeader, data=str, binary=types.sequence[types.byte])
