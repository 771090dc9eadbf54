"""The configuration of DDS: one network interface, where to look for others, a free domain."""

import contextlib
import random
import re
import socket
import struct
from pathlib import Path
from xml.etree import ElementTree

from robot_ppo_export.errors import InputError

MAX_PARTICIPANTS = 20
"""Programs on one computer that a peer is looked for among."""
DISCOVERY_GROUP = "239.255.0.1"
"""Where DDS programs announce themselves by multicast, by the DDSI standard."""
_LOOPBACK = 0x8


def require_cyclonedds(driver: str) -> None:
    """Raise `InputError` that says what to install where cyclonedds is missing."""
    try:
        import cyclonedds  # noqa: F401
    except ImportError:
        raise InputError(
            f"driver {driver} needs cyclonedds: pip install 'robot-ppo[{driver}]'"
        ) from None


def free_domain() -> int:
    """Return a DDS domain whose first ports nobody on this computer has bound."""
    for domain in random.SystemRandom().sample(range(2, 230), 228):
        try:
            for offset in (10, 11):  # the first participant's unicast ports, by the DDSI standard
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.bind(("127.0.0.1", 7400 + 250 * domain + offset))
        except OSError:
            continue
        return domain
    raise RuntimeError("no DDS domain is free")


def configuration(interface: str, peers: tuple[str, ...] = ()) -> str:
    """Return the XML for one network interface, or raise `InputError`.

    Args:
        interface: its name, as in `ip link`.
        peers: addresses to look at besides multicast; on a loopback interface, this computer.

    On a loopback interface others are looked for both ways, one by one and by multicast, because a
    program of one way alone does not find one of the other. Messages go to each reader by itself.
    """
    names = [name for _, name in socket.if_nameindex()]
    if interface not in names:
        raise InputError(f"--interface {interface}: this computer has {', '.join(names)}")
    bad = [peer for peer in peers if not re.fullmatch(r"[A-Za-z0-9_.:-]+", peer)]
    if bad:
        raise InputError(f"peer {bad[0]!r} is not an address")
    loopback = is_loopback(interface)
    looked_at = peers or (("127.0.0.1",) if loopback else ())
    multicast = loopback and _joins_multicast("127.0.0.1")
    attribute = ' multicast="true"' if multicast else ""
    allowed = "spdp" if multicast else "false" if loopback else "default"
    entries = "".join(f'<Peer Address="{peer}"/>' for peer in looked_at)
    return (
        '<CycloneDDS><Domain Id="any">'
        f'<General><Interfaces><NetworkInterface name="{interface}"{attribute}/></Interfaces>'
        f"<AllowMulticast>{allowed}</AllowMulticast></General>"
        "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
        f"<MaxAutoParticipantIndex>{MAX_PARTICIPANTS}</MaxAutoParticipantIndex>"
        f"<Peers>{entries}</Peers></Discovery></Domain></CycloneDDS>"
    )


def is_loopback(interface: str) -> bool:
    """Return whether an interface reaches this computer only."""
    with contextlib.suppress(OSError, ValueError):
        return bool(int(Path(f"/sys/class/net/{interface}/flags").read_text(), 16) & _LOOPBACK)
    return interface.startswith("lo")


def discovery(interface: str, domain: int, peers: tuple[str, ...] = ()) -> str:
    """Return where others are looked for, as a person can compare it with their settings."""
    tree = ElementTree.fromstring(configuration(interface, peers))
    asked = [str(peer.get("Address")) for peer in tree.iter("Peer")]
    if tree.findtext(".//AllowMulticast") != "false":
        asked.append(f"multicast to {DISCOVERY_GROUP}")
    return f"interface {interface}, DDS domain {domain}, asking {' and '.join(asked)}"


def _joins_multicast(address: str) -> bool:
    """Return whether this computer lets a socket of `address` join the group of discovery."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        wanted = struct.pack("4s4s", socket.inet_aton(DISCOVERY_GROUP), socket.inet_aton(address))
        try:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
        except OSError:
            return False
    return True
