"""The battery product of the tests is built: packs, modules and data files of a release."""

from pathlib import Path

from loader import cbor
from outpost import build

ROOT = Path(__file__).resolve().parents[2]
BATTERY = ROOT / "tests" / "products" / "battery"
WAKE = (
    "node/battery.mpy",
    "node/core/schedule.mpy",
    "node/core/wakestate.mpy",
    "node/drivers/bme280.mpy",
    "node/parts/call.mpy",
    "node/parts/readings.mpy",
)


def test_it_becomes_a_release_with_every_module_of_a_wake(tmp_path: Path) -> None:
    result = build.build(BATTERY, tmp_path, source="test")
    assert [name for name in WAKE if name not in result.modules] == []
    paths = [row[0] for row in cbor.decode(result.payload.read_bytes())["files"]]
    assert "product.cbor" in paths and "schema.cbor" in paths
    settings = cbor.decode((result.folder / "files" / "product.cbor").read_bytes())
    assert settings["telemetry"]["mode"] == "battery"
