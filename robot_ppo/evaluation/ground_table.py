"""`robot-ppo eval --ground`: score a run or a policy file on rough ground, as table and JSON."""

from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from robot_ppo.evaluation import ground, scorecard
from robot_ppo.evaluation.ground import CONDITIONS, GroundCard
from robot_ppo.sim import terrain
from robot_ppo_export.files import write_atomically


def run(
    source: Path,
    kinds: str | None,
    json: Path | None,
    quick: bool,
    threads: int = 0,
    seed: int = 0,
) -> GroundCard:
    """Score `source` on `kinds` ("stairs_up,waves"; None: all), print the table, write the JSON.

    With `quick`, without pushes.
    """
    named = ground.chosen(kinds)
    contract, _ = scorecard.load(source)
    xml = scorecard.mjcf_of(source, contract)
    console = Console()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"scoring {source}", total=1.0)
        tried: list[float] = []

        def tell(done: float) -> None:
            bar.update(task, completed=done)
            if not console.is_terminal and done * len(ground.LEVELS) >= len(tried) + 1:
                tried.append(ground.LEVELS[len(tried)])
                console.print(f"level {tried[-1]:g} is tried, {done:.0%} of all", highlight=False)

        card = ground.crossed(
            contract,
            lambda: scorecard.load(source)[1],
            named,
            conditions=CONDITIONS[: 1 if quick else None],
            threads=threads,
            seed=seed,
            progress=tell,
            xml=xml,
        )
    show(card, console)
    if json:
        data = card.to_json() | {"source": {"policy": str(source), "seed": seed}}
        write_atomically(json, msgspec.json.format(msgspec.json.encode(data)) + b"\n")
    return card


def show(card: GroundCard, console: Console) -> None:
    """Print a table per condition: a row per kind, what crossed at each level, and how far up."""
    levels = sorted({crossing.level for crossing in card.crossings})
    for condition in dict.fromkeys(crossing.condition for crossing in card.crossings):
        table = Table(title=f"crossed {ground.WAY:g} m ({condition})", box=box.SIMPLE_HEAD)
        table.add_column("ground", no_wrap=True)
        for level in levels:
            table.add_column(f"{level:g}", justify="right")
        table.add_column("highest level", no_wrap=True)
        for kind in card.kinds:
            cells = {c.level: _cell(c) for c in card.of(kind, condition)}
            best = card.highest(kind, condition)
            table.add_row(kind, *(cells.get(level, "") for level in levels), _said(kind, best))
        console.print(table)
    low = ground.intervals.probability(ground.TRIALS, ground.TRIALS).low
    console.print(
        f"[dim]A level counts when {ground.ENOUGH:.0%} of its trials cross; all of "
        f"{ground.TRIALS} say: {low:.0%} or more with 95 % confidence.[/]",
        highlight=False,
    )


def _cell(crossing: ground.Crossing) -> str:
    """Return how many crossed, and how many of the others fell."""
    fell = f"\n[red]{crossing.fallen} fell[/]" if crossing.fallen else ""
    return f"{crossing.crossed}/{crossing.trials}{fell}"


def _said(kind: str, level: float | None) -> str:
    """Return a level with what it means for a kind, such as "0.4: rise 0.09 m"."""
    if level is None:
        return "none"
    name, value = terrain.measure(kind, level)
    if not name:
        return f"{level:g}"
    unit = "rad" if name == "angle" else "m"
    return f"{level:g}: {name} {value:.2f} {unit}"
