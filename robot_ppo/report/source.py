"""What a report is made of: the records of one run, its scorecard, and a playback with a film.

shown = source.gather(Path("runs/go2"), full=False)
shown.card, shown.played, shown.findings
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo import export
from robot_ppo.config import Config, GymTask
from robot_ppo.diagnostics import doctor
from robot_ppo.diagnostics.checks import record as records
from robot_ppo.diagnostics.checks.finding import Finding
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.evaluation import evaluate, gym_evaluation
from robot_ppo.evaluation.gym_evaluation import Returns
from robot_ppo.playback import clip, gym_play
from robot_ppo.playback.record import Summary, Track
from robot_ppo.robot_model import carried
from robot_ppo.training import provenance
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints, load_actor
from robot_ppo.training.provenance import Origin
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

CONDITIONS = 2
"""Conditions that are scored unless all are asked for."""
EPISODES = 10


@dataclass
class Card:
    """A scorecard as plain arrays, whether it was read or made."""

    conditions: list[str]
    commands: np.ndarray
    """(trials, k)"""
    figures: dict[str, np.ndarray]
    """Figure -> (conditions, trials)"""
    units: dict[str, str]
    limits: dict[str, float]
    gain: dict[str, float]
    passed: bool
    of: int
    """Conditions that the task has."""


@dataclass
class Played:
    """A playback in simulation."""

    track: Track
    summary: Summary


@dataclass
class Shown:
    """All that is shown of one run."""

    run: Path
    config: Config
    record: Record
    findings: list[Finding]
    verdict: str
    origin: Origin
    steps: int
    seconds: float
    film: bytes | None
    """An mp4, None where nothing could be drawn; `film_error` says why."""
    film_error: str = ""
    contract: Contract | None = None
    """None for a task of Gymnasium, as what follows."""
    card: Card | None = None
    played: Played | None = None
    returns: Returns | None = None
    """Of whole episodes; None for a robot."""

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return self.run.name


Runs = Sequence[Shown]
"""What a page shows; the first is what others are compared with."""


def gather(run: Path, *, full: bool = False, threads: int = 0) -> Shown:
    """Return what is shown of a run.

    Args:
        run: folder; the newest checkpoint counts.
        full: score every condition of the task, not the first two alone.
        threads: for the scorecard; 0: all CPUs.
    """
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder; `robot-ppo train` makes one")
    record = records.load(run)
    checkpoints = Checkpoints(run)
    checkpoint = checkpoints.newest()
    config = checkpoints.settings(checkpoint)
    findings = doctor.examine(record)
    shown = Shown(
        run,
        config,
        record,
        findings,
        doctor.verdict(record, findings),
        provenance.load(run),
        checkpoint.steps,
        checkpoint.seconds,
        film=None,
    )
    if isinstance(config.task, GymTask):
        _add_episodes(shown, checkpoint, threads)
    else:
        _add_policy(shown, full, threads)
    return shown


def _add_policy(shown: Shown, full: bool, threads: int) -> None:
    """Add the contract, the scorecard, a playback and its film."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        export.export(shown.run, path)
        policy = Policy(path)
        shown.contract = policy.contract
        shown.card = _card(shown, policy, full, threads)
        played = clip.play(policy, export.robot_of(shown.run))
        shown.played = Played(played.session.track, played.session.summary())
        film = Path(folder) / "film.mp4"
        try:
            played.write(film)
            shown.film = film.read_bytes() if film.exists() else None
        except InputError as error:
            shown.film_error = str(error)


def _add_episodes(shown: Shown, checkpoint: Checkpoint, threads: int) -> None:
    """Add the returns of a task of Gymnasium, and a film where it can be shown."""
    config = msgspec.structs.replace(shown.config, threads=threads)
    actor = load_actor(config, checkpoint)
    shown.returns = gym_evaluation.evaluate(config, actor, EPISODES)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        try:
            gym_play.play(shown.run, video=film, seconds=clip.SECONDS, say=lambda _: None)
            shown.film = film.read_bytes()
        except InputError as error:
            shown.film_error = str(error)


def _card(shown: Shown, policy: Policy, full: bool, threads: int) -> Card | None:
    """Return the scorecard that lies in the run, or a new one; None where there is none."""
    contract = policy.contract
    try:
        planned = evaluate.plan(contract)
    except InputError:
        return None
    if card := _read_card(shown.run / "scorecard.json", shown.steps, planned, full):
        return card
    chosen = planned.conditions if full else planned.conditions[:CONDITIONS]
    robot = export.robot_of(shown.run)
    xml = carried.mjcf(contract.robot, policy.model, str(policy.path), robot)
    made = evaluate.evaluate(contract, policy.for_many(), chosen, threads, xml=xml)
    return Card(
        made.conditions,
        made.commands,
        made.figures,
        made.units,
        made.limits,
        made.gain(),
        made.passed,
        len(planned.conditions),
    )


def _read_card(path: Path, steps: int, planned: Any, full: bool) -> Card | None:
    """Return what `robot-ppo eval --json` wrote of this very checkpoint, else None."""
    try:
        data = json.loads(path.read_text())
        if data["source"]["steps"] != steps:
            return None
        conditions = list(data["per_command"])
        trials = list(data["per_command"].values())
        figures = {name: np.array([one[name] for one in trials]) for name in trials[0]}
        card = Card(
            conditions,
            np.array(data["commands"]),
            figures,
            {name: planned.units.get(name, "") for name in figures},
            data["limits"],
            data.get("gain", {}),
            data["passed"],
            len(planned.conditions),
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    enough = len(conditions) >= (card.of if full else CONDITIONS)
    return card if enough and card.commands.shape == planned.commands.shape else None
