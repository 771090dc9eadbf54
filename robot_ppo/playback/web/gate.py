"""The one public port: it says who may connect, and passes bytes on to who serves them.

    /           our page                 /panel   its commands and figures (a WebSocket)
    /view/...   mujoco's viewer page     /model, /assets, /ui, /state: what that page asks for

A connection is refused unless

- its `Host` is an address that this gate was opened for (another name may lead here from outside),
- its `Origin`, where a browser names one, is this very page, so that no other page can reach in,
- it shows the token, where one is asked for: once in the address, from then on in a cookie.

Every connection carries one request or one WebSocket, so each of them is asked.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

LONGEST = 16_384
"""Bytes of a request's head."""
PATIENCE = 10.0
"""Time that a request's head may take [s]."""
COOKIE = "robot_ppo_token"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ISOLATED = (
    "Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Embedder-Policy: require-corp\r\n"
)
"""mujoco's viewer shares memory between its threads, which browsers allow isolated pages alone."""
POLICY = (
    "Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
)
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
PAGES = {"/": "page.html"} | {f"/{name}": name for name in ("page.js", "plots.js", "page.css")}
VIEWER = ("/model", "/assets/", "/ui", "/state", "/favicon.ico")
"""Where the viewer's page looks for what it needs."""


class RefusedRequest(Exception):
    """A request that gets an answer in words: status and sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        """Take "403 Forbidden" and what to tell."""
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Head:
    """The head of a request."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Lower-case name -> value."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def token(self) -> str:
        """The token in the address, "" without one."""
        return parse_qs(urlsplit(self.target).query).get("token", [""])[0]

    @property
    def cookie(self) -> str:
        """The token in the cookie, "" without one."""
        for part in self.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE:
                return value
        return ""

    @property
    def is_websocket(self) -> bool:
        """Whether the connection is to become a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


def parse(data: bytes) -> Head:
    """Return the head of a request, or raise `RefusedRequest`."""
    try:
        first, *lines = data.decode("ascii").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise RefusedRequest("400 Bad Request", "this is no HTTP request") from None
    if not version.startswith("HTTP/1.") or not target.startswith("/"):
        raise RefusedRequest("400 Bad Request", "this is no HTTP request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        if name.lower() in headers and name.lower() in ("host", "origin"):
            raise RefusedRequest("400 Bad Request", f"two headers {name}")
        headers[name.lower()] = value.strip()
    return Head(method, target, headers)


def check(head: Head, host: str, port: int, token: str) -> None:
    """Raise `RefusedRequest` where a request may not come in.

    Args:
        head: of the request.
        host: address that the gate listens on.
        port: the same.
        token: that is asked for, "" for none.
    """
    named = head.headers.get("host", "")
    if not token and named not in [f"{name}:{port}" for name in (*LOOPBACK, host)]:
        raise RefusedRequest("403 Forbidden", f"the host {named!r} is not this page's")
    origin = head.headers.get("origin")
    if origin is not None and origin not in (f"http://{named}", f"https://{named}"):
        raise RefusedRequest("403 Forbidden", f"another origin, {origin!r}, may not connect")
    if head.is_websocket and origin is None:
        raise RefusedRequest("403 Forbidden", "a WebSocket without an origin may not connect")
    shown = (head.token, head.cookie)
    if token and not any(hmac.compare_digest(one.encode(), token.encode()) for one in shown):
        raise RefusedRequest(
            "401 Unauthorized", "the token is missing or wrong: open the address that was printed"
        )


class Gate:
    """Listens on the public port."""

    def __init__(self, host: str, port: int, token: str, viewer: Path, panel: Path) -> None:
        """Lead to the sockets of the viewer and of the panel."""
        self.host = host
        self.port = port
        self._token = token
        self._viewer = viewer
        self._panel = panel
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen; an `OSError` where the port is taken."""
        self._server = await asyncio.start_server(self._meet, self.host, self.port, limit=LONGEST)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more."""
        if self._server:
            self._server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*over):
            try:
                await self._serve(reader, writer)
            except RefusedRequest as refused:
                writer.write(answer(refused.status, f"{refused}\n".encode()))
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except asyncio.LimitOverrunError:
            raise RefusedRequest("431 Request Header Fields Too Large", "too long") from None
        head = parse(raw[:-4])
        check(head, self.host, self.port, self._token)
        if head.method not in ("GET", "HEAD"):
            raise RefusedRequest("405 Method Not Allowed", f"{head.method} means nothing here")
        if self._token and head.token:  # out of the address, into a cookie
            writer.write(_moved(head.path, self._token))
            await writer.drain()
        elif head.path in PAGES:
            writer.write(_page(PAGES[head.path]))
            await writer.drain()
        elif (path := self._leads_to(head)) is not None:
            await _pass_on(path, _inner(head), reader, writer)
        else:
            raise RefusedRequest("404 Not Found", f"there is no {head.path}")

    def _leads_to(self, head: Head) -> Path | None:
        """Return the socket that serves a request."""
        if head.path == "/panel":
            return self._panel
        if head.path.startswith(("/view/", *VIEWER)):
            return self._viewer
        return None


def answer(status: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    """Return a whole response."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{ISOLATED}{POLICY}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _page(name: str) -> bytes:
    file = Path(__file__).with_name(name)
    return answer("200 OK", file.read_bytes(), TYPES[file.suffix])


def _moved(path: str, token: str) -> bytes:
    return (
        f"HTTP/1.1 303 See Other\r\nLocation: {path}\r\nContent-Length: 0\r\n"
        f"Set-Cookie: {COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def _inner(head: Head) -> bytes:
    """Return the head as it is passed on: one request for each connection, no cookie."""
    target = head.target.removeprefix("/view") if head.path.startswith("/view/") else head.target
    kept = {k: v for k, v in head.headers.items() if k not in ("connection", "cookie")}
    kept["connection"] = "Upgrade" if head.is_websocket else "close"
    lines = [f"{head.method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in kept.items())]
    return "\r\n".join((*lines, "", "")).encode()


def outer(raw: bytes) -> bytes:
    """Return the head of an answer as it is passed on: each header once, for this page alone.

    mujoco's viewer writes what isolates its page twice, which browsers take for nothing at all, and
    allows every other page to read its answers.
    """
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    kept: dict[str, str] = {}
    for line in lines:
        kept.setdefault(line.partition(":")[0].lower(), line)
    kept.pop("access-control-allow-origin", None)
    return "\r\n".join((first, *kept.values(), "", "")).encode("latin-1")


async def _pass_on(
    path: Path, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect to the socket at `path`, and carry bytes both ways until one side ends."""
    try:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        raise RefusedRequest("503 Service Unavailable", "it does not run any more") from None
    inner_writer.write(head)
    with contextlib.suppress(asyncio.LimitOverrunError):
        writer.write(outer(await inner_reader.readuntil(b"\r\n\r\n")))
    ways = [
        asyncio.create_task(_carry(reader, inner_writer)),
        asyncio.create_task(_carry(inner_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        inner_writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes; a slow reader holds the sender up, nothing is collected in between."""
    writer.transport.set_write_buffer_limits(high=LONGEST)
    with contextlib.suppress(OSError):
        while data := await reader.read(LONGEST):
            writer.write(data)
            await writer.drain()
