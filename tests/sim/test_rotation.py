"""Another certificate for a running device: on command, in time, and never without a way back."""

from __future__ import annotations

import hashlib
import ssl
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from outpost.fleet.fleet import Fleet, FleetConfig
from outpost.fleet.pki import Ca, pem

from tests.sim.fleet_node import ID, Lab

pytestmark = [pytest.mark.vm, pytest.mark.broker]
ROTATE = "rotate-certificate"


def rarely(*values: int) -> list[object]:
    """Parameters for those who ask for all of them."""
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


def in_use(lab: Lab) -> str:
    """Serial of the certificate that the device says it uses."""
    told = lab.device.reported.get("cert")
    for certificate in lab.server.registry.certificates.of(ID):
        if certificate.fingerprint == told:
            return certificate.serial
    return ""


def rotated(lab: Lab, first: str) -> bool:
    return lab.device.online and in_use(lab) not in ("", first)


def accepted(lab: Lab, files: dict[str, bytes]) -> bool:
    """Whether the broker lets somebody in with the pair of these files."""
    stem = lab.folder / hashlib.sha256(files["/data/id/cert.der"]).hexdigest()[:8]
    stem.with_suffix(".crt").write_bytes(pem(files["/data/id/cert.der"], "CERTIFICATE"))
    stem.with_suffix(".key").write_bytes(pem(files["/data/id/key.der"], "PRIVATE KEY"))
    context = ssl.create_default_context(cadata=lab.server.ca.ca_pem.decode())
    context.load_cert_chain(stem.with_suffix(".crt"), stem.with_suffix(".key"))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.tls_set_context(context)
    answers: list[object] = []
    client.on_connect = lambda *given: answers.append(given[3])
    try:
        client.connect("127.0.0.1", lab.server.broker_port)
        client.loop_start()
        time.sleep(1)
        client.loop_stop()
    except OSError:
        return False
    return bool(answers)


def test_on_command(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        lab.start()
        before, first = lab.files(), in_use(lab)
        assert first == lab.device.cert_serial
        assert lab.command(ROTATE).ok
        lab.until(lambda: rotated(lab, first), "the new certificate")
        lab.until(lambda: first in lab.server.ca.revoked(), "the end of the old one")
        assert in_use(lab) == lab.device.cert_serial
        assert lab.command("ping").ok
        lab.sim.stop()
        after = lab.files()
        names = {name for name in after if name.startswith("/data/id/")}
        assert names == {"/data/id/key.der", "/data/id/cert.der", "/data/id/ca.der"}
        assert after["/data/id/key.der"] != before["/data/id/key.der"]
        serial = x509.load_der_x509_certificate(after["/data/id/cert.der"]).serial_number
        assert f"{serial:x}" == in_use(lab)
        assert accepted(lab, after) and not accepted(lab, before)


def test_a_certificate_that_the_broker_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device goes back, says so, and the old certificate was never revoked."""
    stranger = Ca.create(tmp_path / "stranger")
    monkeypatch.setattr(Fleet, "rotate", lambda self, name, csr: stranger.issue(csr, name))
    with Lab(tmp_path) as lab:
        lab.start()
        first = in_use(lab)
        assert lab.command(ROTATE).ok
        lab.until(lambda: lab.events("certificate"), "the device's word", 60)
        assert lab.events("certificate")[0].body == {"s": "dropped"}
        assert lab.command("ping").ok and in_use(lab) == first
        assert lab.server.ca.revoked() == {}
        lab.sim.stop()
        assert {n for n in lab.files() if ".next" in n or "tries" in n} == set()


@pytest.mark.exhaustive
def test_before_it_ends(tmp_path: Path) -> None:
    with Lab(tmp_path, config=FleetConfig(certificate_days=20)) as lab:
        lab.start()
        first = lab.server.registry.certificates.of(ID)[0].serial
        lab.until(lambda: rotated(lab, first), "the next certificate, unasked")
        lab.until(lambda: first in lab.server.ca.revoked(), "the end of the first")
        assert lab.server.registry.commands.of(ID) == []
        time.sleep(12)  # a heartbeat later
        assert len(lab.server.registry.certificates.of(ID)) == 2, "once a day is enough"


@pytest.mark.parametrize("at_op", [8, *rarely(4, 12, 16, 20, 26)])
def test_a_power_cut_in_the_middle(tmp_path: Path, at_op: int) -> None:
    with Lab(tmp_path) as lab:
        lab.start()
        first = in_use(lab)
        lab.sim.cut_power(at_op, "torn")
        lab.server.send_command(ID, ROTATE)
        lab.sim.wait_for("power_cut", timeout=40)
        lab.until(lambda: lab.device.boot > 1 and lab.device.online, "the next boot")
        time.sleep(2)
        if in_use(lab) == first and not rotating(lab):
            lab.command(ROTATE)  # the answer came too late, or never: ask again
        lab.until(lambda: rotated(lab, first), "the new certificate")
        lab.until(lambda: first in lab.server.ca.revoked(), "the end of the old one")
        assert lab.command("ping").ok


def rotating(lab: Lab) -> bool:
    return "/data/id/cert.next" in lab.files()


def test_a_second_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a CA is replaced, its successor is told: the device then trusts both."""
    second = Ca.create(tmp_path / "second")
    with Lab(tmp_path) as lab:
        both = lab.server.ca.ca_der + second.ca_der
        monkeypatch.setattr(Fleet, "authorities", property(lambda self: both))
        lab.start()
        first = in_use(lab)
        assert lab.command(ROTATE).ok
        lab.until(lambda: rotated(lab, first), "the new certificate")
        assert lab.command("ping").ok
        lab.sim.stop()
        assert lab.files()["/data/id/ca.der"] == both
