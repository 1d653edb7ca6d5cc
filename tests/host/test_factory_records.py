"""Serial numbers, the audit log, the journal, site settings: what a factory keeps and is asked for
later.
"""

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loader import cbor
from node.core.wifi import networks_from
from outpost.errors import OutpostError
from outpost.factory import serials
from outpost.factory.audit import AuditLog
from outpost.factory.journal import Journal
from outpost.factory.network import Wifi
from outpost.factory.settings import DeviceSettings, load_settings

DAY = datetime.date(2026, 11, 21)


# --- serial numbers


def test_the_form_of_a_serial() -> None:
    made = serials.device_id("soil_probe", 42, DAY)
    assert made.startswith("soil-probe-2647-000042-")
    assert serials.check(f" {made.upper()} ") == made


def test_the_check_character_finds_single_mistakes() -> None:
    made = serials.device_id("weather", 123456, DAY)
    for place, right in enumerate(made[:-2]):
        for wrong in "0123456789abcdefghijklmnopqrstuvwxyz":
            if wrong == right or right == "-":
                continue
            with pytest.raises(OutpostError):
                serials.check(made[:place] + wrong + made[place + 1 :])


def test_the_check_character_finds_swaps() -> None:
    made = serials.device_id("weather", 192837, DAY)
    for place in range(len(made) - 3):
        left, right = made[place], made[place + 1]
        if left == right or "-" in (left, right) or {left, right} == {"0", "z"}:
            continue
        with pytest.raises(OutpostError):
            serials.check(made[:place] + right + left + made[place + 2 :])


@pytest.mark.parametrize("text", ["", "weather", "weather-2647-000001", "weather-2647-1-x"])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(OutpostError) as caught:
        serials.check(text)
    assert caught.value.code == "serial-form"


# --- the audit log


def filled(path: Path, lines: int = 5) -> AuditLog:
    log = AuditLog(path, "operator-7", "bench-1")
    for number in range(lines):
        log.append("done", uid=f"uid-{number}")
    return log


def test_a_whole_log_verifies(tmp_path: Path) -> None:
    log = filled(tmp_path / "audit.jsonl")
    count, head = log.verify()
    assert count == 5 and log.verify(head) == (5, head)
    log.append("done", uid="later")
    assert log.verify(head)[0] == 6
    first = next(iter(log.lines()))
    assert (first["who"], first["where"], first["seq"]) == ("operator-7", "bench-1", 1)


def edits() -> dict[str, object]:
    return {
        "a changed value": lambda rows: [rows[0].replace(b"uid-0", b"uid-9"), *rows[1:]],
        "a removed line": lambda rows: rows[:2] + rows[3:],
        "a removed first line": lambda rows: rows[1:],
        "swapped lines": lambda rows: [rows[1], rows[0], *rows[2:]],
        "a doubled line": lambda rows: [rows[0], *rows],
        "not JSON": lambda rows: [b"{", *rows[1:]],
        "not a map": lambda rows: [b"[]", *rows[1:]],
    }


@pytest.mark.parametrize("name", list(edits()))
def test_tampering_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "audit.jsonl"
    log = filled(path)
    rows = path.read_bytes().splitlines()
    change = edits()[name]
    path.write_bytes(b"".join(row + b"\n" for row in change(rows)))  # type: ignore[operator]
    with pytest.raises(OutpostError) as caught:
        log.verify()
    assert (caught.value.code, caught.value.exit_code) == ("audit-broken", 5)


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = filled(path, 2)
    whole = path.read_bytes()
    _, head = log.verify()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(OutpostError):
            log.verify(head)


def test_a_cut_off_end_is_found_by_its_head(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = filled(path)
    _, head = log.verify()
    path.write_bytes(b"".join(row + b"\n" for row in path.read_bytes().splitlines()[:3]))
    assert log.verify()[0] == 3
    with pytest.raises(OutpostError):
        log.verify(head)


def test_a_torn_line_is_removed_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = filled(path)
    with path.open("ab") as file:
        file.write(b'{"event":"done","uid":"half')
    log.append("done", uid="after")
    assert log.verify()[0] == 7
    assert [line["event"] for line in log.lines()][-2:] == ["torn-line-removed", "done"]


def test_slots_that_log_at_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: AuditLog(path).append("done", n=n), range(40)))
    assert AuditLog(path).verify()[0] == 40
    assert {line["n"] for line in AuditLog(path).lines()} == set(range(40))


# --- the journal


def test_a_serial_is_given_out_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    uids = [f"uid-{n}" for n in range(24)]
    for uid in uids:
        journal.identified(uid, "rpi_pico_w", {})
    with ThreadPoolExecutor(8) as pool:
        units = list(pool.map(lambda uid: journal.reserve(uid, "weather", DAY), uids * 2))
    assert len({unit.device_id for unit in units}) == 24
    assert {unit.device_id[:-2] for unit in units if unit.device_id} == {
        f"weather-2647-{n:06}" for n in range(1, 25)
    }
    journal.close()


def test_a_station_keeps_to_its_block(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for uid in ("one", "two", "three"):
        journal.identified(uid, "rpi_pico_w", {})
    block = (1000, 1001)
    made = [journal.reserve(uid, "weather", DAY, block).device_id for uid in ("one", "two")]
    assert [str(name)[13:19] for name in made] == ["001000", "001001"]
    with pytest.raises(OutpostError) as caught:
        journal.reserve("three", "weather", DAY, block)
    assert caught.value.code == "serials-used-up"
    assert journal.reserve("one", "weather", DAY, block).device_id == made[0]
    journal.close()


def test_the_journal_is_on_the_disk_when_it_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    journal.close()


# --- site settings

SITE = """
broker = { host = "broker.example", port = 8884 }
update = { url = "https://fleet.example/update" }
wifi = [{ ssid = "plant", psk = "secret words" }]
ntp = ["time.example"]
"""


def site(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_site_file(tmp_path: Path) -> None:
    settings = load_settings(site(tmp_path, SITE))
    assert settings.wifi == (Wifi("plant", "secret words"),)
    assert "secret" not in repr(settings)
    told = cbor.decode(settings.encode("weather-1"))
    assert told == {
        "id": "weather-1",
        "broker": {"host": "broker.example", "port": 8884},
        "update": {"url": "https://fleet.example/update", "head": "weather-1"},
        "wifi": [{"ssid": "plant", "psk": "secret words"}],
        "ntp": ["time.example"],
    }


NETWORKS = """
broker = { host = "broker.example" }
update = { url = "https://fleet.example/update" }
country = "DE"
power_save = "none"
dns = ["10.0.0.53"]
probe = "http://probe.example/204"
wifi = [
  { ssid = "yard", psk = "secret words", hidden = true, priority = 3 },
  { ssid = "plant", psk = "", static = ["10.0.0.9", "255.255.255.0", "10.0.0.1", "10.0.0.1"] },
]
"""


def test_all_that_a_site_file_says_of_networks(tmp_path: Path) -> None:
    told = cbor.decode(load_settings(site(tmp_path, NETWORKS)).encode("w-1"))
    yard, plant = told["wifi"]
    assert yard == {"ssid": "yard", "psk": "secret words", "prio": 3, "hidden": True}
    assert plant["static"] == ["10.0.0.9", "255.255.255.0", "10.0.0.1", "10.0.0.1"]
    assert {name: told[name] for name in ("country", "pm", "dns", "probe")} == {
        "country": "DE",
        "pm": "none",
        "dns": ["10.0.0.53"],
        "probe": "http://probe.example/204",
    }
    understood = networks_from(told["wifi"])
    assert [net.ssid for net in understood] == ["yard", "plant"]
    assert understood[0].hidden and understood[0].priority == 3
    assert understood[1].static == ("10.0.0.9", "255.255.255.0", "10.0.0.1", "10.0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        'country = "Germany"',
        'power_save = "much"',
        'dns = ["one"]',
        'static = ["10.0.0.1"]',
        'probe = "https://probe.example"',
        'wifi = [{ ssid = "x", psk = "short" }]',
        'wifi = [{ ssid = "" }]',
        'wifi = [{ ssid = "x", hide = true }]',
    ],
)
def test_networks_that_are_wrong(tmp_path: Path, line: str) -> None:
    head = SITE.replace('wifi = [{ ssid = "plant", psk = "secret words" }]\n', "")
    with pytest.raises(OutpostError) as caught:
        load_settings(site(tmp_path, head + line))
    assert (caught.value.code, caught.value.exit_code) == ("site-invalid", 2)
    assert "short" not in caught.value.message


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutpostError) as caught:
        load_settings(site(tmp_path, SITE, 0o644))
    assert "chmod 600" in (caught.value.fix or "")
    assert "secret" not in caught.value.message


def test_the_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPOST_WIFI_PSK", "from outside")
    settings = load_settings(site(tmp_path, SITE.replace(', psk = "secret words"', ""), 0o644))
    assert settings.wifi[0].psk == "from outside"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broker = 1",
        SITE + "extra = 1",
        SITE.replace("8884", '"x"'),
        "broker = {",
        "wifi = [1]",
    ],
)
def test_site_files_that_are_wrong(tmp_path: Path, text: str) -> None:
    with pytest.raises(OutpostError) as caught:
        load_settings(site(tmp_path, text))
    assert (caught.value.code, caught.value.exit_code) == ("site-invalid", 2)


def test_a_named_head() -> None:
    settings = DeviceSettings("b", 1, "u", head="stable")
    assert cbor.decode(settings.encode("x"))["update"]["head"] == "stable"
    assert json.dumps(settings.ntp) == "[]"
