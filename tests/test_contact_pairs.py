"""Pairs that are worked out beforehand: the physics of the same model, to the last bit."""

import warnings

import mujoco
import numpy as np
import pytest

from robot_ppo.envs.gymnasium import contact_pairs
from robot_ppo.envs.gymnasium.gym_tasks import TASKS
from robot_ppo.envs.gymnasium.mujoco_env import MODELS

SUBSTEPS = 4000
PRONE = 1000
"""Substeps of an episode: the humanoid falls after some 100, and then lies on hands and knees."""

MIXED = """
<mujoco>
  <compiler autolimits="true"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1" condim="1" friction=".3 .01 .001" margin=".004"/>
    <geom type="box" size=".3 .3 .05" pos=".5 0 .05" condim="4" solmix="3" solref=".01 .8"/>
    <body pos="0 0 .4">
      <freejoint/>
      <geom type="capsule" size=".08" fromto="-.2 0 0 .2 0 0" friction=".9 .02 .002"/>
      <geom type="sphere" size=".1" pos="0 0 .15" priority="2" condim="6" friction="1.4 .1 .01"/>
      <body name="carried" pos=".25 0 0">
        <joint type="hinge" axis="0 1 0" range="-60 60"/>
        <geom type="capsule" size=".07" fromto="0 0 0 .3 0 0" solref="-900 -30" gap=".001"/>
      </body>
      <body name="welded" pos="-.25 0 0">
        <geom type="sphere" size=".09" contype="2" conaffinity="5"/>
      </body>
    </body>
    <body name="alone" pos=".1 .1 .9" euler="20 0 0">
      <freejoint/>
      <geom type="box" size=".1 .1 .1" solmix="0" solref=".03 1"/>
      <geom type="sphere" size=".12" pos=".15 0 0" contype="0" conaffinity="1" solmix="0"/>
    </body>
    <body name="excluded" pos=".05 .1 1.3">
      <freejoint/>
      <geom type="sphere" size=".12" margin=".01"/>
    </body>
  </worldbody>
  <contact>
    <exclude body1="alone" body2="excluded"/>
  </contact>
</mujoco>
"""
"""Everything that decides who touches whom, and how."""
EXCLUDED = {6, 8}
"""Two of its geoms that would touch but for <exclude>."""


def models(make):
    """Return the model as MuJoCo reads it, and the one with pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Gymnasium's files
        return make().compile(), contact_pairs.predefined(make())


def first_difference(plain, paired, episode, push=0.0):
    """Return the first substep after which something differs, or None, and how many contacts."""
    rng, contacts = np.random.default_rng(5), 0
    a, b = mujoco.MjData(plain), mujoco.MjData(paired)
    for t in range(SUBSTEPS):
        if t % episode == 0:
            mujoco.mj_resetData(plain, a)
            mujoco.mj_resetData(paired, b)
        if t % 10 == 0:
            a.ctrl[:] = b.ctrl[:] = rng.uniform(-1, 1, plain.nu)
            a.qfrc_applied[:] = b.qfrc_applied[:] = push * rng.normal(0, 1, plain.nv)
        mujoco.mj_step(plain, a)
        mujoco.mj_step(paired, b)
        contacts += a.ncon
        same = np.array_equal(a.qpos, b.qpos) and np.array_equal(a.qvel, b.qvel)
        if not same or a.ncon != b.ncon:
            return t, contacts
    return None, contacts


def gymnasium_spec(task):
    return lambda: mujoco.MjSpec.from_file(str(MODELS / TASKS[task].xml))


@pytest.mark.parametrize(
    ("task", "push"),
    [("Ant-v5", 0.0), ("HalfCheetah-v5", 0.0), ("Humanoid-v5", 30.0), ("Walker2d-v5", 0.0)],
)
def test_every_substep_has_the_same_bits(task, push):
    plain, paired = models(gymnasium_spec(task))
    assert paired.npair and not paired.geom_contype.any()
    where, contacts = first_difference(plain, paired, PRONE, push)
    assert where is None and contacts > SUBSTEPS / 4


def test_so_has_a_model_with_every_rule_of_contact():
    """Masks, exclusions, rigid parts, carriers; priorities, mixes, margins and gaps."""
    plain, paired = models(lambda: mujoco.MjSpec.from_string(MIXED))
    assert plain.nexclude == 1
    where, contacts = first_difference(plain, paired, 500, push=8.0)
    assert where is None and contacts > SUBSTEPS


@pytest.mark.parametrize("rule", ["condim", "solref", "solimp", "friction", "margin", "gap"])
def test_a_rule_left_out_is_noticed(rule, monkeypatch):
    """Negative control for the test above."""
    mixed = contact_pairs._mixed
    defaults = {"condim": 3, "solref": [0.02, 1], "solimp": [0.8, 0.9, 0.002, 0.5, 2]}
    defaults |= {"friction": [1, 1, 0.005, 1e-4, 1e-4], "margin": 0.0, "gap": 0.0}
    changed = {rule: defaults[rule]}
    monkeypatch.setattr(contact_pairs, "_mixed", lambda *args: mixed(*args) | changed)
    plain, paired = models(lambda: mujoco.MjSpec.from_string(MIXED))
    assert first_difference(plain, paired, 500, push=8.0)[0] is not None


def test_so_is_a_pair_too_many(monkeypatch):
    may = contact_pairs._may_touch
    monkeypatch.setattr(
        contact_pairs,
        "_may_touch",
        lambda model, a, b: may(model, a, b) or {a, b} == EXCLUDED,
    )
    plain, paired = models(lambda: mujoco.MjSpec.from_string(MIXED))
    assert first_difference(plain, paired, 500, push=8.0)[0] is not None


def test_and_another_order_of_pairs(monkeypatch):
    """Sums of forces round otherwise: a hand and the waist touch the same two bodies."""
    monkeypatch.setattr(contact_pairs, "sorted", lambda items, key=None: [*items], raising=False)
    plain, paired = models(gymnasium_spec("Humanoid-v5"))
    assert first_difference(plain, paired, PRONE, push=30.0)[0] is not None
