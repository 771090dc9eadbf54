"""The page's commands and figures, over a WebSocket: one drives, several look.

To the page go the lines `{"you": ..., "about": ...}` first and then figures, the newest only: a
browser that is slow to acknowledge gets fewer, and none is kept for it. From the page come requests
such as `{"ask": "command", "values": [0.5, 0, 0]}`. Only the one who drives is heard; who comes
first drives, and the place is free as soon as that browser is gone or gives it up.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

IN_FLIGHT = 2
"""Figures that a browser may owe an answer for."""
MOST = 16
"""Browsers at a time."""
LONGEST = 4096
"""Bytes of a request."""


class _Guest:
    """One browser."""

    def __init__(self, number: int, connection: ServerConnection) -> None:
        self.number = number
        self.connection = connection
        self.newest: bytes | None = None
        self.news = asyncio.Event()
        self.owed = 0
        self.sent = self.dropped = 0


class Panel:
    """All browsers."""

    def __init__(self, about: dict[str, Any], ask: Callable[[bytes], None]) -> None:
        """Tell every browser `about`; `ask` takes what the one who drives asks for."""
        self._about = about
        self._ask = ask
        self._guests: dict[int, _Guest] = {}
        self._numbers = itertools.count(1)
        self._driver: int | None = None
        self._server: Any = None

    async def open(self, path: Path) -> None:
        """Listen on a socket at `path`."""
        self._server = await unix_serve(
            self._meet, str(path), compression=None, max_size=LONGEST, ping_interval=5
        )

    async def close(self) -> None:
        """Send everybody away."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    def publish(self, figures: bytes) -> None:
        """Give the newest figures to everybody who has answered for the last."""
        for guest in self._guests.values():
            if guest.newest is not None:
                guest.dropped += 1
            guest.newest = figures
            guest.news.set()

    @property
    def watching(self) -> int:
        """How many browsers there are."""
        return len(self._guests)

    async def _meet(self, connection: ServerConnection) -> None:
        if len(self._guests) >= MOST:
            await connection.close(1013, f"{MOST} browsers look already")
            return
        guest = _Guest(next(self._numbers), connection)
        self._guests[guest.number] = guest
        if self._driver is None:
            self._driver = guest.number
        sender = asyncio.create_task(self._send(guest))
        try:
            await self._tell_roles()
            async for message in connection:
                await self._hear(guest, message)
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            del self._guests[guest.number]
            await self._leave(guest)

    async def _leave(self, guest: _Guest) -> None:
        """Free the place of who drove; the robot stops, as nobody renews its command."""
        if self._driver == guest.number:
            self._driver = min(self._guests, default=None)
        await self._tell_roles()

    async def _hear(self, guest: _Guest, message: str | bytes) -> None:
        if message == "ok":
            guest.owed = max(0, guest.owed - 1)
            guest.news.set()
        elif message == "take":
            if self._driver is None:
                self._driver = guest.number
            await self._tell_roles()
        elif message == "give":
            if self._driver == guest.number:
                others = [number for number in self._guests if number != guest.number]
                self._driver = min(others, default=None)
            await self._tell_roles()
        elif guest.number == self._driver:
            self._ask(message.encode() if isinstance(message, str) else message)

    async def _tell_roles(self) -> None:
        for guest in list(self._guests.values()):
            role = {
                "you": "drive" if guest.number == self._driver else "look",
                "free": self._driver is None,
                "browsers": len(self._guests),
                "about": self._about,
            }
            with contextlib.suppress(ConnectionClosed):
                await guest.connection.send(msgspec.json.encode(role).decode())

    async def _send(self, guest: _Guest) -> None:
        """Send the newest figures whenever the browser has room for them."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await guest.news.wait()
                guest.news.clear()
                if guest.newest is None or guest.owed >= IN_FLIGHT:
                    continue
                figures = guest.newest
                guest.newest = None
                guest.owed += 1
                guest.sent += 1
                await guest.connection.send(figures.decode())
