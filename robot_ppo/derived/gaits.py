"""Which foot steps when, from where the feet are."""

from collections.abc import Sequence

from robot_ppo.robot_model.body import Foot

MOST_ALTERNATING = 6
"""With more feet than this, or with an odd one, a wave runs along the body instead."""


def alternates(feet: Sequence[Foot]) -> bool:
    """Return whether every foot has its partner on the other side, and there are few of them."""
    left = sum(foot.y > 0 for foot in feet)
    return 2 * left == len(feet) and len(feet) <= MOST_ALTERNATING


def offsets(feet: Sequence[Foot]) -> dict[str, float]:
    """Return the phase of each foot as a fraction of the cycle.

    Where feet alternate, neighbours along a side and across the body are half a cycle apart: two
    feet step in turn, four trot, six walk as a tripod. Else a wave runs from rear to front on each
    side, the two sides half a cycle apart.
    """
    found = {}
    for side in (0, 1):
        row = sorted((f for f in feet if (f.y > 0) == bool(side)), key=lambda foot: -foot.x)
        for rank, foot in enumerate(row):
            if alternates(feet):
                found[foot.name] = 0.5 * ((rank + side) % 2)
            else:
                found[foot.name] = (rank / len(row) + 0.5 * side) % 1.0
    return {foot.name: found[foot.name] for foot in feet}


def stance(feet: Sequence[Foot]) -> float:
    """Return the fraction of the cycle that a foot is down.

    A little more than half where feet alternate, for a moment on all of them; two feet have more of
    it, because they have nothing else to balance with. In a wave, two feet are up at a time.
    """
    if not alternates(feet):
        return 1.0 - 1.6 / len(feet)
    return 0.58 if len(feet) == 2 else 0.55
