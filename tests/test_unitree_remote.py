"""The remote control: 40 bytes there and back, and sticks scaled to the trained ranges."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_ppo_node.commands.base import from_sticks
from robot_ppo_node.commands.remote_commands import RemoteCommands
from robot_ppo_node.drivers.unitree.unitree_remote import (
    BUTTONS,
    Remote,
    decode,
    encode,
)

BOUNDS = np.array([[-0.5, 1.0], [-0.3, 0.4], [-0.7, 0.8]])
NOTHING = Remote(frozenset(), 0.0, 0.0, 0.0, 0.0)
stick = st.floats(-1, 1, width=32)


def remote(**changes):
    return Remote(**{"buttons": frozenset(), "lx": 0.0, "ly": 0.0, "rx": 0.0, "ry": 0.0, **changes})


def test_the_layout_is_the_published_one():
    """Byte by byte, written down independently of the code."""
    data = bytearray(40)
    data[2:4] = (1 << 5 | 1 << 9).to_bytes(2, "little")  # L2 and B
    for at, value in ((4, 0.25), (8, 0.5), (12, -0.5), (16, 9.0), (20, -1.0)):
        data[at : at + 4] = struct.pack("<f", value)
    got = decode(bytes(data))
    assert got == Remote(frozenset({"L2", "B"}), lx=0.25, ly=-1.0, rx=0.5, ry=-0.5)
    assert got.e_stop


@given(st.frozensets(st.sampled_from(BUTTONS)), stick, stick, stick, stick)
def test_there_and_back(buttons, lx, ly, rx, ry):
    sent = Remote(buttons, lx, ly, rx, ry)
    data = encode(sent)
    assert len(data) == 40
    if any(data):  # nobody can tell an idle remote from none
        assert decode(data) == sent


def test_no_remote_and_broken_sticks():
    assert decode(bytes(40)) is None
    assert decode(encode(remote(buttons=frozenset("A"), lx=float("nan"), ly=0.5))) == remote(
        buttons=frozenset("A")
    )
    assert decode(encode(remote(ly=7.0))).ly == 1.0


@pytest.mark.parametrize("broken", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", ["lx", "ly", "rx", "ry"])
def test_a_broken_stick_does_not_take_the_stop_away(name, broken):
    heard = decode(encode(remote(buttons=frozenset({"L2", "B"}), **{name: float(broken)})))
    assert heard is not None and heard.e_stop
    assert not from_sticks(heard.sticks, BOUNDS).any()


@pytest.mark.parametrize("held", [{"L2"}, {"B"}, {"L1", "B"}, {"R2", "B"}])
def test_half_a_chord_is_no_stop(held):
    assert not remote(buttons=frozenset(held)).e_stop
    assert remote(buttons=frozenset(held | {"L2", "B"})).e_stop


@pytest.mark.parametrize(
    ("sticks", "command"),
    [
        ({"ly": 1.0}, (1.0, 0, 0)),  # forward to the end: the end of the trained range
        ({"ly": -1.0}, (-0.5, 0, 0)),
        ({"ly": 0.54}, (0.5, 0, 0)),
        ({"lx": 1.0}, (0, -0.3, 0)),  # the stick to the right: the robot to the right, -y
        ({"lx": -1.0}, (0, 0.4, 0)),
        ({"rx": 1.0}, (0, 0, -0.7)),  # turn right
        ({"rx": -0.54}, (0, 0, 0.4)),
        ({"ry": 1.0}, (0, 0, 0)),
        ({"ly": 0.04, "rx": -0.04}, (0, 0, 0)),  # let go
    ],
)
def test_sticks_are_scaled_to_the_trained_ranges(sticks, command):
    assert from_sticks(remote(**sticks).sticks, BOUNDS) == pytest.approx(command)


class Hears:
    remote = None
    remote_heard = -np.inf


def test_a_remote_that_was_never_heard_is_infinitely_old_and_else_ages():
    driver = Hears()
    commands = RemoteCommands(driver, BOUNDS)
    command, age = commands.read(5.0)
    assert age == np.inf and not command.any()
    driver.remote = remote(ly=1.0)
    driver.remote_heard = 4.0
    command, age = commands.read(5.0)
    assert command == pytest.approx((1.0, 0, 0)) and age == 1.0
