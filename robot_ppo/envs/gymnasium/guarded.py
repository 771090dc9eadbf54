"""One simulation of a foreign environment; every returned value is copied and checked.

Many environments return the very array that their next step writes, or raise long after training
has begun. `Guarded` stands between such an environment and Gymnasium's vector environment, which
keeps the last observation of an episode uncopied while it starts the next one.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from robot_ppo_export.errors import InputError


class Guarded(gymnasium.Wrapper):
    """Returns observations of its own in the space's shape and dtype, and an empty `info`."""

    def __init__(self, env: gymnasium.Env, id: str, simulation: int) -> None:
        """Guard `env`, of the id `id` as the user wrote it, simulation number `simulation`."""
        super().__init__(env)
        self._id = id
        self._simulation = simulation
        self._steps = 0
        self._episodes = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        Raises:
            InputError: the environment raises, or its observation is not of its space.
        """
        self._episodes += 1
        self._steps = 0
        with self._guarded("reset"):
            observation, _ = self.env.reset(seed=seed, options=options)
        return self._copied("reset", observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one action.

        Raises:
            InputError: the environment raises, its observation is not of its space, or its reward
                is not one number.
        """
        self._steps += 1
        with self._guarded("step"):
            observation, reward, failed, cut, _ = self.env.step(action)
            number = np.asarray(reward)
            ends = bool(failed), bool(cut)
        if number.shape != () or number.dtype.kind not in "biuf":
            raise InputError(
                f"{self._place('step')}: its reward is a {type(reward).__name__} of shape "
                f"{number.shape}, dtype {number.dtype}, and must be one number"
            )
        return self._copied("step", observation), float(number), *ends, {}

    def _copied(self, method: str, observation: Any) -> np.ndarray:
        """Return an observation as an array of its own, or say what its space does not allow."""
        space = cast(Box, self.observation_space)
        with self._guarded(method):
            array = np.array(observation)
        if array.shape != space.shape:
            raise InputError(
                f"{self._place(method)}: its observation has shape {array.shape}, and its "
                f"observation_space {space.shape}: one of the two must be mended"
            )
        if array.dtype == space.dtype:
            return array
        if not _holds(space.dtype, array):
            raise InputError(
                f"{self._place(method)}: its observation is {array.dtype} with values that "
                f"{space.dtype}, the dtype of its observation_space, cannot hold: one of the two "
                "must be mended"
            )
        with np.errstate(over="ignore"):  # infinite then, and told as such
            return array.astype(space.dtype)

    @contextmanager
    def _guarded(self, method: str) -> Iterator[None]:
        """Raise `InputError` for whatever the code of the environment's author raises."""
        try:
            yield
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{self._place(method)}: it fails ({brief(error)}); mend the environment "
                "(`gymnasium.utils.env_checker.check_env` helps)"
            ) from error

    def _place(self, method: str) -> str:
        when = f"step {self._steps}" if self._steps else "the start"
        return (
            f"gym:{self._id}: `{method}` in simulation {self._simulation}, {when} of its episode "
            f"{self._episodes}"
        )


def _holds(dtype: Any, array: np.ndarray) -> bool:
    """Return whether `array` keeps its meaning in `dtype`: whole numbers stay the same."""
    if np.issubdtype(dtype, np.floating):
        return np.can_cast(array.dtype, dtype, "same_kind")
    if array.dtype.kind not in "biuf":
        return False
    with np.errstate(invalid="ignore"):
        return bool((array.astype(dtype) == array).all())


def brief(error: BaseException) -> str:
    """Return what an error says, and the line that raised it, in a short line."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, gymnasium.error.Error | ImportError):
        return text
    where = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {text}"
    return f"{type(error).__name__}: {text}; {where.filename}, line {where.lineno}"
