"""`make screenshots`: pictures of the web pages of a running demo, for docs/images.

Start `make demo` in one terminal and give its address here: make screenshots URL=http://127.0.0.1:PORT
Uses chromium from PATH, else Debian's, unpacked into .tools/chromium (about 800 MB) with nothing
installed.  The pages come from the machine itself; the browser is told to call nobody else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
# Time for the charts: they are drawn from data that the page fetches.
SETTLE_MS = 4000
TIMEOUT_S = 60


class ScreenshotError(Exception):
    """What went wrong, for the person who called."""


@dataclass(frozen=True)
class Browser:
    """A chromium and the environment it needs."""

    program: Path
    environment: dict[str, str] = field(default_factory=dict)

    def capture(self, url: str, output: Path, size: tuple[int, int]) -> None:
        """Render one page; the picture appears under its name only when it is whole."""
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as home:
            part = Path(home) / "page.png"
            command = [
                str(self.program),
                *FLAGS,
                f"--user-data-dir={home}/profile",
                f"--window-size={size[0]},{size[1]}",
                f"--virtual-time-budget={SETTLE_MS}",
                f"--screenshot={part}",
                url,
            ]
            environment = {**os.environ, **self.environment, "HOME": home}
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
            )
            if not part.is_file() or part.stat().st_size == 0:
                raise ScreenshotError(f"{self.program} made no picture:\n{done.stderr[-1500:]}")
            shutil.copy(part, output)


def find_browser() -> Browser:
    """The one on PATH, else a private one."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Browser(Path(found))
    prefix = ROOT / ".tools" / "chromium"
    if not (prefix / "usr/lib/chromium/chromium").exists():
        _fetch(prefix)
    return _private(prefix)


def _fetch(prefix: Path) -> None:
    from outpost import debian

    if not debian.available():
        raise ScreenshotError("there is no chromium on PATH: install chromium")
    print("fetching chromium (once, about 800 MB unpacked) …", file=sys.stderr)
    home = ROOT / ".tools" / "apt-chromium"
    archive = debian.Archive(home, debian.host_architecture(), own_release=True)
    try:
        archive.unpack("chromium", prefix)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _private(prefix: Path) -> Browser:
    libraries = {str(f.parent) for f in (prefix / "usr" / "lib").glob("*-linux-gnu/*.so*")}
    libraries |= {str(f.parent) for f in (prefix / "usr" / "lib").glob("*-linux-gnu/pulse*/*.so*")}
    fonts = prefix / "fonts.conf"
    fonts.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        f"<dir>{prefix}/usr/share/fonts</dir><cachedir>{prefix}/var/fonts</cachedir></fontconfig>"
    )
    environment = {"LD_LIBRARY_PATH": ":".join(sorted(libraries)), "FONTCONFIG_FILE": str(fonts)}
    return Browser(prefix / "usr/lib/chromium/chromium", environment)


def read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        fix = "start `make demo`, then: make screenshots URL=<the address it shows>"
        raise ScreenshotError(f"{url} does not answer ({error}); {fix}") from error


def default_pages(base: str) -> Iterator[tuple[str, str]]:
    """The fleet, the first device and the newest rollout that the pages themselves link to."""
    yield "fleet", "/"
    for name, index, pattern in (
        ("device", "/", r'href="(/devices/[^"?#]+)"'),
        ("rollout", "/rollouts", r'href="(/rollouts/[^"?#]+)"'),
    ):
        found = re.search(pattern, read(urljoin(base, index)))
        if found:
            yield name, found.group(1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--base", required=True, help="the demo's address")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for the pictures")
    parser.add_argument("--size", default="1280x860", help="WIDTHxHEIGHT")
    parser.add_argument("pages", nargs="*", help="NAME=PATH; without any: fleet, device, rollout")
    given = parser.parse_args()
    width, height = (int(n) for n in given.size.split("x"))
    try:
        read(given.base)
        pages = [tuple(p.split("=", 1)) for p in given.pages] or list(default_pages(given.base))
        browser = find_browser()
        for name, path in pages:
            output = given.out / f"{name}.png"
            browser.capture(urljoin(given.base, path), output, (width, height))
            print(output)
    except ScreenshotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
