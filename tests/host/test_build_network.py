"""What of the network's code is in a release: what the product and its boards ask for, no more."""

from pathlib import Path
from typing import Any

import pytest
from outpost.boards import load_board
from outpost.build import configure, release
from outpost.build.product import Product, load_product

from tests.host import signed_build

OPTIONAL = {
    "node.core.mqtt.v5": "mqtt",
    "node.core.portal": "probe",
    "node.hal.ethernet": "wire",
}


def product_of(tmp_path: Path, changed: str, boards: str) -> Product:
    text = (signed_build.WEATHER / "product.toml").read_text()
    text = signed_build.for_boards(text, boards)
    (tmp_path / "product.toml").write_text(text.replace("[outbox]", changed + "\n[outbox]"))
    return load_product(tmp_path)


@pytest.mark.parametrize(
    ("changed", "boards", "asked"),
    [
        ("", '"rpi_pico_w"', set()),
        ('[mqtt]\nversion = "5"', '"rpi_pico_w"', {"mqtt"}),
        ('[network]\nprobe = "http://probe.example/"', '"rpi_pico_w"', {"probe"}),
        ("", '"rpi_pico_w", "w5500_evb_pico"', {"wire"}),
    ],
)
def test_only_what_is_asked_for(tmp_path: Path, changed: str, boards: str, asked: Any) -> None:
    product = product_of(tmp_path, changed, boards)
    left_out = release._never_asked_for(product, [load_board(name) for name in product.boards])
    assert {what for module, what in OPTIONAL.items() if module not in left_out} == asked
    channels = {"air": tuple((name, "1", -2) for name in ("temperature", "humidity", "pressure"))}
    told = configure.product_map(product, channels)
    assert told["mqtt"]["version"] == (5 if "mqtt" in asked else 4)


def test_what_the_node_is_told_of_a_w5500() -> None:
    assert configure.board_map(load_board("w5500_evb_pico"))["ethernet"] == {
        "kind": "w5500",
        "spi": 0,
        "pins": [18, 19, 16],
        "hz": 20_000_000,
        "cs": 17,
        "rst": 20,
        "int": 21,
    }
    assert "ethernet" not in configure.board_map(load_board("rpi_pico_w"))
