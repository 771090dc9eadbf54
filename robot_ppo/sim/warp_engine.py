"""n simulations of one model on mujoco_warp: state and fields are torch tensors on its device.

    engine = WarpEngine(model, n=4096, device="cuda")
    engine.ctrl[:] = controls                   # a tensor on that device
    diverged = engine.advance(substeps=5)
    engine.restart(diverged)

The extra `gpu` has what it needs. Without a GPU there is `device="cpu"`, on which the tests compare
it with `mujoco.batch`; mujoco_warp computes in single precision, so the two drift apart
(docs/scaling.md). It was not run on a GPU.
"""

import copy
import importlib
import importlib.util
import time
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robot_ppo.sim.engine import FASTEST
from robot_ppo_export.errors import InputError

STATE = ("time", "qpos", "qvel", "act", "history", "qacc_warmstart", "ctrl", "xfrc_applied")
"""Fields of the state that the next steps depend on, beside the model."""
CONSTANTS = (
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "tendon_length0",
    "tendon_invweight0",
    "actuator_acc0",
)
"""Fields that MuJoCo derives from others; those that differ between simulations with them."""
LEAST_ROOM = 64
"""Contacts, and rows of constraints, that every simulation may have."""
MISSING = "physics on `mujoco_warp` needs it and warp: pip install 'robot-ppo[train,gpu]'"


def missing() -> str | None:
    """Return the sentence about what is not installed; None: all is."""
    found = all(importlib.util.find_spec(name) for name in ("warp", "mujoco_warp"))
    return None if found else MISSING


class WarpEngine:
    """n simulations on one device; their arrays are views of what mujoco_warp works on."""

    def __init__(
        self, model: mujoco.MjModel, n: int, device: str = "cuda", fields: tuple[str, ...] = ()
    ) -> None:
        """Allocate the simulations in the model's default state.

        Args:
            model: is copied.
            n: number of simulations.
            device: "cuda", "cuda:1" or "cpu".
            fields: of the model, with a value per simulation.

        Raises:
            InputError: mujoco_warp is missing, or cannot do what the model asks for.
        """
        if (sentence := missing()) is not None:
            raise InputError(sentence)
        self._warp: Any = importlib.import_module("warp")
        self._warp.config.log_level = self._warp.LOG_WARNING  # no line for each kernel
        self._mjw: Any = importlib.import_module("mujoco_warp")
        self.model = copy.copy(model)
        # mujoco_warp never puts a simulation back by itself, and does not know the flag for that.
        self.model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.n = n
        try:
            self._device = self._warp.get_device(device)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"no device {device!r} for mujoco_warp: {error}") from None
        derived = set(fields) & set(mujoco.MjModel._setconst_inputs)
        constants = CONSTANTS if derived else ()
        with self._warp.ScopedDevice(self._device):
            try:
                self._m = self._mjw.put_model(self.model, dict.fromkeys((*fields, *constants), n))
            except (NotImplementedError, ValueError) as error:
                raise InputError(f"mujoco_warp cannot run this model: {error}") from None
            self._m.opt.warn_overflow = 0  # no line for each step that is cut short
            self._d = self._mjw.make_data(self.model, nworld=n, **_room(self.model))
        self.restart(np.arange(n))
        to_torch = self._warp.to_torch
        self._state = {name: to_torch(getattr(self._d, name)) for name in STATE}
        self.qpos: Tensor = self._state["qpos"]
        """(n, nq)"""
        self.qvel: Tensor = self._state["qvel"]
        """(n, nv)"""
        self.ctrl: Tensor = self._state["ctrl"]
        """(n, nu)"""
        self.sensordata: Tensor = to_torch(self._d.sensordata)
        """(n, nsensordata), of the state before the last physics step"""
        self.fields: dict[str, Tensor] = {f: to_torch(getattr(self._m, f)) for f in fields}
        """Field -> (n, ...); `derive` after a write."""
        self.constants: dict[str, Tensor] = {c: to_torch(getattr(self._m, c)) for c in constants}
        """What MuJoCo derives from them -> (n, ...)."""
        self.seconds = 0.0
        """Wall-clock time spent in physics steps [s]."""

    def advance(self, substeps: int = 1) -> np.ndarray:
        """Run physics steps; return the sorted ids of simulations that have diverged."""
        begin = time.perf_counter()
        with self._warp.ScopedDevice(self._device):
            for _ in range(substeps):
                self._mjw.step(self._m, self._d)
            self._warp.synchronize_device()
        self.seconds += time.perf_counter() - begin
        sane = (self.qvel.abs() <= FASTEST).all(dim=1) & self.qpos.isfinite().all(dim=1)
        return torch.nonzero(~sane)[:, 0].cpu().numpy()

    def restart(self, ids: np.ndarray, keyframe: int = -1) -> None:
        """Put simulations `ids` back to a keyframe, or to the model's default state (-1)."""
        if not len(ids):
            return
        chosen = np.zeros(self.n, bool)
        chosen[ids] = True
        with self._warp.ScopedDevice(self._device):
            if keyframe < 0:
                mask = self._warp.array(chosen, dtype=bool)
                self._mjw.reset_data(self._m, self._d, reset=mask)
            else:
                keys = np.where(chosen, keyframe, -1)
                self._mjw.reset_data_keyframe(self._m, self._d, self._warp.array(keys, dtype=int))

    def derive(self) -> None:
        """Compute again what MuJoCo derives from `fields`; what moves stays where it is."""
        with self._warp.ScopedDevice(self._device):
            self._mjw.set_const(self._m, self._d)

    def cut_short(self) -> int:
        """Return of how many simulations a step had no room for all contacts, since the start."""
        kinds = self._mjw.OverflowType
        asked_for = kinds.ITERATIONS | kinds.LS_ITERATIONS  # the model's own limits
        flags = self._warp.to_torch(self._d.overflow)
        return int(((flags & ~int(asked_for)) != 0).sum())

    def arrays(self) -> dict[str, Any]:
        """Return the tensors that the next steps depend on, not copies."""
        return {"simulations": self._state, "fields": self.fields, "constants": self.constants}

    def ray(
        self,
        points_w: Tensor,
        directions_w: Tensor,
        ids: np.ndarray | None = None,
        groups: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Return how far it is from points to the nearest geom along rays [m].

        Args:
            points_w: origins (m, k, 3), or what broadcasts to it.
            directions_w: unit vectors (m, k, 3), or what broadcasts to it.
            ids: the m simulations; None: all. The rays of the others are cast, too.
            groups: geom groups that are met; None: all.

        Returns:
            (m, k); infinite where a ray meets nothing.
        """
        points, directions = torch.broadcast_tensors(points_w, directions_w)
        rays = points.shape[-2]
        own = self._rays(points, ids, rays)
        along = self._rays(directions, ids, rays)
        with self._warp.ScopedDevice(self._device):
            distance = self._cast(own, along, rays, groups)
        found = distance if ids is None else distance[torch.from_numpy(ids).to(distance.device)]
        return torch.where(found < 0, torch.inf, found)

    def _rays(self, values: Tensor, ids: np.ndarray | None, rays: int) -> Any:
        """Return (n, k) vectors of Warp; those of simulations that are not asked are (0, 0, 1)."""
        count = self.n if ids is None else len(ids)
        own = values.expand(count, rays, 3).to(self.qpos.device, torch.float32)
        everywhere = torch.tensor([0.0, 0.0, 1.0], device=own.device).repeat(self.n, rays, 1)
        everywhere[... if ids is None else torch.from_numpy(ids).to(own.device)] = own
        return self._warp.from_torch(everywhere.contiguous(), dtype=self._warp.vec3)

    def _cast(
        self,
        points: Any,
        directions: Any,
        rays: int,
        groups: tuple[int, ...] | None,
    ) -> Tensor:
        vec6 = self._warp.types.vector(length=mujoco.mjNGROUP, dtype=float)
        met = [-1 if groups is None else int(g in groups) for g in range(mujoco.mjNGROUP)]
        shape = (self.n, rays)
        distance = self._warp.empty(shape, dtype=float)
        geom = self._warp.empty(shape, dtype=int)
        normal = self._warp.empty(shape, dtype=self._warp.vec3)
        nobody = self._warp.full(rays, -1, dtype=int)
        args = (points, directions, vec6(*met), True, nobody, distance, geom, normal)
        self._mjw.rays(self._m, self._d, *args)
        return self._warp.to_torch(distance)


def _room(model: mujoco.MjModel) -> dict[str, int]:
    """Return how many contacts and rows of constraints a simulation may have at least.

    mujoco_warp leaves out what is beyond them, and its own guess is some fifty contacts and rows of
    any robot. Every geom that moves and can touch something may touch the ground.
    """
    kinds = mujoco.mjtGeom
    few = {kinds.mjGEOM_SPHERE: 1, kinds.mjGEOM_CAPSULE: 2}
    touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    moving = model.body_weldid[model.geom_bodyid] > 0
    geoms = np.flatnonzero(touching & moving)
    contacts = sum(few.get(kinds(int(model.geom_type[geom])), 4) for geom in geoms)
    most = int(model.geom_condim[geoms].max(initial=1))
    rows = contacts * max(1, 2 * (most - 1))
    rows += int((model.dof_frictionloss > 0).sum()) + int((model.jnt_limited != 0).sum())
    return {"nconmax": max(LEAST_ROOM, contacts), "njmax": max(LEAST_ROOM, rows)}
