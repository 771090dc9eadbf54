"""A plugin of pytest for a computer that has the node and no workstation, as on the robot.

    PYTHONPATH=tests pytest -p base_install

Which tests run there is decided by what can be imported: one that needs `robot_ppo`, or what the
extra `train` installs, is left out, a whole file where the file imports it. Any other error of an
import is an error, so that a name which an older Python does not have is not taken for a missing
package.
"""

import importlib
import sys

import pytest

WORKSTATION = (
    *("robot_ppo", "torch", "mujoco", "gymnasium", "threadpoolctl"),
    *("matplotlib", "av", "rich", "tensorboard", "mcap", "fastjsonschema"),
    *("optuna", "websockets"),
)
"""The training, and what only its extras bring; nobody can import it, installed or not."""

sys.modules.update(dict.fromkeys(WORKSTATION))


def needs_more(error: ModuleNotFoundError) -> bool:
    return str(error.name).partition(".")[0] in WORKSTATION


def pytest_ignore_collect(collection_path):
    if not collection_path.match("test_*.py"):
        return None
    try:
        importlib.import_module(collection_path.stem)
    except ModuleNotFoundError as error:
        return needs_more(error) or None
    except (Exception, pytest.skip.Exception):
        return None  # pytest meets it again, and reports it, when it imports the file itself


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if needs_more(error):
            pytest.skip(f"needs {error.name}")
        raise
