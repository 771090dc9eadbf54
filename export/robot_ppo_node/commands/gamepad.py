"""A gamepad as command source, through evdev (extra `gamepad`).

Left stick: forward, backward and sideways; right stick: turning. B: emergency stop. Start: go.
A pad that is unplugged makes the command infinitely old. A wireless pad whose link is lost may go
on reporting where its sticks last were: keep a second way to stop at hand.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from robot_ppo_export.errors import InputError
from robot_ppo_node.commands.base import CommandSource, OperatorActions, from_sticks

FORWARD = "ABS_Y"
SIDEWAYS = "ABS_X"
TURNS = ("ABS_RX", "ABS_Z")
"""Sideways on the right stick: which of the two depends on the pad and its driver."""
DAMP = "BTN_EAST"
GO = "BTN_START"
GAMEPAD = "BTN_SOUTH"
"""Every gamepad has it, says the kernel's documentation; a mouse and a keyboard have not."""


class Gamepad(CommandSource):
    """One gamepad."""

    name = "gamepad"

    def __init__(self, device: Any, bounds: np.ndarray, operator: OperatorActions) -> None:
        """Take an open `evdev.InputDevice`, or one of its kind; `bounds` is (3, 2)."""
        from evdev import ecodes

        self.device = device
        self.bounds = bounds
        self.operator = operator
        self.gone = False
        self._codes = ecodes
        info = dict(device.capabilities(absinfo=True).get(ecodes.EV_ABS, ()))
        turns = [name for name in TURNS if ecodes.ecodes[name] in info]
        names = (FORWARD, SIDEWAYS, *turns[:1])
        if len(names) < 3 or not all(ecodes.ecodes[name] in info for name in names):
            raise InputError(f"{device.path} ({device.name}) does not have two sticks")
        self._axes = {ecodes.ecodes[name]: i for i, name in enumerate(names)}
        self._ranges = {code: (info[code].min, info[code].max) for code in self._axes}
        self._sticks = np.zeros(3)
        for code in self._axes:
            self._move(code, info[code].value)
        os.set_blocking(device.fd, False)

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Handle what happened; return the command (3,) and its age [s]."""
        try:
            for event in self.device.read():
                self._handle(event)
        except BlockingIOError:
            pass
        except OSError:
            if not self.gone:
                self.operator["say"]("the gamepad is gone: command zero, B no longer stops")
            self.gone = True
        return from_sticks(self._sticks, self.bounds), np.inf if self.gone else 0.0

    def close(self) -> None:
        """Close the device; one that was unplugged may be gone already."""
        with contextlib.suppress(OSError):
            self.device.close()

    def _handle(self, event: Any) -> None:
        codes = self._codes
        if event.type == codes.EV_ABS and event.code in self._axes:
            self._move(event.code, event.value)
        elif event.type == codes.EV_KEY and event.value == 1:
            if event.code == codes.ecodes[DAMP]:
                self.operator["damp"]("gamepad button B")
            elif event.code == codes.ecodes[GO]:
                self.operator["approve"]()
        elif event.type == codes.EV_SYN and event.code == codes.SYN_DROPPED:
            for code in self._axes:  # the kernel's queue ran over: ask where the sticks are now
                self._move(code, self.device.absinfo(code).value)

    def _move(self, code: int, value: float) -> None:
        """Take a stick's raw value; right and back are positive on a pad, left and forward here."""
        low, high = self._ranges[code]
        self._sticks[self._axes[code]] = 1 - 2 * (value - low) / max(high - low, 1)


def open_device(path: str | None) -> Any:
    """Return the gamepad at `path`, by default the first there is; `InputError` if none."""
    try:
        import evdev
    except ImportError:
        raise InputError("--source gamepad needs evdev: pip install 'robot-ppo[gamepad]'") from None
    found = []
    for name in [path] if path else sorted(evdev.list_devices()):
        try:
            device = evdev.InputDevice(name)
        except OSError as error:
            found.append(f"{name}: {error.strerror}")
            continue
        keys: Iterable[int] = device.capabilities().get(evdev.ecodes.EV_KEY, ())
        if path or evdev.ecodes.ecodes[GAMEPAD] in keys:
            return device
        found.append(f"{name}: {device.name}")
        with contextlib.suppress(OSError):
            device.close()
    raise InputError(
        f"no gamepad found among [{'; '.join(found)}]: plug it in, join the group `input` "
        "(docs/commands.md#a-gamepad), or give --gamepad /dev/input/eventN"
    )
