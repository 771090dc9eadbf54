"""A policy file from random weights, and what the tests of the node share."""

import dataclasses
import functools
import itertools
import math
import tempfile
from pathlib import Path

import msgspec
import numpy as np
from mlp_helpers import PlainMlp

from robot_ppo_export import golden, to_onnx
from robot_ppo_export.contract import spec as robot_spec
from robot_ppo_export.contract.action import ActionSpec
from robot_ppo_export.contract.command import twist
from robot_ppo_export.contract.contract import (
    Contract,
    Network,
    Normalizer,
    Training,
)
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec
from robot_ppo_export.contract.state import RobotState, blank
from robot_ppo_export.contract.terms import Inputs, gait_phase
from robot_ppo_export.policy import Policy
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.log import recorder
from robot_ppo_node.node import Node
from robot_ppo_node.safety import envelope, guards, self_test

ROOT = Path(__file__).parent.parent
PERIOD = 0.02
TERMS = (
    TermSpec(name="base_ang_vel", scale=0.25),
    TermSpec(name="projected_gravity"),
    TermSpec(name="command"),
    TermSpec(name="joint_pos_error", history=3),
    TermSpec(name="joint_vel", scale=0.05, clip=50.0),
    TermSpec(name="last_action"),
    TermSpec(name="gait_clock"),
)


@functools.cache
def robot() -> robot_spec.RobotSpec:
    return robot_spec.load(ROOT / "robots" / "go2" / "robot.yaml")


def contract(terms=TERMS, standing_up: float | None = None, **changes) -> Contract:
    """The test policy's contract; `changes` are fields that the layout depends on."""
    spec = robot()
    if standing_up is not None:
        stand = msgspec.structs.replace(spec.stand, duration=standing_up)
        spec = msgspec.structs.replace(spec, stand=stand)
    command = changes.pop("command", twist((-0.8, 0.8), (-0.3, 0.3), (-0.7, 0.7)))
    sizes = changes.pop("signal_sizes", {})
    layout = Layout(terms, len(robot().joints), command, sizes)
    return Contract(
        task="go2_walk",
        robot=spec,
        observation=terms,
        layout=tuple(layout.describe()),
        action=ActionSpec(scale=0.5, clip=4.0),
        control_period=PERIOD,
        gait_frequency=changes.pop("gait_frequency", 2.0),
        command=command,
        signal_sizes=sizes,
        normalizer=Normalizer(mean=(0.0,) * layout.size, std=(1.0,) * layout.size, clip=10.0),
        network=Network(hidden=(128, 128, 128), activation="elu"),
        training=Training(
            physics_timestep=0.01,
            randomization={"friction": [0.4, 1.2], "actuator_delay": [0.0, 100.0]},
            noise={"joint_pos": 0.01},
            steps=0,
            seed=0,
            versions={"robot-ppo": "0.1.0"},
            git_commit="",
        ),
        **changes,
    )


def actor(size: int, joints: int) -> PlainMlp:
    """Random weights whose actions are small, so that the fake robot stays inside its envelope."""
    random = np.random.default_rng(0)
    widths = (size, 128, 128, 128, joints)
    layers = [
        (random.normal(0, 0.6 / math.sqrt(a), (b, a)).astype("f4"), np.zeros(b, "f4"))
        for a, b in itertools.pairwise(widths)
    ]
    return PlainMlp(np.zeros(size, "f4"), np.ones(size, "f4"), 10.0, layers, "elu")


def forward(network: PlainMlp, observation: np.ndarray) -> np.ndarray:
    """The network in numpy: an independent way to the same action."""
    x = np.clip((observation - network.mean) / network.std, -network.obs_clip, network.obs_clip)
    for i, (weight, bias) in enumerate(network.layers):
        x = weight @ x + bias
        if i < len(network.layers) - 1:
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return x.astype("f4")


def random_state(random: np.random.Generator, c: Contract) -> RobotState:
    """What the policy of `c` reads, and the orientation."""
    state = blank({name: c.signal_width(name) for name in (*c.resolve().signals, "base_quat")})
    for values in state.values():
        values[...] += random.normal(0, 0.2, values.shape)
    state.base_quat /= np.linalg.norm(state.base_quat)
    return state


def traces(c: Contract, network: PlainMlp) -> golden.GoldenTraces:
    random = np.random.default_rng(1)
    observer = Observer(c.resolve(), ())
    action_map = c.action_map()
    inputs = []
    observations = []
    actions = []
    action = np.zeros(action_map.size, "f4")
    for t in range(golden.MIN_TICKS):
        phase = gait_phase(np.asarray(t), PERIOD, c.gait_frequency)
        command = random.uniform(-0.3, 0.3, c.command.size).astype("f4")
        state = random_state(random, c)
        inputs.append(Inputs(state, command, action, phase, action_map.default_pose))
        observations.append(observer.observe(inputs[-1]))
        action = forward(network, observations[-1])
        actions.append(action)
    stacked = np.stack(actions)
    recorded = golden.record(inputs, c.input_names())
    told = np.stack([item.command for item in inputs])
    reference = action_map.reference(np.stack([item.phase for item in inputs]), told)
    target = action_map.target(stacked, reference)
    return golden.GoldenTraces(recorded, np.stack(observations), stacked, target)


@functools.cache
def policy_file(terms=TERMS, standing_up: float | None = None) -> Path:
    return write_policy(contract(terms, standing_up))


def write_policy(c: Contract) -> Path:
    """A policy file with this contract and random weights."""
    network = actor(c.resolve().size, c.action_map().size)
    path = Path(tempfile.mkdtemp(prefix="robot-ppo-test-")) / "policy.onnx"
    path.write_bytes(to_onnx.build(network.blocks(), c, traces(c, network)))
    return path


@functools.cache
def _policy(terms) -> Policy:
    return Policy(policy_file(terms))


def policy(terms=TERMS) -> Policy:
    """The test policy, as after loading."""
    p = _policy(terms)
    p.reset()
    return p


@functools.cache
def _with_safety(limits: tuple[tuple[str, float], ...]) -> Policy:
    p = Policy(policy_file())
    safety = msgspec.structs.replace(robot().safety, **dict(limits))
    changed = msgspec.structs.replace(robot(), safety=safety)
    p.contract = msgspec.structs.replace(p.contract, robot=changed)
    return p


def with_safety(**limits) -> Policy:
    """The test policy with other safety limits."""
    p = _with_safety(tuple(limits.items()))
    p.reset()
    return p


@functools.cache
def _with_start(start: str) -> Policy:
    p = Policy(policy_file())
    changes = {} if start in ("lying", "sitting") else {"rest_pose": {}}
    cycle = robot_spec.LifeCycle(start=start)
    changed = msgspec.structs.replace(robot(), life_cycle=cycle, **changes)
    p.contract = msgspec.structs.replace(p.contract, robot=changed)
    return p


def with_start(start: str) -> Policy:
    """The test policy, for a robot of that life cycle; upright ones have no rest pose."""
    p = _with_start(start)
    p.reset()
    return p


def rest_pose() -> np.ndarray:
    return robot().rest().astype(np.float32)


@dataclasses.dataclass
class Rig:
    """A node on a fake robot, in stepped time."""

    node: Node
    driver: FakeDriver
    clock: SteppedClock

    def ticks(self, n: int) -> "Rig":
        for _ in range(n):
            self.clock.sleep_until(self.clock.now() + PERIOD)
            self.node.tick()
        return self

    def until(self, state: State, limit: int = 1000) -> "Rig":
        for _ in range(limit):
            if self.node.state is state:
                return self
            self.ticks(1)
        raise AssertionError(f"{state.name} was not reached: {self.node.events}")

    def events(self) -> str:
        return "\n".join(str(event) for _, event in self.node.events)


def rig(
    mutate=None,
    arm=True,
    commands=None,
    ring=None,
    p=None,
    clock=None,
    node=None,
    **driver,
) -> Rig:
    """A prepared node on a fake robot; `node` are further options of `Node`."""
    p = p or policy()
    clock = clock or SteppedClock()
    driver.setdefault("pose", p.contract.robot.rest().astype(np.float32))
    fake = FakeDriver(clock, mutate=mutate, **driver)
    log = recorder.for_policy(p, ring) if ring else None
    commands = commands or FixedCommand((0.3, 0.0, 0.1))
    rigged = Node(p, fake, clock, commands, log, **{"stand": True, "arm": arm} | (node or {}))
    rigged.prepare()
    return Rig(rigged, fake, clock)


class BusyClock(SteppedClock):
    """A computer on which every look at the clock after a wait costs `cost` seconds."""

    def __init__(self, costs):
        super().__init__()
        self.costs = iter(costs)

    def sleep_until(self, deadline):
        super().sleep_until(deadline)
        self.time += next(self.costs, 0.0)


def deaf(monkeypatch, name: str) -> None:
    """Let the guard `name` pass everything, for negative controls."""
    changed = tuple(
        dataclasses.replace(g, check=lambda *judged: None) if g.name == name else g
        for g in guards.GUARDS
    )
    count = len(guards.STATE_GUARDS)
    checks = tuple(g.check for g in changed)
    monkeypatch.setattr(self_test, "GUARDS", changed)
    monkeypatch.setattr(self_test, "STATE_GUARDS", changed[:count])
    monkeypatch.setattr(envelope, "STATE_CHECKS", checks[:count])
    monkeypatch.setattr(envelope, "TARGET_CHECKS", checks[count:])
