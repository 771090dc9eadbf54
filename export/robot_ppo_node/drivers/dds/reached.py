"""Who is on a topic and not connected: what discovery found, for the message of a refusal."""

from collections.abc import Mapping
from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.endpoints import Writer
from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.dds.qos_words import in_words

CONNECTED_WITHIN = 0.3
"""[s] In which a writer and a reader that know of each other connect."""
LOOK_EVERY = 0.002


def require_reader(
    bus: Bus, writer: Writer, topic: str, kind: Any, clock: Clock, driver: str
) -> None:
    """Return once a reader is connected to `writer`, or at once where the topic has no reader.

    Args:
        bus: participant of the writer.
        writer: writes `topic`; discovery has had its time before.
        topic: DDS name.
        kind: DDS type of `topic`.
        clock: to wait by.
        driver: its name, for the error.

    Raises:
        RefusedError: the topic has readers, and none of them is connected.
    """
    others = bus.descriptions(topic)
    ends = clock.now() + CONNECTED_WITHIN
    while not writer.readers:
        unmatched = others.unmatched_readers(writer.entity)
        if not unmatched:
            return
        if clock.now() >= ends:
            ours = f"this writes {in_words(writer.entity.get_qos())}"
            difference = others.difference(kind)
            types = f"; the types differ: {difference}" if difference else ""
            raise RefusedError(
                f"driver {driver}: no reader of {topic} can be reached: found "
                f"{'; '.join(unmatched)}; {ours}{types}: let the robot read with settings that fit "
                "(docs/drivers.md#ros-2)"
            )
        clock.sleep_until(clock.now() + LOOK_EVERY)


def found(bus: Bus, topics: Mapping[str, tuple[str, Any]]) -> list[str]:
    """Return what writes to topics that stay silent, and how its types differ from ours.

    Args:
        bus: participant that looks.
        topics: name for the reader of the message -> DDS name and type.
    """
    texts = []
    for name, (topic, kind) in topics.items():
        texts += [f"{name} has {writer}" for writer in bus.watch(topic).settings()]
        difference = bus.descriptions(topic).difference(kind)
        texts += [f"its type is not ours: {difference}"] if difference else []
    return texts
