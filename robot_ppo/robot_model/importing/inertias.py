"""Links without mass or inertia, and with inertias that no body can have, are given others."""

import numpy as np

from robot_ppo.robot_model.importing.tree import Link

_LEAST_MASS = 1e-3
_LEAST_INERTIA = 1e-6
"""[kg], [kg m^2] Given to a moving link that the file says weighs nothing."""
_NO_INERTIA = 1e-6
"""[m^2] A link whose inertia is less than this times its mass has none: the file has zeros."""
_NO_BODY = 0.05
"""[kg m^2] A link with three moments of 1 kg m^2 whose box has less has none, either."""


def mend(link: Link, notes: list[str]) -> None:
    """Give a moving link that weighs nothing a little; mend an inertia that no body can have."""
    if link.joints and link.mass <= 0:
        link.mass = _LEAST_MASS
        link.inertia = _LEAST_INERTIA * np.eye(3)
        notes.append(f"the link {link.name} moves and has no mass; 1 g is assumed")
    if not link.mass > 0:
        return
    moments = np.linalg.eigvalsh(link.inertia)
    box = _box_inertia(link)
    if box is not None and _is_none(moments, link.mass, box):
        link.inertia = box
        notes.append(
            f"the link {link.name} has no inertia ({moments[2]:.3g} kg m^2); that of the box "
            "around it is taken"
        )
    elif moments[0] <= 0 or moments[2] > (moments[0] + moments[1]) * 1.001:
        mean = max(float(np.mean(np.abs(moments))), _LEAST_INERTIA)
        link.inertia = mean * np.eye(3)
        text = ", ".join(f"{m:.3g}" for m in moments)
        notes.append(
            f"the inertia of the link {link.name} (principal moments {text} kg m^2) is that of no "
            "body; their mean is taken about every axis"
        )


def _is_none(moments: np.ndarray, mass: float, box: np.ndarray) -> bool:
    """Return whether principal moments (3,) are what files hold where nobody knew: 0 or 1."""
    ones = bool(np.allclose(moments, 1.0)) and box.max() < _NO_BODY
    return ones or bool(moments[2] < _NO_INERTIA * mass)


def _box_inertia(link: Link) -> np.ndarray | None:
    """Return the inertia (3, 3) of a link as a solid box around its shapes; None without one."""
    shapes = [shape for shape in link.shapes if shape.kind != "mesh" or shape.points is not None]
    shapes = [shape for shape in shapes if shape.collides] or shapes
    if not shapes:
        return None
    squares = np.ptp(np.concatenate([shape.cloud() for shape in shapes]), axis=0) ** 2
    return np.diag(link.mass / 12 * (squares.sum() - squares))
