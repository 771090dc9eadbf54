"""`robot-ppo-node run`: a person's hands on the node. Signals, keys, screen, files.

What the node itself must not do is here: it prints, installs signal handlers and touches the disk.
"""

import argparse
import contextlib
import math
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import InputError
from robot_ppo_export.node import commands, drivers, log_file, realtime, recorder
from robot_ppo_export.node.clock import MonotonicClock
from robot_ppo_export.node.commands.base import Hands
from robot_ppo_export.node.commands.choose import choose
from robot_ppo_export.node.commands.udp import UdpCommands
from robot_ppo_export.node.drivers.base import Connection
from robot_ppo_export.node.log_folder import MEMORY_SECONDS, open_log
from robot_ppo_export.node.log_writer import LogWriter
from robot_ppo_export.node.node import DAMP_SECONDS, Node
from robot_ppo_export.node.shadow import ReadOnly, Shadow
from robot_ppo_export.node.states import State
from robot_ppo_export.policy import Policy


class Console:
    """Prints from a thread of its own: a terminal that blocks must not hold up the tick."""

    def __init__(self) -> None:
        self.screen = sys.stdout.isatty()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print a line, above the status line where there is one."""
        self._lines.put(f"\r\x1b[K{text}\n" if self.screen else f"{text}\n")

    def status(self, text: str) -> None:
        """Replace the status line; only on a screen."""
        if self.screen:
            self._lines.put(f"\r\x1b[K{text}")

    def close(self) -> None:
        """Print what is left."""
        if self.screen:
            self._lines.put("\n")
        self._lines.put(None)
        self._thread.join(timeout=2.0)

    def _print(self) -> None:
        while (text := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # a reader that left is no fault
                sys.stdout.write(text)
                sys.stdout.flush()


class Operator:
    """Wires one node to the person who started it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load and verify the file; nothing reaches the robot before `run`."""
        self.options = options
        self.console = Console()
        self.clock = MonotonicClock()
        self.policy = Policy(options.file)
        self.interactive = sys.stdin.isatty()
        self.start = commands.parse(options.command)
        self.keyboard: commands.Keyboard | None = None
        self.recorder = None
        self.log: LogWriter | None = None
        if not options.no_record:
            self.recorder = recorder.for_policy(self.policy, MEMORY_SECONDS)
        self.connection = _connection(options, self.policy.contract)
        self.driver = drivers.create(options.driver, self.clock, self.connection)
        self.source = self._source()
        self.node = Node(
            self.policy,
            self.driver,
            self.clock,
            self.source,
            self.recorder,
            arm=options.arm,
            on_event=self._event,
        )
        self.started = self.clock.now()
        if self.recorder:
            seconds = options.seconds and options.seconds + 2 * DAMP_SECONDS
            self.log = open_log(self.recorder, options.record, seconds, self.console.say)
        self._status_at = 0.0

    def run(self) -> int:
        """Run to the end of damping; return the exit code."""
        realtime.prepare_process()
        node, seconds = self.node, self.options.seconds
        # Damping lasts until somebody ends it, where somebody is there and the run has no end.
        node.damp_after_stop = math.inf if self.interactive and seconds is None else DAMP_SECONDS
        node.damp_after_fault = DAMP_SECONDS if seconds is not None else math.inf
        try:
            with self._signals(), self.keyboard or contextlib.nullcontext():
                node.prepare()
                if self.log:
                    self.log.start()
                self._announce()
                node.run(seconds, self._on_tick)
        finally:
            self.driver.close()
            self._finish()
        return 3 if node.fault else 0

    def _source(self) -> commands.CommandSource:
        """Return where commands come from; on a terminal its keys work beside every source."""
        bounds = self.policy.contract.commands.bounds()
        hands = Hands(damp=lambda why: self.node.stop(why), go=lambda: self.node.arm())
        if self.interactive:
            self.keyboard = commands.Keyboard(bounds, self.start, hands["go"], hands["damp"])
        return choose(self.options, bounds, hands, self.driver, self.connection, self.keyboard)

    def _announce(self) -> None:
        contract = self.policy.contract
        self.console.say(
            f"{self.policy.path.name}: {contract.task} on {contract.robot.name}, "
            f"{1 / contract.control_period:g} Hz, golden traces within "
            f"{self.node.worst.value:.1e}; driver {self.driver.name} offers what it needs"
        )
        if self.interactive:
            self.console.say(commands.Keyboard.HELP)
        elif not self.options.arm:
            self.console.say("not armed: the robot will stand and wait; --arm runs the policy")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM become requests to the node; the handlers come back afterwards."""
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._terminate}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._terminate
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """First Ctrl-C: damp. Second: done."""
        if not self.node.prepared:
            raise KeyboardInterrupt
        if self.node.state is State.DAMP:
            self.node.end()
            return
        self.node.stop("Ctrl-C")
        if math.isinf(self.node.damp_after_stop):
            self.console.say("damping until you press Ctrl-C again")

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: damp for a stated time, then leave."""
        if not self.node.prepared:
            raise KeyboardInterrupt
        self.node.stop(signal.Signals(number).name)
        self.node.end(DAMP_SECONDS)

    def _event(self, now: float, text: str) -> None:
        self.console.say(f"{now - self.started:8.3f} s  {text}")
        if self.node.fault and self.node.state is State.DAMP:
            if math.isinf(self.node.damp_after_fault):
                self.console.say("damping until Ctrl-C")
            if self.log:
                self.log.sync()

    def _on_tick(self) -> None:
        """Once per second, say how it goes."""
        now = self.clock.now()
        if now < self._status_at or not self.console.screen:
            return
        self._status_at = now + 1.0
        self.console.status(self._status())

    def _status(self) -> str:
        node = self.node
        guards = ", ".join(f"{k} {n}" for k, n in node.envelope.fired_counts().items())
        vx, vy, yaw = node.command
        return (
            f"{node.state.name:<7} vx {vx:+.2f} vy {vy:+.2f} yaw {yaw:+.2f}  "
            f"tick p50 {node.tick_quantile(0.5) * 1e3:.2f} ms p99 "
            f"{node.tick_quantile(0.99) * 1e3:.2f} ms  missed {node.missed}  "
            f"guards: {guards or 'none'}"
        )

    def _finish(self) -> None:
        """Say how it went and close the log."""
        node = self.node
        if node.ticks:
            self.console.say(self._status())
        if isinstance(self.source, UdpCommands):
            self.console.say(self.source.remarks())
        if self.log:
            self.log.close()
            if node.ticks:
                self.console.say(str(self.log))
        self.console.close()
        if node.fault:
            print(f"robot-ppo-node: the run ended in a fault: {node.fault}", file=sys.stderr)


def run(options: argparse.Namespace) -> int:
    """Run a policy as the command line says; return the exit code."""
    return look_on(options) if options.shadow else Operator(options).run()


def _connection(options: argparse.Namespace, contract: Contract) -> Connection:
    """Return where the command line says that the robot is."""
    return Connection(
        robot=contract.robot,
        control_period=contract.control_period,
        wait=options.wait,
        host=options.host,
        port=options.port,
        interface=options.interface,
        domain=options.domain,
        peers=tuple(options.peer),
        motion_mode=options.motion_mode,
        allow_silent_writers=options.allow_silent_writers,
        watch_only=options.shadow,
        log=log_file.load(options.log) if options.log else None,
    )


def look_on(options: argparse.Namespace) -> int:
    """Run in shadow mode as the command line says; return the exit code."""
    if options.arm:
        raise InputError("--shadow sends nothing, so there is nothing to --arm")
    policy, clock = Policy(options.file), MonotonicClock()
    connection = _connection(options, policy.contract)
    driver = ReadOnly(drivers.create(options.driver, clock, connection))
    bounds = policy.contract.commands.bounds()
    hands = Hands(damp=lambda why: None, go=lambda: None)
    shadow = Shadow(policy, driver, clock, choose(options, bounds, hands, driver, connection, None))
    before = {
        n: signal.signal(n, lambda *_: shadow.stop()) for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        shadow.prepare()
        print(f"{policy.path.name} looks on; nothing is sent", flush=True)
        shadow.run(options.seconds)
        print(shadow.report())
    finally:
        driver.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
