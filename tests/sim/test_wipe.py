"""The end of a device's life: what an ops key has signed, and only that, and then nothing is left.

The flash file is searched, not the file system: what littlefs no longer shows is still there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loader import cbor
from node.core import csr
from outpost.errors import OutpostError

from tests.sim.fleet_node import ID, PSK, Lab, ops_document

pytestmark = [pytest.mark.vm, pytest.mark.broker]


@pytest.fixture(params=["esp32_generic", "rpi_pico_w"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(tmp_path, request.param) as lab:
        yield lab


def secrets_of(lab: Lab) -> dict[str, bytes]:
    files = lab.files()
    return {
        "key": csr.private_of(files["/data/id/key.der"]),
        "password": PSK.encode(),
        "device secret": files["/outpost/secret.bin"],
        "certificate": files["/data/id/cert.der"][-60:],
        "outbox": b"",
    }


def left(lab: Lab, secrets: dict[str, bytes]) -> list[str]:
    """Names of the secrets of which the flash still holds a piece."""
    flash = lab.flash.read_bytes()
    pieces = {name: (s[:16], s[-16:]) for name, s in secrets.items() if s}
    return [name for name, found in pieces.items() if any(piece in flash for piece in found)]


def wipe(lab: Lab, verb: str, command_id: str) -> str:
    return lab.server.service.send_signed(ID, verb, ops_document(verb, command_id)).id


def test_nothing_is_left_and_the_receipt_is_genuine(lab: Lab) -> None:
    lab.start()
    secrets = secrets_of(lab)
    assert set(left(lab, secrets)) >= {"key", "password", "device secret", "certificate"}
    found = lab.answer(wipe(lab, "wipe", "wipe-1"), 60)
    assert found.ok, found.reply
    lab.until(lambda: any("not provisioned" in line for line in lab.lines), "the blank device")
    lab.sim.stop()
    assert left(lab, secrets) == []
    files = lab.files()
    assert not [path for path in files if path.startswith("/data/")]
    assert files["/outpost/secret.bin"] not in secrets.values()  # the loader made another
    kept = cbor.decode(files["/outpost/wiped.cbor"])
    assert cbor.decode(kept["doc"])["device"] == ID
    lines = [line for line in lab.server.registry.audit.lines() if line.action == "wiped"]
    assert [line.subject for line in lines] == [ID]
    assert not lab.server.registry.journal.security(kind="bad-receipt")
