"""product.toml: every mistake is refused with its key and a remedy."""

from pathlib import Path

import pytest
from outpost.build import reference
from outpost.build.product import CALIBRATION, FILTER, RAIL, SENSOR, TABLES, load_product
from outpost.errors import OutpostError

ROOT = Path(__file__).resolve().parents[2]
WEATHER = ROOT / "firmware" / "products" / "weather"


def write(folder: Path, text: str) -> Path:
    (folder / "product.toml").write_text(text)
    return folder


def changed(folder: Path, old: str, new: str) -> Path:
    """The weather product's file with one line changed."""
    text = (WEATHER / "product.toml").read_text()
    assert old in text
    return write(folder, text.replace(old, new, 1))


def test_weather_is_read() -> None:
    product = load_product(WEATHER)
    assert (product.name, product.boards) == ("weather", ("esp32_generic", "rpi_pico_w"))
    assert product.drivers == ("bme280",)
    assert product.tables["health"]["deadline_s"] == 300
    assert product.filters["air_pressure"]["deadband"] == 10.0


def test_version_from_outside() -> None:
    assert load_product(WEATHER, "1.2.3").version == "1.2.3"
    with pytest.raises(OutpostError) as caught:
        load_product(WEATHER, "1.2")
    assert "product.version" in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message", "fix"),
    [
        ("sample_s = 5", "sampel_s = 5", "telemetry.sampel_s", "did you mean sample_s?"),
        ("[outbox]", "[outbocks]", "unknown key outbocks", "did you mean outbox?"),
        ("sample_s = 5", 'sample_s = "5"', "not a whole number", "seconds"),
        ("sample_s = 5", "sample_s = true", "not a whole number", "seconds"),
        ("sample_s = 5", "sample_s = 0", "telemetry.sample_s is 0", "1 to 86400"),
        ('mode = "powered"', 'mode = "solar"', "telemetry.mode", "powered, battery"),
        ('name = "weather"', "", "product.name is missing", "add it"),
        ('name = "weather"', 'name = "We ather"', "product.name", "must match"),
        ('version = "1.0.0"', 'version = "v1"', "product.version", "must match"),
        ("address = 0x76", "address = 0x80", "sensors[0].address", "0 to 127"),
        ("address = 0x76", "adress = 0x76", "sensors[0].adress", "address"),
        ("deadband = 0.05", 'deadband = "x"', "filters.air_temperature.deadband", "channel"),
        ('"rpi_pico_w"', '"esp32_generic"', "names one twice", "once"),
        ("[outbox]", "[power]\ncpu_mhz = -1\n[outbox]", "power.cpu_mhz is -1", "0 to 1000"),
        ("[outbox]", "[power]\ncpu = 80\n[outbox]", "power.cpu", "did you mean cpu_mhz?"),
        (
            "address = 0x76",
            "address = 0x76\noptions = { rail = 21 }",
            "sensors[0].options.rail is 21, not text",
            "a pin",
        ),
        (
            "address = 0x76",
            'address = 0x76\noptions = { rail = "gpio21", warm_ms = 90000 }',
            "sensors[0].options.warm_ms is 90000",
            "0 to 60000",
        ),
        (
            "address = 0x76",
            "address = 0x76\noptions = { warm_ms = 9 }",
            "sensors[0].options.warm_ms without a rail",
            "options.rail",
        ),
        ("[[sensors]]", "[[sensors]]\n[[sensors]]", "sensors[0].name is missing", "add it"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, message: str, fix: str) -> None:
    with pytest.raises(OutpostError) as caught:
        load_product(changed(tmp_path, old, new))
    assert caught.value.exit_code == 2
    assert message in caught.value.message
    assert fix in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name =", "not TOML"),
        ("[product]", "product.name is missing"),
        ("product = 1", "product is not a table"),
        ("", "product.name is missing"),
    ],
)
def test_no_product_at_all(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OutpostError) as caught:
        load_product(write(tmp_path, text))
    assert message in caught.value.message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OutpostError) as caught:
        load_product(tmp_path)
    assert "outpost new" in (caught.value.fix or "")


def test_the_reference_page_has_every_key() -> None:
    page = reference.page()
    for schema in (*TABLES.values(), SENSOR, RAIL, CALIBRATION, FILTER):
        for name, key in schema.items():
            assert f"| `{name}` |" in page and key.about in page, name
