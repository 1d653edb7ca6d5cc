"""`outpost fleet`, `rollout` and `device`: what they print, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.fleet_kit import make_release, make_trust


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory):
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def folder(tmp_path, ceremony, outpost, monkeypatch):
    monkeypatch.delenv("OUTPOST_SERVER", raising=False)
    made = outpost(
        "--json",
        "fleet",
        "init",
        "--dir",
        str(tmp_path / "fleet"),
        "--trust",
        str(ceremony.folder),
        "--port",
        "0",
        "--broker-port",
        "0",
    )
    assert made.exit_code == 0 and made.json["result"]["root"] == 1
    return tmp_path / "fleet"


def test_fleet_is_made_once(folder, outpost):
    again = outpost("--json", "fleet", "init", "--dir", str(folder))
    assert (again.exit_code, again.json["error"]["code"]) == (7, "fleet-exists")


def test_release_is_published_without_a_server(folder, outpost, tmp_path, ceremony):
    release = make_release(tmp_path, ceremony, "1.0.0")
    taken = outpost("--json", "fleet", "publish", str(release), "--dir", str(folder))
    assert taken.json["result"]["version"] == "1.0.0"
    audit = outpost("fleet", "audit", "--dir", str(folder))
    assert "publish" in audit.stdout and audit.stdout.endswith("chain intact\n")
    (release / "release.cose").write_bytes(b"x")
    refused = outpost("--json", "fleet", "publish", str(release), "--dir", str(folder))
    assert (refused.exit_code, refused.json["error"]["code"]) == (5, "cose-shape")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fleet", "status"),
        ("fleet", "security"),
        ("device", "list"),
        ("device", "show", "w-1"),
        ("device", "command", "w-1", "ping"),
        ("device", "retire", "w-1"),
        ("rollout", "list"),
        ("rollout", "status", "r"),
        ("rollout", "pause", "r"),
        ("rollout", "resume", "r"),
        ("rollout", "abort", "r"),
        ("rollout", "create", "weather", "1.0.0"),
    ],
)
def test_without_a_server_every_verb_says_so(folder, outpost, arguments):
    done = outpost("--json", *arguments, "--dir", str(folder))
    assert (done.exit_code, done.json["error"]["code"]) == (8, "not-running")
    done = outpost("--json", *arguments, "--dir", str(folder), "--server", "http://127.0.0.1:9")
    assert (done.exit_code, done.json["error"]["code"]) == (8, "unreachable")


def test_plan_of_a_rollout_is_shown_without_a_server(folder, outpost):
    done = outpost(
        "--json",
        "rollout",
        "create",
        "weather",
        "1.0.0",
        "--canary",
        "w-1",
        "--stages",
        "10,100",
        "--policy",
        "pause_rate=0.05",
        "--soak",
        "60",
        "--dry-run",
        "--dir",
        str(folder),
    )
    plan = done.json["result"]["plan"]
    assert [stage["name"] for stage in plan["stages"]] == ["canary", "10 %", "100 %"]
    assert plan["policy"] == {"pause_rate": 0.05, "soak_s": 60}


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollout", "create", "weather", "1.0.0", "--stages", "x"),
        ("rollout", "create", "weather", "1.0.0", "--policy", "x"),
        ("rollout", "create", "weather", "1.0.0", "--soak", "-1"),
        ("device", "command", "w-1", "ping", "{"),
        ("fleet", "init", "--port", "99999"),
        ("fleet", "serve", "--dir", "/nonexistent/fleet"),
        ("device", "show"),
        ("fleet", "publish"),
    ],
)
def test_wrong_usage_ends_with_2(folder, outpost, arguments):
    assert outpost(*arguments).exit_code == 2


def test_retiring_wants_confirmation_where_nobody_can_type(folder, outpost, monkeypatch):
    monkeypatch.setattr("outpost.fleet.client.FleetClient.find", lambda *_: Answers())
    refused = outpost("--json", "device", "retire", "w-1", "--dir", str(folder))
    assert (refused.exit_code, refused.json["error"]["code"]) == (2, "confirm-needed")
    wrong = outpost("--json", "device", "retire", "w-1", "--yes", "--confirm", "w-2")
    assert (wrong.exit_code, wrong.json["error"]["code"]) == (2, "confirm-mismatch")
    shown = outpost("--json", "device", "retire", "w-1", "--dry-run")
    assert shown.json["result"] == {"device": "w-1", "cert_serial": "ab"}


class Answers:
    def get(self, path, **_query):
        return {"device": {"id": "w-1", "cert_serial": "ab"}}


def test_serve_runs_until_it_is_told_to_stop(folder, mosquitto, outpost):
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "outpost.cli.main",
            "--json",
            "fleet",
            "serve",
            "--dir",
            str(folder),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout and child.stderr
    line = child.stdout.readline()
    address = json.loads(line)["result"]
    assert urllib.request.urlopen(address["url"]).status == 200
    status = outpost("--json", "fleet", "status", "--dir", str(folder))
    assert status.json["result"]["url"] == address["url"]
    started = time.monotonic()
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(60) == 0
    assert time.monotonic() - started < 15
    assert child.stderr.read() == "stopped\n"
