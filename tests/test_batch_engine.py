"""The engines: equal to mj_step, one meaning of diverged, rays."""

import mujoco
import numpy as np
import pytest

from robot_ppo.sim.batch_engine import BatchEngine
from robot_ppo.sim.engine import FASTEST, Engine
from robot_ppo.sim.single_engine import SingleEngine

SCENE = """
<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <geom name="step" type="box" size="0.5 0.5 0.1" pos="2 0 0.1" group="1"/>
    <body pos="0 0 1"><freejoint/><geom size="0.1" group="2"/></body>
  </worldbody>
  <keyframe><key name="high" qpos="0 0 5 1 0 0 0"/></keyframe>
</mujoco>
"""
DOWN = np.array([0.0, 0.0, -1.0])


def batch(n=3):
    return BatchEngine(mujoco.MjModel.from_xml_string(SCENE), n, threads=1)


def single(n=1):
    return SingleEngine(mujoco.MjModel.from_xml_string(SCENE))


@pytest.fixture
def engine():
    return batch()


@pytest.mark.parametrize("make", [batch, single])
class TestEngine:
    """What every engine promises: the tests belong to the protocol."""

    def test_a_step_is_mujocos_step(self, make):
        engine: Engine = make()  # pyright holds the signatures
        model = mujoco.MjModel.from_xml_string(SCENE)
        data = mujoco.MjData(model)
        for _ in range(300):  # until after the fall
            mujoco.mj_step(model, data)
        assert not engine.advance(300).size
        for row in range(engine.n):
            assert np.array_equal(engine.qpos[row], data.qpos)
            assert np.array_equal(engine.qvel[row], data.qvel)
        assert engine.seconds > 0

    @pytest.mark.parametrize("speed", [np.nan, np.inf, 1.01 * FASTEST, -1.01 * FASTEST])
    def test_what_is_not_finite_or_too_fast_has_diverged_and_stays_so(self, make, speed):
        """MuJoCo by itself would put it back to its start in the middle of an episode."""
        engine = make()
        last = engine.n - 1
        engine.qvel[last, 0] = speed
        assert engine.advance().tolist() == [last]
        assert not abs(engine.qvel[last, 0]) <= FASTEST
        engine.restart(np.array([last]))
        assert np.array_equal(engine.qpos[last], engine.model.qpos0)
        assert not engine.advance().size

    def test_a_fast_simulation_within_the_bound_goes_on(self, make):
        engine = make()
        engine.qvel[0, 0] = 0.99 * FASTEST
        assert not engine.advance().size

    def test_a_restart_goes_to_a_keyframe(self, make):
        engine = make()
        engine.advance(10)
        engine.restart(np.zeros(0, int))
        assert engine.qpos[0, 2] < 1
        engine.restart(np.array([0]), engine.model.key("high").id)
        assert engine.qpos[0, 2] == 5.0

    def test_rays_measure_the_height_of_plane_and_box(self, make):
        """From 3 m: the floor is 3 m away, the top of the box 2.8 m; above there is nothing."""
        engine = make()
        points = np.array([[5.0, 0, 3], [2.0, 0, 3], [2.49, 0, 3], [2.51, 0, 3]])
        distance = engine.ray(points, DOWN, groups=(0, 1))
        assert distance == pytest.approx(np.tile([3.0, 2.8, 2.8, 3.0], (engine.n, 1)))
        assert np.isinf(engine.ray(points, -DOWN)).all()


def test_what_diverges_leaves_the_others_as_they_are(engine):
    healthy = batch()
    engine.qvel[1, 0] = np.nan
    engine.advance()
    healthy.advance()
    assert np.array_equal(engine.qpos[[0, 2]], healthy.qpos[[0, 2]])


def test_a_restart_goes_to_a_keyframe_and_touches_nobody_else(engine):
    engine.advance(10)
    before = engine.qpos[[0, 2]].copy()
    engine.restart(np.array([1]), engine.model.key("high").id)
    assert engine.qpos[1, 2] == 5.0
    assert np.array_equal(engine.qpos[[0, 2]], before)
    engine.restart(np.zeros(0, int))
    assert np.array_equal(engine.qpos[[0, 2]], before)


def test_rays_can_leave_out_the_robots_own_geoms(engine):
    above = np.array([[0.0, 0.0, 3.0]])
    rows = np.array([0, 2])
    assert engine.ray(above, DOWN, ids=rows) == pytest.approx(np.full((2, 1), 1.9))
    assert engine.ray(above, DOWN, ids=rows, groups=(0, 1)) == pytest.approx(np.full((2, 1), 3.0))
