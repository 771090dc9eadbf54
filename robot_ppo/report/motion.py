"""Section of a report: a playback in simulation, as film, velocities, gait and joints."""

from html import escape

import numpy as np

from robot_ppo.report import html, svg
from robot_ppo.report.source import Played, Runs, Shown
from robot_ppo.report.svg import Line


def played(runs: Runs) -> str:
    """Return film, velocities, gait, and what the joints did, of every run."""
    parts: list[str] = []
    for run in runs:
        parts.append(html.Raw(f"<h3>{escape(run.name)}</h3>") if len(runs) > 1 else "")
        if run.film:
            parts.append(html.video(run.film))
        elif run.film_error:
            parts.append(html.text(f"No film: {run.film_error}"))
        if run.played and run.played.track.time:
            parts += _track(run, run.played)
        elif run.played:
            parts.append(html.text(str(run.played.summary)))
    return html.section("In simulation", *parts)


def _track(run: Shown, played: Played) -> list[str]:
    track = played.track
    contract = run.contract
    assert contract is not None
    time = np.array(track.time)
    parts: list[str] = [html.text(str(played.summary).replace("\n", " "))]
    if contract.command.kind == "twist":
        parts.append(html.grid(*_velocities(time, played)))
    contacts = np.reshape(track.contacts, (len(time), -1))
    parts.append(html.Raw("<h3>Which foot is on the ground</h3>"))
    parts.append(svg.gait(time, contacts, track.feet, width=900))
    parts.append(html.Raw("<h3>Joints against their limits, in the whole playback</h3>"))
    joints = contract.robot.joints
    torque = np.abs(np.array(track.torque)).max(axis=0)
    speed = np.abs(np.array(track.joint_vel)).max(axis=0)
    torques = [
        html.meter(j.name, float(value), j.torque_limit, "N m")
        for j, value in zip(joints, torque, strict=True)
    ]
    speeds = [
        html.meter(j.name, float(value), j.velocity_limit, "rad/s")
        for j, value in zip(joints, speed, strict=True)
    ]
    parts.append(html.grid("<b>largest torque</b>" + "".join(torques),
                           "<b>largest velocity</b>" + "".join(speeds)))  # fmt: skip
    return parts


def _velocities(time: np.ndarray, played: Played) -> list[str]:
    asked = np.array(played.track.command)
    got = np.array(played.track.velocity)
    labels = ("forward [m/s]", "left [m/s]", "turn left [rad/s]")
    return [
        svg.lines(
            [
                Line("measured", time, got[:, i], "s0"),
                Line("commanded", time, asked[:, i], "asked", steps=True),
            ],
            "time [s]",
            label,
            zero=True,
        )
        for i, label in enumerate(labels)
    ]
