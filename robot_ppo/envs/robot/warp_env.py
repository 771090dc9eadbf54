"""`RobotEnv` on mujoco_warp: physics, observations and rewards are tensors on one device.

    env = WarpEnv(task, robot, num_envs=4096, seed=1, device="cuda")
    observation, reward, failed, truncated, info = env.step(actions)    # actions: a tensor there

The terms are the same functions. On the device are physics, what is read of it, terms, histories,
sums of episodes, and the noise of sensors, which torch draws there. In numpy, on the CPU, stays
what is small and drawn: commands, gait clocks, starts of episodes with their randomization, clocks
of events. Of a control step commands and phases go to the device, and the ids of what diverged,
failures and rewards come back, for which the device is waited for. `failed` and `truncated` are
numpy's.

It was not run on a GPU: the tests run it on the CPU (`device="cpu"`), beside `RobotEnv`.
"""

import logging
from typing import Any, Literal

import mujoco
import numpy as np
import torch
from torch import Tensor

from robot_ppo.config import Task
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.sim import sensors
from robot_ppo.sim.device import Device
from robot_ppo.sim.fields import PACKET_FIELDS
from robot_ppo.sim.warp_robot import WarpRobot
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.contract.strict import SettingError

log = logging.getLogger(__name__)
REMEDY = "leave `engine: warp` out, or this"
_SEEDS = 2**62


class WarpEnv(RobotEnv):
    """n robots at one task, on one device; see `RobotEnv` for what it returns."""

    engine: WarpRobot  # type: ignore[assignment]  # has of `RobotEngine` what is called here

    def __init__(
        self,
        task: Task,
        robot: RobotSpec,
        num_envs: int,
        seed: int | None = None,
        device: str = "cuda",
    ) -> None:
        """Resolve every name that the task uses, and compile the training model.

        Raises:
            SettingError: the task has a part that only the CPU's simulations have.
        """
        check(task)
        self.device = Device.of_torch(device)
        self._warned = False
        super().__init__(task, robot, num_envs, 1, seed)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start every episode anew; see `BatchEnv.reset`."""
        with _plain(), torch.no_grad():
            return super().reset(seed=seed, options=options)

    def step(self, actions: Array) -> tuple[Array, Array, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance one control period; `actions` (n, actions), a tensor or an array."""
        with _plain(), torch.no_grad():
            return super().step(actions)

    def _taken(self, actions: Array, order: Literal["C", "F"] = "C") -> tuple[Tensor, np.ndarray]:
        """Return a copy of actions (n, k), float32, and the ids of those that are not finite."""
        taken = torch.asarray(
            actions, dtype=torch.float32, device=self.device.name, copy=True, requires_grad=False
        )
        self._check_shape(taken.shape)
        finite = taken.isfinite().all(dim=1)
        return taken.where(finite[:, None], 0.0), np.flatnonzero(~self.device.fetch(finite))

    def _add_noise(self, state: RobotState) -> None:
        """Add noise that the device draws; the environment's generator gives the seed."""
        if not self._noise:
            return
        generator = torch.Generator(self.device.name)
        generator.manual_seed(int(self._rng.integers(_SEEDS)))

        def draw(shape: tuple[int, ...]) -> Tensor:
            return 2 * torch.rand(shape, generator=generator, device=self.device.name) - 1

        sensors.add_drawn_noise(state, self._noise, draw)

    def _figures(self) -> dict[str, float]:
        """Return the levels of the curriculum, and warn where physics was cut short."""
        cut = 0 if self._warned else self.engine.cut_short()
        if cut:
            self._warned = True
            log.warning(
                "mujoco_warp left out contacts of %d simulations, for which it has no room; with "
                "`task.physics.collisions: feet` it has",
                cut,
            )
        return super()._figures()

    def _build_engine(self, compiled: mujoco.MjModel, threads: int) -> WarpRobot:
        """Return the simulations, whose randomized fields vary."""
        fields = self.randomizer.fields
        name = self.device.name or "cpu"
        return WarpRobot(compiled, self.robot, self.num_envs, self.substeps, fields, name)


def _plain() -> Any:
    """Make tensors that may be changed in place later: those of inference mode may not."""
    return torch.inference_mode(False)


def check(task: Task) -> None:
    """Raise `SettingError` for a part of a task that only the CPU's simulations have."""
    if task.terrain is not None:
        raise SettingError("task.terrain", f"mujoco_warp's robots stand on a plane; {REMEDY}")
    for group, terms in task.observations.items():
        for name in terms.keys() & {"height_scan", "height_scan_true"}:
            key = f"task.observations.{group}.{name}"
            raise SettingError(key, f"mujoco_warp's robots scan no ground; {REMEDY}")
    for moment in ("start", "reset"):
        for name in PACKET_FIELDS:
            if name in getattr(task.events, moment):
                key = f"task.events.{moment}.{name}"
                raise SettingError(key, f"mujoco_warp's robots lose no packets; {REMEDY}")
