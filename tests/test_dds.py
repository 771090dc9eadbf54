"""DDS: the configuration, and a participant that is gone when it is closed."""

import os
import time
import xml.etree.ElementTree as ElementTree

import pytest
from dds_helpers import free_domain, within

from robot_ppo_export.errors import InputError
from robot_ppo_node.drivers.dds import dds_config
from robot_ppo_node.drivers.dds.dds_config import configuration, is_loopback

pytestmark = pytest.mark.real_time

TOPIC = "rt/lowcmd"


@pytest.fixture(scope="module")
def cyclone():
    pytest.importorskip("cyclonedds")
    from robot_ppo_node.drivers.dds import participant
    from robot_ppo_node.drivers.unitree.unitree_idl import idl_type

    participant.kind = idl_type("unitree_go", "LowCmd_")
    return participant


def payload(mark):
    from robot_ppo_node.drivers.unitree.unitree_messages import Message

    message = Message("unitree_go", "LowCmd_")
    message.fields["bandwidth"] = mark
    return message.encode()


# --- configuration


def test_a_loopback_interface_announces_by_multicast_and_asks_this_computer():
    tree = ElementTree.fromstring(configuration("lo"))
    assert tree.find(".//AllowMulticast").text == "spdp"  # messages go to each reader by itself
    assert [peer.get("Address") for peer in tree.iter("Peer")] == ["127.0.0.1"]
    assert tree.find(".//NetworkInterface").get("name") == "lo"


def test_another_interface_keeps_multicast(monkeypatch):
    monkeypatch.setattr(dds_config.socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth7")])
    tree = ElementTree.fromstring(configuration("eth7", ("192.168.123.161",)))
    assert tree.find(".//AllowMulticast").text == "default"
    assert [peer.get("Address") for peer in tree.iter("Peer")] == ["192.168.123.161"]
    assert is_loopback("lo") and not is_loopback("eth7")


def test_an_interface_that_does_not_exist_is_answered_with_the_list():
    with pytest.raises(InputError, match=r"--interface eth99: this computer has .*lo"):
        configuration("eth99")


@pytest.mark.parametrize("peer", ['1.2.3.4"/><x', "a b", ""])
def test_a_peer_cannot_write_into_the_configuration(peer):
    with pytest.raises(InputError, match="is not an address"):
        configuration("lo", (peer,))


def test_a_missing_library_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cyclonedds", None)
    with pytest.raises(InputError, match=r"pip install 'robot-ppo\[unitree\]'"):
        dds_config.require_cyclonedds("unitree")


@pytest.mark.parametrize("domain", [-1, 233])
def test_a_domain_that_cannot_be_is_refused(cyclone, domain):
    with pytest.raises(InputError, match="between 0 and 232"):
        cyclone.Bus(domain)


# --- bytes


def test_bytes_cross_the_domain_and_only_the_newest_is_kept(cyclone):
    domain = free_domain()
    with cyclone.Bus(domain) as a, cyclone.Bus(domain) as b:
        reader = a.reader(TOPIC, cyclone.kind)
        writer = b.writer(TOPIC, cyclone.kind)
        assert within(2, lambda: writer.readers)
        for mark in range(5):
            writer.write(payload(mark))
        assert within(2, lambda: reader.newest()) == payload(4)
        assert reader.newest() is None
        assert writer.sends.lost == 0


def test_waiting_ends_with_a_sample_or_with_the_time(cyclone):
    domain = free_domain()
    with cyclone.Bus(domain) as a, cyclone.Bus(domain) as b:
        reader = a.reader(TOPIC, cyclone.kind)
        writer = b.writer(TOPIC, cyclone.kind)
        before = time.monotonic()
        assert not reader.wait(0.05)
        assert time.monotonic() - before >= 0.05
        assert within(2, lambda: writer.readers)
        writer.write(payload(7))
        assert reader.wait(2.0)
        assert reader.newest() == payload(7)
        assert not reader.wait(0.0)


def test_a_reader_of_others_does_not_hear_its_own_participant(cyclone):
    domain = free_domain()
    with cyclone.Bus(domain) as a, cyclone.Bus(domain) as b:
        others = a.reader(TOPIC, cyclone.kind, others=True)
        all_ = b.reader(TOPIC, cyclone.kind)
        own = a.writer(TOPIC, cyclone.kind)
        own.write(payload(1))
        assert within(2, lambda: all_.newest()) == payload(1)
        assert others.newest() is None
        b.writer(TOPIC, cyclone.kind).write(payload(2))
        assert within(2, lambda: others.newest()) == payload(2)


def test_a_reader_of_others_does_not_hear_who_carries_its_token(cyclone):
    domain = free_domain()
    with (
        cyclone.Bus(domain, token=b"ours") as bus,
        cyclone.Bus(domain, token=b"ours") as ally,
        cyclone.Bus(domain, token=b"else") as stranger,
    ):
        others = bus.reader(TOPIC, cyclone.kind, others=True)
        all_ = bus.reader(TOPIC, cyclone.kind)
        writer = ally.writer(TOPIC, cyclone.kind)
        assert within(2, lambda: writer.readers == 2)
        writer.write(payload(1))
        assert within(2, lambda: all_.newest()) == payload(1)
        assert others.newest() is None
        stranger.writer(TOPIC, cyclone.kind).write(payload(2))
        assert within(2, lambda: others.newest()) == payload(2)


def test_bytes_that_are_no_sample_are_counted_and_not_raised(cyclone):
    with cyclone.Bus(free_domain()) as bus:
        writer = bus.writer(TOPIC, cyclone.kind)
        writer.write(b"\x00\x01\x00\x00short")
        assert writer.sends.lost == 1
        time.sleep(0.02)
        assert writer.sends.failing() > 0.01
        writer.write(payload(1))
        assert writer.sends.lost == 1 and writer.sends.failing() == 0


# --- who else writes


def test_a_watch_sees_others_come_and_go_but_not_us(cyclone):
    domain = free_domain()
    with cyclone.Bus(domain) as bus:
        watch = bus.watch(TOPIC)
        bus.writer(TOPIC, cyclone.kind)
        assert watch.writers() == ()
        with cyclone.Bus(domain) as other:
            other.writer("rt/elsewhere", cyclone.kind)
            other.writer(TOPIC, cyclone.kind)
            assert within(2, watch.writers) == ("unitree_go::msg::dds_::LowCmd_",)
        assert within(2, lambda: watch.writers() == ())


def test_a_watch_does_not_report_who_carries_our_token(cyclone):
    domain = free_domain()
    with (
        cyclone.Bus(domain, token=b"ours") as bus,
        cyclone.Bus(domain, token=b"ours") as ally,
        cyclone.Bus(domain, token=b"else") as stranger,
    ):
        watch = bus.watch(TOPIC)
        ally.writer(TOPIC, cyclone.kind)
        assert not within(0.1, watch.writers)
        stranger.writer(TOPIC, cyclone.kind)
        assert within(2, watch.writers)


# --- closing


def threads():
    return len(os.listdir("/proc/self/task"))


def test_closing_leaves_no_thread_and_the_domain_can_be_joined_again(cyclone):
    domain = free_domain()
    before = threads()
    for _ in range(3):
        bus = cyclone.Bus(domain)
        bus.reader(TOPIC, cyclone.kind)
        bus.watch(TOPIC)
        assert threads() > before
        bus.close()
        bus.close()
        assert threads() == before
    assert domain not in cyclone._Domains.open


def test_one_process_has_one_configuration_for_a_domain(cyclone):
    domain = free_domain()
    with cyclone.Bus(domain):
        with pytest.raises(InputError, match="open already"):
            cyclone.Bus(domain, peers=("127.0.0.2",))
        cyclone.Bus(domain).close()
