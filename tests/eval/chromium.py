"""A headless Chromium driven over its debugging pipe: no driver program, and no port that others could reach.

Messages are JSON objects that end in a NUL byte, on file descriptors 3 (to the browser) and 4 (from it).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0  # seconds
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe"),
)
LAUNCH = """
import os, sys
from fcntl import F_DUPFD, fcntl
high = [fcntl(int(number), F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
CODES = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), " ": (32, " ")}


class Browser:
    """One browser process, in which each page has cookies and storage of its own."""

    def __init__(self, to: int, from_: int) -> None:
        self._to, self._from, self._rest, self._count = to, from_, b"", 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Send a command and wait for its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            for got in self._messages(deadline):
                if got.get("id") == self._count:
                    if "error" in got:
                        raise RuntimeError(f"{method}: {got['error']}")
                    return got["result"]
                self.events.append(got)

    def _messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        if not select.select([self._from], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise TimeoutError("the browser does not answer")
        read = os.read(self._from, 1 << 20)
        if not read:
            raise RuntimeError("the browser ended")
        *whole, self._rest = (self._rest + read).split(b"\0")
        return (json.loads(one) for one in whole)

    def open(self, url: str, width: int = 1280, height: int = 860) -> "Page":
        """A page in a profile of its own."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)  # pages side by side, each as if in front
        page.look(width, height)
        page.ask("Page.navigate", url=url)
        return page


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def ask(self, method: str, **params: Any) -> Any:
        """A command for this page."""
        return self._browser.ask(method, self._session, **params)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """The text of an element; nothing where it is hidden."""
        return str(
            self.run(f"(e => e?.checkVisibility() ? e.innerText : '')(document.querySelector({json.dumps(selector)}))")
        )

    def wait(self, what: Callable[[], object], why: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain for: {why}; the page says: {self.run('document.body.innerText')}")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        code, text = CODES[key] if key in CODES else (ord(key.upper()), key)
        for kind in ("keyDown", "keyUp"):
            event: dict[str, Any] = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            self.ask("Input.dispatchKeyEvent", **event, **({"text": text} if kind == "keyDown" and text else {}))

    def type(self, text: str) -> None:
        """Press the keys of a text."""
        for letter in text:
            self.press(letter)

    def reload(self) -> None:
        """Load the page again."""
        self.run("window.stale = true")
        self.ask("Page.reload")
        self.wait(lambda: self.run("window.stale !== true && document.readyState === 'complete'"), "the page again")

    def source(self) -> str:
        """The whole document as it stands."""
        return str(self.run("document.documentElement.outerHTML"))

    def look(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size and the colour scheme."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser, ended with the block."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("this test needs Chromium on the path: install it (Debian: apt-get install chromium)")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [program, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), *command],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)  # the browser ends when its pipe does
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
