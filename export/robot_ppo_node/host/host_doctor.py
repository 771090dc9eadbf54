"""`robot-ppo-node doctor`: what this machine gives a real-time loop, and what would improve it.

Each finding is one function: what there is, whether that is good, and the command that makes it so.
"""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.host.realtime import prepare_process, quiet_gc, timer_slack

MEMLOCK_NEEDED = 256 * 2**20
"""[bytes] that the node and its libraries map."""
SYSTEM = Path("/sys/devices/system")
LIMITS_FILE = "/etc/security/limits.conf"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    value: str
    good: bool
    fix: str = ""


def examine(clock: Clock, seconds: float = 10.0, period: float = 0.002) -> list[Finding]:
    """Return what the machine gives; `seconds` of it are spent measuring wake-ups."""
    return [
        _kernel(),
        _scheduler(),
        _memlock(),
        _throttling(),
        _governor(),
        _isolated(),
        _clock_source(),
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


def _scheduler() -> Finding:
    """Whether SCHED_FIFO is permitted, shown by taking it for a moment."""
    policy = os.sched_getscheduler(0)
    parameter = os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, policy, parameter)
    except OSError as error:
        soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        return Finding(
            *("SCHED_FIFO", f"refused ({error.strerror}), rtprio limit {soft}", False),
            f"echo '@realtime - rtprio 99' | sudo tee -a {LIMITS_FILE}; sudo groupadd -f realtime; "
            "sudo usermod -aG realtime $USER; log in again. In docker: --cap-add=sys_nice",
        )
    return Finding("SCHED_FIFO", "permitted: run --realtime takes it", True)


def _memlock() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    endless = soft == resource.RLIM_INFINITY
    return Finding(
        *("memlock", "unlimited" if endless else f"{soft >> 20} MiB"),
        endless or soft >= MEMLOCK_NEEDED or os.geteuid() == 0,
        f"echo '@realtime - memlock unlimited' | sudo tee -a {LIMITS_FILE}; log in again. "
        "In docker: --ulimit memlock=-1",
    )


def _throttling() -> Finding:
    """The share of time that real-time programs may have; the rest keeps a shell alive."""
    path = Path("/proc/sys/kernel/sched_rt_runtime_us")
    text = path.read_text().strip() if path.exists() else "unknown"
    return Finding("rt throttling", f"{text} of 1000000 us", True)


def _governor() -> Finding:
    paths = sorted(SYSTEM.glob("cpu/cpu*/cpufreq/scaling_governor"))
    found = sorted({path.read_text().strip() for path in paths})
    return Finding(
        *("governor", ", ".join(found) or "none (fixed clock, or a VM)"),
        found in ([], ["performance"]),
        "sudo cpupower frequency-set -g performance (Jetson: sudo jetson_clocks)",
    )


def _isolated() -> Finding:
    path = SYSTEM / "cpu/isolated"
    cpus = path.read_text().strip() if path.exists() else ""
    return Finding(
        *("isolated cpus", cpus or f"none of {os.cpu_count()}", bool(cpus)),
        "fine at 50 Hz; else boot with isolcpus=3 nohz_full=3 and run --cpu 3",
    )


def _clock_source() -> Finding:
    path = SYSTEM / "clocksource/clocksource0/current_clocksource"
    source = path.read_text().strip() if path.exists() else "unknown"
    return Finding(
        *("clock source", source, source not in ("hpet", "acpi_pm", "jiffies")),
        "boot with clocksource=tsc tsc=reliable",
    )


def _timer_slack() -> Finding:
    prepare_process()
    slack = timer_slack()
    return Finding("timer slack", f"{slack} ns (the node sets it)", 0 <= slack <= 1000)


def _jitter(clock: Clock, seconds: float, period: float) -> Finding:
    """Wake up at absolute deadlines, and say how late that was."""
    late, missed = wake_ups(clock, seconds, period)
    p50, p99, worst = np.quantile(late, (0.5, 0.99, 1.0)) * 1e3
    return Finding(
        f"wake-up at {1 / period:.0f} Hz",
        f"late by p50 {p50:.3f} ms, p99 {p99:.3f} ms, worst {worst:.3f} ms; missed {missed}",
        bool(p99 < 1.0),
        "stop other work on this computer, or run --realtime",
    )


def wake_ups(clock: Clock, seconds: float, period: float) -> tuple[np.ndarray, int]:
    """Return how late each wake-up was [s], over `seconds`, and how many deadlines were missed."""
    late = np.zeros(max(int(seconds / period), 1))
    with quiet_gc():
        pacer = Pacer(clock, period)
        for i in range(len(late)):
            pacer.wait()
            late[i] = pacer.late
    return late, pacer.missed
