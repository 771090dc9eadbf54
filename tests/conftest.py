"""The order of the suite, one thread per process, and what is shared between modules."""

import gc
import os
import signal

import hypothesis
import pytest
from real_time import pytest_runtest_protocol  # noqa: F401  (a hook)

# Before numpy and torch start theirs. The workers of a suite keep every processor busy: a pool of
# threads that waits for its last one there doubles the time of a small product of matrices.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before a test imports onnxruntime ahead of our own (robot_ppo_export/policy.py).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A shell without job control starts what runs in its background with Ctrl-C ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, in any time: a random one is found by whoever changes the law,
# not by whoever runs the suite next, and a computer that is busy fails nothing.
hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

# What is imported and collected stays until the end: the collector finds nothing to free in it, and
# walks through all of it again and again, for a fifth of the time of a collection.
gc.disable()

LONGEST = (
    *("test_node_cli", "test_distill", "test_importing", "test_watchdog_dds"),
    *("test_importing_legs", "test_tuning", "test_watchdog", "test_shipped", "test_faults"),
    *("test_ros2_publishers", "test_states", "test_config", "test_driver_contract"),
    *("test_resume", "test_import_files", "test_ranks", "test_generated", "test_node_bench"),
    *("test_unitree", "test_importing_feet", "test_installed_terms", "test_train"),
)
"""Files that take longest come first, so that no worker is left alone with one at the end. Those
that wait in real time (`node`, `watchdog`, `ros2`, `driver`, `unitree`) stand apart: while one
worker waits, two compute."""


def pytest_collection_modifyitems(items):
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))  # stable: files stay whole


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module")
def short_rollouts():
    """Export watches its policy for a fifth of a second instead of ten."""
    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robot_ppo.export.ROLLOUT_TICKS", 10)
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """A playback whose plot nobody looks at leaves an empty file.

    tests/test_play.py draws some, and tests/test_life_cycle.py those of two feet.
    """
    pytest.importorskip("mujoco")
    monkeypatch.setattr("robot_ppo.playback.record.Track.plot", lambda track, path: path.touch())
