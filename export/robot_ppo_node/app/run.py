"""`robot-ppo-node run`: wires a node to its operator. Keys, screen, files.

Printing, signals and the disk are here: the node itself knows none of them.
"""

import argparse
import contextlib
import math
import signal
import sys
from collections.abc import Callable, Iterator

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy
from robot_ppo_node import drivers
from robot_ppo_node.app.shadow import ReadOnly, Shadow
from robot_ppo_node.app.signals import Signals
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.commands.base import CommandSource, OperatorActions, parse
from robot_ppo_node.commands.choose import choose
from robot_ppo_node.commands.keyboard import Keyboard
from robot_ppo_node.commands.udp_commands import UdpCommands
from robot_ppo_node.control.events import NodeEvent
from robot_ppo_node.control.settings import DAMP_SECONDS
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection, HandsOver
from robot_ppo_node.drivers.state_rate import explanation
from robot_ppo_node.host import realtime
from robot_ppo_node.host.console import ERR, PATIENCE, Console, say_error, unblock
from robot_ppo_node.log import log_file
from robot_ppo_node.log.log_folder import MEMORY_SECONDS, open_log
from robot_ppo_node.log.log_writer import LogWriter
from robot_ppo_node.log.recorder import for_policy
from robot_ppo_node.node import Node
from robot_ppo_node.safety import limits
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.safety.watchdog import Handover, Watchdog
from robot_ppo_node.startup import compatibility

RING_MARGIN = 15.0
"""[s] Time beyond `--seconds`, to sit down or to be held, and to damp."""

NOT_IN_SHADOW = (
    *("stand", "arm", "joint_check", "limits", "publish_hz", "record", "realtime", "cpu"),
)
"""Options of `run` that mean nothing where somebody else moves the robot."""

PROMPTS = {
    State.PREFLIGHT: "p stands the robot up",
    State.READY: "p runs the policy",
    State.HALT: "o once more, when somebody holds the robot",
    State.HOLD: "o once more, when somebody holds the robot",
    State.DAMP: "r goes back to PASSIVE, Ctrl-C ends",
}
"""State -> the operator's next step."""


class Operator:
    """Wires one node to the person who started it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load and verify the file; nothing reaches the robot before `run`."""
        self.options = options
        self.console = Console()
        self.clock = MonotonicClock()
        self.policy = Policy(options.file)
        self.interactive = sys.stdin.isatty()
        self.command = self.policy.contract.command
        self.start = parse(options.command, self.command)
        self.keyboard: Keyboard | None = None
        self.recorder = None if options.no_record else for_policy(self.policy, MEMORY_SECONDS)
        self.log: LogWriter | None = None
        self.connection = _connection(options, self.policy.contract, self.console.say)
        self.driver = drivers.create(options.driver, self.clock, self.connection)
        self.source = self._source()
        try:
            self.node = self._node()
            self.signals = Signals(self.node)
            if self.recorder:
                seconds = options.seconds and options.seconds + RING_MARGIN
                self.log = open_log(self.recorder, options.record, seconds, self.console.say)
        except BaseException:
            self.source.close()
            raise
        self.started = self.clock.now()
        self._status_at = 0.0

    def run(self) -> int:
        """Run to the end of damping; return the exit code."""
        unblock(ERR)
        realtime.prepare_process()
        node = self.node
        seconds = self.options.seconds
        with self.signals.handled(), self._leaving(), self.keyboard or contextlib.nullcontext():
            node.prepare()
            if self.log:
                self.log.start()
            self._be_in_time()  # when every thread is there: a new one would be on the same CPU
            self._announce()
            node.run(seconds, self._on_tick)
        return 3 if node.fault else 0

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        """Let go of everything at the end, whatever happens: Ctrl-C waits, errors wait too."""
        with contextlib.ExitStack() as stack:  # the last one first
            stack.callback(self._finish)
            stack.callback(self.source.close)
            stack.callback(self.driver.close)
            stack.callback(self.node.close_watchdog)
            try:
                yield
            finally:
                self.signals.ignored = True

    def _source(self) -> CommandSource:
        """Return where commands come from; on a terminal its keys work beside every source."""
        operator = OperatorActions(
            damp=lambda why: self.node.damp(why),
            approve=lambda: self.node.arm(),
            say=self.console.say,
        )
        keys = {
            "p": operator["approve"],
            "o": lambda: self.node.stop("key o"),
            "x": lambda: self.node.damp("key x"),
            "r": lambda: self.node.reset(),
        }
        if self.interactive:
            bounds = self.command.bounds()
            start = self.start
            if self.command.kind != "twist":  # its keys still stop, sit and damp
                bounds = np.zeros((3, 2))
                start = (0.0, 0.0, 0.0)
            self.keyboard = Keyboard(
                bounds, start, keys, dead_man=self.options.dead_man, say=self.console.say
            )
        return choose(
            self.options, self.command, operator, self.driver, self.connection, self.keyboard
        )

    def _node(self) -> Node:
        """Return the node, which has opened nothing yet."""
        options = self.options
        safety = self.policy.contract.robot.safety
        # Damping lasts until somebody ends it, where somebody is there and the run has no end.
        endless = options.seconds is None
        return Node(
            self.policy,
            self.driver,
            self.clock,
            self.source,
            self.recorder,
            stand=options.stand,
            arm=options.arm,
            joint_check=options.joint_check,
            limits=limits.load(options.limits, safety) if options.limits else safety,
            fail_after=options.fail_after,
            silent_after=options.wait,
            damp_after_stop=math.inf if self.interactive and endless else DAMP_SECONDS,
            damp_after_fault=math.inf if endless else DAMP_SECONDS,
            publish_rate=options.publish_hz,
            watchdog=self._watchdog if options.watchdog else None,
            on_event=self._event,
        )

    def _watchdog(self, handover: Handover) -> Watchdog:
        """Start the process that damps when this one cannot."""
        seconds = DAMP_SECONDS if self.options.seconds is not None else math.inf
        period = self.policy.contract.control_period
        return Watchdog(handover, period, seconds, self.options.realtime)

    def _be_in_time(self) -> None:
        """Ask for what `--realtime` and `--cpu` say, and say what was granted."""
        priority = realtime.FIFO_PRIORITY if self.options.realtime else None
        for measure in realtime.apply(priority, self.options.cpu):
            self.console.say(str(measure))
        if priority:
            realtime.lift_others()

    def _announce(self) -> None:
        contract = self.policy.contract
        self.console.say(
            f"{self.policy.path.name}: {contract.task} on {contract.robot.name}, "
            f"{1 / contract.control_period:g} Hz, golden traces within "
            f"{self.node.worst.value:.1e}; driver {self.driver.name} offers what it needs"
        )
        self.console.say(compatibility.summary(self.node.compared))
        if not self.options.watchdog:
            self.console.say("no watchdog: a node that dies leaves the robot to itself")
        elif not isinstance(self.driver, HandsOver):
            self.console.say(f"no watchdog: driver {self.driver.name} has nothing to hand over")
        if self.interactive:
            self.console.say(f"{Keyboard.HELP}  p go on  o sit down  x damp  r reset")
            if self.source is self.keyboard:
                seconds = f"{self.options.dead_man:g} s"
                self.console.say(f"the command is zero {seconds} after the last key")
        elif not self.options.arm:
            what = "will stand and wait" if self.options.stand else "will not move"
            self.console.say(f"not armed: the robot {what}; --stand stands it up, --arm runs it")

    def _event(self, now: float, event: NodeEvent) -> None:
        node = self.node
        self.console.say(f"{now - self.started:8.3f} s  {event}{self._prompt(event)}")
        if node.fault and self.log:
            self.log.sync()

    def _prompt(self, event: NodeEvent) -> str:
        """Return what the operator can do now, where the node waits for one."""
        state = event.state
        if state is State.DAMP and not self.interactive:
            return "; damping until Ctrl-C or SIGTERM" if self.node.endless else ""
        return f": {PROMPTS[state]}" if self.interactive and event.asks else ""

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
        keys = self.source
        left = keys.left(self.clock.now()) if isinstance(keys, Keyboard) else math.inf
        lapses = f"zero in {max(left, 0):.0f} s without a key  " if math.isfinite(left) else ""
        return (
            f"{node.state.name:<7} {self._command()}  {lapses}"
            f"tick p50 {node.durations.quantile(0.5) * 1e3:.2f} ms p99 "
            f"{node.durations.quantile(0.99) * 1e3:.2f} ms  missed {node.missed}  "
            f"guards: {guards or 'none'}"
        )

    def _command(self) -> str:
        """Return what the policy is asked for, short enough for the status line."""
        if self.command.kind != "twist":
            return f"command {self.command.kind}"
        vx, vy, yaw = self.node.command
        return f"vx {vx:+.2f} vy {vy:+.2f} yaw {yaw:+.2f}"

    def _finish(self) -> None:
        """Say how it went and close the log."""
        node = self.node
        if node.ticks:
            self.console.say(self._status())
            for line in node.envelope.report():
                self.console.say(f"guard: {line}")
        if node.unsent.lost or node.unsent.stale:
            self.console.say(str(node.unsent))
        if isinstance(self.source, UdpCommands):
            self.console.say(self.source.remarks())
        if self.log:
            self.log.close()
            if node.ticks:
                self.console.say(str(self.log))
        self.console.close()
        if node.fault:
            say_error(f"the run ended in a fault: {node.fault}", PATIENCE)
            hint = explanation(self.driver, node.fault_code)
            if hint:
                say_error(hint, PATIENCE)


def run(options: argparse.Namespace) -> int:
    """Run a policy as the command line says; return the exit code."""
    return look_on(options) if options.shadow else Operator(options).run()


def look_on(options: argparse.Namespace) -> int:
    """Run in shadow mode as the command line says; return the exit code."""
    for name in NOT_IN_SHADOW:
        value = getattr(options, name)
        if value is not None and value is not False:  # 0 is a processor
            option = "--" + name.replace("_", "-")
            raise InputError(f"--shadow sends and records nothing: leave out {option}")
    policy = Policy(options.file)
    clock = MonotonicClock()
    connection = _connection(options, policy.contract)
    driver = ReadOnly(drivers.create(options.driver, clock, connection))
    operator = OperatorActions(damp=lambda why: None, approve=lambda: None, say=print)
    source = choose(options, policy.contract.command, operator, driver, connection, None)
    shadow = Shadow(policy, driver, clock, source)
    with contextlib.ExitStack() as stack:  # the last one first
        stack.callback(source.close)
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda *_: shadow.stop())
        stack.callback(driver.close)
        shadow.prepare()
        print(f"{policy.path.name} looks on; nothing is sent", flush=True)
        print(compatibility.summary(shadow.compared), flush=True)
        shadow.run(options.seconds)
        print(shadow.report())
    return 0


def compare(policy: Policy, options: argparse.Namespace) -> None:
    """Print the whole table of policy beside robot; `RefusedError` where they do not fit."""
    contract = policy.contract
    driver = ReadOnly(
        drivers.create(options.driver, MonotonicClock(), _connection(options, contract))
    )
    try:
        robot = contract.robot
        driver.open(robot.joint_names, robot.feet, held_signals(contract))
        rows = compatibility.compare(contract, driver)
        print(f"\n{compatibility.whole_page(rows)}", flush=True)
        compatibility.require(rows, driver.name)
    finally:
        driver.close()


def _connection(
    options: argparse.Namespace, contract: Contract, say: Callable[[str], None] = print
) -> Connection:
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
        scan=contract.resolve().scan_grid,
        motion_mode=options.motion_mode,
        allow_silent_writers=options.allow_silent_writers,
        watch_only=options.shadow,
        log=log_file.load(options.log) if options.log else None,
        say=say,
    )
