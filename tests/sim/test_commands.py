"""Every command, from the fleet's registry to a simulated board and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.fleet_node import ID, Lab, ops_document

pytestmark = [pytest.mark.vm, pytest.mark.broker]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab.start()


def test_ping(lab: Lab) -> None:
    found = lab.command("ping")
    assert found.ok and found.reply["r"]["version"] == "1.0.0"
    assert found.reply["r"]["up"] >= 0


def test_identify_blinks(lab: Lab) -> None:
    assert lab.command("identify", times=2).reply["r"] == {"blinked": 2}
    assert lab.command("identify", times=0).reply["code"] == "bad_argument"


def test_check_update(lab: Lab) -> None:
    assert lab.command("check-update").ok


def test_defer_update(lab: Lab) -> None:
    found = lab.command("defer-update", release=bytes(32).hex(), seconds=60)
    assert found.ok and 0 <= found.reply["r"]["seconds"] <= 60
    assert lab.command("defer-update", release="", seconds=60).reply["code"] == "bad_argument"


def test_log_pull(lab: Lab) -> None:
    found = lab.command("log-pull", bytes=300)
    assert found.ok and 0 < found.reply["r"]["bytes"] <= 300
    text = lab.until(lambda: lab.events("log"), "the log")[0].body["text"]
    assert len(text.encode()) == found.reply["r"]["bytes"]
    assert "command: log-pull" in text
    assert lab.command("log-pull", bytes=0).reply["code"] == "bad_argument"


def test_self_test(lab: Lab) -> None:
    report = lab.command("self-test").reply["r"]
    assert report["flash"] == "" and report["random"] and report["clock"]
    assert report["sensors"] == {"air": ""}
    assert report["heap"] >= report["blk"] > 10_000
    assert report["radio"] < 0


def test_unknown_commands_are_answered(lab: Lab) -> None:
    assert lab.command("dance").reply["code"] == "unknown_command"


def test_an_expired_command_is_not_run(lab: Lab) -> None:
    sent = lab.server.send_command(ID, "ping", {}, ttl_s=-10)
    assert lab.answer(sent).reply["code"] == "expired"


def test_a_command_delivered_twice_runs_once(lab: Lab) -> None:
    from loader import cbor

    commands = lab.server.registry.commands
    sent = lab.command("ping")
    body = {"id": sent.id, "cmd": "ping", "args": {}}
    before = lab.device.last_seen_ms
    lab.server._send(f"v1/{ID}/down/command", cbor.encode(body))
    lab.until(lambda: lab.device.last_seen_ms > before, "a sign of life")
    time.sleep(1)
    assert commands.get(sent.id).reply == sent.reply


def test_heartbeat_has_its_fields(lab: Lab) -> None:
    beat = lab.device.heartbeat
    for key in ("up", "boot", "rst", "heap", "blk", "rssi", "q", "box", "mqtt", "wifi"):
        assert key in beat, key
    assert 10_000 < beat["blk"] <= beat["heap"]


def test_reboot(lab: Lab) -> None:
    before = lab.device.boot
    assert lab.command("reboot").ok
    lab.until(lambda: lab.device.boot == before + 1 and lab.device.online, "the next boot")
    assert lab.device.reset_cause == "planned"
    boot = lab.events("boot")[0]
    assert boot.body["reason"] == "command"


def test_from_the_command_line(lab: Lab, outpost: Any) -> None:
    lab.until(lambda: lab.device.online, "the device")
    folder = ("--dir", str(lab.folder / "fleet"))
    pong = outpost("--json", "device", "command", ID, "ping", "--wait", "20", *folder)
    assert pong.exit_code == 0 and pong.json["result"]["reply"]["ok"]
    pulled = outpost("device", "log", ID, "--level", "info", "--bytes", "400", *folder)
    assert pulled.exit_code == 0 and "command: ping" in pulled.stdout
    outpost("device", "desired", ID, "set", "sample_s=2", "heartbeat_s=5", *folder)
    lab.until(lambda: lab.device.reported["desired"]["seen"] == 1, "the device's report")
    shown = outpost("device", "desired", ID, *folder).stdout
    assert "bounds" in shown and "partly: version 1 wanted, 1 in force" in shown
    cleared = outpost("--json", "device", "desired", ID, "unset", "heartbeat_s", *folder)
    assert cleared.json["result"]["version"] == 2
    wrong = outpost("--json", "device", "desired", ID, "set", "sample_s=fast", *folder)
    assert wrong.exit_code == 2
    document = lab.folder / "other.cose"
    document.write_bytes(ops_document("wipe", "cli-1", device="weather-2"))
    sure = ("--ops", str(document), "--yes", "--confirm", ID)
    refused = outpost("--json", "device", "command", ID, "wipe", *sure, *folder)
    assert (refused.exit_code, refused.json["error"]["code"]) == (5, "ops-device")
    unsigned = outpost("--json", "device", "command", ID, "wipe", *folder)
    assert (unsigned.exit_code, unsigned.json["error"]["code"]) == (9, "ops-missing")


def test_in_the_memory_of_a_pico_w(tmp_path: Path) -> None:
    """What is loaded for an occasion fits beside the node: the heap is the chip's own."""
    with Lab(tmp_path, "rpi_pico_w", heap=None) as lab:
        lab.start()
        for verb in ("ping", "self-test", "log-pull"):
            assert lab.command(verb, 60).ok, verb
        lab.server.service.desire(ID, {"sample_s": 3})
        lab.until(lambda: lab.device.reported["desired"]["v"] == 1, "the settings")
        first = lab.device.reported["cert"]
        assert lab.command("rotate-certificate", 60).ok
        lab.until(lambda: lab.device.reported["cert"] != first, "the new certificate", 90)
        # a wipe wants 3 kB in one piece, which a heap that has done all this may not have: the
        # runbook sends a reboot first
        boots = boots_of(lab)
        assert lab.command("reboot", 60).ok
        lab.until(lambda: boots_of(lab) > boots and lab.device.online, "the board after it", 60)
        document = ops_document("wipe", "end")
        assert lab.answer(lab.server.service.send_signed(ID, "wipe", document).id, 90).ok


def boots_of(lab: Lab) -> int:
    events = lab.server.registry.journal.events(ID)
    return sum(event.type == "boot" for event in events)
