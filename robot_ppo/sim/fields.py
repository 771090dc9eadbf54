"""Model fields that may differ between simulations, and where a robot's objects are in them.

Fields of `MEASUREMENT_FIELDS` are not MuJoCo's: they are what our own sensor arithmetic adds.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from robot_ppo.robot_model.geometry import FootGeometry
from robot_ppo.sim.device import Device
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

Rows = dict[str, np.ndarray]
"""Field name -> values of some simulations, (m, ...)."""

MEASUREMENT_FIELDS = ("encoder_offset", "gyro_bias", "freshness")
"""Fields that our own sensor arithmetic adds to MuJoCo's: an offset (n, joints) [rad], a bias
(n, 3) [rad/s], and the fraction of the present in what is measured (n, 1)."""


def measurement(n: int, joints: int, device: Device) -> dict[str, Array]:
    """Return `MEASUREMENT_FIELDS` of n simulations, all zero."""
    sizes = zip(MEASUREMENT_FIELDS, (joints, 3, 1), strict=True)
    return {name: device.zeros(n, size) for name, size in sizes}


PACKET_FIELDS = ("packet_loss", "packet_delay")
"""Fields of state packets (`packets.py`): the probability that one is lost (n, 1), and the longest
time that it is late (n, 1) [s]."""

FACTORS = {
    "dof_damping": "joint_damping",
    "dof_frictionloss": "friction_loss",
    "dof_armature": "armature",
}
"""Fields that a randomization multiplies, and its name; a field that is 0 would stay 0."""


def check_factors(model: mujoco.MjModel, robot: RobotSpec, fields: tuple[str, ...]) -> None:
    """Raise `InputError` where one of `fields` is to be multiplied and is 0."""
    for field in (field for field in fields if field in FACTORS):
        for name in robot.joint_names:
            if not getattr(model, field)[model.joint(name).dofadr[0]] > 0:
                what = field.removeprefix("dof_")
                randomization = FACTORS[field]
                raise InputError(
                    f"the joint {name!r} has no {what} in {robot.model}, and the task's "
                    f"randomization {randomization!r} is a factor on it: give the joint a figure, "
                    "or leave the randomization out"
                )


@dataclass(frozen=True)
class Ids:
    """Indices of a robot's objects in the model's arrays."""

    feet: np.ndarray
    """Geoms of all feet."""
    base: int
    links: np.ndarray
    """Bodies that move, base included."""
    dofs: np.ndarray
    imu: int
    timestep: float
    """Physics step [s]."""
    delayed: np.ndarray
    """Sensors with a history buffer."""

    @classmethod
    def of(cls, model: mujoco.MjModel, robot: RobotSpec) -> "Ids":
        """Find them by name."""
        return cls(
            feet=FootGeometry(model, robot).geoms,
            base=model.body(robot.base.body).id,
            links=np.arange(1, model.nbody),
            dofs=np.array([model.joint(name).dofadr[0] for name in robot.joint_names]),
            imu=model.site(robot.imu.site).id,
            timestep=float(model.opt.timestep),
            delayed=np.flatnonzero(model.sensor_history[:, 0]),
        )
