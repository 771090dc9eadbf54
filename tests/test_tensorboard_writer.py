"""TensorBoard is for looking at: what keeps its events from being written ends no training."""

import errno
import os
import sys
import threading

import pytest
from test_train import BATCH, column, result

from robot_ppo.training.tensorboard_writer import TensorBoardWriter

gfile = pytest.importorskip("tensorboard.compat.tensorflow_stub.io.gfile")


def goes_on(out, caplog, why):
    """Train to the end, with one warning."""
    assert result(out, steps=20 * BATCH).steps == 20 * BATCH
    assert column(out, "iteration") == list(range(1, 21))
    (said,) = [r.getMessage() for r in caplog.records if "TensorBoard" in r.getMessage()]
    assert said.startswith(f"{out / 'tensorboard'}: no TensorBoard events from here on (")
    assert why in said


def test_without_tensorboard_a_training_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    goes_on(tmp_path / "run", caplog, "import of torch.utils.tensorboard.writer halted")


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_disk_that_is_full_for_tensorboard_alone_ends_no_training(
    good, tmp_path, caplog, capfd, monkeypatch
):
    """Its thread hears of it, whenever that is: no traceback of it is shown."""
    calls = iter(range(10**6))
    append = gfile.LocalFileSystem.append
    monkeypatch.setattr(
        gfile.LocalFileSystem, "append", lambda *a: (append if next(calls) < good else full)(*a)
    )
    goes_on(tmp_path / "run", caplog, "No space left on device")
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_in_the_way_is_said(tmp_path, caplog):
    (tmp_path / "tensorboard").touch()
    with TensorBoardWriter(tmp_path / "tensorboard") as writer:
        writer.add({"main/kl": 0.1}, 1)
    assert "no TensorBoard events from here on ([Errno 17] File exists" in caplog.text


def test_what_ends_another_thread_is_heard_as_ever(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    with TensorBoardWriter(tmp_path):
        other = threading.Thread(target=full)
        other.start()
        other.join()
    (failure,) = heard
    assert failure.exc_type is OSError and threading.excepthook == heard.append


def test_a_training_writes_events(tmp_path):
    """Negative control."""
    result(tmp_path / "run")
    (events,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    assert b"main/kl" in events.read_bytes()


def test_the_settings_are_a_page_of_text(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TensorBoardWriter(tmp_path) as writer:
        writer.add_text("config", "ppo:\n  gamma: 0.99")
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Tensors("config/text_summary")
    assert event.tensor_proto.string_val == [b"    ppo:\n      gamma: 0.99\n"]
