"""Every key of a run's configuration, as frozen structures; meaning and unit stand below each.

One run has one `Config`: the task (the world) and the preset (the learner).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from robot_ppo_export.contract.action import ActionSpec
from robot_ppo_export.contract.tables import (
    Fraction,
    NonNegative,
    NonNegativeRange,
    Positive,
    PositiveRange,
    Range,
)
from robot_ppo_export.errors import InputError

Count = Annotated[int, Meta(ge=1)]
Widths = tuple[Count, ...]
Names = Annotated[tuple[str, ...], Meta(min_length=1)]
Terms = dict[str, dict[str, Any]]
"""Term -> its parameters, in order. The function says which ones: contract/tables.py."""
Groups = dict[str, Terms]
"""Observation group -> its terms."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Gait(_Struct, frozen=True):
    """The clock that the policy hears and the schedule that rewards ask for."""

    frequency: Positive
    """Cycles per second [Hz]."""
    offsets: dict[str, float]
    """Phase of each foot, as a fraction of the cycle; a trot has diagonal pairs."""
    stance: Annotated[float, Meta(gt=0, lt=1)]
    """Fraction of the cycle in which a foot is meant to be on the ground."""
    swing_height: Positive
    """Highest point of the foot's underside in swing [m]."""


class Physics(_Struct, frozen=True):
    """MuJoCo's settings in training; evaluation always uses its own, finer ones."""

    timestep: Positive
    """[s]; must divide the control period."""
    solver: Literal["newton", "cg", "pgs"] = "newton"
    """Algorithm that solves for the forces of constraints."""
    iterations: Annotated[int, Meta(ge=1)] = 10
    """Most iterations of the solver; few steps need so many, and one cut short throws joints."""
    ls_iterations: Annotated[int, Meta(ge=1)] = 20
    """Most iterations of the solver's line search."""
    cone: Literal["pyramidal", "elliptic"] = "pyramidal"
    """Shape of the friction cone."""
    collisions: Literal["feet", "self", "all"] = "feet"
    """Contacts: of the feet with the ground; beside these, of the robot's parts with each other as
    its MJCF says; or of every collision geom also with the ground."""


class Terrain(_Struct, frozen=True):
    """Rough ground: tiles in one field of heights, a row for each level, columns for kinds."""

    kinds: Annotated[Terms, Meta(min_length=1)]
    """Kind of ground -> its `share` of the columns and its parameters; sim/terrain.py."""
    size: Positive = 8.0
    """Side of a tile [m]."""
    spacing: Positive = 0.1
    """Distance of heights [m]: the finer, the slower is every foot on the ground."""
    platform: Positive = 1.0
    """Side of the level square in the middle of a tile, where robots start [m]."""
    levels: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Rows, from the easiest to the hardest."""
    columns: Annotated[int, Meta(ge=1, le=1000)] = 20
    """All kinds together."""
    start: Fraction = 0.3
    """With the curriculum `terrain_level`, simulations begin at levels up to this."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of what is drawn; the same field for the same seed."""


class MapErrors(_Struct, frozen=True):
    """Errors of a robot's map of the ground, beside white noise (`noise.height_scan`)."""

    offset: NonNegative = 0.0
    """Half-width of a vertical error that stays for an episode [m]."""
    drift: NonNegative = 0.0
    """Half-width of the speed at which the map slides along each axis [m/s], for an episode."""
    period: NonNegative = 0.0
    """Time between two scans, in which the last one stays [s]; 0: one in each control period."""
    delay: NonNegativeRange = (0.0, 0.0)
    """Age of what is scanned [s], uniform, for an episode."""
    missing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Part of the points, on average, that the map does not know."""
    patch: Positive = 0.3
    """Side of the patches in which they lie [m]."""
    frozen: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Part of the time, on average, in which the scan stays as it is."""
    freeze: PositiveRange = (0.5, 2.0)
    """How long it then stays [s], uniform."""


class EventTable(_Struct, frozen=True):
    """Changes of a simulation; functions in envs/robot/events.py and randomization.py."""

    start: Terms = {}
    """Once, when the environment starts: randomizations that stay for all episodes."""
    reset: Terms = {}
    """At the start of an episode: initial states, in this order, and randomizations."""
    interval: Terms = {}
    """Every now and then."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differences of one pass of the scorecard from the nominal one."""

    name: str = ""
    """The key in `conditions`."""
    friction: NonNegative | None = None
    """Sliding friction of the feet."""
    payload: float = 0.0
    """[kg] on the base"""
    delay: NonNegative | dict[str, NonNegative] = 0.0
    """Extra time from a target to its effect [s]: of all joints, or of those that names and
    patterns name."""
    strength: Positive = 1.0
    """Factor on motor torque and its limit."""
    push: NonNegative = 0.0
    """Speed [m/s] added to the base every `push_every`, in a new direction each time."""
    punch: NonNegative = 0.0
    """Force [N] on the base for 0.1 s every `push_every`, in a new direction each time."""
    solver: Literal["newton", "cg", "pgs"] | None = None
    """Solver of constraints; null: Newton's, as nominally."""
    motors: Literal["explicit", "implicit"] = "explicit"
    """Integration of the PD law: from the state at the beginning of a physics step, as a motor
    controller does, or implicitly in the velocity, as in training."""
    lost: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Fraction of the state packets, one every control period, that never arrive."""
    late: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """State packets arrive up to so late [s], each by a time of its own."""


class Evaluation(_Struct, frozen=True, kw_only=True):
    """Trials by which a policy is judged (evaluation/evaluate.py); in the policy file, too."""

    seconds: Positive = 8.0
    """Length of a trial [s]."""
    unscored: NonNegative = 2.0
    """Beginning of a trial that is not scored [s]."""
    commands: dict[str, Annotated[tuple[float, ...], Meta(min_length=1)]] = {}
    """Entry of the command -> its values; every combination is a trial. Entries that are not named
    are at the middle of their range. Without any, commands are drawn."""
    trials: Count = 45
    """Number of trials where commands are drawn, or where there are none."""
    start: Terms = {}
    """Initial states, as in `events.reset`; else every trial starts in the home pose."""
    conditions: Annotated[dict[str, Condition], Meta(min_length=1)]
    """Name -> what differs; the first is judged by `limits`."""
    push_every: Positive = 3.0
    """[s]"""
    limits: dict[str, float] = {}
    """Figure -> the most that a policy may have; none exceeded: it passes."""


class Task(_Struct, frozen=True, kw_only=True, tag_field="kind", tag="robot"):
    """The world: robot, commands, observations, rewards, events. Kinds of terms: docs/tasks.md."""

    name: str
    robot: str
    control_period: Positive
    """[s]"""
    episode_length: Positive
    """[s]"""
    physics: Physics
    terrain: Terrain | None = None
    """null: level ground."""
    action: ActionSpec
    gait: Gait | None = None
    """null: the task has none."""
    commands: Terms = {}
    """One command or none: kind -> parameters and `resample` [s]; envs/robot/commands.py."""
    observations: Groups
    """Group -> terms; `actor` is what is exported: terms of robot_ppo_export/contract/terms.py. The
    others may hold those of envs/robot/observations.py, too."""
    rewards: Terms
    """Name -> weight [1/s] and parameters; envs/robot/rewards.py."""
    terminations: Terms = {}
    """Name -> parameters; envs/robot/terminations.py. The time limit is not a failure."""
    events: EventTable = EventTable()
    curriculum: Terms = {}
    """Name -> parameters; envs/robot/curriculum.py."""
    metrics: Terms = {}
    """Columns of the log: name -> parameters; envs/robot/metrics.py."""
    evaluation: Evaluation | None = None
    """null: a twist is scored on the grid that the first edition had, nothing else can be."""
    map: MapErrors = MapErrors()
    """Of what `height_scan` says."""
    noise: dict[str, NonNegative] = {}
    """Signal -> half-width of its uniform noise in the signal's unit (base_quat: [rad])."""

    @property
    def parts(self) -> frozenset[str]:
        """Parts that terms may need: "gait", "terrain", "commands", and their kind.

        The kind is as in "commands.twist".
        """
        kinds = [f"commands.{kind}" for kind in self.commands]
        sections = [name for name in ("gait", "terrain") if getattr(self, name)]
        return frozenset([*sections, *kinds, *(["commands"] if kinds else [])])

    @property
    def randomization(self) -> dict[str, Range]:
        """Randomization -> its range, of those at the start and those at reset."""
        drawn = {**self.events.start, **self.events.reset}
        return {name: tuple(e["range"]) for name, e in drawn.items() if "range" in e}


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
    """Objective of the actor, a name in ppo/objectives.py. `trpo` takes one step over the whole
    batch: epochs, minibatches, learning rate and max_grad_norm then concern the critic only."""
    clip: Positive = 0.2
    """Bound on |ratio - 1|."""
    beta: Positive = 1.0
    """Price of KL for the kl_ objectives: for kl_fixed always, for the others at the start."""
    beta_rate: Positive = 0.2
    """kl_dual: largest change of log(beta) in one update; converges below 1."""
    kl_bound: Positive = 0.01
    """KL of one update that kl_adaptive and kl_dual aim at, and that trpo never exceeds."""
    epochs: Count = 5
    minibatches: Count = 4
    stop_kl: Positive | None = None
    """The actor's epochs end at a minibatch whose KL is above this; null: never."""
    gamma: Annotated[float, Meta(gt=0, le=1)] = 0.97
    estimator: Literal["gae", "rewards_to_go", "group_relative"] = "gae"
    """Estimator of advantages, in ppo/advantages.py. group_relative trains no critic, so that its
    settings and recompute_advantages do nothing: at every rollout's start each group of simulations
    becomes copies of its first, and the returns that follow are scored against each other's."""
    group_size: Annotated[int, Meta(ge=2)] = 8
    """Simulations in a group, with group_relative; must divide num_envs."""
    gae_lambda: Fraction = 0.9
    normalize_advantages: Literal["batch", "minibatch", "none"] = "batch"
    """Scale advantages to mean 0 and deviation 1, once or in every minibatch."""
    recompute_advantages: bool = False
    """Before every epoch, with the critic as it is by then."""
    entropy: float = 0.005
    """Weight of the entropy bonus."""
    entropy_end: float | None = None
    """The weight moves to this, linearly, over the run; null: it stays."""
    value_clip: Positive | None = None
    """Bound on the change of a value in one update (in one epoch with recompute_advantages; in
    standard deviations of the returns with normalize_returns); null: none."""
    normalize_returns: bool = False
    """The critic learns returns less their running mean over their running deviation."""
    learning_rate: NonNegative = 1e-3
    learning_rate_schedule: Literal["constant", "linear", "kl"] = "kl"
    """linear: actor's and critic's fall to 0 over the run; kl: the actor's follows kl_target."""
    kl_target: Positive | None = 0.01
    """The actor's learning rate follows the KL to this; null: it stays."""
    kl_target_end: Positive | None = None
    """The KL target moves to this, linearly, over the run; null: it stays."""
    reduction: Literal["float32", "int8"] = "float32"
    """How a gradient travels between the processes of one run (ppo/reduction.py)."""
    critic_learning_rate: NonNegative = 1e-3
    max_grad_norm: Positive = 1.0
    """For actor and critic separately."""


class MemorySpec(_Struct, frozen=True):
    """A recurrent cell between a network's normalizer and its MLP (ppo/cells.py)."""

    cell: Literal["gru", "lstm"] = "gru"
    units: Count = 128


class Networks(_Struct, frozen=True):
    """Inputs of actor and critic, the shapes of their MLPs, and their first weights."""

    actor_groups: Names = ("actor",)
    """Observation groups that the actor reads, side by side."""
    critic_groups: Names = ("actor", "critic")
    """Observation groups that the critic reads; tasks of Gymnasium have `actor` alone."""
    actor: Widths = (128, 128, 128)
    critic: Widths = (128, 128, 128)
    actor_memory: MemorySpec | None = None
    """What the actor remembers from step to step of an episode; null: nothing."""
    critic_memory: MemorySpec | None = None
    """The same for the critic; one that reads the whole state needs none."""
    activation: Literal["elu", "relu", "tanh"] = "elu"
    init: Literal["orthogonal", "default"] = "orthogonal"
    """First weights; default: torch's."""
    last_gain: Positive = 0.01
    """Factor on the actor's last layer at the start; small: its means start near zero."""
    std: Literal["global", "state"] = "global"
    """Deviation of actions: one for all states, or a function of the observation."""
    init_std: Positive = 0.5
    log_std_range: Range | None = None
    """Bounds on the log of the deviation, smooth; null: none."""
    obs_clip: Positive = 10.0
    """Bound on a normalized observation."""
    symmetric: bool | Literal["auto"] = False
    """Left and right are treated alike (ppo/symmetric.py); robot and task must have a mirror image.
    auto: where they have one."""

    @property
    def exportable(self) -> bool:
        """True where the actor reads what a robot computes, the group `actor` alone."""
        return self.actor_groups == ("actor",)


class Distill(_Struct, frozen=True):
    """Settings of a student that imitates its teacher (ppo/distill.py)."""

    teacher: str = ""
    """Folder of the teacher's run, or its policy file; `--teacher RUN`."""
    until: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Fraction of the run's steps in which the student imitates; from there on it learns by PPO."""
    alone: Fraction = 0.5
    """Fraction of the imitation in which the student's share of the simulations grows from none to
    all of them."""
    latent: NonNegative = 0.0
    """Weight of the loss on the teacher's latent, the activation of its actor's last hidden layer,
    beside the one on its actions; the student's last hidden layer must be as wide."""


class Config(_Struct, frozen=True):
    """One run."""

    task: AnyTask
    algorithm: Literal["ppo", "distill"] = "ppo"
    num_envs: Annotated[int, Meta(ge=1, le=2**20)] = 1024
    rollout: Count = 24
    """Control steps per simulation and iteration."""
    steps: Count = 4_000_000
    """Environment steps, all simulations together; one rollout before them, which the normalizers
    see and from which nothing is learned, does not count."""
    minutes: Positive | None = None
    """Stop after so much time, if that comes first; schedules follow `steps` alone."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """0: all CPUs."""
    device: str = "cpu"
    """Where networks, rollout and update are: cpu, or cuda or cuda:N (ppo/on_device.py)."""
    engine: Literal["batch", "warp"] = "batch"
    """What steps the simulations: mujoco.batch on the CPU, or mujoco_warp on the `device`, where
    observations and rewards then stay (envs/robot/warp_env.py)."""
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 1
    save_every: NonNegative = 30.0
    """Time between checkpoints [s]; 0: one in every iteration."""
    keep: Annotated[int, Meta(ge=0)] = 5
    """Newest checkpoints that stay; 0: all."""
    ppo: Ppo = Ppo()
    networks: Networks = Networks()
    distill: Distill = Distill()


def robot_task(config: Config, what: str) -> Task:
    """Return the task of a robot's run, or raise `InputError`: `what` is for robots only."""
    if isinstance(config.task, Task):
        return config.task
    raise InputError(
        f"{what} is for robots, and {config.task.name} is a task of Gymnasium; "
        "`robot-ppo eval RUN` scores it"
    )
