"""Processes that train one policy together, and the collective calls between them.

`torchrun` starts them and gives each its rank in environment variables. Each rank simulates its
part of the robots; gradients, normalizers and advantages are those over the samples of all ranks,
so that every rank holds the same weights, bit for bit. A process that was started alone is
`Ranks()`, whose methods return their arguments.

Each collective call must be made by all ranks in the same order. Actor and critic learn side by
side, so each has a `channel` of its own.
"""

import datetime
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from robot_ppo.ppo.metrics import Metrics, RunningMetrics
from robot_ppo_export.errors import InputError

NOTHING: Mapping[str, float] = {}
ACTOR = 0
CRITIC = 1
"""Channels."""
PATIENCE = 30.0
"""Time [s] that a rank waits for the others; ROBOT_PPO_RANK_TIMEOUT sets another."""
_AFTERMATH = 2.0
"""Time [s] that a rank waits for the message of one that has ended."""


class RankLostError(InputError):
    """Another rank ended, or does not answer."""


class Stopwatch:
    """Measures the time in which all jobs of this process wait, so that nothing is computed."""

    def __init__(self) -> None:
        """Begin with one job, which does not wait."""
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._jobs = 1
        self._waiting = 0
        self._since = 0.0

    def change(self, jobs: int = 0, waiting: int = 0) -> None:
        """Change the number of jobs that run side by side, or of those that wait."""
        with self._lock:
            now = time.perf_counter()
            if 0 < self._jobs == self._waiting:
                self.seconds += now - self._since
            self._jobs += jobs
            self._waiting += waiting
            self._since = now

    def finish(self, futures: Sequence[Future[None]]) -> None:
        """Return when all of some jobs, which run side by side, are done; raise what one raised."""
        self.change(jobs=len(futures) - 1)
        for future in futures:
            future.add_done_callback(lambda _: self.change(jobs=-1))
        for future in futures:
            future.result()
        self.change(jobs=1)


class Ranks:
    """One process that trains alone."""

    rank = 0
    size = 1

    def __init__(self) -> None:
        """Start to measure waits."""
        self.stopwatch = Stopwatch()

    @property
    def sent(self) -> float:
        """Bytes that this rank sent to others so far."""
        return 0.0

    @property
    def waited(self) -> float:
        """Time so far [s] in which this rank waited for the others and computed nothing.

        While the actor waits and the critic learns, or the other way round, a rank is at work.
        """
        return self.stopwatch.seconds

    def sum(self, values: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return the sum of an array over all ranks; the array may be changed."""
        return values

    def gather(self, data: bytes) -> list[bytes]:
        """Return the data of every rank, in their order."""
        return [data]

    def exchange(self, rows: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return what each rank has in the row of this one, (ranks, bytes) as `rows`."""
        return rows

    def gather_rows(self, row: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return the rows (bytes,) of all ranks, (ranks, bytes); all are of one length."""
        return row[None]

    def publish(self, progress: str) -> None:
        """Publish the progress of this rank, which the others name if it stops answering."""

    def leave(self, reason: str) -> None:
        """Publish why this rank ends; the others repeat it."""

    def close(self) -> None:
        """Tell the other ranks that this one ends, after the last call."""

    # -- in terms of these ------------------------------------------------------------------

    def barrier(self) -> None:
        """Return when every rank is here."""
        self.sum(np.zeros(1))

    def mean_and_std(self, x: Tensor, channel: int = ACTOR) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the numbers of all ranks, as scalars."""
        if self.size == 1:
            return x.mean(), x.std()
        wide = x.double()
        sums = [float(x.numel()), wide.sum().item(), wide.square().sum().item()]
        count, total, squares = self.sum(np.array(sums), channel).tolist()
        mean = total / count
        var = max(0.0, squares - count * mean * mean) / (count - 1)
        return torch.tensor(mean, dtype=x.dtype), torch.tensor(var**0.5, dtype=x.dtype)

    def metrics(self, own: Metrics, counts: Mapping[str, float] = NOTHING) -> Metrics:
        """Return the means of metrics over all ranks; of names that end in `_max`, the largest.

        Args:
            own: of this rank. One that lacks a name does not count for it.
            counts: number of what a mean of this rank is over; without it, ranks count alike.
        """
        if self.size == 1:
            return own
        pairs = {name: (float(value), float(counts.get(name, 1))) for name, value in own.items()}
        kind = dict[str, tuple[float, float]]
        found: dict[str, RunningMetrics] = {}
        for data in self.gather(msgspec.msgpack.encode(pairs)):
            for name, (value, count) in msgspec.msgpack.decode(data, type=kind).items():
                found.setdefault(name, RunningMetrics()).add({name: value}, count)
        return {name: running.result()[name] for name, running in found.items()}

    def concatenated(self, own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return name -> the numbers (m,) of all ranks, one rank after the other."""
        if self.size == 1:
            return dict(own)
        encoded = msgspec.msgpack.encode({name: x.tolist() for name, x in own.items()})
        kind = dict[str, list[float]]
        rows = [msgspec.msgpack.decode(data, type=kind) for data in self.gather(encoded)]
        return {name: np.concatenate([np.array(r[name]) for r in rows]) for name in own}

    def require_equal(self, what: Mapping[str, str]) -> None:
        """Raise `InputError` where a rank has something else than the first, and name both."""
        if self.size == 1:
            return
        rows = [
            msgspec.msgpack.decode(data, type=dict[str, str])
            for data in self.gather(msgspec.msgpack.encode(dict(what)))
        ]
        for rank, row in enumerate(rows):
            for name, value in rows[0].items():
                if row.get(name) != value:
                    raise InputError(
                        f"rank {rank} has another {name} than rank 0: "
                        f"{_differing(row.get(name, ''), value)}; all ranks must run one release "
                        "with one command"
                    )


def _differing(value: str, wanted: str) -> str:
    """Return the first lines in which two texts differ."""
    pairs = zip(value.splitlines() or [""], wanted.splitlines() or [""], strict=False)
    for one, other in pairs:
        if one != other:
            return f"{one.strip()!r}, not {other.strip()!r}"
    return "one of them is longer"


class ProcessGroup(Ranks):
    """The ranks that `torchrun` started, over gloo."""

    def __init__(self, patience: float = PATIENCE) -> None:
        """Meet the others; `InputError` where they do not come."""
        super().__init__()
        limit = datetime.timedelta(seconds=patience)
        self._patience = patience
        self._sent = [0.0, 0.0]
        """Bytes of each channel, each written by one thread."""
        self._attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        start = datetime.timedelta(seconds=max(120.0, patience))  # imports take their time
        try:
            meet = dist.rendezvous  # pyright: ignore[reportPrivateImportUsage]  # no public name
            self._store, self.rank, self.size = next(iter(meet("env://", timeout=start)))
            dist.init_process_group(
                "gloo", store=self._store, rank=self.rank, world_size=self.size, timeout=start
            )
            self._groups: list[Any] = [dist.new_group(timeout=limit) for _ in (ACTOR, CRITIC)]
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the ranks do not meet: {_line(error)}") from None

    @property
    def sent(self) -> float:
        """Bytes that this rank sent to others so far."""
        return sum(self._sent)

    def sum(self, values: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return the sum of an array over all ranks; the array may be changed."""
        self._sent[channel] += 2 * values.nbytes * (self.size - 1) / self.size
        self._call(dist.all_reduce, torch.from_numpy(values), group=self._groups[channel])
        return values

    def exchange(self, rows: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return what each rank has in the row of this one, (ranks, bytes) as `rows`."""
        received = torch.empty(rows.shape, dtype=torch.uint8)
        group = self._groups[channel]
        self._sent[channel] += rows.nbytes * (self.size - 1) / self.size
        self._call(dist.all_to_all_single, received, torch.from_numpy(rows), group=group)
        return received.numpy()

    def gather_rows(self, row: np.ndarray, channel: int = ACTOR) -> np.ndarray:
        """Return the rows (bytes,) of all ranks, (ranks, bytes); all are of one length."""
        received = [torch.empty(len(row), dtype=torch.uint8) for _ in range(self.size)]
        group = self._groups[channel]
        self._sent[channel] += row.nbytes * (self.size - 1)
        self._call(dist.all_gather, received, torch.from_numpy(row), group=group)
        return np.stack([one.numpy() for one in received])

    def gather(self, data: bytes) -> list[bytes]:
        """Return the data of every rank, in their order."""
        lengths = self.gather_rows(np.array([len(data)]).view(np.uint8)).view(np.int64)[:, 0]
        own = np.zeros(max(1, int(lengths.max())), np.uint8)
        own[: len(data)] = np.frombuffer(data, np.uint8)
        rows = self.gather_rows(own)
        return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]

    def publish(self, progress: str) -> None:
        """Publish the progress of this rank, which the others name if it stops answering."""
        self._call(self._store.set, self._key("at", self.rank), progress)

    def leave(self, reason: str) -> None:
        """Publish why this rank ends; the others repeat it."""
        try:
            self._store.set(self._key("ended", self.rank), reason)
        except RuntimeError:
            return  # the rank that keeps the store has ended first

    def close(self) -> None:
        """Tell the other ranks that this one ends, after the last call."""
        dist.destroy_process_group()

    def _key(self, what: str, rank: int) -> str:
        return f"robot_ppo/{self._attempt}/{what}/{rank}"

    def _call(self, function, *args, **kwargs) -> None:  # noqa: ANN001, ANN002, ANN003
        """Make a call that needs the others; `RankLostError` where one is missing."""
        self.stopwatch.change(waiting=1)
        try:
            function(*args, **kwargs)
        except RuntimeError as error:
            raise RankLostError(self._who_is_missing(_line(error))) from None
        finally:
            self.stopwatch.change(waiting=-1)

    def _who_is_missing(self, error: str) -> str:
        """Return a sentence about the rank that ended, or that is behind all others."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        until = time.monotonic() + _AFTERMATH
        while time.monotonic() < until:
            for rank in others:
                if (reason := self._said("ended", rank)) is not None:
                    return f"rank {rank} ended: {reason}"
            time.sleep(0.1)
        at = {rank: self._said("at", rank) or "its start" for rank in range(self.size)}
        behind = [rank for rank in others if at[rank] != at[self.rank]]
        if "imed out" in error or "imeout" in error:
            names = ", ".join(f"rank {rank} (after {at[rank]})" for rank in behind or others)
            return f"no answer for {self._patience:.0f} s from {names}; it hangs, or is too slow"
        names = " or ".join(f"rank {rank}" for rank in behind or others)
        return f"lost {names}, which exited without a message ({error[:120]})"

    def _said(self, what: str, rank: int) -> str | None:
        key = self._key(what, rank)
        try:
            return self._store.get(key).decode() if self._store.check([key]) else None
        except RuntimeError:
            return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def from_environment() -> Ranks:
    """Return the ranks that `torchrun` started, or the one process that was started alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks()
    text = os.environ.get("ROBOT_PPO_RANK_TIMEOUT", str(PATIENCE))
    try:
        patience = float(text)
    except ValueError:
        patience = 0.0
    if not 0 < patience < float("inf"):
        raise InputError(f"ROBOT_PPO_RANK_TIMEOUT={text}: is not a number of seconds above 0")
    return ProcessGroup(patience)
