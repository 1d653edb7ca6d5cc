"""The story: from an empty folder to a fleet that updates itself, and survives what goes wrong.

Nothing here is scripted on the boards: they run the release that was built, from the littlefs
image that was made, against the broker that was started. Each step ends by reading the registry.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpost.demo.narrator import Line, Narrator
from outpost.demo.weather import Climate, Weather
from outpost.errors import OutpostError
from outpost.paths import project_root

if TYPE_CHECKING:
    from outpost.build.release import BuildResult
    from outpost.fleet.registry import Device, Event
    from outpost.fleet.server import FleetServer
    from outpost.fleet.sntp import SntpServer
    from outpost.signing import Ceremony
    from outpost.sim import SimBoard

PRODUCT = "weather"
BOARDS = ("rpi_pico_w", "rpi_pico_w", "rpi_pico_w")
_CLIMATES = (Climate(21.4, 48, 1013.2), Climate(4.2, 83, 1009.8), Climate(31.9, 22, 1002.4))
# The product's own pace is for years on a wall; a story has seconds.
_PACE = {"sample_s": 1, "publish_s": 2, "heartbeat_s": 10, "deadline_s": 40}
_LIMIT_S = 45.0
_LAST_LINES = 12
_CUT_AT_OP = 12  # well inside the download of the changed module


@dataclass
class Station:
    """One simulated board, and who it became."""

    number: int
    board: str
    sim: SimBoard
    device_id: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.device_id or f"board {self.number}"


class Story:
    """Plays the steps in `folder`. `tell` gets each line; the fleet stays up until `close`."""

    def __init__(self, folder: Path, tell: Callable[[Line], None]) -> None:
        self.folder = folder
        self.n = Narrator(tell)
        self.stations: list[Station] = []
        self._server: FleetServer | None = None
        self._weather = Weather()
        self._clock: SntpServer | None = None
        self._ceremony: Ceremony | None = None

    # --- the whole of it

    def play(self) -> None:
        """All steps. Raises OutpostError when one does not come out as told."""
        try:
            self._steps()
        except OutpostError:
            self._last_words()
            raise

    def _steps(self) -> None:
        self._trust_and_fleet()
        self._first_release()
        self._provision()
        self._telemetry()
        self._good_update()
        self._bad_update()
        self._power_cut()
        self._the_page()

    def _last_words(self) -> None:
        """What the boards said last: the first question after a failure."""
        for station in self.stations:
            for line in station.log[-_LAST_LINES:]:
                self.n.board(station.name, line)

    def close(self) -> None:
        """Switch everything off; no process of the story is left."""
        self._weather.close()
        for station in self.stations:
            station.sim.stop()
        if self._server is not None:
            self._server.stop()
        if self._clock is not None:
            self._clock.close()

    @property
    def server(self) -> FleetServer:
        assert self._server is not None
        return self._server

    @property
    def ceremony(self) -> Ceremony:
        assert self._ceremony is not None
        return self._ceremony

    # --- the steps

    def _trust_and_fleet(self) -> None:
        from outpost.fleet.server import FleetServer
        from outpost.fleet.sntp import SntpServer
        from outpost.signing import Ceremony

        with self.n.step("Trust: root keys 2 of 3, release key, head key; a fleet with its own CA"):
            self._ceremony = Ceremony.create(
                self.folder / "trust", threshold=2, root_keys=3, plain=True
            )
            self._server = FleetServer(self.folder / "fleet", trust=self.folder / "trust")
            self._server.start()
            self._clock = SntpServer()
            self._clock.start()
            self._weather.start()
            self.n.say(f"mosquitto with mutual TLS on port {self.server.broker_port}")
            self.n.say(f"web page, API and update repository at {self.server.url}")
            self.n.check(self.server.fleet.root_version == 1, "the fleet trusts root 1")
            self.n.check(self.server.registry.devices.all() == [], "no device is registered yet")

    def _first_release(self) -> None:
        from outpost import build

        with self.n.step("Build and sign weather 1.0.0; factory images for two kinds of board"):
            result = self._release("1.0.0")
            self.n.say(f"{result.files} files, {result.bytes:,} bytes, digest {result.digest[:12]}")
            for board in sorted(set(BOARDS)):
                image = build.factory_image(result.folder, board, self.ceremony.root_path(1))
                self.n.say(f"{board}: {image.stat().st_size // 1024} KiB of littlefs, as it is on flash")
            stored = self.server.registry.releases.by_version(PRODUCT, "1.0.0")
            self.n.check(stored.digest == result.digest, "1.0.0 is in the registry, verified")

    def _provision(self) -> None:
        from outpost.factory import DeviceSettings, StationConfig, Wifi, provision

        assert self._clock is not None
        settings = DeviceSettings(
            "127.0.0.1",
            self.server.broker_port,
            self.server.update_url,
            wifi=(Wifi("sim", "simulated"),),
            ntp=(f"127.0.0.1:{self._clock.port}",),
        )
        config = StationConfig(
            self.folder / "station",
            self.folder / "build" / f"{PRODUCT}-1.0.0",
            self.folder / "fleet",
            settings,
            operator="demo",
            station="bench-1",
        )
        with self.n.step("Factory: three boards make their keys, get certificates and identities"):
            for number, board in enumerate(BOARDS):
                station = self._plug_in(number, board)
                result = provision(station.sim.repl(), config)
                station.device_id = result.device_id
                self.n.say(f"{board} {result.uid} is now {result.device_id} ({result.seconds:.1f} s)")
            known = self.server.registry.devices.all()
            self.n.check(len(known) == len(BOARDS), f"{len(known)} devices in the registry")
            keys = {device.spki_sha256 for device in known}
            self.n.check(len(keys) == len(BOARDS), "each with a key of its own, made on the board")
            self.n.check(
                self.server.registry.audit.verify() is None, "the audit log's chain is whole"
            )

    def _telemetry(self) -> None:
        with self.n.step("Telemetry: sensor, filter, packed record, outbox, MQTT over mutual TLS"):
            for station in self.stations:
                self._until_running(station, "1.0.0")
                reading = self.n.wait(
                    f"a temperature from {station.name}", _LIMIT_S, lambda s=station: self._air(s)
                )
                wanted = _CLIMATES[station.number].temperature_c
                self.n.check(
                    abs(reading - wanted) < 0.6, f"{station.name} reports {reading:.2f} °C"
                )
            flow = self.server.registry.telemetry.flow()
            self.n.check(flow.lost == 0, f"{flow.received} records received, none lost")

    def _good_update(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("Update: 1.1.0, one module changed; a canary first, then the rest"):
            overlay = self._overlay("1.1.0", "node/core/health.py", _append_constant)
            result = self._release("1.1.0", overlay)
            canary = self.stations[0]
            stages = (Stage("canary", (canary.device_id,)), Stage("everybody", percent=100))
            rollout = self._rollout("1.1.0", stages)
            self.n.wait("the rollout to complete", _LIMIT_S, lambda: self._state_of(rollout, "completed"))
            for station in self.stations:
                device = self._device(station)
                self.n.check(
                    device.release == result.digest and device.confirmed,
                    f"{station.name} runs 1.1.0, confirmed by its own health contract",
                )
            order = self._confirmed_at("1.1.0")
            self.n.check(order[0] == canary.device_id, "the canary was first")
            blobs = max(self._blobs(station, result.digest) for station in self.stations)
            self.n.check(blobs == 1, "each fetched one blob: the module that changed")

    def _bad_update(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("A bad release: 1.2.0 crashes on start; the canary takes itself back"):
            overlay = self._overlay("1.2.0", "node/main.py", _crash_on_start)
            bad = self._release("1.2.0", overlay)
            canary = self.stations[0]
            stages = (Stage("canary", (canary.device_id,)), Stage("everybody", percent=100))
            rollout = self._rollout("1.2.0", stages)
            event = self.n.wait(
                "the canary's evidence", _LIMIT_S, lambda: self._evidence(canary, "1.2.0")
            )
            last = str(event.body["text"]).strip().splitlines()[-1]
            self.n.say(f"its traceback arrived: {last}")
            self.n.check("planted by the demo" in last, "the evidence names the real error")
            self.n.wait("the rollout to stop", _LIMIT_S, lambda: self._stopped(rollout))
            self._until_running(canary, "1.1.0")
            self.n.check(self._device(canary).version == "1.1.0", "the canary is back on 1.1.0")
            for station in self.stations[1:]:
                seen = [e for e in self._events(station, "update") if e.body.get("release") == bad.digest]
                self.n.check(not seen, f"{station.name} never saw 1.2.0")

    def _power_cut(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("Power cut in the middle of an update: pulled while flash is written"):
            overlay = self._overlay("1.3.0", "node/main.py", _append_constant)
            good = self._release("1.3.0", overlay)
            victim = self.stations[1]
            victim.sim.cut_power(at_op=_CUT_AT_OP, mode="torn")
            rollout = self._rollout("1.3.0", (Stage("one", (victim.device_id,)),))
            victim.sim.wait_for("power_cut", timeout=_LIMIT_S)
            self.n.say(f"{victim.name} lost its power inside flash operation {_CUT_AT_OP}")
            self.n.wait(
                "the update to end well", _LIMIT_S, lambda: self._state_of(rollout, "completed")
            )
            back = [e for e in self._events(victim, "boot") if e.body.get("cause") == "power_on"]
            self.n.check(bool(back), f"{victim.name} reported the power-on, still on 1.1.0")
            taken_up = [
                e.boot
                for e in self._events(victim, "update")
                if e.body.get("release") == good.digest and e.body.get("s") == "offered"
            ]
            self.n.check(back[0].boot in taken_up, "and took the update up again by itself")
            device = self._device(victim)
            self.n.check(
                device.release == good.digest and device.confirmed,
                f"{victim.name} runs 1.3.0, complete, verified and confirmed",
            )

    def _the_page(self) -> None:
        with self.n.step("The page: what an operator sees"):
            for path, must_hold in (
                ("/", self.stations[0].device_id),
                (f"/devices/{self.stations[0].device_id}", "planted by the demo"),
                ("/rollouts", "1.2.0"),
            ):
                text = _get(self.server.url + path)
                self.n.check(must_hold in text, f"{self.server.url}{path} shows {must_hold}")
            for station in self.stations:
                count = len(self._series(station))
                self.n.check(count >= 3, f"{station.name}: {count} temperatures on record")
            flow = self.server.registry.telemetry.flow()
            self.n.check(
                flow.lost == 0, f"{flow.received} records, {flow.duplicates} duplicates, none lost"
            )

    # --- boards

    def _plug_in(self, number: int, board: str) -> Station:
        from outpost.sim import SimBoard, Wiring

        flash = self.folder / f"board-{number}.img"
        build = self.folder / "build" / f"{PRODUCT}-1.0.0"
        shutil.copyfile(build / "factory" / f"{board}.img", flash)
        wiring = Wiring(devices=[{"model": "bme280", "bus": "i2c0", "address": 0x76}])
        station: Station

        def heard(line: str) -> None:
            station.log.append(line)

        sim = SimBoard(board, flash, wiring=wiring, on_line=heard, heap=400000)
        station = Station(number, board, sim)
        self._weather.over(sim, _CLIMATES[number])
        self.stations.append(station)
        sim.start()
        return station

    def _until_running(self, station: Station, version: str) -> None:
        def running() -> bool:
            device = self._device(station)
            return device.online and device.confirmed and device.version == version

        self.n.wait(f"{station.name} to report {version}", _LIMIT_S, running)

    # --- releases

    def _release(self, version: str, overlay: Path | None = None) -> BuildResult:
        from outpost import build
        from outpost.signing import sign_file

        result = build.build(
            self._product(), self.folder / "build", version=version, overlay=overlay
        )
        sign_file("release", result.payload, result.signed, self.ceremony.key("release"))
        self.server.publish(result.folder)
        return result

    def _product(self) -> Path:
        """The product of the repository, at the story's pace."""
        target = self.folder / "product"
        if not target.exists():
            shutil.copytree(project_root() / "firmware" / "products" / PRODUCT, target)
            recipe = target / "product.toml"
            recipe.write_text(_at_pace(recipe.read_text()))
        return target

    def _overlay(self, version: str, module: str, change: Callable[[str, str], str]) -> Path:
        folder = self.folder / f"changes-{version}"
        source = (project_root() / "firmware" / module).read_text()
        target = folder / module
        target.parent.mkdir(parents=True)
        target.write_text(change(source, version))
        self.n.say(f"{version} changes {module}")
        return folder

    # --- rollouts

    def _rollout(self, version: str, stages: tuple[Any, ...]) -> str:
        from outpost.fleet.rollout import Policy

        policy = Policy(
            soak_s=1, step_timeout_s=60, dark_after_s=60, retries=0, canary_pause_failures=1
        )
        return self.server.rollouts.create(PRODUCT, version, stages, policy, actor="demo")

    def _status(self, rollout: str) -> dict[str, Any]:
        return self.server.rollouts.status(rollout)

    def _state_of(self, rollout: str, wanted: str) -> bool:
        return bool(self._status(rollout)["state"] == wanted)

    def _stopped(self, rollout: str) -> bool:
        status = self._status(rollout)
        if status["state"] not in ("paused", "aborted"):
            return False
        self.n.check(True, f"the rollout is {status['state']}: {status.get('reason', '')}")
        return True

    def _confirmed_at(self, version: str) -> list[str]:
        """Device ids in the order in which they confirmed `version`."""
        digest = self.server.registry.releases.by_version(PRODUCT, version).digest
        times = []
        for station in self.stations:
            for event in self._events(station, "update"):
                if event.body.get("s") == "confirmed" and event.body.get("release") == digest:
                    times.append((event.received_ms, station.device_id))
        return [device_id for _, device_id in sorted(times)]

    # --- the registry

    def _device(self, station: Station) -> Device:
        return self.server.registry.devices.get(station.device_id)

    def _events(self, station: Station, kind: str) -> list[Event]:
        return [e for e in self.server.registry.journal.events(station.device_id) if e.type == kind]

    def _evidence(self, station: Station, version: str) -> Event | None:
        found = [e for e in self._events(station, "evidence") if e.body.get("version") == version]
        return found[0] if found else None

    def _blobs(self, station: Station, digest: str) -> int:
        """The most blobs that one run of the device's updater fetched for a release."""
        return max(
            (
                int(e.body.get("blobs", 0))
                for e in self._events(station, "update")
                if e.body.get("release") == digest
            ),
            default=0,
        )

    def _air(self, station: Station) -> float | None:
        latest = self.server.registry.telemetry.latest(station.device_id)
        reading = latest.get(station.device_id, {}).get("air_temperature")
        return reading.value if reading is not None else None

    def _series(self, station: Station) -> list[tuple[int, float]]:
        return self.server.registry.telemetry.series(
            station.device_id, "air_temperature", (0, 1 << 52)
        )


def _at_pace(recipe: str) -> str:
    for key, value in _PACE.items():
        recipe, count = re.subn(rf"(?m)^{key} = \d+", f"{key} = {value}", recipe)
        assert count == 1, key
    return recipe


def _append_constant(source: str, version: str) -> str:
    return f"{source}\nREVISION = {version!r}\n"


def _crash_on_start(source: str, version: str) -> str:
    head = "def run(boot) -> None:\n"
    assert head in source
    return source.replace(head, f'{head}    raise RuntimeError("{version}: planted by the demo")\n')


def _get(url: str) -> str:
    from urllib.request import urlopen

    with urlopen(url, timeout=10) as answer:  # noqa: S310 (our own server on loopback)
        return str(answer.read().decode())
