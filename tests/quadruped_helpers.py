"""A small quadruped of eight joints for the tests of robot files, as MJCF text and robot.yaml data.

The hips are 0.2 m ahead and behind, thigh and calf 0.2 m long, the feet balls of 2 cm. In the
default pose, thigh 0.6 rad and calf -1.2 rad, each foot is below its hip.
"""

import copy
import math
from pathlib import Path

from robot_ppo.config import Physics
from robot_ppo.robot_model import source, variants
from robot_ppo_export.contract import spec
from robot_ppo_export.contract.spec import RobotSpec

LEGS = {"FR": (0.2, -0.1), "FL": (0.2, 0.1), "RR": (-0.2, -0.1), "RL": (-0.2, 0.1)}
HEIGHT = 0.4 * math.cos(0.6) + 0.02
POSE = {f"{leg}_{joint}": angle for leg in LEGS for joint, angle in (("hip", 0.6), ("knee", -1.2))}

LEG = """
    <body name="{leg}_thigh" pos="{x} {y} 0">
      <inertial mass="0.5" pos="0 0 -0.1" diaginertia="0.002 0.002 0.0005"/>
      <joint name="{leg}_hip" axis="0 1 0" range="-1.5 1.5"/>
      <geom name="{leg}_thigh" type="capsule" size="0.02" fromto="0 0 -0.03 0 0 -0.17"/>
      <body name="{leg}_calf" pos="0 0 -0.2">
        <inertial mass="0.2" pos="0 0 -0.1" diaginertia="0.001 0.001 0.0001"/>
        <joint name="{leg}_knee" axis="0 1 0" range="-2.5 -0.1"/>
        <geom name="{leg}" size="0.02" pos="0 0 -0.2"/>
      </body>
    </body>"""

TEXT = """<mujoco model="dog">
  <compiler angle="radian"/>
  <option timestep="0.002"/>
  <default>
    <joint damping="0.1" armature="0.01"/>
    <geom contype="0" conaffinity="1" friction="0.7"/>
  </default>
  <worldbody>
  <body name="trunk" pos="0 0 0.4">
    <freejoint name="root"/>
    <inertial mass="5" pos="0 0 0" diaginertia="0.05 0.1 0.1"/>
    <geom name="trunk" type="box" size="0.2 0.08 0.05"/>
    <site name="imu"/>{legs}
  </body>
  </worldbody>
  <actuator>{motors}
  </actuator>
</mujoco>"""


def mjcf(*edits: tuple[str, str]) -> str:
    """Return the quadruped with texts replaced, each wherever it stands."""
    legs = "".join(LEG.format(leg=leg, x=x, y=y) for leg, (x, y) in LEGS.items())
    motors = "".join(f'\n    <motor name="{joint}" joint="{joint}"/>' for joint in POSE)
    text = TEXT.format(legs=legs, motors=motors)
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def robot(**changes) -> RobotSpec:
    """Return its robot.yaml, with top-level keys changed."""
    joints = [
        {
            "name": name,
            "default": angle,
            "range": [-1.5, 1.5] if name.endswith("hip") else [-2.5, -0.1],
            "velocity_limit": 20.0,
            "torque_limit": 20.0,
            "kp": 40.0,
            "kd": 1.0,
        }
        for name, angle in POSE.items()
    ]
    data = {
        "name": "dog",
        "description": "a quadruped of eight joints",
        "model": "dog.xml",
        "base": {"body": "trunk", "height": HEIGHT},
        "imu": {"site": "imu"},
        "feet": list(LEGS),
        "joints": joints,
        "stand": {"kp": 50.0, "kd": 2.0, "duration": 2.0},
        "damping": {"kd": 2.0},
        "safety": {
            "max_tilt": 1.0,
            "max_angular_rate": 12.0,
            "max_target_step": 1.0,
            "joint_range_margin": 0.05,
            "stale_after": 0.1,
            "frozen_ticks": 5,
            "max_missed_deadlines": 5,
        },
        "life_cycle": {"start": "standing"},
    }
    return spec.from_data(copy.deepcopy(data) | changes, "robot.yaml")


def write(folder: Path, text: str) -> Path:
    path = folder / "dog.xml"
    path.write_text(text)
    return path


def models(path: Path, described: RobotSpec):
    """Return (what the file says, the training model, the evaluation model)."""
    train = variants.train_model(described, path, Physics(timestep=0.005), max_delay=0.02)
    return source.read(path).model, train, variants.eval_model(described, path)
