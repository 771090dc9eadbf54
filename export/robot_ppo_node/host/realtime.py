"""Asks the machine for an even loop; each measure says whether it was granted.

    for measure in apply(fifo=50, cpu=3): print(measure)     # `run --realtime --cpu 3`
    with quiet_gc(): ...                                     # in every run

Timers at full resolution and a garbage collector that keeps out need no permission, and every run
has them. What more there is to have, and the command that gets it, says host_doctor.py.
"""

import contextlib
import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

PR_SET_TIMERSLACK = 29
PR_GET_TIMERSLACK = 30
MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4
FIFO_PRIORITY = 50
"""Priority above ordinary programs, below the interrupt threads of a PREEMPT_RT kernel."""
HELPERS_PRIORITY = 40
"""Priority of the other threads: the loop goes first, and waits for no ordinary program when one of
them holds Python's lock."""


@dataclass(frozen=True)
class Measure:
    """One thing that was asked for."""

    name: str
    granted: bool
    text: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.name}: {self.text}"


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep the garbage collector out of the loop: a full collection takes milliseconds.

    Where somebody has frozen objects before, those of the loop stay frozen with them: Python has
    one store for all.
    """
    was_on = gc.isenabled()
    was_empty = gc.get_freeze_count() == 0
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        if was_empty:
            gc.unfreeze()


def prepare_process() -> None:
    """Ask for exact timers: the default slack of 50 us costs milliseconds in the tail."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def timer_slack() -> int:
    """Return by how much the kernel may delay this thread's timers [ns]."""
    return int(ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0))


def apply(fifo: int | None = FIFO_PRIORITY, cpu: int | None = None) -> list[Measure]:
    """Take a real-time priority, lock the memory, and stay on a processor; return what was granted.

    It is about the calling thread, and those that it starts from now on: so it comes when every
    other thread and process has been started, and `lift_others` after it.

    Args:
        fifo: priority under SCHED_FIFO, 1 to 99.
        cpu: the processor to stay on.
    """
    prepare_process()
    measures = [] if cpu is None else [_stay_on(cpu)]
    return [*measures, _schedule(fifo), _lock_memory()] if fifo else measures


def lift_others(priority: int = HELPERS_PRIORITY) -> None:
    """Give the other threads of this process a real-time priority, where that is permitted.

    They stay free to run on any processor.
    """
    for thread in map(int, os.listdir("/proc/self/task")):
        if thread != threading.get_native_id():
            with contextlib.suppress(OSError):  # not permitted, or gone
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))


def _schedule(priority: int) -> Measure:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        return Measure(
            *("SCHED_FIFO", False),
            f"refused ({error.strerror}); robot-ppo-node doctor says how to be allowed",
        )
    return Measure("SCHED_FIFO", True, f"priority {priority}")


def _lock_memory() -> Measure:
    """Let no page of this process be paged out, once it is in use.

    Not what is merely reserved, such as 8 MB of stack per thread: that would make 70 MB 244. The
    pages that a tick needs are in use since the warm-up.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        reason = os.strerror(ctypes.get_errno())
        return Measure(
            *("mlockall", False),
            f"refused ({reason}); robot-ppo-node doctor says how to be allowed",
        )
    return Measure("mlockall", True, "memory locked")


def _stay_on(cpu: int) -> Measure:
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError, OverflowError) as error:
        present = ", ".join(str(i) for i in sorted(os.sched_getaffinity(0)))
        return Measure(
            "affinity", False, f"processor {cpu} refused ({_why(error)}); there are {present}"
        )
    return Measure("affinity", True, f"on processor {cpu}")


def _why(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
