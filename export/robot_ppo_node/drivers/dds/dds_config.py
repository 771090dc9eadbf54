"""The configuration of DDS: one network interface, where to look for others, a free domain."""

import contextlib
import random
import re
import socket
from pathlib import Path

from robot_ppo_export.errors import InputError

MAX_PARTICIPANTS = 20
"""Programs on one computer that a peer is looked for among."""
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
    """
    names = [name for _, name in socket.if_nameindex()]
    if interface not in names:
        raise InputError(f"--interface {interface}: this computer has {', '.join(names)}")
    bad = [peer for peer in peers if not re.fullmatch(r"[A-Za-z0-9_.:-]+", peer)]
    if bad:
        raise InputError(f"peer {bad[0]!r} is not an address")
    loopback = is_loopback(interface)
    looked_at = peers or (("127.0.0.1",) if loopback else ())
    entries = "".join(f'<Peer Address="{peer}"/>' for peer in looked_at)
    return (
        '<CycloneDDS><Domain Id="any">'
        f'<General><Interfaces><NetworkInterface name="{interface}"/></Interfaces>'
        f"<AllowMulticast>{'false' if loopback else 'default'}</AllowMulticast></General>"
        "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
        f"<MaxAutoParticipantIndex>{MAX_PARTICIPANTS}</MaxAutoParticipantIndex>"
        f"<Peers>{entries}</Peers></Discovery></Domain></CycloneDDS>"
    )


def is_loopback(interface: str) -> bool:
    """Return whether an interface reaches this computer only."""
    with contextlib.suppress(OSError, ValueError):
        return bool(int(Path(f"/sys/class/net/{interface}/flags").read_text(), 16) & _LOOPBACK)
    return interface.startswith("lo")
