"""One file that proves itself: same bytes twice, every damage refused, every golden tick redone.

`resealed`, `with_contract` and `with_golden` make files whose seal holds although their content
was changed: what the golden traces and the contract's own checks must catch.
"""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version

import msgspec
import numpy as np
import onnx
import pytest
from contract_helpers import (
    JOINTS,
    PERIOD,
    ROOT,
    TERMS,
    build,
    contract,
    entry,
    forward,
    policy_bytes,
    random_actor,
    random_inputs,
    random_state,
    resealed,
    robot,
    same_bits,
    small_actor,
    traces,
    with_contract,
    with_golden,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_ppo_export import checksum, golden, to_onnx
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.command import twist
from robot_ppo_export.contract.layout import Layout, Observer
from robot_ppo_export.contract.terms import gait_phase
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import TOLERANCE, Policy

SIZE = Layout(TERMS, JOINTS).size


@pytest.fixture
def load(tmp_path):
    """A function: bytes -> the policy that they are."""

    def load(data: bytes) -> Policy:
        path = tmp_path / "policy.onnx"
        path.write_bytes(data)
        return Policy(path)

    return load


@pytest.fixture
def refused(load):
    """A function: these bytes are refused, at loading or by their golden traces, with `texts`."""

    def refused(data: bytes, *texts: str) -> None:
        with pytest.raises(RefusedError) as error:
            load(data).check_golden()
        message = str(error.value)
        assert "policy.onnx: " in message
        for text in texts:
            assert text in message, message

    return refused


def initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def weight_change(name, change):
    """A change of a model: `change` applied to one of its arrays."""

    def apply(model):
        tensor = initializer(model, name)
        values = np.array(onnx.numpy_helper.to_array(tensor))
        change(values)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))

    return apply


# Building


def test_building_twice_gives_identical_bytes():
    assert build() == build()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_building_in_another_process_gives_identical_bytes(hash_seed):
    """Whatever the order in which that process iterates over sets."""
    code = "import hashlib, contract_helpers as h; print(hashlib.sha256(h.build()).hexdigest())"
    out = python(code, PYTHONHASHSEED=hash_seed)
    assert out.strip() == hashlib.sha256(policy_bytes()).hexdigest()


def test_the_graph_is_valid_and_old_enough_for_the_oldest_runtime():
    model = onnx.ModelProto.FromString(policy_bytes())
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert [p.key for p in model.metadata_props] == [
        "robot_ppo.contract",
        "robot_ppo.golden",
        "robot_ppo.sha256",
    ]


def test_the_seal_is_the_digest_of_the_file_with_a_blank_seal():
    data = policy_bytes()
    digest = checksum.verify(data, "")
    assert entry(onnx.ModelProto.FromString(data), checksum.KEY).value == digest
    blank = data.replace(digest.encode(), checksum.BLANK.encode())
    assert hashlib.sha256(blank).hexdigest() == digest
    assert checksum.insert(blank) == data


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("where", ["mean", "std", "weight0", "bias0", "weight1", "bias1"])
def test_a_number_that_is_not_finite_in_float32_is_never_built(where, value):
    actor = small_actor()
    c = contract(actor)
    recorded = traces(actor, c)
    arrays = {"mean": actor.mean, "std": actor.std}
    for i, (weight, bias) in enumerate(actor.layers):
        arrays |= {f"weight{i}": weight, f"bias{i}": bias}
    broken = arrays[where].astype(np.float64)
    broken.flat[-1] = value
    if where in ("mean", "std"):
        setattr(actor, where, broken)
    else:
        i = int(where[-1])
        pair = list(actor.layers[i])
        pair[where.startswith("bias")] = broken
        actor.layers[i] = tuple(pair)
    with pytest.raises(RefusedError, match=f"{where} holds a number that is not finite"):
        to_onnx.build(actor.blocks(), c, recorded)


# Reading


def test_the_golden_traces_are_reproduced(load):
    policy = load(policy_bytes())
    worst = policy.check_golden()
    assert worst.value <= 1e-6  # numpy's matrix product against onnxruntime's
    assert len(policy.golden) == golden.MIN_TICKS
    assert policy.sha256 == checksum.verify(policy_bytes(), "")


def test_the_contract_comes_back_equal(load):
    assert load(policy_bytes()).contract == contract(small_actor())


@pytest.mark.numeric
def test_the_golden_traces_come_back_with_the_same_bits():
    actor = small_actor()
    recorded = traces(actor, contract(actor))
    back = golden.from_json(golden.to_json(recorded))
    assert set(back.inputs) == set(recorded.inputs)
    for name, values in recorded.inputs.items():
        assert same_bits(back.inputs[name], values)
    for name in ("observation", "action", "target"):
        assert same_bits(getattr(back, name), getattr(recorded, name))


def test_ticking_is_what_the_golden_traces_record(load):
    """The loop of the robot, fed with the recorded states, walks the recorded path."""
    policy = load(policy_bytes())
    trace = policy.golden
    policy.reset()
    for t in range(len(trace)):
        inputs = trace.tick(t, policy.action_map.default_pose)
        target = policy.tick(inputs.state, inputs.command)
        assert np.allclose(policy.observation, trace.observation[t], rtol=0, atol=1e-6)
        assert np.allclose(target, trace.target[t], rtol=0, atol=1e-6)
    assert policy.ticks == len(trace)


@pytest.mark.numeric
def test_after_a_reset_a_policy_repeats_itself_bit_for_bit(load):
    policy = load(policy_bytes())
    random = np.random.default_rng(0)
    states = [random_state(random) for _ in range(5)]
    command = np.array([0.5, 0, 0], np.float32)

    def run():
        policy.reset()
        return np.stack([policy.tick(state, command) for state in states])

    first = run()
    assert same_bits(run(), first)
    assert not same_bits(policy.tick(states[0], command), first[0])  # without one it goes on


def test_warming_up_changes_nothing_of_the_ticks_after_it(load):
    policy = load(policy_bytes())
    random = np.random.default_rng(0)
    states = [random_state(random) for _ in range(5)]
    command, other = (np.array(c, np.float32) for c in ([0.5, 0, 0], [0, 0.3, 0]))

    def run(warm_up):
        policy.reset()
        ticks = []
        for state in states:
            warm_up(random_state(random), other)
            ticks.append(np.concatenate((policy.tick(state, command), policy.observation)))
        return np.stack(ticks)

    alone = run(lambda state, command: None)
    assert same_bits(run(policy.warm_up), alone)
    assert not same_bits(run(policy.tick), alone)  # a tick in its place does


def advancing_observer(policy, inputs):
    policy.observer.observe(inputs)


def advancing_network(policy, inputs):
    policy.hidden = getattr(policy, "hidden", 0) + 1


@pytest.mark.parametrize("advance", [None, advancing_observer, advancing_network])
def test_golden_traces_refuse_a_policy_that_a_warm_up_advances(load, monkeypatch, advance):
    """They are run with warming up on; the negative controls are a history and a hidden state."""
    policy = load(policy_bytes())
    act = policy.act
    monkeypatch.setattr(policy, "act", lambda o: act(o) + 1e-3 * getattr(policy, "hidden", 0))
    warm_up = policy._warm_up
    warmed = []

    def warming_up(inputs):
        warmed.append(inputs)
        warm_up(inputs)
        if advance:
            advance(policy, inputs)

    monkeypatch.setattr(policy, "_warm_up", warming_up)
    if advance is None:
        assert policy.check_golden().value <= TOLERANCE
        assert len(warmed) == len(policy.golden)
    else:
        with pytest.raises(RefusedError, match="golden traces are not reproduced"):
            policy.check_golden()


def test_proving_the_golden_traces_leaves_the_policy_at_its_start(load):
    policy = load(policy_bytes())
    state = random_state(np.random.default_rng(0))
    command = np.zeros(3, np.float32)
    first = policy.tick(state, command)
    policy.check_golden()
    assert policy.ticks == 0
    assert same_bits(policy.tick(state, command), first)


LEFT_BEHIND = """
import os, pathlib
from robot_ppo_export.policy import Policy
Policy(pathlib.Path({file!r})).check_golden()
print(len(os.listdir("/proc/self/task")), any(pathlib.Path.home().rglob("onnxruntime.db")))
"""


def test_a_policy_reports_nothing_to_the_maker_of_its_runtime(tmp_path):
    """onnxruntime has a thread that does, and a database, unless it is told before it is loaded."""
    file = tmp_path / "policy.onnx"
    file.write_bytes(policy_bytes())

    def left(name, **variables):
        home = tmp_path / name
        home.mkdir()
        own = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
        done = subprocess.run(
            [sys.executable, "-c", LEFT_BEHIND.format(file=str(file))],
            env=own | {"HOME": str(home), "PYTHONPATH": str(ROOT / "export")} | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        threads, database = done.stdout.split()
        return int(threads), database

    threads, database = left("robot")
    assert database == "False"
    if tuple(map(int, version("onnxruntime").split(".")[:2])) >= (1, 29):  # negative control
        assert left("user", ORT_DISABLE_TELEMETRY="0") == (threads + 1, "True")


def test_a_tick_is_observation_network_and_action_map(load):
    policy = load(policy_bytes())
    actor = small_actor()
    policy.reset()
    observer = Observer(policy.layout, ())
    random = np.random.default_rng(0)
    last = np.zeros(JOINTS, np.float32)
    for t in range(3):
        inputs = random_inputs(random)
        inputs.phase = gait_phase(np.asarray(t), PERIOD, 2.0)
        inputs.last_action = last
        target = policy.tick(inputs.state, inputs.command)
        assert same_bits(policy.observation, observer.observe(inputs))
        last = policy.last_action
        assert np.allclose(last, forward(actor, policy.observation), rtol=0, atol=1e-5)
        assert same_bits(target, policy.action_map.target(last))


def test_reading_and_checking_need_neither_onnx_nor_torch_nor_mujoco(tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(policy_bytes())
    blocked = ("onnx", "torch", "mujoco", "gymnasium", "robot_ppo", "array_api_compat")
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None  # importing it fails
from pathlib import Path
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import cli
print(Policy(Path({str(path)!r})).check_golden().value)
sys.exit(cli.main(["check", {str(path)!r}]))
"""
    assert float(python(code).splitlines()[0]) <= 1e-6


def python(code: str, **env: str) -> str:
    """The standard output of another Python that sees the source roots and the tests."""
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths} | env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Damage: the seal


def test_the_whole_file_verifies():
    """Negative control for all that follows."""
    checksum.verify(policy_bytes(), "")


def flipped(data: bytes, position: int, mask: int = 1) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def assert_seal_broken(data: bytes) -> None:
    with pytest.raises(RefusedError, match=r"its SHA-256 is|is not a robot-ppo policy file"):
        checksum.verify(data, "file")


def test_a_flipped_byte_is_refused_all_over_the_file():
    data = policy_bytes()
    digest = data.index(checksum.verify(data, "").encode())
    sampled = {
        *range(0, len(data), len(data) // 300),
        *range(100),
        *range(digest - 100, len(data)),  # the seal itself and what is around it
    }
    for position in sorted(sampled):
        assert_seal_broken(flipped(data, position))


@settings(max_examples=200)
@given(st.integers(0, len(policy_bytes()) - 1), st.integers(1, 255))
def test_any_change_of_any_byte_is_refused(position, mask):
    assert_seal_broken(flipped(policy_bytes(), position, mask))


def test_every_digit_of_the_digest_counts_and_so_does_its_case():
    data = policy_bytes()
    digest = checksum.verify(data, "").encode()
    start = data.index(digest)
    for i in range(64):
        other = b"1" if digest[i : i + 1] == b"0" else b"0"
        assert_seal_broken(data[: start + i] + other + data[start + i + 1 :])
    assert_seal_broken(data.replace(digest, digest.upper()))


@given(st.integers(0, len(policy_bytes()) - 1))
def test_a_truncated_file_is_refused(length):
    assert_seal_broken(policy_bytes()[:length])


@given(st.binary(min_size=1, max_size=200))
def test_appended_or_prepended_bytes_are_refused(extra):
    assert_seal_broken(policy_bytes() + extra)
    assert_seal_broken(extra + policy_bytes())


def test_two_files_in_one_are_refused():
    with pytest.raises(RefusedError, match="is not a robot-ppo policy file"):
        checksum.verify(policy_bytes() * 2, "file")


@pytest.mark.parametrize("data", [b"", b"x", b"not a model at all" * 100])
def test_what_is_no_policy_file_is_refused_with_what_to_do(data, refused):
    what = "an empty file" if not data else "no whole ONNX file"
    refused(
        data,
        f"is not a robot-ppo policy file (no robot_ppo.sha256) but {what}: copy it again",
        "`robot-ppo export`",
    )


def test_the_refusal_names_the_file_and_both_digests(refused):
    data = flipped(policy_bytes(), 500)
    stated = checksum.verify(policy_bytes(), "")
    refused(data, "policy.onnx: its SHA-256 is", f"it states {stated}", "copy or export it again")


def test_a_missing_file_is_wrong_input(tmp_path):
    with pytest.raises(InputError, match=r"none\.onnx: cannot be read \(No such file"):
        Policy(tmp_path / "none.onnx")


# Damage with a seal that holds


def test_resealing_without_a_change_gives_the_same_bytes():
    """Negative control: what follows is refused for its change, not for being resealed."""
    assert resealed(lambda model: None) == policy_bytes()
    assert with_contract(lambda data: None) == policy_bytes()
    assert with_golden(lambda arrays: None) == policy_bytes()


@pytest.mark.parametrize("name", ["weight0", "weight1", "bias0", "bias1", "mean", "std", "high"])
def test_a_changed_number_in_the_graph_is_found_by_the_golden_traces(name, refused):
    def change(values):
        values.flat[0] += 0.1 if name != "high" else -4.0

    refused(
        resealed(weight_change(name, change)),
        "the golden traces are not reproduced on this machine: ",
        " in action[",
        "] of tick ",
        "more than 1e-05",
    )


@pytest.mark.parametrize("size, fires", [(2 * TOLERANCE, True), (TOLERANCE / 4, False)])
def test_the_tolerance_is_what_decides(size, fires, load):
    def change(values):
        values[4] += size

    policy = load(resealed(weight_change("bias1", change)))
    if fires:
        with pytest.raises(RefusedError, match=r"in action\[4\] of tick"):
            policy.check_golden()
    else:
        assert 0 < policy.check_golden().value <= TOLERANCE


@pytest.mark.parametrize("stage", ["observation", "action", "target"])
def test_a_changed_golden_number_is_named_with_stage_index_and_tick(stage, refused):
    def change(arrays):
        arrays[stage][17, 3] += 1.0

    refused(with_golden(change), f" in {stage}[3] of tick 17")


@pytest.mark.parametrize("name", ["joint_pos", "base_quat", "command", "phase", "last_action"])
def test_a_changed_golden_input_shows_in_the_observation(name, refused):
    def change(arrays):
        arrays[name][9] += 0.2

    refused(with_golden(change), " in observation[", "] of tick ")


def test_swapped_golden_ticks_are_refused_because_histories_remember(refused):
    def swap(arrays):
        for values in arrays.values():
            values[[20, 40]] = values[[40, 20]]

    refused(with_golden(swap), " in observation[")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["weight0", "bias1", "mean"])
def test_a_weight_that_is_not_finite_is_refused_on_the_robot_too(name, value, refused):
    def change(values):
        values.flat[0] = value

    refused(resealed(weight_change(name, change)), "are not reproduced on this machine: ")


@pytest.mark.parametrize("stage", ["observation", "action", "target"])
def test_a_golden_number_that_is_none_is_refused(stage, refused):
    """Although all the ticks behind it are right."""

    def change(arrays):
        arrays[stage][5, 2] = np.nan

    refused(with_golden(change), f"inf in {stage}[2] of tick 5")


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda c: c["action"].update(scale=0.25), " in target["),
        (lambda c: c["robot"]["joints"][0].update(default=0.3), " in target[0]"),
        (lambda c: c["robot"]["joints"][1].update(range=[0.79, 3.4]), " in target[1]"),
        (lambda c: c.update(format_version=1), "format version 1 and this node reads 2"),
        (lambda c: c.pop("action"), "missing required field `action`"),
        (lambda c: c["action"].pop("clip"), "the contract lacks action.clip"),
        (lambda c: c["layout"][0].update(offset=1), "layout differs"),
        (lambda c: c["layout"][0].update(history=True), "layout differs"),  # 1 == True in Python
        (lambda c: c["normalizer"]["std"].pop(), f"normalizer.std must be {SIZE} finite numbers"),
        (lambda c: c["robot"]["rest_pose"].pop("FR_hip_joint"), "rest_pose"),
    ],
)
def test_a_changed_contract_is_refused(change, text, refused):
    refused(with_contract(change), text)


@pytest.mark.parametrize("key", ["robot_ppo.contract", "robot_ppo.golden"])
def test_a_missing_metadata_key_is_named(key, refused):
    data = resealed(lambda model: model.metadata_props.remove(entry(model, key)))
    refused(data, f"the metadata lack {key}")


def test_without_the_seal_there_is_no_policy_file(refused):
    model = onnx.ModelProto.FromString(policy_bytes())
    model.metadata_props.remove(entry(model, checksum.KEY))
    refused(model.SerializeToString(), "is not a robot-ppo policy file")


def test_a_graph_that_does_not_fit_its_contract_is_refused(refused):
    wide = random_actor((SIZE + 1, 16, JOINTS))
    many = random_actor((SIZE, 16, JOINTS + 1))
    good = small_actor()
    c = contract(good)
    for actor in (wide, many):
        data = to_onnx.build(actor.blocks(), c, traces(good, c))
        refused(data, "the graph has [('observation', ", "the contract needs [('observation', ")


def test_a_graph_that_onnxruntime_cannot_load_is_refused(refused):
    def change(model):
        model.graph.node[0].op_type = "Sbu"

    refused(resealed(change), "onnxruntime cannot load it")


def test_a_graph_that_loads_and_does_not_run_is_refused(refused):
    def change(model):
        gemm = next(n for n in model.graph.node if n.op_type == "Gemm")
        gemm.input[2] = "mean"  # a bias of another size

    refused(resealed(change), "onnxruntime cannot run it: ")


def test_metadata_that_are_no_text_are_refused(refused):
    data = policy_bytes()
    at = data.index(b"go2_walk")
    broken = data[:at] + b"\xff" + data[at + 1 :]
    digest = checksum.verify(data, "").encode()
    refused(
        checksum.insert(broken.replace(digest, checksum.BLANK.encode())), "the metadata are no text"
    )


@pytest.mark.parametrize("ticks", [1, golden.MIN_TICKS - 1])
def test_fewer_golden_ticks_than_the_minimum_are_refused(ticks, refused):
    refused(build(ticks), "the golden traces must be 64 ticks or more")


def test_exactly_the_minimum_of_golden_ticks_is_enough(load):
    assert golden.MIN_TICKS == 64
    load(build(64)).check_golden()


@pytest.mark.parametrize("name", ["command", "target", "joint_pos"])
def test_golden_arrays_of_unequal_length_are_refused(name, refused):
    def change(arrays):
        arrays[name] = np.concatenate((arrays[name], arrays[name][:1]))

    refused(with_golden(change), "all of a length")


@pytest.mark.parametrize(
    "name, width",
    [
        *(("joint_pos", JOINTS), ("base_quat", 4), ("command", 3)),
        *(("last_action", JOINTS), ("observation", SIZE), ("action", JOINTS), ("target", JOINTS)),
    ],
)
def test_golden_arrays_of_another_width_are_refused(name, width, refused):
    def change(arrays):
        arrays[name] = arrays[name][:, :-1]

    refused(with_golden(change), f"each golden {name} has shape ({width - 1},), not ({width},)")


def test_a_golden_phase_of_more_than_one_number_is_refused(refused):
    def change(arrays):
        arrays["phase"] = arrays["phase"][:, None]

    refused(with_golden(change), "each golden phase has shape (1,), not ()")


def golden_as(change) -> bytes:
    """The policy file after `change` to the golden traces as plain data, resealed."""

    def apply(model):
        prop = entry(model, "robot_ppo.golden")
        data = msgspec.json.decode(prop.value)
        prop.value = msgspec.json.encode(change(data)).decode()

    return resealed(apply)


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda g: {}, "the golden traces are malformed: 'observation'"),
        (lambda g: [], "malformed"),
        (lambda g: {**g, "action": {"shape": [64, 12]}}, "malformed: 'data'"),
        (lambda g: {**g, "action": {**g["action"], "shape": [5, 5]}}, "malformed: cannot reshape"),
        (lambda g: {**g, "action": {**g["action"], "data": "x"}}, "malformed"),
        (lambda g: {**g, "action": {"shape": [], "data": "AAAAAA=="}}, "all of a length"),
        (lambda g: {k: v for k, v in g.items() if k != "target"}, "malformed: 'target'"),
        (
            lambda g: {k: v for k, v in g.items() if k != "inputs.phase"},
            "the golden traces lack phase",
        ),
    ],
)
def test_golden_traces_that_are_incomplete_are_refused(change, text, refused):
    refused(golden_as(change), text)


# Against torch


@pytest.mark.parametrize("activation", sorted(to_onnx.ACTIVATIONS))
def test_the_deployed_network_is_the_trained_one(activation, load):
    """10,000 random observations, far outside the normalizer's clip too: 1e-5 at the most."""
    torch = pytest.importorskip("torch")
    from robot_ppo.config import Networks
    from robot_ppo.ppo.networks import Actor
    from robot_ppo.training import policy_network

    torch.manual_seed(0)
    config = Networks(activation=activation, obs_clip=5.0)
    actor = Actor(SIZE, JOINTS, config).eval()
    with torch.no_grad():
        actor.mlp[-1].weight.mul_(100)  # a trained policy's actions are of order one
        for layer in actor.mlp[::2]:
            layer.bias.normal_(0, 0.1)
        scale = torch.rand(SIZE) * 3 + 0.01
        actor.normalizer.update(torch.randn(5000, SIZE) * scale + torch.randn(SIZE))
    c = contract(small_actor())
    # Contract and golden traces are another network's; only the graph is of interest here.
    policy = load(to_onnx.build(policy_network.blocks(actor), c, traces(small_actor(), c)))
    random = np.random.default_rng(0)
    observations = random.normal(0, 4, (10_000, SIZE)).astype(np.float32)
    with torch.inference_mode():
        expected = actor(torch.from_numpy(observations)).numpy()
    got = np.stack([policy.act(observation) for observation in observations])
    assert 0.3 < expected.std() < 10
    assert np.abs(got - expected).max() <= TOLERANCE


def test_a_list_of_blocks_in_any_order_is_what_the_graph_computes():
    """Two normalizers, and an activation right behind another, as no MLP has them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    first = random.normal(size=(5, 3))
    second = random.normal(size=(2, 5))
    blocks = [
        to_onnx.Activation("tanh"),
        to_onnx.Normalizer(np.full(3, 0.1), np.full(3, 0.5), 1.0),
        to_onnx.Linear(first, np.ones(5)),
        to_onnx.Activation("relu"),
        to_onnx.Activation("tanh"),
        to_onnx.Normalizer(np.full(5, 0.2), np.full(5, 2.0), 0.3),
        to_onnx.Linear(second, np.zeros(2)),
    ]
    session = onnxruntime.InferenceSession(to_onnx.network(blocks).SerializeToString())
    x = random.normal(size=(6, 3)).astype(np.float32)
    y = np.clip((np.tanh(x) - 0.1) / 0.5, -1, 1) @ first.T + 1
    y = np.clip((np.tanh(np.maximum(y, 0)) - 0.2) / 2, -0.3, 0.3) @ second.T
    assert np.allclose(session.run(None, {"observation": x})[0], y, atol=1e-5)


def test_a_wrong_activation_is_further_away_than_any_tolerance(load):
    """Negative control: the comparison with torch could have failed."""
    actor = small_actor()
    c = contract(actor)
    wrong = random_actor((SIZE, 16, JOINTS), activation="relu")
    policy = load(to_onnx.build(wrong.blocks(), c, traces(actor, c)))
    with pytest.raises(RefusedError, match=r"in action\["):
        policy.check_golden()


# From a checkpoint, by the code that trains


@pytest.fixture(scope="module")
def from_checkpoint(short_rollouts):
    """A network as training makes it: config, actor, its policy file, and how to build it again."""
    torch = pytest.importorskip("torch")
    from robot_ppo import config as configs
    from robot_ppo import export
    from robot_ppo.envs.robot import observations
    from robot_ppo.ppo.networks import Actor
    from robot_ppo.training.checkpoint import Checkpoint

    config = configs.load("go2_walk", overrides=["task.observations.actor.gait_clock.harmonics=2"])
    torch.manual_seed(0)
    size = observations.layout(config.task, robot()).size
    actor = Actor(size, JOINTS, config.networks)
    with torch.no_grad():
        actor.mlp[-1].weight.mul_(50)
        actor.normalizer.update(torch.randn(500, size) * 2 + 0.3)
    checkpoint = Checkpoint(1234, 1.0, 1, {"actor": actor.state_dict()}, {})
    data = export.build(config, checkpoint)
    return config, actor.eval(), data, lambda: export.build(config, checkpoint)


def test_one_checkpoint_gives_identical_bytes_twice_and_they_prove_themselves(
    from_checkpoint, load
):
    _, _, data, build_again = from_checkpoint
    assert build_again() == data
    policy = load(data)
    assert len(policy.golden) >= golden.MIN_TICKS
    assert policy.check_golden().value <= TOLERANCE


def test_the_contract_of_a_checkpoint_says_what_it_was_trained_with(from_checkpoint, load):
    config, actor, data, _ = from_checkpoint
    c = load(data).contract
    task = config.task
    from robot_ppo.envs.robot import observations

    specs = observations.layout(task, robot()).specs
    assert (c.task, c.observation, c.action) == (task.name, specs, task.action)
    assert (c.control_period, c.gait_frequency) == (task.control_period, task.gait.frequency)
    assert c.robot == robot()
    assert c.command == twist(*(tuple(task.commands["twist"][k]) for k in ("vx", "vy", "yaw_rate")))
    assert c.training.randomization == {k: list(v) for k, v in task.randomization.items()}
    assert c.training.noise == task.noise
    assert (c.training.steps, c.training.seed) == (1234, config.seed)
    assert c.training.physics_timestep == task.physics.timestep
    assert {"torch", "mujoco", "numpy", "python"} <= set(c.training.versions)
    assert c.network == contracts.Network(
        hidden=config.networks.actor, activation=config.networks.activation
    )
    assert np.array_equal(np.float32(c.normalizer.mean), actor.normalizer.mean.float().numpy())
    assert np.array_equal(np.float32(c.normalizer.std), actor.normalizer.std().numpy())


def test_the_distribution_is_that_of_a_rollout_in_the_training_world(from_checkpoint, load):
    from robot_ppo import export

    config, _, data, _ = from_checkpoint
    c = load(data).contract
    seen = c.distribution
    assert seen.robot_ticks == export.ROLLOUT_ROBOTS * export.ROLLOUT_TICKS
    at = {str(e): i for i, e in enumerate(c.resolve().entries(c.robot.joint_names))}
    low, high = config.task.commands["twist"]["vx"]
    vx = at["command vx"]
    assert low <= seen.minimum[vx] < 0.9 * low < 0.9 * high < seen.maximum[vx] <= high
    assert max(seen.maximum[at["gait_clock sin"]], -seen.minimum[at["gait_clock cos"]]) <= 1
    # A still and noiseless robot would show the same gyroscope at every tick.
    gyro = at["base_ang_vel x"]
    assert seen.high[gyro] - seen.low[gyro] > 2 * 0.25 * config.task.noise["base_ang_vel"]


def test_the_golden_actions_of_a_checkpoint_are_the_training_networks(from_checkpoint, load):
    import torch

    _, actor, data, _ = from_checkpoint
    trace = load(data).golden
    with torch.inference_mode():
        # Row by row, as it was recorded: torch's bits depend on the size of the batch.
        actions = [
            actor(torch.from_numpy(row[None].copy())).numpy()[0] for row in trace.observation
        ]
    assert same_bits(np.stack(actions), trace.action)


# Files that are whole or as they were


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "policy.onnx"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "policy.onnx"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match=r"policy\.onnx: cannot be written \(No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "policy.onnx", b"")
