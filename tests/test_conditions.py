"""Conditions of the scorecard beside the nominal one: solver, motors, punches, delays, packets."""

import re

import env_helpers as helpers
import mujoco
import numpy as np
import pytest
from test_evaluate import STAND, commands, contract, restless, run_of, with_section, zeros

from robot_ppo.config import Condition
from robot_ppo.envs.robot import trials
from robot_ppo.evaluation import evaluate
from robot_ppo_export.errors import InputError

__all__ = ["commands", "contract"]  # fixtures

NOMINAL = Condition("nominal")
CORNERS = (
    Condition("cg", solver="cg"),
    Condition("pgs", solver="pgs"),
    Condition("implicit", motors="implicit"),
    Condition("punch", punch=80.0),
    Condition("late calves", delay={"*_calf_joint": 0.02}),
    Condition("lost", lost=0.3),
    Condition("late", late=0.04),
)


@pytest.mark.numeric
def test_every_corner_makes_a_difference_and_the_nominal_does_not(contract, commands):
    commands((0.4, 0.0, 0.7), seconds=4.0, unscored=0.0)
    # Without noise, which every simulation draws for itself, conditions are all that differs.
    exact = helpers.replace(contract, training=helpers.replace(contract.training, noise={}))
    cards = evaluate.evaluate(exact, restless, (NOMINAL, *CORNERS, NOMINAL), threads=2)
    seen = np.stack([values[:, 0] for values in cards.figures.values()], axis=1)
    assert np.array_equal(seen[-1], seen[0])
    for i, corner in enumerate(CORNERS, 1):
        assert not np.allclose(seen[i], seen[0], rtol=1e-6, atol=0), corner.name


def test_the_nominal_robot_is_the_same_beside_corners_and_alone(contract, commands):
    """No corner changes the model, the motors or the packets of the others."""
    commands((0.4, 0.0, 0.7), seconds=1.0, unscored=0.0)
    exact = helpers.replace(contract, training=helpers.replace(contract.training, noise={}))
    alone = evaluate.evaluate(exact, restless, (NOMINAL,), threads=1)
    beside = evaluate.evaluate(exact, restless, (NOMINAL, *CORNERS), threads=1)
    for name, values in alone.figures.items():
        assert np.allclose(values[0], beside.figures[name][0], rtol=1e-9), name


def test_each_simulation_has_the_solver_of_its_condition(contract, commands):
    commands(STAND, STAND)
    run = run_of(contract, NOMINAL, *CORNERS[:2])
    solvers = run.engine.batch.expand("opt.solver").reshape(3, 2)
    newton = mujoco.mjtSolver.mjSOL_NEWTON
    assert solvers[:, 0].tolist() == solvers[:, 1].tolist()
    kinds = [newton, mujoco.mjtSolver.mjSOL_CG, mujoco.mjtSolver.mjSOL_PGS]
    assert solvers[:, 0].tolist() == [kind.value for kind in kinds]
    assert run.model.opt.solver == newton


def test_implicit_motors_pull_by_the_same_law(contract, commands):
    """Held still in the air and told a small step, the first torque is kp times it, times strength.

    Negative control: the velocity, which one takes into account at the end of the step, the other
    at its beginning, soon makes a difference.
    """
    commands(STAND)
    weak = Condition("weak", motors="implicit", strength=0.5)
    run = run_of(contract, NOMINAL, Condition("implicit", motors="implicit"), weak)
    engine = run.engine
    engine.qpos[:, 2] += 0.5
    force = engine.batch.bind("actuator_force")
    target = engine.qpos[:, engine.joint_qpos] + 0.05
    engine.step(target, 1)
    kp = contract.robot.vector("kp")
    assert np.allclose(force, [0.05 * kp, 0.05 * kp, 0.025 * kp], rtol=1e-6)
    engine.step(target, 20)
    assert not np.allclose(force[1], force[0], rtol=1e-3)
    engine.step(target + 100.0, 1)
    limit = contract.robot.vector("torque_limit")
    assert np.allclose(force, [limit, limit, 0.5 * limit])


def test_a_punch_is_a_force_over_a_tenth_of_a_second(contract, commands):
    """In the air, momentum changes by force times time, and under that condition alone."""
    commands(STAND)
    run = run_of(contract, NOMINAL, Condition("punch", punch=50.0))
    engine = run.engine
    engine.qpos[:, 2] += 100.0
    run.ticks = every = round(trials.PUSH_EVERY / contract.control_period)
    mass = run.weight / 9.81
    run.steps = round(every * contract.control_period / run.model.opt.timestep)
    place = [engine.batch.bind("subtree_com")[:, 0, :2].copy()]
    for _ in range(12):
        run.tick(zeros, scored=False)
        place.append(engine.batch.bind("subtree_com")[:, 0, :2].copy())
    speed = np.linalg.norm(np.diff(place, axis=0), axis=2) / contract.control_period
    assert run.ticks == every + 12 and not engine.batch.bind("xfrc_applied").any()
    assert speed[-1, 0] < 0.01
    assert mass[1] * speed[-1, 1] == pytest.approx(50.0 * 0.1, rel=0.03)
    assert speed[7:, 1] == pytest.approx(speed[-1, 1], rel=0.02)  # it is over after five ticks
    assert speed[2, 1] == pytest.approx(speed[-1, 1] * 2.5 / 5, rel=0.1)  # and grows till then


def test_delays_of_joints_are_those_that_the_condition_names(contract, commands):
    commands(STAND)
    run = run_of(contract, NOMINAL, Condition("calves", delay={"*_calf_joint": 0.01, "FR_*": 0.02}))
    pos = run.engine.qpos[:, run.engine.joint_qpos]
    first = np.full((2, len(contract.robot.joints)), -1)
    for step in range(12):
        torque = run.motors.torque(pos + 0.01, pos, 0 * pos)
        first = np.where((first < 0) & (torque != 0), step, first)
    names = contract.robot.joint_names
    wanted = [10 if n.startswith("FR_") else 5 if "calf" in n else 0 for n in names]
    assert first.tolist() == [[0] * len(names), wanted]


def test_a_condition_that_loses_packets_shows_the_policy_old_states(contract, commands):
    commands(STAND)
    exact = helpers.replace(contract, training=helpers.replace(contract.training, noise={}))
    run = run_of(exact, NOMINAL, Condition("lost", lost=0.5), Condition("late", late=0.04))
    seen = []

    def look(observation):
        seen.append(observation.copy())
        return restless(observation)

    for _ in range(100):
        run.tick(look, scored=False)
    place = run.observer.layout.slices["joint_pos_error"]
    joints = np.array(seen)[:, :, place]
    repeated = (joints[1:] == joints[:-1]).all(axis=2).mean(axis=0)
    assert repeated[0] == 0.0
    assert repeated[1] == pytest.approx(0.5, abs=0.15)
    assert 0.1 < repeated[2] < 0.5


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (
            {"delay": {"knee": 0.01}},
            "`evaluation.conditions.corner.delay`: no joint is named 'knee'",
        ),
        ({"delay": {"*_calf_joint": -1}}, "corner.delay.*_calf_joint`: -1 must be at least 0"),
        ({"solver": "gauss"}, "corner.solver`: Invalid enum value 'gauss'"),
        ({"motors": "perfect"}, "corner.motors`: Invalid enum value 'perfect'"),
        ({"lost": 1.0}, "corner.lost`: 1.0 must be below 1"),
        ({"late": 2.0}, "corner.late`: 2.0 must be at most 0.5"),
        ({"punch": -3.0}, "corner.punch`: -3.0 must be at least 0"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_in_a_sentence(contract, condition, text):
    with pytest.raises(InputError, match=re.escape(text)):
        evaluate.plan(with_section(contract, conditions={"nominal": {}, "corner": condition}))


def test_a_payload_that_leaves_the_base_no_mass_is_refused(contract, commands):
    commands(STAND)
    with pytest.raises(InputError, match="condition 'light': a payload of -50 kg leaves the base"):
        run_of(contract, NOMINAL, Condition("light", payload=-50.0))


def test_the_shortest_time_between_punches_that_is_taken_lets_go(contract, commands):
    """One control period of six is without a force."""
    commands(STAND)
    section = {"push_every": 0.12, "conditions": {"hit": {"punch": 50.0}}}
    planned = evaluate.plan(with_section(contract, **section))
    run = run_of(contract, *planned.conditions)
    every = trials.ticks(planned.push_every, contract.control_period)
    felt = []
    for ticks in range(every, 3 * every):
        run.applied.disturb(ticks, every, np.random.default_rng(0))
        felt.append(bool(np.any(run.engine._forces)))
    assert felt == 2 * ([True] * (every - 1) + [False])
