"""The registry's contract: what callers may rely on, whatever database is behind it.

`ADAPTERS` lists ways to open an empty registry; another adapter passes by being added there.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outpost.errors import OutpostError
from outpost.fleet.registry import (
    Command,
    Event,
    Head,
    Identity,
    Reading,
    Registry,
    Reject,
    Release,
    RolloutRow,
    SecurityEvent,
)
from outpost.fleet.registry import journal as journal_module
from outpost.fleet.registry.telemetry import _holes

ADAPTERS: dict[str, Callable[[Path], Registry]] = {
    "sqlite": lambda folder: Registry.open(folder / "registry.db")
}


@pytest.fixture(params=list(ADAPTERS))
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    opened = ADAPTERS[request.param](tmp_path)
    yield opened
    opened.close()


def device(name: str, **fields: str) -> Identity:
    return Identity(name, "weather", "sim", **fields)


# --- devices


def test_enrolled_device_is_found_and_new(registry):
    registry.devices.add(device("w-1", hw_uid="11", cert_serial="a", spki_sha256="b"), 7)
    found = registry.devices.get("w-1")
    assert (found.state, found.created_ms, found.online, found.version) == (
        "active",
        7,
        False,
        None,
    )
    assert registry.devices.by_hw_uid("11") == found
    assert registry.devices.all() == [found] == registry.devices.all("weather")
    assert registry.devices.all("other") == []
    assert registry.devices.find("w-2") is None


def test_enrolling_again_is_harmless_and_keeps_what_is_known(registry):
    registry.devices.add(device("w-1", hw_uid="11"), 7)
    registry.devices.seen("w-1", 9, online=True)
    registry.devices.add(device("w-1", hw_uid="11", cert_serial="c"), 8)
    found = registry.devices.get("w-1")
    assert (found.created_ms, found.last_seen_ms, found.cert_serial) == (7, 9, "c")


@pytest.mark.parametrize("field", ["hw_uid", "cert_serial", "spki_sha256"])
def test_what_identifies_hardware_belongs_to_one_device(registry, field):
    registry.devices.add(device("w-1", **{field: "same"}), 0)
    with pytest.raises(OutpostError) as caught:
        registry.devices.add(device("w-2", **{field: "same"}), 0)
    assert (caught.value.code, caught.value.exit_code) == ("clone", 7)
    assert registry.devices.ids() == ["w-1"]


def test_name_of_another_board_is_not_given_away(registry):
    registry.devices.add(device("w-1", hw_uid="11"), 0)
    with pytest.raises(OutpostError) as caught:
        registry.devices.add(device("w-1", hw_uid="22"), 0)
    assert caught.value.code == "device-taken"


@pytest.mark.parametrize(
    "name", ["", "-a", "A", "a/b", "a+", "#", "_ingest", "a" * 64, "a\n", "ä", "a b", "."]
)
def test_names_that_could_escape_a_topic_are_refused(registry, name):
    with pytest.raises(OutpostError) as caught:
        registry.devices.add(device(name), 0)
    assert caught.value.code == "device-id"


def test_seen_never_goes_back_and_gone_is_no_sign_of_life(registry):
    registry.devices.add(device("w-1"), 0)
    registry.devices.seen("w-1", 50, online=True)
    registry.devices.seen("w-1", 40)
    assert registry.devices.get("w-1").last_seen_ms == 50
    registry.devices.gone("w-1")
    found = registry.devices.get("w-1")
    assert (found.online, found.last_seen_ms) == (False, 50)


def test_reported_state_of_the_wrong_kind_becomes_unknown(registry):
    registry.devices.add(device("w-1"), 0)
    registry.devices.report("w-1", {"version": 7, "slot": None, "epoch": "x", "confirmed": 1})
    found = registry.devices.get("w-1")
    assert (found.version, found.slot, found.epoch, found.confirmed) == (None, None, None, False)


def test_state_outside_the_list_is_refused(registry):
    registry.devices.add(device("w-1"), 0)
    with pytest.raises(sqlite3.IntegrityError):
        registry.devices.set_state("w-1", "vanished")
    with pytest.raises(OutpostError):
        registry.devices.set_state("w-2", "suspended")


# --- telemetry


def test_records_are_claimed_once_and_holes_are_the_loss(registry):
    claim = registry.telemetry.claim
    assert claim("w-1", 1, 0, 4) == [(0, 4)]
    assert claim("w-1", 1, 3, 6) == [(5, 6)]
    assert claim("w-1", 1, 10, 12) == [(10, 12)]
    assert registry.telemetry.flow("w-1").lost == 3
    assert claim("w-1", 1, 0, 20) == [(7, 9), (13, 20)]
    assert claim("w-1", 1, 0, 20) == []
    assert claim("w-1", 2, 0, 0) == [(0, 0)], "another boot"
    assert claim("w-2", 1, 0, 0) == [(0, 0)], "another device"
    assert registry.telemetry.flow("w-1").lost == 0


def test_claims_agree_with_a_set_of_numbers(registry):
    rng = random.Random(1)
    known: set[int] = set()
    for _ in range(300):
        first = rng.randrange(200)
        last = first + rng.randrange(12)
        wanted = set(range(first, last + 1))
        fresh = {
            n for a, b in registry.telemetry.claim("w-1", 1, first, last) for n in range(a, b + 1)
        }
        assert fresh == wanted - known
        known |= wanted
    holes = max(known) - min(known) + 1 - len(known)
    assert registry.telemetry.flow("w-1").lost == holes


def test_holes():
    assert _holes(0, 9, []) == [(0, 9)]
    assert _holes(0, 9, [(0, 9)]) == []
    assert _holes(5, 6, [(0, 4), (7, 9)]) == [(5, 6)]
    assert _holes(0, 9, [(2, 3), (5, 20)]) == [(0, 1), (4, 4)]


def test_latest_is_by_time_not_by_arrival(registry):
    store = registry.telemetry.store
    store("w-1", [Reading("t", 200, 2.0, "Cel"), Reading("t", 100, 1.0, "Cel")])
    store("w-1", [Reading("t", 150, 1.5, "Cel"), Reading("s", 1, None, "", "on")])
    latest = registry.telemetry.latest("w-1")["w-1"]
    assert (latest["t"].value, latest["t"].ts_ms, latest["s"].text) == (2.0, 200, "on")
    assert registry.telemetry.series("w-1", "t", (0, 999)) == [(100, 1.0), (150, 1.5), (200, 2.0)]
    assert registry.telemetry.series("w-1", "t", (120, 180)) == [(150, 1.5)]
    assert registry.telemetry.latest("w-2") == {}


def test_thinned_series_keep_the_newest_point(registry):
    registry.telemetry.store("w-1", [Reading("t", n, float(n)) for n in range(1001)])
    points = registry.telemetry.series("w-1", "t", (0, 9999), limit=100)
    assert len(points) <= 100 and points[-1] == (1000, 1000.0) and points == sorted(points)


def test_old_telemetry_expires(registry):
    registry.telemetry.store("w-1", [Reading("t", n, 0.0) for n in (1, 2, 3)])
    assert registry.telemetry.expire(3) == 2
    assert registry.telemetry.series("w-1", "t", (0, 9)) == [(3, 0.0)]


def test_clock_of_a_boot_certain_beats_estimated_and_the_smallest_estimate_counts(registry):
    learn, clock = registry.telemetry.learn_clock, registry.telemetry.clock
    assert clock("w-1", 1) is None
    learn("w-1", 1, 500, certain=False)
    learn("w-1", 1, 300, certain=False)
    learn("w-1", 1, 400, certain=False)
    assert clock("w-1", 1) == 300
    learn("w-1", 1, 450, certain=True)
    learn("w-1", 1, 100, certain=False)
    assert clock("w-1", 1) == 450


def test_counters_add_up_by_device(registry):
    for name, by in (("w-1", 2), ("w-2", 3), ("w-1", 0)):
        registry.telemetry.count(name, "malformed", by)
    assert registry.telemetry.counter("malformed", "w-1") == 2
    assert registry.telemetry.counter("malformed") == 5


# --- journal


def test_event_arrives_once(registry):
    event = Event("w-1", "boot", {"a": [1]}, boot=1, seq=2, ts_ms=3, received_ms=4)
    assert registry.journal.add_event(event)
    assert not registry.journal.add_event(event)
    assert registry.journal.add_event(Event("w-1", "boot", {}, received_ms=5))
    found = registry.journal.events("w-1")
    assert [e.received_ms for e in found] == [5, 4]
    assert found[1].body == {"a": [1]}
    assert registry.journal.events(type="update") == []


def test_what_strangers_cause_is_bounded_oldest_first(registry, monkeypatch):
    monkeypatch.setattr(journal_module, "MAX_EVENTS_PER_DEVICE", 3)
    monkeypatch.setattr(journal_module, "MAX_SECURITY", 3)
    monkeypatch.setattr(journal_module, "MAX_REJECTS_PER_DEVICE", 3)
    registry.journal.add_event(Event("w-2", "log", {}))
    for number in range(10):
        registry.journal.add_event(Event("w-1", "log", {"n": number}))
        registry.journal.add_security(SecurityEvent(number, "k", "", "", ""))
        registry.journal.add_reject(Reject(number, "w-1", "t", "c", "d", b"x" * 9999))
    assert [e.body["n"] for e in registry.journal.events("w-1")] == [9, 8, 7]
    assert len(registry.journal.events("w-2")) == 1, "others keep theirs"
    assert [e.ts_ms for e in registry.journal.security()] == [9, 8, 7]
    rejects = registry.journal.rejects("w-1")
    assert [r.ts_ms for r in rejects] == [9, 8, 7]
    assert (len(rejects[0].payload), rejects[0].size) == (4096, 9999)


def test_audit_chain_shows_an_edit_and_a_removal(registry, tmp_path):
    for number in range(4):
        registry.audit.add(number, "me", "publish", f"r{number}", {"n": number})
    assert registry.audit.verify() is None
    assert [line.number for line in registry.audit.lines()] == [4, 3, 2, 1]
    raw = sqlite3.connect(tmp_path / "registry.db")
    for statement in (
        "UPDATE audit SET actor = 'you' WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(statement)
    raw.executescript("DROP TRIGGER audit_keeps; UPDATE audit SET actor = 'you' WHERE number = 2;")
    assert registry.audit.verify() == 2
    raw.executescript("DROP TRIGGER audit_stays; DELETE FROM audit WHERE number = 2;")
    assert registry.audit.verify() == 2
    raw.close()


# --- releases, heads, rollouts, commands


def release(version: str = "1.0.0", digest: str = "aa") -> Release:
    return Release(digest, "weather", version, 0, b"doc", {"boards": {}}, "abcd", 5)


def test_release_is_kept_with_its_schema_and_never_changes(registry):
    registry.releases.add(release(), b"schema")
    registry.releases.add(release(), b"schema")
    assert (
        registry.releases.get("aa")
        == release()
        == registry.releases.by_version("weather", "1.0.0")
    )
    assert registry.releases.schema("abcd") == b"schema"
    assert registry.releases.schema("ffff") is None
    with pytest.raises(OutpostError) as caught:
        registry.releases.add(release(digest="bb"), b"schema")
    assert caught.value.code == "version-taken"
    with pytest.raises(OutpostError):
        registry.releases.by_version("weather", "9.9.9")
    with pytest.raises(OutpostError):
        registry.releases.get("zz")


def test_head_sequence_only_rises(registry):
    registry.releases.set_head(Head("w-1", "aa", 5, 1, 2, b"five"))
    for sequence in (5, 4, 1):
        with pytest.raises(OutpostError) as caught:
            registry.releases.set_head(Head("w-1", "bb", sequence, 1, 2, b"other"))
        assert caught.value.code == "head-sequence"
    registry.releases.set_head(Head("w-1", "bb", 6, 1, 2, b"six"))
    assert registry.releases.head("w-1").document == b"six"
    assert registry.releases.head("w-2") is None
    assert [head.name for head in registry.releases.heads()] == ["w-1"]


def test_rollout_is_saved_with_the_devices_that_changed(registry):
    row = RolloutRow("r-1", "weather", "aa", "running", 1, {"stage": 0})
    registry.rollouts.save(row, {"w-1": ("pending", {"n": 1}), "w-2": ("pending", {})})
    registry.rollouts.save(
        RolloutRow("r-1", "weather", "aa", "paused", 1, {"stage": 1}),
        {"w-1": ("offered", {"n": 2})},
    )
    assert registry.rollouts.devices("r-1") == {
        "w-1": ("offered", {"n": 2}),
        "w-2": ("pending", {}),
    }
    assert [(r.state, r.document) for r in registry.rollouts.all()] == [("paused", {"stage": 1})]


def test_command_is_answered_once_and_only_by_its_device(registry):
    registry.commands.add(Command("c1", "w-1", "ping", {"n": 1}, 10, 20))
    assert not registry.commands.replied("w-2", "c1", True, {}, 11)
    assert registry.commands.replied("w-1", "c1", True, {"r": 1}, 12)
    assert not registry.commands.replied("w-1", "c1", False, {}, 13)
    found = registry.commands.get("c1")
    assert (found.ok, found.reply, found.replied_ms) == (True, {"r": 1}, 12)
    assert registry.commands.of("w-1") == [found]


# --- transactions


def test_failed_transaction_leaves_nothing(registry):
    with pytest.raises(RuntimeError), registry.transaction():
        registry.devices.add(device("w-1"), 0)
        raise RuntimeError
    assert registry.devices.ids() == []


def test_failed_inner_step_undoes_only_itself(registry):
    with registry.transaction():
        registry.devices.add(device("w-1"), 0)
        with pytest.raises(RuntimeError), registry.transaction():
            registry.devices.add(device("w-2"), 0)
            raise RuntimeError
        registry.devices.add(device("w-3"), 0)
    assert registry.devices.ids() == ["w-1", "w-3"]


def test_readers_do_not_see_half_a_batch_and_are_not_blocked(registry):
    inside, checked, seen = threading.Event(), threading.Event(), []

    def read() -> None:
        inside.wait(5)
        seen.append(registry.devices.ids())
        checked.set()

    thread = threading.Thread(target=read)
    thread.start()
    with registry.transaction():
        registry.devices.add(device("w-1"), 0)
        inside.set()
        assert checked.wait(5), "a reader waits for a writer"
    thread.join()
    assert seen == [[]] and registry.devices.ids() == ["w-1"]


def test_writers_of_several_threads_take_turns(registry):
    def write(number: int) -> None:
        for step in range(20):
            registry.audit.add(step, f"t{number}", "x", "y")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.audit.lines(1000)) == 80 and registry.audit.verify() is None


def test_two_processes_may_share_the_file(registry, tmp_path):
    other = Registry.open(tmp_path / "registry.db")
    other.devices.add(device("w-1"), 0)
    assert registry.devices.ids() == ["w-1"]
    other.close()
