"""A log as table, picture and MCAP: every number in them is one of the log's."""

import io
import itertools
import json
import struct
import sys

import fastjsonschema
import msgspec
import numpy as np
import pytest
from mcap.reader import make_reader
from node_helpers import PERIOD, rig, robot

from robot_ppo import cli
from robot_ppo.logs import mcap, plot
from robot_ppo.logs.log import Log
from robot_ppo.logs.summary import summary
from robot_ppo_export.errors import InputError
from robot_ppo_node.control.states import State
from robot_ppo_node.log import log_file


def turning(tick, state):
    if tick < 60:  # at rest, until it has passed its checks
        return state
    state.base_ang_vel[2] = 0.01 * tick
    state.joint_vel[3] = 2.5
    if tick == 220:
        state.base_quat[:] = (0, 1, 0, 0)
    return state


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The log of a walk that ends in a fall."""
    r = rig(mutate=turning, ring=60.0)
    r.node.run()
    r.node.recorder.meta["started"] = 1.7e9
    path = tmp_path_factory.mktemp("logs") / "fall.rlog"
    r.node.recorder.save(path)
    return path


@pytest.fixture(scope="module")
def log(path):
    return Log.load(path)


def messages(path):
    with path.open("rb") as file:
        found = {}
        for _, channel, message in make_reader(file).iter_messages():
            found.setdefault(channel.topic, []).append((message.log_time, json.loads(message.data)))
        return found


# --- the view


def test_a_signal_is_the_columns_that_bear_its_name(log):
    for name, width in (("joint_vel", 12), ("base_quat", 4), ("foot_force", 0)):
        assert log.measured(name).shape == (len(log), width)
    assert (log.measured("joint_vel")[60:, 3] == 2.5).all()
    assert log.measured("base_ang_vel")[65, 2] == np.float32(0.65)


def test_the_stays_in_states_cover_every_tick_in_order(log):
    spans = list(log.spans())
    assert [name for name, _, _ in spans] == ["PREFLIGHT", "STAND", "READY", "POLICY", "DAMP"]
    assert spans[0][1] == 0 and spans[-1][2] == len(log)
    assert all(a[2] == b[1] for a, b in itertools.pairwise(spans))


def test_tracking_compares_a_target_with_the_position_of_the_next_tick(log):
    """The fake robot goes half of the way to its target between two ticks."""
    ran = np.flatnonzero(log.running())
    a = ran[3]
    b = ran[4]
    before = log.measured("joint_pos")[a]
    error = log.measured("joint_pos")[b] - log.rows["target"][a]
    assert np.allclose(log.tracking()[3], error)
    assert np.allclose(error, 0.5 * (before - log.rows["target"][a]), atol=1e-6)


def test_the_summary_says_what_happened(log, path):
    text = summary(log)
    for part in (
        *(str(path), "go2_walk on go2", "orderly", "STAND", "POLICY", "DAMP", "from fixed"),
        *("tilt 1", "FAULT: tilt: 3.142 rad", "missed deadlines: 0", *robot().joint_names),
    ):
        assert part in text
    assert "2.5" in next(line for line in text.splitlines() if line.startswith("FL_hip_joint"))


def test_a_log_of_a_killed_node_says_so(log):
    killed = Log(log.path, log.rows, log.meta | {"closed": False, "first": 41, "damaged": 1})
    text = summary(killed)
    assert "cut off" in text and "the first 40 were overwritten" in text and "1 slots" in text


def test_a_log_without_a_tick_has_a_summary_and_no_picture(log, tmp_path):
    empty = Log(log.path, {k: v[:0] for k, v in log.rows.items()}, log.meta | {"events": []})
    assert "0 of 20 ms" in summary(empty)
    with pytest.raises(InputError, match="holds no tick"):
        plot.write(empty, tmp_path / "x.png")


# --- MCAP


def test_every_tick_is_in_every_channel_at_its_time(log, tmp_path):
    mcap.write(log, tmp_path / "x.mcap")
    found = messages(tmp_path / "x.mcap")
    assert {*found} == {"/joints", "/imu", "/tf", "/command", "/node", "/events"}
    for topic in ("/joints", "/imu", "/tf", "/command", "/node"):
        assert len(found[topic]) == len(log)
    stamps = [stamp for stamp, _ in found["/joints"]]
    assert stamps[0] == 1_700_000_000 * 10**9
    assert np.allclose(np.diff(stamps), PERIOD * 1e9, atol=1000)


def test_the_numbers_are_those_of_the_log(log, tmp_path):
    mcap.write(log, tmp_path / "x.mcap")
    found = messages(tmp_path / "x.mcap")
    t = 200
    joint = found["/joints"][t][1]["FL_hip_joint"]
    assert joint["velocity"] == 2.5
    assert joint["target"] == log.rows["target"][t, 3]
    assert joint["position"] == log.measured("joint_pos")[t, 3]
    assert found["/imu"][t][1]["angular_velocity"]["z"] == np.float32(2.0)
    assert found["/tf"][t][1]["rotation"] == {"w": 1, "x": 0, "y": 0, "z": 0}
    assert found["/command"][t][1]["source"] == "fixed"
    assert found["/command"][t][1]["wanted"]["vx"] == np.float32(0.3)
    assert found["/node"][t][1]["state"] == "POLICY"
    assert found["/node"][220][1]["guards"] == "tilt"
    told = [content["message"] for _, content in found["/events"]]
    assert told == [text for _, text in log.meta["events"]]
    assert [c["level"] for _, c in found["/events"]][-1] == mcap.ERROR


def test_what_foxglove_knows_bears_its_names(log, tmp_path):
    mcap.write(log, tmp_path / "x.mcap")
    with (tmp_path / "x.mcap").open("rb") as file:
        overview = make_reader(file).get_summary()
    schemas = {c.topic: overview.schemas[c.schema_id] for c in overview.channels.values()}
    assert schemas["/tf"].name == "foxglove.FrameTransform"
    assert schemas["/events"].name == "foxglove.Log"
    joints = json.loads(schemas["/joints"].data)
    assert {*joints["properties"]} == {*robot().joint_names}


def test_a_number_that_is_none_does_not_break_the_file(log, tmp_path):
    rows = {k: v.copy() for k, v in log.rows.items()}
    rows["measured"][10] = np.nan
    rows["time"][20] = np.inf
    mcap.write(Log(log.path, rows, log.meta), tmp_path / "x.mcap")
    found = messages(tmp_path / "x.mcap")
    assert found["/imu"][10][1]["angular_velocity"] == {}
    assert len(found["/imu"]) == len(log) - 1


def test_every_message_is_valid_against_the_schema_of_its_topic(log, tmp_path):
    """By an independent validator, also where something was never measured or never said."""
    rows = {k: v.copy() for k, v in log.rows.items()}
    rows["wanted_age"][:50] = np.inf
    rows["measured"][:30] = np.nan
    mcap.write(Log(log.path, rows, log.meta), tmp_path / "x.mcap")
    checks = {}
    seen = set()
    with (tmp_path / "x.mcap").open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.topic not in checks:
                checks[channel.topic] = fastjsonschema.compile(json.loads(schema.data))
            checks[channel.topic](json.loads(message.data))
            seen.add(channel.topic)
            assert "age" in json.loads(schema.data)["properties"] or channel.topic != "/command"
    assert seen == {"/joints", "/imu", "/tf", "/command", "/node", "/events"}
    ages = [content.get("age") for _, content in messages(tmp_path / "x.mcap")["/command"]]
    assert ages[:50] == [None] * 50 and None not in ages[50:]
    with pytest.raises(fastjsonschema.JsonSchemaException):  # negative control
        checks["/command"]({"age": None})


@pytest.mark.parametrize(
    ("module", "write", "name", "extra"),
    [
        ("mcap.writer", mcap.write, "x.mcap", "robot-ppo[mcap]"),
        ("matplotlib.figure", plot.write, "x.png", "robot-ppo[train]"),
    ],
)
def test_a_missing_library_is_one_sentence(log, tmp_path, monkeypatch, module, write, name, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"pip install '{extra}'".replace("[", r"\[")):
        write(log, tmp_path / name)
    assert not list(tmp_path.iterdir())


# --- the picture and the command line


def test_the_command_line_writes_all_three(path, tmp_path, capsys):
    arguments = ["log", str(path), "--mcap", str(tmp_path / "x.mcap")]
    assert cli.main([*arguments, "--plot", str(tmp_path / "x.png")]) == 0
    out = capsys.readouterr().out
    assert "FAULT: tilt" in out and "x.mcap" in out and "x.png" in out
    data = (tmp_path / "x.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 900 and height > 900
    assert make_reader(io.BytesIO((tmp_path / "x.mcap").read_bytes())).get_summary()


def test_the_picture_draws_the_joints_that_missed_their_targets_most(log):
    rows = {k: v.copy() for k, v in log.rows.items()}
    rows["target"][log.running(), 7] += 3
    rows["target"][log.running(), 2] += 2
    assert plot._worst(Log(log.path, rows, log.meta))[:2] == [7, 2]


def test_wrong_input_is_a_sentence(path, tmp_path, capsys):
    for arguments, text in (
        (["log", tmp_path / "none.rlog"], "cannot be read"),
        (["log", __file__], "is not a log of robot-ppo-node"),
        (["log", path, "--plot", tmp_path / "x.jpg"], "must end in .png"),
        (["log", path, "--mcap", tmp_path], "cannot be written"),
    ):
        assert cli.main([str(a) for a in arguments]) == 2
        assert text in capsys.readouterr().err


def test_meta_data_of_a_stranger_do_not_break_the_view(log):
    """What a log says of its guards and states may be less than what its columns hold."""
    data = log.path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    meta = msgspec.json.decode(data[32 : 32 + size])
    meta |= {"guards": [], "states": []}
    changed = msgspec.json.encode(meta)
    ticks = len(log)
    events = len(log.meta["events"])
    rows, about = log_file.parse(log_file.head(changed, events, ticks, True) + data[32 + size :])
    assert str(int(State.POLICY)) in summary(Log(log.path, rows, about))
