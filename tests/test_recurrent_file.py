"""A policy file with a memory: cell by cell torch's numbers, in the node's loop, in its replay."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import recurrent_helpers as recurrent
import torch
from env_helpers import train_arguments
from node_helpers import PERIOD, random_state, rig
from recurrent_helpers import CELLS, UNITS, policy, policy_bytes

from robot_ppo import cli, export
from robot_ppo.evaluation import scorecard
from robot_ppo.playback.script import Segment
from robot_ppo.playback.session import Session
from robot_ppo.ppo.acting import Acting
from robot_ppo.training import policy_network
from robot_ppo_export import checksum, golden, to_onnx
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.app.replay import replay
from robot_ppo_node.control.states import State

TICKS = 1000


def changed(cell, change):
    """The policy file after `change(model)`, with a checksum that holds."""
    model = onnx.ModelProto.FromString(policy_bytes(cell))
    entries = {p.key: p for p in model.metadata_props}
    entries[checksum.KEY].value = checksum.BLANK
    change(model, entries)
    return checksum.insert(model.SerializeToString(deterministic=True))


@pytest.fixture
def load(tmp_path):
    def load(data):
        path = tmp_path / "policy.onnx"
        path.write_bytes(data)
        return Policy(path)

    return load


@pytest.mark.parametrize("cell", CELLS)
def test_over_a_thousand_ticks_with_resets_the_file_says_what_torch_says(cell):
    one = recurrent.actor(cell, 30, gain=1.0)
    session = onnxruntime.InferenceSession(
        to_onnx.network(policy_network.blocks(one)).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    act = Acting(one)
    names = [i.name for i in session.get_inputs()][1:]
    states = {name: np.zeros((3, UNITS), np.float32) for name in names}
    random = np.random.default_rng(0)
    worst = 0.0
    moved = 0.0
    for _ in range(TICKS):
        ended = random.random(3) < 0.01
        act.reset(ended)
        for state in states.values():
            state[ended] = 0
        x = random.normal(size=(3, 30)).astype(np.float32)
        action, *after = session.run(None, {"observation": x} | states)
        states = dict(zip(names, after, strict=True))
        worst = max(worst, float(np.abs(action - act(x)).max()))
        moved = max(moved, float(np.abs(action).max()))
    assert moved > 0.5
    assert worst < 3e-6


@pytest.mark.parametrize("cell", CELLS)
def test_the_cell_is_that_of_torch(cell):
    """Over sequences without a start, values and gradients are those of its own layer."""
    one = recurrent.actor(cell, 7).memory
    layer = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](7, UNITS)
    for name, weight in one.named_parameters():
        getattr(layer, f"{name}_l0").data.copy_(weight.data)
    x = torch.randn(9, 4, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    never = torch.zeros(9, 4, dtype=torch.bool)
    ours, states = one(x, never, torch.zeros(4, one.state_size))
    theirs = layer(x)[0]
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
    assert states.shape == (9, 4, UNITS * (2 if cell == "lstm" else 1))
    pull = torch.cos(torch.arange(ours.numel())).view_as(ours)
    wanted = [x, *(getattr(layer, f"{n}_l0") for n, _ in one.named_parameters())]
    for a, b in zip(
        torch.autograd.grad((ours * pull).sum(), [x, *one.parameters()]),
        torch.autograd.grad((theirs * pull).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_that_of_the_values_across_starts(cell):
    one = recurrent.actor(cell, 3).memory.double()
    random = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, 3, generator=random, dtype=torch.float64, requires_grad=True)
    starts = torch.rand(5, 4, generator=random) < 0.3
    state = torch.randn(4, one.state_size, generator=random, dtype=torch.float64)
    weights = list(one.parameters())
    assert torch.autograd.gradcheck(
        lambda x, *_: one(x, starts, state)[1], (x, *weights), fast_mode=True
    )


@pytest.mark.parametrize("cell", CELLS)
def test_an_episode_does_not_know_what_was_before_it(cell):
    one = recurrent.actor(cell, 3).memory
    x = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))
    starts = torch.zeros(6, 2, dtype=torch.bool)
    starts[2, 1] = True
    state = torch.ones(2, one.state_size)
    whole, _ = one(x, starts, state)
    alone, _ = one(x[2:, 1:], starts[:4, 1:] & False, torch.zeros(1, one.state_size))
    assert torch.allclose(whole[2:, 1:], alone, rtol=0, atol=1e-6)
    on, _ = one(x, starts & False, state)
    assert torch.equal(on[:, 0], whole[:, 0])
    assert not torch.allclose(on[2:, 1], whole[2:, 1], rtol=0, atol=1e-3)


# -- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_building_twice_gives_identical_bytes(cell):
    assert recurrent.policy_bytes.__wrapped__(cell) == policy_bytes(cell)


@pytest.mark.parametrize(("cell", "count"), [("gru", 1), ("lstm", 2)])
def test_the_contract_declares_the_states_that_the_graph_has(cell, count):
    p = policy(cell)
    names = [f"state_{i}" for i in range(count)]
    assert p.contract.states == dict.fromkeys(names, UNITS)
    assert [i.name for i in p.session.get_inputs()] == ["observation", *names]
    assert [o.name for o in p.session.get_outputs()] == ["action", *(f"next_{n}" for n in names)]


@pytest.mark.parametrize("cell", CELLS)
def test_the_golden_traces_go_over_the_end_of_an_episode(cell):
    p = policy(cell)
    assert p.golden.starts is not None and p.golden.starts.sum() == 1
    assert p.check_golden().value < 1e-6


@pytest.mark.parametrize("cell", CELLS)
def test_a_policy_that_does_not_forget_is_refused(cell, monkeypatch):
    p = policy(cell)
    p.reset()

    def forget_the_rest():
        p.observer.reset()

    monkeypatch.setattr(p, "reset", forget_the_rest)
    with pytest.raises(RefusedError, match="in action"):
        p.check_golden()


def test_states_that_graph_and_contract_do_not_agree_on_are_refused(load):
    def other_width(_, entries):
        entry = entries["robot_ppo.contract"]
        data = msgspec.json.decode(entry.value)
        data["states"]["state_0"] = UNITS + 1
        entry.value = msgspec.json.encode(data).decode()

    def none(_, entries):
        entry = entries["robot_ppo.contract"]
        entry.value = msgspec.json.encode(
            msgspec.json.decode(entry.value) | {"states": {}}
        ).decode()

    for change in (other_width, none):
        with pytest.raises(RefusedError, match=r"the graph has .*state_0.*the contract needs"):
            load(changed("gru", change))


@pytest.mark.parametrize("width", [0, 5000])
def test_a_state_of_an_impossible_width_is_refused(width):
    text = contracts.to_json(policy().contract)
    data = msgspec.json.decode(text) | {"states": {"state_0": width}}
    with pytest.raises(RefusedError, match=f"states.state_0: {width} is not 1 to"):
        contracts.from_json(msgspec.json.encode(data).decode())


def test_a_contract_from_before_there_were_states_is_read():
    data = msgspec.json.decode(contracts.to_json(policy().contract))
    del data["states"]
    assert contracts.from_json(msgspec.json.encode(data).decode()).states == {}


def test_starts_that_are_no_number_per_tick_are_refused():
    traces = policy().golden
    traces.starts = np.zeros((len(traces), 2), np.float32)
    with pytest.raises(RefusedError, match="starts must be one number per tick"):
        golden.from_json(golden.to_json(traces))


@pytest.mark.parametrize("cell", CELLS)
def test_robots_side_by_side_have_a_memory_each(cell):
    p = policy(cell)
    many = p.for_many()
    random = np.random.default_rng(0)
    x = random.normal(size=(6, 2, p.layout.size)).astype(np.float32)
    together = []
    for t in range(6):
        if t == 3:
            many.reset(np.array([False, True]))
        together.append(many(x[t]))
    for i in range(2):
        p.reset()
        for t in range(6):
            if t == 3 and i == 1:
                p.reset()
            assert np.allclose(p.act(x[t, i]), together[t][i], rtol=0, atol=1e-6)
    fresh = p.for_many()
    assert not np.allclose(fresh(x[5])[0], together[5][0], rtol=0, atol=1e-4)


# -- on the robot -------------------------------------------------------------------------------


def walk(p, loop, seconds=6.0):
    """What was sent while the policy ran; by the node's loop, which warms up, or by its ticks."""
    r = rig(p=p)
    if loop:
        r.node.run(seconds)
    else:
        r.ticks(round(seconds / PERIOD))
    ticks = round((seconds - 0.1) / PERIOD) - 60
    return [c.target.tobytes() for c in r.driver.written][:ticks]


def count_warm_ups(p, monkeypatch):
    warm_up = p.warm_up
    warmed = []
    monkeypatch.setattr(p, "warm_up", lambda *a: warmed.append(1) or warm_up(*a))
    return warmed


@pytest.mark.parametrize("cell", CELLS)
def test_warming_up_in_the_loop_never_advances_the_memory(cell, monkeypatch):
    p = policy(cell)
    warmed = count_warm_ups(p, monkeypatch)
    assert walk(p, loop=True) == walk(policy(cell), loop=False)
    assert len(warmed) > 100


def test_negative_control_a_warm_up_that_advances_the_memory_is_seen(monkeypatch):
    p = policy()
    monkeypatch.setattr(p, "warm_up", lambda state, command: p.act(p._input[0]))
    assert walk(p, loop=True) != walk(policy(), loop=False)


@pytest.mark.parametrize("cell", CELLS)
def test_the_node_starts_the_policy_without_memory(cell):
    p = policy(cell)
    r = rig(p=p)
    r.until(State.POLICY).ticks(1)
    first = {name: state.copy() for name, state in p._states.items()}
    r.ticks(50)
    assert any(not np.array_equal(first[name], state) for name, state in p._states.items())
    p.act(np.ones(p.layout.size, np.float32))  # something else is in its memory
    again = rig(p=p)
    again.until(State.POLICY).ticks(1)
    for name, state in p._states.items():
        assert np.array_equal(first[name], state) and np.abs(state).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_a_walk_is_replayed_bit_for_bit(cell):
    r = rig(p=policy(cell), ring=60.0)
    r.ticks(300)
    rows, meta = r.node.recorder.log()
    assert (rows["policy_tick"] >= 0).sum() > 100
    assert replay(policy(cell), rows, meta) == 300


def test_a_log_that_begins_while_the_policy_runs_cannot_be_taken_up():
    r = rig(p=policy(), ring=1.0)
    r.ticks(300)
    assert r.node.state is State.POLICY
    with pytest.raises(InputError, match="what its network remembered"):
        replay(policy(), *r.node.recorder.log())


def test_a_state_does_not_leak_from_one_policy_to_the_next_of_the_same_file():
    """Two policies of one file share nothing."""
    one, other = policy(), policy()
    state = random_state(np.random.default_rng(0), one.contract)
    command = np.zeros(3, np.float32)
    first = one.tick(state, command)
    for _ in range(5):
        one.tick(state, command)
    assert np.array_equal(other.tick(state, command), first)


# -- from a run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny run of a robot with a memory, and its policy file."""
    folder = tmp_path_factory.mktemp("exported")
    run = folder / "run"
    loud = ("--set", "networks.last_gain=1.0")
    memory = ("--set", "networks.actor_memory={cell: gru, units: 16}")
    assert cli.main(train_arguments(run, *loud, *memory)) == 0
    export.export(run, folder / "policy.onnx")
    return run, Policy(folder / "policy.onnx")


def test_a_run_is_exported_with_traces_of_two_episodes(exported):
    _, p = exported
    assert p.golden.starts.tolist() == [t == len(p.golden) // 2 for t in range(len(p.golden))]
    assert p.check_golden().value < 1e-6
    said = p.golden.inputs["last_action"]
    half = len(p.golden) // 2
    assert not said[[0, half]].any() and said[half - 1].any() and said[half + 1].any()


def test_the_scorecard_runs_file_and_run_alike(exported):
    """One robot in ten loses its memory at each step, as where an episode ends."""
    run, p = exported
    contract, of_run = scorecard.load(run)
    assert contract.states == p.contract.states == {"state_0": 16}
    _, of_file = scorecard.load(p.path)
    random = np.random.default_rng(0)
    first = None
    for _ in range(30):
        x = random.normal(size=(20, p.layout.size)).astype(np.float32)
        ended = random.random(20) < 0.1
        for act in (of_run, of_file):
            act.reset(ended)
        a, b = of_run(x), of_file(x)
        assert np.allclose(a, b, rtol=0, atol=1e-5)
        first = a if first is None else first
    assert np.abs(a - first).max() > 0.1


def test_a_recurrent_policy_is_played_back(exported):
    _, p = exported
    session = Session(p, (Segment(1.0, (0.3, 0.0, 0.0)),), 1.0, with_visuals=False)
    session.run(lambda: True)
    assert len(session.track.time) > 10
    assert max(np.abs(state).max() for state in p._states.values()) > 1e-3
