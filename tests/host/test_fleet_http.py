"""The API and the pages of a fleet with devices that lie: who may do what, and that nothing a
device says becomes markup."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from outpost.errors import OutpostError
from outpost.fleet import pages, views
from outpost.fleet.client import FleetClient, printable
from outpost.fleet.fleet import Fleet, FleetConfig, now_ms
from outpost.fleet.httpd import HttpServer, application
from outpost.fleet.registry import Event, Reading, Reject, SecurityEvent
from outpost.fleet.service import Service

from tests.fleet_kit import identity, make_release, make_trust

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Site:
    """A fleet behind HTTP with no broker: what would be published is kept in `sent`."""

    def __init__(self, fleet: Fleet) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.reloads = 0
        self.fleet = fleet
        self.service = Service(
            fleet, lambda topic, body: self.sent.append((topic, body)), self._reload
        )
        self.http = HttpServer(application(self.service), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.http.start()}"

    def _reload(self) -> None:
        self.reloads += 1

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, str, dict]:
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, raw, headers)
        try:
            with urllib.request.build_opener(NoRedirect).open(request) as answer:
                return (
                    answer.status,
                    answer.read().decode("utf-8", "replace"),
                    dict(answer.headers),
                )
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def get(self, path: str) -> dict:
        status, body, _ = self.ask("/api/v1" + path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, body: object) -> tuple[int, dict]:
        status, text, _ = self.ask(
            "/api/v1" + path, body, authorization=f"Bearer {self.fleet.token}"
        )
        return status, json.loads(text)


class Elements(HTMLParser):
    """What a browser would make of a page: how many scripts and images, which attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.scripts = self.images = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}
        self.scripts += tag == "script"
        self.images += tag == "img"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_more):
        return None


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory):
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def site(tmp_path: Path, ceremony) -> Iterator[Site]:
    with Fleet.create(tmp_path / "fleet", ceremony.folder) as fleet:
        made = Site(fleet)
        yield made
        made.http.stop()


@pytest.fixture(scope="module")
def lying(tmp_path_factory, ceremony) -> Iterator[Site]:
    """Every field a device can fill holds markup.  Only read."""
    with Fleet.create(tmp_path_factory.mktemp("lying") / "fleet", ceremony.folder) as fleet:
        made = Site(fleet)
        _fill_with_markup(fleet)
        yield made
        made.http.stop()


def _fill_with_markup(fleet: Fleet) -> None:
    registry = fleet.registry
    registry.devices.add(identity("w-1"), 0)
    registry.devices.seen("w-1", now_ms(), True)
    registry.devices.report("w-1", {"version": EVIL, "slot": EVIL, "release": EVIL})
    registry.devices.booted("w-1", 1, EVIL)
    registry.devices.heartbeat("w-1", {"heap": EVIL, "bat": EVIL, "up": EVIL, EVIL: EVIL}, 1)
    registry.telemetry.store(
        "w-1", [Reading(EVIL, now_ms(), 1.0, EVIL), Reading("x", now_ms(), None, "", EVIL)]
    )
    for kind in ("evidence", "update", "boot", EVIL):
        registry.journal.add_event(
            Event(
                "w-1",
                kind,
                {
                    "text": EVIL,
                    "version": EVIL,
                    "cause": EVIL,
                    "stage": EVIL,
                    "s": EVIL,
                    EVIL: EVIL,
                    "release": EVIL,
                    "digest": EVIL,
                    "fetched": EVIL,
                    "tries": [EVIL],
                },
            )
        )
    registry.journal.add_security(SecurityEvent(1, EVIL, EVIL, EVIL, EVIL))
    registry.journal.add_reject(Reject(1, "w-1", EVIL, EVIL, EVIL, EVIL.encode()))


PAGES = [
    "/",
    "/devices/w-1",
    "/rollouts",
    "/releases",
    "/events",
    "/security",
    "/audit",
    "/login",
    "/devices/none",
    "/rollouts/none",
]


@pytest.mark.parametrize("path", PAGES)
def test_pages_show_markup_of_devices_as_text(lying, path):
    status, html, headers = lying.ask(path)
    assert status == (404 if "none" in path else 200)
    assert "<script>alert" not in html and "<img src=x" not in html
    seen = Elements(html)
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert seen.scripts == 2 and seen.images == 1, "ours: two scripts, the icon"
    assert "unsafe-inline" not in headers["content-security-policy"].split("style-src")[0]
    if path != "/login":
        part = lying.ask(path + "?part=1")[1]
        assert "<html" not in part and 'id="main"' in part


def test_pages_fetch_nothing_from_elsewhere(lying):
    for path in PAGES:
        html = lying.ask(path)[1]
        for link in re.findall(r'(?:src|href|action)="([^"]*)"', html):
            assert link.startswith("/") and not link.startswith("//"), link
    folder = Path(pages.static_folder())
    for name in ("app.js", "style.css", "icon.svg"):
        text = (folder / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text or name == "app.js" and "https" not in text
    for name in ("uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"):
        assert (folder / name).stat().st_size > 500


def test_device_text_reaches_json_unchanged_as_data(lying):
    found = lying.get("/devices/w-1")["device"]
    assert found["version"] == EVIL
    assert lying.ask("/api/v1/devices/w-1")[2]["content-type"] == "application/json"


def test_every_read_of_the_api_answers(lying):
    for path in (
        "/summary",
        "/devices",
        "/devices/w-1",
        "/devices/w-1/telemetry",
        "/devices/w-1/commands",
        "/releases",
        "/rollouts",
        "/events",
        "/security",
        "/rejects",
        "/audit",
    ):
        assert lying.get(path)["ok"] is True, path
    series = lying.get("/devices/w-1/telemetry?metric=x&limit=5&from=0")["series"]
    assert series == [{"metric": "x", "unit": "", "points": []}]


@pytest.mark.parametrize(
    "path, status",
    [
        ("/devices/none", 404),
        ("/rollouts/none", 404),
        ("/commands/none", 404),
        ("/devices/none/telemetry", 404),
        ("/events?limit=x", 400),
        ("/nothing", 404),
    ],
)
def test_bad_requests_have_a_status_and_a_code(lying, path, status):
    answered, body, _ = lying.ask("/api/v1" + path)
    assert answered == status
    if path != "/nothing":
        assert json.loads(body)["error"]["code"]


# --- who may change anything

CHANGES = [
    ("/devices/w-1/commands", {"cmd": "ping"}),
    ("/devices/w-1/retire", {"confirm": "w-1"}),
    ("/rollouts", {"product": "weather", "version": "1.0.0"}),
    ("/rollouts/r/abort", {}),
    ("/releases", {"folder": "/"}),
]


WRONG = (
    {},
    {"authorization": "Bearer wrong"},
    {"authorization": "Basic x"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer t\u00c3\u00b6ken"},
)


def test_changes_need_the_token(site):
    site.fleet.registry.devices.add(identity("w-1"), 0)
    for path, body in CHANGES:
        for headers in WRONG:
            status, text, _ = site.ask("/api/v1" + path, body, **headers)
            assert (status, json.loads(text)["error"]["code"]) == (401, "token"), (path, headers)
    assert site.sent == [] and site.fleet.registry.devices.get("w-1").state == "active"


def test_changes_are_not_taken_from_cookies_or_by_get(site):
    from outpost.fleet import api

    cookie = f"{api.COOKIE}={api.read_cookie(site.service)}"
    assert site.ask("/api/v1/rollouts/r/abort", {}, cookie=cookie)[0] == 401
    token = {"authorization": f"Bearer {site.fleet.token}"}
    assert site.ask("/api/v1/rollouts/r/abort", **token)[0] == 405


def test_other_host_names_get_nothing(site):
    assert site.ask("/api/v1/devices", host="evil.example")[0] == 400
    assert site.ask("/api/v1/devices", host="localhost:1")[0] == 200


def test_elsewhere_reading_needs_the_token_too(site):
    site.fleet.config = replace(site.fleet.config, host="0.0.0.0")
    for path in ("/api/v1/devices", "/metrics"):
        assert site.ask(path)[0] == 401
        assert site.ask(path, authorization=f"Bearer {site.fleet.token}")[0] == 200
    assert site.ask("/")[0] == 303
    assert site.ask("/update/roots/1.cose")[0] == 200, "devices need no token"
    request = urllib.request.Request(site.url + "/login", b"token=wrong")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(NoRedirect).open(request)
    assert caught.value.code == 401
    request = urllib.request.Request(site.url + "/login", f"token={site.fleet.token}".encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(NoRedirect).open(request)
    cookie = caught.value.headers["set-cookie"]
    assert "HttpOnly" in cookie and "strict" in cookie.lower()
    assert site.fleet.token not in cookie
    assert site.ask("/", cookie=cookie.split(";")[0])[0] == 200


def test_huge_and_malformed_bodies_are_refused(site):
    token = {"authorization": f"Bearer {site.fleet.token}"}
    for raw, code in ((b"x" * 100_000, "too-large"), (b"[1]", "body"), (b"{", "body")):
        request = urllib.request.Request(site.url + "/api/v1/rollouts", raw, token)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert json.loads(caught.value.read())["error"]["code"] == code


# --- changing


def test_command_is_queued_and_bad_ones_are_refused(site):
    site.fleet.registry.devices.add(identity("w-1"), 0)
    status, body = site.post("/devices/w-1/commands", {"cmd": "ping", "args": {"n": 1}})
    assert status == 200 and site.sent[0][0] == "v1/w-1/down/command"
    assert site.get(f"/commands/{body['command']['id']}")["command"]["ok"] is None
    for bad in (
        {},
        {"cmd": ""},
        {"cmd": "x" * 30},
        {"cmd": "x", "args": []},
        {"cmd": "x", "ttl_s": 0},
        {"cmd": "x", "ttl_s": True},
        {"cmd": "x", "args": {"f": 1.5}},
    ):
        assert site.post("/devices/w-1/commands", bad)[0] == 400, bad
    assert site.post("/devices/none/commands", {"cmd": "ping"})[0] == 404
    assert len(site.sent) == 1


def test_retiring_wants_the_id_again_and_tells_the_broker(site):
    site.fleet.registry.devices.add(identity("w-1"), 0)
    assert site.post("/devices/w-1/retire", {"confirm": "w-2"})[0] == 400
    assert site.post("/devices/w-1/retire", {"confirm": "w-1"})[0] == 200
    assert site.reloads == 1
    assert site.post("/devices/w-1/retire", {"confirm": "w-1"})[0] == 409
    assert site.post("/devices/w-1/commands", {"cmd": "ping"})[0] == 409


def test_rollout_by_the_api(site, tmp_path, ceremony):
    site.fleet.registry.devices.add(identity("w-1"), 0)
    status, body = site.post(
        "/releases", {"folder": str(make_release(tmp_path, ceremony, "1.0.0"))}
    )
    assert (status, body["release"]["version"]) == (200, "1.0.0")
    plan = {
        "product": "weather",
        "version": "1.0.0",
        "policy": {"soak_s": 0},
        "stages": [{"name": "canary", "devices": ["w-1"]}, {"name": "all", "percent": 100}],
    }
    status, body = site.post("/rollouts", plan)
    assert (status, body["rollout"]["state"]) == (200, "running")
    rollout_id = body["rollout"]["id"]
    assert site.post("/rollouts", plan)[0] == 409
    assert (
        site.post(f"/rollouts/{rollout_id}/pause", {"reason": "look"})[1]["rollout"]["state"]
        == "paused"
    )
    assert site.post(f"/rollouts/{rollout_id}/pause", {})[0] == 409
    assert site.post(f"/rollouts/{rollout_id}/resume", {})[0] == 200
    assert site.post(f"/rollouts/{rollout_id}/explode", {})[0] == 400
    assert site.post(f"/rollouts/{rollout_id}/abort", {})[1]["rollout"]["state"] == "aborted"
    assert site.ask(f"/rollouts/{rollout_id}")[0] == 200
    assert site.fleet.registry.audit.verify() is None


def test_senseless_rollouts_are_refused(site, tmp_path, ceremony):
    site.fleet.publish(make_release(tmp_path, ceremony, "1.0.0"))
    nobody = [{"name": "c", "devices": ["nobody"]}]
    for change, code in (
        ({"version": "9"}, "unknown-release"),
        ({"stages": [{"name": "x"}]}, "stages"),
        ({"stages": 7}, "stages"),
        ({"stages": nobody}, "unknown-device"),
        ({"policy": {"nonsense": 1}}, "policy"),
        ({"policy": {"soak_s": "x"}}, "policy"),
        ({"product": 1}, "rollout"),
    ):
        status, body = site.post("/rollouts", {"product": "weather", "version": "1.0.0", **change})
        assert (body["error"]["code"], 400 <= status < 410) == (code, True)
    assert site.get("/rollouts")["rollouts"] == []


def test_metrics_are_prometheus_text(lying):
    status, text, headers = lying.ask("/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    assert "outpost_devices 1.0" in text and "# TYPE outpost_received_total counter" in text


# --- what the command line uses


def test_client_explains_what_goes_wrong(site, tmp_path):
    client = FleetClient(site.url, site.fleet.token)
    assert client.get("/devices")["devices"] == []
    with pytest.raises(OutpostError) as caught:
        client.get("/devices/none")
    assert caught.value.exit_code == 3
    with pytest.raises(OutpostError) as caught:
        FleetClient(site.url).post("/rollouts/x/abort")
    assert caught.value.exit_code == 9
    with pytest.raises(OutpostError) as caught:
        FleetClient(site.url, "wrong").post("/rollouts/x/abort")
    assert caught.value.exit_code == 9
    with pytest.raises(OutpostError) as caught:
        FleetClient("http://127.0.0.1:9").get("/devices")
    assert caught.value.exit_code == 8
    with pytest.raises(OutpostError) as caught:
        FleetClient(site.url + "/static").get("/devices")
    assert caught.value.code == "not-a-fleet"
    with pytest.raises(OutpostError) as caught:
        FleetClient.find(tmp_path / "none")
    assert caught.value.exit_code == 8
    with pytest.raises(OutpostError) as caught:
        FleetClient("ftp://x")
    assert caught.value.exit_code == 2


def test_device_text_cannot_drive_a_terminal():
    assert printable("ok \x1b[2J\x07\x9b31m\u202e") == "ok ·[2J··31m·"
    assert printable("Grüße 21 °C\n") == "Grüße 21 °C\n"


@pytest.mark.parametrize(
    "milliseconds, text",
    [
        (0, "0 s"),
        (59_000, "59 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_durations_read_well(milliseconds, text):
    assert pages.duration(milliseconds) == text


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (21.5, "Cel", "21.50 °C"),
        (101325.0, "Pa", "1013.2 hPa"),
        (12345.6, "lx", "12346 lx"),
        (-0.004, "V", "-0.00 V"),
    ],
)
def test_quantities_read_well(value, unit, text):
    assert pages.quantity({"value": value, "unit": unit, "text": None}) == text


def test_alarms_name_what_needs_a_look(site):
    registry = site.fleet.registry
    registry.devices.add(identity("w-1"), 0)
    assert views.alarms(registry.devices.get("w-1"), 0) == ["never seen"]
    registry.devices.seen("w-1", 1_000, online=False)
    registry.devices.report("w-1", {"release": "aa", "confirmed": False})
    registry.devices.heartbeat("w-1", {"bat": 3000, "frozen": True}, 1)
    assert views.alarms(registry.devices.get("w-1"), 10**9) == [
        "silent",
        "on trial",
        "battery low",
        "head expired",
    ]
    registry.devices.set_state("w-1", "decommissioned")
    assert views.alarms(registry.devices.get("w-1"), 10**9) == []


def test_a_battery_device_is_asleep_until_it_is_overdue(site):
    registry, start = site.fleet.registry, 10**9
    registry.devices.add(identity("w-1"), 0)
    registry.devices.seen("w-1", start, online=True)

    def at(seconds, **beat):
        registry.devices.heartbeat("w-1", beat, start)
        found = registry.devices.get("w-1")
        at_ms = start + 1000 * seconds
        return views.presence(found, at_ms), views.alarms(found, at_ms)

    late = 3 * 3600 + 900
    assert at(10**6) == ("online", [])  # a powered one: the broker says when it has gone
    assert at(late, next=3600) == ("asleep", [])
    assert at(late + 1, next=3600) == ("offline", ["silent"])
    for strange in (0, -1, True, "soon", 10**12):
        assert at(late + 1, next=strange) == ("online", [])
    registry.devices.gone("w-1")
    assert at(late, next=3600) == ("offline", ["silent"])


def test_config_names_what_the_server_answers_to():
    assert FleetConfig(host="0.0.0.0", names=("box",)).server_names == (
        "127.0.0.1",
        "localhost",
        "box",
    )
    assert FleetConfig(host="10.0.0.1").server_names == ("127.0.0.1", "localhost", "10.0.0.1")
