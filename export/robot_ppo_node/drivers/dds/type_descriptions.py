"""How other programs describe the messages of a topic, and where that differs from ours.

DDS connects a writer with a reader only where the descriptions of their types fit. The same bytes
can be described in two ways: an octet is a `byte` or a `uint8`, and the two do not fit.

descriptions = Descriptions(participant, keep, "rt/lowstate")
descriptions.include(kind)         # whether another program describes them so
descriptions.difference(kind)      # None, or "x::A_.head is array[uint8, 2] there, ... here"
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

from robot_ppo_node.drivers.dds.qos_words import in_words

LOOKUP_NS = 300_000_000
"""[ns] In which a program answers what its type looks like."""
NAMED = 3
"""Members that a sentence names."""


class Descriptions:
    """The types of everybody else who writes or reads one topic, by DDS discovery."""

    def __init__(self, participant: Any, keep: Callable[[Any], Any], topic: str) -> None:
        """Look on by way of `participant`; what is made for it is handed to `keep`."""
        from cyclonedds.builtin import (
            BuiltinDataReader,
            BuiltinTopicDcpsPublication,
            BuiltinTopicDcpsSubscription,
        )

        self.topic = topic
        self._participant = participant
        self._found = (
            keep(BuiltinDataReader(participant, BuiltinTopicDcpsPublication)),
            keep(BuiltinDataReader(participant, BuiltinTopicDcpsSubscription)),
        )

    def include(self, kind: Any) -> bool:
        """Return whether another program describes the messages exactly as `kind` does."""
        wanted = type_id(kind)
        return any(endpoint.type_id == wanted for endpoint in self._others())

    def difference(self, kind: Any) -> str | None:
        """Return how another program's description differs from `kind`; may ask that program."""
        ours = type_id(kind)
        for endpoint in self._others():
            if endpoint.type_id not in (None, ours):
                return self._compared(endpoint, kind)
        return None

    def unmatched_readers(self, writer: Any) -> tuple[str, ...]:
        """Return type and settings of each reader that is not connected to `writer`."""
        handles = writer.get_matched_subscriptions()
        reached = {writer.get_matched_subscription_data(handle).key for handle in handles}
        return tuple(
            f"a subscriber of {endpoint.type_name} ({in_words(endpoint.qos)})"
            for endpoint in self._others(self._found[1:])
            if endpoint.key not in reached
        )

    def _others(self, readers: tuple[Any, ...] = ()) -> Iterator[Any]:
        from cyclonedds.core import InstanceState

        for reader in readers or self._found:
            for endpoint in reader.read(N=256):
                alive = endpoint.sample_info.instance_state == InstanceState.Alive
                foreign = endpoint.participant_key != self._participant.guid
                if alive and foreign and endpoint.topic_name == self.topic:
                    yield endpoint

    def _compared(self, endpoint: Any, kind: Any) -> str:
        """Return the first members that differ, where that program tells what its type is."""
        from cyclonedds.core import DDSException
        from cyclonedds.dynamic import get_types_for_typeid

        try:
            theirs, _ = get_types_for_typeid(self._participant, endpoint.type_id, LOOKUP_NS)
        except DDSException:
            return f"{endpoint.type_name} is another type there, nobody says which"
        there = members(theirs)
        here = members(kind)
        different = [name for name in {**here, **there} if there.get(name) != here.get(name)]
        named = [
            f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
            for name in different[:NAMED]
        ]
        if len(different) > NAMED:
            named.append(f"{len(different) - NAMED} more differ")
        return "; ".join(named) or f"{endpoint.type_name} has other annotations there"


def type_id(kind: Any) -> Any:
    """Return what identifies a type's description among programs."""
    kind.__idl__.populate()
    kind.__idl__.fill_type_data()
    return kind.__idl__.get_type_id()


def members(kind: Any, of: str = "") -> dict[str, str]:
    """Return the members of a DDS type and of the types in it: "LowState_.head" -> what it is."""
    found: dict[str, str] = {}
    name = of or kind.__name__
    for member, hint in get_type_hints(kind, include_extras=True).items():
        found[f"{name}.{member}"] = _named(hint)
        inner = getattr((*getattr(hint, "__metadata__", ()), hint)[0], "subtype", hint)
        if hasattr(inner, "__idl__"):
            found |= members(inner)
    return found


def _named(hint: Any) -> str:
    """Return a member's type in a word: "uint8", "array[uint8, 2]"."""
    metadata = getattr(hint, "__metadata__", ())
    name = str(metadata[0]) if metadata else getattr(hint, "__name__", str(hint))
    return re.sub(r"[\w.]*\.(\w)", r"\1", name)  # without Python's modules
