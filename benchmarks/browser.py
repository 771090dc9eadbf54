"""A real browser without a window: Chromium, driven over its DevTools protocol.

    with Browser(folder) as browser:
        page = browser.page("http://127.0.0.1:8800/")
        page.until("past.length > 5")
        page.screenshot(Path("page.png"))

It draws on the CPU where there is no GPU.
"""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "there is no Chromium here: apt-get install chromium"
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--hide-scrollbars",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """Return the path of the browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser with a profile of its own; `Page`s are its tabs."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its profile in `folder`."""
        path = chromium()
        assert path is not None, MISSING
        self.process = subprocess.Popen(
            [path, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = folder / "DevToolsActivePort"
        wait(lambda: port.exists() and port.read_text().count("\n") >= 1, 30, "its start")
        self.port = int(port.read_text().splitlines()[0])

    def page(self, address: str, size: tuple[int, int] = (1100, 700)) -> "Page":
        """Open an address in a new tab of so many pixels."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request) as answer:
            target = json.load(answer)
        return Page(target["webSocketDebuggerUrl"], address, size)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    """One tab."""

    def __init__(self, target: str, address: str, size: tuple[int, int]) -> None:
        """Open `address` in the tab whose DevTools are at `target`."""
        self.errors: list[str] = []
        """What a person would see in red in the console."""
        self._numbers = itertools.count(1)
        self._opened = contextlib.ExitStack()
        self._socket = self._opened.enter_context(connect(target, max_size=None))
        for method in ("Runtime.enable", "Log.enable", "Page.enable"):
            self.call(method)
        self.size(*size)
        self.call("Page.navigate", url=address)

    def call(self, method: str, timeout: float = 30.0, **parameters: Any) -> dict[str, Any]:
        """Call a method of DevTools; return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            said = json.loads(self._socket.recv(timeout=max(0.1, ends - time.monotonic())))
            self._note(said)
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
        raise TimeoutError(method)

    def eval(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, seconds: float = 20.0) -> float:
        """Wait until an expression is true; return how long that took [s]."""
        begin = time.monotonic()
        tried = f"(() => {{ try {{ return !!({expression}) }} catch (e) {{ return false }} }})()"
        wait(lambda: self.eval(tried), seconds, expression)
        return time.monotonic() - begin

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Give the page so many pixels, as on a phone if `mobile`."""
        scale = 2 if mobile else 1
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def dark(self) -> None:
        """Prefer dark colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """Write a PNG."""
        data = self.call("Page.captureScreenshot", format="png", timeout=60)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Close the tab."""
        with contextlib.suppress(Exception):
            self.call("Page.close")
        self._opened.close()

    def _note(self, said: dict[str, Any]) -> None:
        """Keep errors, whether thrown or logged."""
        if said.get("method") == "Runtime.exceptionThrown":
            self.errors.append(said["params"]["exceptionDetails"]["text"])
        if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            self.errors.append(said["params"]["entry"]["text"])


def wait(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait until a condition holds, or raise `TimeoutError`."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)
