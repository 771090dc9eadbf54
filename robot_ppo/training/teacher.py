"""The teacher of a distillation: the policy of another run, which says what it would do.

teacher = Teacher(config, folder)
env = envs.make(teacher.config, ...)        # which has what the teacher reads
teacher.require(env)
acting = teacher.lead(observations, means, labels, latents, share=0.3)   # once a step, in order
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import torch

from robot_ppo import project
from robot_ppo.config import AnyTask, Config, Networks, Task
from robot_ppo.envs.environment import Environment, Observations, join
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import symmetric
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor, bounded
from robot_ppo.training import joints
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.contract.tables import Entries
from robot_ppo_export.errors import InputError

KEY = "`distill.teacher`"
LATENT = "`distill.latent`"
SHARED = ("control_period", "gait", "action")
"""Keys of a robot's task that teacher and student must have in common: what an action means."""
GROUP = "teacher_{}"
"""Name of a teacher's observation group in a task that has none of its name and terms."""


class Teacher:
    """The newest checkpoint of a run; it acts by its mean, and remembers where it has a memory."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Load the run that `distill.teacher` names.

        Args:
            config: of the student.
            folder: of the student's run.

        Raises:
            InputError: there is none, or it is of another robot, or its actions or what it reads
                mean something else in the student's task, or its latent cannot be learned.
        """
        self.run = run = _run_of(config, folder)
        checkpoints = Checkpoints(run)
        if not checkpoints.paths():
            raise InputError(
                f"{KEY}: {run} has no checkpoint; name the folder of a run that `robot-ppo train` "
                "has written"
            )
        checkpoint = checkpoints.newest()
        theirs = checkpoints.settings(checkpoint)
        self.config = config
        """The student's settings, whose task has every observation group that its teacher reads."""
        self.groups = theirs.networks.actor_groups
        """What it reads, as the student's task names it."""
        self.actor = load_actor(theirs, checkpoint)
        self.acting = Acting(self.actor)
        _require_same_actions(run, theirs.task, config.task)
        joints.check(theirs, checkpoint)
        if isinstance(theirs.task, Task) and isinstance(config.task, Task):
            _require_same_readings(run, self.groups, theirs.task, config.task)
            self.groups, task = _with_groups(run, self.groups, theirs.task, config.task)
            self.config = msgspec.structs.replace(config, task=task)
        self.width = 0
        """Units of the latent that the student learns; 0: it learns the actions alone."""
        if config.distill.latent:
            _require_same_latent(run, theirs.networks, config.networks)
            self.width = theirs.networks.actor[-1]

    def require(self, env: Environment) -> None:
        """Raise `InputError` where the student's environment lacks what the teacher reads."""
        for name in self.groups:
            if name not in env.observation_groups:
                raise InputError(
                    f"{KEY}: {self.run} reads the observation group {name!r}, which this task "
                    f"lacks (it has {', '.join(env.observation_groups)})"
                )
        size = sum(env.observation_groups[name] for name in self.groups)
        actions = env.single_action_space.shape[0]
        if (size, actions) != (len(self.actor.normalizer.mean), len(self.actor.log_std)):
            raise InputError(f"{KEY}: {self.run} has other numbers of observations or actions")

    def require_symmetric(self, of_actions: Mirror) -> None:
        """Raise `InputError` where a symmetric student cannot learn this latent.

        Args:
            of_actions: mirror of the actions.
        """
        if self.width and not symmetric.is_tied(self.actor, of_actions):
            raise InputError(
                f"{LATENT}: the student's hidden units are pairs that exchange places in the "
                f"mirror, and those of {self.run} are not; train its teacher with "
                "networks.symmetric too, or set networks.symmetric false"
            )

    def lead(
        self,
        observations: Observations,
        means: torch.Tensor,
        labels: torch.Tensor,
        latents: torch.Tensor | None,
        share: float,
    ) -> torch.Tensor:
        """Return the means that act, (n, k): the teacher's in the first simulations.

        Args:
            observations: all groups.
            means: of the student, (n, k).
            labels: what the teacher would do is written here, (n, k).
            latents: and its latent here, (n, width); None: nobody learns it.
            share: fraction of the simulations, the last ones, in which the student acts.
        """
        inputs = join(observations, self.groups)
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
        if student.range is None and student.log_std_head is None:
            student.log_std.copy_(bounded(self.actor.log_std, self.actor.range))


def _run_of(config: Config, folder: Path) -> Path:
    """Return the folder of the teacher's run; `folder` is the student's."""
    if not config.distill.teacher:
        raise InputError(f"{KEY}: is empty; name the run to imitate: --teacher RUN")
    run = Path(config.distill.teacher)
    if run.is_file():
        raise InputError(
            f"{KEY}: {run} is a file; a teacher is the folder of a run, with its checkpoints"
        )
    if run.resolve() == folder.resolve():
        raise InputError(
            f"{KEY}: {run} is the folder of this run; name another --out for the student"
        )
    return run


def _require_same_actions(run: Path, theirs: AnyTask, ours: AnyTask) -> None:
    """Raise `InputError` where an action does not mean the same to teacher and student."""
    if not (isinstance(theirs, Task) and isinstance(ours, Task)):
        if theirs != ours:
            raise InputError(f"{KEY}: {run} is a run of {theirs.name}, not of {ours.name}")
        return
    if project.robot_folder(theirs.robot) != project.robot_folder(ours.robot):
        raise InputError(f"{KEY}: {run} is a run of the robot {theirs.robot}, not {ours.robot}")
    for key in SHARED:
        if getattr(theirs, key) != getattr(ours, key):
            raise InputError(
                f"{KEY}: {run} was trained with another `task.{key}` than this run, so its actions "
                "mean something else; train a teacher with the same one"
            )


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
    run: Path, groups: tuple[str, ...], theirs: Task, ours: Task
) -> tuple[tuple[str, ...], Task]:
    """Return the teacher's groups as the student's task names them, and that task with all of them.

    One that the task lacks, or has with other terms, is added under a name of its own (`GROUP`), so
    a student that is blind learns from a teacher that sees. A task that was resumed has it already.
    """
    observations = dict(ours.observations)
    names = []
    for group in groups:
        wanted = theirs.observations[group]
        same = group in observations and _equal(observations[group], wanted)
        name = group if same else GROUP.format(group)
        if not _equal(observations.setdefault(name, wanted), wanted):
            raise InputError(
                f"{KEY}: {run} reads other terms than task.observations.{name} has; delete that "
                "group, or begin the student anew where the teacher was trained again"
            )
        names.append(name)
    return tuple(names), msgspec.structs.replace(ours, observations=observations)


def _equal(one: Entries, other: Entries) -> bool:
    """Return whether two groups have the same terms in the same order."""
    return list(one.items()) == list(other.items())
