"""What leaves the node: each command to the driver, and again in between where a robot needs it.

While the watchdog has the robot, nothing leaves.
"""

import contextlib
from collections.abc import Callable

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.states import ENDING, SILENT, State
from robot_ppo_node.drivers.base import Driver, HandsOver, MotorCommand
from robot_ppo_node.drivers.sends import CountsSends, Unsent
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.tick_state import TickState
from robot_ppo_node.safety.watchdog import Watchdog

UNSENT_FOR = 0.1
"""[s] without a command that could be sent: the robot's side damps by itself then, and so must we
know that it does."""


class CommandWriter:
    """The way from a tick's target to the motors."""

    def __init__(self, driver: Driver, clock: Clock, tick_state: TickState, period: float) -> None:
        s = tick_state
        self.driver, self.clock, self.tick_state, self.period = driver, clock, s, period
        self.sent = MotorCommand(s.target, s.kp, s.kd)
        """The command of this tick."""
        self.failed = False
        """The driver could not send; a fault at the next tick."""
        self.unsent = Unsent()
        """What did not get out, where the driver counts it."""
        self._counting = driver if isinstance(driver, CountsSends) else None
        self._warn_from = 1
        self.watchdog: Watchdog | None = None
        """Damps the robot when this process cannot."""
        self.start_watchdog: Callable[[], Watchdog] | None = None
        """Starts another one."""
        self._warning: Reason | None = None
        self.per_period = 1
        """Commands per control period."""

    @property
    def rate(self) -> float:
        """Commands per second [Hz]."""
        return self.per_period / self.period

    def publish_at(self, rate: float) -> None:
        """Send each command again until the next, `rate` [Hz] in all, or `InputError`."""
        times = rate * self.period
        if abs(times - round(times)) > 1e-6 or times < 1 - 1e-6:
            raise InputError(
                f"--publish-hz {rate:g} is not a multiple of the policy's {1 / self.period:g} Hz"
            )
        self.per_period = round(times)

    def write(self) -> None:
        """Send the tick's target and gains, and remember the target."""
        s, sent = self.tick_state, self.sent
        s.previous[:] = s.target
        sent.target, sent.kp, sent.kd = s.target, s.kp, s.kd
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
        if state not in SILENT or self.start_watchdog is None:
            requests.unguarded = f"{what}: nobody would damp the robot if the node died"
            return
        try:
            self.watchdog = self.start_watchdog()
        except RefusedError as error:
            requests.unguarded = f"{what}, and another one does not start: {error}"
            return
        self._warning = Reason("watchdog_restarted", f"{what}; another one watches now")

    def heartbeat(self, sends: bool) -> None:
        """Tell the watchdog that a tick is done, and whether the node commands the robot."""
        if self.watchdog:
            self.watchdog.beat(sends)

    def pending_warning(self) -> Reason | None:
        """Return what the operator must know: another watchdog, or that unsent commands doubled."""
        if self._warning:
            warning, self._warning = self._warning, None
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
        if self.watchdog:
            self.watchdog.announce()
            if self.watchdog.has_robot:
                return
        try:
            self.driver.write(self.sent)
            if self.watchdog and self.watchdog.has_robot:  # stopped within the write
                self.driver.damp()  # a driver that repeats would go on until the next tick
        except Exception:  # noted here, and a fault at the next tick
            self.failed = True
