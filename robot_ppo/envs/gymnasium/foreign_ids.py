"""`gym:ID` and `gym:MODULE:ID` -> environments of Gymnasium, or a sentence that says why not."""

import importlib
import itertools
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode

from robot_ppo.envs.gymnasium.guarded import Guarded, brief
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError


def make(id: str, num_envs: int, render_mode: str | None = None) -> gymnasium.vector.VectorEnv:
    """Return environments that are stepped one after the other and reset in the same step.

    Each is `Guarded`: its observations are copied, its `info` is dropped, its errors have a place.

    Args:
        id: that Gymnasium knows; after "MODULE:" one that importing MODULE registers.
        num_envs: how many.
        render_mode: one of those that the environment has, or None.

    Raises:
        InputError: the module or the id does not exist, there is an error inside, or it has no such
            mode.
    """
    module, _, name = id.rpartition(":")
    known = _ids_of(_imported(id, module)) if module else list(gymnasium.registry)
    if name not in gymnasium.registry:
        raise InputError(f"gym:{id}: {_unknown(name, module, known)}")
    shown: dict[str, Any] = {}  # not all environments take a render_mode
    if render_mode is not None:
        _check_mode(id, name, render_mode)
        shown = {"render_mode": render_mode}
    numbers = itertools.count()
    try:
        return gymnasium.make_vec(
            name,
            num_envs=num_envs,
            vectorization_mode=gymnasium.VectorizeMode.SYNC,
            **shown,
            wrappers=[lambda env: Guarded(env, id, next(numbers))],
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
    except (Exception, SystemExit) as error:  # whatever the code of its author raises
        raise InputError(f"gym:{id}: Gymnasium cannot make it ({brief(error)})") from error


def time_limit(id: str) -> int | None:
    """Return the `max_episode_steps` with which an id that `make` takes is registered."""
    return gymnasium.registry[id.rpartition(":")[2]].max_episode_steps


def _check_mode(id: str, name: str, render_mode: str) -> None:
    """Raise `InputError` where the environment's class does not list `render_mode`."""
    try:
        creator = gymnasium.registry[name].entry_point
        creator = load_env_creator(creator) if isinstance(creator, str) else creator
    except Exception as error:  # whatever the code of its author raises
        raise InputError(f"gym:{id}: Gymnasium cannot make it ({brief(error)})") from error
    metadata = getattr(creator, "metadata", None)
    if metadata is not None and render_mode not in metadata.get("render_modes", []):
        modes = ", ".join(metadata.get("render_modes", [])) or "none"
        raise InputError(
            f"gym:{id}: cannot be shown: its metadata lists the render_modes {modes}, and "
            f"{render_mode!r} is needed"
        )


def _imported(id: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the code of its author raises
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise InputError(
                f"gym:{id}: there is no module {missing!r}; put its folder on PYTHONPATH"
            ) from None
        raise InputError(f"gym:{id}: importing {name!r} failed: {brief(error)}") from error
    except SystemExit as error:
        raise InputError(f"gym:{id}: importing {name!r} ends the program ({error})") from None


def _ids_of(module: ModuleType) -> list[str]:
    """Return the ids whose environments `module`, or a module inside it, holds."""
    return [id for id, spec in gymnasium.registry.items() if _is_in(spec.entry_point, module)]


def _is_in(entry_point: object, module: ModuleType) -> bool:
    if isinstance(entry_point, str):
        place = entry_point.partition(":")[0]
    else:
        place = getattr(entry_point, "__module__", "")
    return f"{place}.".startswith(f"{module.__name__}.")


def _unknown(name: str, module: str, known: list[str]) -> str:
    if module and not known:
        return f"the module {module!r} registers no environment"
    hint = did_you_mean(name, known)
    if module:
        return f"the module {module!r} registers no environment {name!r}{hint}"
    hint = hint.partition(" Known:")[0]
    return (
        f"Gymnasium knows no environment {name!r}{hint} `gymnasium.pprint_registry()` lists them; "
        "one of your own is gym:MODULE:ID"
    )
