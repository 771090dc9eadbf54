"""Command sources: the trained range, silence, buttons, and datagrams that nobody may forge."""

import argparse
import contextlib
import os
import struct
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from evdev import AbsInfo, InputEvent, ecodes
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import PERIOD, ROOT, rig

from robot_ppo_export.contract.command import twist
from robot_ppo_export.errors import InputError
from robot_ppo_node.app import cli
from robot_ppo_node.commands import command_frames
from robot_ppo_node.commands.base import (
    COMMAND_TIMEOUT,
    DEAD_MAN,
    DEAD_ZONE,
    Chosen,
    FixedCommand,
    from_sticks,
)
from robot_ppo_node.commands.choose import choose
from robot_ppo_node.commands.command_frames import BODY, DroppedError, Order
from robot_ppo_node.commands.gamepad import Gamepad, open_device
from robot_ppo_node.commands.keyboard import Keyboard
from robot_ppo_node.commands.remote_commands import RemoteCommands
from robot_ppo_node.commands.udp_commands import CommandSender, UdpCommands, address
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.unitree.unitree_remote import Remote

pytestmark = pytest.mark.real_time

COMMAND = twist((-0.5, 1.0), (-0.3, 0.4), (-0.7, 0.7))
BOUNDS = COMMAND.bounds()
KEY = b"k" * 32
OTHER = b"o" * 32
NOW = 1_700_000_000 * 10**9


class Actions(dict):
    """What was done by hand."""

    def __init__(self):
        self.done = []
        done = self.done
        super().__init__(damp=done.append, approve=lambda: done.append("approve"), say=done.append)


# --- sticks


def test_the_ends_of_a_stick_are_the_ends_of_the_trained_range():
    for side, ends in ((1, BOUNDS[:, 1]), (-1, BOUNDS[:, 0])):
        assert from_sticks(side * np.ones(3), BOUNDS) == pytest.approx(ends)
        assert from_sticks(side * np.full(3, 7.0), BOUNDS) == pytest.approx(ends)


def test_around_the_middle_a_stick_means_nothing_and_beyond_it_there_is_no_jump():
    assert not from_sticks(np.full(3, DEAD_ZONE), BOUNDS).any()
    assert not from_sticks(np.full(3, -DEAD_ZONE * 0.99), BOUNDS).any()
    assert np.abs(from_sticks(np.full(3, DEAD_ZONE + 1e-3), BOUNDS)).max() < 2e-3


def test_half_way_outside_of_the_dead_zone_is_half_of_the_range():
    half = DEAD_ZONE + (1 - DEAD_ZONE) / 2
    assert from_sticks(np.full(3, half), BOUNDS) == pytest.approx(BOUNDS[:, 1] / 2)


def test_a_range_without_zero_never_turns_a_stick_around():
    forward_only = np.array([[0.2, 1.0]] * 3, np.float32)
    assert not from_sticks(-np.ones(3), forward_only).any()
    assert from_sticks(np.ones(3), forward_only) == pytest.approx(np.ones(3))


# --- several sources, and the robot's own


def test_the_others_are_listened_to_but_do_not_command():
    class Loud(FixedCommand):
        heard = 0

        def read(self, now):
            self.heard += 1
            raise OSError("broken")

    loud = Loud((9, 9, 9))
    chosen = Chosen(FixedCommand((0.1, 0.2, 0.3)), loud)
    command, age = chosen.read(0.0)
    assert command == pytest.approx([0.1, 0.2, 0.3]) and age == 0 and loud.heard == 1


def test_the_log_says_who_commanded_and_how_old_it_was():
    heard = SimpleNamespace(remote=Remote(frozenset(), 0, 1, 0, 0), remote_heard=0.0)
    r = rig(commands=RemoteCommands(heard, BOUNDS), ring=1.0).ticks(3)
    rows = r.node.recorder.rows()
    assert rows["source"].tolist() == [b"remote"] * 3
    assert rows["wanted_age"] == pytest.approx([0.02, 0.04, 0.06])
    assert rows["wanted"][:, 0] == pytest.approx(np.ones(3))


# --- keyboard


class Keys:
    """A keyboard whose terminal is a pipe."""

    def __init__(self, start=(0, 0, 0), **options):
        out, self.into = os.pipe()
        self.said = []
        self.keyboard = Keyboard(BOUNDS, start, {}, out, say=self.said.append, **options)

    def press(self, keys):
        os.write(self.into, keys)


def test_a_command_lapses_without_a_key_and_no_key_brings_it_back():
    """Negative control of a lost link: the terminal is still there, and says nothing."""
    keys = Keys()
    keys.press(b"w")
    command, age = keys.keyboard.read(10.0)
    assert command[0] == pytest.approx(0.15) and age == 0
    assert keys.keyboard.left(11.0) == pytest.approx(DEAD_MAN - 1)
    command, age = keys.keyboard.read(10.0 + DEAD_MAN)
    assert command[0] == pytest.approx(0.15) and age == 0 and keys.said == []
    command, age = keys.keyboard.read(10.1 + DEAD_MAN)
    assert not command.any() and age == pytest.approx(DEAD_MAN + 0.1)
    assert keys.said == ["no key for 3 s: the command is zero"]
    keys.press(b"\n")
    command, age = keys.keyboard.read(20.0)
    assert not command.any() and age == 0 and keys.keyboard.left(20.0) == np.inf


def test_any_key_renews_the_command():
    keys = Keys(dead_man=1.0)
    keys.press(b"w")
    for i in range(50):
        command, age = keys.keyboard.read(0.9 * i)
        assert command[0] == pytest.approx(0.15) and age == 0
        keys.press(b"\n")


def test_a_command_of_the_command_line_stays_until_somebody_is_at_the_keys():
    keys = Keys(start=(0.5, 0, 0))
    assert keys.keyboard.read(1e6)[0][0] == 0.5
    keys.press(b"p")
    assert keys.keyboard.read(1e6)[0][0] == 0.5
    assert not keys.keyboard.read(1e6 + DEAD_MAN + 1)[0].any()


def test_a_robot_whose_operator_is_gone_stands_after_the_dead_mans_time():
    keys = Keys()
    r = rig(commands=keys.keyboard).until(State.POLICY)
    keys.press(b"ww")
    r.ticks(round(DEAD_MAN / PERIOD))
    assert r.node.command[0] > 0.2
    r.ticks(3)
    assert not r.node.command.any() and r.node.state is State.POLICY


# --- gamepad


class Pad:
    """An evdev device whose events are in a list; unplugged, it raises as the kernel does."""

    path = "/dev/input/event7"
    name = "pad"

    def __init__(self, *axes, middle=128):
        self.fd, self._other = os.pipe()
        self.events = []
        self.unplugged = False
        names = axes or ("ABS_X", "ABS_Y", "ABS_RX")
        info = AbsInfo(middle, 0, 256, 0, 0, 0)
        self.axes = {ecodes.ecodes[name]: info for name in names}

    def capabilities(self, absinfo=False):
        return {ecodes.EV_ABS: list(self.axes.items()), ecodes.EV_KEY: [ecodes.BTN_SOUTH]}

    def absinfo(self, code):
        return self.axes[code]

    def read(self):
        if self.unplugged:
            raise OSError(19, "No such device")
        if not self.events:
            raise BlockingIOError
        events = self.events
        self.events = []
        return iter(events)

    def push(self, kind, name, value):
        self.events.append(InputEvent(0, 0, kind, ecodes.ecodes[name], value))


@pytest.fixture
def pad():
    return Pad()


@pytest.fixture
def gamepad(pad):
    return Gamepad(pad, BOUNDS, Actions())


@pytest.mark.parametrize(
    ("axis", "value", "command"),
    [
        ("ABS_Y", 0, (1.0, 0, 0)),  # a pad's up is the small end
        ("ABS_Y", 256, (-0.5, 0, 0)),
        ("ABS_X", 0, (0, 0.4, 0)),
        ("ABS_X", 256, (0, -0.3, 0)),
        ("ABS_RX", 0, (0, 0, 0.7)),
        ("ABS_RX", 256, (0, 0, -0.7)),
    ],
)
def test_a_stick_commands_its_axis_the_right_way_round(gamepad, pad, axis, value, command):
    assert gamepad.read(0.0)[0].tolist() == [0, 0, 0]
    pad.push(ecodes.EV_ABS, axis, value)
    got, age = gamepad.read(0.1)
    assert got == pytest.approx(command) and age == 0
    assert gamepad.read(9.0)[0] == pytest.approx(command)  # held still, a stick sends nothing


def test_a_pad_that_turns_with_abs_z_is_one_too():
    pad = Pad("ABS_X", "ABS_Y", "ABS_Z")
    gamepad = Gamepad(pad, BOUNDS, Actions())
    pad.push(ecodes.EV_ABS, "ABS_Z", 0)
    assert gamepad.read(0.0)[0][2] == pytest.approx(0.7)


def test_buttons_damp_and_go_when_they_are_pressed_and_not_when_released(gamepad, pad):
    for value in (1, 2, 0):
        pad.push(ecodes.EV_KEY, "BTN_EAST", value)
        pad.push(ecodes.EV_KEY, "BTN_START", value)
    pad.push(ecodes.EV_KEY, "BTN_WEST", 1)
    gamepad.read(0.0)
    assert gamepad.operator.done == ["gamepad button B", "approve"]


def test_an_unplugged_pad_is_silent_and_the_robot_stands(gamepad, pad):
    pad.push(ecodes.EV_ABS, "ABS_Y", 0)
    gamepad.bounds = np.array([[-0.5, 0.5], [-0.3, 0.3], [-0.7, 0.7]], np.float32)
    r = rig(commands=gamepad).until(State.POLICY).ticks(2)
    assert r.node.command[0] == pytest.approx(0.5)
    pad.unplugged = True
    r.ticks(1)
    assert not r.node.command.any() and r.node.state is State.POLICY
    r.ticks(50)
    (said,) = gamepad.operator.done
    assert said.startswith("the gamepad is gone") and gamepad.read(1.0)[1] == np.inf


def test_after_a_lost_event_the_sticks_are_asked_where_they_are(gamepad, pad):
    code = ecodes.ecodes["ABS_Y"]
    pad.axes[code] = pad.axes[code]._replace(value=0)
    assert gamepad.read(0.0)[0][0] == 0
    pad.push(ecodes.EV_SYN, "SYN_DROPPED", 0)
    assert gamepad.read(0.0)[0][0] == pytest.approx(1.0)


def test_what_has_no_sticks_is_refused():
    with pytest.raises(InputError, match=r"event7 \(pad\) does not have two sticks"):
        Gamepad(Pad("ABS_X", "ABS_Y"), BOUNDS, Actions())


def test_without_a_gamepad_it_says_what_there_is():
    with pytest.raises(InputError, match=r"no gamepad found among \[/dev/input/none: No such"):
        open_device("/dev/input/none")


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "evdev", None)
    with pytest.raises(InputError, match=r"pip install 'robot-ppo\[gamepad\]'"):
        open_device(None)


# --- datagrams


def order(stamp=NOW, command=(0.5, -0.25, 1.0), stop=False):
    return Order(stamp, command, stop)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("stop", [False, True])
def test_an_order_comes_back(key, stop):
    given = order(command=(0, 0, 0), stop=True) if stop else order()
    assert command_frames.decode(command_frames.encode(given, key), key) == given


def test_the_datagram_is_the_documented_one():
    data = command_frames.encode(order(stop=True), KEY)
    assert len(data) == 28 + 32
    assert struct.unpack_from("<4sBBHQfff", data) == (b"RPCM", 1, 1, 0, NOW, 0.5, -0.25, 1.0)
    text = (ROOT / "docs" / "commands.md").read_text()
    for offset, size in ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 12), (28, 32)):
        assert f"| {offset} | {size} | " in text


def test_hmac_is_that_of_the_standard():
    """Test case 2 of RFC 4231."""
    tag = command_frames._tag(b"what do ya want for nothing?", b"Jefe")
    assert tag.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "length"),
        (command_frames.encode(order(), None), "length"),
        (command_frames.encode(order(), OTHER), "not authentic"),
        (command_frames.encode(order(), KEY)[:-1] + b"\0", "not authentic"),
        (command_frames.encode(order(command=(np.nan, 0, 0)), KEY), "not a number"),
    ],
)
def test_what_is_not_an_order_is_dropped_with_its_reason(data, reason):
    with pytest.raises(DroppedError, match=reason):
        command_frames.decode(data, KEY)


@pytest.mark.parametrize(("at", "value"), [(0, 0), (4, 2), (5, 2), (5, 3), (6, 1)])
def test_a_head_that_is_not_ours_is_dropped_although_it_is_authentic(at, value):
    body = bytearray(command_frames.encode(order(), KEY)[: BODY.size])
    body[at] = value
    with pytest.raises(DroppedError, match="not a command"):
        command_frames.decode(bytes(body) + command_frames._tag(bytes(body), KEY), KEY)


@settings(max_examples=1000)
@given(st.integers(0, 59), st.integers(1, 255))
def test_no_changed_byte_is_authentic(at, change):
    data = bytearray(command_frames.encode(order(), KEY))
    data[at] ^= change
    with pytest.raises(DroppedError, match="not authentic"):
        command_frames.decode(bytes(data), KEY)


@settings(max_examples=1000)
@given(st.binary(max_size=100))
def test_any_bytes_are_an_order_or_dropped(data):
    for key in (None, KEY):
        try:
            found = command_frames.decode(data, key)
        except DroppedError:
            continue
        assert np.isfinite(found.command).all()


class Wire:
    """A source and raw datagrams to it, at times of our choosing."""

    def __init__(self, key=KEY):
        self.operator = Actions()
        self.time = NOW
        self.source = UdpCommands(self.operator, port=0, key=key, wall=lambda: self.time)
        self.sender = CommandSender("127.0.0.1", self.source.port, key)

    def put(self, data, now=0.0):
        self.sender._socket.send(data)
        return self.source.read(now)

    def give(self, o, now=0.0, key=KEY):
        return self.put(command_frames.encode(o, key), now)

    def close(self):
        self.source.close()
        self.sender._socket.close()


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.close()


def test_an_order_is_taken_and_ages_from_its_arrival(wire):
    assert wire.source.read(0.0)[1] == np.inf
    command, age = wire.give(order(), now=1.0)
    assert command == pytest.approx([0.5, -0.25, 1.0]) and age == 0
    assert wire.source.read(1.3)[1] == pytest.approx(0.3)


def test_a_replayed_datagram_is_dropped_and_does_not_refresh(wire):
    data = command_frames.encode(order(), KEY)
    wire.put(data, 0.0)
    _, age = wire.put(data, 0.4)
    assert age == pytest.approx(0.4) and wire.source.dropped == {"replayed": 1}


def test_reordered_datagrams_do_not_bring_an_old_command_back(wire):
    wire.give(order(NOW + 10, (0.1, 0, 0)))
    command, _ = wire.give(order(NOW + 5, (0.9, 0, 0)))
    assert command[0] == pytest.approx(0.1) and wire.source.dropped == {"replayed": 1}


@pytest.mark.parametrize("seconds", [-1.1, 1.1, -1e9, 1e9])
def test_a_stamp_of_another_time_is_dropped(wire, seconds):
    _, age = wire.give(order(NOW + int(seconds * 1e9)))
    assert age == np.inf and wire.source.dropped == {"clock": 1}


def test_a_recording_is_worthless_to_a_restarted_node_after_the_window(wire):
    data = command_frames.encode(order(), KEY)
    wire.put(data)
    again = Wire()
    again.time = NOW + int(1.01e9)
    assert again.put(data)[1] == np.inf and again.source.dropped == {"clock": 1}
    again.close()


STOPPED = "emergency stop over UDP"


def test_an_emergency_stop_is_obeyed_only_if_it_is_authentic(wire):
    wire.give(order(NOW + 1, stop=True), key=OTHER)
    assert wire.operator.done == [] and wire.source.dropped == {"not authentic": 1}
    command, age = wire.give(order(stop=True))
    assert wire.operator.done == [STOPPED] and not command.any() and age == 0


@pytest.mark.parametrize("seconds", [-1e9, -1.1, 1.1, 1e9])
def test_a_stop_counts_whatever_the_clocks_say_and_lets_nothing_else_in(wire, seconds):
    wire.give(order(NOW + int(seconds * 1e9), stop=True))
    assert wire.operator.done == [STOPPED]
    wire.give(order(NOW + int(seconds * 1e9)))  # negative control: a command does not
    assert wire.source.dropped == {"clock": 1}
    assert wire.give(order())[0][0] == 0.5  # and nobody's next command is taken for an old one


def test_a_stop_counts_beside_a_second_sender_whose_clock_is_ahead(wire):
    wire.give(order(NOW + 9 * 10**8))
    wire.give(order(NOW + 1, stop=True))
    assert wire.operator.done == [STOPPED]
    wire.give(order(NOW + 2))
    assert wire.source.dropped == {"replayed": 1}


def test_a_stop_counts_whatever_command_it_carries(wire):
    data = command_frames.encode(order(command=(np.nan,) * 3, stop=True), KEY)
    wire.put(data)
    assert wire.operator.done == [STOPPED]


@pytest.mark.parametrize("key", [None, KEY])
def test_a_stop_is_answered_with_its_stamp_and_an_answer_stops_nobody(key):
    wire = Wire(key)
    wire.give(order(stop=True), key=key)
    data = wire.sender._socket.recv(256)
    assert command_frames.decode_answer(data, key) == NOW
    wire.put(data)
    assert wire.operator.done == [STOPPED] and wire.source.dropped == {"not a command": 1}
    for forged in (command_frames.encode(order(), key), data[:-1] + b"\1", data[:-1]):
        with pytest.raises(DroppedError):
            command_frames.decode_answer(forged, key or KEY)
    wire.close()


def test_a_flood_of_forged_datagrams_neither_blocks_nor_commands(wire):
    for i in range(500):
        wire.sender._socket.send(command_frames.encode(order(NOW + i), OTHER))
    _, age = wire.source.read(0.0)
    assert age == np.inf
    assert 0 < wire.source.dropped["not authentic"] <= 64
    for _ in range(10):
        wire.source.read(0.0)
    assert wire.give(order())[1] == 0


@contextlib.contextmanager
def listening(source, now=0.0):
    """A node's tick, again and again."""
    over = threading.Event()

    def tick():
        while not over.wait(0.005):
            source.read(now)

    thread = threading.Thread(target=tick)
    thread.start()
    yield
    over.set()
    thread.join()


def test_the_helper_sends_what_the_source_takes():
    source = UdpCommands(Actions(), port=0)
    with CommandSender("127.0.0.1", source.port) as sender:
        sender.send((0.25, 0, 0))
        sender.send((0.5, 0, 0))
        time.sleep(0.02)
        assert source.read(0.0)[0][0] == 0.5
        with listening(source):
            sender.stop()
    stops = len(source.operator.done)
    assert source.operator.done == [STOPPED] * stops and stops >= 1
    assert f"{2 + stops} taken, dropped: none" in source.remarks()
    source.close()


def test_a_stop_is_sent_until_the_node_answers():
    source = UdpCommands(Actions(), port=0)
    with CommandSender("127.0.0.1", source.port) as sender:
        later = threading.Timer(0.3, source.read, (0.0,))
        later.start()
        sender.stop()
        later.join()
    assert len(source.operator.done) >= 3
    source.close()


def test_a_stop_that_nobody_takes_is_said_and_takes_a_second(capsys):
    source = UdpCommands(Actions(), port=0)
    to = f"127.0.0.1:{source.port}"
    began = time.monotonic()
    assert cli.main(["command", "--stop", "--to", to]) == 3
    assert 0.9 < time.monotonic() - began < 3
    assert f"the stop was not taken: for 1 s no answer from {to}" in capsys.readouterr().err
    source.close()
    assert cli.main(["command", "--stop", "--to", to]) == 3
    assert f"for 1 s Connection refused from {to}" in capsys.readouterr().err


def test_silence_stops_the_robot_after_the_time_out():
    source = UdpCommands(Actions(), port=0)
    r = rig(commands=source).until(State.POLICY)
    with CommandSender("127.0.0.1", source.port) as sender:
        sender.send((0.5, 0.0, 0.0))
        time.sleep(0.02)
        r.ticks(round(COMMAND_TIMEOUT / PERIOD))
        assert r.node.command[0] == pytest.approx(0.5)
        r.ticks(2)
        assert not r.node.command.any() and r.node.state is State.POLICY
    source.close()


# --- keys and addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "localhost", "robot"])
def test_beyond_loopback_there_is_no_listening_without_a_key(host):
    with pytest.raises(InputError, match="need --key FILE on both sides"):
        UdpCommands(Actions(), host=host, port=0)


def test_beyond_loopback_with_a_key_there_is():
    UdpCommands(Actions(), host="0.0.0.0", port=0, key=KEY).close()


def test_a_key_is_random_private_and_not_overwritten(tmp_path):
    a = tmp_path / "a"
    b = tmp_path / "b"
    for path in (a, b):
        command_frames.new_key(path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert command_frames.read_key(a) != command_frames.read_key(b)
    assert len(command_frames.read_key(a)) == 32
    with pytest.raises(InputError, match="is there already"):
        command_frames.new_key(a)


@pytest.mark.parametrize("text", ["", "abcd", "no hexadecimal digits", "ab" * 31])
def test_a_key_that_is_too_short_or_none_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InputError, match="--new-key"):
        command_frames.read_key(tmp_path / "key")


def test_a_key_that_others_may_read_is_refused(tmp_path):
    command_frames.new_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        command_frames.read_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "robot", "127.0.0.1:x", "127.0.0.1:70000", "1.2.3", "::1"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="is not an IPv4 address"):
        address(text)


def test_an_address_without_a_port_has_the_usual_one():
    assert address("10.0.0.1") == ("10.0.0.1", command_frames.DEFAULT_PORT)
    assert address("10.0.0.1:5") == ("10.0.0.1", 5)


# --- from the command line


def options(**changes):
    given = {"source": None, "command": "0.1,0,0", "listen": "127.0.0.1:0", "key": None}
    return argparse.Namespace(**(given | {"gamepad": None, "driver": "fake"} | changes))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("keyboard", "needs a terminal"),
        ("remote", "driver fake hears no remote control"),
        ("joystick", "unknown command source 'joystick'"),
    ],
)
def test_a_source_that_cannot_be_is_wrong_input(source, text):
    with pytest.raises(InputError, match=text):
        choose(options(source=source), COMMAND, Actions(), object(), Connection(), None)


def test_what_the_robot_hears_is_a_source():
    hears = SimpleNamespace(remote=None, remote_heard=-np.inf)
    source = choose(options(source="remote"), COMMAND, Actions(), hears, Connection(), None)
    assert source.name == "remote" and source.read(1.0)[1] == np.inf
    topic = choose(
        options(source="cmd_vel"), COMMAND, Actions(), hears, Connection(domain=97), None
    )
    assert topic.name == "cmd_vel" and topic.read(1.0)[1] == np.inf
    topic.close()


def test_the_keyboard_stays_beside_another_source():
    keyboard = FixedCommand((9, 9, 9))
    source = choose(options(source="fixed"), COMMAND, Actions(), object(), Connection(), keyboard)
    assert source.name == "fixed" and source.read(0.0)[0][0] == pytest.approx(0.1)
    assert choose(options(), COMMAND, Actions(), object(), Connection(), keyboard) is keyboard
    assert choose(options(), COMMAND, Actions(), object(), Connection(), None).name == "fixed"


def test_the_command_lines_dead_mans_time_is_the_codes():
    parsed = cli.parser().parse_args(["run", "FILE", "--driver", "fake"])
    assert parsed.dead_man == DEAD_MAN


def test_the_command_line_sends_commands_and_stops(tmp_path, capsys):
    key = str(tmp_path / "walk.key")
    assert cli.main(["command", "--new-key", key]) == 0
    operator = Actions()
    source = UdpCommands(operator, port=0, key=command_frames.read_key(tmp_path / "walk.key"))
    to = ("--to", f"127.0.0.1:{source.port}")
    assert cli.main(["command", "0.5,0,0", "--seconds", "0.1", *to, "--key", key]) == 0
    assert cli.main(["command", "0.7,0,0", "--seconds", "0.1", *to]) == 0  # without the key
    time.sleep(0.02)
    command, age = source.read(0.0)
    assert command[0] == 0.5 and age == 0 and source.accepted == 2
    assert source.dropped == {"length": 2}
    with listening(source):
        assert cli.main(["command", "--stop", *to]) == 3  # without the key
        assert operator.done == []
        assert cli.main(["command", "--stop", *to, "--key", key]) == 0
    assert set(operator.done) == {STOPPED}
    source.close()
    assert cli.main(["command", "fast", *to]) == 2
    assert "is not three numbers" in capsys.readouterr().err
