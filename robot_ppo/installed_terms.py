"""Terms of installed packages: the entry points of the group `robot_ppo.terms`.

    [project.entry-points."robot_ppo.terms"]
    my_terms = "my_terms"              # a module that decorates functions with `@REWARDS.add()`

What is installed in the Python environment decides what is imported. A YAML, a run folder or a
policy file only names terms, and imports nothing. `load` is called before terms are resolved;
`import robot_ppo` loads none.
"""

import functools
from importlib.metadata import EntryPoint, entry_points

from robot_ppo_export.errors import InputError

GROUP = "robot_ppo.terms"


@functools.cache
def load() -> None:
    """Import every installed module of terms, once per process.

    Raises:
        InputError: a module cannot be imported; the sentence names its distribution.
    """
    for point in _points():
        try:
            point.load()
        except Exception as error:
            raise InputError(
                f"the terms `{point.value}` of the installed package {_distribution(point)} cannot "
                f"be imported ({type(error).__name__}: {error}); mend or uninstall that package"
            ) from error


def listing() -> list[str]:
    """Return a line for each installed module of terms; none is imported."""
    return [f"{point.value} (package {_distribution(point)})" for point in _points()]


def _points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: (point.value, point.name))


def _distribution(point: EntryPoint) -> str:
    return "of an unknown name" if point.dist is None else point.dist.name
