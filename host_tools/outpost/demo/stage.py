"""The stage: the folder, the fleet, the boards and the releases that the story's steps work with.

Owns what has to be switched off again. Facts are read from the registry only: what the boards
print is kept for the moment when something goes wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, Any

from outpost.demo.narrator import Line, Narrator
from outpost.demo.weather import Climate, Weather
from outpost.demo.workshop import PRODUCT, Change, Workshop

if TYPE_CHECKING:
    from outpost.build.release import BuildResult
    from outpost.fleet.registry import Device, Event
    from outpost.fleet.server import FleetServer
    from outpost.fleet.sntp import SntpServer
    from outpost.signing import Ceremony
    from outpost.sim import SimBoard

BOARDS = ("rpi_pico_w", "esp32_generic", "rpi_pico_w")
IMAGES = ("esp32_generic", "rpi_pico_w")
CLIMATES = (Climate(21.4, 48, 1013.2), Climate(4.2, 83, 1009.8), Climate(31.9, 22, 1002.4))
LIMIT_S = 45.0
_LAST_LINES = 12


@dataclass
class Station:
    """One simulated board, and who it became."""

    number: int
    board: str
    sim: SimBoard
    device_id: str = ""
    log: list[str] = field(default_factory=list)
    _cue: str = ""
    _act: Callable[[], None] | None = None

    def when(self, cue: str, act: Callable[[], None]) -> None:
        """Do something once, as soon as the board prints a line with `cue` in it."""
        self._cue, self._act = cue, act

    def react(self, line: str) -> None:
        """The board has printed a line."""
        if self._act is not None and self._cue in line:
            act, self._act = self._act, None
            act()

    @property
    def name(self) -> str:
        return self.device_id or f"board {self.number}"


class Stage:
    """Everything in `folder`. `tell` gets each line of the story."""

    def __init__(self, folder: Path, tell: Callable[[Line], None]) -> None:
        self.folder = folder
        self.n = Narrator(tell)
        self.stations: list[Station] = []
        self._server: FleetServer | None = None
        self._weather = Weather()
        self._clock: SntpServer | None = None
        self._ceremony: Ceremony | None = None
        self._workshop: Workshop | None = None

    def last_words(self) -> None:
        """What the boards said last: the first question after a failure."""
        for station in self.stations:
            for line in station.log[-_LAST_LINES:]:
                self.n.board(station.name, line)

    def close(self) -> None:
        """Switch everything off; no process of the story is left."""
        self._weather.close()
        if self._workshop is not None:
            self._workshop.close()
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

    @property
    def workshop(self) -> Workshop:
        assert self._workshop is not None
        return self._workshop

    # --- boards

    def plug_in(self, number: int, board: str) -> Station:
        """A new board that has started, and waits to be given its identity."""
        from outpost.sim import SimBoard, Wiring

        flash = self.folder / f"board-{number}.img"
        build = self.folder / "build" / f"{PRODUCT}-1.0.0"
        shutil.copyfile(build / "factory" / f"{board}.img", flash)
        wiring = Wiring(devices=[{"model": "bme280", "bus": "i2c0", "address": 0x76}])
        station: Station

        def heard(line: str) -> None:
            station.log.append(line)
            station.react(line)

        sim = SimBoard(board, flash, wiring=wiring, on_line=heard)
        station = Station(number, board, sim)
        self._weather.over(sim, CLIMATES[number])
        self.stations.append(station)
        # One that is just starting does not hear the station's first Ctrl-C, which costs 2 s.
        waiting = Signal()
        station.when("waiting for the station", waiting.set)
        sim.start()
        self.n.wait(f"{station.name} to ask for the station", LIMIT_S, waiting.is_set)
        return station

    def until_running(self, station: Station, version: str) -> None:
        def running() -> bool:
            device = self.device(station)
            return device.online and device.confirmed and device.version == version

        self.n.wait(f"{station.name} to report {version}", LIMIT_S, running)

    # --- releases

    def release(self, version: str, change: Change | None = None) -> BuildResult:
        """The signed release, in the fleet's registry; from the workshop when it was begun."""
        if change:
            self.n.say(f"{version} changes {change.module}")
        result = self.workshop.finished(version)
        self.server.publish(result.folder)
        return result

    # --- rollouts

    def rollout(self, version: str, stages: tuple[Any, ...]) -> str:
        from outpost.fleet.rollout import Policy

        policy = Policy(
            soak_s=1, step_timeout_s=60, dark_after_s=60, retries=0, canary_pause_failures=1
        )
        return self.server.rollouts.create(PRODUCT, version, stages, policy, actor="demo")

    def status(self, rollout: str) -> dict[str, Any]:
        return self.server.rollouts.status(rollout)

    def state_of(self, rollout: str, wanted: str) -> bool:
        return bool(self.status(rollout)["state"] == wanted)

    def stopped(self, rollout: str) -> bool:
        status = self.status(rollout)
        if status["state"] not in ("paused", "aborted"):
            return False
        self.n.check(True, f"the rollout is {status['state']}: {status.get('reason', '')}")
        return True

    def confirmed_at(self, version: str) -> list[str]:
        """Device ids in the order in which they confirmed `version`."""
        digest = self.server.registry.releases.by_version(PRODUCT, version).digest
        times = []
        for station in self.stations:
            for event in self.events(station, "update"):
                if event.body.get("s") == "confirmed" and event.body.get("release") == digest:
                    times.append((event.received_ms, station.device_id))
        return [device_id for _, device_id in sorted(times)]

    # --- the registry

    def device(self, station: Station) -> Device:
        return self.server.registry.devices.get(station.device_id)

    def events(self, station: Station, kind: str) -> list[Event]:
        return [
            e for e in self.server.registry.journal.events(station.device_id) if e.type == kind
        ]

    def evidence(self, station: Station, version: str) -> Event | None:
        found = [e for e in self.events(station, "evidence") if e.body.get("version") == version]
        return found[0] if found else None

    def blobs(self, station: Station, digest: str) -> int:
        """The most blobs that one run of the device's updater fetched for a release."""
        return max(
            (
                int(e.body.get("blobs", 0))
                for e in self.events(station, "update")
                if e.body.get("release") == digest
            ),
            default=0,
        )

    def air(self, station: Station) -> float | None:
        latest = self.server.registry.telemetry.latest(station.device_id)
        reading = latest.get(station.device_id, {}).get("air_temperature")
        return reading.value if reading is not None else None

    def series(self, station: Station) -> list[tuple[int, float]]:
        return self.server.registry.telemetry.series(
            station.device_id, "air_temperature", (0, 1 << 52)
        )
