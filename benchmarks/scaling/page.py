"""The tables of docs/scaling.md, from the figures of a run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

BEGIN = "<!-- python -m benchmarks.scaling --doc docs/scaling.md writes from here -->\n"
END = "<!-- to here -->\n"
COEFFICIENTS = {
    "collect_call": ("a control step, whatever its robots [ms]", 1e3),
    "collect_sample": ("collecting a robot's step [us]", 1e6),
    "learn_minibatch": ("a minibatch, whatever its size [ms]", 1e3),
    "learn_sample": ("learning a sample, in an epoch [us]", 1e6),
    "crowded": ("factor where every core is busy", 1.0),
    "in_turns": ("factor where ranks take turns on a core, beside their share of it", 1.0),
    "imbalance": ("wait for the slowest, in work times the expected largest of N", 1.0),
    "hop": ("a hop on the loopback [us]", 1e6),
    "relay": ("what the relay adds to a hop [us]", 1e6),
    "delay_hops": ("injected delays that a hop meets", 1.0),
}


def write(path: Path, result: dict[str, Any]) -> None:
    """Replace what stands between the two comments of a page."""
    text = path.read_text(encoding="utf-8")
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    if len(re.findall(pattern, text, re.S)) != 1:
        raise InputError(f"{path}: has no place for the tables, between {BEGIN.strip()!r} and end")
    new = BEGIN + markdown(result) + END
    write_atomically(path, re.sub(pattern, lambda _: new, text, flags=re.S).encode())


def markdown(result: dict[str, Any]) -> str:
    """Return the tables."""
    machine = result["machine"]
    held_out = [row for row in result["runs"] if row["held_out"]]
    fitted = [row for row in result["runs"] if not row["held_out"]]
    where = f"Measured on {machine['cores']} cores of {machine['cpu']}; delay and bandwidth by: "
    parts = [
        f"\n{where}{result['network']}. Largest error of a setting that had no say in the fit: "
        f"**{result['largest_error_held_out']:.1%}**.\n",
        "Coefficients:\n",
        table(coefficients(result["model"])),
        "Settings that had no say in the fit (ranks x robots of each, minibatches, what travels, "
        "injected network):\n",
        table([without(row, "held_out") for row in held_out]),
        "Settings that were fitted:\n",
        table([without(row, "held_out") for row in fitted]),
        "Extrapolated efficiency, 512 robots a rank, `float32`, and the most ranks (of powers of "
        "two) above 0.9:\n",
        table(result["extrapolated"]),
        "The most ranks above 0.9, with each lever:\n",
        table(result["levers"]),
        "What an iteration of 64 ranks is made of, on each network:\n",
        table(result["shares"]),
    ]
    return "\n".join(parts)


def coefficients(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the coefficients."""
    rows = [
        {"coefficient": words, "value": f"{model[name] * scale:.3g}"}
        for name, (words, scale) in COEFFICIENTS.items()
    ]
    return rows + [
        {"coefficient": f"both gradients as {form} [kB]", "value": f"{size / 1e3:.1f}"}
        for form, size in model["payload"].items()
    ]


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a row without one column."""
    return {key: value for key, value in row.items() if key != name}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a table of Markdown."""
    if not rows:
        return "none\n"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
