"""The end of a device's life: what an ops key has signed, and only that, and then nothing is left.

The flash file is searched, not the file system: what littlefs no longer shows is still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loader import cbor
from node.core import csr
from outpost.errors import OutpostError
from outpost.fleet.registry import Command

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


def test_only_the_word_of_an_ops_key_counts(tmp_path: Path) -> None:
    """The fleet's own keys, the broker and other devices' documents wipe nothing."""
    with Lab(tmp_path) as lab:
        lab.start()
        service, key = lab.server.service, ops_document("wipe", "w-1")
        for verb, document, code in (
            ("wipe", ops_document("wipe", "w-2", device="weather-2"), "ops-device"),
            ("wipe", ops_document("decommission", "w-3"), "ops-other"),
            ("wipe", ops_document("wipe", "w-4", hours=-1), "ops-expired"),
            ("wipe", key[:-1] + bytes((key[-1] ^ 1,)), "signature"),
        ):
            with pytest.raises(OutpostError) as caught:
                service.send_signed(ID, verb, document)
            assert caught.value.code == code
        with pytest.raises(OutpostError) as caught:
            lab.server.send_command(ID, "wipe")
        assert caught.value.code == "ops-missing"
        refused_by_the_board(lab, key)
        assert "/data/id/key.der" in lab.files()


def refused_by_the_board(lab: Lab, key: bytes) -> None:
    """Whoever has the broker can send anything: the device asks for itself."""
    send, commands = lab.server._send, lab.server.registry.commands
    for number, (fields, code) in enumerate(
        (
            ({}, "ops_missing"),
            ({"ops": b"\xd8\x62\x00"}, "cose-shape"),
            ({"ops": ops_document("wipe", "w-5", device="weather-2")}, "ops-device"),
            ({"ops": ops_document("decommission", "x-3")}, "ops_other"),
            ({"ops": ops_document("wipe", "w-6", hours=-1)}, "ops-expired"),
            ({"ops": ops_document("wipe", "another")}, "ops_other"),
            ({"ops": key[:-1] + bytes((key[-1] ^ 1,))}, "signature"),
        )
    ):
        command_id = f"x-{number}"
        commands.add(Command(command_id, ID, "wipe", {}, 0, 1))
        send(f"v1/{ID}/down/command", cbor.encode({"id": command_id, "cmd": "wipe", **fields}))
        assert lab.answer(command_id).reply["code"] == code


def test_decommission_ends_the_certificate_too(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        lab.start()
        secrets = secrets_of(lab)
        serial = lab.device.cert_serial
        assert lab.answer(wipe(lab, "decommission", "d-1"), 60).ok
        lab.until(lambda: lab.device.state == "decommissioned", "the revocation")
        assert serial in lab.server.ca.revoked()
        lab.until(lambda: any("not provisioned" in line for line in lab.lines), "the blank device")
        lab.sim.stop()
        assert left(lab, secrets) == []


@pytest.mark.parametrize(
    "at_op",
    [9, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (3, 40, 200, 700))],
)
def test_a_cut_in_the_middle_is_gone_on_with(tmp_path: Path, at_op: int) -> None:
    with Lab(tmp_path) as lab:
        lab.start()
        secrets = secrets_of(lab)
        # armed when the command is taken: what other tasks write shifts it a little
        lab.sim.cut_power(at_op, "torn")
        wipe(lab, "wipe", "w-9")
        lab.sim.wait_for("power_cut", timeout=40)
        lab.until(
            lambda: (
                any("not provisioned" in line for line in lab.lines)
                or sum("started by power_on" in line for line in lab.lines) > 1
            ),
            "what the cut left",
        )
        if not any("not provisioned" in line for line in lab.lines):
            # Before the mark was on flash. If the id was, the command is never run again, and
            # the device says so; else it was lost with the memory it was in, and may be repeated.
            lab.until(lambda: lab.device.online, "the next connection")
            assert lab.command("ping").ok
            if b"w-9" in lab.files()["/data/commands.cbor"]:
                assert lab.answer("w-9").reply["code"] == "interrupted"
            assert lab.answer(wipe(lab, "wipe", "w-10"), 60).ok
            lab.until(lambda: any("not provis" in line for line in lab.lines), "the blank device")
        lab.sim.stop()
        assert left(lab, secrets) == []
        assert "/outpost/wiped.cbor" in lab.files()
