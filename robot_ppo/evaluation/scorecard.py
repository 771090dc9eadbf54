"""`robot-ppo eval`: score a run or a policy file, and show it as table, JSON and picture."""

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from robot_ppo import config as configs
from robot_ppo import export
from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.trials import Plan
from robot_ppo.evaluation import dead_zones, evaluate, other_model, recorded
from robot_ppo.evaluation.card import Scorecard, Zone
from robot_ppo.evaluation.plot import write_plot
from robot_ppo.export import Act
from robot_ppo.ppo.acting import Acting
from robot_ppo.robot_model import carried, fingerprint
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints, load_actor
from robot_ppo_export.contract.contract import Contract, Scores
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import Policy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of a scorecard."""

    quick: bool = False
    """The condition that decides alone."""
    trials: int | None = None
    """Number of commands, drawn and tried for a short time; None: those of the task."""
    seconds: float | None = None
    """Length of such a trial [s]; None: `trials.SHORT`."""
    task: str | None = None
    """The task whose `evaluation:` is used; None: the policy's own."""
    threads: int = 0
    seed: int = 0
    robot: str | None = None
    """Another model of the policy's robot, on which it is scored; None: its own."""


def run(source: Path, json: Path | None, plot: Path | None, options: Options) -> Scorecard:
    """Score `source`, print the table, write what was asked for."""
    contract, act = load(source)
    if options.robot is None:
        xml = mjcf_of(source, contract)
    else:
        contract, xml = other_model.of(contract, options.robot)
    planned = planned_for(contract, options)
    conditions = planned.conditions[: 1 if options.quick else None]
    threads = options.threads
    seed = options.seed
    console = Console()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"scoring {source}", total=1.0)

        def tell(done: float) -> None:
            bar.update(task, completed=done)

        card = evaluate.evaluate(contract, act, conditions, threads, seed, tell, xml, planned)
        if card.is_twist and not options.quick and options.trials is None:
            again = load(source)[1]  # without memories of other robots, whose number differs
            card.response = dead_zones.measure(contract, again, planned, threads, seed, xml)
    card.source = {"policy": str(source), "steps": contract.training.steps, "seed": seed}
    show(card, console)
    if options.robot is not None:
        card.source["robot"] = options.robot
    elif source.is_dir():
        overall = {c: card.overall(i) for i, c in enumerate(card.conditions)}
        recorded.record(source, contract.training.steps, overall)
    if json:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(card.to_json())) + b"\n")
    if plot:
        write_plot(card, plot)
    return card


def planned_for(contract: Contract, options: Options) -> Plan:
    """Return what a policy is tried on, as the options have it."""
    section = None
    if options.task is not None:
        section = configs.robot_task(configs.load(options.task), "a scorecard").evaluation
        if section is None:
            raise InputError(f"--task {options.task}: the task has no `evaluation:`; add it")
    planned = evaluate.plan(contract, section)
    if options.trials is None:
        if options.seconds is not None:
            raise InputError("--seconds is the length of drawn trials: give --trials N, too")
        return planned
    return trials.many(planned, contract.command, options.trials, options.seconds)


def load(source: Path) -> tuple[Contract, Act]:
    """Return contract and deterministic action of a run folder or a policy file.

    A policy file is run by the deployed runtime, a run by the training network.
    """
    if source.is_dir():
        checkpoints = Checkpoints(source)
        checkpoint = checkpoints.newest()
        settings = checkpoints.settings(checkpoint)
        return from_checkpoint(settings, checkpoint, fingerprint.newest(source))
    if not source.is_file():
        raise InputError(f"{source}: no such run folder or policy file")
    policy = Policy(source)
    policy.check_golden()
    return policy.contract, policy.for_many()


def mjcf_of(source: Path, contract: Contract) -> Mjcf:
    """Return the MJCF that `load(source)` is scored with, and tell where it was edited since.

    It is the robot's, from its folder; where that is not found, what the policy file carries.
    """
    robot = export.robot_of(source) if source.is_dir() else contract.robot.name
    fingerprint.warn_if_edited(contract.model_fingerprint, robot, source)
    packed = "" if source.is_dir() else Policy(source).model
    return carried.mjcf(contract.robot, packed, str(source), robot)


def from_checkpoint(
    settings: configs.Config, checkpoint: Checkpoint, trained_with: str | None = None
) -> tuple[Contract, Act]:
    """Return contract and deterministic action of one checkpoint; see `export.build`."""
    actor = load_actor(settings, checkpoint)
    contract = export.build_contract(settings, checkpoint, actor, trained_with)
    return contract, Acting(actor)


def judge(contract: Contract, act: Act, xml: Mjcf) -> Scores | None:
    """Return what a policy file says of its policy: the figures of the condition that decides.

    `xml` is the robot's MJCF. None, with a warning, where the policy cannot be scored.
    """
    try:
        decisive = evaluate.plan(contract).conditions[:1]
        return evaluate.evaluate(contract, act, decisive, xml=xml).scores()
    except InputError as error:
        log.warning("the policy file will not say what the policy does: %s", error)
        return None


def show(card: Scorecard, console: Console) -> None:
    """Print one row per condition, and the verdict."""
    table = Table(
        title=f"{len(card.commands)} trials each",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("condition", no_wrap=True)
    for name, unit in card.units.items():
        table.add_column(
            name.replace("_", "\n") + (f"\n[dim]{unit}[/]" if unit else "\n"),
            justify="right",
            no_wrap=True,
        )
    for i, condition in enumerate(card.conditions):
        overall = card.overall(i)
        cells = [
            f"{overall[name]:.0f}" if name == "falls" else f"{overall[name]:.3f}"
            for name in card.units
        ]
        table.add_row(condition, *cells)
    console.print(table)
    for said in said_falls(card):
        console.print(said, highlight=False)
    if gain := card.gain():
        said = ", ".join(f"{name} {value:.2f}" for name, value in gain.items())
        console.print(f"measured over commanded ({card.conditions[0]}): {said}", highlight=False)
    if zones := card.dead_zone():
        said = ", ".join(f"{name} {said_zone(zone)}" for name, zone in zones.items())
        console.print(f"smallest commands that move it: {said}", highlight=False)
    limits = ", ".join(f"{name} <= {limit}" for name, limit in card.limits.items())
    what = "walking" if card.is_twist else "passed"
    verdict = f"[bold green]{what}[/]" if card.passed else f"[bold red]not {what}[/]"
    console.print(f"{verdict} ({card.conditions[0]}: {limits or 'no limits'})", highlight=False)


def said_falls(card: Scorecard) -> list[str]:
    """Return one sentence for each number of falls, with the interval of their probability."""
    trials = len(card.commands)
    found = {int(card.overall(i)["falls"]): card.falls(i) for i in range(len(card.conditions))}
    return [
        f"{count} of {trials} fell: {100 * at.low:.2g} to {100 * at.high:.2g} % of all trials do "
        "(95 %)"
        for count, at in sorted(found.items())
    ]


def said_zone(zone: Zone) -> str:
    """Return the smallest commands that move a robot, to either side."""
    low, high = ("none" if end is None else f"{end:+.3g}" for end in zone)
    return f"{low} / {high}"
