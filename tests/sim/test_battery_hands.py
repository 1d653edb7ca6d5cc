"""Commands, settings, certificates and the end of life of a device that sleeps in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from node.core import csr

from tests.sim.fleet_node import ID, Lab, ops_document

pytestmark = [pytest.mark.vm, pytest.mark.broker]


def test_a_sleeping_device_does_as_it_is_told(tmp_path: Path) -> None:
    with Lab(tmp_path, mode="battery", heap=None) as lab:
        lab.start()
        # The first call has more to say, those after it more to publish.
        lab.until(lambda: lab.lines[-1].startswith("reading 1 2"), "the first sleep", 60)
        assert lab.command("ping", 60).ok
        settings(lab)
        rotation(lab)
        secret = csr.private_of(lab.files()["/data/id/key.der"])
        document = ops_document("decommission", "end")
        sent = lab.server.service.send_signed(ID, "decommission", document)
        assert lab.answer(sent.id, 200).ok
        lab.until(lambda: lab.device.state == "decommissioned", "the receipt", 90)
        lab.until(lambda: any("not provisioned" in line for line in lab.lines), "the blank device")
        lab.sim.stop()
        flash = lab.flash.read_bytes()
        assert secret[:16] not in flash and secret[16:] not in flash


def settings(lab: Lab) -> None:
    lab.server.service.desire(ID, {"sample_s": 2, "power.connect_every": 2000})
    told = lab.until(
        lambda: lab.device.reported.get("desired", {}).get("seen") and lab.device.reported,
        "the settings",
        60,
    )["desired"]
    assert told["set"] == {"sample_s": 2}
    assert told["rejected"] == {"power.connect_every": "bounds"}


def rotation(lab: Lab) -> None:
    first = lab.device.reported["cert"]
    assert lab.command("rotate-certificate", 60).ok
    lab.until(lambda: lab.device.reported["cert"] != first, "the new certificate", 60)
    lab.until(lambda: len(lab.server.ca.revoked()) == 1, "the end of the old one", 60)
    assert lab.command("ping", 60).ok


def test_all_of_it_in_96_kilobytes(tmp_path: Path) -> None:
    """Less than an ESP32 gives it: connected by TLS, publishing, told what to do."""
    with Lab(tmp_path, mode="battery", heap=96 * 1024) as lab:
        lab.start()
        assert lab.command("ping", 60).ok
        series = lab.server.registry.telemetry.series
        span = (0, 1 << 52)
        assert lab.until(lambda: len(series(ID, "air_temperature", span)) > 5, "readings", 60)
        assert not any("MemoryError" in line or "no memory" in line for line in lab.lines)
