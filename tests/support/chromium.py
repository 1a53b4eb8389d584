"""A headless Chromium, driven by its own protocol over two pipes: no driver, no port, no package.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

PATIENCE_SECONDS = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Puts the pipes where the browser looks for them, and becomes it.
_LAUNCH = (
    "import os, sys; commands, answers = (os.dup(int(number)) for number in sys.argv[1:3]); "
    "os.dup2(commands, 3); os.dup2(answers, 4); os.set_inheritable(3, True); os.set_inheritable(4, True); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    # In a container there is little shared memory, and root has no sandbox.
    "--disable-dev-shm-usage",
    "--no-sandbox",
)


def chromium() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one tab; leaving the block ends it."""

    def __init__(self, program: str, folder: Path) -> None:
        """Start it with a new profile in `folder`, which also takes what it downloads."""
        self._folder = folder
        # The browser reads commands from its descriptor 3, and writes answers to 4.
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(commands), str(answers), program, *_OPTIONS,
             f"--user-data-dir={folder / 'profile'}", "about:blank"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._received: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._number = 0
        self._session: str | None = None
        # What the page said on its console, and what it threw or was refused.
        self.complaints: list[str] = []
        try:
            self._attach()
        except BaseException:
            self.end()
            raise

    def _attach(self) -> None:
        tab = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility", "DOM"):
            self.send(f"{domain}.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self._folder))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._received.get(timeout=PATIENCE_SECONDS)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited where it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                shown = self.run("document.body.innerText")
                raise AssertionError(f"it never came true: {condition}; the page shows: {shown[:2_000]}")
            time.sleep(0.02)

    def open(self, address: str, ready: str) -> None:
        """Open an address, and wait until an expression is true there."""
        self.send("Page.navigate", url=address)
        self.wait(f"location.href.startsWith({json.dumps(address)}) && ({ready})")

    def fill(self, selector: str, value: str) -> None:
        """Write into a field, as a person who leaves it afterwards."""
        self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.value = "
            f"{json.dumps(value)}; field.dispatchEvent(new Event('change', {{bubbles: true}})); return true; }})()"
        )

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in a field."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        field = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=field, files=[str(path)])

    def press(self, key: str) -> None:
        """Press a key, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common: dict[str, Any] = {
            "key": key,
            "windowsVirtualKeyCode": codes[key],
            "code": "Space" if key == " " else key,
        }
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, text=text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def look(self, width: int, height: int, scheme: str) -> None:
        """Take a width, a height and a colour scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def downloaded(self, name: str) -> bytes:
        """What the page had the browser keep under a name, once it is there."""
        path = self._folder / name
        until = time.monotonic() + PATIENCE_SECONDS
        while not path.is_file():
            if time.monotonic() > until:
                raise AssertionError(f"{name} was not downloaded")
            time.sleep(0.02)
        content = path.read_bytes()
        path.unlink()
        return content

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"].get("exception", parameters)))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def _read(self) -> None:
        rest = b""
        with os.fdopen(self._answers, "rb", buffering=0) as answers:
            while part := answers.read(1 << 16):
                *whole, rest = (rest + part).split(b"\0")
                for message in whole:
                    self._received.put(json.loads(message))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        self._reader.join(PATIENCE_SECONDS)
