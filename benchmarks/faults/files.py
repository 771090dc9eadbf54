"""Faults of the files that the node reads when it starts."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.fault import NOTHING, REFUSED, Fault, Seen
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.safety import limits


def _flipped(data: bytes) -> bytes:
    """Return a file with one bit of its middle, among the weights, turned."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _loosened(data: bytes) -> bytes:
    """Return a file whose contract allows more tilt."""
    return data.replace(b'"max_tilt":1.0', b'"max_tilt":3.0')


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "one bit": _flipped,
    "half of it": _cut,
    "max_tilt 3": _loosened,
}


def _corrupted(path: Path) -> Seen:
    """Load each corruption of the file."""
    data = path.read_bytes()
    said = []
    loaded = []
    with tempfile.TemporaryDirectory() as folder:
        for name, corrupt in CORRUPTIONS.items():
            bad = Path(folder) / path.name
            bad.write_bytes(corrupt(data))
            try:
                Policy(bad)
                loaded.append(name)
            except RefusedError as error:
                text = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1...", str(error))
                said.append(f"{name}: {text.replace(f'{bad}: ', '')}")
    if loaded:
        return Seen(NOTHING, f"loaded: {', '.join(loaded)}")
    return Seen(REFUSED, "; ".join(said))


def _looser(path: Path) -> Seen:
    """Load a file that allows twice the tilt."""
    safety = Policy(path).contract.robot.safety
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "limits.yaml"
        file.write_text(f"max_tilt: {2 * safety.max_tilt}\n")
        try:
            limits.load(file, safety)
        except InputError as error:
            return Seen(REFUSED, str(error).replace(f"{folder}/", ""))
    return Seen(NOTHING, "loaded")


FAULTS = (
    Fault(
        "corrupted_file",
        "a policy file with one bit turned, with half of it gone, with a limit edited",
        _corrupted,
        "its SHA-256 is",
        (REFUSED,),
    ),
    Fault(
        "looser_limits",
        "`--limits` with twice the tilt of the policy file",
        _looser,
        "is looser than the policy file's",
        (REFUSED,),
    ),
)
