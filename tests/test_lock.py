"""One writer per folder: a second one is refused, and what a killed one held is free."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from env_helpers import train_arguments
from fork_server import workstation
from test_train import contents, log, refused, result

from robot_ppo import lock
from robot_ppo_export.errors import InputError

pytestmark = pytest.mark.real_time

ENDLESS = 10**9


def test_a_lock_is_one_persons_until_it_is_let_go(tmp_path):
    path = tmp_path / "new" / ".lock"
    for _ in range(2):
        one, two = (lock.alone(path, "taken") for _ in range(2))
        with one, pytest.raises(InputError, match=r"^taken$"), two:
            pass
    assert path.exists()


def test_a_file_system_without_locks_locks_nothing_and_says_so(tmp_path, monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with lock.alone(tmp_path / ".lock", "taken"):
        assert "cannot be locked (No locks available)" in caplog.text


@pytest.fixture
def training(tmp_path):
    """A run that trains in another process."""
    out = tmp_path / "run"
    words = ("-m", "robot_ppo.cli", *train_arguments(out, steps=ENDLESS))
    own = os.environ | {"TERM": "dumb"}
    process = workstation.start(*words, env=own, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 120
        while not ((out / "log.csv").exists() and len(log(out)) > 1):
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        yield out, process
    finally:
        process.kill()
        process.wait()


def test_a_second_training_in_a_folder_is_refused_until_the_first_has_ended(training, capsys):
    out, process = training
    os.kill(process.pid, signal.SIGSTOP)  # and wait until it has stopped
    while (
        "State:\tT" not in Path(f"/proc/{process.pid}/status").read_text()
    ):  # until it has stopped
        time.sleep(0.001)
    before = contents(out)
    for more in (["--resume"], ["--overwrite"]):
        said = refused(train_arguments(out, *more), capsys)
        assert said == (
            f"robot-ppo: {out}: another training writes here; wait for it, or give another --out"
        )
    assert contents(out) == before
    process.kill()
    process.wait()
    assert result(out, "--overwrite").iteration == 2


def test_a_folder_with_nothing_but_a_lock_is_as_good_as_empty(tmp_path):
    (tmp_path / ".lock").touch()
    assert result(tmp_path).iteration == 2
