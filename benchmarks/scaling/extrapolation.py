"""Extrapolate the model to more ranks than were measured, and try levers on its efficiency."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.scaling.model import Model, Network, hops
from benchmarks.scaling.settings import Run

RANKS = (8, 64, 512)
ENOUGH = 0.9
NETWORKS = {
    "one machine": (0.0, 2.5e9),
    "10 Gbit/s": (50e-6, 1.25e9),
    "1 Gbit/s": (100e-6, 125e6),
}
"""Assumed one-way delay [s], which gloo's own time for a hop is added to, and bytes/s of a rank."""
PER_RANK = 512
LEVERS: dict[str, Callable[[Run], Run]] = {
    "none": lambda run: run,
    "int8": lambda run: replace(run, form="int8"),
    "4 times the robots": lambda run: replace(run, per_rank=4 * run.per_rank),
    "1 minibatch instead of 4": lambda run: replace(run, minibatches=1),
    "both": lambda run: replace(run, per_rank=4 * run.per_rank, minibatches=1),
}
"""What a user can set. 'both' is the two before it."""


def rows(model: Model) -> list[dict[str, Any]]:
    """Return efficiencies, Go2 with 512 robots a rank, for every network and number of ranks."""
    found = []
    for name, network in _networks(model).items():
        row: dict[str, Any] = {"network": name}
        for ranks in RANKS:
            row[f"{ranks} ranks"] = round(model.efficiency(Run(ranks, PER_RANK), network), 3)
        row["last above 0.9"] = last_efficient(model, network, LEVERS["none"])
        found.append(row)
    return found


def levers(model: Model) -> list[dict[str, Any]]:
    """Return the most ranks with an efficiency above 0.9, for every lever and network."""
    networks = _networks(model)
    table: list[dict[str, Any]] = [
        {"lever": name} | {n: last_efficient(model, w, move) for n, w in networks.items()}
        for name, move in LEVERS.items()
    ]
    doubling = {n: _with_a_tree(model, w) for n, w in networks.items()}
    return [*table, {"lever": "sums by doubling, not a ring (not built)"} | doubling]


def last_efficient(model: Model, network: Network, move: Callable[[Run], Run]) -> int:
    """Return the largest power of two whose efficiency is above 0.9; 1: none."""
    return _last(lambda ranks: model.efficiency(move(Run(ranks, PER_RANK)), network))


def _with_a_tree(model: Model, network: Network) -> int:
    """Return the same if a sum took 2 log2 N hops instead of 2 (N - 1)."""

    def efficiency(ranks: int) -> float:
        run = Run(ranks, PER_RANK)
        ring = 2 * (ranks - 1)
        tree = 2 * (ranks.bit_length() - 1)
        fewer = replace(network, delay=network.delay * tree / ring)
        return model.efficiency(run, fewer)

    return _last(efficiency)


def _last(efficiency: Callable[[int], float]) -> int:
    good = [2**k for k in range(1, 13) if efficiency(2**k) > ENOUGH]
    return max(good, default=1)


def _networks(model: Model) -> dict[str, Network]:
    return {
        name: Network(model.hop + delay, bandwidth) for name, (delay, bandwidth) in NETWORKS.items()
    }


def shares(model: Model) -> list[dict[str, Any]]:
    """Return what an iteration of 64 ranks is made of, for every network."""
    run = Run(64, PER_RANK)
    return [
        {"network": name} | parts(model, run, network) for name, network in _networks(model).items()
    ]


def parts(model: Model, run: Run, network: Network) -> dict[str, float]:
    """Return the parts of an iteration's time: work, imbalance, hops, bytes."""
    whole = model.elsewhere(run, network)
    without = replace(network, delay=0.0)
    imbalance = model.waits(run, replace(without, bandwidth=float("inf")))
    return {
        "work": round((whole - model.waits(run, network)) / whole, 3),
        "imbalance": round(imbalance / whole, 3),
        "hops": round(hops(run) * network.delay / whole, 3),
        "bytes": round((model.waits(run, without) - imbalance) / whole, 3),
    }
