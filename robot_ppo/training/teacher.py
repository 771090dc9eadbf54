"""The teacher of a distillation: the policy of another run, which says what it would do.

teacher = Teacher(config, env)
acting = teacher.lead(observations, means, labels, share=0.3)   # once per step, in order
"""

from pathlib import Path

import numpy as np
import torch

from robot_ppo import project
from robot_ppo.config import AnyTask, Config, Task
from robot_ppo.envs.environment import Environment, Observations, join
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor, bounded
from robot_ppo.training import joints
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.errors import InputError

KEY = "`distill.teacher`"
SHARED = ("control_period", "gait", "action")
"""Keys of a robot's task that teacher and student must have in common: what an action means."""


class Teacher:
    """The newest checkpoint of a run; it acts by its mean, and remembers where it has a memory."""

    def __init__(self, config: Config, env: Environment) -> None:
        """Load the run that `distill.teacher` names.

        Args:
            config: of the student.
            env: of the student.

        Raises:
            InputError: there is none, or it is of another robot or of other observations.
        """
        if not config.distill.teacher:
            raise InputError(f"{KEY}: is empty; name the run to imitate: --teacher RUN")
        run = Path(config.distill.teacher)
        checkpoints = Checkpoints(run)
        checkpoint = checkpoints.newest()
        theirs = checkpoints.settings(checkpoint)
        self.groups = theirs.networks.actor_groups
        self.actor = load_actor(theirs, checkpoint)
        self.acting = Acting(self.actor)
        _require_same_meaning(run, theirs.task, config.task)
        joints.check(theirs, checkpoint)
        _require_groups(run, self.groups, theirs.task, config.task, env)
        size = sum(env.observation_groups[name] for name in self.groups)
        actions = env.single_action_space.shape[0]
        if (size, actions) != (len(self.actor.normalizer.mean), len(self.actor.log_std)):
            raise InputError(f"{KEY}: {run} has other numbers of observations or actions")

    def lead(
        self, observations: Observations, means: torch.Tensor, labels: torch.Tensor, share: float
    ) -> torch.Tensor:
        """Return the means that act, (n, k): the teacher's in the first simulations.

        Args:
            observations: all groups.
            means: of the student, (n, k).
            labels: what the teacher would do is written here, (n, k).
            share: fraction of the simulations, the last ones, in which the student acts.
        """
        inputs = join(observations, self.groups)
        labels[:] = torch.from_numpy(self.acting(inputs.astype(np.float32)))
        led = len(means) - round(share * len(means))
        return torch.cat((labels[:led], means[led:]))

    @torch.no_grad()
    def give_deviation(self, student: Actor) -> None:
        """Let the student explore as widely as its teacher did, where neither is bound or seeing.

        PPO after the imitation would else begin with noise that the student cannot walk with.
        """
        if student.range is None and student.log_std_head is None:
            student.log_std.copy_(bounded(self.actor.log_std, self.actor.range))


def _require_same_meaning(run: Path, theirs: AnyTask, ours: AnyTask) -> None:
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


def _require_groups(
    run: Path, groups: tuple[str, ...], theirs: AnyTask, ours: AnyTask, env: Environment
) -> None:
    """Raise `InputError` where the student's task does not have what the teacher reads."""
    for name in groups:
        if name not in env.observation_groups:
            raise InputError(
                f"{KEY}: {run} reads the observation group {name!r}, which the task {ours.name} "
                f"lacks (it has {', '.join(env.observation_groups)}); add it to task.observations"
            )
        if isinstance(theirs, Task) and isinstance(ours, Task):
            wanted = theirs.observations[name]
            if list(wanted.items()) != list(ours.observations[name].items()):
                raise InputError(
                    f"{KEY}: {run} reads other terms in the observation group {name!r} than the "
                    f"task {ours.name} has; give the teacher's a name of its own and add it"
                )
