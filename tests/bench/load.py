"""`make load`: many light devices against one fleet server, and what became of every record.

The server is the real one in a process of its own: mosquitto with mutual TLS, ingest, SQLite.  The
devices are asyncio connections that speak MQTT by the node's own codec and send packed batches at
QoS 1, each with a window of unacknowledged publishes.  Afterwards the registry is asked: the run
fails unless every record that was acknowledged is there, once.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from node.core.mqtt.codec import Options, connect_packet, packet, text
from outpost.fleet.fleet import Fleet, FleetConfig
from outpost.fleet.pki import pem
from outpost.fleet.registry import Identity

from tests.fleet_kit import batch, key_pem, make_csr, make_release, make_trust

SETTLE_S = 60
_SERVE = """
import pathlib, sys
from outpost.fleet.server import FleetServer
with FleetServer(pathlib.Path(sys.argv[1])) as server:
    print(server.broker_port, flush=True)
    sys.stdin.read()
"""


@dataclass
class Load:
    devices: int
    seconds: float
    samples: int
    window: int


@dataclass
class Tally:
    """What the devices saw."""

    connected: int = 0
    acked: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class LightDevice:
    """One connection: sends the next batch whenever its window has room."""

    def __init__(self, name: str, load: Load, tally: Tally) -> None:
        self._name = name
        self._load = load
        self._tally = tally
        self._sent_at: dict[int, float] = {}
        self._sequence = 0
        self._packet_id = 0

    async def run(self, port: int, context: ssl.SSLContext, start: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1"
        )
        writer.write(connect_packet(Options(self._name)))
        if (await reader.readexactly(4))[3]:
            raise ConnectionError(f"{self._name}: CONNECT refused")
        self._tally.connected += 1
        await start.wait()
        deadline = time.monotonic() + self._load.seconds
        while time.monotonic() < deadline or self._sent_at:
            while time.monotonic() < deadline and len(self._sent_at) < self._load.window:
                writer.write(self._next_publish())
            await self._read_ack(reader)
        writer.write(packet(0xE0, b""))
        await writer.drain()
        writer.close()

    def _next_publish(self) -> bytes:
        self._packet_id = self._packet_id % 65535 + 1
        rows = [(2000 + n, 101325 - n) for n in range(self._load.samples)]
        start_ms = time.time_ns() // 1_000_000 + self._sequence * 1000
        payload = batch(1, self._sequence, rows, start_ms)
        self._sequence += self._load.samples
        self._sent_at[self._packet_id] = time.monotonic()
        topic = text(f"v1/{self._name}/up/telemetry".encode())
        return packet(0x32, topic + self._packet_id.to_bytes(2, "big") + payload)

    async def _read_ack(self, reader: asyncio.StreamReader) -> None:
        head = await asyncio.wait_for(reader.readexactly(4), 30)
        if head[0] != 0x40:
            raise ConnectionError(f"{self._name}: packet {head.hex()} instead of a PUBACK")
        sent = self._sent_at.pop(int.from_bytes(head[2:4], "big"))
        self._tally.latencies_ms.append((time.monotonic() - sent) * 1000)
        self._tally.acked += 1


def prepare(folder: Path, load: Load) -> dict[str, ssl.SSLContext]:
    """A fleet with its devices enrolled; they share a key: making keys is not measured."""
    ceremony = make_trust(folder / "trust")
    key, contexts = ec.generate_private_key(ec.SECP256R1()), {}
    with Fleet.create(folder / "fleet", ceremony.folder, FleetConfig()) as fleet:
        fleet.publish(make_release(folder, ceremony, "1.0.0"))
        with fleet.registry.transaction():
            for number in range(load.devices):
                name = f"load-{number}"
                fleet.registry.devices.add(Identity(name, "weather", "sim"), 0)
                contexts[name] = _context(folder, fleet, name, key)
    return contexts


def _context(
    folder: Path, fleet: Fleet, name: str, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    path = folder / "device.pem"
    path.write_bytes(key_pem(key) + pem(fleet.ca.issue(make_csr(key), name), "CERTIFICATE"))
    context = ssl.create_default_context(cadata=fleet.ca.ca_pem.decode())
    context.load_cert_chain(path)
    return context


async def drive(load: Load, port: int, contexts: dict[str, ssl.SSLContext]) -> dict[str, float]:
    tally, start = Tally(), asyncio.Event()
    started = time.monotonic()
    tasks = [
        asyncio.create_task(LightDevice(name, load, tally).run(port, context, start))
        for name, context in contexts.items()
    ]
    while tally.connected < load.devices:
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.02)
    connect_s = time.monotonic() - started
    start.set()
    started = time.monotonic()
    await asyncio.gather(*tasks)
    elapsed_s = time.monotonic() - started
    steps = statistics.quantiles(tally.latencies_ms, n=100)
    return {
        "connects_per_s": load.devices / connect_s,
        "acked": tally.acked,
        "messages_per_s": tally.acked / elapsed_s,
        "records_per_s": tally.acked * load.samples / elapsed_s,
        "puback_p50_ms": steps[49],
        "puback_p95_ms": steps[94],
        "puback_p99_ms": steps[98],
    }


def settle(folder: Path, expected: int) -> dict[str, float]:
    """Wait until ingest has caught up; what the registry then holds."""
    started = time.monotonic()
    with Fleet.open(folder / "fleet") as fleet:
        flow = fleet.registry.telemetry.flow()
        while flow.received < expected and time.monotonic() - started < SETTLE_S:
            time.sleep(0.05)
            flow = fleet.registry.telemetry.flow()
        return {
            "received": flow.received,
            "duplicates": flow.duplicates,
            "lost": flow.lost,
            "malformed": fleet.registry.telemetry.counter("malformed"),
            "ingest_lag_s": time.monotonic() - started,
        }


def resident_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run(load: Load) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contexts = prepare(folder, load)
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(folder / "fleet")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin and server.stdout
        try:
            port = int(server.stdout.readline())
            figures = asyncio.run(drive(load, port, contexts))
            figures |= settle(folder, int(figures["acked"]) * load.samples)
            figures["server_mib"] = resident_mib(server.pid)
        finally:
            server.stdin.close()
            server.wait(10)
    return figures


def problems(figures: dict[str, float], samples: int) -> list[str]:
    found = []
    if figures["received"] != figures["acked"] * samples:
        found.append(
            f"{figures['acked'] * samples:.0f} records acknowledged,"
            f" {figures['received']:.0f} stored"
        )
    found += [f"{figures[name]:.0f} {name}" for name in ("lost", "malformed") if figures[name]]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--samples", type=int, default=12, help="records in a batch")
    parser.add_argument("--window", type=int, default=2, help="unacknowledged publishes")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = Load(arguments.devices, arguments.seconds, arguments.samples, arguments.window)
    figures = run(load)
    failed = problems(figures, load.samples)
    if arguments.json:
        print(json.dumps({**figures, "problems": failed}))
    else:
        print(
            f"{load.devices} devices, {load.samples} records a batch, window {load.window},"
            f" {load.seconds:g} s"
        )
        for name, value in figures.items():
            print(f"  {name:16} {value:10.1f}")
        for problem in failed:
            print(f"FAILED: {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
