"""A release that brings its MicroPython, from `outpost build` to a simulated ESP32 with the OTA
layout: chunks, the other partition, trial, marked valid, taken back.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from loader import cbor, layout
from outpost.cli.main import cli
from outpost.fleet.rollout import Policy, Stage

from tests.faults.inputs import noise
from tests.host import signed_build
from tests.sim.fleet_node import Lab, make_release

pytestmark = [pytest.mark.vm, pytest.mark.broker]
BOARD = "esp32_generic_ota"
BODY = 60_000
_POLICY = Policy(soak_s=0, offers_per_minute=6000)
_STATES = {0: "new", 1: "pending", 2: "valid", 3: "invalid", 4: "aborted"}


def image(version: str, changed: int = 2) -> bytes:
    """An application image as ESP-IDF lays it out: one segment, checksum, SHA-256; it says what
    MicroPython it is, and its last `changed` chunks are its own.
    """
    own = changed * 4096
    name = f"3.4.0; MicroPython v{version} on 2026-01-01".encode().ljust(64, b"\0")
    data = b"\0" + name + noise("runtime", BODY - own) + noise(version, own)
    data += bytes(-len(data) % 4)
    body = (
        bytes([0xE9, 1]) + bytes(21) + b"\x01" + struct.pack("<II", 0x3F400000, len(data)) + data
    )
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    body += bytes(15 - len(body) % 16) + bytes([checksum])
    return body + hashlib.sha256(body).digest()


class OtaLab(Lab):
    """A Lab whose board has the two application partitions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BOARD)
        recipe = self.product / "product.toml"
        own = f'[boards.{BOARD}]\nmode = "powered"\n'
        recipe.write_text(signed_build.for_boards(recipe.read_text(), f'"{BOARD}"', own))
        self.release = make_release(self.product, folder / "ota", "1.0.0")

    def __enter__(self) -> OtaLab:
        super().__enter__()
        assert self.sim
        self.sim.folder.mkdir(exist_ok=True)
        blank = b"\xff" * next(p.bytes for p in self.sim.board.partitions if p.name == "ota_0")
        first = image("1.25.0")
        (self.sim.folder / "ota_0.bin").write_bytes(first + blank[len(first) :])
        return self

    def entries(self) -> list[tuple[int, str]]:
        """(sequence, state) of otadata's entries, the one in force first."""
        assert self.sim
        raw = (self.sim.folder / "otadata.bin").read_bytes()
        found = [struct.unpack_from("<I20sI", raw, at) for at in (0, 4096)]
        known = [(sequence, _STATES[state]) for sequence, _, state in found if state in _STATES]
        return sorted(known, reverse=True)

    def in_force(self) -> tuple[int, str]:
        """Which partition the bootloader starts, and its state."""
        sequence, state = next(e for e in self.entries() if e[1] not in ("aborted", "invalid"))
        return (sequence - 1) % 2, state

    def holds(self, partition: str, content: bytes) -> bool:
        assert self.sim
        return (self.sim.folder / f"{partition}.bin").read_bytes()[: len(content)] == content


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtaLab]:
    with OtaLab(tmp_path_factory.mktemp("ota")) as lab:
        lab.start()
        yield lab


def bring(lab: OtaLab, version: str, runtime: str, overlay: Path | None = None) -> str:
    """Build, sign and publish a release with a runtime, and roll it out; the rollout."""
    file = lab.folder / f"micropython-{runtime}.bin"
    file.write_bytes(image(runtime))
    target = lab.folder / "build"
    release = make_release(lab.product, target, version, runtime=file, overlay=overlay)
    lab.server.publish(release.folder)
    return lab.server.rollouts.create("weather", version, [Stage("all", percent=100)], _POLICY)


def ended(lab: OtaLab, rollout: str) -> str:
    def state() -> str:
        found = str(lab.server.rollouts.status(rollout)["devices"][0]["state"])
        return found if found in ("rolled_back", "confirmed") else ""

    return str(lab.until(state, "the end of the rollout", 120))


def test_the_command_takes_what_it_binds_from_the_image(lab: OtaLab, tmp_path: Path) -> None:
    file = tmp_path / "micropython.bin"
    file.write_bytes(image("1.26.1"))
    order = ["--json", "build", str(lab.product), "--out", str(tmp_path), "--runtime", str(file)]
    done = CliRunner().invoke(cli, [*order, "--version", "7.0.0"])
    assert done.exit_code == 0, done.output
    folder = Path(json.loads(done.stdout)["result"]["folder"])
    release = cbor.decode((folder / "release.cbor").read_bytes())
    bound = release["runtime"]
    assert bound["build"] == "3.4.0; MicroPython v1.26.1 on 2026-01-01"
    assert (bound["board"], bound["mpy"], bound["micropython"]) == (BOARD, 6, [1, 26, 1])
    assert bound["size"] == len(image("1.26.1"))
    file.write_bytes(b"\xff" * 5000)
    assert CliRunner().invoke(cli, [*order, "--version", "7.0.1"]).exit_code == 2


def test_both_are_replaced(lab: OtaLab) -> None:
    assert ended(lab, bring(lab, "1.1.0", "1.26.0")) == "confirmed"
    lab.until(lambda: lab.device.version == "1.1.0" and lab.device.online, "the new release")
    assert lab.holds("ota_1", image("1.26.0")) and lab.holds("ota_0", image("1.25.0"))
    assert lab.entries()[0] == (2, "valid")
    fetched = [e.body["fetched"] for e in lab.events("update") if e.body.get("fetched")]
    assert fetched and max(fetched) < 30_000  # two chunks, the table, what is new: not the image


@pytest.mark.parametrize(
    ("version", "runtime", "after"),
    [
        # before the runtime is marked valid: ESP-IDF's bootloader takes it back on its own
        ("1.2.0", "1.27.0", "    packs.mount()\n"),
        # after it: the loader takes the application back, and main.py the runtime
        ("1.3.0", "1.28.0", "        runtime.mark_valid()\n"),
    ],
    ids=["bootloader", "loader"],
)
def test_both_are_taken_back(
    lab: OtaLab, tmp_path: Path, version: str, runtime: str, after: str
) -> None:
    text = (signed_build.ROOT / "firmware/node/main.py").read_text()
    assert text.count(after) == 1
    (tmp_path / "node").mkdir()
    crash = after + "    raise ValueError('a defect')\n"
    (tmp_path / "node/main.py").write_text(text.replace(after, crash))
    before = lab.device.version
    assert ended(lab, bring(lab, version, runtime, tmp_path)) == "rolled_back"
    lab.until(lambda: lab.device.version == before and lab.device.online, "the old release")
    assert lab.holds("ota_0", image(runtime))  # it is there, and does not run
    assert lab.holds("ota_1", image("1.26.0"))
    lab.until(lambda: lab.in_force() == (1, "valid"), "the old runtime")
    record: dict[str, Any] = cbor.decode(lab.files()[layout.RECORD][8:])
    assert record["trial"] == []
