"""The log's file: what was recorded comes back after any death; what is not whole is noticed."""

import errno
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import PERIOD, ROOT, policy, policy_file, rig

from robot_ppo_export.errors import InputError
from robot_ppo_node.app.replay import replay
from robot_ppo_node.log import log_file, log_folder, log_writer
from robot_ppo_node.log.log_file import COLUMNS
from robot_ppo_node.log.log_writer import LogWriter
from robot_ppo_node.log.recorder import for_policy

pytestmark = pytest.mark.real_time


def filled(ticks=20, seconds=1.0, recorder=None, begin=0):
    """A recorder after so many ticks, every column of which says which tick it is."""
    recorder = recorder or for_policy(policy(), seconds)
    for t in range(begin, begin + ticks):
        recorder.append(**{name: b"test" if name == "source" else t % 250 for name in COLUMNS})
    return recorder


def wait_until(condition, seconds=5.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def whole_file(ticks=20) -> bytes:
    recorder = filled(ticks)
    recorder.event(1.0, "POLICY: running the policy")
    return recorder._file()


# --- there and back


def test_what_is_written_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "walk.rlog"
    node = rig(ring=10.0)
    node.node.run(seconds=3.0)
    node.node.recorder.save(path)
    rows, meta = log_file.load(path)
    for name, values in node.node.recorder.rows().items():
        assert rows[name].tobytes() == values.tobytes()
    assert meta["policy"] == policy().sha256
    assert meta["events"] == [(time, str(event)) for time, event in node.node.events]
    assert (meta["first"], meta["closed"], meta["damaged"]) == (1, True, 0)
    assert len(meta["measured"]) == rows["measured"].shape[1]
    assert {*rows["source"]} == {b"fixed"}


def test_the_layout_is_the_documented_one():
    """Read by hand, from the table in the module's docstring alone."""
    data = whole_file(3)
    magic, version, n, events, ticks, closed = struct.unpack_from("<8s5I", data)
    assert (magic, version, events, ticks, closed) == (b"RPPOLOG\n", 4, 1, 3, 1)
    event = 32 + n
    assert struct.unpack_from("<Qd", data, event) == (1, 1.0)
    assert data[event + 16 :].startswith(b"POLICY: running the policy\0")
    slot = event + 8 + 8 + 240 + 4
    size = (len(data) - slot) // 3
    for t in range(3):
        number, stamp = struct.unpack_from("<Qd", data, slot + t * size)
        assert (number, stamp) == (t + 1, t)
    assert size == 8 + sum(
        np.dtype(kind).itemsize * {"": 1, **filled(0).meta["widths"]}[width]
        for kind, width in COLUMNS.values()
    ) + 4  # fmt: skip


# --- the writer


def test_a_run_is_followed_to_the_disk_and_trimmed_at_its_end(tmp_path):
    path = tmp_path / "walk.rlog"
    recorder = for_policy(policy(), 1.0)
    writer = LogWriter(recorder, path, ticks=1000)
    reserved = next(tmp_path.iterdir()).stat()
    assert reserved.st_size > 8e5
    assert reserved.st_blocks * 512 >= reserved.st_size  # not a hole: the disk has the space
    assert not path.exists()
    writer.start()
    filled(50, recorder=recorder)
    wait_until(lambda: len(log_file.load(path)[0]["time"]) == 50)
    assert log_file.load(path)[1]["closed"] is False
    filled(3, recorder=recorder, begin=50)
    writer.close()
    rows, meta = log_file.load(path)
    assert rows["time"].tolist() == list(range(53))
    assert (meta["closed"], meta["damaged"], writer.lost, writer.trouble) == (True, 0, 0, None)
    assert path.stat().st_size < 2e5
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_a_ring_that_keeps_the_newest(tmp_path):
    recorder = for_policy(policy(), 1.0)
    writer = LogWriter(recorder, tmp_path / "walk.rlog", ticks=64)
    writer.start()
    for begin in range(0, 200, 20):
        filled(20, recorder=recorder, begin=begin)
        wait_until(lambda: writer._slots.done == recorder.count)
    writer.close()
    rows, meta = log_file.load(tmp_path / "walk.rlog")
    assert rows["time"].tolist() == [t % 250 for t in range(136, 200)]
    assert (meta["first"], meta["damaged"]) == (137, 0)


def test_a_disk_that_is_too_slow_loses_ticks_and_says_how_many(tmp_path):
    recorder = for_policy(policy(), 10 * PERIOD)
    writer = LogWriter(recorder, tmp_path / "walk.rlog", ticks=1000)
    writer.start()
    filled(4, recorder=recorder)
    recorder.on_tick = None  # the thread sleeps
    filled(20, recorder=recorder, begin=4)
    writer.close()
    rows, meta = log_file.load(tmp_path / "walk.rlog")
    assert rows["time"].tolist() == list(range(14, 24))
    assert writer.lost == 24 - 10 and meta["first"] == 15
    assert "lost because the disk was slow" in str(writer)


def test_what_comes_while_the_disk_syncs_is_not_lost_at_the_end(tmp_path, monkeypatch):
    recorder = for_policy(policy(), 1.0)
    writer = LogWriter(recorder, tmp_path / "walk.rlog", ticks=1000)
    syncing = threading.Event()
    go_on = threading.Event()

    def slow(file):
        syncing.set()
        go_on.wait(5.0)

    monkeypatch.setattr(os, "fdatasync", slow)
    writer.start()
    filled(10, recorder=recorder)
    writer.sync()
    assert syncing.wait(5.0)
    filled(7, recorder=recorder, begin=10)
    recorder.event(1.0, "the last word")
    threading.Timer(0.2, go_on.set).start()
    writer.close()
    rows, meta = log_file.load(tmp_path / "walk.rlog")
    assert rows["time"].tolist() == list(range(17))
    assert meta["closed"] and meta["events"][-1][1] == "the last word"


def test_a_run_that_never_began_leaves_the_old_log_alone(tmp_path):
    path = tmp_path / "walk.rlog"
    path.write_bytes(b"old")
    LogWriter(for_policy(policy(), 1.0), path, ticks=10).close()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_found_before_the_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"no room for a log of 1 MB \(No space left on device\)"):
        LogWriter(for_policy(policy(), 1.0), tmp_path / "walk.rlog", ticks=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_breaks_ends_the_log_and_not_the_run(tmp_path, monkeypatch):
    recorder = for_policy(policy(), 1.0)
    writer = LogWriter(recorder, tmp_path / "walk.rlog", ticks=1000)
    writer.start()
    filled(10, recorder=recorder)
    wait_until(lambda: writer._slots.done == 10)

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    filled(10, recorder=recorder, begin=10)
    wait_until(lambda: writer.trouble)
    writer.close()
    assert "it is not whole: Input/output error" in str(writer)
    assert len(log_file.load(tmp_path / "walk.rlog")[0]["time"]) == 10


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from node_helpers import rig, policy
from robot_ppo_export.policy import Policy
from robot_ppo_node.log.log_writer import LogWriter
from robot_ppo_node.clock import MonotonicClock, Pacer
r = rig(ring=10.0, clock=MonotonicClock(), p=Policy(Path({file!r})))
writer = LogWriter(r.node.recorder, Path({path!r}), ticks=30000)
writer.start()
r.node.run(on_tick=lambda: print(r.node.ticks, flush=True))
"""


def test_a_node_that_is_killed_has_lost_a_tenth_of_a_second_and_replays(tmp_path):
    path = tmp_path / "walk.rlog"
    file = policy_file(standing_up=0.2)
    code = KILLED.format(tests=str(ROOT / "tests"), file=str(file), path=str(path))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'export'}:{ROOT}"},
    )
    last = 0
    for line in process.stdout:
        last = int(line)
        if last == 120:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    rows, meta = log_file.load(path)
    assert not meta["closed"] and meta["damaged"] == 0
    assert last >= 120
    lag = round(log_writer.WRITE_EVERY / PERIOD)
    assert last - 2 * lag <= len(rows["time"]) <= last + 1
    assert (rows["policy_tick"] >= 0).any()
    from robot_ppo_export.policy import Policy

    assert replay(Policy(file), rows, meta) == len(rows["time"])


# --- where it goes


def test_without_a_name_the_log_goes_to_the_state_folder_and_the_oldest_leaves(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "robot-ppo" / "logs"
    folder.mkdir(parents=True)
    for day in range(1, 15):
        (folder / f"2026-01-{day:02}_10-00-00_go2_walk_1.rlog").touch()
    (folder / "mine.rlog").touch()
    writer = log_folder.open_log(for_policy(policy(), 1.0), None, 2.0, print)
    writer.start()
    writer.close()
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == log_folder.KEEP + 1
    assert names[0] == "2026-01-06_10-00-00_go2_walk_1.rlog"
    assert writer.path.name in names and "mine.rlog" in names


def test_without_room_and_without_a_name_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    said = []
    assert log_folder.open_log(for_policy(policy(), 1.0), None, None, said.append) is None
    assert "this run leaves no log" in said[0] and "give --record" in said[0]


def test_without_room_a_log_that_was_asked_for_is_wrong_input(tmp_path):
    recorder = for_policy(policy(), 1.0)
    for path in (tmp_path, tmp_path / "none" / "walk.rlog"):
        with pytest.raises(InputError, match="give a file in a folder that exists"):
            log_folder.open_log(recorder, path, None, print)
    with pytest.raises(InputError, match="no room for a log"):
        log_folder.open_log(recorder, Path("/proc/walk.rlog"), None, print)


# --- files from strangers


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "does not begin like one"),
        (b"PK\x03\x04 an archive of version 1 " * 9, "does not begin like one"),
        (b"RPPOLOG\n" + b"\xff" * 99, "version 4294967295"),
    ],
)
def test_what_is_not_a_log_is_an_input_error(tmp_path, data, text):
    (tmp_path / "x.rlog").write_bytes(data)
    with pytest.raises(InputError, match=f"is not a log of robot-ppo-node.*{text}"):
        log_file.load(tmp_path / "x.rlog")


def test_a_missing_log_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        log_file.load(tmp_path / "x.rlog")


WIDTHS = {"measured": 46, "health": 25, "command": 3, "observation": 71, "joints": 12}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("widths", WIDTHS | {"joints": 10**9}, "widths"),
        ("widths", {"measured": 50, "joints": 12}, "widths"),
        ("widths", WIDTHS | {"observation": 0}, "widths"),
        ("widths", WIDTHS | {"command": -1}, "widths"),
        ("widths", WIDTHS | {"command": 2}, "names more or fewer"),
        ("joints", ["a"], "names more or fewer"),
        ("command", ["a"], "names more or fewer"),
        ("control_period", 0.0, "control period"),
        ("control_period", "fast", "Expected `float`"),
        ("policy", None, "Expected `str`"),
    ],
)
def test_meta_data_that_do_not_fit_are_refused(key, value, text):
    recorder = filled(3)
    meta = log_file.msgspec.json.encode({**recorder.meta, key: value})
    data = log_file.head(meta, 0, 3, True) + log_file.add_checksums(recorder.slots[:3].copy())
    with pytest.raises((ValueError, log_file.msgspec.MsgspecError), match=text):
        log_file.parse(data)


@pytest.mark.parametrize("cut", [1, 4, 500, 5000])
def test_a_log_that_was_cut_is_refused(cut):
    with pytest.raises(ValueError, match=r"it has \d+ bytes, its head says \d+"):
        log_file.parse(whole_file()[:-cut])


def test_a_damaged_slot_costs_what_is_older_and_is_counted():
    data = bytearray(whole_file(20))
    size = log_file.tick_type(filled(0).meta["widths"]).itemsize
    data[-10 * size + 50] ^= 1
    rows, meta = log_file.parse(bytes(data))
    assert rows["time"].tolist() == list(range(11, 20))
    assert (meta["damaged"], meta["first"]) == (1, 12)


def test_every_byte_of_a_slot_is_under_its_checksum():
    data = whole_file(1)
    size = log_file.tick_type(filled(0).meta["widths"]).itemsize
    for i in range(1, size + 1):
        changed = bytearray(data)
        changed[-i] ^= 0x10
        assert log_file.parse(bytes(changed))[1]["damaged"] == 1


WHOLE = whole_file(4)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    st.integers(0, len(WHOLE)),
)
def test_a_mutated_log_loads_or_is_refused_and_nothing_else(changes, length):
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    try:
        rows, meta = log_file.parse(bytes(data[:length]))
    except (ValueError, TypeError, KeyError, log_file.msgspec.MsgspecError):
        return
    assert len(rows["time"]) + meta["damaged"] <= 5


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_meta_data_behind_a_good_head_are_refused(meta, events, ticks):
    with pytest.raises((ValueError, TypeError, KeyError, log_file.msgspec.MsgspecError)):
        log_file.parse(log_file.head(meta, events, ticks, True))


def test_the_table_of_the_documentation_is_the_layout():
    text = (ROOT / "docs" / "recording.md").read_text()
    names = {"<f8": "f64", "<f4": "f32", "u1": "u8", "<u2": "u16", "<u4": "u32", "<i8": "i64"}
    rows = []
    for name, (kind, width) in COLUMNS.items():
        number = {"": ""}.get(width, f" x {width}")
        rows.append(f"| `{name}` | {names.get(kind, '12 bytes')}{number} | ")
    found = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(found) == len(rows)
    for line, row in zip(found, rows, strict=True):
        assert line.startswith(row)
