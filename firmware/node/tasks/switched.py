"""A sensor whose supply is switched: on and warm before it is asked, off when it has answered.

Wraps a driver and is one itself: until the supply has been on for `warm_ms` its start says
NotReady, which the sense task knows how to wait for. Off means that the driver forgets its chip.
"""

from node.drivers.sensor import NotReady


class Switched:
    """`rail` has take(), give() and age_ms() (hal.rail)."""

    def __init__(self, driver, rail, warm_ms: int) -> None:
        self.CHANNELS = driver.CHANNELS
        self.deadline_ms = driver.deadline_ms + warm_ms
        self._driver = driver
        self._rail = rail
        self._warm_ms = warm_ms
        self._on = False

    @property
    def quality(self):
        return self._driver.quality

    def start(self) -> int:
        if not self._on:
            self._on = True
            self._rail.take()
        if self._rail.age_ms() < self._warm_ms:
            raise NotReady
        return self._driver.start()

    def read_into(self, out) -> None:
        self._driver.read_into(out)  # NotReady: it stays on
        self.reset()

    def reset(self) -> None:
        if self._on:
            self._on = False
            self._rail.give()
        self._driver.reset()
