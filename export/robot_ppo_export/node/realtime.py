"""What the machine gives a real-time loop: measures that need no privilege, and a short doctor.

`prepare_process` and `quiet_gc` are used by every run; `doctor` reports what more there is to
have, and the command that gets it.
"""

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_ppo_export.node.clock import Clock, Pacer

PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
MEMLOCK_NEEDED = 256 * 2**20
"""[bytes] that the node and its libraries map."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    value: str
    good: bool
    fix: str = ""


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep the garbage collector out of the loop: a full collection takes milliseconds."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        gc.unfreeze()


def prepare_process() -> None:
    """Ask for exact timers: the default slack of 50 us costs milliseconds in the tail."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def doctor(clock: Clock, seconds: float = 5.0, period: float = 0.002) -> list[Finding]:
    """Return what the machine gives; `seconds` of it are spent measuring wake-ups."""
    return [
        _kernel(),
        _limit("rtprio", resource.RLIMIT_RTPRIO, 1, "rtprio 99"),
        _limit("memlock", resource.RLIMIT_MEMLOCK, MEMLOCK_NEEDED, "memlock unlimited"),
        _governor(),
        _timer_slack(),
        _jitter(clock, seconds, period),
    ]


def _kernel() -> Finding:
    release = f"{os.uname().release} {os.uname().version}"
    text = next((k for k in ("PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT") if k in release), "none")
    return Finding(
        "kernel",
        f"{os.uname().release}, preemption {text}",
        text == "PREEMPT_RT",
        "fine at 50 Hz; for 500 Hz install a PREEMPT_RT kernel (apt install linux-image-rt-amd64)",
    )


def _limit(name: str, which: int, needed: int, line: str) -> Finding:
    soft, _ = resource.getrlimit(which)
    good = soft == resource.RLIM_INFINITY or soft >= needed
    value = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    return Finding(
        name, value, good, f"echo '@realtime - {line}' | sudo tee -a /etc/security/limits.conf"
    )


def _governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    governor = path.read_text().strip() if path.exists() else "none (fixed clock, or a VM)"
    good = governor == "performance" or not path.exists()
    return Finding("governor", governor, good, "sudo cpupower frequency-set -g performance")


def _timer_slack() -> Finding:
    prepare_process()
    slack = ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)
    return Finding("timer slack", f"{slack} ns (the node sets it)", 0 <= slack <= 1000)


def _jitter(clock: Clock, seconds: float, period: float) -> Finding:
    """Wake up at absolute deadlines, and say how late that was."""
    late = np.zeros(max(int(seconds / period), 1))
    with quiet_gc():
        pacer = Pacer(clock, period)
        for i in range(len(late)):
            pacer.wait()
            late[i] = pacer.late
    p50, p99, worst = np.quantile(late, (0.5, 0.99, 1.0)) * 1e3
    return Finding(
        f"wake-up at {1 / period:.0f} Hz",
        f"late by p50 {p50:.3f} ms, p99 {p99:.3f} ms, worst {worst:.3f} ms; missed {pacer.missed}",
        p99 < 1.0,
        "stop other work on this computer, or run under SCHED_FIFO: sudo chrt -f 50 robot-ppo-node",
    )
