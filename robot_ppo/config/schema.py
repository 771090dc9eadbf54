"""Every key of a run's configuration, as frozen structures; meaning and unit stand below each.

One run has one `Config`: the task (the world) and the preset (the learner).
"""

from typing import Literal

import msgspec

from robot_ppo_export.contract.action import ActionSpec
from robot_ppo_export.contract.layout import TermSpec
from robot_ppo_export.errors import InputError

Range = tuple[float, float]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Gait(_Struct, frozen=True):
    """The clock that the policy hears and the schedule that rewards ask for."""

    frequency: float
    """Cycles per second [Hz]."""
    offsets: dict[str, float]
    """Phase of each foot, as a fraction of the cycle; a trot has diagonal pairs."""
    stance: float
    """Fraction of the cycle in which a foot is meant to be on the ground."""
    swing_height: float
    """Highest point of the foot's underside in swing [m]."""


class Commands(_Struct, frozen=True):
    """What the policy is asked to do."""

    vx: Range
    """[m/s] forward"""
    vy: Range
    """[m/s] left"""
    yaw_rate: Range
    """[rad/s] turning left"""
    resample: Range
    """A command is kept for so long, uniform [s]."""
    standing_fraction: float
    """Probability that a new command is to stand still."""


class Pushes(_Struct, frozen=True):
    """A sudden change of the base's horizontal velocity, now and then."""

    interval: Range
    """[s], uniform"""
    speed: Range
    """[m/s], uniform, in a uniform direction"""


class Terminations(_Struct, frozen=True):
    """What ends an episode as a failure. The time limit is not a failure."""

    tilt: float
    """Angle between body z and world z [rad]."""
    base_height: float
    """Below this height [m]."""


class Reset(_Struct, frozen=True):
    """How an episode starts: the default pose, disturbed."""

    joint_pos: float
    """Half-width of the joints' disturbance [rad]."""
    joint_vel: float
    """Half-width [rad/s]."""
    base_lin_vel: float
    """Half-width of each component [m/s]."""
    base_ang_vel: float
    """Half-width of each component [rad/s]."""


class Task(_Struct, frozen=True, tag_field="kind", tag="robot"):
    """The world: robot, commands, observation, rewards, randomization."""

    name: str
    robot: str
    control_period: float
    """[s]"""
    physics_timestep: float
    """[s] in training; evaluation always uses the fine one."""
    episode_length: float
    """[s]"""
    gait: Gait
    commands: Commands
    action: ActionSpec
    observation: tuple[TermSpec, ...]
    """What the actor sees; terms in robot_ppo_export/contract/terms.py."""
    privileged: tuple[str, ...]
    """What the critic sees beside it; terms in robot_ppo/envs/robot/privileged.py."""
    rewards: dict[str, dict[str, float]]
    """Name -> weight [1/s] and parameters; functions in robot_ppo/envs/robot/rewards.py."""
    terminations: Terminations
    reset: Reset
    noise: dict[str, float]
    """Signal -> half-width of its uniform noise in the signal's unit (base_quat: [rad])."""
    randomization: dict[str, Range]
    """Name -> uniform range, drawn at every reset; functions in envs/randomization.py."""
    pushes: Pushes | None = None


FOREIGN = "gym:"


class GymTask(_Struct, frozen=True, tag_field="kind", tag="gym"):
    """A task of Gymnasium: one of its MuJoCo tasks on the native engine, or any other."""

    name: str
    """One of `project.GYM_TASKS`, or "gym:" and any id, through `gymnasium.make_vec`."""

    @property
    def foreign_id(self) -> str | None:
        """The id for `gymnasium.make_vec`; None for a native task."""
        return self.name.removeprefix(FOREIGN) if self.name.startswith(FOREIGN) else None


AnyTask = Task | GymTask


class Ppo(_Struct, frozen=True):
    """The algorithm."""

    objective: str = "clip"
    """What the actor maximizes, a name in ppo/objectives.py. `trpo` takes one step over the whole
    batch: epochs, minibatches, learning rate and max_grad_norm then concern the critic only."""
    clip: float = 0.2
    """Bound on |ratio - 1|."""
    beta: float = 1.0
    """Price of KL for the kl_ objectives: for kl_fixed always, for the others at the start."""
    beta_rate: float = 0.2
    """kl_dual: largest change of log(beta) in one update; converges below 1."""
    kl_bound: float = 0.01
    """KL of one update that kl_adaptive and kl_dual aim at, and that trpo never exceeds."""
    epochs: int = 5
    minibatches: int = 4
    stop_kl: float | None = None
    """The actor's epochs end at a minibatch whose KL is above this; null: never."""
    gamma: float = 0.97
    estimator: Literal["gae", "rewards_to_go", "group_relative"] = "gae"
    """Of advantages; functions in ppo/advantages.py. group_relative trains no critic, so that its
    settings and recompute_advantages do nothing: at every rollout's start each group of simulations
    becomes copies of its first, and the returns that follow are scored against each other's."""
    group_size: int = 8
    """Simulations in a group, with group_relative; must divide num_envs."""
    gae_lambda: float = 0.9
    normalize_advantages: Literal["batch", "minibatch", "none"] = "batch"
    """To mean 0 and deviation 1, once or in every minibatch."""
    recompute_advantages: bool = False
    """Before every epoch, with the critic as it is by then."""
    entropy: float = 0.005
    """Weight of the entropy bonus."""
    entropy_end: float | None = None
    """The weight moves to this, linearly, over the run; null: it stays."""
    value_clip: float | None = None
    """Bound on the change of a value in one update (in one epoch with recompute_advantages; in
    standard deviations of the returns with normalize_returns); null: none."""
    normalize_returns: bool = False
    """The critic learns returns less their running mean over their running deviation."""
    learning_rate: float = 1e-3
    learning_rate_schedule: Literal["constant", "linear", "kl"] = "kl"
    """linear: actor's and critic's fall to 0 over the run; kl: the actor's follows kl_target."""
    kl_target: float | None = 0.01
    """The actor's learning rate follows the KL to this; null: it stays."""
    kl_target_end: float | None = None
    """The KL target moves to this, linearly, over the run; null: it stays."""
    critic_learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    """For actor and critic separately."""


class Networks(_Struct, frozen=True):
    """What actor and critic read, the shapes of their MLPs, and how these start."""

    actor_groups: tuple[str, ...] = ("actor",)
    """Observation groups that the actor reads, side by side."""
    critic_groups: tuple[str, ...] = ("actor", "critic")
    """Observation groups that the critic reads; tasks of Gymnasium have `actor` alone."""
    actor: tuple[int, ...] = (128, 128, 128)
    critic: tuple[int, ...] = (128, 128, 128)
    activation: Literal["elu", "relu", "tanh"] = "elu"
    init: Literal["orthogonal", "default"] = "orthogonal"
    """Of weights; default: torch's."""
    last_gain: float = 0.01
    """Factor on the actor's last layer at the start; small: its means start near zero."""
    std: Literal["global", "state"] = "global"
    """Whether the deviation of actions depends on the observation."""
    init_std: float = 0.5
    log_std_range: Range | None = None
    """Bounds on the log of the deviation, smooth; null: none."""
    obs_clip: float = 10.0
    """Bound on a normalized observation."""


class Config(_Struct, frozen=True):
    """One run."""

    task: AnyTask
    num_envs: int = 1024
    rollout: int = 24
    """Control steps per simulation and iteration."""
    steps: int = 4_000_000
    """Environment steps, all simulations together; one rollout before them, which the normalizers
    see and from which nothing is learned, does not count."""
    minutes: float | None = None
    """Stop after so much time, if that comes first; schedules follow `steps` alone."""
    threads: int = 0
    """0: all CPUs."""
    seed: int = 1
    save_every: float = 30.0
    """Time between checkpoints [s]."""
    keep: int = 5
    """Newest checkpoints that stay; 0: all."""
    ppo: Ppo = Ppo()
    networks: Networks = Networks()


def robot_task(config: Config, what: str) -> Task:
    """Return the task of a robot's run, or raise `InputError`: `what` is for robots only."""
    if isinstance(config.task, Task):
        return config.task
    raise InputError(
        f"{what} is for robots, and {config.task.name} is a task of Gymnasium; "
        "`robot-ppo eval RUN` scores it"
    )
