"""Parts of a robot's environment that follow from its task: model, action, tiles, maps, packets."""

import mujoco

from robot_ppo import project
from robot_ppo.config import Task
from robot_ppo.envs.robot import observations
from robot_ppo.envs.robot.events import Events
from robot_ppo.envs.robot.grounds import tiles
from robot_ppo.envs.robot.placement import Placement
from robot_ppo.robot_model import geometry, variants
from robot_ppo.sim.fields import PACKET_FIELDS
from robot_ppo.sim.ground import Ground
from robot_ppo.sim.packets import Packets
from robot_ppo.sim.scan import HeightMap, check_missing
from robot_ppo.sim.tiles import check_room
from robot_ppo_export.contract.action import ActionMap
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError


def compiled(
    task: Task, robot: RobotSpec, events: Events, placement: Placement | None
) -> mujoco.MjModel:
    """Return the training model; events say how long delays may be, placement has the ground."""
    highest = {name: high for name, (_, high) in events.ranges.items()}
    motors = highest.get("actuator_delay", 0.0) + highest.get("group_delay", 0.0)
    longest = max(motors, highest.get("sensor_delay", 0.0))
    model = variants.train_model(
        robot,
        project.robot_folder(task.robot) / robot.model,
        task.physics,
        max_delay=longest * 1e-3,
        ground=placement.tiles.field if placement else None,
    )
    if task.terrain:
        check_room(task.terrain, geometry.footprint(model, robot), robot.name)
    return model


def action_map(task: Task, robot: RobotSpec) -> ActionMap:
    """Return the action's arithmetic; an error names the key in the task."""
    try:
        return ActionMap(task.action, robot)
    except SettingError as error:
        raise SettingError(f"task.{error.key}", error.text) from None


def placement(task: Task, robot: RobotSpec, n: int) -> Placement | None:
    """Return the tiles of n simulations; None on level ground."""
    if task.terrain is None:
        return None
    rising = "terrain_level" in task.curriculum
    made = tiles(task.terrain, robot)
    return Placement(made, task.terrain.start, n, task.control_period, rising)


def height_map(task: Task, robot: RobotSpec, ground: Ground, n: int) -> HeightMap | None:
    """Return the maps of n robots; None where no group reads what they say."""
    grids = observations.scan_grids(task.observations, "height_scan")
    if len(grids) > 1:
        raise SettingError("task.observations", "height_scan has other parameters in another group")
    if not grids:
        return None
    check_missing(task.map, grids[0], "task.map")
    noise = task.noise.get("height_scan", 0.0)
    return HeightMap(ground, grids[0], task.map, n, task.control_period, -robot.base.height, noise)


def packets(task: Task, robot: RobotSpec, events: Events, n: int) -> Packets | None:
    """Return the state packets of n robots on their way, or None where all arrive at once."""
    if not set(PACKET_FIELDS) & events.ranges.keys():
        return None
    longest = events.ranges.get("packet_delay", (0.0, 0.0))[1] * 1e-3
    return Packets(robot, n, round(longest / task.control_period))
