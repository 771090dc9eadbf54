"""Is this node alone in command of a Unitree robot? Two controllers fight for the motors.

    alone = Alone(bus, commands_type, allow_silent=False)
    alone.wait(clock, 10.0, say=print)        # before the first command, or RefusedError
    alone.trouble()                           # during the run: None, or a sentence

Somebody else may be the watchdog of a node that died, which damps the robot for a while, or a
program that was killed after we joined, which is seen until its lease ends. Those are waited for;
any other that is known to live is refused at once.
"""

import math
from collections.abc import Callable
from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.dds.dds_watch import Stranger

COMMANDS, STATES = "rt/lowcmd", "rt/lowstate"
LOOK_EVERY = 0.1
"""[s] Whoever commands a walking robot speaks several times meanwhile."""
MARGIN = 1.0
"""[s] That the end of a lease may be noticed late."""


class Alone:
    """Who else commands the robot, or plays it."""

    def __init__(self, bus: participant.Bus, command: Any, allow_silent: bool) -> None:
        """Look on; `allow_silent` tolerates others that could command, while they do not."""
        self.allow_silent = allow_silent
        self._spoken = bus.reader(COMMANDS, command, others=True)
        self._commanders, self._robots = bus.watch(COMMANDS), bus.watch(STATES)

    def forget(self) -> None:
        """Forget what was said until now, such as by a controller that has let go since."""
        self._spoken.newest()

    def trouble(self) -> str | None:
        """Return a sentence about somebody else who commands the motors, or None."""
        strangers = self._commanders.strangers()
        who = "; ".join(map(str, strangers))
        spoken = self._spoken.newest() is not None
        if not spoken and self.allow_silent:
            return None
        if strangers and all(s.watchdog for s in strangers):
            return (
                f"the watchdog of a node that died damps the robot ({who}): it ends by itself a "
                "second after a run with --seconds, else `kill` that process"
            )
        if spoken:
            by = f" ({who})" if who else ""
            return f"somebody else sends {COMMANDS}{by}: two controllers fight for the motors"
        if strangers:
            return (
                f"somebody else can send {COMMANDS} ({who}): end that program, or, if it is known "
                "to stay silent, give --allow-silent-writers"
            )
        return None

    def wait(self, clock: Clock, longest: float, say: Callable[[str], None]) -> None:
        """Return once nobody else is there; `RefusedError` for who lives or outlasts the lease.

        Args:
            clock: to wait by.
            longest: wait no longer than this, whatever the lease is [s].
            say: takes whom we are waiting for.
        """
        begin, told = clock.now(), False
        while reason := self._double() or self.trouble():
            strangers, too_many = self._concerned()
            ends = [math.inf if s.watchdog else s.lease + MARGIN for s in strangers]
            waits = min(max(ends, default=0.0), longest)
            living = sum(s.lives and not s.watchdog for s in strangers)
            if living >= too_many or clock.now() - begin >= waits:
                raise RefusedError(f"driver unitree: {reason}")
            if not told:
                told = True
                say(f"{reason}. Waiting for it to go, {waits:g} s at the most")
            clock.sleep_until(clock.now() + LOOK_EVERY)

    def _double(self) -> str | None:
        """Return a sentence about a second robot, or None."""
        robots = self._robots.strangers()
        if len(robots) < 2:
            return None
        who = "; ".join(map(str, robots))
        return f"more than one robot sends {STATES} here ({who}): give each its own --domain"

    def _concerned(self) -> tuple[tuple[Stranger, ...], int]:
        """Return who is in the way, and how many of them must live for them to be too many."""
        robots = self._robots.strangers()
        return (robots, 2) if len(robots) > 1 else (self._commanders.strangers(), 1)
