"""n simulations of one robot on mujoco_warp: what `RobotEngine` gives, as tensors on its device.

    engine = WarpRobot(train_model, robot, n=4096, substeps=2, fields=fields, device="cuda")
    diverged = engine.step(targets)     # a tensor (n, joints) [rad]; ids to be reset
    state = engine.measure()            # RobotState of tensors
    engine.reset(ids, qpos, qvel, rows) # numpy's arrays

A reset is computed on the CPU, by a `RobotEngine` of a few simulations: forward dynamics of
mujoco_warp run in every simulation, and its constants of varied fields do. Only the rows of those
that start anew go to the device, so the others stay as they are to the bit. A start is that of
`RobotEngine` in single precision.

The model stands on a plane, and its own actuators follow targets. It was not run on a GPU.
"""

from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robot_ppo.robot_model.geometry import Outline
from robot_ppo.sim import ground
from robot_ppo.sim.device import Device
from robot_ppo.sim.fields import MEASUREMENT_FIELDS, PACKET_FIELDS, Rows, measurement
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.sim.robot_readings import RobotReadings
from robot_ppo.sim.warp_engine import WarpEngine
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

STARTERS = 64
"""Simulations on the CPU in which as many episodes start at once."""


class Level:
    """Level ground at height 0, below tensors."""

    def height(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zeros (...,)."""
        return torch.zeros_like(x)


class WarpRobot(RobotReadings, WarpEngine):
    """n simulations of one robot on one device."""

    qpos: Tensor
    qvel: Tensor
    ctrl: Tensor
    sensordata: Tensor

    def __init__(
        self,
        model: mujoco.MjModel,
        robot: RobotSpec,
        n: int,
        substeps: int = 1,
        fields: tuple[str, ...] = (),
        device: str = "cuda",
    ) -> None:
        """Allocate the simulations, all in the keyframe `home`.

        Args:
            model: the training model of the robot, on a plane.
            robot: names and limits.
            n: number of simulations.
            substeps: physics steps per control period.
            fields: those with a value per simulation, as `RobotEngine.vary` takes them.
            device: "cuda", "cuda:1" or "cpu".

        Raises:
            InputError: mujoco_warp is missing, or cannot do what is asked for.
        """
        self._starter = RobotEngine(model, robot, min(n, STARTERS), threads=1)
        if not isinstance(self._starter.ground, ground.Plane):
            raise InputError("mujoco_warp: robots stand on a plane here; leave `engine: warp` out")
        if lacking := set(fields) & set(PACKET_FIELDS):
            raise InputError(f"mujoco_warp: has no {min(lacking)}; leave `engine: warp` out")
        self._starter.vary(fields)
        own = tuple(name for name in fields if name not in MEASUREMENT_FIELDS)
        super().__init__(model, n, device, own)
        self._find_parts(self.model, robot, Device.of_torch(device))
        self.substeps = substeps
        self.ground = Level()
        self._geom_xpos = self._bound("geom_xpos")
        self._read = {"sensordata": self.sensordata, "geom_xpos": self._geom_xpos}
        """What MuJoCo derives and somebody reads -> (n, ...)."""
        self._geom_xmat = None
        if self._feet.needs_rotation:
            self._geom_xmat = self._read["geom_xmat"] = self._bound("geom_xmat")
        self._forces = self._state["xfrc_applied"]
        self._fields = self.fields
        self._measurement = measurement(n, len(robot.joints), self.device)
        self._begin_at_home()

    def _bound(self, name: str) -> Tensor:
        """Return a field of mujoco_warp's data as a tensor, not a copy."""
        return self._warp.to_torch(getattr(self._d, name))

    def _begin_at_home(self) -> None:
        """Put everyone into the keyframe `home`, with the model's own fields."""
        everyone = np.arange(self.n)
        qpos = np.tile(self.model.key(self.home).qpos, (self.n, 1))
        qvel = np.zeros((self.n, self.model.nv))
        names = tuple(self._fields)
        self.reset(everyone, qpos, qvel, self.nominal(names, self.n))

    @property
    def outline(self) -> Outline:
        """The robot's lowest point in any pose, for initial states."""
        return self._starter.outline

    def nominal(self, fields: tuple[str, ...], m: int) -> Rows:
        """Return `m` copies of the model's own values of `fields`, numpy's."""
        return self._starter.nominal(fields, m)

    def step(self, targets: Tensor, substeps: int | None = None) -> np.ndarray:
        """Advance one control period towards `targets` (n, joints) [rad]; return who diverged."""
        self.ctrl.copy_(targets)
        return self.advance(self.substeps if substeps is None else substeps)

    def reset(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, rows: Rows) -> None:
        """Start simulations `ids` anew; what it takes is numpy's.

        Args:
            ids: (m,) sorted.
            qpos: (m, nq).
            qvel: (m, nv).
            rows: values of the varied fields, (m, ...) each.
        """
        for begin in range(0, len(ids), self._starter.n):
            part = slice(begin, begin + self._starter.n)
            some = {name: values[part] for name, values in rows.items()}
            self._reset_some(ids[part], qpos[part], qvel[part], some)

    def _reset_some(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, rows: Rows) -> None:
        """Start no more simulations than there are starters."""
        starter = self._starter
        first = np.arange(len(ids))
        starter.reset(first, qpos, qvel, rows)
        index = self.device.put(ids)
        for name, values in rows.items():
            store = self._measurement if name in self._measurement else self.fields
            self._write(store[name], index, values)
        for name, tensor in self.constants.items():
            derived = starter.batch.expanded(name)
            if derived is not None:
                self._write(tensor, index, derived[first])
        for name, tensor in (self._state | self._read).items():
            self._write(tensor, index, starter.batch.bind(name)[first])

    def _write(self, tensor: Tensor, index: Tensor, values: np.ndarray) -> None:
        """Write rows of numpy's numbers; a matrix may be laid out flat."""
        rows = np.ascontiguousarray(values, np.float32).reshape(len(index), *tensor.shape[1:])
        tensor[index] = self.device.put(rows)

    def _rotations(self) -> Tensor:
        self._starter.watch_soles()
        self._read["xmat"] = self._bound("xmat")
        return self._read["xmat"]

    def arrays(self) -> dict[str, Any]:
        """Return the tensors that the next steps depend on, not copies."""
        return {**super().arrays(), "measurement": self._measurement}

    def derive(self, ids: np.ndarray | None = None) -> None:
        """Do nothing: what follows from varied fields is among the `arrays`."""
