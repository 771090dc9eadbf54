"""The process that trains: its threads, its cores, and the others that train with it.

    torchrun --nproc-per-node 2 -m robot_ppo train go2_walk --out runs/go2

Ranks on one machine share its cores: each keeps to its own part, so that their simulations do not
wait for one another. All settings of the process are restored at the end. Torch is loaded when they
meet: what a command line has wrong is said before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from robot_ppo.config import Config, Task
from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    from robot_ppo.ppo.ranks import Ranks

_APART = 1 << 33
"""Distance between the seeds of two ranks: beyond every seed that a run can have."""


@contextmanager
def together() -> "Iterator[Ranks]":
    """Meet the other ranks, keep to one's cores, and tell the others how it ended."""
    from robot_ppo.ppo import ranks
    from robot_ppo.training.threads import single_threaded

    with own_cores(), single_threaded():
        met = ranks.from_environment()
        try:
            yield met
        except BaseException as error:
            met.leave(str(error) or type(error).__name__)
            raise
        met.close()


def is_first() -> bool:
    """Return whether this process is the first rank, or alone."""
    return int(os.environ.get("RANK", "0")) == 0


def was_restarted() -> bool:
    """Return whether torchrun started this process anew after one had ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def seed(config: Config, ranks: "Ranks") -> int:
    """Return the seed of one rank, unlike that of every other."""
    return config.seed + _APART * ranks.rank


def simulations(config: Config, ranks: "Ranks") -> int:
    """Return how many one rank has; `InputError` for what several cannot do."""
    terms = config.task.curriculum if isinstance(config.task, Task) else {}
    shared = [name for name in terms if name != "terrain_level"]  # whose simulations have their own
    if ranks.size > 1 and shared:
        raise InputError(
            f"`task.curriculum.{shared[0]}`: its level follows the episodes of one process; start "
            "it without torchrun, or leave it out"
        )
    if config.num_envs % ranks.size:
        raise InputError(
            f"`num_envs`: {config.num_envs} simulations cannot be shared evenly among "
            f"{ranks.size} processes; make it a multiple of {ranks.size}"
        )
    return config.num_envs // ranks.size


@contextmanager
def own_cores() -> Iterator[None]:
    """Keep to this rank's part of the cores, where there are as many as ranks or more."""
    before = os.sched_getaffinity(0)
    part = part_of(sorted(before), *_place())
    if part:
        os.sched_setaffinity(0, part)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def part_of(cores: list[int], rank: int, ranks: int) -> list[int]:
    """Return a rank's neighbouring cores; none where there are fewer cores than ranks."""
    if ranks == 1 or len(cores) < ranks:
        return []
    first = len(cores) * rank // ranks
    return cores[first : len(cores) * (rank + 1) // ranks]


def _place() -> tuple[int, int]:
    """Return which of this machine's ranks this one is, and how many they are."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
