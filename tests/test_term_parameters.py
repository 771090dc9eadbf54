"""Parameters of the terms that a policy reads: from the YAML to the policy file and the node."""

import re

import msgspec
import numpy as np
import pytest
from contract_helpers import add_term, same_bits
from node_helpers import ROOT, TERMS, contract, rig, robot, write_policy

from robot_ppo_export import checksum
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.layout import Layout, TermSpec, term_spec
from robot_ppo_export.contract.state import ANY, SIGNALS, Signal
from robot_ppo_export.contract.tables import PerJoint, Positive
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import TOLERANCE, Policy
from robot_ppo_node.app import report
from robot_ppo_node.app.replay import replay
from robot_ppo_node.control.states import State

CLOCK = {"harmonics": 3}
READS = (*TERMS[:-1], TermSpec(name="gait_clock", parameters=CLOCK))
NAMES = robot().joint_names
HAS = frozenset(("gait", "commands", "commands.twist"))


@pytest.fixture(scope="module")
def policy() -> Policy:
    """A policy with three harmonics of the gait clock, as after loading its file."""
    return Policy(write_policy(contract(READS)))


def refused(c, *texts):
    """Refuse a contract, or its plain data, on load."""
    text = c if isinstance(c, str) else msgspec.json.encode(c).decode()
    with pytest.raises(RefusedError) as error:
        contracts.from_json(text)
    assert all(part in str(error.value) for part in texts), str(error.value)


def plain(c):
    return msgspec.json.decode(contracts.to_json(c))


def clock(data):
    """The gait clock's entries in the observation and in the layout of plain data."""
    return data["observation"][-1], data["layout"][-1]


# -- from the YAML ------------------------------------------------------------------------------


def spec(**entry):
    return term_spec("task.observations.actor", "gait_clock", entry, NAMES, HAS)


def test_a_term_carries_all_its_parameters_those_with_defaults_too():
    assert spec() == TermSpec(name="gait_clock", parameters={"harmonics": 1})
    assert spec(harmonics=2, scale=0.5).parameters == {"harmonics": 2}


def test_a_parameter_decides_how_many_numbers_a_term_has_and_how_they_are_called():
    for harmonics in (1, 2, 5):
        layout = Layout((spec(harmonics=harmonics),), NAMES)
        assert layout.size == 2 * harmonics == len(layout.entries(NAMES))
    assert [e.part for e in layout.entries(NAMES)][:4] == ["sin", "cos", "sin 2", "cos 2"]


# -- the policy file and the node ---------------------------------------------------------------


def test_its_file_proves_itself_bit_for_bit(policy):
    assert policy.check_golden().value <= TOLERANCE
    for t in range(len(policy.golden)):
        seen = policy.observer.observe(policy.golden.tick(t, policy.action_map.default_pose))
        assert same_bits(seen, policy.golden.observation[t])
    policy.reset()
    assert policy.contract.observation == READS
    again = contracts.to_json(policy.contract)
    assert contracts.from_json(again) == policy.contract
    assert plain(policy.contract)["layout"][-1]["parameters"] == CLOCK


def test_the_page_of_a_policy_shows_its_parameters(policy):
    page = report.describe_page(policy)
    (row,) = (line for line in page.splitlines() if line.startswith("gait_clock "))
    assert row.rstrip().endswith("harmonics: 3") and "parameters" in page
    assert "parameters" not in report.describe_page(Policy(write_policy(contract())))


def test_the_node_runs_it_and_its_log_replays_bit_for_bit(policy):
    node = rig(p=policy, ring=10).until(State.POLICY).ticks(50).node
    rows, meta = node.recorder.log()
    place = policy.layout.slices["gait_clock"]
    assert place.stop - place.start == 6
    seen = rows["observation"][-40:, place]
    assert np.allclose(seen[:, 0] ** 2 + seen[:, 1] ** 2, 1, atol=1e-6)
    # sin 2a = 2 sin a cos a, cos 3a = 4 cos^3 a - 3 cos a
    assert np.allclose(seen[:, 2], 2 * seen[:, 0] * seen[:, 1], atol=1e-5)
    assert np.allclose(seen[:, 5], 4 * seen[:, 1] ** 3 - 3 * seen[:, 1], atol=1e-5)
    assert replay(policy, rows, meta) == len(rows["time"])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"harmonics": 0}, "`observation.gait_clock.harmonics`: 0 must be at least 1"),
        ({"harmonics": 10**9}, "harmonics`: 1000000000 must be at most 8"),
        ({"harmonics": "2"}, "`observation.gait_clock.harmonics`: Expected `int`, got `str`"),
        ({"harmonic": 2}, "unknown parameter 'harmonic'; it takes scale, clip, history, harmonics"),
        ({"scale": 2}, "`observation.gait_clock.parameters.scale`: is no parameter"),
        ({"harmonics": 2}, "layout differs from the one that this node computes"),
        ([2], "Expected `object`"),
    ],
)
def test_a_wrong_parameter_in_a_policy_file_is_refused_on_load(policy, parameters, text):
    data = plain(policy.contract)
    clock(data)[0]["parameters"] = parameters
    refused(data, text)


def test_a_file_whose_layout_states_other_parameters_is_refused(policy):
    data = plain(policy.contract)
    clock(data)[1]["parameters"] = {"harmonics": 2}
    refused(data, "layout differs", "{'harmonics': 2}} against")


@pytest.mark.parametrize("file", ["go2_walk_early_format3.onnx", "go2_walk_format2.onnx"])
def test_files_from_before_there_were_parameters_are_read_and_written_as_they_were(file):
    import onnx

    model = onnx.ModelProto.FromString(checksum.read(ROOT / "tests" / "golden" / file))
    (text,) = (p.value for p in model.metadata_props if p.key == "robot_ppo.contract")
    assert '"parameters"' not in text
    c = contracts.from_json(text)
    assert not any(term.parameters for term in c.observation)
    for key in ("observation", "layout"):
        assert plain(c)[key] == msgspec.json.decode(text)[key]


# -- terms of other kinds -----------------------------------------------------------------------


def points(length, width, resolution):
    """Names of the points of a scan."""
    rows = round(length / resolution) + 1
    columns = round(width / resolution) + 1
    return tuple(f"{i} {j}" for i in range(rows) for j in range(columns))


@pytest.fixture
def scan(monkeypatch):
    """A scan whose parameters say how many points it has, of a signal without a size."""
    signal = Signal(ANY, "m", "body", "depth camera", optional=True)
    monkeypatch.setitem(SIGNALS, "depth", signal)

    def depth_scan(inputs, *, length: Positive, width: Positive, resolution: Positive = 0.1):
        return inputs.state.depth

    add_term(monkeypatch, depth_scan, size="depth", reads=("depth",), parts=points)
    return TermSpec(name="depth_scan", parameters={"length": 0.4, "width": 0.2})


def test_parameters_say_how_wide_the_signal_is_that_a_term_reads(scan):
    layout = Layout((scan,), NAMES)
    assert layout.size == 15 and layout.signal_sizes == {"depth": 15}
    assert layout.entries(NAMES)[4].part == "1 1"
    finer = msgspec.structs.replace(scan, parameters={**scan.parameters, "resolution": 0.05})
    assert Layout((finer,), NAMES).signal_sizes == {"depth": 45}


def test_a_width_that_is_not_that_of_the_parameters_is_refused(scan):
    with pytest.raises(InputError, match="depth_scan has 15 numbers by its parameters, and the"):
        Layout((scan,), NAMES, signal_sizes={"depth": 16})
    sizes = {"depth": 15}
    c = contract((*TERMS, scan), signal_sizes=sizes)
    assert contracts.from_json(contracts.to_json(c)) == c
    refused(plain(c) | {"signal_sizes": {}}, "signal_sizes lacks depth")
    refused(plain(c) | {"signal_sizes": {"depth": 14}}, "the signal depth has 14")


def test_a_term_with_more_numbers_than_any_needs_is_refused(scan):
    wide = msgspec.structs.replace(scan, parameters={"length": 9.0, "width": 9.0})
    with pytest.raises(InputError, match="depth_scan has 8281 numbers, more than 4096"):
        Layout((wide,), NAMES)


def test_a_parameter_per_joint_names_joints(monkeypatch):
    def weighted_vel(inputs, *, joints: PerJoint):
        return inputs.state.joint_vel * joints

    add_term(monkeypatch, weighted_vel, size="joints", reads=("joint_vel",))
    one = TermSpec(name="weighted_vel", parameters={"joints": {"*_calf_joint": 0.0}})
    (step,) = Layout((one,), NAMES).plan
    factors = step.function.keywords["joints"]
    assert factors.tolist() == [0.0 if "calf" in name else 1.0 for name in NAMES]
    assert same_bits(factors, factors.astype(np.float32))
    unknown = TermSpec(name="weighted_vel", parameters={"joints": {"knee": 2.0}})
    with pytest.raises(InputError, match=r"weighted_vel\.joints`: no joint is named 'knee'"):
        Layout((unknown,), NAMES)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"length": 1e9}, "height_scan.length`: 1000000000.0 must be at most 20"),
        ({"length": 1e300, "resolution": 1e-300}, "length`: 1e+300 must be at most 20"),
        ({"resolution": 0.0001}, "height_scan.resolution`: 0.0001 must be at least 0.01"),
        (
            {"length": 20, "width": 20, "resolution": 0.01},
            "has 2001 x 2001 points, and a",
        ),
        ({"offset": 1e308}, "height_scan.offset`: 1e+308 must be at most 20"),
    ],
)
def test_a_scan_that_no_memory_holds_is_refused_before_it_is_laid_out(parameters, text):
    with pytest.raises(InputError, match=re.escape(text)):
        Layout((TermSpec(name="height_scan", parameters=parameters),), NAMES)
