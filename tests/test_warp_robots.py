"""Other robots and tasks on mujoco_warp, and what a solver that is cut off does there."""

import env_helpers as helpers
import numpy as np
import pytest
import torch
from warp_helpers import N, gaps, pair_of, quiet, simulated

from robot_ppo import config, project
from robot_ppo.derived import walk
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.envs.robot.warp_env import WarpEnv

STEPS = 20
CLOSE = 1e-3
"""Measured after `STEPS`: 3e-6 of Go2, 2e-5 of Spot, 1.2e-4 of G1, in joint accelerations."""
TASKS = {
    "go2_stand_up": frozenset(),  # bodies lie about, and all of them collide
    "h1": {"foot_gap", "sole_level"},  # held arms, a step in place, feet of many geoms
    "g1": {"foot_gap", "sole_level"},
    "spot": frozenset(),
}
"""Task, or robot of the derived `walk` -> fields of the world that it reads on demand."""


@simulated
@pytest.mark.parametrize("name", TASKS)
def test_it_is_the_same_robot_on_both(name):
    own = name.startswith("go2")
    task = quiet(config.load_task(name if own else walk.resolve(name).named))
    plain, twin = pair_of(task, project.load_robot(task.robot))
    assert set(plain.reader.fields) == TASKS[name] == set(twin.reader.fields)
    rng = np.random.default_rng(0)
    for action in rng.normal(0, 0.3, (STEPS, N, plain.actions.size)).astype(np.float32):
        found = gaps(plain, twin, action)
    assert plain.seen[0].foot_contact.any()
    for field, values in found.items():
        assert values.max() < CLOSE, field
    assert twin.engine.cut_short() == 0


@simulated
def test_how_long_feet_are_up_and_how_high_the_base_is_are_the_same():
    task = helpers.shipped().task
    rewards = task.rewards | {"feet_air_time": {"weight": 1.0, "threshold": 0.1}}
    words = {"rewards": rewards, "terminations": {"base_contact": {}}}
    plain, twin = pair_of(quiet(helpers.replace(task, **words)), helpers.robot())
    for action in helpers.random_actions(15, N):
        found = gaps(plain, twin, action)
        assert found["air_time"].max() < 1e-6
        assert found["base_clearance"].max() < 1e-6
    some = np.array([2, 5])
    for env in (plain, twin):
        env._begin(some)
    gaps(plain, twin, action)
    assert plain.seen[0].air_time[some].max() <= np.float32(0.02)


@simulated
def test_three_iterations_come_as_near_to_the_converged_solver_as_on_the_cpu():
    """Of half of 64 robots after a control step, measured: 2.4e-4, and 4.6e-4 on the CPU."""
    task = helpers.shipped().task
    cut = quiet(task, iterations=3, ls_iterations=6)
    robot = helpers.robot()
    whole, plain = (RobotEnv(t, robot, 64, 1, 4) for t in (quiet(task), cut))
    twin = WarpEnv(cut, robot, 64, 4, "cpu")
    action = helpers.random_actions(1, 64, size=0.3)[0]
    for env in (whole, plain, twin):
        env.step(torch.from_numpy(action) if env is twin else action)
    ours, theirs = (np.asarray(env.engine.qpos) - whole.engine.qpos for env in (plain, twin))
    off = [float(np.median(np.abs(gap).max(axis=1))) for gap in (ours, theirs)]
    assert off[1] < 1.2 * off[0]
    assert min(off) > 1e-5  # negative control: they are cut off
