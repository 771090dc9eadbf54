"""Gymnasium's ten MuJoCo tasks, version 5: what they see, pay, end on and start from.

    task = TASKS["HalfCheetah-v5"](model)
    observation = task.observe(state)                           # (n, size) float64
    reward, terms = task.reward(state, velocity, action, failed)

Constants and formulas are those of `gymnasium.envs.mujoco` with default arguments, over n rows at
once, in an order of operations that gives the same bits. What MuJoCo derives (positions of bodies,
contact forces) describes, as there, the state before the last physics substep; `qpos` and `qvel`
are current.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Terms = dict[str, np.ndarray]
Start = tuple[np.ndarray, np.ndarray]


class State(NamedTuple):
    """Rows of simulations, float64."""

    qpos: np.ndarray
    """(n, nq)"""
    qvel: np.ndarray
    """(n, nv)"""
    derived: dict[str, np.ndarray]
    """MuJoCo's names -> (n, ...): what the task lists in `derived`, and `cfrc_ext`."""


class MujocoTask:
    """Settings that the tasks share. One that runs forward is paid for its velocity."""

    xml: str
    frame_skip = 5
    """Physics substeps per action."""
    max_steps = 1000
    """Number of actions after which an episode is cut off."""
    derived: tuple[str, ...] = ()
    """Fields of MjData that the task reads."""
    islands = False
    """True where MuJoCo must look for groups of constraints: one kinematic tree has one, and the
    same bits come out up to a tenth faster without the search."""
    contact_forces = False
    """True where the task reads `cfrc_ext`, which MuJoCo computes only on request."""
    terms: tuple[str, ...] = ("forward", "ctrl")
    """Parts of the reward, for the log."""
    forward_weight = 1.0
    ctrl_weight: float
    noise = 0.1
    """Half-width of the disturbance of a start."""
    gaussian_velocity = False
    """True where the disturbance of velocities is normal, with `noise` as deviation."""
    hidden = 1
    """Number of first positions that the observation leaves out."""

    def __init__(self, model: Any) -> None:
        """Look up in an `MjModel` what the formulas need."""
        self.model = model
        self.dt: float = model.opt.timestep * self.frame_skip
        """[s]"""

    def start(self, m: int, rng: np.random.Generator) -> Start:
        """Return positions (m, nq) and velocities (m, nv) for new episodes."""
        model = self.model
        noise = self.noise
        qpos = model.qpos0 + rng.uniform(-noise, noise, (m, model.nq))
        if self.gaussian_velocity:
            return qpos, noise * rng.standard_normal((m, model.nv))
        return qpos, rng.uniform(-noise, noise, (m, model.nv))

    def position(self, state: State) -> np.ndarray:
        """Return the coordinate (n,) whose change is the velocity that is paid for [m]."""
        return state.qpos[:, 0]

    def observe(self, state: State) -> np.ndarray:
        """Return the observation, (n, size)."""
        return np.concatenate((state.qpos[:, self.hidden :], state.qvel), axis=1)

    def failed(self, state: State) -> np.ndarray:
        """Return which episodes end in a failure, (n,) bool."""
        return np.zeros(len(state.qpos), bool)

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return the reward (n,) and its parts.

        Args:
            state: after the action.
            velocity: (n,) change of `position` over `dt` [m/s].
            action: (n, k) float32, as it was applied.
            failed: (n,) bool.
        """
        forward = self.forward_weight * velocity
        ctrl = self.ctrl_weight * _squares(action)
        return forward - ctrl, {"forward": forward, "ctrl": -ctrl}


class HalfCheetah(MujocoTask):
    """Two legs in a plane, no way to fall."""

    xml = "half_cheetah.xml"
    ctrl_weight = 0.1
    gaussian_velocity = True


class Swimmer(MujocoTask):
    """Three links in a viscous fluid."""

    xml = "swimmer.xml"
    frame_skip = 4
    ctrl_weight = 1e-4
    hidden = 2


class _Runner(MujocoTask):
    """A task that also pays for every step without a failure."""

    terms = ("forward", "ctrl", "survive")
    healthy_reward = 1.0

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return velocity + 1 per healthy step - squared actions, weighted."""
        forward = self.forward_weight * velocity
        survive = ~failed * self.healthy_reward
        ctrl = self.ctrl_weight * _squares(action)
        return forward + survive - ctrl, {"forward": forward, "ctrl": -ctrl, "survive": survive}


class _ClippedRunner(_Runner):
    """A planar runner; velocities are observed up to 10."""

    frame_skip = 4
    ctrl_weight = 1e-3
    noise = 5e-3

    def observe(self, state: State) -> np.ndarray:
        """Return positions but the first, and velocities within +-10."""
        return np.concatenate((state.qpos[:, 1:], np.clip(state.qvel, -10, 10)), axis=1)


class Hopper(_ClippedRunner):
    """One leg in a plane."""

    xml = "hopper.xml"

    def failed(self, state: State) -> np.ndarray:
        """The torso is below 0.7 m or leans 0.2 rad, or a number is beyond +-100."""
        z = state.qpos[:, 1]
        angle = state.qpos[:, 2]
        bounded = (np.abs(state.qpos[:, 2:]) < 100).all(axis=1)
        bounded &= (np.abs(state.qvel) < 100).all(axis=1)
        return ~(bounded & (z > 0.7) & (z < np.inf) & (np.abs(angle) < 0.2))


class Walker2d(_ClippedRunner):
    """Two legs in a plane."""

    xml = "walker2d_v5.xml"

    def failed(self, state: State) -> np.ndarray:
        """The torso is outside 0.8 to 2 m or leans 1 rad."""
        z = state.qpos[:, 1]
        angle = state.qpos[:, 2]
        return ~((z > 0.8) & (z < 2.0) & (np.abs(angle) < 1.0))


class Ant(_Runner):
    """Four legs; contact forces are observed and cost."""

    xml = "ant.xml"
    ctrl_weight = 0.5
    gaussian_velocity = True
    hidden = 2
    derived = ("xpos",)
    contact_forces = True
    terms = ("forward", "ctrl", "contact", "survive")

    def position(self, state: State) -> np.ndarray:
        """Return x of the torso, as of the last physics substep."""
        return state.derived["xpos"][:, 1, 0]

    def observe(self, state: State) -> np.ndarray:
        """Return positions but x and y, velocities, and contact forces within +-1."""
        forces = np.clip(state.derived["cfrc_ext"][:, 1:], -1.0, 1.0).reshape(len(state.qpos), -1)
        return np.concatenate((state.qpos[:, 2:], state.qvel, forces), axis=1)

    def failed(self, state: State) -> np.ndarray:
        """The torso is outside 0.2 to 1 m, or a number is not finite."""
        z = state.qpos[:, 2]
        finite = np.isfinite(state.qpos).all(axis=1) & np.isfinite(state.qvel).all(axis=1)
        return ~(finite & (z >= 0.2) & (z <= 1.0))

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return velocity + 1 per healthy step - 0.5 actions^2 - 5e-4 forces^2."""
        survive = ~failed * self.healthy_reward
        ctrl = self.ctrl_weight * _squares(action)
        contact = 5e-4 * _squares(np.clip(state.derived["cfrc_ext"], -1.0, 1.0))
        terms = {"forward": velocity, "ctrl": -ctrl, "contact": -contact, "survive": survive}
        return velocity + survive - (ctrl + contact), terms


class Humanoid(_Runner):
    """A person of capsules; inertia, velocity and forces of every body are observed."""

    xml = "humanoid.xml"
    ctrl_weight = 0.1
    noise = 1e-2
    forward_weight = 1.25
    healthy_reward = 5.0
    contact_forces = True
    derived = ("xipos", "cinert", "cvel", "qfrc_actuator")
    terms = ("forward", "ctrl", "contact", "survive")

    def position(self, state: State) -> np.ndarray:
        """Return x of the centre of mass, as of the last physics substep."""
        mass = self.model.body_mass
        # Summed body after body, as in the original: another order gives other bits.
        moments = mass * state.derived["xipos"][:, :, 0]
        return np.add.accumulate(moments, axis=1)[:, -1] / mass.sum()

    def observe(self, state: State) -> np.ndarray:
        """Return positions but x and y, velocities, and what acts on every body."""
        derived = state.derived
        n = len(state.qpos)
        bodies = [derived[name][:, 1:].reshape(n, -1) for name in ("cinert", "cvel", "cfrc_ext")]
        actuators = derived["qfrc_actuator"][:, 6:]
        parts = (state.qpos[:, 2:], state.qvel, *bodies[:2], actuators, bodies[2])
        return np.concatenate(parts, axis=1)

    def failed(self, state: State) -> np.ndarray:
        """The torso is outside 1 to 2 m."""
        z = state.qpos[:, 2]
        return ~((z > 1.0) & (z < 2.0))

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return 1.25 velocity + 5 per healthy step - 0.1 actions^2 - contact, at most 10."""
        forward = self.forward_weight * velocity
        survive = ~failed * self.healthy_reward
        ctrl = self.ctrl_weight * _squares(action.astype(np.float64))
        contact = np.clip(5e-7 * _squares(state.derived["cfrc_ext"]), -np.inf, 10.0)
        terms = {"forward": forward, "ctrl": -ctrl, "contact": -contact, "survive": survive}
        return forward + survive - (ctrl + contact), terms


class InvertedPendulum(MujocoTask):
    """A pole on a cart: 1 for every step in which it leans less than 0.2 rad."""

    xml = "inverted_pendulum.xml"
    frame_skip = 2
    noise = 0.01
    hidden = 0
    terms = ("survive",)

    def failed(self, state: State) -> np.ndarray:
        """The pole leans more than 0.2 rad, or a number is not finite."""
        observation = self.observe(state)
        return ~np.isfinite(observation).all(axis=1) | (np.abs(observation[:, 1]) > 0.2)

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return 1 for a step without a failure."""
        alive = (~failed).astype(np.float64)
        return alive, {"survive": alive}


class InvertedDoublePendulum(MujocoTask):
    """Two poles on a cart: 10 for every step with the tip above 1 m, less distance and speed."""

    xml = "inverted_double_pendulum.xml"
    gaussian_velocity = True
    derived = ("site_xpos", "qfrc_constraint")
    terms = ("survive", "distance", "velocity")

    def observe(self, state: State) -> np.ndarray:
        """Return the cart, sines and cosines, velocities, and the force on the cart."""
        qpos = state.qpos
        angles = np.ascontiguousarray(qpos[:, 1:])
        force = np.clip(state.derived["qfrc_constraint"][:, :1], -10, 10)
        speeds = np.clip(state.qvel, -10, 10)
        return np.concatenate((qpos[:, :1], np.sin(angles), np.cos(angles), speeds, force), axis=1)

    def failed(self, state: State) -> np.ndarray:
        """The tip is not above 1 m."""
        return state.derived["site_xpos"][:, 0, 2] <= 1

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return 10 per healthy step - 0.01 x^2 - (y - 2)^2 - weighted speeds^2."""
        x = state.derived["site_xpos"][:, 0, 0]
        y = state.derived["site_xpos"][:, 0, 2]
        distance = 0.01 * x**2 + (y - 2) ** 2
        speed = 1e-3 * state.qvel[:, 1] ** 2 + 5e-3 * state.qvel[:, 2] ** 2
        survive = 10.0 * ~failed
        terms = {"survive": survive, "distance": -distance, "velocity": -speed}
        return survive - distance - speed, terms


class Reacher(MujocoTask):
    """Two links in a plane, the fingertip to a target."""

    xml = "reacher.xml"
    frame_skip = 2
    max_steps = 50
    terms = ("dist", "ctrl")
    derived = ("xpos",)
    islands = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._tip = model.body("fingertip").id
        self._target = model.body("target").id

    def start(self, m: int, rng: np.random.Generator) -> Start:
        """Return an arm near its rest and a target anywhere in a disc of 0.2 m."""
        qpos = rng.uniform(-0.1, 0.1, (m, self.model.nq)) + self.model.qpos0
        qpos[:, -2:] = _draw(
            m,
            lambda k: rng.uniform(-0.2, 0.2, (k, 2)),
            lambda goal: _norm(goal) < 0.2,
        )
        qvel = rng.uniform(-5e-3, 5e-3, (m, self.model.nv))
        qvel[:, -2:] = 0
        return qpos, qvel

    def observe(self, state: State) -> np.ndarray:
        """Return cosines, sines, the target, joint velocities, and the error in x and y."""
        theta = np.ascontiguousarray(state.qpos[:, :2])
        parts = (np.cos(theta), np.sin(theta), state.qpos[:, 2:], state.qvel[:, :2])
        return np.concatenate((*parts, self._error(state)[:, :2]), axis=1)

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return -distance - actions^2."""
        terms = {"dist": -_norm(self._error(state)), "ctrl": -_squares(action)}
        return terms["dist"] + terms["ctrl"], terms

    def _error(self, state: State) -> np.ndarray:
        xpos = state.derived["xpos"]
        return xpos[:, self._tip] - xpos[:, self._target]


class Pusher(MujocoTask):
    """An arm of seven joints pushes a cylinder to a goal."""

    xml = "pusher_v5.xml"
    max_steps = 100
    terms = ("dist", "ctrl", "near")
    derived = ("xpos",)
    islands = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._bodies = [model.body(name).id for name in ("tips_arm", "object", "goal")]

    def start(self, m: int, rng: np.random.Generator) -> Start:
        """Return the arm at rest and the cylinder more than 0.17 m from the goal."""
        qpos = np.tile(self.model.qpos0, (m, 1))
        qpos[:, -4:-2] = _draw(
            m,
            lambda k: rng.uniform((-0.3, -0.2), (0.0, 0.2), (k, 2)),
            lambda cylinder: _norm(cylinder) > 0.17,
        )
        qpos[:, -2:] = 0
        qvel = rng.uniform(-5e-3, 5e-3, (m, self.model.nv))
        qvel[:, -4:] = 0
        return qpos, qvel

    def observe(self, state: State) -> np.ndarray:
        """Return the arm's positions and velocities, and where tip, cylinder and goal are."""
        places = state.derived["xpos"][:, self._bodies].reshape(len(state.qpos), -1)
        return np.concatenate((state.qpos[:, :7], state.qvel[:, :7], places), axis=1)

    def reward(
        self, state: State, velocity: np.ndarray, action: np.ndarray, failed: np.ndarray
    ) -> tuple[np.ndarray, Terms]:
        """Return -distance to the goal - half that to the cylinder - 0.1 actions^2."""
        tip, cylinder, goal = (state.derived["xpos"][:, body] for body in self._bodies)
        near = -_norm(cylinder - tip) * 0.5
        dist = -_norm(cylinder - goal)
        ctrl = -_squares(action) * 0.1
        return dist + ctrl + near, {"dist": dist, "ctrl": ctrl, "near": near}


TASKS: dict[str, type[MujocoTask]] = {
    f"{task.__name__}-v5": task
    for task in (
        *(Ant, HalfCheetah, Hopper, Humanoid, InvertedDoublePendulum, InvertedPendulum),
        *(Pusher, Reacher, Swimmer, Walker2d),
    )
}
"""Gymnasium's id -> task."""


def _squares(x: np.ndarray) -> np.ndarray:
    """Return the sum of squares of every row, (n,)."""
    return np.square(x).reshape(len(x), -1).sum(axis=1)


def _norm(x: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of every row, (n,), with the dot product `np.linalg.norm` uses."""
    return np.sqrt(np.vecdot(x, x))


def _draw(
    m: int, draw: Callable[[int], np.ndarray], accept: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return m rows of `draw`, each drawn again until it is accepted."""
    rows = draw(m)
    while (refused := np.flatnonzero(~accept(rows))).size:
        rows[refused] = draw(refused.size)
    return rows
