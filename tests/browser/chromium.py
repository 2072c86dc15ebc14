"""A headless Chromium, driven over the DevTools protocol through a pipe: real clicks, real printing.

The standard library is enough: messages are JSON, each ended by a zero byte, on the browser's file
descriptors 3 (to it) and 4 (from it).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ["chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable", "chromium-browser"]


def find():
    """The path of a Chromium that runs, or None. $IOL_CHROMIUM is asked first."""
    for name in [os.environ.get("IOL_CHROMIUM", ""), *NAMES]:
        path = shutil.which(name) if name else None
        if path is None:
            continue
        # On Ubuntu the package is a stub that asks for a snap.
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
        if answer.returncode == 0 and "hrom" in answer.stdout:
            return path
    return None


class BrowserError(Exception):
    pass


class Page:
    """One page of a browser of its own. What it logs as an error, and what it throws, is in `errors`."""

    def __init__(self, path, seconds=30):
        self.seconds = seconds
        self.errors = []
        self.profile = tempfile.TemporaryDirectory(prefix="iol-chromium-", ignore_cleanup_errors=True)
        command_read, self.to_browser = os.pipe()
        self.from_browser, answer_write = os.pipe()

        def install_pipes():  # pipes that already are 3 and 4 must survive the first dup2
            a, b = os.dup(command_read), os.dup(answer_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--force-device-scale-factor=1", "--user-data-dir=" + self.profile.name,
             "--remote-debugging-pipe", "about:blank"],
            preexec_fn=install_pipes, pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(answer_write)
        self.buffer = b""
        self.last_id = 0
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(domain + ".enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.profile.cleanup()

    def call(self, method, **parameters):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        return self._receive(lambda answer: answer.get("id") == self.last_id, method).get("result", {})

    def _receive(self, is_wanted, what):
        until = time.monotonic() + self.seconds
        while True:
            while b"\0" in self.buffer:
                line, self.buffer = self.buffer.split(b"\0", 1)
                message = json.loads(line)
                self._note(message)
                if is_wanted(message):
                    if "error" in message:
                        raise BrowserError(f"{what}: {message['error']}")
                    return message
            ready, _, _ = select.select([self.from_browser], [], [], max(0, until - time.monotonic()))
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            if not data:
                raise BrowserError(f"{what}: no answer within {self.seconds} s" if not ready else f"{what}: the browser ended")
            self.buffer += data

    def _note(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert", "warning"):
            self.errors.append(json.dumps(parameters["args"])[:500])

    def open(self, file):
        """Loads a file; returns the seconds until its scripts had run and its first frame was drawn."""
        begin = time.monotonic()
        self.call("Page.navigate", url="file://" + os.path.abspath(file))
        self._receive(lambda message: message.get("method") == "Page.loadEventFired", "loading")
        self.next_frame()
        return time.monotonic() - begin

    def next_frame(self):
        """Returns when what was asked for so far has been drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def resize(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def media(self, **features):
        """media(media="print"), media(prefers_color_scheme="dark")."""
        media = features.pop("media", "")
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": k.replace("_", "-"), "value": v} for k, v in features.items()])

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails'].get('exception', answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def click(self, selector, index=0, x=None, y=None):
        """A press and a release of the mouse at the middle of the element, or at (x, y) within it."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];"
            "if (!e) return null; e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()")
        if not box or box[2] <= 0 or box[3] <= 0:
            raise BrowserError(f"{selector} [{index}]: nothing there to click: {box}")
        left = box[0] + (box[2] / 2 if x is None else x)
        top = box[1] + (box[3] / 2 if y is None else y)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=left, y=top)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", clickCount=1)
        self.next_frame()

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"Tab": 9, "Enter": 13}[key]
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def accessibility_tree(self):
        return self.call("Accessibility.getFullAXTree")["nodes"]

    def screenshot(self, file, whole=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(file, "wb") as stream:
            stream.write(base64.b64decode(data))

    def picture_of(self, selector, file):
        """The first element alone, with a little air around it."""
        box = self.evaluate(f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                            "return [r.x + scrollX, r.y + scrollY, r.width, r.height]; })()")
        clip = {"x": box[0] - 12, "y": box[1] - 12, "width": box[2] + 24, "height": box[3] + 24, "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(file, "wb") as stream:
            stream.write(base64.b64decode(data))

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])
