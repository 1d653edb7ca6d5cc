"""What a fleet may ask of a device and what it believes: signed commands, settings, certificates,
receipts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from outpost.errors import OutpostError
from outpost.fleet import views
from outpost.fleet.fleet import Fleet, FleetConfig
from outpost.fleet.observation import Observation
from outpost.fleet.service import Service
from outpost.signing import cose, documents

from tests.fleet_kit import identity, make_csr
from tests.host import signed_build

ID = "w-1"


class World:
    """A fleet with one device, and what its service sent and asked of the broker."""

    def __init__(self, folder: Path, config: FleetConfig | None = None) -> None:
        self.fleet = Fleet.create(folder / "fleet", signed_build.ceremony().folder, config)
        self.sent: list[tuple[str, dict[str, Any], bool]] = []
        self.calls: list[str] = []
        self.service = Service(
            self.fleet,
            self.send,
            lambda: self.calls.append("reload"),
            lambda: self.calls.append("refresh"),
        )
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self.fleet.enroll(make_csr(self.key), identity(ID))

    def send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.sent.append((topic, cbor2.loads(payload) if payload else {}, retain))

    def says(self, kind: str, **body: Any) -> None:
        self.service.observe([Observation(ID, kind, 0, body)])

    def security(self) -> list[str]:
        return [event.kind for event in self.fleet.registry.journal.security()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.fleet.close()


def ops(verb: str = "wipe", command_id: str = "c-1", device: str = ID, role: str = "ops") -> bytes:
    payload = documents.ops(device, command_id, verb, int(time.time()) + 60)
    return cose.sign("ops", payload, signed_build.ceremony().key(role))


# --- signed commands


def test_a_signed_command_is_sent_once(world: World) -> None:
    sent = world.service.send_signed(ID, "wipe", ops())
    topic, body, retained = world.sent[0]
    assert (topic, retained) == (f"v1/{ID}/down/command", False)
    assert body["id"] == sent.id == "c-1" and body["ops"] == ops_of(body) and body["cmd"] == "wipe"
    with pytest.raises(OutpostError) as caught:
        world.service.send_signed(ID, "wipe", ops())
    assert caught.value.code == "ops-used" and len(world.sent) == 1


def ops_of(body: dict[str, Any]) -> bytes:
    payload, signatures = cose.signatures_of("ops", body["ops"])
    assert len(signatures) == 1 and cbor2.loads(payload)["id"] == body["id"]
    return bytes(body["ops"])


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (lambda: ops(device="w-2"), "ops-device"),
        (lambda: ops("decommission"), "ops-other"),
        (lambda: ops(role="release"), "signer"),
        (lambda: b"", "cose-shape"),
    ],
)
def test_what_a_device_would_refuse_is_not_sent(world: World, document: Any, code: str) -> None:
    with pytest.raises(OutpostError) as caught:
        world.service.send_signed(ID, "wipe", document())
    assert caught.value.code == code and world.sent == []


@pytest.mark.parametrize("verb", ["wipe", "decommission"])
def test_the_fleet_alone_destroys_nothing(world: World, verb: str) -> None:
    with pytest.raises(OutpostError) as caught:
        world.service.send_command(ID, verb, {}, 60)
    assert caught.value.code == "ops-missing" and world.sent == []


# --- settings


def test_settings_are_merged_and_versions_rise(world: World) -> None:
    world.service.desire(ID, {"a": 1, "b": 2})
    found = world.service.desire(ID, {"b": None, "c": 3})
    assert (found.version, found.settings) == (2, {"a": 1, "c": 3})
    assert world.sent[-1] == (f"v1/{ID}/down/desired", {"v": 2, "set": {"a": 1, "c": 3}}, True)
    lines = [line for line in world.fleet.registry.audit.lines() if line.action == "desired"]
    assert len(lines) == 2


@pytest.mark.parametrize("value", [1.5, "1", True, 2**40, [1]])
def test_a_setting_is_a_whole_number(world: World, value: Any) -> None:
    with pytest.raises(OutpostError) as caught:
        world.service.desire(ID, {"a": value})
    assert caught.value.code == "settings" and world.sent == []


def test_desired_against_reported(world: World) -> None:
    registry = world.fleet.registry
    wanted = world.service.desire(ID, {"a": 1, "b": 2})

    def state(**told: Any) -> tuple[str, dict[str, str]]:
        found = views.settings(wanted, {"desired": told} if told else {})
        return found["state"], {row["name"]: row["why"] for row in found["rows"]}

    assert state() == ("waiting", {"a": "waiting", "b": "waiting"})
    assert state(v=1, set={"a": 1, "b": 2}, seen=1, code="applied", rejected={}) == (
        "in step",
        {"a": "", "b": ""},
    )
    assert state(v=1, set={"a": 1}, seen=1, code="partly", rejected={"b": "bounds"}) == (
        "partly",
        {"a": "", "b": "bounds"},
    )
    assert state(v=0, set={}, seen=1, code="rejected", rejected={"a": "type"})[0] == "refused"
    assert state(v=0, set={}, seen=1, code="rolled_back", rejected={})[0] == "rolled back"
    assert state(v="x", set=7, rejected=[1])[0] == "waiting"
    registry.devices.report(ID, {"desired": {"v": 1, "seen": 1}})
    assert views.settings_summary(registry) == {"in step": 1}


def test_set_config_is_desired_state_with_an_answer(world: World) -> None:
    world.service.send_command(ID, "set-config", {"set": {"a": 1}}, 60, "api")
    (_, command, _), (topic, desired, retained) = world.sent
    assert command["args"] == desired == {"v": 1, "set": {"a": 1}}
    assert topic.endswith("/desired") and retained


def test_a_device_that_left_wants_nothing(world: World) -> None:
    world.service.desire(ID, {"a": 1})
    world.service.retire(ID)
    assert world.sent[-1] == (f"v1/{ID}/down/desired", {}, True)
    world.sent.clear()
    world.service.orders.remind()
    assert world.sent == []


# --- certificates


def fingerprint(cert: bytes) -> str:
    return hashlib.sha256(cert).hexdigest()[:16]


def test_the_old_certificate_ends_when_the_new_one_is_in_use(world: World) -> None:
    time.sleep(0.002)
    renewed = world.fleet.rotate(ID, make_csr(ec.generate_private_key(ec.SECP256R1())))
    world.says("state", cert=fingerprint(world.cert))
    world.says("state", cert="of somebody else")
    world.says("state")
    assert world.fleet.ca.revoked() == {} and world.calls == []
    world.says("state", cert=fingerprint(renewed))
    world.says("state", cert=fingerprint(renewed))
    old, new = world.fleet.registry.certificates.of(ID)
    assert list(world.fleet.ca.revoked()) == [old.serial]
    assert (old.revoked_ms is not None, new.revoked_ms) == (True, None)
    assert world.calls == ["refresh"]


def test_a_request_that_nobody_asked_for(world: World) -> None:
    world.says("csr", csr=make_csr(world.key))
    assert world.security() == ["uninvited-csr"] and world.sent == []


def test_a_request_shortly_before_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, FleetConfig(certificate_days=40))
    for _ in range(5):
        world.says("csr", csr=make_csr(ec.generate_private_key(ec.SECP256R1())))
    assert world.sent[0][0] == f"v1/{ID}/down/certificate"
    assert world.sent[0][1]["ca"] == world.fleet.ca.ca_der
    world.fleet.close()


# --- receipts


def receipt(world: World, key: ec.EllipticCurvePrivateKey, **other: Any) -> dict[str, str]:
    document = cbor2.dumps(
        {"t": "wiped", "device": ID, "id": "c-1", "boot": 3, **other}, canonical=True
    )
    r, s = decode_dss_signature(key.sign(document, ec.ECDSA(hashes.SHA256())))
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return {"doc": document.hex(), "sig": signature.hex(), "pub": point.hex()}


def answered(world: World, verb: str, told: Any) -> None:
    world.service.send_signed(ID, verb, ops(verb))
    registry = world.fleet.registry
    registry.commands.replied(ID, "c-1", True, {}, 1)
    world.says("reply", id="c-1", ok=True, r=told)


def test_a_genuine_receipt_ends_a_device(world: World) -> None:
    answered(world, "decommission", receipt(world, world.key))
    assert world.fleet.registry.devices.get(ID).state == "decommissioned"
    assert len(world.fleet.ca.revoked()) == 1 and world.calls == ["reload"]
    assert "wiped" in [line.action for line in world.fleet.registry.audit.lines()]
    assert world.security() == []


def test_a_wipe_leaves_the_device_in_the_registry(world: World) -> None:
    answered(world, "wipe", receipt(world, world.key))
    assert world.fleet.registry.devices.get(ID).state == "active"
    assert "wiped" in [line.action for line in world.fleet.registry.audit.lines()]


@pytest.mark.parametrize("flaw", ["key", "device", "id", "kind", "signature", "nothing", "text"])
def test_a_false_receipt_is_written_down_and_believed_by_nobody(world: World, flaw: str) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    told: Any = {
        "key": lambda: receipt(world, other),
        "device": lambda: receipt(world, world.key, device="w-2"),
        "id": lambda: receipt(world, world.key, id="c-2"),
        "kind": lambda: receipt(world, world.key, t="dinner"),
        "signature": lambda: {**receipt(world, world.key), "sig": "00" * 64},
        "nothing": lambda: None,
        "text": lambda: {"doc": "zz", "sig": 5, "pub": []},
    }[flaw]()
    answered(world, "decommission", told)
    assert world.security() == ["bad-receipt"]
    assert world.fleet.registry.devices.get(ID).state == "active"
    assert "wiped" not in [line.action for line in world.fleet.registry.audit.lines()]


def test_a_registry_from_a_backup_is_still_heard(world: World) -> None:
    world.fleet.registry.devices.report(ID, {"desired": {"v": 7, "seen": 9}})
    assert world.service.desire(ID, {"a": 1}).version == 10


def test_the_next_authority_is_told_with_the_certificate(world: World) -> None:
    (world.fleet.folder / "ca" / "next.der").write_bytes(b"0\x03abc")
    world.service.send_command(ID, "rotate-certificate", {}, 60)
    world.says("csr", csr=make_csr(ec.generate_private_key(ec.SECP256R1())))
    assert world.sent[-1][1]["ca"] == world.fleet.ca.ca_der + b"0\x03abc"
