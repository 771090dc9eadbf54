"""A robot from three sides, drawn without a graphics card."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_ppo.robot_model.importing.describe import Findings
from robot_ppo.robot_model.importing.tree import Pose, Shape
from robot_ppo.robot_model.importing.writing import Body

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VIEWS = {"from the right": (0, 2), "from the front": (1, 2), "from above": (0, 1)}
"""Name -> the axes of the base that point to the right and up."""
_COLORS = ("tab:red", "tab:green", "tab:blue")


def draw(path: Path, found: Findings, body: Body) -> None:
    """Write the picture: shapes, feet, contact points, joint axes and the axes of the base."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    frames = found.tree.frames(found.pose)
    figure = Figure(figsize=(15, 5.4), dpi=110)
    figure.subplots_adjust(0.05, 0.1, 0.99, 0.92, 0.2)
    for i, (title, axes) in enumerate(_VIEWS.items()):
        plot = figure.add_subplot(1, 3, i + 1)
        plot.set_title(f"{found.name} {title}")
        for link, frame in frames.items():
            seen = body.others.get(link) or _shown(found, link)
            for shape in seen:
                _outline(plot, shape, frame, axes, "0.5")
        for foot in found.feet:
            frame = frames[foot.leg.foot]
            for shape in foot.shapes:
                _outline(plot, shape, frame, axes, "tab:green")
            points = frame.points(foot.contact_points())
            if not foot.flat:
                points[:, 2] = foot.lowest(frame)
            plot.plot(points[:, axes[0]], points[:, axes[1]], "k.", markersize=4)
        _arrows(plot, found, frames, axes)
        plot.set_aspect("equal")
        plot.set_xlabel(f"{'xyz'[axes[0]]} [m]")
        plot.set_ylabel(f"{'xyz'[axes[1]]} [m]")
        plot.grid(alpha=0.3)
    figure.savefig(path)


def _shown(found: Findings, link: str) -> list[Shape]:
    of_feet = {foot.leg.foot for foot in found.feet}
    return [] if link in of_feet else found.tree.links[link].shapes


def _outline(plot: "Axes", shape: Shape, frame: Pose, axes: tuple[int, int], color: str) -> None:
    if shape.points is None and shape.kind == "mesh":
        return
    points = frame.points(shape.cloud())[:, axes]
    plot.fill(*hull(points).T, facecolor=color, edgecolor=color, linewidth=0.8, alpha=0.4)


def hull(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull of points (k, 2), counterclockwise."""
    ordered = sorted(set(map(tuple, points.round(6).tolist())))
    if len(ordered) < 3:
        return np.array(ordered)

    def half(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for point in line:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def _turn(a: tuple, b: tuple, c: tuple) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _arrows(plot: "Axes", found: Findings, frames: dict[str, Pose], axes: tuple[int, int]) -> None:
    size = 0.25 * found.length
    for axis, color in zip(np.eye(3) * size, _COLORS, strict=True):
        end = axis[list(axes)]
        if np.linalg.norm(end) > 0.1 * size:
            plot.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": color, "lw": 2})
    for link, joint in found.tree.joints():
        frame = frames[link.name]
        at = frame.points(joint.pos[None])[0]
        ends = np.array(
            [at - 0.3 * size * (frame.mat @ joint.axis), at + 0.3 * size * (frame.mat @ joint.axis)]
        )
        color = _COLORS[int(np.argmax(np.abs(frame.mat @ joint.axis)))]
        plot.plot(ends[:, axes[0]], ends[:, axes[1]], color=color, linewidth=1.2)
