"""DDS by way of cyclonedds: a participant that is closed for sure, raw bytes in and out.

    with Bus(domain=0, interface="lo") as bus:
        states = bus.reader("rt/lowstate", state_type)
        commands = bus.writer("rt/lowcmd", command_type)
        commands.write(payload)                   # CDR bytes with their header
        payload = states.newest()                 # or None
        others = bus.watch("rt/lowcmd")           # who else writes there

The configuration is built in dds_config.py and replaces `CYCLONEDDS_URI`.
"""

import contextlib
import threading
import uuid
from typing import Any, ClassVar

from robot_ppo_export.errors import InputError
from robot_ppo_node.drivers.dds.dds_config import MAX_PARTICIPANTS, configuration, discovery
from robot_ppo_node.drivers.dds.dds_watch import Watch
from robot_ppo_node.drivers.dds.endpoints import Reader, Writer
from robot_ppo_node.drivers.dds.type_descriptions import Descriptions
from robot_ppo_node.host.closing import Closing

BLOCKING_MS = 2
"""Longest time [ms] that a write waits for a reader that does not keep up."""
MAX_DOMAIN = 232
"""Above it, the ports of the domain would leave the range of UDP."""


def raw(kind: type) -> type:
    """Return a DDS type whose samples carry bytes that are encoded already, as `payload`.

    The type keeps its fields, so that peers see the whole type; only the generic encoding, which
    takes 200 us per message, is left out. It is changed in place: a base class would be part of
    what the peers see.
    """

    def serialize(self: Any, *_: Any, **__: Any) -> bytes:
        return self.payload

    def deserialize(cls: Any, data: bytes, *_: Any, **__: Any) -> Any:
        sample = cls.__new__(cls)
        sample.payload = data
        return sample

    changed: Any = kind
    changed.serialize = serialize
    changed.deserialize = classmethod(deserialize)
    return changed


class _Domains:
    """The domains of this process: cyclonedds allows one configuration for each."""

    lock: ClassVar = threading.Lock()
    open: ClassVar[dict[int, tuple[Any, str, int]]] = {}

    @classmethod
    def take(cls, domain: int, xml: str) -> None:
        """Open a domain, or share the one that is open."""
        from cyclonedds.domain import Domain

        with cls.lock:
            entity, has, users = cls.open.get(domain, (None, xml, 0))
            if has != xml:
                raise InputError(f"DDS domain {domain} is open already on another interface")
            cls.open[domain] = (entity or Domain(domain, xml), xml, users + 1)

    @classmethod
    def give_back(cls, domain: int) -> None:
        """Close the domain with its last user."""
        with cls.lock:
            entity, xml, users = cls.open[domain]
            if users > 1:
                cls.open[domain] = (entity, xml, users - 1)
                return
            del cls.open[domain]
            _delete(entity)


class Bus(Closing):
    """One participant in one domain, with what it reads and writes."""

    def __init__(
        self,
        domain: int = 0,
        interface: str = "lo",
        peers: tuple[str, ...] = (),
        token: bytes = b"",
    ) -> None:
        """Join the domain, or raise `InputError`.

        Args:
            domain: DDS domain id.
            interface: network interface.
            peers: see `configuration`.
            token: mark of our own writers: `watch` does not report others that carry it.
        """
        if not 0 <= domain <= MAX_DOMAIN:
            raise InputError(f"DDS domain {domain} is not between 0 and {MAX_DOMAIN}")
        self.domain = domain
        self.interface = interface
        self.peers = peers
        self.token = token or uuid.uuid4().bytes
        self.mark = self.token
        """What our writers show; a watchdog's shows what it is, too."""
        self._entities: list[Any] = []
        self._open = False
        xml = configuration(interface, peers)
        from cyclonedds.core import DDSException
        from cyclonedds.domain import DomainParticipant

        try:
            _Domains.take(domain, xml)
            self._open = True
            self._participant = self._keep(DomainParticipant(domain))
        except DDSException as error:
            self.close()
            raise InputError(
                f"DDS domain {domain} on {interface} cannot be joined ({error.msg}): "
                f"are more than {MAX_PARTICIPANTS} programs on it?"
            ) from None

    def reader(
        self,
        topic: str,
        kind: type,
        depth: int = 1,
        reliable: bool = False,
        others: bool = False,
        latched: bool = False,
    ) -> Reader:
        """Return a reader of a topic.

        Args:
            topic: DDS name.
            kind: a `raw` type, or another for `take`.
            depth: how many samples wait to be read; older ones go.
            reliable: ask for lost samples again.
            others: leave out what this participant writes itself, or a writer with its token.
            latched: ask for what was written before, too; takes a reliable reader.
        """
        from cyclonedds.core import Policy, Qos
        from cyclonedds.sub import DataReader

        policies = [_reliability(reliable), Policy.History.KeepLast(depth)]
        if others:
            policies.append(Policy.IgnoreLocal.Participant)
        if latched:
            policies.append(Policy.Durability.TransientLocal)
        topic_entity = self._topic(topic, kind)
        entity = self._keep(DataReader(self._participant, topic_entity, Qos(*policies)))
        return Reader(entity, self._participant, self._keep, self.token if others else None)

    def writer(self, topic: str, kind: type, depth: int = 1, latched: bool = False) -> Writer:
        """Return a reliable writer, which suits every reader; `latched` for those to come too."""
        from cyclonedds.core import Policy, Qos
        from cyclonedds.pub import DataWriter

        qos = Qos(
            _reliability(True),
            Policy.History.KeepLast(depth),
            Policy.Userdata(self.mark),
            *((Policy.Durability.TransientLocal,) if latched else ()),
        )
        entity = self._keep(DataWriter(self._participant, self._topic(topic, kind), qos))
        return Writer(entity, kind)

    def watch(self, topic: str) -> Watch:
        """Return a look at who else writes to `topic`."""
        return Watch(self._participant, self._keep, topic, self.token)

    def descriptions(self, topic: str) -> Descriptions:
        """Return a look at how others describe the messages of `topic`."""
        return Descriptions(self._participant, self._keep, topic)

    def where(self) -> str:
        """Return where others are looked for, in words."""
        return discovery(self.interface, self.domain, self.peers)

    def close(self) -> None:
        """Leave the domain; may be called twice."""
        while self._entities:
            _delete(self._entities.pop())
        if self._open:
            self._open = False
            _Domains.give_back(self.domain)

    def _topic(self, name: str, kind: type) -> Any:
        from cyclonedds.topic import Topic

        return self._keep(Topic(self._participant, name, kind))

    def _keep(self, entity: Any) -> Any:
        self._entities.append(entity)
        return entity


def _reliability(reliable: bool) -> Any:
    from cyclonedds.core import Policy
    from cyclonedds.util import duration

    if reliable:
        return Policy.Reliability.Reliable(duration(milliseconds=BLOCKING_MS))
    return Policy.Reliability.BestEffort


def _delete(entity: Any) -> None:
    """Delete a DDS entity now; Python would do it whenever the last reference goes."""
    with contextlib.suppress(Exception):
        entity.__del__()
