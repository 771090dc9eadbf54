"""The cost of an iteration as a sum of terms, each fitted to what was measured.

    seconds = crowding x (collect + learn) + imbalance + hops x delay + bytes / bandwidth

*collect* is a constant for every control step and a time for every robot and step; *learn* is a
constant for every minibatch and a time for every sample and epoch. *Crowding* is what ranks cost
each other that share a machine: once where each has a core, once where they take turns. *Imbalance*
is the wait for the slowest of N at every minibatch, for random times in proportion to the
expectation of the largest of N. gloo's ring hands a sum on 2 (N - 1) times; the bytes that a rank
sends are 2 (N - 1) / N of the gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, median

import numpy as np

from benchmarks.rank_runs import Cost
from benchmarks.scaling.settings import Run

STEPS = 6
"""Control steps of an iteration, and epochs: those of the default preset."""
EPOCHS = 4
OTHER_CALLS = 12
"""Calls of an iteration beside those for gradients: metrics, normalizers, clocks."""


@dataclass(frozen=True)
class Network:
    """What a message meets between two ranks."""

    delay: float
    """One way [s], the time that gloo takes for a hop included."""
    bandwidth: float
    """Of one rank [bytes/s]."""


@dataclass(frozen=True)
class Model:
    """Fitted coefficients [s], [bytes]."""

    cores: int
    collect_call: float
    collect_sample: float
    learn_minibatch: float
    learn_sample: float
    crowded: float
    """Factor on a rank's work where every core is busy."""
    in_turns: float
    """The same where several ranks share a core, beside the share itself."""
    imbalance: float
    """Wait of a rank for the slowest, in its work times the expected largest of N."""
    hop: float
    """Time of one hop on the loopback."""
    delay_hops: float
    """Injected delays that a hop meets, 1 if the ring is what it is said to be."""
    relay: float
    """Time that the relay between namespaces adds to a hop."""
    payload: dict[str, float]
    """Bytes of both gradients, by form."""

    def work(self, run: Run) -> float:
        """Return the seconds of a rank that has a core of an idle machine to itself."""
        collect, learn = columns(run)
        return float(
            collect @ (self.collect_call, self.collect_sample)
            + learn @ (self.learn_minibatch, self.learn_sample)
        )

    def predict(self, run: Run) -> float:
        """Return the seconds of an iteration on the machine that was measured."""
        hop = self.hop + self.relay * run.slowed + self.delay_hops * run.delay
        network = Network(hop, run.bandwidth)
        return self.crowding(run.ranks) * self.work(run) + self.waits(run, network)

    def crowding(self, ranks: int) -> float:
        """Return what ranks that share the machine make of each other's work."""
        if ranks == 1:
            return 1.0
        return self.crowded if ranks <= self.cores else self.in_turns * ranks / self.cores

    def waits(self, run: Run, network: Network) -> float:
        """Return the seconds in which a rank waits for the others and the network."""
        if run.ranks == 1:
            return 0.0
        own = self.crowding(min(run.ranks, self.cores)) * self.work(run)
        return (
            self.imbalance * largest(run.ranks) * own
            + hops(run) * network.delay
            + traffic(run, self.payload[run.form]) / network.bandwidth
        )

    def elsewhere(self, run: Run, network: Network) -> float:
        """Return the seconds of an iteration where every rank has a core of a busy machine."""
        return self.crowded * self.work(run) + self.waits(run, network)

    def efficiency(self, run: Run, network: Network) -> float:
        """Return the part of the time that is a rank's own work."""
        return self.crowded * self.work(run) / self.elsewhere(run, network)


def columns(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return what the times of collecting and of learning are linear in, (2,) each."""
    samples = STEPS * run.per_rank
    return np.array([STEPS, samples]), np.array([EPOCHS * run.minibatches, EPOCHS * samples])


def messages(run: Run) -> int:
    """Return how often a gradient is reduced in an iteration: the actor's and the critic's."""
    return 2 * EPOCHS * run.minibatches


def hops(run: Run) -> float:
    """Return how often a message is handed on in an iteration, one after the other."""
    ring = 2 * (run.ranks - 1)
    gradient = ring if run.form == "float32" else run.ranks  # to all at once, then a ring
    return messages(run) * gradient + OTHER_CALLS * ring


def traffic(run: Run, payload: float) -> float:
    """Return the bytes that a rank sends in an iteration."""
    return 0.5 * messages(run) * payload * 2 * (run.ranks - 1) / run.ranks


def largest(ranks: int) -> float:
    """Return the expectation of the largest of N standard normal numbers (Blom)."""
    return NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def fit(measured: Sequence[tuple[Run, Cost]], cores: int) -> Model:
    """Return the model of what was measured; held-out runs have no say."""
    used = [(run, cost) for run, cost in measured if not run.held_out]
    alone = [(run, cost) for run, cost in used if run.ranks == 1]
    collect = nonnegative(
        [columns(run)[0] for run, _ in alone], [collecting(cost) for _, cost in alone]
    )
    learn = nonnegative(
        [columns(run)[1] for run, _ in alone],
        [cost.seconds - collecting(cost) for _, cost in alone],
    )
    payload = _payload(used)
    start = Model(
        cores=cores,
        collect_call=float(collect[0]),
        collect_sample=float(collect[1]),
        learn_minibatch=float(learn[0]),
        learn_sample=float(learn[1]),
        crowded=1.0,
        in_turns=1.0,
        imbalance=0.0,
        hop=0.0,
        delay_hops=1.0,
        relay=0.0,
        payload=payload,
    )
    together = [(run, cost) for run, cost in used if run.ranks > 1]
    return _with_waits(start, together)


def collecting(cost: Cost) -> float:
    """Return the seconds of physics, policy and environment."""
    return cost.seconds if not cost.parts else sum(cost.parts[n] for n in PARTS_OF_COLLECT)


PARTS_OF_COLLECT = ("physics", "policy", "environment")


def _payload(used: Sequence[tuple[Run, Cost]]) -> dict[str, float]:
    """Return the bytes of both gradients in each form."""
    found: dict[str, list[float]] = {}
    for run, cost in used:
        if run.ranks > 1:
            found.setdefault(run.form, []).append(cost.sent / traffic(run, 1.0))
    return {form: median(values) for form, values in found.items()}


def _with_waits(start: Model, together: Sequence[tuple[Run, Cost]]) -> Model:
    """Fit what ranks cost each other: crowding, imbalance, hops, and what a delay does."""
    rows = []
    left = []
    for run, cost in together:
        waits = _columns_of_waits(start, run)
        sent = traffic(run, start.payload[run.form]) / run.bandwidth
        work = start.work(run)
        roomy = run.ranks <= start.cores
        turns = [work, 0.0] if roomy else [0.0, work * run.ranks / start.cores]
        rows.append([*turns, *waits])
        left.append(cost.seconds - sent)
        if roomy:  # else a rank that waits gives its core to another, and its wait is their work
            rows.append([0.0, 0.0, *waits])
            left.append(cost.waited - sent)
    crowded, in_turns, imbalance, hop, delay_hops, relay = nonnegative(rows, left).tolist()
    return replace(
        start,
        crowded=crowded,
        in_turns=in_turns,
        imbalance=imbalance / max(crowded, 1e-9),
        hop=hop,
        delay_hops=delay_hops,
        relay=relay,
    )


def _columns_of_waits(start: Model, run: Run) -> list[float]:
    """Return what imbalance, hop, injected delay and relay are multiplied by."""
    handed_on = hops(run)
    slowed = handed_on * run.slowed
    return [largest(run.ranks) * start.work(run), handed_on, handed_on * run.delay, slowed]


def nonnegative(
    rows: Sequence[Sequence[float] | np.ndarray], values: Sequence[float]
) -> np.ndarray:
    """Return coefficients >= 0 with the least sum of |relative errors|, by reweighting.

    Absolute errors, because one run that something else disturbed must not bend the others.
    """
    matrix = np.array(rows, float) / np.abs(np.array(values))[:, None]
    target = np.sign(np.array(values))
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1.0
    matrix = matrix / scale
    weights = np.ones(len(target))
    found = np.zeros(matrix.shape[1])
    for _ in range(50):
        root = np.sqrt(weights)
        found = _least_squares(matrix * root[:, None], target * root)
        weights = 1 / np.maximum(np.abs(matrix @ found - target), 1e-3)
    return found / scale


def _least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least squares with coefficients >= 0: the most negative one leaves, in turn."""
    found = np.zeros(matrix.shape[1])
    inside = np.flatnonzero(np.abs(matrix).max(axis=0) > 0)
    while len(inside):
        some = np.linalg.lstsq(matrix[:, inside], target, rcond=None)[0]
        if (some >= 0).all():
            found[inside] = some
            break
        inside = np.delete(inside, np.argmin(some))
    return found
