"""What the robot of a page walks on: level ground, or a kind of `sim/terrain.py` at a level."""

from dataclasses import dataclass
from typing import Any

from robot_ppo.playback.web.asked import Request
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.sim import tiles
from robot_ppo.sim.terrain import KINDS

LEVEL = "level"
"""What ground without heights is called."""


@dataclass(frozen=True)
class Ground:
    """One kind of ground."""

    kind: str = LEVEL
    level: float = 0.0
    """How rough it is, 0 to 1."""

    @property
    def field(self) -> HeightField | None:
        """Its heights, None of level ground."""
        return None if self.kind == LEVEL else tiles.course(self.kind, self.level)

    def about(self) -> dict[str, Any]:
        """Return what the page shows of it, and what else there is."""
        kinds = [LEVEL, *(name for name in KINDS if name != "flat")]
        return {"ground": {"kind": self.kind, "level": self.level, "kinds": kinds}}


def asked(request: Request) -> Ground:
    """Return the ground that a page asks for; `KeyError` where there is none of that name."""
    if request.name == LEVEL:
        return Ground()
    if request.name not in KINDS:
        raise KeyError(request.name)
    return Ground(request.name, min(max(float(request.values[0]), 0.0), 1.0))
