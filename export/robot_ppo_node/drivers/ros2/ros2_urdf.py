"""Joint limits that a robot's URDF states, read from `/robot_description` as ROS 2 publishes it.

    capabilities_of("<robot>...<limit lower='-1' upper='1' effort='23' velocity='30'/>...", joints)

A URDF says 0 for an effort or velocity that nobody filled in. A figure that one of the joints
lacks is not stated for any.
"""

from xml.etree import ElementTree

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities, problem

LONGEST = 4 << 20
"""[bytes] of a description that is read; those of humanoids with hands have 200 kB."""
ENDLESS = 1e6
"""[rad] Where a joint that turns without end is said to end."""


def capabilities_of(text: str, joints: tuple[str, ...]) -> Capabilities:
    """Return what the URDF `text` states of these joints; nothing where it lacks one."""
    if "<!DOCTYPE" in text:  # entities of its own could grow beyond all memory
        return NOTHING
    try:
        root = ElementTree.fromstring(text)
        by_name = {joint.get("name"): joint for joint in root.iter("joint")}
        limits = [_limits(by_name[name]) for name in joints]
    except (ElementTree.ParseError, KeyError, ValueError):
        return NOTHING
    lows, highs, efforts, velocities = zip(*limits, strict=True)
    capabilities = Capabilities(
        position_range=tuple(zip(lows, highs, strict=True)),
        velocity_limit=velocities if min(velocities) > 0 else None,
        torque_limit=efforts if min(efforts) > 0 else None,
    )
    return NOTHING if problem(capabilities, len(joints)) else capabilities


def urdf_of(robot: RobotSpec) -> str:
    """Return a URDF with the joints of robot.yaml and their limits, and nothing of their places."""
    root = ElementTree.Element("robot", name=robot.name)
    ElementTree.SubElement(root, "link", name=robot.base.body)
    for joint in robot.joints:
        element = ElementTree.SubElement(root, "joint", name=joint.name, type="revolute")
        link = f"{joint.name}_link"
        ElementTree.SubElement(root, "link", name=link)
        ElementTree.SubElement(element, "parent", link=robot.base.body)
        ElementTree.SubElement(element, "child", link=link)
        low, high = joint.range
        figures = {"lower": low, "upper": high}
        figures |= {"effort": joint.torque_limit, "velocity": joint.velocity_limit}
        ElementTree.SubElement(element, "limit", {k: repr(v) for k, v in figures.items()})
    return ElementTree.tostring(root, encoding="unicode")


def _limits(joint: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return lower and upper end, effort and velocity of a joint; 0 is not filled in."""
    limit = joint.find("limit")
    if limit is None:
        if joint.get("type") != "continuous":
            raise KeyError("limit")
        return -ENDLESS, ENDLESS, 0.0, 0.0
    low, high, effort, velocity = (
        float(limit.get(name, 0)) for name in ("lower", "upper", "effort", "velocity")
    )
    if joint.get("type") == "continuous":
        low = -ENDLESS
        high = ENDLESS
    return low, high, effort, velocity
