#!/usr/bin/env python3
"""The pages of check, rehearse and deploy in headless Chromium, spoken to over its DevTools pipe. Speaks TAP.

Each page is looked at as a phone, a screen, in the dark and on paper. BELAY_PAGES=FOLDER keeps the pictures.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile

PAGES = ["check", "rehearse", "deploy-restored", "deploy-done", "deploy-locked"]
VIEWS = {  # width, colour scheme, media
    "phone": (390, "light", "screen"),
    "phone-dark": (390, "dark", "screen"),
    "screen": (1000, "light", "screen"),
    "screen-dark": (1000, "dark", "screen"),
    "paper": (700, "light", "print"),
}
PATIENCE = 120  # seconds: a browser that hangs fails the test, no test depends on its speed

# What a page is, once it is laid out. Everything folded is opened first.
LOOK = r"""(() => {
  for (const d of document.querySelectorAll('details')) d.open = true;
  const bright = c => { const v = c.match(/[\d.]+/g).slice(0, 3).map(x => x / 255)
      .map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const behind = e => { for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/, 0\)$/.test(c)) return c; }
    return 'rgb(255, 255, 255)'; };
  const faint = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || e.closest('svg')) continue;
    const a = bright(getComputedStyle(e).color), b = bright(behind(e));
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faint.push(contrast.toFixed(2) + ' ' + e.textContent.slice(0, 40));
  }
  const bars = [...document.querySelectorAll('svg rect')].map(r => r.getBoundingClientRect());
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('svg') &&
      (e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1 &&
       e.clientWidth)).map(e => e.tagName + ' ' + e.textContent.slice(0, 40));
  return JSON.stringify({
    elements: document.querySelectorAll('body *').length,
    heading: document.querySelector('h1') ? document.querySelector('h1').textContent : '',
    text: document.body.innerText.length,
    bars: bars.length,
    hidden: bars.filter(r => r.width <= 0 || r.height <= 0).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    wide, faint,
    active: document.querySelectorAll('script, img, iframe, object, embed, form').length +
      [...document.querySelectorAll('*')].filter(e => [...e.attributes]
        .some(a => a.name.startsWith('on'))).length,
    back: bright(getComputedStyle(document.body).backgroundColor),
  });
})()"""


def high(fd):
    n = fcntl.fcntl(fd, fcntl.F_DUPFD, 20)
    os.close(fd)
    return n


class Browser:
    """chromium --remote-debugging-pipe: it reads JSON from 3 and writes to 4, each message ended by a NUL."""

    def __init__(self, program, home):
        theirs_in, self.out = map(high, os.pipe())
        self.inp, theirs_out = map(high, os.pipe())
        options = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={home}", "--disable-gpu",
                   "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                   "--disable-component-update"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        # bash puts the ends where they are wanted; they are numbers beyond the ones that it uses itself
        argv = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', program, *options, "about:blank"]
        self.log = open(os.path.join(home, "log"), "wb")
        self.process = subprocess.Popen(argv, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, env={**os.environ, "HOME": home})
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None

    def read(self):
        while b"\0" not in self.buffer:
            if not select.select([self.inp], [], [], PATIENCE)[0]:
                raise TimeoutError("chromium does not answer")
            some = os.read(self.inp, 1 << 16)
            if not some:
                with open(self.log.name, encoding="utf-8", errors="replace") as f:
                    raise EOFError("chromium ended: " + f.read()[-2000:])
            self.buffer += some
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.read())

    def open(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(domain + ".enable")

    def show(self, url, width, scheme, media):
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                  mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")
        return json.loads(self.call("Runtime.evaluate", expression=LOOK)["result"]["value"])

    def close(self):
        self.session = None
        try:
            self.call("Browser.close")
        except (EOFError, OSError, TimeoutError, RuntimeError):
            self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()


def faults(browser, url, view):
    width, scheme, media = VIEWS[view]
    seen = browser.show(url, width, scheme, media)
    if seen["elements"] < 15 or seen["text"] < 100 or not seen["heading"].strip():
        yield f"there is next to nothing on it: {seen}"
    if seen["overflow"] > 0:
        yield f"wider than {width} pixels by {seen['overflow']}"
    for text in seen["wide"]:
        yield f"sticks out: {text}"
    if seen["hidden"] or ("locked" not in url and not seen["bars"]):
        yield f"{seen['hidden']} of {seen['bars']} bars cannot be seen"
    if seen["active"]:
        yield f"{seen['active']} elements that load or run something"
    for text in seen["faint"]:
        yield f"can hardly be read: {text}"
    if (seen["back"] < 0.2) != (scheme == "dark"):
        yield f"the background's brightness is {seen['back']} in {scheme}"
    for event in browser.events:
        method, params = event.get("method"), event.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            yield f"console: {json.dumps(params)[:300]}"
        if method == "Network.requestWillBeSent" and params["request"]["url"] not in (url, "data:,"):
            yield f"asks for {params['request']['url']}"
    if media == "print":
        pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
        if not pdf.startswith(b"%PDF") or len(pdf) < 5000:
            yield f"a PDF of {len(pdf)} bytes"
        keep(url, view, "pdf", pdf)
    elif "BELAY_PAGES" in os.environ:
        picture = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
        keep(url, view, "png", base64.b64decode(picture["data"]))


def keep(url, view, ending, data):
    folder = os.environ.get("BELAY_PAGES")
    if folder:
        name = os.path.basename(url).replace(".html", f"-{view}.{ending}")
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


def main():
    chromium = shutil.which("chromium")
    if not chromium:
        print("1..0 # SKIP chromium is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="belay-test-pages-", ignore_cleanup_errors=True) as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        browser = Browser(chromium, folder)
        print(f"1..{len(PAGES) * len(VIEWS)}")
        try:
            browser.open()
            cases = [(page, view) for page in PAGES for view in VIEWS]
            for n, (page, view) in enumerate(cases, 1):
                found = list(faults(browser, f"file://{folder}/{page}.html", view))
                print("not ok" if found else "ok", n, "-", page, "as", view)
                for text in found:
                    print("#", text.replace("\n", "\n# "))
        finally:
            browser.close()


main()
