"""`outpost new`: a product's folder that builds as it is.

Owns the template. What it writes is checked by building it in a test, so it cannot fall behind the
schema.
"""

from pathlib import Path

from outpost.boards import load_board
from outpost.build.modes import holds_powered
from outpost.build.product import FILE, NAME
from outpost.errors import ExitCode, OutpostError

_PRODUCT = """\
# What `outpost build` makes of this folder. docs/reference/product.md explains every key.

[product]
name = "{name}"
version = "0.1.0"
boards = [{boards}]

{own}[telemetry]
sample_s = 60
publish_s = 300

[[sensors]]
name = "air"
driver = "{driver}"
{wiring}
"""

# What does not have the memory to keep everything running at once.
_SLEEPS = """\
[boards.{board}]
mode = "battery"

"""

_DRIVER = '''\
"""{name}: replace this with what the part measures, and name its datasheet's revision."""

from node.drivers.sensor import Sensor

CHANNELS = (("level", "/", -2),)  # name, SenML unit, decimal exponent of the integers below
_READY_MS = 10
_VALUE = 0x00  # register name as in the datasheet


class Driver(Sensor):
    CHANNELS = CHANNELS
    ADDRESS = 0x40

    def start(self) -> int:
        return _READY_MS

    def read_into(self, out: "list[int]") -> None:
        out[0] = self._read_byte(_VALUE)
'''


def scaffold(folder: Path, name: str, boards: tuple[str, ...], driver: str = "") -> list[Path]:
    """Write the files of a new product; with `driver`, a driver of its own to fill in."""
    if not NAME.fullmatch(name):
        fix = f"use {NAME.pattern}"
        raise OutpostError(
            "product-name", f"{name!r} cannot be a product's name", fix, ExitCode.USAGE
        )
    if (folder / FILE).exists():
        message = f"{folder} already holds a product"
        raise OutpostError(
            "product-exists", message, "choose another folder", ExitCode.ALREADY_DONE
        )
    wiring = 'bus = "i2c0"' + ("" if driver else "\naddress = 0x76")
    text = _PRODUCT.format(
        name=name,
        boards=", ".join(f'"{board}"' for board in boards),
        own="".join(
            _SLEEPS.format(board=board) for board in boards if not holds_powered(load_board(board))
        ),
        driver=driver or "bme280",
        wiring=wiring,
    )
    files = {folder / FILE: text}
    if driver:
        if not NAME.fullmatch(driver):
            fix = f"use {NAME.pattern}"
            raise OutpostError(
                "driver-name", f"{driver!r} cannot be a driver's name", fix, ExitCode.USAGE
            )
        files[folder / "drivers" / f"{driver}.py"] = _DRIVER.format(name=driver)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return list(files)
