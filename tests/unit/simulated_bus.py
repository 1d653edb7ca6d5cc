"""For the driver tests: a simulated chip's model on a bus with the API of `machine`, and a clock.

The VM finds the models as the package `chip` (as on a simulated board), CPython inside
`outpost.sim`.
"""

try:
    from chip import bus

    _MODELS = "chip.sensors."
except ImportError:
    from outpost.sim.chip import bus

    _MODELS = "outpost.sim.chip.sensors."

from node.core.config import SensorConfig
from node.drivers.sensor import NotReady, SensorError, module_of

ENODEV = 19


def sensor_config(driver, **more):
    raw = {"name": "s", "driver": driver}
    raw.update(more)
    return SensorConfig(raw)


class Bench:
    """One model and what it sees: `world` (names without the part's), `now_ms`."""

    def __init__(self, model, **config):
        self.world = {}
        self.now_ms = 1000
        around = bus.Surroundings(self._get, lambda: self.now_ms)
        config["model"] = model
        module = __import__(_MODELS + model, None, None, ("Part",))
        self.part = module.Part(around, config)
        self.module = module

    def _get(self, name, default=0):
        return self.world.get(name.split(".", 1)[1], default)

    def read(self, driver):
        """Start, wait, read, asking again until the deadline: what the sense task does."""
        out = [None] * len(driver.CHANNELS)
        began = self.now_ms
        self.now_ms += driver.start()
        while True:
            try:
                driver.read_into(out)
                return out
            except NotReady:
                if self.now_ms - began >= driver.deadline_ms:
                    raise
                self.now_ms += 5

    def code(self, driver):
        """The quality code with which a reading fails; 0 when it does not."""
        try:
            self.read(driver)
        except SensorError as error:
            return error.code
        return 0


class DriverRig:
    """A driver and its part on a bus, made anew for each test: to inherit from, with
    wire_faults.WireFaults, whose `outcome` and `good_again` it uses. `DRIVER` is its name."""

    DRIVER = ""

    def rig(self, part=None, **config):
        self.bench = Bench(self.DRIVER, **(part or {}))
        self.i2c = I2C(self.bench)
        driver = module_of(self.DRIVER)
        self.driver = driver.Driver(self.i2c, sensor_config(self.DRIVER, **config))

    def setUp(self):
        self.rig()

    def check(self, *faults):
        """Each fault of the part gives its quality code, and is forgotten when it is over."""
        for fault, code in faults:
            self.bench.world["fault"] = fault
            self.assertEqual(self.outcome(), code)
            self.good_again()


class I2C:
    """machine.I2C over the models' bus."""

    def __init__(self, *benches):
        self._bus = bus.I2cBus()
        for bench in benches:
            self._bus.add(bench.part)
        self.lines = self._bus

    def _do(self, action, *args):
        try:
            return action(*args)
        except bus.Nak:
            raise OSError(ENODEV, "no acknowledge")

    def readfrom_into(self, address, buffer):
        buffer[:] = self._do(self._bus.read, address, len(buffer))

    def readfrom_mem_into(self, address, register, buffer):
        self._do(self._bus.write, address, bytes([register]))
        self.readfrom_into(address, buffer)

    def writeto(self, address, data):
        self._do(self._bus.write, address, bytes(data))

    def writeto_mem(self, address, register, data):
        self._do(self._bus.write, address, bytes([register]) + bytes(data))
