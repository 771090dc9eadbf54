"""One leg at any angles of its joints: where its foot is, and what it takes to carry."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.tree import Joint, Pose, Tree, placed

MARGIN = 0.05
"""Targets keep this far inside the range [rad], or a tenth of it where it is narrow."""


@dataclass(frozen=True)
class Limits:
    """Range of a joint in a standing pose [rad]."""

    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the range [rad]."""
        return (self.high - self.low) / 2

    @property
    def middle(self) -> float:
        """Middle of the range [rad]."""
        return (self.high + self.low) / 2


def limits(joint: Joint) -> Limits:
    """Return where a joint may stand: its range less a margin."""
    low, high = joint.range or (-np.pi, np.pi)
    margin = min(1.2 * MARGIN, 0.12 * (high - low))
    return Limits(low + margin, high - margin)


def shared(feet: Sequence[Foot]) -> set[str]:
    """Return the joints that are in several legs: a waist."""
    count = Counter(joint for foot in feet for joint in foot.leg.joints)
    return {joint for joint, times in count.items() if times > 1}


class PosedLeg:
    """One leg as the optimization sees it."""

    def __init__(self, tree: Tree, foot: Foot, pose: Mapping[str, float], shared: set[str]) -> None:
        """Take the chain; joints that several legs share stay as they are."""
        self.tree = tree
        self.foot = foot
        self.links = [tree.links[name] for name in foot.leg.links]
        self.fixed = dict(pose)
        self.joints = [
            joint for link in self.links for joint in link.joints if joint.name not in shared
        ]
        self.names = [joint.name for joint in self.joints]
        self.limits = [limits(joint) for joint in self.joints]
        self.low = np.array([limit.low for limit in self.limits])
        self.high = np.array([limit.high for limit in self.limits])
        self.half = np.array([limit.half for limit in self.limits])
        self.middle = np.array([limit.middle for limit in self.limits])
        self.reference = np.array([pose[name] for name in self.names]).clip(self.low, self.high)
        self.contact = foot.centre()[None]
        frames = self.frames(self.reference)
        first = next(link for link in self.links if link.joints and link.joints[0] in self.joints)
        self.hip = frames[first.name].points(first.joints[0].pos[None])[0]
        centre = self.foot_at(frames)
        self.start = centre
        self.heading = frames[foot.leg.foot].mat.T @ (1, 0, 0)
        """Forward in the foot's frame, as it points in the neutral pose."""

    def frames(self, angles: np.ndarray) -> dict[str, Pose]:
        """Return the frames of the chain in the base's at the joints' angles."""
        pose = self.fixed | dict(zip(self.names, angles.tolist(), strict=True))
        found: dict[str, Pose] = {}
        frame = Pose()
        for link in self.links:
            frame = placed(frame, link, pose)
            found[link.name] = frame
        return found

    def foot_at(self, frames: Mapping[str, Pose]) -> np.ndarray:
        """Return where the foot's middle is (3,), at the height of its lowest point [m]."""
        frame = frames[self.foot.leg.foot]
        at = frame.points(self.contact)[0]
        if not self.foot.flat:
            at[2] = self.foot.lowest(frame)
        return at

    def reach(self) -> float:
        """Return how far below the hip the foot can be [m], by a search along one joint each."""
        angles = self.reference.copy()
        best = self._drop(angles)
        for _ in range(3):
            for i in range(len(angles)):
                for value in np.linspace(self.low[i], self.high[i], 13):
                    trial = angles.copy()
                    trial[i] = value
                    drop = self._drop(trial)
                    if drop > best + 1e-9:
                        best = drop
                        angles = trial
        return best

    def _drop(self, angles: np.ndarray) -> float:
        return float(self.hip[2] - self.foot_at(self.frames(angles))[2])

    def torques(self, frames: Mapping[str, Pose], force: float) -> np.ndarray:
        """Return the joints' torques [N m] that carry `force` [N] at the foot, as fractions."""
        at = self.foot_at(frames)
        found = []
        for link in self.links:
            for joint in link.joints:
                if joint not in self.joints:
                    continue
                frame = frames[link.name]
                anchor = frame.points(joint.pos[None])[0]
                axis = frame.mat @ joint.axis
                arm = at - anchor
                moment = np.array((arm[1] * force, -arm[0] * force, 0.0))  # arm x (0, 0, force)
                torque = moment @ axis
                found.append(torque / (joint.torque or abs(force) * 0.3))
        return np.array(found)
