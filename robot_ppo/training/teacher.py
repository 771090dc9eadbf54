"""The teacher of a distillation: the policy of a run or of a file, which says what it would do.

teacher = Teacher(config, folder)
env = envs.make(teacher.config, ...)        # which has what the teacher reads
teacher.require(env)
acting = teacher.lead(observations, means, labels, latents, share=0.3)   # once a step, in order
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from robot_ppo import project
from robot_ppo.config import AnyTask, Config, Networks, Task, Terms
from robot_ppo.envs.environment import EXPORTED, Environment, Observations, join
from robot_ppo.envs.robot import observations
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import symmetric
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor, bounded
from robot_ppo.training import joints, policy_network
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.layout import TermSpec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.tables import Entries
from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)

KEY = "`distill.teacher`"
LATENT = "`distill.latent`"
SAME_OF_JOINTS = ("name", "default", "kp", "kd")
"""Keys of a joint that must be the same for a student as in the policy file that teaches it."""
GROUP = "teacher_{}"
"""Name of a teacher's observation group in a task that has none of its name and terms."""


class Teacher:
    """The newest checkpoint of a run, or a policy file.

    It acts by its mean, and remembers where it has a memory.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        """Load the run or the policy file that `distill.teacher` names.

        Args:
            config: of the student.
            folder: of the student's run.

        Raises:
            InputError: there is none, or it is of another robot, or its actions or what it reads
                mean something else in the student's task, or its latent cannot be learned.
        """
        self.source = source = _source_of(config, folder)
        taught = _of_file(source, config) if source.is_file() else _of_run(source, config)
        self.actor = taught.actor
        self.log_std = taught.log_std
        self.groups = taught.groups
        """What it reads, as the student's task names it."""
        self.config = config
        """The student's settings, whose task has every observation group that its teacher reads."""
        if taught.task is not None:
            self.config = msgspec.structs.replace(config, task=taught.task)
        self.acting = Acting(self.actor)
        self.width = 0
        """Units of the latent that the student learns; 0: it learns the actions alone."""
        if config.distill.latent:
            _require_same_latent(source, taught.networks, config.networks)
            self.width = taught.networks.actor[-1]

    def require(self, env: Environment) -> None:
        """Raise `InputError` where the student's environment lacks what the teacher reads."""
        for name in self.groups:
            if name not in env.observation_groups:
                raise InputError(
                    f"{KEY}: {self.source} reads the observation group {name!r}, which this task "
                    f"lacks (it has {', '.join(env.observation_groups)})"
                )
        size = sum(env.observation_groups[name] for name in self.groups)
        actions = env.single_action_space.shape[0]
        if (size, actions) != (len(self.actor.normalizer.mean), len(self.actor.log_std)):
            raise InputError(f"{KEY}: {self.source} has other numbers of observations or actions")

    def require_symmetric(self, of_actions: Mirror) -> None:
        """Raise `InputError` where a symmetric student cannot learn this latent.

        Args:
            of_actions: mirror of the actions.
        """
        if self.width and not symmetric.is_tied(self.actor, of_actions):
            raise InputError(
                f"{LATENT}: the student's hidden units are pairs that exchange places in the "
                f"mirror, and those of {self.source} are not; train its teacher with "
                "networks.symmetric too, or set networks.symmetric false"
            )

    def lead(
        self,
        seen: Observations,
        means: torch.Tensor,
        labels: torch.Tensor,
        latents: torch.Tensor | None,
        share: float,
    ) -> torch.Tensor:
        """Return the means that act, (n, k): the teacher's in the first simulations.

        Args:
            seen: all groups of observations.
            means: of the student, (n, k).
            labels: what the teacher would do is written here, (n, k).
            latents: and its latent here, (n, width); None: nobody learns it.
            share: fraction of the simulations, the last ones, in which the student acts.
        """
        inputs = join(seen, self.groups)
        actions, latent = self.acting.with_latent(inputs.astype(np.float32))
        labels[:] = torch.from_numpy(actions)
        if latents is not None:
            latents[:] = torch.from_numpy(latent)
        led = len(means) - round(share * len(means))
        return torch.cat((labels[:led], means[led:]))

    @torch.no_grad()
    def give_deviation(self, student: Actor) -> None:
        """Let the student explore as widely as its teacher did, where neither is bound or seeing.

        PPO after the imitation would else begin with noise that the student cannot walk with.
        """
        if student.range is not None or student.log_std_head is not None:
            return
        if self.log_std is None:
            log.warning(
                "%s does not say how widely its policy explored: the student does by "
                "`networks.init_std`, %.3g",
                self.source,
                student.log_std.exp().mean(),
            )
            return
        student.log_std.copy_(self.log_std)


@dataclass(frozen=True)
class _Taught:
    """The network of a teacher, how widely it explored, and the groups that it reads."""

    actor: Actor
    networks: Networks
    groups: tuple[str, ...]
    """Observation groups of the student's task that it reads."""
    task: Task | None
    """The student's, with these groups; None: as it is."""
    log_std: torch.Tensor | None
    """Log of the deviation with which it explored, (actions,); None: not known."""


def _source_of(config: Config, folder: Path) -> Path:
    """Return the teacher's run or policy file; `folder` is that of the student's run."""
    if not config.distill.teacher:
        raise InputError(f"{KEY}: is empty; name the run or policy file to imitate: --teacher RUN")
    source = Path(config.distill.teacher)
    if folder.resolve() in (source.resolve(), *source.resolve().parents):
        where = "in the folder" if source.is_file() else "the folder"
        raise InputError(
            f"{KEY}: {source} is {where} of this run; name another --out for the student"
        )
    return source


def _of_run(run: Path, config: Config) -> _Taught:
    """Return what the newest checkpoint of a run teaches."""
    checkpoints = Checkpoints(run)
    if not checkpoints.paths():
        raise InputError(
            f"{KEY}: {run} has no checkpoint; name the folder of a run that `robot-ppo train` has "
            "written, or a policy file"
        )
    checkpoint = checkpoints.newest()
    theirs = checkpoints.settings(checkpoint)
    actor = load_actor(theirs, checkpoint)
    _require_same_actions(run, theirs.task, config.task)
    joints.check(theirs, checkpoint)
    groups = theirs.networks.actor_groups
    task = None
    if isinstance(theirs.task, Task) and isinstance(config.task, Task):
        _require_same_readings(run, groups, theirs.task, config.task)
        wanted = [theirs.task.observations[group] for group in groups]
        groups, task = _with_groups(run, groups, wanted, config.task)
    log_std = bounded(actor.log_std.detach(), actor.range)
    return _Taught(actor, theirs.networks, groups, task, log_std)


def _of_file(path: Path, config: Config) -> _Taught:
    """Return what a policy file teaches."""
    contract, actor = policy_network.read(path)
    if not isinstance(config.task, Task):
        raise InputError(f"{KEY}: {path} drives a robot, and {config.task.name} has none")
    robot = project.load_robot(config.task.robot)
    layout = observations.layout(config.task, robot)
    _require_same_meaning(path, contract, config.task, robot, layout.command)
    if layout.describe() == list(contract.layout):
        groups = (EXPORTED,)
        task = None
    else:
        wanted = {spec.name: _entry(spec) for spec in contract.observation}
        groups, task = _with_groups(path, (EXPORTED,), [wanted], config.task)
    known = contract.training.deviation
    networks = policy_network.networks_of(contract)
    return _Taught(actor, networks, groups, task, torch.tensor(known).log() if known else None)


def _require_same_meaning(
    path: Path, contract: Contract, task: Task, robot: RobotSpec, command: CommandSpec
) -> None:
    """Raise `InputError` where a policy file's numbers mean something else in the student's task.

    Args:
        path: of the policy file.
        contract: of it.
        task: the student's.
        robot: the student's.
        command: of the student's task.
    """
    theirs = contract.robot
    for one, other in zip_longest(theirs.joints, robot.joints):
        for key in SAME_OF_JOINTS:
            if getattr(one, key, None) != getattr(other, key, None):
                raise InputError(
                    f"{KEY}: {path} drives {theirs.name}, where joint {one and one.name!r} has "
                    f"`{key}` {getattr(one, key, None)}, and that of this run's robot "
                    f"{robot.name} has {getattr(other, key, None)}; train a student of its own "
                    "robot"
                )
    meaning = {
        "control_period": contract.control_period,
        "gait.frequency": contract.gait_frequency,
        "action": contract.action,
    }
    _require_same(path, meaning, _meaning(task))
    told = [[entry.name for entry in each.entries] for each in (contract.command, command)]
    if any(spec.name == "command" for spec in contract.observation) and told[0] != told[1]:
        raise InputError(
            f"{KEY}: {path} is told {_listed(told[0])}, and a robot of this task is told "
            f"{_listed(told[1])}; train a teacher with `task.commands` of the same kind"
        )


def _meaning(task: Task) -> dict[str, Any]:
    """Return what a robot's actions and its clock follow from: key of the task -> its value."""
    frequency = task.gait.frequency if task.gait else None
    return {
        "control_period": task.control_period,
        "gait.frequency": frequency,
        "action": task.action,
    }


def _require_same(source: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise `InputError` for the first key in which `_meaning` differs."""
    for key, value in theirs.items():
        if value != ours[key]:
            raise InputError(
                f"{KEY}: {source} was trained with another `task.{key}` than this run, so its "
                "actions mean something else; train a teacher with the same one"
            )


def _entry(spec: TermSpec) -> dict[str, Any]:
    """Return a term as a task's YAML has it, with all its parameters."""
    bound = {} if spec.clip is None else {"clip": spec.clip}
    return {"scale": spec.scale, **bound, "history": spec.history, **spec.parameters}


def _require_same_actions(run: Path, theirs: AnyTask, ours: AnyTask) -> None:
    """Raise `InputError` where an action does not mean the same to teacher and student."""
    if not (isinstance(theirs, Task) and isinstance(ours, Task)):
        if theirs != ours:
            raise InputError(f"{KEY}: {run} is a run of {theirs.name}, not of {ours.name}")
        return
    if project.robot_folder(theirs.robot) != project.robot_folder(ours.robot):
        raise InputError(f"{KEY}: {run} is a run of the robot {theirs.robot}, not {ours.robot}")
    _require_same(run, _meaning(theirs), _meaning(ours))


def _require_same_latent(run: Path, theirs: Networks, ours: Networks) -> None:
    """Raise `InputError` where the student's last hidden layer cannot be that of its teacher."""
    if not theirs.actor:
        raise InputError(f"{LATENT}: the actor of {run} has no hidden layer; set distill.latent 0")
    if theirs.actor[-1] != ours.actor[-1]:
        raise InputError(
            f"{LATENT}: the last hidden layer of the student has {ours.actor[-1]} units and that "
            f"of its teacher {run} has {theirs.actor[-1]}; end networks.actor with "
            f"{theirs.actor[-1]}, or set distill.latent 0"
        )
    if ours.activation not in ("elu", theirs.activation):  # every other one's values are elu's too
        raise InputError(
            f"{LATENT}: a layer of {ours.activation} cannot reach what one of {theirs.activation} "
            f"says in the teacher {run}; set networks.activation to {theirs.activation}, or "
            "distill.latent 0"
        )


def _require_same_readings(run: Path, groups: tuple[str, ...], theirs: Task, ours: Task) -> None:
    """Raise `InputError` where a term that the teacher reads says something else to the student."""
    terms = {name for group in groups for name in theirs.observations[group]}
    if "command" in terms and theirs.commands.keys() != ours.commands.keys():
        raise InputError(
            f"{KEY}: {run} is told {_listed(theirs.commands)}, and a robot of this task is told "
            f"{_listed(ours.commands)}; train a teacher with `task.commands` of the same kind"
        )
    if "randomized" in terms and theirs.randomization != ours.randomization:
        raise InputError(
            f"{KEY}: {run} reads `randomized`, draws within the ranges of its own task.events, and "
            "this task has others; train student and teacher with the same randomizations"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _with_groups(
    source: Path, groups: Sequence[str], terms: Sequence[Terms], ours: Task
) -> tuple[tuple[str, ...], Task]:
    """Return the teacher's groups as the student's task names them, and that task with all of them.

    One that the task lacks, or has with other terms, is added under a name of its own (`GROUP`), so
    a student that is blind learns from a teacher that sees. A task that was resumed has it already.
    """
    known = dict(ours.observations)
    names = []
    for group, wanted in zip(groups, terms, strict=True):
        same = group in known and _equal(known[group], wanted)
        name = group if same else GROUP.format(group)
        if not _equal(known.setdefault(name, wanted), wanted):
            raise InputError(
                f"{KEY}: {source} reads other terms than task.observations.{name} has; delete that "
                "group, or begin the student anew where the teacher was trained again"
            )
        names.append(name)
    return tuple(names), msgspec.structs.replace(ours, observations=known)


def _equal(one: Entries, other: Entries) -> bool:
    """Return whether two groups have the same terms in the same order."""
    return list(one.items()) == list(other.items())
