"""Whether a writer reaches the robot: readers that are there and not connected are named."""

from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.participant import Bus, Writer
from robot_ppo_node.drivers.dds.qos_words import in_words

CONNECTED_WITHIN = 0.3
"""[s] In which a writer and a reader that know of each other connect."""
LOOK_EVERY = 0.002


def require_reader(
    bus: Bus, writer: Writer, topic: str, kind: Any, clock: Clock, driver: str
) -> None:
    """Return once somebody reads what `writer` sends, or where nobody is there to read it.

    Args:
        bus: participant of the writer.
        writer: writes `topic`; discovery has had its time before.
        topic: DDS name.
        kind: DDS type of `topic`.
        clock: to wait by.
        driver: its name, for the error.

    Raises:
        RefusedError: others read the topic, and none of them is connected.
    """
    others = bus.descriptions(topic)
    ends = clock.now() + CONNECTED_WITHIN
    while not writer.readers:
        deaf = others.deaf_to(writer.entity)
        if not deaf:
            return
        if clock.now() >= ends:
            ours = f"this writes {in_words(writer.entity.get_qos())}"
            difference = others.difference(kind)
            types = f"; the types differ: {difference}" if difference else ""
            raise RefusedError(
                f"driver {driver}: nobody who reads {topic} can be reached: found "
                f"{'; '.join(deaf)}; {ours}{types}. "
                "Let the robot read with settings that fit, volatile for commands: an old one must "
                "not reach a robot that has just come up"
            )
        clock.sleep_until(clock.now() + LOOK_EVERY)
