"""`robot-ppo eval`: score a run or a policy file, and show it as table, JSON and picture."""

import logging
from pathlib import Path

import msgspec
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from robot_ppo import config as configs
from robot_ppo import export
from robot_ppo.evaluation import evaluate
from robot_ppo.evaluation.evaluate import Scorecard
from robot_ppo.export import Act
from robot_ppo.robot_model import carried, fingerprint
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo_export.contract.contract import Contract, Scores
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import Policy

log = logging.getLogger(__name__)


def run(
    source: Path,
    json: Path | None,
    plot: Path | None,
    quick: bool,
    threads: int = 0,
    seed: int = 0,
) -> Scorecard:
    """Score `source`, print the table, write what was asked for."""
    contract, act = load(source)
    xml = mjcf_of(source, contract)
    conditions = evaluate.plan(contract).conditions[: 1 if quick else None]
    console = Console()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"scoring {source}", total=1.0)
        card = evaluate.evaluate(
            contract,
            act,
            conditions,
            threads,
            seed,
            lambda done: bar.update(task, completed=done),
            xml,
        )
    card.source = {"policy": str(source), "steps": contract.training.steps, "seed": seed}
    show(card, console)
    if json:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(card.to_json())) + b"\n")
    if plot:
        write_plot(card, plot)
    return card


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
    return policy.contract, policy.act_many


def mjcf_of(source: Path, contract: Contract) -> Mjcf:
    """Return the MJCF that `load(source)` is scored with, and tell where it was edited since.

    It is the robot's, from its folder; where that is not found, what the policy file carries.
    """
    robot = export.robot_of(source) if source.is_dir() else contract.robot.name
    fingerprint.warn_if_edited(contract.model_fingerprint, robot, source)
    packed = "" if source.is_dir() else Policy(source).model
    return carried.mjcf(contract.robot, packed, str(source), robot)


def from_checkpoint(
    settings: configs.Config, checkpoint: export.Checkpoint, trained_with: str | None = None
) -> tuple[Contract, Act]:
    """Return contract and deterministic action of one checkpoint; see `export.build`."""
    actor = export.load_actor(settings, checkpoint)
    contract = export.build_contract(settings, checkpoint, actor, trained_with)
    return contract, export.act_of(actor)


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
    if gain := card.gain():
        said = ", ".join(f"{name} {value:.2f}" for name, value in gain.items())
        console.print(f"measured over commanded ({card.conditions[0]}): {said}", highlight=False)
    limits = ", ".join(f"{name} <= {limit}" for name, limit in card.limits.items())
    what = "walking" if card.is_twist else "passed"
    verdict = f"[bold green]{what}[/]" if card.passed else f"[bold red]not {what}[/]"
    console.print(f"{verdict} ({card.conditions[0]}: {limits or 'no limits'})", highlight=False)


def write_plot(card: Scorecard, path: Path) -> None:
    """Write a heat map of the velocity error [m/s]: a row per condition, a panel per yaw rate."""
    if not card.is_twist:
        raise InputError("--plot draws errors over a grid of twists, which this task does not have")
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    commands = [tuple(float(f"{x:.6g}") for x in c) for c in card.commands]
    vxs, vys, yaws = (sorted({c[i] for c in commands}) for i in range(3))
    rows = len(card.conditions)
    figure, axes = pyplot.subplots(
        rows,
        len(yaws),
        figsize=(3.6 * len(yaws), 1.0 + 1.75 * rows),
        squeeze=False,
        layout="constrained",
    )
    image = None
    for i, condition in enumerate(card.conditions):
        for j, yaw in enumerate(yaws):
            chosen = [k for k, c in enumerate(commands) if c[2] == yaw]
            shape = (len(vxs), len(vys))
            error = card.figures["velocity_error"][i][chosen].reshape(shape).T
            fell = card.figures["falls"][i][chosen].reshape(shape).T
            axis = axes[i][j]
            image = axis.imshow(
                error, vmin=0, vmax=0.4, cmap="viridis_r", origin="lower", aspect="auto"
            )
            for (y, x), value in np.ndenumerate(error):
                text = "fell" if fell[y, x] else f"{value:.2f}"
                axis.text(
                    x,
                    y,
                    text,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if value > 0.22 else "black",
                )
            axis.set_xticks(range(len(vxs)), [f"{v:g}" for v in vxs])
            axis.set_yticks(range(len(vys)), [f"{v:g}" for v in vys])
            axis.set_title(f"{condition}, yaw {yaw:g} rad/s", fontsize=9)
            if i == rows - 1:
                axis.set_xlabel("vx [m/s]")
            if j == 0:
                axis.set_ylabel("vy [m/s]")
    assert image is not None
    figure.colorbar(image, ax=axes, label="velocity error [m/s]", shrink=0.8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())
