"""mujoco brings no types for this module: any name may be there."""

from typing import Any

def __getattr__(name: str) -> Any: ...
