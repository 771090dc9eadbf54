"""How every `mujoco.batch.Batch` of this project is made: no unseen resets, no stopwatch.

    batch = simulations.create(model, n=1024, threads=2)
    with simulations.stopwatch():       # MuJoCo as it is without us, to be compared with
        ...

MuJoCo times the stages of every physics step, two dozen looks at the clock each, for a profiler
that only its viewer shows: 4 % of a step of the Go2, 12 % of one of HalfCheetah. It is a global of
the library, so `data.timer` stays zero in the whole process once a batch has been made.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mujoco
from mujoco.batch import Batch

LIBRARIES = ("libmujoco.so*", "libmujoco*.dylib", "mujoco.dll")
"""Of MuJoCo on Linux, macOS and Windows, beside its Python modules."""


def create(model: mujoco.MjModel, n: int, threads: int, persistent: bool = False) -> Batch:
    """Return n simulations of `model` on so many threads (0: all CPUs).

    A simulation that diverges stays so until its owner has seen it; MuJoCo would put it back to
    its start in the middle of an episode.

    Args:
        model: is changed in that respect.
        n: number of simulations.
        threads: of the physics.
        persistent: keep an MjData for each; see `Batch`.
    """
    _set_stopwatch(None)
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    return Batch(model, n, threads, persistent=persistent)


@contextlib.contextmanager
def stopwatch() -> Iterator[None]:
    """Let MuJoCo time its stages meanwhile, as it does in programs that know nothing of us.

    It is then as it was before, so make no batch meanwhile: that one would be timed as well.
    """
    timer, default = _timer()
    before = None if timer is None else timer.value
    _set_stopwatch(default)
    try:
        yield
    finally:
        _set_stopwatch(before)


def _set_stopwatch(function: int | None) -> None:
    """Have MuJoCo ask this C function for the time, or none; leave one of somebody's own alone."""
    timer, _ = _timer()
    if timer is not None and mujoco.get_mjcb_time() is None:
        timer.value = function


@cache
def _timer() -> tuple[ctypes.c_void_p | None, int | None]:
    """Return MuJoCo's global `mjcb_time` and its value at first; None where it is not found."""
    folder = Path(mujoco.__file__).parent
    for path in (path for pattern in LIBRARIES for path in sorted(folder.glob(pattern))):
        with contextlib.suppress(OSError, ValueError):
            timer = ctypes.c_void_p.in_dll(ctypes.CDLL(str(path)), "mjcb_time")
            return timer, timer.value
    return None, None
