"""What `robot-ppo import` takes for a foot: the file's own shapes, wherever it can."""

import re

import numpy as np
import pytest
from import_helpers import URDF, imported

from robot_ppo.robot_model import source
from robot_ppo.robot_model.importing import drawing, tree
from robot_ppo_export.contract import spec

BALL = '<collision><origin xyz="0 0 0"/><geometry><sphere radius="0.02"/></geometry></collision>'


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """A picture takes a second."""
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())


def load(folder):
    robot = spec.load(folder / "robot.yaml")
    return robot, source.read(folder / robot.model).model


def collision(geometry_, at="0 0 0", turn="0 0 0"):
    return (
        f'<collision><origin xyz="{at}" rpy="{turn}"/><geometry>{geometry_}</geometry></collision>'
    )


def with_toes(*shapes):
    """Return the quadruped with other shapes at the end of each leg."""
    text = re.sub(r'(_toe">.*?)' + re.escape(BALL), r"\1" + "".join(shapes), URDF)
    assert text.count("".join(shapes)) == 4
    return text


def test_what_holds_arrays_is_equal_to_itself_alone():
    one, two = (tree.Shape("sphere", np.ones(3), tree.Pose(), True) for _ in range(2))
    assert one in (two, one) and one not in (two,)
    first, second = (tree.Joint("knee", np.ones(3)) for _ in range(2))
    assert first != second and first.pos is not second.pos


def test_a_knee_and_a_foot_of_equal_balls_are_two(tmp_path):
    text = URDF.replace(
        '<cylinder radius="0.015" length="0.1"/></geometry></collision>',
        '<cylinder radius="0.015" length="0.1"/></geometry></collision>'
        + collision('<sphere radius="0.02"/>'),
    )
    _, model = load(imported(tmp_path, text, "dog.urdf"))
    assert model.geom("FL_calf").pos[2] == -0.2
    assert model.geom("FL_calf_collision_2").pos[2] == 0.0
