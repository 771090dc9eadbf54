"""Small environments, worlds and trainings for the tests of the simulated world and of PPO."""

import functools

import msgspec
import numpy as np

from robot_ppo import config, export, project
from robot_ppo.config import Config, EventTable, Gait, Physics, Task
from robot_ppo.envs.robot import observations
from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.randomization import RANDOMIZATIONS, WRITES
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.envs.robot.world import Constants, World
from robot_ppo.ppo.networks import Actor
from robot_ppo.robot_model import variants
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.training.checkpoint import Checkpoint
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.scan import ScanGrid

TASK = "go2_walk"

GAIT = Gait(
    frequency=2.0,
    offsets={"FR": 0.0, "FL": 0.5, "RR": 0.5, "RL": 0.0},
    stance=0.6,
    swing_height=0.1,
)
JOINTS = 12
FEET = 4

EXTREMES = {
    "friction": (0.2, 1.5),
    "payload": (-1.0, 3.0),
    "base_com": (-0.03, 0.03),
    "link_mass": (0.8, 1.2),
    "joint_damping": (0.5, 1.5),
    "friction_loss": (0.5, 1.5),
    "armature": (0.5, 1.5),
    "motor_strength": (0.7, 1.3),
    "kp": (0.8, 1.2),
    "kd": (0.8, 1.2),
    "encoder_offset": (-0.03, 0.03),
    "imu_bias": (-0.1, 0.1),
    "imu_mounting": (-0.05, 0.05),
    "actuator_delay": (0.0, 20.0),
    "group_delay": (0.0, 10.0),
    "packet_loss": (0.0, 0.9),
    "packet_delay": (0.0, 50.0),
    "sensor_delay": (0.0, 30.0),
}
"""A wide range for every randomization that exists; the shipped task's are narrower."""

PROMPT = {name: r for name, r in EXTREMES.items() if not name.startswith("packet_")}
"""Those without what is drawn anew at every step: states that are lost or late."""

LEGS = {"FR_*": 1, "FL_*": 2, "RR_*": 3, "RL_*": 4}
PARAMETERS = {"group_delay": {"groups": LEGS}}
"""Of randomizations, as a task's YAML has them."""

FIELDS = tuple(dict.fromkeys(f for entry in WRITES.values() for f in entry.fields))
"""Every field that any randomization writes."""


@functools.cache
def robot():
    return project.load_robot("go2")


def contract_of(settings: Config) -> Contract:
    """Return the contract of an untrained policy."""
    assert isinstance(settings.task, Task)
    size = observations.layout(settings.task, robot()).size
    actor = Actor(size, JOINTS, settings.networks)
    checkpoint = Checkpoint(steps=0, seconds=0.0, iteration=0, learner={}, rng={})
    return export.build_contract(settings, checkpoint, actor)


@functools.cache
def shipped() -> Config:
    return config.load(TASK)


def resolved(name) -> dict:
    """The parameters of a randomization, as its function takes them."""
    given = {"range": EXTREMES[name], **PARAMETERS.get(name, {})}
    return RANDOMIZATIONS.one("task", name, given, robot().joint_names).parameters


def replace(struct, **changes):
    return msgspec.structs.replace(struct, **changes)


def events(randomization=(), reset=None, pushes=None) -> EventTable:
    """Events: randomizations by range, the disturbances of the home pose, the push."""
    drawn = {
        name: {"range": list(r), **PARAMETERS.get(name, {})}
        for name, r in dict(randomization).items()
    }
    home = {"clearance": 0.03, "heading": [-np.pi, np.pi]} | (reset or {})
    return EventTable(
        reset={"home_pose": home, **drawn}, interval={"push": pushes} if pushes else {}
    )


EVENT_WORDS = {"randomization", "reset", "pushes"}
DISTURBED = {"joint_pos": 0.1, "joint_vel": 0.2, "base_lin_vel": 0.3, "base_ang_vel": 0.3}


def changed(task, default, changes) -> Task:
    """The task with events that `events` makes, and other keys."""
    words = default | {k: v for k, v in changes.items() if k in EVENT_WORDS}
    others = {k: v for k, v in changes.items() if k not in EVENT_WORDS}
    if "observation" in others:
        others["observations"] = task.observations | {"actor": others.pop("observation")}
    return replace(task, **({"events": events(**words)} | others))


def loud(**changes) -> Task:
    """The shipped task with everything on, whatever it is tuned to at present."""
    default = {
        "randomization": EXTREMES,
        "reset": DISTURBED,
        "pushes": {"interval": [0.1, 0.3], "speed": [0.1, 0.7]},
    }
    everything = {
        "noise": {"base_ang_vel": 0.2, "base_quat": 0.05, "joint_pos": 0.01, "joint_vel": 1.0},
        "commands": commands(resample=(0.1, 0.4)),
    }
    return changed(shipped().task, default, everything | changes)


def quiet(**changes) -> Task:
    """The shipped task without noise, randomization, pushes or a disturbed start."""
    return changed(shipped().task, {}, {"noise": {}} | changes)


def commands(**changes):
    values = {"vx": (-1.0, 1.0), "vy": (-0.5, 0.5), "yaw_rate": (-1.0, 1.0)}
    values |= {"resample": (3.0, 7.0), "standing_fraction": 0.1}
    return {"twist": values | changes}


ENDLESS = {}


def environment(task: Task, n: int = 4, threads: int = 1, seed: int = 0) -> RobotEnv:
    return RobotEnv(task, robot(), n, threads, seed)


def random_actions(steps: int, n: int, seed: int = 0, size: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, (steps, n, JOINTS)).astype(np.float32)


@functools.cache
def xml():
    return project.robot_folder("go2") / robot().model


def train_model(timestep: float = 0.01, max_delay: float = 0.04):
    return variants.train_model(robot(), xml(), Physics(timestep=timestep), max_delay)


def engine(n: int, threads: int = 1, substeps: int = 2, fields=FIELDS, **kwargs) -> RobotEngine:
    built = RobotEngine(train_model(**kwargs), robot(), n, threads, substeps)
    built.vary(tuple(fields))
    return built


def start(engine: RobotEngine, ids, rows=None, height: float = 0.0, lean: float = 0.0):
    """Reset `ids` to the default pose, `lean` [rad] more on every joint, `height` [m] up."""
    ids = np.asarray(ids)
    qpos = np.tile(engine.model.key("home").qpos, (len(ids), 1))
    qpos[:, 2] += height
    qpos[:, engine.joint_qpos] += lean
    qvel = np.zeros((len(ids), engine.model.nv))
    if rows is None:
        rows = engine.nominal(tuple(engine._fields), len(ids))
    engine.reset(ids, qpos, qvel, rows)
    return qpos


def world(n: int = 3, seed: int = 0, **fields) -> World:
    """A world of random numbers, float32, except for the fields that are given."""
    rng = np.random.default_rng(seed)
    shapes = {
        "base_height": (n,),
        "base_quat": (n, 4),
        "base_lin_vel": (n, 3),
        "base_ang_vel": (n, 3),
        "projected_gravity": (n, 3),
        "joint_pos": (n, JOINTS),
        "joint_vel": (n, JOINTS),
        "joint_acc": (n, JOINTS),
        "torque": (n, JOINTS),
        "foot_height": (n, FEET),
        "foot_vel_w": (n, FEET, 3),
        "command": (n, 3),
        "action": (n, JOINTS),
        "last_action": (n, JOINTS),
        "randomized": (n, 2),
    }
    values = {k: rng.normal(0, 1, shape).astype(np.float32) for k, shape in shapes.items()}
    values["base_quat"] /= np.linalg.norm(values["base_quat"], axis=1, keepdims=True)
    values["foot_contact"] = rng.random((n, FEET)) < 0.5
    values["moving"] = np.ones(n, bool)
    values["phase"] = rng.random(n).astype(np.float32)
    values["failed"] = rng.random(n) < 0.5
    grid = ScanGrid(0.5, 0.5, 0.5, 0.5)
    values["scans"] = {grid: rng.normal(0, 1, (n, 4)).astype(np.float32)}
    values["sole_level"] = rng.uniform(-1, 1, (n, FEET)).astype(np.float32)
    values["foot_gap"] = rng.normal(0, 1, (n, FEET)).astype(np.float32)
    flight = rng.uniform(0, 1, (n, FEET)).astype(np.float32)
    values["air_time"] = np.where(rng.random((n, FEET)) < 0.3, np.float32(0), flight)
    values["base_clearance"] = rng.normal(0, 1, n).astype(np.float32)
    values |= fields
    schedule = Schedule(GAIT, robot())
    values.setdefault("constants", Constants.of(robot(), schedule))
    values.setdefault("swing", schedule.swing(values["phase"], values["moving"]))
    return World(**values)


# -- trainings ----------------------------------------------------------------------------------

ROBOTS = 8
ROLLOUT = 8
SHORT_TRIALS = (
    "task.evaluation.seconds=0.6",
    "task.evaluation.unscored=0.2",
    "task.evaluation.commands.vx=[0.4]",
    "task.evaluation.commands.vy=[0.0]",
    "task.evaluation.commands.yaw_rate=[0.0, 0.5]",
)
"""Whoever exports is scored: two commands of half a second instead of 45 of eight."""
SMALL = (
    f"num_envs={ROBOTS}",
    f"rollout={ROLLOUT}",
    "networks.actor=[16]",
    "networks.critic=[16]",
    "ppo.minibatches=2",
    "ppo.epochs=2",
)
"""A training of a tenth of a second, of any task."""
TINY = (*SMALL, *SHORT_TRIALS)
"""And an export of a second, of a robot's task."""


def train_arguments(out, *more: str, steps: int = 2 * ROBOTS * ROLLOUT, tiny=TINY) -> list[str]:
    """The words of a command line that trains the tiny way; two iterations by default."""
    sets = [word for key in tiny for word in ("--set", key)]
    words = ["train", TASK, "--out", str(out), "--steps", str(steps), "--threads", "1"]
    return [*words, *sets, *more]


def tiny_config(*overrides: str, **flags) -> Config:
    return config.load(TASK, overrides=(*TINY, *overrides), **flags)
