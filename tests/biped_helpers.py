"""A biped that cannot lie down: its files, and policies of random weights for it."""

import itertools
import math
from pathlib import Path

import msgspec
import node_helpers as helpers
import numpy as np
import yaml

from robot_ppo_export import golden, to_onnx
from robot_ppo_export.contract import spec as robot_spec
from robot_ppo_export.contract.layout import Layout, Observer
from robot_ppo_export.contract.state import zeros
from robot_ppo_export.contract.terms import Inputs, gait_phase

JOINTS = [f"{side}_{name}" for side in ("l", "r") for name in ("hip", "knee", "ankle")]
FEET = ["l_sole", "r_sole"]
DEFAULT = {"hip": -0.25, "knee": 0.5, "ankle": -0.25}
RANGE = {"hip": (-1.5, 1.0), "knee": (0.0, 2.2), "ankle": (-0.8, 0.6)}
TORQUE = {"hip": 90.0, "knee": 110.0, "ankle": 50.0}


def _leg(side: str, y: float) -> str:
    def joint(name: str) -> str:
        low, high = RANGE[name]
        torque = TORQUE[name]
        return (
            f'<joint name="{side}_{name}" axis="0 1 0" range="{low} {high}" armature="0.02" '
            f'damping="0.4" actuatorfrcrange="-{torque} {torque}"/>'
        )

    return f"""
      <body name="{side}_upper" pos="0 {y} -0.18">
        <inertial mass="2.5" pos="0 0 -0.12" diaginertia="0.02 0.02 0.004"/>{joint("hip")}
        <geom type="capsule" size="0.04" fromto="0 0 -0.04 0 0 -0.22"/>
        <body name="{side}_lower" pos="0 0 -0.26">
          <inertial mass="1.8" pos="0 0 -0.12" diaginertia="0.015 0.015 0.002"/>{joint("knee")}
          <geom type="capsule" size="0.035" fromto="0 0 -0.03 0 0 -0.2"/>
          <body name="{side}_ankle" pos="0 0 -0.26">
            <inertial mass="0.6" pos="0.02 0 -0.03" diaginertia="0.001 0.002 0.002"/>
            {joint("ankle")}
            <geom name="{side}_sole" type="box" size="0.1 0.04 0.012" pos="0.02 0 -0.04"
                  priority="1"/>
            <site name="{side}_touch" type="box" size="0.105 0.045 0.017" pos="0.02 0 -0.04"/>
          </body>
        </body>
      </body>"""


def height() -> float:
    """Of the base above the ground in the default pose, with level soles [m]."""
    hip = DEFAULT["hip"]
    knee = DEFAULT["knee"]
    return 0.18 + 0.26 * math.cos(hip) + 0.26 * math.cos(hip + knee) + 0.052


def xml() -> str:
    sensors = [
        *(f'<jointpos name="{j}_pos" joint="{j}"/>' for j in JOINTS),
        *(f'<jointvel name="{j}_vel" joint="{j}"/>' for j in JOINTS),
        *(f'<jointactuatorfrc name="{j}_torque" joint="{j}"/>' for j in JOINTS),
        '<framequat name="imu_quat" objtype="site" objname="imu"/>',
        '<gyro name="imu_gyro" site="imu"/><accelerometer name="imu_accel" site="imu"/>',
        *(f'<touch name="{f}_contact" site="{f[0]}_touch"/>' for f in FEET),
    ]
    home = " ".join(str(DEFAULT[j[2:]]) for j in JOINTS)
    motors = "".join(f'<motor name="{j}" joint="{j}"/>' for j in JOINTS)
    return f"""<mujoco model="walker">
  <compiler angle="radian" autolimits="true"/>
  <default><geom group="3" contype="0" conaffinity="1" friction="0.8" mass="0"/></default>
  <worldbody>
    <body name="torso" pos="0 0 {height()}">
      <freejoint name="root"/>
      <inertial mass="14" pos="0 0 0.06" diaginertia="0.4 0.35 0.2"/>
      <site name="imu"/>
      <geom type="box" size="0.07 0.12 0.17"/>
      <geom name="head" type="sphere" size="0.08" pos="0 0 0.28"/>
      {_leg("l", 0.08)}{_leg("r", -0.08)}
    </body>
  </worldbody>
  <actuator>{motors}</actuator>
  <sensor>{"".join(sensors)}</sensor>
  <keyframe><key name="home" qpos="0 0 {height()} 1 0 0 0 {home}"/></keyframe>
</mujoco>"""


def spec(start: str | None) -> dict:
    """robot.yaml as data; without `start` it says nothing of its life cycle."""
    joints = [
        {
            "name": j,
            "default": DEFAULT[j[2:]],
            "range": list(RANGE[j[2:]]),
            "velocity_limit": 20.0,
            "torque_limit": TORQUE[j[2:]],
            "kp": 60.0 if j.endswith("ankle") else 100.0,
            "kd": 2.5,
        }
        for j in JOINTS
    ]
    limits = helpers.robot().safety
    data = {
        "name": "walker",
        "description": "a biped of random weights",
        "model": "walker.xml",
        "units": {"angle": "rad"},
        "base": {"body": "torso", "height": height()},
        "imu": {"site": "imu"},
        "feet": FEET,
        "joints": joints,
        "stand": {"kp": 120.0, "kd": 4.0, "duration": 1.0},
        "damping": {"kd": 3.0},
        "safety": msgspec.to_builtins(limits),
    }
    if start:
        return data | {"life_cycle": {"start": start}}
    return data | {"rest_pose": {j: DEFAULT[j[2:]] for j in JOINTS}}


def write_robot(folder: Path, start: str | None) -> robot_spec.RobotSpec:
    """Write the robot's folder, and return the robot."""
    folder.mkdir(parents=True)
    (folder / "walker.xml").write_text(xml())
    (folder / "robot.yaml").write_text(yaml.safe_dump(spec(start)))
    return robot_spec.load(folder / "robot.yaml")


def write_policy(
    path: Path, robot: robot_spec.RobotSpec, gain: float, robot_model: str = ""
) -> Path:
    """Write a policy of random weights, whose last layer is `gain` times as large as usual."""
    layout = Layout(helpers.TERMS, len(JOINTS))
    normalizer = {"mean": (0.0,) * layout.size, "std": (1.0,) * layout.size}
    contract = helpers.contract()
    contract = msgspec.structs.replace(
        contract,
        task="walker_walk",
        robot=robot,
        layout=tuple(layout.describe()),
        normalizer=msgspec.structs.replace(contract.normalizer, **normalizer),
    )
    network = helpers.actor(layout.size, len(JOINTS))
    network.layers[-1][0][:] *= gain
    data = to_onnx.build(network.blocks(), contract, _traces(contract, network), robot_model)
    path.write_bytes(data)
    return path


def _traces(contract, network):
    observer = Observer(contract.resolve(), ())
    action_map = contract.action_map()
    default = action_map.default_pose
    action = np.zeros(len(JOINTS), "f4")
    inputs = []
    observations = []
    actions = []
    for t in itertools.count():
        if t == golden.MIN_TICKS:
            break
        state = zeros((), len(JOINTS), len(FEET))
        state.joint_pos[:] = default + 0.01 * t
        phase = gait_phase(np.asarray(t), helpers.PERIOD, contract.gait_frequency)
        command = np.full(3, 0.1, "f4")
        inputs.append(Inputs(state, command, action, phase, default))
        observations.append(observer.observe(inputs[-1]))
        action = helpers.forward(network, observations[-1])
        actions.append(action)
    stacked = np.stack(actions)
    recorded = golden.record(inputs, contract.input_names())
    return golden.GoldenTraces(
        recorded, np.stack(observations), stacked, action_map.target(stacked)
    )
