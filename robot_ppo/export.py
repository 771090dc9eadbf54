"""Checkpoint -> policy file: weights as arrays, the contract, golden traces from training code."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from robot_ppo import project
from robot_ppo.config import Config, Task, robot_task
from robot_ppo.envs.robot import observations
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor, bounded
from robot_ppo.robot_model import carried, fingerprint
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.training import joints, provenance
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints, load_actor
from robot_ppo.training.policy_network import blocks
from robot_ppo_export import golden, to_onnx
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.contract import Contract, Scores
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import Difference, Policy

GOLDEN_TICKS = 96
FASTEST = 3.0
"""[m/s] No robot leaves its tile faster while golden traces are recorded."""
ROLLOUT_ROBOTS = 64
ROLLOUT_TICKS = 500
"""Size of the rollout behind `contract.distribution`: every robot meets several commands, a push
or two and a randomization of its own, and 32 observations lie beyond each 0.1 % quantile."""


Act = Callable[[np.ndarray], np.ndarray]
"""Observations (n, size) -> deterministic raw actions (n, joints)."""
Judge = Callable[[Contract, Act, Mjcf], Scores | None]
"""Scores a policy for its file; `evaluation.scorecard.judge` is one."""


def export(
    run: Path,
    out: Path,
    checkpoint: Checkpoint | None = None,
    tell: bool = False,
    judge: Judge | None = None,
) -> Difference:
    """Write the policy of a run, read it back and prove it; return the worst difference.

    Args:
        run: folder of a training run.
        out: the policy file.
        checkpoint: which one; by default the newest.
        tell: warn where the robot was edited since the run was trained.
        judge: scores the policy, for the file to say; None: it says nothing.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name the policy file, e.g. {out / 'policy.onnx'}")
    checkpoints = Checkpoints(run)
    checkpoint = checkpoint or checkpoints.newest()
    settings = checkpoints.settings(checkpoint)
    trained_with = fingerprint.newest(run)
    if tell:
        fingerprint.warn_if_edited(trained_with, robot_task(settings, "a policy file").robot, run)
    data = build(settings, checkpoint, trained_with, judge)
    temporary = out.with_name(f".{out.name}.unproven")
    write_atomically(temporary, data)
    try:
        worst = Policy(temporary).check_golden()
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return worst


def build(
    config: Config,
    checkpoint: Checkpoint,
    trained_with: str | None = None,
    judge: Judge | None = None,
) -> bytes:
    """Return the bytes of the policy file; the same checkpoint gives the same bytes.

    Args:
        config: of the run.
        checkpoint: which weights.
        trained_with: fingerprint of the robot's model, by default that of its files now.
        judge: see `export`.
    """
    actor = load_actor(config, checkpoint)
    contract = build_contract(config, checkpoint, actor, trained_with)
    contract = msgspec.structs.replace(contract, distribution=_distribution(config, actor))
    robot = robot_task(config, "a policy file").robot
    xml = project.robot_folder(robot) / contract.robot.model
    if judge is not None:
        scores = judge(contract, Acting(actor), xml)
        contract = msgspec.structs.replace(contract, scores=scores)
    traces = _golden(config, actor, contract.input_names())
    packed = carried.pack(contract.robot, xml)
    return to_onnx.build(blocks(actor), contract, traces, packed)


def robot_of(run: Path) -> str:
    """Return name or folder of the robot of a run."""
    checkpoints = Checkpoints(run)
    settings = checkpoints.settings(checkpoints.newest())
    return robot_task(settings, "a policy file").robot


def build_contract(
    config: Config, checkpoint: Checkpoint, actor: Actor, trained_with: str | None = None
) -> Contract:
    """Return what the policy assumes, without the distribution of its observations.

    Raises:
        InputError: the robot has other joints than the weights were trained with, or what the actor
            reads cannot be exported.
    """
    task = robot_task(config, "a policy file")
    _check_groups(config)
    joints.check(config, checkpoint)
    robot = project.load_robot(task.robot)
    normalizer = actor.normalizer
    layout = observations.layout(task, robot)
    trained = len(normalizer.mean), len(actor.log_std)
    moved = len(robot.joints) - len(task.action.held)
    joints.check_sizes(config, trained, (layout.size, moved))
    return Contract(
        task=task.name,
        robot=robot,
        observation=layout.specs,
        layout=tuple(layout.describe()),
        action=task.action,
        control_period=task.control_period,
        gait_frequency=task.gait.frequency if task.gait else None,
        evaluation=task.evaluation and msgspec.to_builtins(task.evaluation),
        command=layout.command,
        signal_sizes=layout.signal_sizes,
        normalizer=contracts.Normalizer(
            mean=tuple(normalizer.mean.float().tolist()),
            std=tuple(normalizer.std().tolist()),
            clip=normalizer.clip,
        ),
        model_fingerprint=trained_with or fingerprint.of_robot(task.robot),
        network=contracts.Network(
            hidden=config.networks.actor, activation=config.networks.activation
        ),
        states=to_onnx.states_of(blocks(actor)),
        training=contracts.Training(
            physics_timestep=task.physics.timestep,
            randomization={name: list(r) for name, r in task.randomization.items()},
            noise=task.noise,
            map=msgspec.to_builtins(task.map) if layout.scan_grid else {},
            deviation=_deviation(actor),
            steps=checkpoint.steps,
            seed=config.seed,
            versions=provenance.versions(),
            git_commit=provenance.git_commit(),
        ),
    )


def _deviation(actor: Actor) -> tuple[float, ...]:
    """Return the deviation of each action, where it is no function of the observation."""
    if actor.log_std_head is not None:
        return ()
    return tuple(bounded(actor.log_std, actor.range).detach().exp().tolist())


def _check_groups(config: Config) -> None:
    """Raise `InputError` where the actor reads what a policy file cannot describe."""
    if not config.networks.exportable:
        raise InputError(
            f"`networks.actor_groups`: {list(config.networks.actor_groups)} cannot be exported, "
            "since a robot computes the group `actor` alone; train an actor that reads [actor], or "
            "a student of this run: robot-ppo train TASK --preset distill --teacher RUN"
        )


def _distribution(config: Config, actor: Actor) -> contracts.Distribution:
    """Return what the deterministic policy sees in its training world, by a rollout of its own."""
    task = robot_task(config, "a policy file")
    robot = project.load_robot(task.robot)
    env = RobotEnv(task, robot, ROLLOUT_ROBOTS, threads=config.threads, seed=config.seed)
    observation, _ = env.reset(seed=config.seed)
    act = Acting(actor)
    seen = np.empty((ROLLOUT_TICKS, *observation.shape), np.float32)
    for t in range(ROLLOUT_TICKS):
        seen[t] = observation
        observation, _, failed, cut, _ = env.step(act(observation))
        act.reset(failed | cut)
    return contracts.distribution(seen.reshape(-1, seen.shape[-1]))


def _endless(task: Task) -> Task:
    """Return the task without an end in a trace: no falls, no time limit, tiles too large to leave.

    A policy cannot know of an end, at which the environment forgets what its histories hold.
    """
    terrain = task.terrain
    length = max(task.episode_length, 2 * GOLDEN_TICKS * task.control_period)
    if terrain is not None:
        reach = 2 * FASTEST * GOLDEN_TICKS * task.control_period
        size = terrain.size * math.ceil(reach / terrain.size)
        terrain = msgspec.structs.replace(terrain, size=size)
    return msgspec.structs.replace(task, terminations={}, terrain=terrain, episode_length=length)


def _golden(config: Config, actor: Actor, names: tuple[str, ...]) -> golden.GoldenTraces:
    """Return one episode's first ticks, by the training environment and the training network.

    An actor with a memory is recorded over two episodes, of half as many ticks: it must forget.

    Args:
        config: of the run.
        actor: in training.
        names: of the inputs that are recorded: those that the policy reads.
    """
    task = robot_task(config, "a policy file")
    robot = project.load_robot(task.robot)
    env = RobotEnv(_endless(task), robot, 1, threads=1, seed=config.seed)
    observation, _ = env.reset(seed=config.seed)
    inputs = []
    observations = []
    actions = []
    act = Acting(actor)
    starts = np.zeros(GOLDEN_TICKS, np.float32) if actor.state_size else None
    for t in range(GOLDEN_TICKS):
        if starts is not None and t == GOLDEN_TICKS // 2:
            observation, _ = env.reset()
            act = Acting(actor)
            starts[t] = 1.0
        assert env.last_inputs is not None
        inputs.append(copy.deepcopy(env.last_inputs))  # a reset writes into its arrays
        observations.append(observation[0])
        action = act(observation)
        actions.append(action[0])
        observation = env.step(action)[0]
    recorded = golden.record(inputs, names)
    rows = {name: values[:, 0] for name, values in recorded.items()}
    stacked = np.stack(actions)
    told = np.stack([item.command[0] for item in inputs])
    reference = env.actions.reference(np.stack([item.phase[0] for item in inputs]), told)
    target = env.actions.target(stacked, reference)
    return golden.GoldenTraces(rows, np.stack(observations), stacked, target, starts)
