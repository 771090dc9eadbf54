"""The process that serves the page: viewer, panel and gate, fed through a link.

It runs apart from the node, so that neither browsers nor pictures make a tick late.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo.playback.web.gate import Gate
from robot_ppo.playback.web.link import Job, Link
from robot_ppo.playback.web.panel import Panel
from robot_ppo.playback.web.scene import Scene
from robot_ppo_export.errors import InputError

NICE = 5
"""Less than the node, where both want a processor."""
RATE = 60.0
"""Pictures per second at most."""
IDLE = 0.05
"""Time between two looks for browsers while there is none [s]."""
TELL = 1.0
"""Time between two messages of how many browsers there are [s]."""


class _Network:
    """Gate and panel, in a thread with a loop of its own."""

    def __init__(self, job: Job, folder: Path, link: Link) -> None:
        self._panel = Panel(job.about, link.send)
        self._gate = Gate(job.host, job.port, job.token, folder / "viewer", folder / "panel")
        self._panel_path = folder / "panel"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> int:
        """Begin; return the port."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self._gate.port

    @property
    def watching(self) -> int:
        """How many browsers there are."""
        return self._panel.watching

    def publish(self, figures: bytes) -> None:
        """Give figures to every browser."""
        self._loop.call_soon_threadsafe(self._panel.publish, figures)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)

    async def _close(self) -> None:
        self._gate.close()
        await self._panel.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # browsers that still look
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _open(self) -> None:
        await self._panel.open(self._panel_path)
        await self._gate.open()


def serve(job: Job, link: Link) -> None:
    """Serve until the other end of the link is gone.

    Raises:
        InputError: the port is taken, or mujoco has no viewer.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = Scene(job.model, job.body, job.standing, folder / "viewer")
        logging.getLogger("WebServer").setLevel(logging.WARNING)  # it tells of every browser
        logging.getLogger("websockets").setLevel(logging.CRITICAL)  # and of each that vanishes
        network = _Network(job, folder, link)
        try:
            port = network.open()
        except OSError as error:
            raise InputError(
                f"--web {job.port}: {job.host}:{job.port} cannot be listened on "
                f"({error.strerror or error}); give another port, or 0 for any"
            ) from None
        link.send(msgspec.json.encode({"port": port}))
        try:
            _show(scene, network, link)
        finally:
            network.close()
            scene.close()


def _show(scene: Scene, network: _Network, link: Link) -> None:
    """Pass figures on as they come, and draw the newest; say how many browsers there are."""
    told = (-np.inf, -1)
    while link.open:
        watching = network.watching
        if watching != told[1] or time.monotonic() - told[0] > TELL:
            told = (time.monotonic(), watching)
            link.send(msgspec.json.encode({"ask": "looked at", "values": [watching]}))
        link.wait(1 / RATE if watching else IDLE)
        messages = link.receive()
        if messages:
            network.publish(messages[-1])
            _place(scene, msgspec.json.decode(messages[-1]))
        if not scene.draw():
            return


def _place(scene: Scene, figures: dict[str, Any]) -> None:
    command = figures["command"] if figures["twist"] else []
    scene.show(figures["qpos"], figures["time"], command, figures["measured"])


def main() -> int:
    """Read the job from the standard input, serve it; return the exit code."""
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    try:
        job = pickle.load(sys.stdin.buffer)
    except EOFError:  # there is nothing to show after all
        return 0
    os.dup2(2, 1)  # what the viewer prints is no answer
    os.nice(NICE)
    try:
        serve(job, link)
    except InputError as error:
        link.send(msgspec.json.encode({"error": str(error)}))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
