"""Compares policy and robot before anything is sent: they fit, or the node does not arm.

    rows = check_compatibility(contract, driver, command_rate=50.0)    # or RefusedError
    print(summary(rows))                               # how many fit, and what was not stated

What is compared is in comparison.py.
"""

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.drivers.base import Driver
from robot_ppo_node.drivers.joint_map import check_joints
from robot_ppo_node.host.text_table import table
from robot_ppo_node.startup.comparison import ROWS, Fit, Row, Sides


def check_compatibility(
    contract: Contract, driver: Driver, command_rate: float | None = None
) -> list[Row]:
    """Return the rows of a robot that fits, or raise `RefusedError` with those that differ.

    `command_rate` [Hz] is what the node sends, by default one command per control period.
    """
    rows = compare(contract, driver, command_rate)
    require(rows, driver.name)
    return rows


def compare(contract: Contract, driver: Driver, command_rate: float | None = None) -> list[Row]:
    """Return every row; joints that differ are a `RefusedError`: nothing can be compared then."""
    check_joints(contract.robot.joint_names, driver.joint_names, driver.name)
    sides = Sides(contract, driver, command_rate or 1 / contract.control_period)
    return [row for function in ROWS if (row := function(sides))]


def require(rows: list[Row], driver: str) -> None:
    """Raise `RefusedError` with the rows that differ, if there are any."""
    differing = [row for row in rows if row.fit is Fit.DIFFERS]
    if differing:
        fixes = (f"- {row.what}: {row.fix}" for row in differing)
        raise RefusedError(
            f"driver {driver}: the robot does not fit the policy, and nothing was sent\n"
            + "\n".join((whole_page(differing), *fixes))
        )


def summary(rows: list[Row]) -> str:
    """Return what is worth a look at every start of a robot that fits: what it does not state."""
    unstated = [row.what.partition(" [")[0] for row in rows if row.fit is Fit.UNSTATED]
    fitting = sum(row.fit is Fit.FITS for row in rows)
    text = f"policy and robot compared: {fitting} of {len(rows)} fit"
    return f"{text}; not stated: {', '.join(unstated)}" if unstated else text


def whole_page(rows: list[Row]) -> str:
    """Return all rows as a table."""
    cells = [(row.what, row.policy, row.robot, row.fit.value) for row in rows]
    return table(("", "policy", "robot", ""), cells)
