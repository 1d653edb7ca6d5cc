"""The whole node and its network: what board data, product and settings say reaches the chip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sim.mqtt_harness import Broker, wait_until
from tests.sim.whole_node import Workshop, settings_for

pytestmark = [pytest.mark.vm, pytest.mark.broker]
WIRED = ("esp32_w5500", "w5500_evb_pico")


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("wired"), boards=WIRED)


@pytest.fixture
def broker(wired: Workshop) -> Iterator[Broker]:
    with wired.broker() as broker:
        yield broker


def connected(broker: Broker, times: int = 1) -> bool:
    return broker.log.count("as dev-1 (p") >= times


@pytest.mark.parametrize("name", WIRED)
def test_a_wired_node_connects_and_survives_its_cable(
    wired: Workshop, broker: Broker, name: str
) -> None:
    with wired.make(name, settings_for(broker.port), heap=400_000) as board:
        board.wait_for("line:ethernet: up", timeout=40)
        wait_until(lambda: connected(broker), 30)
        board.world["eth.up"] = 0
        board.wait_for("line:wifi: link lost", timeout=20)
        board.world["eth.up"] = 1
        board.wait_for("line:ethernet: up", timeout=20)
        wait_until(lambda: connected(broker, 2), 30)
