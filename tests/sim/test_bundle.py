"""A bundle over the REPL of a simulated board: running, and in safe mode."""

import hashlib
import json
import socket
import time

import pytest
from click.testing import CliRunner
from loader import cbor, layout
from outpost.boards import load_board
from outpost.build.compile import LOADER_LEVEL, compile_all, compile_source
from outpost.build.volume import format_image
from outpost.cli.main import cli
from outpost.errors import OutpostError
from outpost.factory import bundle
from outpost.factory.install import install
from outpost.factory.link import open_link
from outpost.sim import SimBoard

from tests.faults import inputs
from tests.sim.update_harness import ROOT, Publisher

_MAIN = """
import time
def run(boot):
    print('running', boot.version, boot.mode)
    while True:
        boot.watchdog.feed()
        time.sleep_ms(50)
"""


@pytest.fixture(scope="module")
def keys():
    return inputs.Keys()


class Bench:
    """A simulated Pico W with release 1.0 in its factory image, and a bundle of 1.1."""

    def __init__(self, folder, keys, damage="", wdt_ms=8000):
        self.folder = folder
        self.publisher = Publisher(keys)
        main = folder / "main.py"
        main.write_text(_MAIN)
        entry = compile_source(main, "node/main.py", 2)
        package = compile_source(_empty(folder), "node/__init__.py", 2)
        self.old = {"node/main.mpy": entry, "node/__init__.mpy": package, "keep": b"k" * 5000}
        self.new = dict(self.old, added=inputs.noise("added", 4000))
        document, _ = self.publisher.release(self.old)
        self.new_document, self.new_digest = self.publisher.release(self.new, version="1.1")
        firmware = ROOT / "firmware"
        loader = {p.relative_to(firmware).as_posix(): p for p in firmware.glob("loader/*.py")}
        device = {
            "/outpost/" + name: data for name, data in compile_all(loader, LOADER_LEVEL).items()
        }
        device["/main.py"] = b"import loader.start\nloader.start.run()\n"
        device["/boot.py"] = b"import sys\nsys.path[:] = ['.frozen', '/outpost']\n"
        facts = {"product": "sweep", "board": "rpi_pico_w", "chip": "rp2040", "hw": 1}
        device[layout.BOARD] = cbor.encode({**facts, "slot_budget": 400_000, "wdt_ms": wdt_ms})
        device[layout.ROOT] = keys.root(1)
        device["/a/" + layout.MANIFEST] = document
        for path, data in self.old.items():
            device["/a/" + path] = data + b"!" if path == damage else data
        self.board = load_board("rpi_pico_w")
        flash = folder / "flash.img"
        flash.write_bytes(format_image(self.board, device))
        self.sim = SimBoard(self.board, flash)

    def bundle(self, document=None, files=None, roots=()):
        content = self.folder / "files"
        for path, data in (files or self.new).items():
            (content / path).parent.mkdir(parents=True, exist_ok=True)
            (content / path).write_bytes(data)
        target = self.folder / "release.bundle"
        bundle.write(target, document or self.new_document, content, roots)
        return bundle.read(target)


def _empty(folder):
    path = folder / "empty.py"
    path.write_text("")
    return path


@pytest.fixture
def bench(tmp_path, keys):
    made = []

    def make(damage="", **options):
        made.append(Bench(tmp_path, keys, damage, **options))
        made[-1].sim.start()
        return made[-1]

    yield make
    for one in made:
        one.sim.stop()


def test_a_running_board_takes_a_bundle(bench):
    one = bench()
    one.sim.wait_for("line:running 1.0 confirmed")
    report = install(open_link(one.sim.repl()), one.bundle())
    assert (report.sent, report.copied, report.kept) == (1, 3, 0)
    one.sim.wait_for("line:running 1.1 trial")


def test_a_board_in_safe_mode_takes_a_bundle(bench):
    one = bench("node/main.mpy")  # its only release is damaged
    one.sim.wait_for("line:outpost: safe mode")
    report = install(open_link(one.sim.repl()), one.bundle())
    assert report.sent == 2  # the new file, and the damaged one
    one.sim.wait_for("line:running 1.1")


def flash(one, *options):
    """`outpost flash --bundle`, as somebody types it; its result."""
    one.bundle()
    order = ["--json", "flash", "--bundle", str(one.folder / "release.bundle")]
    order += ["--board", "rpi_pico_w", "--port", one.sim.repl(), *options]
    done = CliRunner().invoke(cli, order)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["result"]


@pytest.mark.parametrize(
    ("damage", "start", "sent"),
    [("", "running 1.0 confirmed", 1), ("node/main.mpy", "outpost: safe mode", 2)],
    ids=["running", "safe mode"],
)
def test_the_command_line_installs_a_bundle(bench, damage, start, sent):
    one = bench(damage)
    one.sim.wait_for("line:" + start)
    assert flash(one, "--dry-run")["version"] == "1.1"
    result = flash(one)
    assert (result["version"], result["sent"]) == ("1.1", sent)
    one.sim.wait_for("line:running 1.1")


def test_the_watchdog_leaves_whoever_is_at_the_repl_alone(bench):
    one = bench(wdt_ms=1000)
    one.sim.wait_for("line:running 1.0")
    host, _, port = one.sim.repl().removeprefix("socket://").partition(":")
    with socket.create_connection((host, int(port))) as wire:
        wire.sendall(b"\x03")
        one.sim.wait_for("repl")
        time.sleep(3)  # three times the watchdog's period
        assert one.sim.resets == ["power_on"]
        wire.settimeout(10)
        wire.sendall(b"print(6 * 7)\r\n")
        answer = b""
        while b"\n42" not in answer:
            answer += wire.recv(1000)
        wire.sendall(b"\x04")  # a soft reset: the application again, and its watchdog
        one.sim.wait_for("soft")


def test_an_unsigned_bundle_is_refused_before_anything_is_written(bench, keys):
    one = bench()
    one.sim.wait_for("line:running")
    document, _ = one.publisher.release(one.new, signer=keys.head, version="1.2")
    with pytest.raises(OutpostError) as refused:
        install(open_link(one.sim.repl()), one.bundle(document))
    assert refused.value.code == "signer"
    link = open_link(one.sim.repl())
    assert "b" not in link.ask("listing", "import os\nprint(os.listdir('/'))\n")
    link.close()


def test_a_bundle_that_is_not_whole_is_refused(tmp_path, keys):
    publisher = Publisher(keys)
    files = {"node/main.mpy": inputs.noise("m", 3000)}
    document, _ = publisher.release(files)
    (tmp_path / "node").mkdir()
    (tmp_path / "node/main.mpy").write_bytes(files["node/main.mpy"])
    target = tmp_path / "x.bundle"
    bundle.write(target, document, tmp_path)
    whole = target.read_bytes()
    bundle.write(target, document, tmp_path)
    assert target.read_bytes() == whole  # the same bytes each time
    assert bundle.read(target).files == files
    for cut in (0, 100, len(whole) // 2, len(whole) - 1):
        target.write_bytes(whole[:cut])
        with pytest.raises(OutpostError):
            bundle.read(target)
    at = whole.index(hashlib.sha256(files["node/main.mpy"]).hexdigest().encode()) + 100
    target.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(OutpostError):
        bundle.read(target)
