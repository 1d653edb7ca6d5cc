"""Releases: reproducible, complete, and nothing in them that is not needed."""

import hashlib
import json
import shutil
import zlib
from pathlib import Path

import pytest
from loader import cbor, layout, trust
from node.core import config, record
from outpost import build
from outpost.build import compile as compiling
from outpost.build import release
from outpost.build.scaffold import scaffold
from outpost.errors import OutpostError

from tests.host import signed_build


def tree(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256(data).hexdigest() for name, data in release.read_tree(folder).items()
    }


@pytest.fixture(scope="module")
def weather() -> signed_build.SignedBuild:
    return signed_build.weather()


@pytest.mark.afresh
def test_the_same_bytes_from_another_folder(
    tmp_path: Path, weather: signed_build.SignedBuild
) -> None:
    elsewhere = tmp_path / "a folder" / "deeper"
    shutil.copytree(signed_build.ROOT / "firmware", elsewhere / "firmware")
    options = release.BuildOptions(firmware=elsewhere / "firmware", source="test")
    again = release.build(elsewhere / "firmware/products/weather", tmp_path / "out", options)
    assert again.digest == weather.result.digest
    first, second = tree(weather.result.folder), tree(again.folder)
    assert second and {name: first[name] for name in second} == second


def test_no_path_of_this_machine_is_in_it(weather: signed_build.SignedBuild) -> None:
    for name, data in release.read_tree(weather.result.folder / "files").items():
        assert str(signed_build.ROOT).encode() not in data, name
        assert b"/tmp" not in data, name


def test_the_payload_is_what_a_device_parses(weather: signed_build.SignedBuild) -> None:
    parsed = trust.parse_release(weather.result.payload.read_bytes())
    assert parsed["digest"].hex() == weather.result.digest
    assert (parsed["product"], parsed["version"], parsed["source"]) == ("weather", "1.0.0", "test")
    assert set(parsed["boards"]) == {"esp32_generic", "rpi_pico_w"}
    assert parsed["chips"] == ["esp32", "rp2040"]
    assert (parsed["mpy"], parsed["micropython"]) == (6, [1, 25, 0])
    listed = {path: (size, digest) for path, size, digest in parsed["files"]}
    files = release.read_tree(weather.result.folder / "files")
    assert listed == {n: (len(d), hashlib.sha256(d).digest()) for n, d in files.items()}
    assert (
        parsed["sbom"]
        == hashlib.sha256((weather.result.folder / "sbom.json").read_bytes()).digest()
    )


def test_every_file_is_a_blob(weather: signed_build.SignedBuild) -> None:
    files = release.read_tree(weather.result.folder / "files")
    blobs = release.read_tree(weather.result.folder / "blobs")
    assert {hashlib.sha256(data).hexdigest() for data in files.values()} == set(blobs)
    for name, data in blobs.items():
        assert hashlib.sha256(zlib.decompress(data)).hexdigest() == name
        assert 10 <= (data[0] >> 4) + 8 <= 12  # the window a device can afford


def test_only_named_drivers_and_reachable_modules(weather: signed_build.SignedBuild) -> None:
    files = release.read_tree(weather.result.folder / "files")
    modules = release.read_build(weather.result.folder)["modules"]
    drivers = {name for name in modules if name.startswith("node/drivers/")}
    assert drivers == {f"node/drivers/{name}.mpy" for name in ("bme280", "bosch", "sensor")}
    assert layout.ENTRY in files
    assert not [name for name in files if name.endswith(".py")]


def test_schema_and_configuration(weather: signed_build.SignedBuild) -> None:
    files = release.read_tree(weather.result.folder / "files")
    product = config.parse(files["product.cbor"])
    assert (product.sensors[0].driver, product.sensors[0].address) == ("bme280", 0x76)
    columns = record.read_schema(files["schema.cbor"])
    assert [name for name, _, _ in columns] == ["air_temperature", "air_humidity", "air_pressure"]
    exponent = {name: scale for name, _, scale in columns}["air_temperature"]
    assert product.filters["air_temperature"].deadband == round(0.05 * 10**-exponent)
    assert cbor.decode(files["board-rpi_pico_w.cbor"])["buses"]["i2c0"] == [5, 4]


def test_one_changed_module_is_one_changed_file(
    tmp_path: Path, weather: signed_build.SignedBuild
) -> None:
    overlay = tmp_path / "overlay" / "node" / "core"
    overlay.mkdir(parents=True)
    source = (signed_build.ROOT / "firmware/node/core/log.py").read_text()
    (overlay / "log.py").write_text(source + "\nADDED = 1\n")
    second = build.build(signed_build.WEATHER, tmp_path, "1.1.0", tmp_path / "overlay", "test")
    first = tree(weather.result.folder / "files")
    now = tree(second.folder / "files")
    assert {name for name in now if now[name] != first.get(name)} == {"node/core.pack"}
    assert set(first) == set(now)
    assert second.digest != weather.result.digest
    assert trust.parse_release(second.payload.read_bytes())["version"] == "1.1.0"


def test_more_files_than_a_device_takes_are_refused(tmp_path: Path) -> None:
    assert trust._MAX_FILES == release.MOST_FILES
    (tmp_path / "overlay").mkdir()
    for number in range(release.MOST_FILES):
        (tmp_path / "overlay" / f"table{number}.bin").write_bytes(b"1")
    with pytest.raises(OutpostError) as caught:
        build.build(signed_build.WEATHER, tmp_path, overlay=tmp_path / "overlay", source="test")
    assert caught.value.code == "too-many-files"
    assert not (tmp_path / "weather-1.0.0").exists()


def test_overlay_data_is_shipped_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "model.bin").write_bytes(b"weights")
    built = build.build(signed_build.WEATHER, tmp_path / "out", overlay=tmp_path / "overlay")
    assert (built.folder / "files" / "model.bin").read_bytes() == b"weights"


def test_the_bill_of_materials(weather: signed_build.SignedBuild) -> None:
    bill = json.loads((weather.result.folder / "sbom.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    names = {component["name"] for component in bill["components"]}
    assert {"node/main.mpy", "outpost/loader/trust.mpy", "boot.py"} <= names
    refs = [component["bom-ref"] for component in bill["components"]]
    assert len(refs) == len(set(refs))


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text("x = (\n")
    with pytest.raises(OutpostError) as caught:
        compiling.compile_source(source, "node/broken.py", 2)
    assert caught.value.code == "compile"
    assert "node/broken.py" in caught.value.message


def test_a_syntax_error_in_an_overlay_names_it(tmp_path: Path) -> None:
    target = tmp_path / "over" / "node" / "core" / "health.py"
    target.parent.mkdir(parents=True)
    target.write_text("a = 1\nb = (\n")
    with pytest.raises(OutpostError) as caught:
        build.build(signed_build.WEATHER, tmp_path / "out", overlay=tmp_path / "over")
    assert caught.value.code == "compile"
    assert "node/core/health.py does not compile: line 2" in caught.value.message


def test_an_unknown_driver_is_named(tmp_path: Path) -> None:
    scaffold(tmp_path, "thing", ("esp32_generic",))
    path = tmp_path / "product.toml"
    path.write_text(path.read_text().replace('"bme280"', '"bme28"'))
    with pytest.raises(OutpostError) as caught:
        build.build(tmp_path, tmp_path / "out")
    assert (caught.value.code, caught.value.exit_code) == ("driver-unknown", 2)
    assert "bme280" in (caught.value.fix or "")


def test_a_bus_the_board_lacks(tmp_path: Path) -> None:
    scaffold(tmp_path, "thing", ("esp32_generic", "rpi_pico_w"))
    path = tmp_path / "product.toml"
    path.write_text(path.read_text().replace('"i2c0"', '"uart2"'))
    with pytest.raises(OutpostError) as caught:
        build.build(tmp_path, tmp_path / "out")
    assert "rpi_pico_w has no bus uart2" in caught.value.message


def test_a_filter_for_no_channel(tmp_path: Path) -> None:
    scaffold(tmp_path, "thing", ("esp32_generic",))
    path = tmp_path / "product.toml"
    path.write_text(path.read_text() + "[filters.air_temprature]\ndeadband = 0.1\n")
    with pytest.raises(OutpostError) as caught:
        build.build(tmp_path, tmp_path / "out")
    assert "did you mean air_temperature?" in (caught.value.fix or "")


def test_a_deadband_below_the_step(tmp_path: Path) -> None:
    scaffold(tmp_path, "thing", ("esp32_generic",))
    path = tmp_path / "product.toml"
    path.write_text(path.read_text() + "[filters.air_temperature]\ndeadband = 0.000001\n")
    with pytest.raises(OutpostError) as caught:
        build.build(tmp_path, tmp_path / "out")
    assert "rounds to nothing" in caught.value.message


def test_a_new_product_with_its_own_driver_builds(tmp_path: Path) -> None:
    scaffold(tmp_path / "thing", "thing", ("rpi_pico_w",), "dial")
    built = build.build(tmp_path / "thing", tmp_path / "out")
    files = release.read_tree(built.folder / "files")
    assert "node/drivers/dial.mpy" in built.modules
    assert "node/drivers/bme280.mpy" not in built.modules
    assert record.read_schema(files["schema.cbor"]) == [("air_level", "/", -2)]


def test_a_folder_that_is_no_build_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "weather-1.0.0"
    mine.mkdir()
    (mine / "letter.txt").write_text("keep me")
    with pytest.raises(OutpostError) as caught:
        build.build(signed_build.WEATHER, tmp_path)
    assert caught.value.code == "not-a-build"
    assert (mine / "letter.txt").read_text() == "keep me"
