"""Kinds of ground that a task may name, and the tiles of its section `terrain:`."""

from robot_ppo.config import Terrain
from robot_ppo.sim import terrain
from robot_ppo.sim.tiles import Tiles
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.tables import Positive, Table

GROUNDS = Table("kind of ground", share=Positive)
for _function in terrain.KINDS.values():
    GROUNDS.add()(_function)


def tiles(settings: Terrain, robot: RobotSpec, path: str = "task.terrain") -> Tiles:
    """Return the tiles of a task; a kind or a parameter that does not exist is named."""
    terms = GROUNDS.resolve(f"{path}.kinds", settings.kinds, robot.joint_names)
    tile = terrain.Tile(settings.size, settings.spacing, settings.platform)
    for name, term in terms.items():
        given = GROUNDS.defaults(name) | term.parameters
        terrain.check(name, given, tile, f"{path}.kinds.{name}")
    kinds = {name: term.function for name, term in terms.items()}
    shares = {name: term.own["share"] for name, term in terms.items()}
    return Tiles.build(settings, kinds, shares)
