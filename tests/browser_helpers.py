"""A real browser without a window: Chromium, driven over its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "there is no Chromium here: apt-get install chromium"


def chromium():
    """Path of the browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser with a profile of its own; `Page`s are its tabs."""

    def __init__(self, folder: Path):
        options = ("--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--hide-scrollbars",
                   "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
                   "--remote-debugging-port=0", f"--user-data-dir={folder}",
                   "about:blank")  # fmt: skip
        self.process = subprocess.Popen(
            [chromium(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port = folder / "DevToolsActivePort"
        wait(lambda: port.exists() and port.read_text().count("\n") >= 1, 30)
        self.port = int(port.read_text().splitlines()[0])

    def page(self, address):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request) as answer:
            target = json.load(answer)
        return Page(target["webSocketDebuggerUrl"], address)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    """One tab."""

    def __init__(self, target, address):
        self.numbers = itertools.count(1)
        self.errors = []
        self.socket = connect(target, max_size=None).__enter__()
        for method in ("Runtime.enable", "Log.enable", "Page.enable"):
            self.call(method)
        self.size(1100, 700)
        self.call("Page.navigate", url=address)

    def call(self, method, timeout=30, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            said = json.loads(self.socket.recv(timeout=max(0.1, ends - time.monotonic())))
            self.note(said)
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
        raise TimeoutError(method)

    def note(self, said):
        """Keep what a person would see in red in the console."""
        if said.get("method") == "Runtime.exceptionThrown":
            self.errors.append(said["params"]["exceptionDetails"]["text"])
        if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            self.errors.append(said["params"]["entry"]["text"])

    def eval(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression, seconds=20.0):
        """Wait until an expression is true; return how long that took [s]."""
        begin = time.monotonic()
        tried = f"(() => {{ try {{ return !!({expression}) }} catch (e) {{ return false }} }})()"
        wait(lambda: self.eval(tried), seconds, expression)
        return time.monotonic() - begin

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def screenshot(self, path: Path):
        data = self.call("Page.captureScreenshot", format="png", timeout=60)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        with contextlib.suppress(Exception):
            self.call("Page.close")
        self.socket.close()


def wait(condition, seconds, what="it"):
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)
