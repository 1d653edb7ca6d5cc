"""What a device finds when it looks at itself: for the factory, and on command.

A report is a map: heap and blk (bytes free, and in one piece), flash_free (bytes) and flash ("" or
what went wrong with a file written and read back), random and clock (whether they work), radio
(dBm, or the number of networks heard at the factory; None: no radio), sensors {name: "" or why
there was no reading}.
"""

import gc
import os
import time

from node.core import quality
from node.parts.facts import largest_block

_SCRATCH = "/data/scratch"
_CLOCK_MS = 50


def of_node(node) -> dict:
    """A running node: its sensors as of their last round."""
    report = _machine(node.storage)
    report["clock"] = node.unix_s() is not None
    report["radio"] = node.station.rssi()
    sense = getattr(node, "sense", None)
    stations = sense.stations if sense is not None else []
    report["sensors"] = {station.name: _said(station.code) for station in stations}
    return report


def of_factory(slot: str, board_name: str) -> dict:
    """A board on the bench, at the REPL: the sensors of its product are asked once."""
    from node.core.config import parse
    from node.hal import board
    from node.hal.storage import Storage
    from node.tasks.stations import open_stations

    storage = Storage()
    report = _machine(storage)
    wiring = board.load("%s/board-%s.cbor" % (slot, board_name))
    product = parse(storage.read(slot + "/product.cbor"))
    buses = {"": wiring}
    for sensor in product.sensors:
        buses[sensor.bus] = wiring.bus(sensor.bus) if sensor.bus else wiring
    stations = open_stations(product, buses)
    report["sensors"] = {station.name: _ask(station) for station in stations}
    report["clock"] = _clock_runs()
    report["radio"] = _networks()
    return report


def _machine(storage) -> dict:
    report = {"blk": largest_block(), "flash": "", "flash_free": storage.free_bytes()}
    gc.collect()
    report["heap"] = gc.mem_free()
    first, second = os.urandom(32), os.urandom(32)
    report["random"] = first != second and len(set(first)) > 4
    try:
        storage.write_atomic(_SCRATCH, first + second)
        if storage.read(_SCRATCH) != first + second:
            report["flash"] = "differs"
        storage.remove(_SCRATCH)
    except OSError as error:
        report["flash"] = repr(error)
    return report


def _said(code: int) -> str:
    return "" if quality.has_value(code) else quality.name(code)


def _ask(station) -> str:
    """One reading, without the patience of the sense task."""
    from node.drivers.sensor import NotReady, SensorError
    from node.tasks.sense import code_of

    driver = station.driver
    left_ms = driver.deadline_ms
    begun = False
    while True:
        try:
            if not begun:
                time.sleep_ms(driver.start())
                begun = True
            driver.read_into(station.out)
            return ""
        except NotReady as error:
            if left_ms <= 0:
                return quality.name(error.code)
        except (OSError, SensorError) as error:
            return quality.name(code_of(error))
        time.sleep_ms(10)
        left_ms -= 10


def _clock_runs() -> bool:
    """A wait is never too short. What is done beside it may make one longer, but not three."""
    for _ in range(3):
        began = time.ticks_ms()
        time.sleep_ms(_CLOCK_MS)
        waited_ms = time.ticks_diff(time.ticks_ms(), began)
        if waited_ms < 4 * _CLOCK_MS:
            return waited_ms >= _CLOCK_MS
    return False


def _networks():
    """How many access points are heard; None where there is no radio."""
    try:
        import network

        radio = network.WLAN(network.STA_IF)
    except (ImportError, AttributeError, OSError):
        return None
    try:
        radio.active(True)
        return len(radio.scan())
    except OSError:
        return 0
    finally:
        radio.active(False)
