"""The step in place that a task may add to its targets: the clock's, the contract's, the node's."""

import functools
import json

import env_helpers
import msgspec
import node_helpers as helpers
import numpy as np
import pytest

from robot_ppo import envs
from robot_ppo.envs.robot.gait import Schedule
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.action import ActionMap, ActionSpec, Lift, Stepping
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import TOLERANCE, Policy

ANGLES = {"FR_calf_joint": -0.3, "FL_calf_joint": -0.3, "RL_thigh_joint": 0.2}
LIFTS = {
    name: Lift(angle=a, offset=env_helpers.GAIT.offsets[name[:2]]) for name, a in ANGLES.items()
}
NAMES = helpers.robot().joint_names
FORWARD = np.float32([0.5, 0.0, 0.0])
N = 40


def stepping(**changes) -> Stepping:
    return Stepping(**{"stance": env_helpers.GAIT.stance, "joints": LIFTS, **changes})


def action_map(**changes) -> ActionMap:
    return ActionMap(ActionSpec(stepping=stepping(**changes)), helpers.robot())


def phases() -> np.ndarray:
    return np.linspace(0, 1, N, endpoint=False, dtype=np.float32)


@functools.cache
def policy_file():
    c = helpers.contract()
    action = msgspec.structs.replace(c.action, stepping=stepping())
    return helpers.write_policy(msgspec.structs.replace(c, action=action))


def test_a_foot_is_lifted_while_the_gait_wants_it_up_and_as_it_wants_it():
    schedule = Schedule(env_helpers.GAIT, helpers.robot())
    swing = schedule.swing(phases(), np.ones(N, bool))
    reference = action_map().reference(phases(), np.tile(FORWARD, (N, 1)))
    assert reference.dtype == np.float32 and reference.shape == (N, len(NAMES))
    for i, name in enumerate(NAMES):
        foot = helpers.robot().feet.index(name[:2])
        expected = ANGLES.get(name, 0.0) * np.sin(np.pi * swing[:, foot])
        assert np.allclose(reference[:, i], expected, atol=1e-6)
    assert (swing > 0).any() and (swing == 0).any()


def test_one_robot_gets_the_bits_of_many_and_who_stands_gets_nothing():
    commands = np.tile(FORWARD, (N, 1))
    commands[::2] = 0.01  # says to stand
    many = action_map().reference(phases(), commands)
    assert not many[::2].any() and many[1::2].any()
    for i in range(N):
        one = action_map().reference(phases()[i, ...], commands[i])
        assert one.tobytes() == many[i].tobytes()


def test_it_is_added_to_the_targets_inside_the_range():
    reference = action_map().reference(phases(), np.tile(FORWARD, (N, 1)))
    nothing = np.zeros((N, len(NAMES)), np.float32)
    default = helpers.robot().vector("default").astype(np.float32)
    target = action_map().target(nothing, reference)
    assert np.allclose(target, default + reference, atol=1e-7)
    low, high = helpers.robot().vector("range").T
    far = action_map().target(nothing, 100 * reference)
    assert (far >= low).all() and (far <= high).all()
    assert ActionMap(ActionSpec(), helpers.robot()).reference(phases(), FORWARD) is None


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        (
            {"joints": {"FR_clf_joint": LIFTS["FR_calf_joint"]}},
            "joints.FR_clf_joint",
            "did you mean",
        ),
        ({"stance": 1.0}, "stance", "not between 0 and 1"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_with_its_key(changes, key, sentence):
    with pytest.raises(SettingError, match=sentence) as caught:
        action_map(**changes)
    assert caught.value.key == f"action.stepping.{key}"


def test_the_contract_carries_it_and_older_ones_do_not_step():
    c = Policy(policy_file()).contract
    assert contracts.from_json(contracts.to_json(c)) == c
    older = json.loads(contracts.to_json(helpers.contract()))
    del older["action"]["stepping"]
    assert contracts.from_json(json.dumps(older)) == helpers.contract()
    terms = c.observation[:-1]
    bare = helpers.contract(terms, gait_frequency=None)
    still = msgspec.structs.replace(bare, action=c.action)
    with pytest.raises(RefusedError, match="the action steps, which needs `gait`"):
        contracts.from_json(contracts.to_json(still))


def test_golden_traces_prove_it_and_refuse_a_node_that_does_not_step(monkeypatch):
    policy = Policy(policy_file())
    assert policy.check_golden().value <= TOLERANCE
    bare = helpers.contract().action_map()
    assert not np.allclose(policy.golden.target, bare.target(policy.golden.action))
    monkeypatch.setattr(ActionMap, "reference", lambda *_: None)
    with pytest.raises(RefusedError, match=r"in target\["):
        policy.check_golden()


def test_the_node_steps_while_it_is_told_to_move():
    policy = Policy(policy_file())
    state = helpers.random_state(np.random.default_rng(0), policy.contract)
    for command, moves in ((FORWARD, True), (0 * FORWARD, False)):
        policy.reset()
        added = []
        for _ in range(25):
            target = policy.tick(state, command)
            added.append(target - policy.action_map.target(policy.last_action))
        assert bool(np.abs(added).max() > 0.1) is moves


def test_the_environment_adds_what_the_contract_says():
    action = msgspec.structs.replace(env_helpers.shipped().task.action, stepping=stepping())
    env = env_helpers.environment(env_helpers.quiet(action=action))
    env.reset(seed=0)
    seen = []
    step = env.engine.step
    env.engine.step = lambda targets: seen.append(targets) or step(targets)
    for _ in range(10):
        inputs = env.last_inputs
        env.step(np.zeros((4, len(NAMES)), np.float32))
        reference = env.actions.reference(inputs.phase, inputs.command)
        default = helpers.robot().vector("default").astype(np.float32)
        assert np.allclose(seen[-1], default + reference, atol=1e-6)
    assert np.ptp(seen, axis=0).max() > 0.1


def test_a_step_of_one_side_has_no_mirror_image():
    action = msgspec.structs.replace(env_helpers.shipped().task.action, stepping=stepping())
    with pytest.raises(InputError, match=r"`task\.action\.stepping` has no mirror image"):
        envs.symmetry(env_helpers.environment(env_helpers.quiet(action=action)))
