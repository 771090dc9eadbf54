"""A thread that runs shortly and often, beside a browser that takes every processor.

Linux runs who has the earliest deadline, and a deadline is as far away as the slice of time that a
thread asks for. Who asks for a short one is run soon after it wakes up, with no more of the
processor in all (sched(7), "EEVDF"). It needs no privilege; Linux has it since 6.12.
"""

import ctypes
import platform
import struct

SLICE_NS = 100_000
"""The shortest that Linux gives [ns]; without asking it is a few milliseconds."""
CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Machine -> numbers of the system calls sched_setattr and sched_getattr."""
ATTRIBUTES = struct.Struct("IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime (the slice) [ns], deadline [ns],
period [ns]"""


def shorten() -> bool:
    """Ask for short slices for this thread and those that it starts; return whether it has them."""
    held = _held()
    if held is None:
        return False
    size, policy, _, nice, *_ = held
    if policy != 0:  # a real-time one comes before all others anyway
        return False
    wanted = ATTRIBUTES.pack(size, policy, 0, nice, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(CALLS[platform.machine()][0], 0, wanted, 0)
    return current() == SLICE_NS


def current() -> int:
    """Return the slice of this thread [ns], 0 where Linux does not say."""
    held = _held()
    return 0 if held is None else held[5]


def _held() -> tuple[int, ...] | None:
    """Return the attributes of this thread, None where there is no such call."""
    if platform.machine() not in CALLS:
        return None
    held = ctypes.create_string_buffer(ATTRIBUTES.size)
    get = CALLS[platform.machine()][1]
    failed = ctypes.CDLL(None).syscall(get, 0, held, ATTRIBUTES.size, 0)
    return None if failed else ATTRIBUTES.unpack(held.raw)
