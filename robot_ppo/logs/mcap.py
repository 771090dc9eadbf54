"""Convert a log to an MCAP file, for Foxglove and other readers of MCAP.

Every message is JSON with a JSON schema of its own; a number that is not finite, such as the age of
a command that never came, is left out of its message. Orientation and events are in schemas that
Foxglove knows (`foxglove.FrameTransform`, `foxglove.Log`), so its 3D and log panels show them.

    /joints    per joint: position, velocity, torque, target, kp, kd
    /imu       orientation (wxyz), angular_velocity, linear_acceleration, body frame
    /command   source, wanted, command, age
    /node      state, tick time, lateness, missed deadlines, guards that fired, entries outside
    /tf        the body's orientation in the world
    /events    messages of the node
    /signals/  one topic for each other signal that the log holds, as "values"
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from robot_ppo.logs.log import Log
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

SCHEMAS = {"/tf": "foxglove.FrameTransform", "/events": "foxglove.Log"}
"""Topic -> name of a schema that Foxglove knows; other schemas are named after their topic."""
SHOWN = ("joint_pos", "joint_vel", "joint_torque", "base_quat", "base_ang_vel", "base_lin_acc")
"""Signals that are parts of /joints, /imu and /tf."""
INFO = 2
ERROR = 4
"""Levels of `foxglove.Log`."""

Message = tuple[str, float, dict[str, Any]]
"""Topic, time [s] on the node's clock, content."""


def write(log: Log, path: Path) -> None:
    """Write the log as MCAP at `path`, atomically, or raise `InputError`."""
    try:
        from mcap.writer import Writer
    except ImportError:
        raise InputError("--mcap needs mcap: pip install 'robot-ppo[mcap]'") from None
    buffer = io.BytesIO()
    writer = Writer(buffer)
    writer.start(profile="", library="robot-ppo")
    channels: dict[str, int] = {}
    for topic, time, content in sorted(_messages(log), key=lambda message: message[1]):
        if topic not in channels:
            name = SCHEMAS.get(topic, f"robot_ppo{topic.replace('/', '.')}")
            schema = msgspec.json.encode(_schema(content))
            number = writer.register_schema(name, "jsonschema", schema)
            channels[topic] = writer.register_channel(topic, "json", number)
        stamp = _nanoseconds(log, time)
        data = msgspec.json.encode(_finite(content))
        writer.add_message(channels[topic], log_time=stamp, data=data, publish_time=stamp)
    about = {key: str(log.meta[key]) for key in ("policy", "task", "robot", "control_period")}
    writer.add_metadata("robot_ppo", about)
    writer.finish()
    write_atomically(path, buffer.getvalue())


def _messages(log: Log) -> Iterator[Message]:
    columns = {name: values.tolist() for name, values in log.rows.items() if name != "source"}
    signals = {name: log.measured(name).tolist() for name in log.signals}
    sources = [source.decode("ascii", "replace") for source in log.rows["source"]]
    for t in range(len(log)):
        row = {name: values[t] for name, values in columns.items()}
        seen = {name: values[t] for name, values in signals.items()}
        time = row["time"]
        if not math.isfinite(time):
            continue
        yield "/joints", time, _joints(log.meta["joints"], row, seen)
        yield "/imu", time, _imu(seen)
        yield "/tf", time, _transform(log, time, seen)
        for name in log.signals:
            if name not in SHOWN:
                yield f"/signals/{name}", time, {"values": seen[name]}
        yield "/command", time, _command(log.meta["command"], row, sources[t])
        yield "/node", time, _node(log, row)
    for time, text in log.meta["events"]:
        if math.isfinite(time):
            yield "/events", time, _event(log, time, text)


def _joints(names: list[str], row: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    vectors = {
        "position": seen["joint_pos"],
        "velocity": seen["joint_vel"],
        "torque": seen["joint_torque"],
    }
    vectors |= {name: row[name] for name in ("target", "kp", "kd")}
    return {joint: {k: v[i] for k, v in vectors.items()} for i, joint in enumerate(names)}


def _imu(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "orientation": dict(zip("wxyz", seen["base_quat"], strict=True)),
        "angular_velocity": dict(zip("xyz", seen["base_ang_vel"], strict=True)),
        "linear_acceleration": dict(zip("xyz", seen["base_lin_acc"], strict=True)),
    }


def _transform(log: Log, time: float, seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestamp": _stamp(log, time),
        "parent_frame_id": "world",
        "child_frame_id": "base",
        "translation": {"x": 0.0, "y": 0.0, "z": 0.0},
        "rotation": dict(zip("wxyz", seen["base_quat"], strict=True)),
    }


def _command(parts: list[str], row: dict[str, Any], source: str) -> dict[str, Any]:
    return {
        "source": source,
        "wanted": dict(zip(parts, row["wanted"], strict=True)),
        "command": dict(zip(parts, row["command"], strict=True)),
        "age": row["wanted_age"],
    }


def _node(log: Log, row: dict[str, Any]) -> dict[str, Any]:
    fired = [name for i, name in enumerate(log.meta["guards"]) if row["guards"] >> i & 1]
    return {
        "state": log.state_name(row["node_state"]),
        "duration": row["duration"],
        "late": row["late"],
        "missed": row["missed"],
        "guards": " ".join(fired),
        "outside": row["outside"],
    }


def _event(log: Log, time: float, text: str) -> dict[str, Any]:
    return {
        "timestamp": _stamp(log, time),
        "level": ERROR if "FAULT" in text else INFO,
        "message": text,
        "name": "node",
        "file": "",
        "line": 0,
    }


def _schema(content: Any) -> dict[str, Any]:
    """Return the JSON schema of a message."""
    if isinstance(content, dict):
        parts = {name: _schema(value) for name, value in content.items()}
        return {"type": "object", "properties": parts}
    if isinstance(content, list):
        return {"type": "array", "items": {"type": "number"}}
    if isinstance(content, str):
        return {"type": "string"}
    return {"type": "integer" if isinstance(content, int) else "number"}


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what is not finite, for which JSON has no number.

    A vector goes as a whole: its other numbers would move up.
    """
    kept = {}
    for name, value in content.items():
        if isinstance(value, dict):
            kept[name] = _finite(value)
        elif isinstance(value, list):
            kept |= {name: value} if all(map(math.isfinite, value)) else {}
        elif isinstance(value, str) or math.isfinite(value):
            kept[name] = value
    return kept


def _nanoseconds(log: Log, time: float) -> int:
    """Return the time of day at the node's `time`, or `time` itself where the day is unknown."""
    begin = float(log.rows["time"][0]) if len(log) else 0.0
    return max(round((log.meta.get("started", 0.0) + time - begin) * 1e9), 0)


def _stamp(log: Log, time: float) -> dict[str, int]:
    seconds, nanoseconds = divmod(_nanoseconds(log, time), 1_000_000_000)
    return {"sec": seconds, "nsec": nanoseconds}
