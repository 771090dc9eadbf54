"""A policy file, verified and ready to run. This module alone imports onnxruntime.

policy = Policy(Path("go2_walk.onnx"))        # checksum and contract are checked here
worst = policy.check_golden()                 # recomputed with this code, on this CPU
policy.reset()
target = policy.tick(state, command)          # once per control period
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# From 1.29 on, it reports to its maker what it runs: a thread, a database in the home folder and
# uploads, none of which belong beside a robot's control loop. It reads the variable once, when it
# is loaded; one that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from robot_ppo_export import checksum, golden
from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.layout import Observer
from robot_ppo_export.contract.state import BASIC, SIGNALS, RobotState
from robot_ppo_export.contract.terms import Inputs, gait_phase
from robot_ppo_export.errors import RefusedError

TOLERANCE = 1e-5
"""Largest difference to a golden trace that is accepted."""
OUTPUTS = ("observation", "action", "target")
"""Stages of a golden trace that are recomputed, in the order of computation."""
PHASES_AHEAD = 512
"""Gait phases that are computed at a time: of one tick alone it takes as long as of all of them."""


@dataclass(frozen=True)
class Difference:
    """The worst disagreement with a golden trace."""

    value: float
    stage: str
    """observation, action or target"""
    tick: int
    index: int

    def __str__(self) -> str:
        """Return where and how much."""
        return f"{self.value:.3g} in {self.stage}[{self.index}] of tick {self.tick}"


class Policy:
    """One robot's policy: checksum verified, contract parsed, network loaded on one thread."""

    def __init__(self, path: Path) -> None:
        """Load `path`, or raise `RefusedError` in a sentence that says what is wrong and where."""
        self.path = path
        data = checksum.read(path)
        self.session = _session(data, str(path))
        metadata = _metadata(self.session, str(path))
        for key in ("robot_ppo.contract", "robot_ppo.golden", checksum.KEY):
            if key not in metadata:
                raise RefusedError(f"{path}: the metadata lack {key}")
        try:
            self.contract = contracts.from_json(metadata["robot_ppo.contract"])
            self.golden = golden.from_json(metadata["robot_ppo.golden"])
        except RefusedError as error:
            raise RefusedError(f"{path}: {error}") from None
        self.sha256 = metadata[checksum.KEY]
        self.model = metadata.get(contracts.MODEL_KEY, "")
        """The robot's model, packed, for a simulation; "" in a file without one. Nothing here
        reads it."""
        self.layout = self.contract.resolve()
        self.action_map = self.contract.action_map()
        self._check_shapes()
        self.observer, self._spare_observer = (Observer(self.layout, ()) for _ in range(2))
        self._input = np.zeros((1, self.layout.size), np.float32)
        self._output = np.zeros((1, self.action_map.size), np.float32)
        states = self.contract.states
        self._states = {name: np.zeros((1, width), np.float32) for name, width in states.items()}
        self._next_states = {name: np.zeros_like(array) for name, array in self._states.items()}
        self._binding = self._bind()
        self._phases = np.zeros(0, np.float32)
        self._phases_from = 0
        self.ticks = 0
        self.last_action = np.zeros(self.action_map.size, np.float32)

    def reset(self) -> None:
        """Forget everything: histories, the network's memory, last action, gait phase."""
        self.ticks = 0
        self.last_action = np.zeros_like(self.last_action)
        self.observer.reset()
        for state in self._states.values():
            state[:] = 0.0

    def inputs(self, state: RobotState, command: Array) -> Inputs:
        """Return what the observation of this tick is computed from."""
        phase = self._phase()
        return Inputs(state, command, self.last_action, phase, self.action_map.default_pose)

    def _phase(self) -> np.ndarray:
        """Return the gait phase of this tick, ()."""
        i = self.ticks - self._phases_from
        if not 0 <= i < len(self._phases):
            i = 0
            self._phases_from = self.ticks
            ahead = np.arange(self.ticks, self.ticks + PHASES_AHEAD)
            c = self.contract
            self._phases = gait_phase(ahead, c.control_period, c.gait_frequency)
        # [i, ...] keeps it an array; a scalar has no array namespace in numpy 2.0.
        return self._phases[i, ...]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the raw action (actions,) of one observation (size,); a memory advances."""
        self._input[0] = observation
        self.session.run_with_iobinding(self._binding)
        for name, state in self._states.items():
            state[:] = self._next_states[name]
        return self._output[0].copy()

    def warm_up(self, state: RobotState, command: Array) -> None:
        """Bring code and weights into the caches by computing a tick; the state stays as it is.

        After a pause of 20 ms a tick takes several times as long as right after another one.
        """
        self._warm_up(self.inputs(state, command))

    def _warm_up(self, inputs: Inputs) -> None:
        """Observe with an observer whose histories nobody reads, and run on what lies there.

        What the network would remember of it is left where the next run overwrites it.
        """
        self._spare_observer.observe(inputs)
        self.session.run_with_iobinding(self._binding)

    def for_many(self) -> "ManyRobots":
        """Return the network for many robots side by side; all of them start without memory."""
        return ManyRobots(self.session, self.contract.states)

    def tick(self, state: RobotState, command: Array) -> np.ndarray:
        """Return the joint target (joints,) [rad], and advance by one control period."""
        inputs = self.inputs(state, command)
        self.observation = self.observer.observe(inputs)
        self.last_action = self.act(self.observation)
        self.ticks += 1
        reference = self.action_map.reference(inputs.phase, command)
        return self.action_map.target(self.last_action, reference)

    def check_golden(self) -> Difference:
        """Recompute every golden tick; raise `RefusedError` beyond `TOLERANCE`, else the worst.

        Each is warmed up for, as in a run: a policy that a warm-up advances is refused here. The
        policy is afterwards as at its start.
        """
        worst = Difference(0.0, "observation", 0, 0)
        for t in range(len(self.golden)):
            if self.golden.begins(t):
                self.reset()
            with np.errstate(all="ignore"):  # what is not finite is found below
                errors = self._errors(t)
            for stage, error in errors.items():
                # NaN would lose against every later comparison, and so be forgotten.
                error = np.where(np.isnan(error), np.inf, error)
                i = int(np.argmax(error))
                if error[i] > worst.value:
                    worst = Difference(float(error[i]), stage, t, i)
        self.reset()
        if worst.value > TOLERANCE:
            raise RefusedError(
                f"{self.path}: the golden traces are not reproduced on this machine: {worst}, "
                f"more than {TOLERANCE:g}"
            )
        return worst

    def _errors(self, t: int) -> dict[str, np.ndarray]:
        """Return the differences to golden tick `t`, per stage; those before it were observed.

        A graph that loads and does not run is a `RefusedError`.
        """
        inputs = self.golden.tick(t, self.action_map.default_pose)
        try:
            self._warm_up(inputs)
            observation = self.observer.observe(inputs)
            action = self.act(observation)
        except Exception as error:
            raise RefusedError(f"{self.path}: onnxruntime cannot run it: {error}") from None
        reference = self.action_map.reference(inputs.phase, inputs.command)
        target = self.action_map.target(action, reference)
        computed = {"observation": observation, "action": action, "target": target}
        return {k: np.abs(values - getattr(self.golden, k)[t]) for k, values in computed.items()}

    def _check_shapes(self) -> None:
        """Raise `RefusedError` unless the graph has the sizes that the contract states."""
        actions = self.action_map.size
        got = [
            (t.name, t.type, *t.shape[1:])
            for t in (*self.session.get_inputs(), *self.session.get_outputs())
        ]
        states = self.contract.states
        widths = [("observation", self.layout.size), *states.items(), ("action", actions)]
        widths += [(f"next_{name}", width) for name, width in states.items()]
        wanted = [(name, "tensor(float)", width) for name, width in widths]
        if got != wanted:
            raise RefusedError(f"{self.path}: the graph has {got}, the contract needs {wanted}")
        self._check_golden_shapes()

    def _bind(self) -> onnxruntime.IOBinding:
        """Return a binding that reads and writes the policy's arrays in place."""
        outputs = {f"next_{name}": array for name, array in self._next_states.items()}
        binding = self.session.io_binding()
        for bind, arrays in (
            (binding.bind_input, {"observation": self._input} | self._states),
            (binding.bind_output, {"action": self._output} | outputs),
        ):
            for name, array in arrays.items():
                bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def _check_golden_shapes(self) -> None:
        contract = self.contract
        actions = self.action_map.size
        joints = len(contract.robot.joints)
        inputs = self.golden.inputs
        needed = set(contract.input_names())
        if contract.format_version == 2:  # it holds every signal, read or not
            needed |= {*BASIC, "phase"}
        for what, names in (("lack", needed - inputs.keys()), ("hold", inputs.keys() - needed)):
            if names:
                expected = "" if what == "lack" else ", which this policy does not read"
                text = f"{', '.join(sorted(names))}{expected}"
                raise RefusedError(f"{self.path}: the golden traces {what} {text}")
        shapes = {name: (contract.signal_width(name),) for name in needed if name in SIGNALS}
        shapes |= {"command": (contract.command.size,), "last_action": (actions,), "phase": ()}
        shapes |= {"observation": (self.layout.size,), "action": (actions,), "target": (joints,)}
        for name, shape in shapes.items():
            values = inputs.get(name) if name not in OUTPUTS else getattr(self.golden, name)
            got = shape if values is None else values.shape[1:]
            if got != shape:
                raise RefusedError(f"{self.path}: each golden {name} has shape {got}, not {shape}")


def _session(data: bytes, source: str) -> onnxruntime.InferenceSession:
    """Return a session on one thread: a pool would spin, and a robot has other work."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RefusedError(f"{source}: onnxruntime cannot load it: {error}") from None


def _metadata(session: onnxruntime.InferenceSession, source: str) -> dict[str, str]:
    """Return key -> text, or raise `RefusedError` where a text is no UTF-8."""
    try:
        return session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise RefusedError(f"{source}: the metadata are no text: {error}") from None


class ManyRobots:
    """The network of a policy file for robots side by side, each with a memory of its own."""

    def __init__(self, session: onnxruntime.InferenceSession, states: Mapping[str, int]) -> None:
        """Start without memory.

        Args:
            session: of the policy file.
            states: name -> width of each state, as in the contract.
        """
        self._session = session
        self._widths = states
        self._states: dict[str, np.ndarray] = {}

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return the raw actions (n, actions) of n observations (n, size); memories advance."""
        if not self._states:
            n = len(observations)
            self._states = {name: np.zeros((n, w), np.float32) for name, w in self._widths.items()}
        given = {"observation": observations} | self._states
        action, *after = (np.asarray(x) for x in self._session.run(None, given))
        self._states = dict(zip(self._widths, after, strict=True))
        return action

    def reset(self, ids: Any = ...) -> None:
        """Forget what the robots `ids` remember, by default all."""
        for state in self._states.values():
            state[ids] = 0.0
