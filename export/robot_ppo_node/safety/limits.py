"""A file on the robot that tightens the envelope of the policy file: `run --limits FILE.yaml`.

    max_tilt: 0.5              # [rad]
    max_torque_fraction: 0.6

The keys are those of `safety` in robot.yaml. A value that leaves more room than the policy file
does is refused: who trained the policy knows what it does at most, the robot's owner may want less.
"""

from pathlib import Path
from typing import Any

import msgspec

from robot_ppo_export.contract import strict
from robot_ppo_export.contract.spec import LARGER_IS_TIGHTER, Limits
from robot_ppo_export.errors import InputError

NAMES = Limits.__struct_fields__

Tightening = msgspec.defstruct(
    "Tightening",
    [(f.name, f.type | None, None) for f in msgspec.structs.fields(Limits)],
    frozen=True,
    forbid_unknown_fields=True,
)
"""Any of the fields of `Limits`."""


def load(path: Path, limits: Limits) -> Limits:
    """Return `limits` tightened by the file at `path`, or raise `InputError`."""
    values = msgspec.structs.asdict(strict.load_yaml(Tightening, path))
    stated = {name: value for name, value in values.items() if value is not None}
    strict.check_finite(stated, str(path))
    return tighten(limits, stated, str(path))


def tighten(limits: Limits, stated: dict[str, Any], source: str) -> Limits:
    """Return `limits` with the `stated` ones; `InputError` names both where one is looser."""
    for name, value in stated.items():
        present = getattr(limits, name)
        looser = value < present if name in LARGER_IS_TIGHTER else value > present
        if looser or value < 0:
            raise InputError(
                f"{source}: {name} {value:g} is looser than the policy file's {present:g}: give "
                f"{_room(name, present)}"
            )
    return msgspec.structs.replace(limits, **stated)


def _room(name: str, present: float) -> str:
    return f"{present:g} or more" if name in LARGER_IS_TIGHTER else f"0 to {present:g}"
