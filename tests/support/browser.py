"""A real browser without a window, told what to do by its own protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from websockets.sync.client import ClientConnection, connect

from node_helpers import TIMEOUT, eventually


@dataclass
class Browser:
    """One page of a browser."""

    connection: ClientConnection
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command, and return its result."""
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv(timeout=TIMEOUT))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def open(self, url: str, *, width: int, height: int = 1000, dark: bool = False) -> None:
        """Open a page in a window of that size, for somebody who likes it light or dark; returns when it has loaded."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.enable")
        self.send("Page.navigate", url=url)
        while json.loads(self.connection.recv(timeout=TIMEOUT)).get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """What the window shows, as a PNG."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Debian's browser, for as long as the block lasts; `profile` is a new directory of its own."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        ["chromium", *options, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        file = profile / "DevToolsActivePort"
        eventually(lambda: file.exists() and len(file.read_text().split()) == 2, "the browser listens")
        port = file.read_text().split()[0]
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/json/list", timeout=TIMEOUT) as answer:
            [address] = [each["webSocketDebuggerUrl"] for each in json.load(answer) if each["type"] == "page"]
        with connect(address, proxy=None, max_size=None) as connection:
            yield Browser(connection)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
