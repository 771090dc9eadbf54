"""Shared by all benchmarks: the machine, the shipped policy, the JSON file, the error messages."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from robot_ppo import project
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

SHIPPED = "tests/golden/go2_walk.onnx"


def machine() -> dict[str, Any]:
    """Return the processor, the number of its cores and the version of Python."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.*)", text)
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def shipped_policy() -> Path:
    """Return the policy that ships with a checkout."""
    path = project.root() / SHIPPED
    if not path.is_file():
        raise InputError(f"{path}: missing; this figure is measured from a checkout of the project")
    return path


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write the figures if a path is given."""
    if path:
        write_atomically(path, json.dumps(data, indent=2).encode() + b"\n")
