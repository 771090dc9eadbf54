"""`python -m benchmarks.peers.recipes`: our task and recipe beside those of mjbatch's Go1 example.

The example (mjbatch 0.1.4, `examples/go1_joystick.py`) claims a walking Go1 in under a minute on
a laptop whose GPU learns. Its task has no noise, delays or pushes, and randomizes only the friction
of the feet; its recipe takes longer rollouts and larger networks. This benchmark trains all four
combinations on our Go2 with our learner, and scores each by the same scorecard.

Not taken over: the base velocity in its actor's observation, because a robot does not measure it;
its reward, its gait and its robot; the mirror-symmetric network.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.speed.engine_ratio import TASK, raw_steps_per_second
from benchmarks.speed.walking import raw_equivalent, time_to_walking
from robot_ppo import arguments
from robot_ppo.cli import exit_code
from robot_ppo.evaluation import evaluate, scorecard

RECIPE = (
    "num_envs=1024",
    "rollout=24",
    "ppo.epochs=5",
    "ppo.minibatches=4",
    "ppo.gamma=0.99",
    "ppo.gae_lambda=0.95",
    "ppo.entropy=0.005",
    "ppo.learning_rate=7.5e-4",
    "ppo.learning_rate_schedule=constant",
    "ppo.critic_learning_rate=7.5e-4",
    "networks.actor=[128,128]",
    "networks.critic=[128,128]",
    "steps=4_000_000",
)
"""Its hyperparameters; the learning rate is the mean of its schedule, 1e-3 to 5e-4."""
CONDITIONS = (
    "task.noise={}",
    "task.events.interval={}",
    "task.events.reset={home_pose: {clearance: 0.03, heading: [-3.1416, 3.1416], joint_pos: 0.1, "
    "joint_vel: 0.2, base_lin_vel: 0.3, base_ang_vel: 0.3}, friction: {range: [0.4, 1.0]}}",
)
"""Its task's randomization."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "our task, our recipe": (),
    "our task, its recipe": RECIPE,
    "its conditions, our recipe": CONDITIONS,
    "its conditions, its recipe": CONDITIONS + RECIPE,
}
"""Column -> changes to the task and the default preset, as for `--set`."""
SHOWN = ("seconds_to_walking", "walk_raw_steps", "steps_to_walking", "falls under any condition")


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score and print; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.peers.recipes", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.recipes",
        description="Train our task and mjbatch's by both recipes; score all by one scorecard.",
        epilog='example:\n  python -m benchmarks.peers.recipes --only "our task, its recipe"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--only", choices=COLUMNS, help="one column instead of all four")
    top.add_argument("--seed", type=arguments.at_least(0), default=1, metavar="N", help="(1)")
    out = Path("runs/recipes")
    top.add_argument("--out", type=Path, default=out, metavar="DIR", help=f"runs (default: {out})")
    top.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    return top


def run(args: argparse.Namespace) -> None:
    """Train and score the columns, print them, and write them as JSON if asked."""
    names = [args.only] if args.only else list(COLUMNS)
    columns = {name: measure(name, args.out, args.seed) for name in names}
    Console().print(table(columns))
    write_json(args.json, {"machine": machine(), "seed": args.seed, "columns": columns})


def measure(name: str, out: Path, seed: int) -> dict[str, Any]:
    """Train one column; return its time to walking, and its last policy under every condition."""
    folder = out / name.replace(",", "").replace(" ", "_")
    before = raw_steps_per_second()
    trained = time_to_walking(folder, seed, COLUMNS[name])
    raw = raw_equivalent(trained["seconds_to_walking"], before, raw_steps_per_second())
    card = evaluate.evaluate(*scorecard.load(folder))
    conditions = {c: card.overall(i) for i, c in enumerate(card.conditions)}
    return {"task": TASK, "set": COLUMNS[name], **trained, **raw, "conditions": conditions}


def table(columns: dict[str, dict[str, Any]]) -> Table:
    """Return the figures as a table with a row for each column, so that it fits a screen."""
    shown = Table("", *(name.replace("_", " ") for name in SHOWN))
    for name, figures in columns.items():
        falls = sum(condition["falls"] for condition in figures["conditions"].values())
        known = [figures.get(key) for key in SHOWN[:-1]]
        shown.add_row(name, *("-" if v is None else f"{v:,}" for v in known), f"{falls:.0f}")
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
