"""Joints that a task holds: no output of the network, driven at their gains to the default pose."""

import functools
import json

import msgspec
import node_helpers as helpers
import numpy as np
import pytest

from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.action import ActionMap, ActionSpec
from robot_ppo_export.contract.layout import Layout
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.policy import TOLERANCE, Policy
from robot_ppo_node.app import replay as replaying
from robot_ppo_node.app import report
from robot_ppo_node.control.states import State

HELD = ("FL_hip_joint", "RR_calf_joint")
NAMES = helpers.robot().joint_names
PLACES = [NAMES.index(name) for name in HELD]
MOVED = [i for i, name in enumerate(NAMES) if name not in HELD]
DEFAULT = helpers.robot().vector("default").astype("f4")


def action_map(held=HELD, scale: float | dict[str, float] = 0.5) -> ActionMap:
    return ActionMap(ActionSpec(scale=scale, held=held), helpers.robot())


def raw(*lead: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (*lead, len(MOVED))).astype("f4")


@functools.cache
def policy_file():
    """A policy of random weights that does not move `HELD`."""
    c = helpers.contract()
    action = ActionSpec(scale=0.5, clip=4.0, held=HELD)
    layout = Layout(c.observation, len(NAMES), c.command, moved=MOVED)
    statistics = {"mean": (0.0,) * layout.size, "std": (1.0,) * layout.size}
    normalizer = msgspec.structs.replace(c.normalizer, **statistics)
    described = tuple(layout.describe())
    return helpers.write_policy(
        msgspec.structs.replace(c, action=action, layout=described, normalizer=normalizer)
    )


@pytest.mark.parametrize("lead", [(), (7,)])
def test_held_joints_stay_and_the_others_go_as_without_them(lead):
    action = raw(*lead)
    whole = np.full((*lead, len(NAMES)), 3.0, "f4")
    whole[..., MOVED] = action
    target = action_map().target(action)
    assert (target[..., PLACES] == DEFAULT[PLACES]).all()
    assert np.array_equal(target[..., MOVED], action_map(()).target(whole)[..., MOVED])
    small = 0.1 * action
    assert np.allclose(action_map().action(action_map().target(small)), small, atol=1e-6)


def test_numbers_of_all_joints_are_zero_for_held_ones():
    action = raw(3)
    spread = action_map().of_joints(action)
    assert spread.shape == (3, len(NAMES)) and not spread[:, PLACES].any()
    assert np.array_equal(spread[:, MOVED], action)
    assert action_map(()).of_joints(spread) is spread


def test_scales_name_every_joint_so_that_one_key_holds_or_frees_them():
    scales = dict.fromkeys(NAMES, 0.25)
    assert np.array_equal(
        action_map(scale=scales).target(raw(3)), action_map(scale=0.25).target(raw(3))
    )


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (("FL_hip_jiont",), "no joint 'FL_hip_jiont'; did you mean 'FL_hip_joint'"),
        (("FL_hip_joint", "FL_hip_joint"), "names a joint twice"),
        (NAMES, "holds every joint"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused_with_its_key(held, sentence):
    with pytest.raises(SettingError, match=sentence) as caught:
        action_map(held)
    assert caught.value.key == "action.held"


def test_the_last_action_is_as_long_as_the_networks_output_and_named_so():
    c = Policy(policy_file()).contract
    layout = c.resolve()
    assert layout.widths["last_action"] == len(MOVED)
    assert layout.widths["joint_vel"] == len(NAMES)
    entries = [e.part for e in layout.entries(NAMES) if e.term == "last_action"]
    assert entries == [NAMES[i] for i in MOVED]


def test_a_contract_carries_what_is_held_and_older_ones_hold_nothing():
    c = Policy(policy_file()).contract
    assert contracts.from_json(contracts.to_json(c)).action.held == HELD
    older = json.loads(contracts.to_json(helpers.contract()))
    del older["action"]["held"]
    assert contracts.from_json(json.dumps(older)) == helpers.contract()


def test_the_golden_traces_prove_what_is_held():
    policy = Policy(policy_file())
    assert policy.check_golden().value <= TOLERANCE
    assert policy.golden.action.shape[1] == len(MOVED)
    assert (policy.golden.target[:, PLACES] == DEFAULT[PLACES]).all()
    assert "held" in report.describe_page(policy)


def test_the_node_drives_held_joints_at_their_gains_and_replays_the_run():
    policy = Policy(policy_file())
    rig = helpers.rig(p=policy, ring=20.0).until(State.POLICY).ticks(60)
    assert rig.node.recorder is not None
    rows, meta = rig.node.recorder.log()
    walking = (rows["node_state"] == State.POLICY) & (rows["kp"][:, 0] == rows["kp"][-1, 0])
    kp = helpers.robot().vector("kp").astype("f4")
    assert walking.sum() > 40
    assert (rows["target"][walking][:, PLACES] == DEFAULT[PLACES]).all()
    assert (rows["kp"][walking] == kp).all()
    assert rows["action"].shape[1] == len(NAMES) and not rows["action"][:, PLACES].any()
    assert rows["action"][walking][:, MOVED].any()
    assert replaying.replay(policy, rows, meta) == len(rows["time"])
