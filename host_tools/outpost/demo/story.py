"""The story: from an empty folder to a fleet that updates itself, and survives what goes wrong.

Nothing here is scripted on the boards: they run the release that was built, from the littlefs
image that was made, against the broker that was started. Each step ends by reading the registry.
"""

from __future__ import annotations

from functools import partial

from outpost.demo.stage import BOARDS, CLIMATES, IMAGES, LIMIT_S, Stage
from outpost.demo.workshop import PRODUCT, Change, Workshop
from outpost.errors import OutpostError

_CUT_AT_OP = 12  # after the update has begun to write


def _append_constant(source: str, version: str) -> str:
    return f"{source}\nREVISION = {version!r}\n"


def _crash_on_start(source: str, version: str) -> str:
    head = "def run(boot) -> None:\n"
    assert head in source
    return source.replace(
        head, f'{head}    raise RuntimeError("{version}: planted by the demo")\n'
    )


_CHANGES = {
    "1.1.0": Change("node/core/health.py", _append_constant),
    "1.2.0": Change("node/main.py", _crash_on_start),
    "1.3.0": Change("node/main.py", _append_constant),
}


class Story(Stage):
    """Plays the steps. The fleet stays up until `close`."""

    # --- the whole of it

    def play(self) -> None:
        """All steps. Raises OutpostError when one does not come out as told."""
        try:
            self._steps()
        except OutpostError:
            self.last_words()
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

    # --- the steps

    def _trust_and_fleet(self) -> None:
        from outpost.fleet.server import FleetServer
        from outpost.fleet.sntp import SntpServer
        from outpost.signing import Ceremony

        with self.n.step(
            "Trust: root keys 2 of 3, release key, head key; a fleet with its own CA"
        ):
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
            self._workshop = Workshop(self.folder, self.ceremony.key("release"))
            self._workshop.begin("1.0.0")
            result = self.release("1.0.0")
            self.n.say(
                f"{result.files} files, {result.bytes:,} bytes, digest {result.digest[:12]}"
            )
            for board in IMAGES:
                image = build.factory_image(result.folder, board, self.ceremony.root_path(1))
                self.n.say(
                    f"{board}: {image.stat().st_size // 1024} KiB of littlefs, as it is on flash"
                )
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
            for version, change in _CHANGES.items():
                self.workshop.begin(version, change)
            self.n.say(f"meanwhile the workshop builds and signs {', '.join(_CHANGES)}")
            for number, board in enumerate(BOARDS):
                station = self.plug_in(number, board)
                result = provision(station.sim.repl(), config)
                station.device_id = result.device_id
                self.n.say(
                    f"{board} {result.uid} is now {result.device_id} ({result.seconds:.1f} s)"
                )
            known = self.server.registry.devices.all()
            self.n.check(len(known) == len(BOARDS), f"{len(known)} devices in the registry")
            keys = {device.spki_sha256 for device in known}
            self.n.check(len(keys) == len(BOARDS), "each with a key of its own, made on the board")
            self.n.check(
                self.server.registry.audit.verify() is None, "the audit log's chain is whole"
            )

    def _telemetry(self) -> None:
        with self.n.step("Telemetry: sensor, filter, packed record, outbox, MQTT over mutual TLS"):
            self.n.say("the ESP32 sleeps and connects now and then; a Pico W stays connected")
            for station in self.stations:
                self.until_running(station, "1.0.0")
                reading = self.n.wait(
                    f"a temperature from {station.name}", LIMIT_S, partial(self.air, station)
                )
                wanted = CLIMATES[station.number].temperature_c
                self.n.check(
                    abs(reading - wanted) < 0.6, f"{station.name} reports {reading:.2f} °C"
                )
            flow = self.server.registry.telemetry.flow()
            self.n.check(flow.lost == 0, f"{flow.received} records received, none lost")

    def _good_update(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("Update: 1.1.0, one module changed; a canary first, then the rest"):
            result = self.release("1.1.0", _CHANGES["1.1.0"])
            canary = self.stations[0]
            stages = (Stage("canary", (canary.device_id,)), Stage("everybody", percent=100))
            rollout = self.rollout("1.1.0", stages)
            self.n.wait(
                "the rollout to complete", LIMIT_S, lambda: self.state_of(rollout, "completed")
            )
            for station in self.stations:
                device = self.device(station)
                self.n.check(
                    device.release == result.digest and device.confirmed,
                    f"{station.name} runs 1.1.0, confirmed by its own health contract",
                )
            order = self.confirmed_at("1.1.0")
            self.n.check(order[0] == canary.device_id, "the canary was first")
            blobs = max(self.blobs(station, result.digest) for station in self.stations)
            self.n.check(blobs == 1, "each fetched one blob: the module that changed")

    def _bad_update(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("A bad release: 1.2.0 crashes on start; the canary takes itself back"):
            bad = self.release("1.2.0", _CHANGES["1.2.0"])
            canary = self.stations[0]
            stages = (Stage("canary", (canary.device_id,)), Stage("everybody", percent=100))
            rollout = self.rollout("1.2.0", stages)
            event = self.n.wait(
                "the canary's evidence", LIMIT_S, lambda: self.evidence(canary, "1.2.0")
            )
            last = str(event.body["text"]).strip().splitlines()[-1]
            self.n.say(f"its traceback arrived: {last}")
            self.n.check("planted by the demo" in last, "the evidence names the real error")
            self.n.wait("the rollout to stop", LIMIT_S, lambda: self.stopped(rollout))
            self.until_running(canary, "1.1.0")
            self.n.check(self.device(canary).version == "1.1.0", "the canary is back on 1.1.0")
            for station in self.stations[1:]:
                seen = [
                    e
                    for e in self.events(station, "update")
                    if e.body.get("release") == bad.digest
                ]
                self.n.check(not seen, f"{station.name} never saw 1.2.0")

    def _power_cut(self) -> None:
        from outpost.fleet.rollout import Stage

        with self.n.step("Power cut in the middle of an update: pulled while flash is written"):
            good = self.release("1.3.0", _CHANGES["1.3.0"])
            victim = self.stations[1]
            cut = partial(victim.sim.cut_power, at_op=_CUT_AT_OP, mode="torn")
            victim.when("update: under way", cut)
            rollout = self.rollout("1.3.0", (Stage("one", (victim.device_id,)),))
            victim.sim.wait_for("power_cut", timeout=LIMIT_S)
            self.n.say(f"{victim.name} lost its power inside flash operation {_CUT_AT_OP}")
            self.n.wait(
                "the update to end well", LIMIT_S, lambda: self.state_of(rollout, "completed")
            )
            back = [e for e in self.events(victim, "boot") if e.body.get("cause") == "power_on"]
            self.n.check(bool(back), f"{victim.name} reported the power-on, still on 1.1.0")
            offered = [
                e
                for e in self.events(victim, "update")
                if e.body.get("release") == good.digest and e.body.get("s") == "offered"
            ]
            self.n.check(len(offered) > 1, "and took the update up again by itself")
            device = self.device(victim)
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
                count = len(self.series(station))
                self.n.check(count >= 3, f"{station.name}: {count} temperatures on record")
            flow = self.server.registry.telemetry.flow()
            self.n.check(
                flow.lost == 0, f"{flow.received} records, {flow.duplicates} duplicates, none lost"
            )


def _get(url: str) -> str:
    from urllib.request import urlopen

    with urlopen(url, timeout=10) as answer:  # noqa: S310 (our own server on loopback)
        return str(answer.read().decode())
