"""Finds the drivers of a product's sensors and makes their stations. Needed once, at the start."""

from node.drivers.sensor import channels, module_of
from node.tasks.sense import Station


def open_stations(product, buses):
    """Stations for all sensors of a ProductConfig; `buses` maps names to hal buses. No I/O.

    The empty name stands for the wiring itself: a part on pins of its own (ADC, HX711) takes them
    from it by `config.pin` and `config.options`. The options "rail" (a pin that switches the
    supply) and "warm_ms" are not the driver's.
    """
    stations = []
    for config in product.sensors:
        bus = buses[config.bus]
        driver = module_of(config.driver).Driver(bus, config)
        if "rail" in config.options:
            from node.tasks.switched import Switched

            rail = buses[""].rail(config.options["rail"])
            driver = Switched(driver, rail, config.options.get("warm_ms", 0))
        stations.append(Station(config.name, driver, bus))
    return stations


def columns_of(product):
    """The drivers' channels, sensor by sensor: what Sampler and schema_fields take."""
    return [channels(config) for config in product.sensors]
