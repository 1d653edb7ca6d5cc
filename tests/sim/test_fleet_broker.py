"""The fleet against the real mosquitto: who gets in, who is refused, and what is written down."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from outpost.errors import OutpostError
from outpost.fleet.pki import Ca
from outpost.fleet.rollout import Policy, Stage
from outpost.fleet.server import FleetServer
from outpost.signing.ceremony import Ceremony

from tests.fleet_kit import Device, batch, identity, make_release, make_trust, wait_for


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def fleet(tmp_path: Path, ceremony: Ceremony, mosquitto: Path) -> Iterator[FleetServer]:
    with FleetServer(tmp_path / "fleet", trust=ceremony.folder) as server:
        yield server


def join(fleet: FleetServer, folder: Path, name: str) -> Device:
    device = Device(folder, name, fleet.ca)
    cert = fleet.enroll(device.csr(), identity(name))
    device.connect(fleet.broker_port, cert)
    assert device.connected.wait(5)
    return device


def refused(fleet: FleetServer, kind: str) -> list[str]:
    return [event.detail for event in fleet.registry.journal.security(kind=kind)]


def test_certificate_of_another_ca_is_refused_and_logged(fleet, tmp_path):
    stranger_ca = Ca.create(tmp_path / "stranger")
    device = Device(tmp_path, "w-1", fleet.ca)
    with pytest.raises(OSError, match=".*"):
        device.connect(fleet.broker_port, stranger_ca.issue(device.csr(), "w-1"))
        assert not device.connected.wait(1)
        raise OSError("closed by the broker")
    device.close()
    assert wait_for(lambda: refused(fleet, "broker-certificate"))
    assert "certificate verify failed" in refused(fleet, "broker-certificate")[0]
    assert fleet.registry.journal.security()[0].address == "127.0.0.1"


def test_no_certificate_is_refused_and_logged(fleet):
    import ssl

    context = ssl.create_default_context(cadata=fleet.ca.ca_pem.decode())
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", fleet.broker_port)) as raw:
        secure = context.wrap_socket(raw, server_hostname="127.0.0.1")
        secure.sendall(b"\x10\x00")
        if not secure.recv(1):
            raise OSError("closed")
    assert wait_for(
        lambda: any(
            "did not return a certificate" in text for text in refused(fleet, "broker-certificate")
        )
    )


def test_other_devices_topic_is_refused_and_logged(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    victim = join(fleet, tmp_path, "w-2")
    device.publish("v1/w-2/up/status", cbor2.dumps({"on": True, "heap": 666}))
    device.publish("v1/w-1/down/command", b"x")
    assert wait_for(lambda: len(refused(fleet, "broker-publish")) == 2)
    event = fleet.registry.journal.security(kind="broker-publish")[-1]
    assert (event.device, event.detail) == ("w-1", "v1/w-2/up/status")
    device.say("status", {"on": True, "heap": 5})
    assert wait_for(lambda: fleet.registry.devices.get("w-1").heartbeat.get("heap") == 5)
    assert fleet.registry.devices.get("w-2").heartbeat == {}
    device.close()
    victim.close()


def test_foreign_subscription_is_logged_and_gets_nothing(fleet, tmp_path):
    spy, victim = join(fleet, tmp_path, "w-1"), join(fleet, tmp_path, "w-2")
    for topic in ("v1/w-2/down/#", "v1/+/up/#", "#"):
        spy.listen(topic)
    victim.listen("v1/w-2/down/#")
    assert wait_for(lambda: len(refused(fleet, "broker-subscribe")) == 3)
    victim.say("status", {"on": True})
    fleet.send_command("w-2", "ping")
    assert wait_for(lambda: victim.received)
    time.sleep(0.2)
    assert spy.received == []
    spy.close()
    victim.close()


def test_client_id_of_another_device_does_not_take_its_session(fleet, tmp_path):
    victim = join(fleet, tmp_path, "w-2")
    thief = Device(tmp_path, "w-1", fleet.ca)
    thief.connect(fleet.broker_port, fleet.enroll(thief.csr(), identity("w-1")), client_id="w-2")
    assert thief.connected.wait(5)
    victim.say("status", {"on": True, "q": 3})
    assert wait_for(lambda: fleet.registry.devices.get("w-2").heartbeat.get("q") == 3)
    thief.close()
    victim.close()


def test_retired_device_is_cut_off_at_once_and_stays_out(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    device.say("status", {"on": True})
    assert wait_for(lambda: fleet.registry.devices.get("w-1").online)
    fleet.service.retire("w-1")
    again = Device(tmp_path, "w-1", fleet.ca)
    again.key = device.key
    cert = tmp_path / "w-1.crt"
    import ssl

    with pytest.raises(OSError):
        again.connect(fleet.broker_port, ssl.PEM_cert_to_DER_cert(cert.read_text()))
        assert not again.connected.wait(1)
        raise OSError("closed by the broker")
    again.close()
    device.close()
    assert wait_for(lambda: refused(fleet, "broker-certificate"))
    assert not fleet.registry.devices.get("w-1").online


def test_certificate_is_rotated_when_asked_for_and_only_then(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    device.listen("v1/w-1/down/#")
    successor = Device(tmp_path, "w-1", fleet.ca)
    device.say("csr", successor.csr())
    assert wait_for(lambda: refused(fleet, "uninvited-csr"))
    fleet.send_command("w-1", "rotate-certificate")
    device.say("csr", b"nonsense")
    assert wait_for(lambda: refused(fleet, "bad-csr"))
    device.say("csr", successor.csr())
    assert wait_for(lambda: [t for t, _ in device.received if t.endswith("certificate")])
    answer = cbor2.loads(device.received[-1][1])
    assert answer["ca"] == fleet.ca.ca_der
    device.close()
    successor.connect(fleet.broker_port, answer["cert"])
    assert successor.connected.wait(5)
    successor.close()


def test_telemetry_arrives_once_and_the_will_marks_offline(fleet, tmp_path, ceremony):
    fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    device = join(fleet, tmp_path, "w-1")
    now = time.time_ns() // 1_000_000
    for _ in range(2):
        device.say("telemetry", batch(1, 0, [(2150, 101325), (2160, 101300)], now))
    device.say("telemetry", batch(1, 4, [(2170, 101200)], now + 4000))
    assert wait_for(lambda: fleet.registry.telemetry.flow("w-1").received == 3)
    flow = fleet.registry.telemetry.flow("w-1")
    assert (flow.duplicates, flow.lost) == (2, 2)
    latest = fleet.registry.telemetry.latest("w-1")["w-1"]
    assert (latest["temperature"].value, latest["temperature"].unit) == (21.7, "Cel")
    assert fleet.registry.devices.get("w-1").online
    device.drop()
    assert wait_for(lambda: not fleet.registry.devices.get("w-1").online)


def test_malformed_payloads_are_counted_kept_and_shown(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    for payload in (b"", b"\x01", b"\xff<script>alert(1)</script>", b"[1,2]", b"\x81\x01"):
        device.say("telemetry", payload)
    device.say("event", b"\x9f" * 500)
    assert wait_for(lambda: fleet.registry.telemetry.counter("malformed", "w-1") == 6)
    assert len(fleet.registry.journal.rejects("w-1")) == 6
    page = urllib.request.urlopen(fleet.url + "/security").read().decode()
    assert "unknown-format" in page and "<script>alert" not in page
    device.say("status", {"on": True})
    assert wait_for(lambda: fleet.registry.devices.get("w-1").online)
    device.close()


def test_rollout_reaches_canary_then_the_rest(fleet, tmp_path, ceremony):
    one = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    two = fleet.publish(make_release(tmp_path, ceremony, "1.1.0"))
    devices = {name: join(fleet, tmp_path, name) for name in ("w-1", "w-2")}
    for name, device in devices.items():
        device.listen(f"v1/{name}/down/#")
        device.runs(one.digest, "1.0.0")
    assert wait_for(lambda: all(d.version == "1.0.0" for d in fleet.registry.devices.all()))
    rollout = fleet.rollouts.create(
        "weather",
        "1.1.0",
        [Stage("canary", ("w-1",)), Stage("all", percent=100)],
        Policy(soak_s=0, offers_per_minute=6000),
    )
    assert wait_for(lambda: devices["w-1"].received)
    command = cbor2.loads(devices["w-1"].received[0][1])
    assert command["cmd"] == "check-update"
    head = urllib.request.urlopen(f"{fleet.update_url}/heads/w-1.cose").read()
    assert bytes.fromhex(two.digest) in head
    head = urllib.request.urlopen(f"{fleet.update_url}/heads/w-2.cose").read()
    assert bytes.fromhex(one.digest) in head and bytes.fromhex(two.digest) not in head
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{fleet.update_url}/heads/w-3.cose")
    for name in ("w-1", "w-2"):
        assert wait_for(lambda name=name: devices[name].received), name
        for step in ("offered", "downloading", "verified", "installing", "rebooting"):
            devices[name].update(step, two.digest)
        devices[name].runs(two.digest, "1.1.0")
    assert wait_for(lambda: fleet.rollouts.status(rollout)["state"] == "completed")
    assert fleet.rollouts.status(rollout)["counts"] == {"confirmed": 2}
    for device in devices.values():
        device.close()


def test_crashing_release_is_halted_with_its_traceback(fleet, tmp_path, ceremony):
    one = fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    bad = fleet.publish(make_release(tmp_path, ceremony, "1.2.0"))
    devices = {name: join(fleet, tmp_path, name) for name in ("w-1", "w-2")}
    for device in devices.values():
        device.runs(one.digest, "1.0.0")
    assert wait_for(lambda: all(d.version for d in fleet.registry.devices.all()))
    rollout = fleet.rollouts.create(
        "weather",
        "1.2.0",
        [Stage("canary", ("w-1",)), Stage("all", percent=100)],
        Policy(soak_s=0),
    )
    canary = devices["w-1"]
    canary.update("rebooting", bad.digest)
    canary.runs(one.digest, "1.0.0")
    canary.say(
        "event",
        {
            "t": "evidence",
            "boot": 9,
            "seq": 1,
            "b": {
                "version": "1.2.0",
                "digest": bytes.fromhex(bad.digest),
                "cause": "exception",
                "stage": "run",
                "tries": 3,
                "text": "Traceback: ZeroDivisionError <b>",
            },
        },
    )
    assert wait_for(lambda: fleet.rollouts.status(rollout)["state"] == "aborted")
    outcome = {d["id"]: d["state"] for d in fleet.rollouts.status(rollout)["devices"]}
    assert outcome == {"w-1": "rolled_back", "w-2": "skipped"}
    head = fleet.registry.releases.head("w-1")
    assert (head.release, head.sequence) == (one.digest, 3)
    assert fleet.registry.releases.head("w-2").sequence == 1, "never offered the bad one"
    assert wait_for(
        lambda: (
            "ZeroDivisionError &lt;b&gt;"
            in urllib.request.urlopen(f"{fleet.url}/rollouts/{rollout}").read().decode()
        )
    )
    for device in devices.values():
        device.close()


def test_ingest_survives_a_broker_that_dies(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    os.kill(fleet.broker.pid, signal.SIGKILL)
    device.close()
    assert wait_for(lambda: fleet.broker.restarts == 1 and fleet.broker.pid)
    again = Device(tmp_path, "w-1", fleet.ca)
    cert = fleet.enroll(again.csr(), identity("w-1"))

    def connects() -> bool:
        try:
            again.connect(fleet.broker_port, cert)
        except OSError:
            return False
        return again.connected.wait(2)

    assert wait_for(connects)
    again.say("status", {"on": True, "heap": 77})
    assert wait_for(lambda: fleet.registry.devices.get("w-1").heartbeat.get("heap") == 77, 15)
    again.close()


def test_serve_stops_quickly_and_leaves_no_broker(tmp_path, ceremony, mosquitto):
    folder = tmp_path / "fleet"
    with FleetServer(folder, trust=ceremony.folder) as server:
        pid = server.broker.pid
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert wait_for(lambda: not _alive(pid), 5)
    assert not (folder / "running.json").exists()


def test_one_server_at_a_time_runs_on_a_folder(fleet):
    with pytest.raises(OutpostError) as caught:
        FleetServer(fleet.fleet.folder).start()
    assert (caught.value.code, caught.value.exit_code) == ("running", 7)
    assert urllib.request.urlopen(fleet.url).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_broker_dies_with_a_killed_server(tmp_path, ceremony, mosquitto):
    script = (
        "import sys, time, pathlib\nfrom outpost.fleet.server import FleetServer\n"
        "with FleetServer(pathlib.Path(sys.argv[1])) as f:\n"
        " print(f.broker.pid, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "fleet")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    pid = int(child.stdout.readline())
    child.kill()
    child.wait()
    assert wait_for(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"


def test_command_line_talks_to_the_server(fleet, tmp_path):
    device = join(fleet, tmp_path, "w-1")
    device.say("status", {"on": True})
    device.say("telemetry", b'[{"n":"temperature","u":"Cel","v":21.5}]')
    assert wait_for(lambda: fleet.registry.telemetry.latest("w-1"))

    def run(*arguments: str) -> tuple[int, dict]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "outpost.cli.main",
                "--json",
                *arguments,
                "--dir",
                str(fleet.fleet.folder),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    code, listed = run("device", "list")
    assert code == 0 and listed["result"][0]["latest"][0]["value"] == 21.5
    code, shown = run("device", "show", "nobody")
    assert (code, shown["error"]["code"]) == (3, "unknown-device")
    code, done = run("device", "retire", "w-1", "--yes", "--confirm", "w-1")
    assert (code, done["result"]["state"]) == (0, "decommissioned")
    device.close()
