"""Exclusive access to a robot over DDS: two controllers fight for the motors.

    access = ExclusiveAccess(bus, "rt/lowcmd", command_type, "unitree", states="rt/lowstate")
    access.wait(clock, 10.0, say=print)       # before the first command, or RefusedError
    access.trouble()                          # during the run: None, or a sentence

A foreign writer may be the watchdog of a node that died, which damps the robot for a while, or a
program that was killed after we joined, which is seen until its lease ends. Those are waited for;
any other that is known to live is refused at once.
"""

import math
from collections.abc import Callable
from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.dds.dds_watch import ForeignWriter

LOOK_EVERY = 0.1
"""[s] Whoever commands a walking robot speaks several times meanwhile."""
MARGIN = 1.0
"""[s] That the end of a lease may be noticed late."""


class ExclusiveAccess:
    """Watches who else commands a robot, or stands in for it."""

    def __init__(
        self,
        bus: participant.Bus,
        commands: str,
        command: Any,
        driver: str,
        states: str | None = None,
        allow_silent: bool = False,
    ) -> None:
        """Watch the topics of a robot.

        Args:
            bus: participant that looks on; its own writers are left out.
            commands: topic of the motors' commands.
            command: DDS type of `commands`.
            driver: name of the driver, for the error.
            states: topic that only one robot may write, if there is such a topic.
            allow_silent: tolerate others that could command, while they do not.
        """
        self.allow_silent = allow_silent
        self._commands = commands
        self._states = states
        self._driver = driver
        self._foreign_commands = bus.reader(commands, command, others=True)
        self._commanders = bus.watch(commands)
        self._robots = bus.watch(states) if states else None

    def forget(self) -> None:
        """Forget what was said until now, such as by a controller that has let go since."""
        self._foreign_commands.newest()

    def trouble(self) -> str | None:
        """Return a sentence about somebody else who commands the motors, or None."""
        writers = self._commanders.foreign_writers()
        who = "; ".join(map(str, writers))
        received = self._foreign_commands.newest() is not None
        unmatched = [w for w in writers if not self._foreign_commands.is_matched_with(w.key)]
        if not received and self.allow_silent and not unmatched:
            return None
        if writers and all(w.watchdog for w in writers):
            return f"the watchdog of a dead node damps the robot ({who}): `kill` that process"
        if received:
            by = f" ({who})" if who else ""
            return f"somebody else sends {self._commands}{by}: end that program"
        if self.allow_silent and unmatched:
            return (
                f"somebody else can send {self._commands} ({'; '.join(map(str, unmatched))}) and "
                "is not heard here (other type or settings): end that program"
            )
        if writers:
            return (
                f"somebody else can send {self._commands} ({who}): end that program, or give "
                "--allow-silent-writers if it stays silent"
            )
        return None

    def wait(self, clock: Clock, longest: float, say: Callable[[str], None]) -> None:
        """Return once no other writer is left.

        Args:
            clock: to wait by.
            longest: wait no longer than this, whatever the lease is [s].
            say: takes the sentence about who is waited for.

        Raises:
            RefusedError: another program runs, or its writer is still there after its lease.
        """
        begin = clock.now()
        told = False
        while reason := self._second_robot() or self.trouble():
            writers, too_many = self._in_the_way()
            ends = [math.inf if w.watchdog else w.lease + MARGIN for w in writers]
            waits = min(max(ends, default=0.0), longest)
            running = sum(w.is_running and not w.watchdog for w in writers)
            if running >= too_many or clock.now() - begin >= waits:
                raise RefusedError(f"driver {self._driver}: {reason}")
            if not told:
                told = True
                say(f"{reason}; waiting for it to go, {waits:g} s at the most")
            clock.sleep_until(clock.now() + LOOK_EVERY)

    def _second_robot(self) -> str | None:
        """Return a sentence about a second robot, or None."""
        robots = self._robot_writers()
        if len(robots) < 2:
            return None
        who = "; ".join(map(str, robots))
        return f"more than one robot sends {self._states} here ({who}): give each its own --domain"

    def _in_the_way(self) -> tuple[tuple[ForeignWriter, ...], int]:
        """Return who is in the way, and how many of them must live for them to be too many."""
        robots = self._robot_writers()
        return (robots, 2) if len(robots) > 1 else (self._commanders.foreign_writers(), 1)

    def _robot_writers(self) -> tuple[ForeignWriter, ...]:
        """Return one writer of each program that sends states."""
        writers = self._robots.foreign_writers() if self._robots else ()
        return tuple({writer.program: writer for writer in writers}.values())
