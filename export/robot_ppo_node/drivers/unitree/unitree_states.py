"""The states of a Unitree robot over DDS, in whichever way it declares an octet.

states = StateReader(bus, "unitree_go", clock, say=print)
message = states.first(10.0, decode)     # or RefusedError: what was found instead
states.octet                             # "byte" or "uint8", for everything else on the domain
states.newest()                          # payload, or None
"""

from collections.abc import Callable

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.state_rate import StateRate
from robot_ppo_node.drivers.unitree.unitree_messages import Message

STATES = "rt/lowstate"
DESCRIBED_WITHIN = 0.2
"""[s] without a state after which it is looked at how other programs describe one."""
LOOK_EVERY = 0.002
COUNT_EVERY = 0.0005
"""[s] between two looks while states are counted."""


class StateReader:
    """Reads states as the robot describes them."""

    def __init__(self, bus: Bus, family: str, clock: Clock, say: Callable[[str], None]) -> None:
        """Read on `bus`; `say` takes what a person should know of the robot's messages."""
        from robot_ppo_node.drivers.unitree.unitree_idl import OCTETS, idl_type

        self.bus = bus
        self.family = family
        self.clock = clock
        self.say = say
        self.octet = next(iter(OCTETS))
        """How the robot declares one, a key of unitree_idl.OCTETS."""
        self.rate = StateRate()
        self._kinds = {octet: idl_type(family, "LowState_", octet) for octet in OCTETS}
        self._reader = bus.reader(STATES, self._kinds[self.octet])
        self._others = bus.descriptions(STATES)

    def newest(self) -> bytes | None:
        """Return the newest payload since the last call, or None."""
        return self._reader.newest()

    def first(self, wait: float, decode: Callable[[bytes], Message | None]) -> Message:
        """Return the robot's first state, or raise `RefusedError` after `wait` [s].

        `decode` returns None for a payload that is malformed.
        """
        ends = self.clock.now() + wait
        looks_at = self.clock.now() + DESCRIBED_WITHIN
        while (now := self.clock.now()) < ends:
            payload = self.newest()
            message = decode(payload) if payload is not None else None
            if message is not None:
                return message
            if now >= looks_at:
                looks_at = now + DESCRIBED_WITHIN
                self._adapt()
            self.clock.sleep_until(now + LOOK_EVERY)
        raise RefusedError(self._silence(wait))

    def count(self, until: float) -> None:
        """Wait until a time [s], and measure how often the robot sends a state."""
        while (now := self.clock.now()) < until:
            if self.newest() is not None:
                self.rate.note(now)
            self.clock.sleep_until(min(now + COUNT_EVERY, until))

    def _adapt(self) -> None:
        """Read as the robot describes its states, where no program describes them as we do."""
        if self._others.include(self._kinds[self.octet]):
            return
        for octet, kind in self._kinds.items():
            if octet != self.octet and self._others.include(kind):
                self.octet = octet
                self._reader = self.bus.reader(STATES, kind)
                self.say(f"driver unitree: the robot declares an octet as {octet}")

    def _silence(self, wait: float) -> str:
        """Return the sentence about a state that was waited for in vain."""
        where = self.bus.where()
        text = f"driver unitree: no {STATES} of {self.family} within {wait:g} s on {where}"
        found = "; ".join(self.bus.watch(STATES).settings())
        difference = self._others.difference(self._kinds[self.octet])
        if difference:
            return (
                f"{text}: found {found}, whose type is not ours ({difference}): give that program "
                "the vendor's published types"
            )
        if found:
            return f"{text}: found {found}; this reads best effort, volatile"
        return (
            f"{text}: is the robot on, the cable in, this computer's address right? See "
            "--interface, --domain, --peer"
        )
