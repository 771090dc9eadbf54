"""Sends each command to the driver, and again in between where a robot needs it.

While the watchdog has the robot, nothing is sent.
"""

import contextlib
import functools
from collections.abc import Callable

import numpy as np

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.states import ENDING, SILENT, State
from robot_ppo_node.drivers.base import Driver, HandsOver, MotorCommand
from robot_ppo_node.drivers.sends import CountsSends, Unsent
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.watchdog import Handover, Watchdog

UNSENT_FOR = 0.1
"""[s] without a command that could be sent: the robot's side damps by itself then, and so must we
know that it does."""


class CommandWriter:
    """The commands of one node on their way to the motors, and the watchdog beside them."""

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        period: float,
        rate: float | None = None,
        watchdog: Callable[[Handover], Watchdog] | None = None,
    ) -> None:
        """Send nothing yet; `InputError` where the rate is not a multiple of the policy's.

        Args:
            driver: the robot.
            clock: the node's.
            period: of the control [s].
            rate: commands per second [Hz], by default one per period.
            watchdog: starts the process that damps when this one cannot.
        """
        self.driver = driver
        self.clock = clock
        self.period = period
        self.per_period = 1 if rate is None else commands_per_period(rate, period)
        """Commands per control period."""
        self.failed = False
        """The driver could not send; a fault at the next tick."""
        self.unsent = Unsent()
        """Commands that could not be sent, where the driver counts them."""
        self.watchdog: Watchdog | None = None
        """The process that damps the robot when this one cannot."""
        self._sent: MotorCommand | None = None
        """The command of this tick."""
        self._counting = driver if isinstance(driver, CountsSends) else None
        self._warn_from = 1
        self._make_watchdog = watchdog
        self._start_watchdog: Callable[[], Watchdog] | None = None
        """Starts another one; None before the first."""
        self._warning: Reason | None = None

    @property
    def rate(self) -> float:
        """Commands per second [Hz]."""
        return self.per_period / self.period

    def write(self, motors: MotorCommand) -> None:
        """Send a command; it must not change any more."""
        self._sent = motors
        self._send()

    def publish(self, pacer: Pacer) -> None:
        """Send the command again until the next tick; what is late is skipped, never made up."""
        every = self.period / self.per_period
        for i in range(1, self.per_period):
            due = pacer.deadline + i * every
            if self.clock.now() < due + every:
                if not pacer.sleep_until(due):  # the clock ran back: the next tick says so
                    return
                self._send()

    def failure(self) -> Reason | None:
        """Return that the previous command could not be sent, once."""
        if not self.failed:
            return None
        self.failed = False
        return Reason("write_failed", "the driver could not send the previous command")

    def start_watchdog(self, damping: np.ndarray) -> None:
        """Start the watchdog, where there is to be one and the driver can hand its robot over.

        `damping` is the gain with which it brakes, (joints,) [N m s/rad].
        """
        if self._make_watchdog is None or not isinstance(self.driver, HandsOver):
            return
        handover = self.driver.damping_sender(damping)
        self._start_watchdog = functools.partial(self._make_watchdog, handover)
        self.watchdog = self._start_watchdog()

    def close_watchdog(self, commands: bool) -> None:
        """End the watchdog; where the node still `commands` the robot, let it damp instead."""
        if self.watchdog is None:
            return
        if commands:
            self.watchdog.take_over()
        else:
            self.watchdog.close()

    def poll_watchdog(self, requests: Requests, state: State, silent: float) -> None:
        """Yield to a watchdog that has the robot; stop when there is none any more.

        Args:
            requests: where that is asked for.
            state: of the node.
            silent: time since the last tick [s].
        """
        watchdog = self.watchdog
        if watchdog is None:
            return
        if watchdog.has_robot:
            if watchdog.lost or (requests.reset and state is State.DAMP):
                watchdog.release()
                assert isinstance(self.driver, HandsOver), "it handed over"
                self.driver.reclaim(watchdog.takeovers)
            elif state is not State.DAMP:
                text = f"the watchdog took over: the node stood still for {silent:.3g} s"
                requests.taken_over = text
                with contextlib.suppress(Exception):  # a command under way would be repeated
                    self.driver.damp()
        elif watchdog.lost and state not in ENDING:
            self._replace_watchdog(requests, state)

    def _replace_watchdog(self, requests: Requests, state: State) -> None:
        """Start another watchdog where nothing moves yet; else ask for an orderly stop."""
        assert self.watchdog is not None
        what = f"the watchdog {self.watchdog.how_lost()}"
        self.watchdog.close()
        self.watchdog = None
        if state not in SILENT or self._start_watchdog is None:
            requests.unguarded = f"{what}: nobody would damp the robot if the node died"
            return
        try:
            self.watchdog = self._start_watchdog()
        except RefusedError as error:
            requests.unguarded = f"{what}, and another one does not start: {error}"
            return
        self._warning = Reason("watchdog_restarted", f"{what}; another one watches now")

    def heartbeat(self, sends: bool) -> None:
        """Tell the watchdog that a tick is done, and whether the node commands the robot."""
        if self.watchdog:
            self.watchdog.heartbeat(sends)

    def pending_warning(self) -> Reason | None:
        """Return what the operator must know: another watchdog, or that unsent commands doubled."""
        if self._warning:
            warning = self._warning
            self._warning = None
            return warning
        if self._counting:
            with contextlib.suppress(Exception):  # a count that cannot be had is no warning
                self.unsent = self._counting.unsent()
            self.failed = self.failed or self.unsent.failing > UNSENT_FOR
        count = self.unsent.lost + self.unsent.stale
        if count < self._warn_from:
            return None
        self._warn_from = 2 * count
        return Reason("commands_lost", str(self.unsent))

    def _send(self) -> None:
        assert self._sent is not None, "a tick writes before anything is sent again"
        if self.watchdog:
            self.watchdog.announce()
            if self.watchdog.has_robot:
                return
        try:
            self.driver.write(self._sent)
            if self.watchdog and self.watchdog.has_robot:  # stopped within the write
                self.driver.damp()  # a driver that repeats would go on until the next tick
        except Exception:  # noted here, and a fault at the next tick
            self.failed = True


def commands_per_period(rate: float, period: float) -> int:
    """Return how often a command is sent, for `rate` [Hz] in all, or `InputError`."""
    times = rate * period
    if abs(times - round(times)) > 1e-6 or times < 1 - 1e-6:
        raise InputError(
            f"--publish-hz {rate:g} is not a multiple of the policy's {1 / period:g} Hz"
        )
    return round(times)
