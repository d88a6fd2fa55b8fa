"""A headless Chromium, driven over a pipe in the DevTools protocol.

    python -m tests.browser PAGE.html FOLDER    # how a page looks, narrow and wide, light and dark

Needs Debian's package ``chromium`` and nothing of Python's. Each message is JSON with a zero byte
at its end; the browser reads them from its file descriptor 3 and writes to 4. Source:
https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 60.0
MEASURE = """
(() => {
  document.querySelectorAll("details").forEach(one => { one.open = true; });
  const channels = color => {  // any CSS colour as red, green, blue and alpha
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([...color]) => {
    const linear = color.slice(0, 3).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color[3] === 255) return color;
    }
    return null;  // the browser's own
  };
  const contrasts = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
    if (!own.some(node => node.data.trim())) continue;
    const back = behind(element);
    const lights = [channels(getComputedStyle(element).color), back ?? [0, 0, 0]].map(luminance);
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    contrasts.push([back ? ratio : 0, element.textContent.trim().slice(0, 40)]);
  }
  return {
    contrasts,
    images: [...document.images].map(image => [image.alt, image.complete, image.naturalWidth]),
    background: behind(document.body),
    text: document.body.innerText,
    scrollWidth: document.documentElement.scrollWidth,
    innerWidth: window.innerWidth,
  };
})()
"""


@dataclass(frozen=True)
class Seen:
    """What a page looked like."""

    requests: list[str]  # beside the page itself
    errors: list[str]  # on the console
    measured: Json  # by MEASURE
    screenshot: bytes

    def problems(self) -> list[str]:
        """What a page must not have."""
        found = [f"request: {url}" for url in self.requests]
        found += [f"console: {error}" for error in self.errors]
        for alt, is_complete, width in self.measured["images"]:
            found += [] if is_complete and width else [f"not shown: {alt}"]
            found += [] if alt.strip() else ["no alt text"]
        if self.measured["scrollWidth"] > self.measured["innerWidth"]:
            found.append(f"scrolls sideways: {self.measured['scrollWidth']}")
        low = [(ratio, text) for ratio, text in self.measured["contrasts"] if ratio < 4.5]
        return [*found, *(f"contrast {ratio:.1f}: {text}" for ratio, text in low)]


class Browser:
    """Sends commands, and keeps the events that come in between."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer, self._number = b"", 0
        self.events: list[Json] = []

    def look(self, page: Path, *, width: int, scheme: str, height: int = 900) -> Seen:
        """Opens the page in a window of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", session, features=features)
        self.events.clear()
        url = page.resolve().as_uri()
        self.call("Page.navigate", session, url=url)
        self.wait_for("Page.loadEventFired")
        options = {"expression": MEASURE, "returnByValue": True}
        answer = self.call("Runtime.evaluate", session, **options)
        assert "exceptionDetails" not in answer, answer
        shot = self.call("Page.captureScreenshot", session, captureBeyondViewport=True)
        self.call("Target.closeTarget", targetId=target)
        sent = [each["params"]["request"]["url"] for each in self.of("Network.requestWillBeSent")]
        asked = [asked for asked in sent if asked != url and not asked.startswith("data:")]
        measured = answer["result"]["value"]
        return Seen(asked, self.errors(), measured, base64.b64decode(shot["data"]))

    def errors(self) -> list[str]:
        """What the console has shown in red."""
        entries = [each["params"]["entry"] for each in self.of("Log.entryAdded")]
        found = [entry["text"] for entry in entries if entry["level"] == "error"]
        calls = [each["params"] for each in self.of("Runtime.consoleAPICalled")]
        found += [json.dumps(call["args"]) for call in calls if call["type"] in ("error", "assert")]
        return found + [json.dumps(each["params"]) for each in self.of("Runtime.exceptionThrown")]

    def of(self, method: str) -> list[Json]:
        return [event for event in self.events if event.get("method") == method]

    def wait_for(self, method: str) -> None:
        while not self.of(method):
            self.events.append(self.receive())

    def call(self, method: str, session: str = "", **params: Any) -> Json:
        """Sends a command; returns its result."""
        self._number += 1
        own = {"id": self._number, "method": method, "params": params}
        message = own | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def receive(self) -> Json:
        """The next message; AssertionError where none comes."""
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            is_ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert is_ready, "the browser does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser() -> Iterator[Browser]:
    """Runs for the block, on a profile of its own."""
    assert CHROMIUM is not None
    low = [*os.pipe(), *os.pipe()]  # 3 and 4 may be among them
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    theirs, write, read, answers = pipes

    def place() -> None:
        os.dup2(theirs, 3)
        os.dup2(answers, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        how: Json = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        process = subprocess.Popen(command, preexec_fn=place, pass_fds=(3, 4), **how)
        try:
            yield Browser(read, write)
        finally:
            for end in pipes:
                os.close(end)  # by which it ends
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(page: str, folder: str) -> None:
    """Pictures of a page."""
    with browser() as found:
        for width in (390, 1200):
            for scheme in ("light", "dark"):
                seen = found.look(Path(page), width=width, scheme=scheme)
                path = Path(folder) / f"{Path(page).parent.name}-{width}-{scheme}.png"
                path.write_bytes(seen.screenshot)
                print(path, seen.problems() or "no problem")


if __name__ == "__main__":
    main(*sys.argv[1:])
