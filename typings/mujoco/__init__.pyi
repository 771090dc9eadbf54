"""mujoco brings no types for its C part: any name may be there."""

from typing import Any

def __getattr__(name: str) -> Any: ...
