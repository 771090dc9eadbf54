"""Random robots, a contract and a policy file built from numpy alone, for the contract's tests."""

import copy
import functools
import itertools
from pathlib import Path

import msgspec
import numpy as np
import onnx
from mlp_helpers import PlainMlp

from robot_ppo_export import checksum, golden, to_onnx
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract import spec, strict
from robot_ppo_export.contract.action import ActionSpec
from robot_ppo_export.contract.command import twist
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.contract.terms import NUMBERS, Inputs, Numbers, gait_phase
from robot_ppo_export.contract.terms import TERMS as TERM_TABLE

ROOT = Path(__file__).parent.parent
ROBOT_YAML = ROOT / "robots" / "go2" / "robot.yaml"
JOINTS = 12
FEET = 4
SCAN = 187
"""Points of a height scan, by its defaults."""
PERIOD = 0.02
FREQUENCY = 2.0

# Every term, with each of scale, clip and history somewhere.
TERMS = (
    TermSpec(name="base_ang_vel", scale=0.25, clip=2.0),
    TermSpec(name="projected_gravity", history=2),
    TermSpec(name="command"),
    TermSpec(name="joint_pos_error", history=3),
    TermSpec(name="joint_vel", scale=0.05, clip=20.0, history=2),
    TermSpec(name="last_action"),
    TermSpec(name="gait_clock"),
)


@functools.cache
def robot() -> spec.RobotSpec:
    return spec.load(ROBOT_YAML)


@functools.cache
def _robot_data():
    return strict.read_yaml(ROBOT_YAML)


def robot_with(path, value):
    """The Go2 as plain data with the entry at `path`, a tuple of keys, replaced."""
    data = copy.deepcopy(_robot_data())
    *parents, last = path
    entry = data
    for key in parents:
        entry = entry[key]
    entry[last] = value
    return data


def same_bits(a, b) -> bool:
    """Equal down to the sign of zero."""
    a = np.asarray(a)
    b = np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def random_quat(random, lead=(), dtype=np.float32):
    quat = random.normal(size=(*lead, 4))
    return (quat / np.linalg.norm(quat, axis=-1, keepdims=True)).astype(dtype)


def random_state(random, lead=(), joints=JOINTS, feet=FEET) -> RobotState:
    def normal(k, size):
        return random.normal(0, size, (*lead, k)).astype(np.float32)

    return RobotState(
        joint_pos=normal(joints, 1),
        joint_vel=normal(joints, 10),
        joint_torque=normal(joints, 10),
        base_quat=random_quat(random, lead),
        base_ang_vel=normal(3, 2),
        base_lin_acc=normal(3, 5),
        foot_force=normal(feet, 50),
        height_scan=normal(SCAN, 0.3),
    )


def random_inputs(random, lead=(), joints=JOINTS) -> Inputs:
    """Inputs of one robot, lead (), or of many; every third is told to stand still."""
    command = random.uniform(-1, 1, (*lead, 3)).astype(np.float32)
    command *= random.integers(0, 3, (*lead, 1)) > 0
    return Inputs(
        random_state(random, lead, joints),
        command,
        random.normal(0, 1, (*lead, joints)).astype(np.float32),
        np.asarray(random.uniform(0, 1, lead), np.float32),
        robot().vector("default").astype(np.float32)[:joints],
    )


def rows_of(inputs: Inputs, index) -> Inputs:
    """The robots that `index` selects along the leading axis."""
    state = inputs.state
    return Inputs(
        RobotState(**{name: state[name][index] for name in state}),
        inputs.command[index],
        inputs.last_action[index],
        inputs.phase[index],
        inputs.default_pose,
    )


def random_actor(sizes, seed=0, activation="elu") -> PlainMlp:
    """Random weights, and a normalizer far from the identity."""
    random = np.random.default_rng(seed)
    layers = [
        (
            random.normal(0, fan_in**-0.5, (fan_out, fan_in)).astype(np.float32),
            random.normal(0, 0.1, fan_out).astype(np.float32),
        )
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    mean = random.normal(0, 0.5, sizes[0]).astype(np.float32)
    std = random.uniform(0.05, 3, sizes[0]).astype(np.float32)
    return PlainMlp(mean, std, 5.0, layers, activation)


def forward(actor: PlainMlp, observation):
    """An actor with ELU in numpy: another way to the same action."""
    x = np.clip((observation - actor.mean) / actor.std, -actor.obs_clip, actor.obs_clip)
    for i, (weight, bias) in enumerate(actor.layers):
        x = weight @ x + bias
        if i < len(actor.layers) - 1:
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return x.astype(np.float32)


def add_term(monkeypatch, function, needs=(), **numbers) -> None:
    """Add an observation term for one test; `numbers` are the fields of `Numbers`."""
    about = {"unit": "1", "frame": "none", "size": "", "reads": (), "parts": ()}
    name = function.__name__
    monkeypatch.setitem(TERM_TABLE.functions, name, function)
    monkeypatch.setitem(TERM_TABLE.needs, name, tuple(needs))
    monkeypatch.setitem(NUMBERS, name, Numbers(**(about | numbers)))


def contract(actor: PlainMlp, terms=TERMS) -> Contract:
    return Contract(
        task="go2_walk",
        robot=robot(),
        observation=terms,
        layout=tuple(Layout(terms, JOINTS).describe()),
        action=ActionSpec(scale=0.5, clip=4.0),
        control_period=PERIOD,
        gait_frequency=FREQUENCY,
        command=twist((-1.0, 1.0), (-0.4, 0.4), (-1.0, 1.0)),
        normalizer=contracts.Normalizer(
            mean=tuple(actor.mean.tolist()), std=tuple(actor.std.tolist()), clip=actor.obs_clip
        ),
        distribution=contracts.distribution(
            np.random.default_rng(3).normal(size=(500, len(actor.mean)))
        ),
        network=contracts.Network(hidden=(16,), activation=actor.activation),
        training=contracts.Training(
            physics_timestep=0.01,
            randomization={"friction": [0.4, 1.2]},
            noise={"joint_pos": 0.01},
            steps=1,
            seed=2,
            versions={"robot-ppo": "0.1.0"},
            git_commit="0" * 40,
        ),
        evaluation={"episode": 10.0, "commands": [[0.5, 0.0, 0.0]]},
        model_fingerprint="f" * 64,
        scores=contracts.Scores(
            condition="nominal",
            passed=True,
            figures={"velocity_error": 0.125, "falls": 0.0},
            gain={"vx": 0.98, "yaw_rate": 0.755},
        ),
    )


def traces(actor: PlainMlp, c: Contract, ticks=golden.MIN_TICKS) -> golden.GoldenTraces:
    random = np.random.default_rng(1)
    observer = Observer(c.resolve(), ())
    action_map = c.action_map()
    rows = []
    observations = []
    actions = []
    action = np.zeros(JOINTS, np.float32)
    for t in range(ticks):
        inputs = random_inputs(random)
        inputs.phase = gait_phase(np.asarray(t), PERIOD, FREQUENCY)
        inputs.last_action = action
        observation = observer.observe(inputs)
        action = forward(actor, observation)
        rows.append(inputs)
        observations.append(observation)
        actions.append(action)
    stacked = np.stack(actions)
    recorded = golden.record(rows, c.input_names())
    target = action_map.target(stacked)
    return golden.GoldenTraces(recorded, np.stack(observations), stacked, target)


def small_actor() -> PlainMlp:
    return random_actor((Layout(TERMS, JOINTS).size, 16, JOINTS))


def build(ticks=golden.MIN_TICKS) -> bytes:
    """A policy file of one small hidden layer; the same bytes at every call."""
    actor = small_actor()
    c = contract(actor)
    return to_onnx.build(actor.blocks(), c, traces(actor, c, ticks))


@functools.cache
def policy_bytes() -> bytes:
    return build()


def resealed(change) -> bytes:
    """The policy file after `change(model)`, with a seal that holds: tampering by an expert."""
    model = onnx.ModelProto.FromString(policy_bytes())
    entry(model, checksum.KEY).value = checksum.BLANK
    change(model)
    return checksum.insert(model.SerializeToString(deterministic=True))


def entry(model: onnx.ModelProto, key: str) -> onnx.StringStringEntryProto:
    return next(p for p in model.metadata_props if p.key == key)


def with_contract(change) -> bytes:
    """The policy file after `change` to the contract as plain data, resealed."""

    def apply(model):
        prop = entry(model, "robot_ppo.contract")
        data = msgspec.json.decode(prop.value)
        change(data)
        prop.value = msgspec.json.encode(data).decode()

    return resealed(apply)


def with_golden(change) -> bytes:
    """The policy file after `change` to the golden arrays by name, resealed."""

    def apply(model):
        prop = entry(model, "robot_ppo.golden")
        traces = golden.from_json(prop.value)
        arrays = {name: np.array(values) for name, values in traces.inputs.items()}
        arrays |= {k: np.array(getattr(traces, k)) for k in ("observation", "action", "target")}
        change(arrays)
        inputs = {k: arrays[k] for k in arrays.keys() - {"observation", "action", "target"}}
        prop.value = golden.to_json(
            golden.GoldenTraces(inputs, arrays["observation"], arrays["action"], arrays["target"])
        )

    return resealed(apply)
