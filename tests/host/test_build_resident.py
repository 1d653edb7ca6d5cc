"""How many names a node keeps: what is counted on the 32-bit VM, of a release as a device has it.

MicroPython keeps names in tables of 20, 40, 80, 160 and 320 (620 in all); the next one is of 640,
4,480 B at once, which an ESP32 does not have. Names that come while the program runs (letters of
texts, keys of settings) and modules that are loaded afterwards need what is left.
"""

import shutil
import subprocess
from pathlib import Path

from loader import layout
from outpost import build
from outpost.build.parsed import Module
from outpost.paths import project_root, tool_path

from tests.host import signed_build

# Measured: 529 names, 5942 bytes of text; a whole node: docs/decisions/smaller-bytecode.md.
MAX_NAMES = 550
MAX_TEXT_BYTES = 6200
TABLES = 620

# Not loaded between the start and idle. A new module counts unless it is written here.
LATER = (
    "battery updating core/anomaly core/at_rest core/check core/command core/conditions core/csr"
    " core/dns core/fetch core/filetable core/http core/image core/inflate core/model"
    " core/mqtt/few core/mqtt/inbound core/mqtt/v5 core/p256 core/portal core/record core/smooth"
    " core/sntp core/staging core/thin core/update core/url core/wifi hal/analog hal/ethernet"
    " hal/flash hal/rail hal/resolve hal/runtime hal/shift hal/slotfiles hal/sntp hal/tls_codes"
    " hal/wifi parts/check parts/facts parts/farewell parts/hands parts/selftest parts/warrant"
    " tasks/command tasks/download tasks/network tasks/remote tasks/switched tasks/wake"
)
LATER_MODULES = {"node." + row.replace("/", ".") for row in LATER.split()}

PROGRAM = """
import asyncio, binascii, collections, deflate, errno, gc, hashlib, io, micropython, os, select
import socket, struct, sys, time, tls, vfs
class Chip:
    OUT = STA_IF = 0
    def __init__(self, *given):
        pass
for name in ("machine", "network", "esp32", "rp2"):
    sys.modules[name] = Chip()
sys.modules["machine"].Pin = sys.modules["machine"].RTC = sys.modules["network"].WLAN = Chip
sys.modules["machine"].unique_id = lambda: b"12345678"
wanted = {modules!r}.split()
vfs.umount("/")
vfs.mount(vfs.VfsPosix({device!r}), "/outpost")
vfs.mount(vfs.VfsPosix({slot!r}), "/a")
sys.path[:] = [".frozen", "/outpost", "/a"]
class Known:
    pass
for name in {known!r}.split():
    setattr(Known, name, 0)
asyncio.create_task, asyncio.sleep_ms, asyncio.Event, asyncio.Lock, asyncio.wait_for
micropython.qstr_info()
import node.main
from node import packs
packs.mount()
for name in wanted:
    __import__(name)
micropython.qstr_info()
print(sys.modules["node.core.log"].__file__)
"""


def _count(line: str, figure: str) -> int:
    return int(line.split(figure + "=")[1].split(",")[0])


def _chip() -> set[str]:
    """Names of the chip's modules, which a real one has in its ROM: Pin, PULL_UP, ifconfig."""
    files = (project_root() / "host_tools/outpost/sim/chip").glob("*.py")
    found = {name for file in files for name in Module.of_source(file.read_text()).names}
    return {name for name in found if not name.startswith("_")}


def _program(slot: Path, device: Path, modules: list[str]) -> list[str]:
    places = {"slot": str(slot), "device": str(device)}
    text = PROGRAM.format(modules=" ".join(modules), known=" ".join(sorted(_chip())), **places)
    run = subprocess.run(
        [tool_path("micropython32"), "-c", text], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()


def test_the_names_of_a_node_fit_in_the_tables(tmp_path: Path) -> None:
    """A powered node's; a product that has boards in battery mode as well shares fewer of them."""
    shutil.copytree(signed_build.WEATHER, tmp_path / "product")
    recipe = tmp_path / "product/product.toml"
    recipe.write_text(signed_build.in_mode(recipe.read_text(), "powered"))
    result = build.build(tmp_path / "product", tmp_path / "build", source="test")
    loader = result.folder / "device" / layout.HOME[1:]
    modules = sorted(f"loader.{file.stem}" for file in (loader / "loader").glob("*.mpy"))
    ours = [path.removesuffix(".mpy").replace("/", ".") for path in result.modules]
    modules += [name for name in ours if name not in LATER_MODULES]
    assert {"node.powered", "node.core.outbox", "node.core.mqtt.session"} <= set(modules)
    before, after, file = _program(result.folder / "files", loader, modules)
    names = _count(after, "n_qstr") - _count(before, "n_qstr")
    text = _count(after, "n_str_data_bytes") - _count(before, "n_str_data_bytes")
    assert file == "/node/core/log.mpy"  # the importer's text and the traceback's are one
    assert MAX_NAMES // 2 < names <= MAX_NAMES < TABLES, f"{names} names, {text} bytes of text"
    assert MAX_TEXT_BYTES // 2 < text <= MAX_TEXT_BYTES, f"{text} bytes of text"
