"""The verbs of build and factory: exit codes, one JSON object, nothing secret."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outpost.factory import serials
from outpost.factory.audit import AuditLog
from outpost.fleet.pki import Ca

from tests.host import signed_build

Outpost = Callable[..., Any]
PASSWORD = "simulated"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a site file and a CA."""
    monkeypatch.chdir(tmp_path)
    Ca.create(tmp_path / "ca")
    site = tmp_path / "site.toml"
    site.write_text(
        'broker = { host = "127.0.0.1" }\nupdate = { url = "http://127.0.0.1:1/update" }\n'
        f'wifi = [{{ ssid = "sim", psk = "{PASSWORD}" }}]\n'
    )
    site.chmod(0o600)
    return tmp_path


def build_dir(folder: Path) -> str:
    made = signed_build.weather()
    made.image("rpi_pico_w")
    made.image("esp32_generic")
    shutil.copytree(made.result.folder, folder / "built")
    return str(folder / "built")


def test_new_and_build(outpost: Outpost, bench: Path) -> None:
    assert outpost("new", "probe", "--driver", "dial", "--board", "rpi_pico_w").exit_code == 0
    again = outpost("new", "probe", "--json")
    assert (again.exit_code, again.json["error"]["code"]) == (7, "product-exists")
    keys = signed_build.ceremony()
    done = outpost(
        "build", "probe", "--json", "--sign", str(keys.key_path("release")),
        "--root", str(keys.root_path(1)), "--version", "2.0.0",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    made = done.json["result"]
    assert (made["product"], made["version"], made["boards"]) == ("probe", "2.0.0", ["rpi_pico_w"])
    assert all(Path(image).exists() for image in made["images"])


def test_build_refuses_with_a_remedy(outpost: Outpost, bench: Path) -> None:
    missing = outpost("build", "nowhere", "--json")
    assert missing.exit_code == 2
    assert "outpost new" in missing.json["error"]["fix"]
    assert outpost("new", "bad-name!", "--json").exit_code == 2
    assert outpost("new", "x", "--board", "no_such_board", "--json").exit_code == 2
    assert not (bench / "x").exists()


def test_flash_dry_run(outpost: Outpost, bench: Path) -> None:
    folder = build_dir(bench)
    plan = outpost(
        "flash", folder, "--board", "esp32_generic", "--port", "P", "--dry-run", "--json"
    )
    assert plan.exit_code == 0 and plan.json["result"]["dry_run"] is True
    assert "write-flash" in plan.json["result"]["plan"][0]
    missing = outpost("flash", folder, "--board", "esp32_generic_ota", "--port", "P", "--json")
    assert (missing.exit_code, missing.json["error"]["code"]) == (2, "no-image")


@pytest.mark.vm
def test_provision_label_and_audit(outpost: Outpost, bench: Path) -> None:
    folder = build_dir(bench)
    options = ["--build", folder, "--ca", "ca", "--site", "site.toml", "--no-scan", "--json"]
    first = outpost("provision", "--sim", "rpi_pico_w", "--operator", "seven", *options)
    assert first.exit_code == 0, first.stdout
    device = first.json["result"]["device"]
    again = outpost("provision", "--sim", "rpi_pico_w", *options)
    assert (again.exit_code, again.json["ok"]) == (7, True)
    assert again.json["result"]["device"] == device

    labelled = outpost("label", device.upper(), "--host", "fleet.example", "--json").json["result"]
    assert Path(labelled["file"]).read_text().startswith("<svg")
    scan = ["label", device, "--host", "fleet.example", "--json", "--scan"]
    assert outpost(*scan, labelled["payload"]).exit_code == 0
    assert outpost(*scan, labelled["payload"][:-1] + "?").exit_code == 2

    units = outpost("audit", "units", "--json").json["result"]["units"]
    assert [(unit["device"], unit["state"]) for unit in units] == [(device, "SEALED")]
    checked = outpost("audit", "verify", "--json").json["result"]
    assert outpost("audit", "verify", "--head", checked["head"]).exit_code == 0
    assert outpost("audit", "verify", "--head", "0" * 63 + "1").exit_code == 5
    shown = outpost("audit", "show", "--device", device).stdout
    assert "SEALED" in shown and "seven" in shown
    assert outpost("audit", "export", "--out", "copy.jsonl").exit_code == 0
    assert AuditLog(bench / "copy.jsonl").verify() == (checked["lines"], checked["head"])
    everything = shown + first.stdout + first.stderr + (bench / "copy.jsonl").read_text()
    assert PASSWORD not in everything


@pytest.mark.vm
def test_a_station_with_one_bad_slot(outpost: Outpost, bench: Path) -> None:
    from outpost.sim import SimBoard

    folder = build_dir(bench)
    shutil.copyfile(f"{folder}/factory/esp32_generic.img", "one.flash")
    options = ["--build", folder, "--ca", "ca", "--site", "site.toml", "--no-scan", "--json"]
    with SimBoard("esp32_generic", bench / "one.flash") as board:
        slots = ["--port", board.repl(), "--port", "socket://127.0.0.1:9"]
        done = outpost("station", *slots, *options)
    assert (done.exit_code, done.json["ok"]) == (10, False)
    rows = {row["port"]: row for row in done.json["result"]["units"]}
    assert sorted(row["ok"] for row in rows.values()) == [False, True]
    assert rows["socket://127.0.0.1:9"]["code"] == "port"


def test_usage_mistakes(outpost: Outpost, bench: Path) -> None:
    folder = build_dir(bench)
    options = ["--build", folder, "--ca", "ca", "--site", "site.toml", "--json"]
    assert outpost("provision", *options).exit_code == 2
    assert outpost("provision", "--port", "a", "--sim", "rpi_pico_w", *options).exit_code == 2
    assert outpost("provision", "--port", "a", *options, "--serials", "9-1").exit_code == 2
    twice = outpost("station", "--port", "a", "--port", "a", *options)
    assert twice.exit_code == 2
    assert outpost("audit", "verify", "--folder", "nowhere", "--json").exit_code == 2
    good = serials.device_id("weather", 1, __import__("datetime").date(2026, 11, 21))
    assert outpost("label", good[:-1] + "?", "--host", "h", "--json").exit_code == 2
