"""The contract as JSON: the same bits back, and only what is whole and consistent is accepted."""

import functools
import math

import msgspec
import numpy as np
import pytest
from contract_helpers import TERMS, contract, random_actor, robot, small_actor
from hypothesis import given
from hypothesis import strategies as st

from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.command import NO_COMMAND, CommandEntry, CommandSpec
from robot_ppo_export.contract.contract import FORMAT_VERSION
from robot_ppo_export.contract.layout import Layout, TermSpec
from robot_ppo_export.errors import InputError, RefusedError

AWKWARD = (0.1 + 0.2, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 2.0, math.pi, 1e-5)


@functools.cache
def whole():
    return contract(small_actor())


def plain():
    return msgspec.json.decode(contracts.to_json(whole()))


def refused(data, *texts):
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    with pytest.raises(RefusedError) as error:
        contracts.from_json(text)
    for part in texts:
        assert part in str(error.value), str(error.value)


def with_value(path, value):
    data = plain()
    *parents, last = path
    entry = data
    for key in parents:
        entry = entry[key]
    entry[last] = value
    return data


def paths(data, prefix=()):
    """The path of every key of nested plain data."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*prefix, key)
            yield from paths(value, (*prefix, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from paths(value, (*prefix, i))


# Full precision


def test_the_contract_comes_back_equal_and_writes_the_same_text():
    text = contracts.to_json(whole())
    assert contracts.from_json(text) == whole()
    assert contracts.to_json(contracts.from_json(text)) == text


@pytest.mark.parametrize("value", AWKWARD)
def test_a_float_comes_back_with_the_same_bits(value):
    training = msgspec.structs.replace(whole().training, physics_timestep=value)
    changed = msgspec.structs.replace(whole(), training=training)
    back = contracts.from_json(contracts.to_json(changed)).training.physics_timestep
    assert back.hex() == value.hex()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_any_finite_float_comes_back_with_the_same_bits(values):
    normalizer = msgspec.structs.replace(
        whole().normalizer, mean=(*values, *whole().normalizer.mean[2:])
    )
    changed = msgspec.structs.replace(whole(), normalizer=normalizer)
    back = contracts.from_json(contracts.to_json(changed)).normalizer.mean
    assert [v.hex() for v in back[:2]] == [v.hex() for v in values]


def test_float32_statistics_come_back_with_the_same_bits():
    actor = small_actor()
    back = contracts.from_json(contracts.to_json(whole())).normalizer
    assert np.array(back.mean, np.float32).tobytes() == actor.mean.tobytes()
    assert np.array(back.std, np.float32).tobytes() == actor.std.tobytes()


def test_the_contract_holds_what_the_robot_needs():
    back = contracts.from_json(contracts.to_json(whole()))
    assert back.robot == robot()
    assert back.resolve().describe() == list(back.layout)
    assert back.resolve().size == len(back.normalizer.mean)
    assert back.action_map().target(np.zeros(12, np.float32)).tolist() == (
        robot().vector("default").astype(np.float32).tolist()
    )
    assert back.command.bounds().tolist() == np.float32([[-1, 1], [-0.4, 0.4], [-1, 1]]).tolist()
    assert str(back.command) == "twist: vx [m/s], vy [m/s], yaw_rate [rad/s]"


# What is refused


@pytest.mark.parametrize("path", list(paths(plain())), ids=lambda p: ".".join(map(str, p)))
def test_every_key_is_required_even_one_with_a_default(path):
    data = plain()
    *parents, last = path
    entry = data
    for key in parents:
        entry = entry[key]
    del entry[last]
    free = {
        "randomization",
        "noise",
        "versions",
        "evaluation",
        "figures",
        "gain",
    }  # names of the author's choosing
    if ".".join(map(str, path)) in contracts.LATER and entry is not data:
        read = contracts.from_json(msgspec.json.encode(data).decode())
        assert not getattr(getattr(read, str(parents[0])), str(last))  # a key that came later
    elif set(parents) & free or path == ("scores",):  # a key that came later
        assert contracts.from_json(msgspec.json.encode(data).decode()) != whole()
    elif path == ("states",):  # so did this one; there is nothing in it here
        assert contracts.from_json(msgspec.json.encode(data).decode()) == whole()
    else:
        refused(data, "format version None" if last == "format_version" else str(last))


@pytest.mark.parametrize("path", [(), ("robot",), ("action",), ("robot", "joints", 3)])
def test_an_unknown_key_is_refused(path):
    refused(with_value((*path, "surprise"), 1), "unknown field `surprise`")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 1, 0, -1, "3", None, 1.5, True])
def test_another_format_version_is_refused_with_what_to_do(version):
    refused(
        with_value(("format_version",), version),
        f"format version {version!r} and this node reads 2 to {FORMAT_VERSION}",
        "install a newer release" if version == FORMAT_VERSION + 1 else "export the run again",
        "install the robot-ppo release that wrote the file",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}]", '{"a": NaN}'])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(RefusedError, match="not valid JSON"):
        contracts.from_json(text)


@pytest.mark.parametrize("key", ["offset", "size", "unit", "frame", "scale", "clip", "history"])
@pytest.mark.parametrize("row", [0, 3, len(TERMS) - 1])
def test_a_layout_that_is_not_that_of_its_terms_is_refused(key, row):
    changed = with_value(("layout", row, key), 77)
    refused(changed, "layout differs from the one that this node computes", f"'{key}': 77")


def test_terms_in_another_order_than_the_layout_are_refused():
    data = plain()
    data["observation"].reverse()
    refused(data, "layout differs")


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, 0)])
def test_a_layout_that_lacks_terms_is_refused(cut):
    data = plain()
    data["layout"] = data["layout"][cut]
    refused(data, "layout differs", "None against {'name': ")


def test_an_unknown_term_is_refused_with_the_nearest():
    refused(with_value(("observation", 2, "name"), "comand"), "did you mean 'command'?")


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: [*v, 1.0], lambda v: []])
def test_a_normalizer_of_another_length_is_refused(name, change):
    size = whole().resolve().size
    data = plain()
    data["normalizer"][name] = change(data["normalizer"][name])
    refused(data, f"normalizer.{name} must be {size} finite numbers")


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_a_standard_deviation_that_is_not_above_zero_is_refused(std):
    refused(with_value(("normalizer", "std", 5), std), "normalizer.std must be above 0")


@pytest.mark.parametrize("path", [("normalizer", "mean", 0), ("robot", "joints", 0, "kp")])
def test_a_number_that_is_not_finite_is_written_as_null_and_refused(path):
    refused(with_value(path, math.nan), "Expected `float`, got `null`")


@pytest.mark.parametrize("period", [0.0, -0.02, 1.0, 20.0])
def test_a_control_period_that_no_robot_runs_at_is_refused(period):
    refused(with_value(("control_period",), period), f"control_period {period} s is not between")


def test_a_clock_step_that_every_tick_exceeds_is_refused():
    text = "max_clock_step: 0.001 s must be above control_period"
    refused(with_value(("robot", "safety", "max_clock_step"), 0.001), text)


def test_command_ranges_that_are_turned_round_are_refused():
    turned = with_value(("command", "entries", 1, "low"), 0.5)
    refused(turned, "command: vy: [0.5, 0.4] is not a range [low, high]")


@pytest.mark.parametrize(
    "change, text",
    [
        ({"kind": "none"}, "kind 'none' has 3 entries"),
        ({"kind": "heading", "entries": []}, "kind 'heading' has 0 entries"),
        ({"kind": "joint_pos"}, "the robot has no joint vx, vy, yaw_rate"),
        ({"entries": [{"name": "vx", "unit": "m/s", "low": 0, "high": 1}]}, "a twist has the"),
        (
            {"kind": "x", "entries": [{"name": "a", "unit": "m", "low": 0, "high": 1}] * 2},
            "two entries share a name: a, a",
        ),
    ],
)
def test_a_command_that_contradicts_itself_is_refused(change, text):
    data = plain()
    data["command"] |= change
    refused(data, text)


@pytest.mark.parametrize(
    "frequency, text",
    [(None, "needs `gait`: gait_frequency is null"), (0.0, "above 0"), (-2.0, "above 0")],
)
def test_a_gait_clock_without_a_gait_is_refused(frequency, text):
    refused(with_value(("gait_frequency",), frequency), text)


def test_a_gait_clock_that_no_twist_stops_is_refused():
    data = plain()
    data["command"]["kind"] = "heading"
    (row,) = (row for row in data["layout"] if row["name"] == "command")
    row["frame"] = "task"
    refused(data, "gait_clock, which needs `commands.twist`", "the command of kind 'heading'")


def without_gait_clock(**changes):
    """A contract whose observation reads neither command nor gait."""
    kept = tuple(spec for spec in TERMS if spec.name not in ("gait_clock", "command"))
    size = Layout(kept, 12).size
    actor = random_actor((size, 8, 12))
    return msgspec.structs.replace(contract(actor, kept), distribution=None, **changes)


def test_a_task_without_command_and_gait_is_whole():
    c = without_gait_clock(gait_frequency=None, command=NO_COMMAND)
    back = contracts.from_json(contracts.to_json(c))
    assert back == c and back.command.bounds().shape == (0, 2)
    assert back.input_names() == (
        "joint_pos",
        "joint_vel",
        "base_quat",
        "base_ang_vel",
        "last_action",
    )


def test_a_term_that_shows_no_command_is_refused():
    spec = TermSpec(name="command")
    with pytest.raises(InputError, match="'command' is empty: the task has no command"):
        Layout((spec,), 12, NO_COMMAND)


def test_a_command_of_another_kind_is_as_wide_as_its_entries():
    entries = tuple(
        CommandEntry(name=name, unit="rad", low=-1.0, high=1.0) for name in robot().joint_names
    )
    command = CommandSpec(kind="joint_pos", entries=entries)
    layout = Layout((TermSpec(name="command"),), 12, command)
    (row,) = layout.describe()
    assert (row["size"], row["unit"], row["frame"]) == (12, "rad", "joint")
    assert [entry.part for entry in layout.entries(("a",))] == list(robot().joint_names)


def test_sizes_of_signals_that_nobody_reads_are_refused():
    refused(with_value(("signal_sizes", "height_scan"), 187), "signal_sizes.height_scan: 187")


def test_the_section_on_evaluation_is_carried_as_it_is():
    back = contracts.from_json(contracts.to_json(whole()))
    assert back.evaluation == {"episode": 10.0, "commands": [[0.5, 0.0, 0.0]]}
    assert back.model_fingerprint == "f" * 64


def test_conditions_stay_in_their_order_since_the_first_decides():
    section = {"conditions": {"nominal": {}, "delay": {"delay": 0.02}, "a": {}}}
    back = contracts.from_json(
        contracts.to_json(msgspec.structs.replace(whole(), evaluation=section))
    )
    assert list(back.evaluation["conditions"]) == ["nominal", "delay", "a"]


def test_a_file_from_before_there_were_scores_has_none():
    data = plain()
    assert data.pop("scores")["gain"] == {"vx": 0.98, "yaw_rate": 0.755}
    assert contracts.from_json(msgspec.json.encode(data).decode()).scores is None
    refused(with_value(("scores", "gain"), {"vx": "all"}), "scores.gain")


def test_what_format_2_said_is_read_as_format_3():
    data = plain()
    for key in ("evaluation", "model_fingerprint", "signal_sizes", "scores", "states", "command"):
        del data[key]
    ranges = {"vx": [-1.0, 1.0], "vy": [-0.4, 0.4], "yaw_rate": [-1.0, 1.0]}
    old = data | {"format_version": 2, "commands": ranges}
    back = contracts.from_json(msgspec.json.encode(old).decode())
    assert (back.command, back.format_version) == (whole().command, 2)
    assert contracts.from_json(contracts.to_json(back)).format_version == FORMAT_VERSION
    refused(old | {"command": plain()["command"]}, "format 2 has no field `command`")
    refused(old | {"commands": {"vx": 3}}, "commands: Expected `array`")
    refused(data | {"format_version": 2}, "lacks commands")


@pytest.mark.parametrize("key", ["scale", "clip"])
@pytest.mark.parametrize("value", [0.0, -0.5])
def test_an_action_that_moves_nothing_or_backwards_is_refused(key, value):
    refused(
        with_value(("action", key), value), "does not hold together", f"`action.{key}`: {value}"
    )


@pytest.mark.parametrize(
    "path, value, text",
    [
        (("robot", "joints", 0, "default"), 9.0, "joints.FR_hip_joint.default"),
        (("robot", "joints", 0, "name"), "FL_hip_joint", "two joints share a name"),
        (("robot", "joints", 0, "kp"), -1.0, "must be above 0"),
        (("robot", "damping", "kd"), -3.0, "`damping.kd`: -3.0 must be above 0"),
        (("robot", "safety", "max_tilt"), -1.0, "safety.max_tilt"),
        (("observation", 0, "history"), 0, "history`: 0 must be at least 1"),
        (("observation", 0, "clip"), -2.0, "clip`: -2.0 must be above 0"),
        (("robot", "joints", 0, "kp"), "strong", "Expected `float`, got `str`"),
    ],
)
def test_a_robot_or_term_that_contradicts_itself_is_refused(path, value, text):
    refused(with_value(path, value), text)


@pytest.mark.parametrize("name", contracts.LEVELS)
@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: [*v, 1.0], lambda v: []])
def test_a_quantile_of_another_length_is_refused(name, change):
    data = plain()
    data["distribution"][name] = change(data["distribution"][name])
    refused(data, f"distribution.{name} must be {whole().resolve().size} finite numbers")


@pytest.mark.parametrize("field, value", [("low", 1e9), ("maximum", -1e9), ("robot_ticks", 0)])
def test_quantiles_that_do_not_ascend_or_come_from_nothing_are_refused(field, value):
    data = plain()
    if field == "robot_ticks":
        data["distribution"][field] = value
    else:
        data["distribution"][field][3] = value
    refused(data, "distribution: minimum, low, median, high, maximum must ascend")


@pytest.mark.parametrize("value", [[0.1], [0.0] * 12, [-0.1] * 12])
def test_a_deviation_that_is_none_of_each_action_is_refused(value):
    """A student would take its logarithm."""
    data = plain()
    data["training"]["deviation"] = value
    text = msgspec.json.encode(data).decode().replace("null]", "1e400]")
    actions = whole().action_map().size
    with pytest.raises(
        RefusedError, match=f"deviation must be empty or {actions} finite|malformed"
    ):
        contracts.from_json(text)
    data["training"]["deviation"] = [0.1] * actions
    assert contracts.from_json(msgspec.json.encode(data).decode()).training.deviation


def test_a_contract_that_was_never_rolled_out_says_so():
    data = plain()
    data["distribution"] = None
    assert contracts.from_json(msgspec.json.encode(data).decode()).distribution is None
    del data["distribution"]
    refused(data, "lacks distribution")
