"""The latched `/robot_description`: a robot's URDF, where somebody publishes one."""

from collections.abc import Callable

from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities
from robot_ppo_node.drivers.dds.endpoints import Reader
from robot_ppo_node.drivers.ros2 import ros2_messages, ros2_urdf
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_topics import DESCRIPTION

PUBLISHER_WITHIN = 1.0
"""[s] in which discovery finds a publisher, if there is one."""
DESCRIBED_WITHIN = 5.0
"""[s] that the URDF of a publisher that was found is waited for."""
LOOK_EVERY = 0.002


def described(
    reader: Reader, joints: tuple[str, ...], clock: Clock, say: Callable[[str], None]
) -> Capabilities:
    """Return what the URDF states of `joints`; nothing where there is none.

    Args:
        reader: of the topic `DESCRIPTION`.
        joints: the robot's.
        clock: to wait by.
        say: told where a publisher was waited for in vain.
    """
    begin = clock.now()
    while (payload := reader.newest()) is None:
        waited = clock.now() - begin
        if waited >= PUBLISHER_WITHIN and not reader.writers:
            return NOTHING
        if waited >= DESCRIBED_WITHIN:
            say(
                f"{DESCRIPTION}: its publisher said nothing within {DESCRIBED_WITHIN:g} s: "
                "ranges and limits are not compared"
            )
            return NOTHING
        clock.sleep_until(clock.now() + LOOK_EVERY)
    try:
        text = ros2_messages.decode_string(payload, ros2_urdf.LONGEST)
    except MalformedCdrError:
        say(f"{DESCRIPTION} is not a string: limits are not compared")
        return NOTHING
    return ros2_urdf.capabilities_of(text, joints)
