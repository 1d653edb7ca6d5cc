"""Who signs a unit's certificate: a fleet, which also enters it in its registry, or a CA alone.

Owns nothing; adapts outpost.fleet to the port the station's steps use. Opened for each certificate
and closed again: a station works for days beside a running server.
"""

from pathlib import Path

from outpost.factory.journal import Unit
from outpost.fleet.fleet import Fleet
from outpost.fleet.pki import Ca
from outpost.fleet.registry.devices import Identity


class FleetAuthority:
    """Issues through the fleet in `folder`: its registry knows the device at once."""

    def __init__(self, folder: Path, actor: str) -> None:
        self._folder = folder
        self._actor = actor or "station"
        self.ca_der = Ca.open(folder / "ca").ca_der

    def issue(self, csr_der: bytes, unit: Unit) -> bytes:
        assert unit.device_id is not None
        identity = Identity(unit.device_id, unit.product, unit.board, unit.uid)
        with Fleet.open(self._folder) as fleet:
            return fleet.enroll(csr_der, identity, self._actor)


class CaAuthority:
    """Issues from the CA in `folder`; the fleet learns of the device from the journal's export."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_der = Ca.open(folder).ca_der

    def issue(self, csr_der: bytes, unit: Unit) -> bytes:
        assert unit.device_id is not None
        return Ca.open(self._folder).issue(csr_der, unit.device_id)


def open_authority(folder: Path, actor: str = "") -> FleetAuthority | CaAuthority:
    """The fleet in `folder`, or, when it is no fleet's folder, the CA in it."""
    if (folder / "fleet.json").exists():
        return FleetAuthority(folder, actor)
    return CaAuthority(folder)
