"""`python -m benchmarks.peers`: speed beside the libraries that people use.

Same task, networks, batch and epochs. All take turns, an iteration each, in one process, so that a
noisy machine disturbs all alike; figures are medians over the turns, and the ratio is over the
fastest way to run the peer. Peers come with `pip install 'robot-ppo[peers]'`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

import robot_ppo
from benchmarks.common import machine, write_json
from benchmarks.peers import learners
from benchmarks.peers.learners import Iterate
from benchmarks.speed import gym_ratio
from robot_ppo import config
from robot_ppo.cli import exit_code
from robot_ppo.config import Config
from robot_ppo.envs import registration
from robot_ppo_export.errors import InputError

WARM_UP = 2
"""Number of first turns that do not count."""

HOPELESS = 2.0
"""A way to run the peer that took this many times the fastest way's time is not run again."""

SB3_DEFAULTS = (
    "num_envs=16",
    "rollout=128",
    "ppo.epochs=10",
    "ppo.minibatches=32",
    "ppo.normalize_advantages=minibatch",
    "ppo.recompute_advantages=false",
    "ppo.normalize_returns=false",
    "ppo.learning_rate_schedule=constant",
)
"""Ours set to do what it does."""

Peer = Callable[[], AbstractContextManager[Iterate]]


@dataclass(frozen=True)
class Result:
    """One figure: environment steps/s of ours and of theirs."""

    name: str
    ours: float
    theirs: float
    """Speed of the fastest way to run the peer."""
    fastest: str
    ratio: float
    at_least: float
    aim: float
    settings: str
    candidates: dict[str, float]
    """Every way to run the peer that was measured; 2 torch threads where they are of use."""


def race(settings: Config, peers: dict[str, Peer], turns: int) -> tuple[float, dict[str, float]]:
    """Return training steps/s of ours and of each peer; all take turns, an iteration each."""
    batch = settings.num_envs * settings.rollout
    times: dict[str, list[float]] = {name: [] for name in ("", *peers)}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        iterates = {name: stack.enter_context(make()) for name, make in peers.items()}

        def turn(seconds: float) -> None:
            times[""].append(seconds)
            for name in _contenders({name: times[name] for name in iterates}):
                times[name].append(iterates[name]())

        learners.ours(settings, Path(folder), WARM_UP + turns, turn)
    speed = {name: batch / median(t[WARM_UP:] or t) for name, t in times.items()}
    return speed.pop(""), speed


def _contenders(times: dict[str, list[float]]) -> list[str]:
    """Return who has not shown yet that it is not the fastest, by the least time of each."""
    best = {name: min(seconds, default=0.0) for name, seconds in times.items()}
    return [name for name, least in best.items() if least <= HOPELESS * min(best.values())]


def train_over_sb3_default(quick: bool) -> list[Result]:
    """HalfCheetah-v5 with the defaults of Stable-Baselines3: 2048 samples, 64, 10 epochs."""
    settings = config.load("HalfCheetah-v5", overrides=SB3_DEFAULTS)
    ways = [(1, "dummy"), (8, "dummy")]
    return [_over_sb3("train_over_sb3_default", settings, ways, 3 if quick else 10, 4.5, 8)]


def train_over_sb3_recommended(quick: bool) -> list[Result]:
    """HalfCheetah-v5 with the batch of configs/train/gym.yaml."""
    settings = config.load("HalfCheetah-v5")
    n = settings.num_envs
    ways = [(n, "dummy"), (n, "subproc")]
    return [_over_sb3("train_over_sb3_recommended", settings, ways, 3 if quick else 10, 4, 10)]


def _over_sb3(
    name: str,
    settings: Config,
    ways: Sequence[tuple[int, str]],
    turns: int,
    at_least: float,
    aim: float,
) -> Result:
    _require("stable_baselines3", "imageio")
    peers: dict[str, Peer] = {
        f"{n} envs {kind}, {threads} torch threads": partial(
            learners.sb3, settings, n, kind, threads
        )
        for n, kind in ways
        for threads in learners.useful_threads(settings)
    }
    return _result(name, settings, *race(settings, peers, turns), at_least, aim)


def train_over_rsl_rl(quick: bool) -> list[Result]:
    """Our Go2 task with the preset that `robot-ppo train` uses, but left and right apart."""
    _require("rsl_rl")
    settings = config.load("go2_walk", overrides=("networks.symmetric=false",))
    env_id = registration.env_id("go2_walk")
    peers: dict[str, Peer] = {
        f"{threads} torch threads, observations {'' if normalize else 'not '}normalized": partial(
            learners.rsl_rl, settings, env_id, threads, normalize
        )
        for threads in learners.useful_threads(settings)
        for normalize in (True, False)
    }
    measured = race(settings, peers, 5 if quick else 25)
    return [_result("train_over_rsl_rl", settings, *measured, 1.3, 2)]


def _result(
    name: str,
    settings: Config,
    ours: float,
    theirs: dict[str, float],
    at_least: float,
    aim: float,
) -> Result:
    ppo = settings.ppo
    networks = settings.networks
    batch = settings.num_envs * settings.rollout
    fastest = max(theirs, key=lambda way: theirs[way])
    text = (
        f"{settings.task.name}, batch {batch} (ours {settings.num_envs} simulations x "
        f"{settings.rollout}), minibatch {batch // ppo.minibatches}, {ppo.epochs} epochs, networks "
        f"{'-'.join(map(str, networks.actor))} {networks.activation}"
    )
    return Result(
        name,
        ours=round(ours),
        theirs=round(theirs[fastest]),
        fastest=fastest,
        ratio=round(ours / theirs[fastest], 2),
        at_least=at_least,
        aim=aim,
        settings=text,
        candidates={way: round(speed) for way, speed in theirs.items()},
    )


def env_over_gymnasium(quick: bool) -> list[Result]:
    """Environment steps/s beside `gymnasium.make_vec`, random actions."""
    figures = gym_ratio.bench_gym(rounds=3 if quick else 15, steps=20)
    marks = {"HalfCheetah-v5": (5, 10), "Humanoid-v5": (3, 6)}
    results = []
    for task, (at_least, aim) in marks.items():
        theirs = {way: figures[f"{task}_{way}_per_second"] for way in ("sync", "async")}
        fastest = max(theirs, key=lambda way: theirs[way])
        results.append(
            Result(
                f"env_over_gymnasium_{task}",
                ours=figures[f"{task}_ours_per_second"],
                theirs=theirs[fastest],
                fastest=fastest,
                ratio=figures[f"{task}_ratio"],
                at_least=at_least,
                aim=aim,
                settings=f"{task}, {figures['simulations']} environments, random actions",
                candidates=theirs,
            )
        )
    return results


FIGURES: dict[str, Callable[[bool], list[Result]]] = {
    function.__name__: function
    for function in (
        train_over_sb3_default,
        train_over_sb3_recommended,
        train_over_rsl_rl,
        env_over_gymnasium,
    )
}


def _require(*modules: str) -> None:
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        raise InputError(
            f"this figure needs {', '.join(missing)}: pip install 'robot-ppo[train,peers]'"
        )


def report(results: Sequence[Result], console: Console) -> None:
    """Print a row per figure, and below it what was measured."""
    table = Table()
    for heading in ("", "ours", "theirs", "ratio", "floor", "aim"):
        table.add_column(heading, no_wrap=True)
    for r in results:
        ours = f"{r.ours:,.0f}/s"
        theirs = f"{r.theirs:,.0f}/s"
        ratio = f"{r.ratio:.2f}"
        table.add_row(r.name, ours, theirs, ratio, f"{r.at_least:g}", f"{r.aim:g}")
    console.print(table)
    for r in results:
        console.print(f"{r.name}: {r.settings}; theirs: {r.fastest}", highlight=False)


def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    packages = {"stable_baselines3": "stable-baselines3", "rsl_rl": "rsl-rl-lib"}
    installed = [name for module, name in packages.items() if find_spec(module)]
    return {name: version(name) for name in ("torch", "mujoco", "gymnasium", *installed)} | {
        "robot-ppo": robot_ppo.__version__
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.peers", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Measure training speed beside other libraries, an iteration each in turns.",
        epilog="example:\n  python -m benchmarks.peers --only train_over_rsl_rl --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--only", choices=FIGURES, help="one figure instead of all")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    top.add_argument("--quick", action="store_true", help="fewer turns")
    return top


def run(args: argparse.Namespace) -> None:
    """Measure the figures, print them, and write them as JSON if asked."""
    begin = time.perf_counter()
    names = [args.only] if args.only else list(FIGURES)
    results = [r for name in names for r in FIGURES[name](args.quick)]
    report(results, Console())
    figures = {
        "machine": machine(),
        "versions": versions(),
        "figures": {r.name: asdict(r) for r in results},
        "seconds": round(time.perf_counter() - begin, 1),
    }
    write_json(args.json, figures)
