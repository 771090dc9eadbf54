"""Who describes the same bytes otherwise, or looks for others otherwise, is met or named."""

import subprocess
import sys
import time

import numpy as np
import pytest
from dds_helpers import Alive, free_domain, within
from node_helpers import robot

pytest.importorskip("cyclonedds")

from cyclonedds.idl import make_idl_struct, types

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.drivers.dds import dds_config, participant
from robot_ppo_node.drivers.dds.type_descriptions import members, type_id
from robot_ppo_node.drivers.unitree.unitree_bodies import QUADRUPED
from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS
from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
from robot_ppo_node.drivers.unitree.unitree_messages import Message, decode
from robot_ppo_node.drivers.unitree.unitree_states import STATES
from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot

pytestmark = pytest.mark.real_time

GO2 = robot()
NAMES = GO2.joint_names
STATE, COMMAND = (idl_type("unitree_go", name, "uint8") for name in ("LowState_", "LowCmd_"))
MULTICAST = """
import sys, time
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import make_idl_struct, types
from cyclonedds.pub import DataWriter
from cyclonedds.topic import Topic
domain = int(sys.argv[1])
interface = '<NetworkInterface name="lo" multicast="true"/>'
xml = f'<General><Interfaces>{interface}</Interfaces></General>'
keep = Domain(domain, f'<CycloneDDS><Domain Id="any">{xml}</Domain></CycloneDDS>')
kind = make_idl_struct("Number_", "test.Number_", {"value": types.int32})
participant = DomainParticipant(domain)
writer = DataWriter(participant, Topic(participant, "rt/number", kind))
print("there", flush=True)
time.sleep(30)
"""
"""A program that is configured as vendors' are: it announces itself by multicast alone."""


def driver(domain, **connection):
    connection = {
        "robot": GO2,
        "domain": domain,
        "wait": 5.0,
        "motion_mode": "ignore",
        **connection,
    }
    return create("unitree", MonotonicClock(), Connection(**connection))


class SendsStates:
    """A robot on a domain that describes its states as `kind` does."""

    def __init__(self, bus, kind):
        self.writer = bus.writer(STATES, kind)
        self.state = Message("unitree_go", "LowState_")

    def send(self):
        self.writer.write(self.state.encode())
        return True


def opened(meets, wire):
    """Open a driver while a robot sends; return once it is open."""
    import threading

    stop = threading.Event()

    def live():
        while not stop.is_set():
            wire.send()
            time.sleep(0.01)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        meets.open(NAMES, GO2.feet)
    finally:
        stop.set()
        thread.join()


def test_the_two_ways_to_declare_an_octet_are_two_types_of_the_same_bytes():
    """Negative control: without adapting, nothing of below would connect."""
    for family, name in (("unitree_go", "LowCmd_"), ("unitree_hg", "LowState_")):
        ours = idl_type(family, name)
        theirs = idl_type(family, name, "uint8")
        assert type_id(ours) != type_id(theirs)
        changed = {m for m, kind in members(ours).items() if members(theirs)[m] != kind}
        assert changed == {m for m, kind in members(ours).items() if "byte" in kind}
    with participant.Bus(free_domain()) as bus:
        reader = bus.reader(STATES, idl_type("unitree_go", "LowState_"))
        bus.writer(STATES, STATE)
        assert not within(0.3, lambda: reader.writers)


def test_the_driver_meets_a_robot_that_declares_octets_as_uint8():
    domain = free_domain()
    said = []
    meets = driver(domain, say=said.append)
    with participant.Bus(domain) as bus:
        wire = SendsStates(bus, STATE)
        commands = bus.reader(COMMANDS, COMMAND)
        opened(meets, wire)
        try:
            assert said == ["driver unitree: the robot declares an octet as uint8"]
            wire.send()
            assert within(2, meets.read)
            assert within(2, lambda: commands.writers)
            meets.write(MotorCommand(*np.ones((3, 12), np.float32)))
            payload = within(2, commands.newest)
            assert decode(payload, "unitree_go", "LowCmd_").motors["kp"][:12].all()
            assert meets.damping_sender(np.ones(12, "f4")).arguments["octet"] == "uint8"
        finally:
            meets.close()


def test_the_simulated_robot_meets_a_client_that_declares_octets_as_uint8():
    domain = free_domain()
    alive = Alive(UnitreeRobot(QUADRUPED, NAMES, domain), NAMES, GO2.feet)
    try:
        with participant.Bus(domain) as bus:
            states = bus.reader(STATES, STATE)
            commands = bus.writer(COMMANDS, COMMAND)
            assert within(3, states.newest)
            assert within(2, lambda: commands.readers)
            command = Message("unitree_go", "LowCmd_")
            command.motors["mode"] = QUADRUPED.modes
            command.motors["kp"] = 20.0
            command.fields["head"], command.fields["level_flag"] = (0xFE, 0xEF), 0xFF
            commands.write(command.encode())
            assert within(2, lambda: alive.commands)
        meets = driver(domain)
        meets.open(NAMES, GO2.feet)  # two descriptions are one robot
        assert meets._octet == "byte"
        meets.close()
    finally:
        alive.close()


def test_a_type_that_fits_in_neither_way_is_named_member_by_member():
    short = {"head": types.array[types.uint8, 3], "tick": types.uint32}
    kind = participant.raw(make_idl_struct("LowState_", "unitree_go.msg.dds_.LowState_", short))
    domain = free_domain()
    meets = driver(domain, wait=0.5)
    with participant.Bus(domain) as bus:
        bus.writer(STATES, kind)
        with pytest.raises(RefusedError) as error:
            meets.open(NAMES, GO2.feet)
    text = str(error.value)
    assert "LowState_.head is array[uint8, 3] there and array[byte, 2] here" in text
    assert "LowState_.level_flag is missing there and byte here" in text
    assert "more differ" in text and "Policy" not in text
    assert (
        "found a publisher of unitree_go::msg::dds_::LowState_ (reliable, volatile), whose" in text
    )


def test_who_finds_nobody_says_where_it_looked():
    domain = free_domain()
    with pytest.raises(RefusedError) as error:
        driver(domain, wait=0.1).open(NAMES, GO2.feet)
    asked = "asking 127.0.0.1 and multicast to 239.255.0.1"
    assert f"on interface lo, DDS domain {domain}, {asked}: is the robot on" in str(error.value)


@pytest.mark.parametrize(("octet", "tolerated"), [("byte", True), ("uint8", False)])
def test_a_silent_writer_is_tolerated_only_where_it_would_be_heard(octet, tolerated):
    domain = free_domain()
    meets = driver(domain, allow_silent_writers=True, wait=1.0)
    with participant.Bus(domain) as bus:
        wire = SendsStates(bus, idl_type("unitree_go", "LowState_"))
        bus.writer(COMMANDS, idl_type("unitree_go", "LowCmd_", octet))
        if tolerated:
            opened(meets, wire)
            meets.close()
        else:
            with pytest.raises(RefusedError, match=r"is not heard here \(other type or settings\)"):
                opened(meets, wire)


def test_a_program_that_is_announced_by_multicast_alone_is_found_on_loopback():
    domain = free_domain()
    command = [sys.executable, "-c", MULTICAST, str(domain)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "there\n"
        with participant.Bus(domain) as bus:
            assert within(3, bus.watch("rt/number").writers) == ("test::Number_",)
    finally:
        process.kill()
        process.communicate()


def test_without_multicast_on_loopback_this_computer_is_asked_alone(monkeypatch):
    monkeypatch.setattr(dds_config, "_joins_multicast", lambda address: False)
    assert dds_config.discovery("lo", 7) == "interface lo, DDS domain 7, asking 127.0.0.1"
    assert 'multicast="true"' not in dds_config.configuration("lo")
