"""How a sleeping node joins its network: by the access point of the last time, and with an address
of its own instead of DHCP's. What that saves is what the board's data say."""

import shutil
from dataclasses import dataclass

import pytest
from loader import cbor
from outpost.boards import load_board
from outpost.build.volume import format_image
from outpost.sim.scenario import Scenario

from tests.month_kit import BATTERY_PRODUCT, Field
from tests.sim.whole_node import files_of

pytestmark = [pytest.mark.vm, pytest.mark.broker]
_SCAN_MS = 1500
_STEP_MS = 40  # how late a node may notice that it has joined
_STATIC = ["192.168.4.77", "255.255.255.0", "192.168.4.1", "192.168.4.1"]
_HOURS = Scenario(days=1.8 / 24)
_DEVICE = "/data/device.cbor"


@dataclass(frozen=True)
class Stay:
    """Some wakes in the field, and the connections among them."""

    wakes: int
    joins: int
    connecting_ms: int
    awake_ms: int
    cached: dict


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    product = folder / "product"
    shutil.copytree(BATTERY_PRODUCT, product)
    recipe = product / "product.toml"
    text = recipe.read_text().replace("target_days = 1000", "target_days = 0")
    recipe.write_text(text.replace("publish_s = 21600", "publish_s = 1"))
    with Field(folder, product=product) as opened:
        yield opened


@pytest.fixture(scope="module", params=["esp32_generic", "rpi_pico_w"])
def stays(request, field):
    """The same board for a while with an address from DHCP, and with one of its own."""
    flash, _ = field.provisioned(request.param)
    files = files_of(request.param, flash)
    settings = cbor.decode(files[_DEVICE])
    found = {"dhcp": stay(field, request.param, files)}
    settings["wifi"][0]["static"] = _STATIC
    found["static"] = stay(field, request.param, {**files, _DEVICE: cbor.encode(settings)})
    return load_board(request.param), found


def stay(field, board, files):
    """Time awake and joining of a board that begins with these files."""
    image = field.folder / f"{board}.stay.img"
    image.write_bytes(format_image(load_board(board), files))
    sim, taken = field.run(board, image, _HOURS, 120)
    lines = list(sim.lines)
    assert not [line for line in lines if "no delivery" in line]
    joins = sum("wifi: joined" in line for line in lines)
    cached = cbor.decode(files_of(board, image)["/data/ap.cbor"])
    time_ms = sim.meter.time_ms
    return Stay(len(taken.rows), joins, time_ms["radio_connecting"], time_ms["active"], cached)


def test_only_the_first_wake_scans_and_the_others_know_the_access_point(stays):
    """Without the access point's address a join takes half as long again (sim.chip.radio)."""
    board, found = stays
    joins = (("dhcp", board.chip.radio.join_ms), ("static", board.chip.radio.join_static_ms))
    for name, join_ms in joins:
        spent = found[name]  # the first join knows the address too: from the scan
        assert spent.joins >= 3
        late_ms = spent.connecting_ms - _SCAN_MS - spent.joins * (join_ms * 2 // 3)
        assert 0 <= late_ms <= spent.joins * _STEP_MS, (name, late_ms)
        assert spent.cached == {"ssid": "sim", "bssid": b"\x02\0\0\0\0\1", "ch": 6}


def test_an_address_of_its_own_shortens_every_wake(stays):
    board, found = stays
    radio, dhcp, static = board.chip.radio, found["dhcp"], found["static"]
    assert (dhcp.wakes, dhcp.joins) == (static.wakes, static.joins)
    saved_ms = radio.join_ms * 2 // 3 - radio.join_static_ms * 2 // 3
    shorter_ms = (dhcp.connecting_ms - static.connecting_ms) / dhcp.joins
    assert abs(shorter_ms - saved_ms) <= _STEP_MS
    # The wake as a whole also holds what real answers took, which differs by a busy machine.
    assert (dhcp.awake_ms - static.awake_ms) / dhcp.joins > saved_ms / 2
