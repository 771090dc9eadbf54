"""Which pose a robot stands in: a person's, a keyframe's, or an optimized one."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robot_ppo.robot_model.importing import limbs, standing
from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo.robot_model.importing.options import Options
from robot_ppo.robot_model.importing.posed_leg import PosedLeg
from robot_ppo.robot_model.importing.tree import Tree
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

_STANDING = ("home", "stand", "standing", "default")
"""Names of keyframes that are a standing pose, the likeliest first."""
_ROUNDED = 1e-3
"""[rad] A pose may be beyond a range by as much, as files round."""
_LEVEL_FEET = 0.05
"""A keyframe is a standing pose if the feet's heights differ by less, in lengths of the legs."""


def standing_pose(
    tree: Tree,
    options: Options,
    ground: Sequence[Foot],
    pose: Mapping[str, float],
    hold: Mapping[str, float],
) -> tuple[dict[str, float], str]:
    """Return the standing pose, and where it is from."""
    if options.pose is not None:
        given_pose, where = _given_pose(tree, options.pose)
        return _inside(tree, standing.complete(tree, given_pose) | dict(hold)), where
    stands = {
        name: standing.complete(tree, known(key.joints, pose)) | dict(hold)
        for name, key in tree.keyframes.items()
        if tree.is_level(key)
    }
    _drop_impossible(tree, stands)
    level = {name: stand for name, stand in stands.items() if _stands_level(tree, ground, stand)}
    if level:
        name = _tallest(tree, ground, level)
        others = ", ".join(other for other in level if other != name)
        more = f"; --pose takes another that stands level: {others}" if others else ""
        return _inside(tree, level[name]), f"keyframe {name} of the file{more}"
    return standing.stand(
        tree, ground, standing.inside(tree, pose) | dict(hold)
    ), "optimized (report.md)"


def _given_pose(tree: Tree, text: str) -> tuple[dict[str, float], str]:
    """Return the angles of --pose: a keyframe of the file, or a YAML of joints and angles."""
    if text in tree.keyframes:
        return known(tree.keyframes[text].joints, joint_names(tree)), f"keyframe {text}"
    path = Path(text)
    if not path.is_file():
        hint = strict.did_you_mean(text, tree.keyframes) if tree.keyframes else ""
        raise InputError(f"--pose {text}: is neither a keyframe of the file nor a YAML{hint}")
    angles = strict.convert(dict[str, float], strict.read_yaml(path), text)
    for name in angles:
        if name not in joint_names(tree):
            raise InputError(
                f"{text}: no joint {name!r}{strict.did_you_mean(name, joint_names(tree))}"
            )
    return angles, f"--pose {path.name}"


def _drop_impossible(tree: Tree, stands: dict[str, dict[str, float]]) -> None:
    """Take out the keyframes that are beyond a joint's range, and tell of them."""
    for name, stand in list(stands.items()):
        if beyond := _beyond(tree, stand):
            del stands[name]
            tree.warnings.append(
                f"the keyframe {name} is no standing pose, since it has {beyond}: correct it or "
                "the range"
            )


def _beyond(tree: Tree, pose: Mapping[str, float]) -> str:
    """Return which joint a pose has outside of its range, "" for none."""
    for _, joint in tree.joints():
        low, high = joint.range or (-np.inf, np.inf)
        angle = pose[joint.name]
        if not low - _ROUNDED <= angle <= high + _ROUNDED:
            return f"{joint.name!r} at {angle:g}, outside of its range [{low:g}, {high:g}]"
    return ""


def _inside(tree: Tree, pose: dict[str, float]) -> dict[str, float]:
    """Return a pose that keeps to the ranges; what is beyond is an `InputError`."""
    if beyond := _beyond(tree, pose):
        raise InputError(
            f"{tree.source}: the standing pose has {beyond}; give another with --pose FILE|KEYFRAME"
        )
    kept = {}
    for _, joint in tree.joints():
        low, high = joint.range or (-np.inf, np.inf)
        kept[joint.name] = round(float(np.clip(pose[joint.name], low, high)), 6)
    return kept


def is_standing(name: str) -> bool:
    """Return whether a keyframe is called a standing pose."""
    return name.lower() in _STANDING


def _tallest(tree: Tree, ground: Sequence[Foot], poses: Mapping[str, Mapping[str, float]]) -> str:
    """Return the keyframe that is called a standing pose, else that of the highest base."""
    for word in _STANDING:
        for name in poses:
            if name.lower() == word:
                return name
    return max(poses, key=lambda name: -max(_lows(tree, ground, poses[name])))


def _lows(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> list[float]:
    """Return the heights of the feet's lowest points against the base [m]."""
    frames = tree.frames(pose)
    up = np.array([0, 0, 1.0])
    return [limbs.lowest(tree, foot.leg.foot, frames[foot.leg.foot], up) for foot in ground]


def _stands_level(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> bool:
    lows = _lows(tree, ground, pose)
    return max(lows) - min(lows) < _LEVEL_FEET * -min(lows)


def level_soles(
    tree: Tree, legs: Sequence[Leg], ground: Sequence[Foot], stand: Mapping[str, float]
) -> list[Foot]:
    """Return the feet, soles with the normal that they have in the standing pose."""
    frames = tree.frames(stand)
    return [
        replace(foot, normal=frames[leg.foot].mat.T @ (0, 0, 1)) if foot.flat else foot
        for leg, foot in zip(legs, ground, strict=True)
    ]


def leg_length(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> float:
    """Return the mean height of the hips above the feet [m]."""
    legs = [PosedLeg(tree, foot, pose, set()) for foot in ground]
    return float(np.mean([leg.hip[2] - leg.foot_at(leg.frames(leg.reference))[2] for leg in legs]))


def known(pose: Mapping[str, float], joints: Container[str]) -> dict[str, float]:
    """Return the angles of the joints that there are."""
    return {name: angle for name, angle in pose.items() if name in joints}


def joint_names(tree: Tree) -> list[str]:
    """Return the names of all joints."""
    return [joint.name for _, joint in tree.joints()]
