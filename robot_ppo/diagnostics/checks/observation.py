"""Check that every entry of the actor's observation varies."""

import numpy as np

from robot_ppo import project
from robot_ppo.diagnostics.checks.finding import Finding, needs
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.envs.robot import observations
from robot_ppo.ppo.networks import MIN_STD
from robot_ppo_export.contract.layout import Layout

SEEN = 1000
"""Number of environment steps after which every entry should have varied."""


@needs("steps")
def observation_never_moves(record: Record) -> Finding | None:
    """Find that an entry of the actor's observation is a constant."""
    task = record.task
    if task is None or record.deviations is None or record["steps"][-1] < SEEN:
        return None
    still = np.flatnonzero(record.deviations <= MIN_STD)
    if not len(still):
        return None
    robot = project.load_robot(task.robot)
    layout = observations.layout(task, robot)
    entries = layout.entries(robot.joint_names)
    shown = "; ".join(
        f"{entries[i]} [{entries[i].unit}]: {record.deviations[i]:.1g}" for i in still[:6]
    )
    more = f"; and {len(still) - 6} more" if len(still) > 6 else ""
    fixed = dict.fromkeys(entries[i].part for i in still if entries[i].term == "command")
    whole = _dead_terms(layout, set(still.tolist()))
    if fixed:
        advice = "Command it too, or the policy will not know what to do with it."
        settings = tuple(f"task.commands.twist.{key}=[-0.4,0.4]" for key in fixed)
        settings = settings if "twist" in task.commands else ()
    elif whole:
        advice = "Mend the term's source; or leave it out."
        settings = tuple(f"task.observations.actor.{name}=null" for name in whole)
    else:
        advice = "Mend its source: the sensor in the model, the joint's range, or the term's scale."
        settings = ()
    return Finding(
        "observation_never_moves",
        f"standard deviation at most {MIN_STD:g}, the floor of the normalizer, over "
        f"{record['steps'][-1]:,.0f} steps: {shown}{more}",
        "The network sees a constant there. On the robot the value may move, and then the policy "
        "meets what it never met.",
        advice,
        settings,
    )


def _dead_terms(layout: Layout, still: set[int]) -> list[str]:
    """Return the terms of which every entry is in `still`, unless that is all of them."""
    dead = [n for n, part in layout.slices.items() if still >= set(range(part.start, part.stop))]
    return dead if len(dead) < len(layout.slices) else []
