"""The MQTT client against the floor, and against any other client, on one machine in one run.

The floor is one prepared packet per socket.write, with no client at all. Rates are taken in
rounds, floor and client by turns; rates and ratios are the medians of the rounds, each client's
ratio being to the floor of its own round: what else the machine does falls on both.

    make bench ARGS="mqtt --peer PATH/module.py:function"

measures another client too; tests/bench/mqtt_vm.py says what the function has to return.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outpost.paths import find_tool, vm_path

from tests.sim.mqtt_harness import ROOT, Broker, Pki, Proxy, compile_firmware, make_pki

PROGRAM = Path(__file__).with_name("mqtt_vm.py")
RATES = [(0, 1), (1, 1), (1, 8), (1, 20)]


@dataclass
class Row:
    """One figure: what was measured, for whom, and the target where there is one."""

    name: str
    who: str
    value: float
    unit: str
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


@dataclass
class Bench:
    """The places and programs of one run."""

    folder: Path
    pki: Pki
    peer: str
    rounds: int
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.compiled = compile_firmware(self.folder / "mpy", PROGRAM)
        self.path = [str(self.compiled)]
        self.clients = ["ours"]
        if self.peer:
            file, function = self.peer.rsplit(":", 1)
            self.path.append(str(Path(file).resolve().parent))
            self.peer = f"{Path(file).stem}:{function}"
            self.clients.append("peer")

    def run(self, who: str, what: str, port: int, tls: bool, **more: Any) -> Any:
        """One run of the VM; its result, or None when it failed."""
        heap = more.pop("heap", "2m")
        given = {"who": who, "what": what, "port": port, "path": self.path, "peer": self.peer}
        if tls:
            given["tls"] = self.pki.device_tls()
            if more.pop("anonymous", False):
                given["tls"]["cert"] = ""
        done = subprocess.run(
            [str(vm_path(64, ROOT)), "-X", f"heapsize={heap}", str(self.compiled / "start.py")],
            env={
                **os.environ,
                "BENCH": json.dumps(given | more),
                "NODE_FIRMWARE": str(self.compiled),
                "MICROPYPATH": str(self.compiled) + ":.frozen",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        for line in done.stdout.splitlines():
            if line.startswith('{"result"'):
                return json.loads(line)["result"]
        self.last_error = done.stdout[-500:] + done.stderr[-500:]
        return None

    def need(self, who: str, what: str, port: int, tls: bool, **more: Any) -> Any:
        result = self.run(who, what, port, tls, **more)
        if result is None:
            raise RuntimeError(f"{who} {what}: {self.last_error}")
        return result

    @contextmanager
    def broker(self, tls: bool, mutual: bool = True) -> Iterator[Broker]:
        folder = self.folder / f"broker{time.monotonic_ns()}"
        folder.mkdir()
        with Broker(folder, self.pki if tls else None, "log_type none", mutual) as broker:
            yield broker


def _kind(tls: bool) -> str:
    return "TLS" if tls else "plain"


def rates(bench: Bench) -> None:
    for tls in (False, True):
        with bench.broker(tls) as broker:
            for qos, window in RATES:
                _rate(bench, broker.port, tls, qos, window)


def _rate(bench: Bench, port: int, tls: bool, qos: int, window: int) -> None:
    taken: dict[str, list[float]] = {who: [] for who in ("floor", *bench.clients)}
    for _ in range(bench.rounds):
        for who, rates_of in taken.items():
            count = (10000 if qos else 30000) if who != "peer" else 60
            settings = {"qos": qos, "window": window, "count": count}
            took_us = bench.need(who, "rate", port, tls, **settings)
            rates_of.append(count * 1e6 / took_us)
    name = f"rate QoS {qos}" + (f" window {window}" if qos else "") + f" {_kind(tls)}"
    for who, found in taken.items():
        pairs = zip(found, taken["floor"], strict=True)
        ratio = statistics.median(value / floor for value, floor in pairs)
        met = ratio >= 0.5 if who == "ours" else None
        value = statistics.median(found)
        bench.rows.append(Row(name, who, value, "msg/s", ratio, ">= 0.5 x floor", met))


def wire(bench: Bench) -> None:
    """Bytes up per message: what more messages cost beyond the connection itself."""
    for tls in (False, True):
        with bench.broker(tls) as broker:
            for qos in (0, 1):
                figures = {w: _wire(bench, broker, tls, qos, w) for w in ("floor", *bench.clients)}
                for who, value in figures.items():
                    # QoS 0 messages leave together: fewer records than one for each
                    met = value <= figures["floor"] if who == "ours" else None
                    name = f"bytes up per message QoS {qos} {_kind(tls)}"
                    bench.rows.append(Row(name, who, value, "B", None, "<= floor", met))


def _wire(bench: Bench, broker: Broker, tls: bool, qos: int, who: str) -> float:
    """Whole bytes, so that a DISCONNECT more or less in a hundred messages does not count."""
    totals = []
    for count in (10, 110):
        with Proxy(broker.port) as proxy:
            bench.need(who, "rate", proxy.port, tls, qos=qos, window=1, count=count)
            time.sleep(0.1)
            totals.append(proxy.up_bytes)
    return (totals[1] - totals[0]) // 100


def heaps(bench: Bench) -> None:
    for tls in (False, True):
        with bench.broker(tls) as broker:
            for qos in (0, 1):
                for who in bench.clients:
                    used, locked = bench.need(who, "heap", broker.port, tls, qos=qos, count=100)
                    met = used == 0 and locked == 1 if who == "ours" else None
                    name = f"heap per publish QoS {qos} {_kind(tls)}"
                    bench.rows.append(Row(name, who, used, "B", None, "0, heap locked", met))


def connects(bench: Bench) -> None:
    for tls in (False, True):
        with bench.broker(tls) as broker:
            for who in ("floor", *bench.clients):
                best = min(
                    bench.need(who, "connect", broker.port, tls) for _ in range(bench.rounds)
                )
                bench.rows.append(Row(f"connect {_kind(tls)}", who, best / 1000, "ms"))


def smallest_heap(bench: Bench) -> None:
    """Import from .mpy, connect over TLS, ten QoS 1 messages, in programs as small as can be."""
    with bench.broker(True) as broker:
        for who in ("floor", "brief", "session", "ours"):
            high = _smallest(bench, who, broker.port)
            # The target is a client's that connects and sends. `session` also keeps a window and
            # listens; `ours` is the whole Connection, which reconnects and shares the loop.
            met = high <= 16 if who == "brief" else None
            bench.rows.append(Row("smallest heap, TLS", who, high, "KiB", None, "<= 16", met))


def _smallest(bench: Bench, who: str, port: int) -> int:
    """Names are short, as on a device: a path is memory too."""
    folder = bench.folder / f"small-{who}"
    folder.mkdir()
    text = Path(__file__).with_name(f"mqtt_small_{who}.py").read_text()
    given = bench.pki.device_tls()
    files = {"CERT": given["cert"], "KEY": given["key"], "CA": given["anchors"][0]}
    for name, file in files.items():
        (folder / name).write_bytes(Path(file).read_bytes())
    _as_shipped(folder, text.replace('"PORT"', str(port)))
    (folder / "start.py").write_text('import sys\nsys.path[:] = [".frozen", ""]\nimport small\n')
    low, high = 1, 128
    while high - low > 1:
        middle = (low + high) // 2
        command = [str(vm_path(64, ROOT)), "-X", f"heapsize={middle}k", "start.py"]
        low, high = (low, middle) if _manages(command, folder) else (middle, high)
    return high


def _as_shipped(folder: Path, text: str) -> None:
    """small.mpy and what of the node it imports, made by the steps that make a release."""
    from outpost.build import compile as compiling
    from outpost.build import reach, shrink

    tree = reach.Tree()
    tree.add(ROOT / "firmware" / "node", "node")
    wanted = [
        node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    sources = reach.reachable(tree, wanted)
    program = {"small.py": text, **{name: path.read_text() for name, path in sources.items()}}
    small = folder / "sources"
    files = {name: small / name for name in program}
    for name, shrunk in shrink.shrink(program).items():
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(shrunk)
    for name, compiled in compiling.compile_all(files, compiling.NODE_LEVEL).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(compiled)


def _manages(command: list[str], folder: Path) -> bool:
    """With too little memory the Connection waits for better times: so shall not we."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, cwd=folder)
    except subprocess.TimeoutExpired:
        return False
    return "ten acknowledged" in done.stdout


def wakes(bench: Bench) -> None:
    """Connect, one 66-byte message, disconnect; round trips from the time at 100 ms RTT.

    The target of 700 bytes is from peers measured without a client certificate, so the bytes are
    taken that way too, and those of mutual TLS record by record: what each costs, and what of it
    is this VM's TLS 1.3, which no board has. The certificate is one that the fleet issues."""
    for name, tls, mutual in (
        ("plain", False, True),
        ("TLS, server's certificate only", True, False),
        ("mutual TLS", True, True),
    ):
        with bench.broker(tls, mutual) as broker:
            for who in ("floor", *bench.clients):
                _wake(bench, broker, f"wake {name}", who, {"tls": tls, "anonymous": not mutual})
    _records(bench)


def _wake(bench: Bench, broker: Broker, name: str, who: str, how: dict[str, bool]) -> None:
    took = {0.0: 60.0, 0.1: 60.0}
    up = 0
    for delay_s in (0.0, 0.1) * 3:  # the best of three: the rest is what else the machine did
        with Proxy(broker.port) as proxy:
            proxy.delay_s = delay_s / 2
            took_s = bench.need(who, "wake", proxy.port, size=66, **how) / 1e6
            took[delay_s] = min(took[delay_s], took_s)
            time.sleep(0.3)
            up = proxy.up_bytes
    trips = (took[0.1] - took[0.0]) / 0.1
    own_trips = 2 if how["tls"] else 0  # TLS 1.2's, before the first byte
    target = "<= 1 above TLS's two" if how["tls"] else "<= 1"
    ours = who == "ours"
    met = trips < own_trips + 1.4 if ours else None
    bench.rows.append(Row(name, who, trips, "round trips", None, target, met))
    counts = ours and "mutual" not in name
    bench.rows.append(Row(name, who, up, "B up", None, "<= 700", up <= 700 if counts else None))


_HANDSHAKE = {
    1: "ClientHello",
    11: "Certificate",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
}
_ONLY_13 = (43, 45, 51)  # extensions that only TLS 1.3 has


def _records(bench: Bench) -> None:
    """A wake with mutual TLS, record by record."""
    with bench.broker(True) as broker, Proxy(broker.port) as proxy:
        bench.need("ours", "wake", proxy.port, True, size=66)
        time.sleep(0.3)
        sent = bytes(proxy.up_data)
    at = extra = total = 0
    while at < len(sent):
        size = 5 + (sent[at + 3] << 8 | sent[at + 4])
        record = sent[at : at + size]
        name = {20: "ChangeCipherSpec", 22: "Finished", 23: "MQTT"}[record[0]]
        if record[0] == 22:
            name = _HANDSHAKE.get(record[5], name)
        if name == "ClientHello":
            extra = _tls13_bytes(record)
        bench.rows.append(Row(f"wake mutual TLS: {name}", "ours", size, "B up"))
        at += size
        total += size
    name = "wake mutual TLS with a board's ClientHello (TLS 1.2 only)"
    bench.rows.append(Row(name, "ours", total - extra, "B up"))


def _tls13_bytes(hello: bytes) -> int:
    """Bytes of a ClientHello record that are there for TLS 1.3 (RFC 8446 section 4.1.2)."""
    at = 5 + 4 + 2 + 32  # record, handshake, version, random
    found = hello[at]  # the session id, which only 1.3's compatibility mode makes up
    at += 1 + hello[at]
    suites = hello[at + 2 : at + 2 + (hello[at] << 8 | hello[at + 1])]
    found += 2 * suites[::2].count(0x13)
    at += 2 + len(suites)
    at += 1 + hello[at] + 2  # compression methods, length of the extensions
    while at < len(hello):
        size = 4 + (hello[at + 2] << 8 | hello[at + 3])
        found += size if hello[at] << 8 | hello[at + 1] in _ONLY_13 else 0
        at += size
    return found


def memory(bench: Bench) -> None:
    """The Connection's own heap on the 32-bit VM, and what a day does to it. TLS is outside the
    heap there: a Pico W adds 26 kB connected, 31 kB in the handshake."""
    vm = find_tool("micropython32", ROOT)
    bits = 32 if vm else 64
    compiled = compile_firmware(bench.folder / "memory", PROGRAM.with_name("mqtt_memory_vm.py"))
    with bench.broker(True) as broker:
        given = {"path": [str(compiled)], "port": broker.port, "tls": bench.pki.device_tls()}
        done = subprocess.run(
            [str(vm or vm_path(64, ROOT)), "-X", "heapsize=96k", str(compiled / "start.py")],
            env={**os.environ, "BENCH": json.dumps(given), "MICROPYPATH": f"{compiled}:.frozen"},
            capture_output=True,
            text=True,
            timeout=180,
        )
    if not done.stdout.startswith('{"result"'):
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
    *figures, blocks = json.loads(done.stdout)["result"]
    named = f"heap of 96 KiB, {bits}-bit: "
    names = ("imported", "idle", "connected", "peak, connecting", "connected, after a day")
    for name, value in zip(names, figures, strict=True):
        bench.rows.append(Row(named + name, "ours", value, "B"))
    # One look may find a stray object in the middle of the heap that the next does not: the
    # collector is conservative. What fragments for good shows in every look.
    first, last = blocks[0], max(blocks[-6:])
    name = "largest free block, hour 1"
    bench.rows.append(Row(named + name, "ours", first, "B"))
    met = last >= first - 1024
    name = "largest free block, hours 19 to 24"
    bench.rows.append(Row(named + name, "ours", last, "B", None, "as in hour 1", met))
    bench.rows.append(Row(named + "least in any hour", "ours", min(blocks), "B"))


def _fleet_pki(folder: Path) -> Pki:
    """Its device's certificate is the fleet's, so that its bytes are those of the field."""
    from outpost.fleet.pki import Ca

    from tests.fleet_kit import make_csr

    pki = make_pki(folder)
    ca = Ca.create(folder / "fleet")
    pki.device.file("crt.der").write_bytes(ca.issue(make_csr(pki.device.key), "dev-1"))
    pki.ca.file("crt.pem").write_bytes(pki.ca.file("crt.pem").read_bytes() + ca.ca_pem)
    return pki


PARTS = {
    "memory": memory,
    "rates": rates,
    "wire": wire,
    "heaps": heaps,
    "connects": connects,
    "smallest": smallest_heap,
    "wakes": wakes,
}


def measure(arguments: list[str]) -> list[Row]:
    """What tests.bench calls."""
    given = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        bench = Bench(folder, _fleet_pki(folder), given.peer, given.rounds)
        for part in given.parts or PARTS:
            PARTS[part](bench)
        return bench.rows


def _arguments(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="tests.bench mqtt")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    parser.add_argument("--peer", default="", help="FILE.py:function of another client")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)
