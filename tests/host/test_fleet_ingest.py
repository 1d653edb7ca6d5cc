"""What devices send, from the mouth of the honest, the broken and the hostile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node.core import record
from outpost.fleet import payload, senml, telemetry
from outpost.fleet.ingest import Ingest, Message
from outpost.fleet.payload import PayloadError
from outpost.fleet.registry import Command, Registry, Release

from tests.fleet_kit import SCHEMA, batch, identity

NOW = 1_795_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "registry.db")
    opened.devices.add(identity("w-1"), 0)
    opened.releases.add(
        Release("aa", "weather", "1.0.0", 0, b"", {}, record.schema_id(SCHEMA).hex()), SCHEMA
    )
    yield opened
    opened.close()


@pytest.fixture
def ingest(registry: Registry) -> Ingest:
    return Ingest(registry)


def say(
    ingest: Ingest,
    kind: str,
    body: object,
    device: str = "w-1",
    now: int = NOW,
    retained: bool = False,
) -> list[str]:
    raw = body if isinstance(body, bytes) else cbor2.dumps(body)
    message = Message(f"v1/{device}/up/{kind}", raw, now, retained)
    return [observed.kind for observed in ingest.accept(message)]


def value(registry: Registry, metric: str) -> float | None:
    return registry.telemetry.latest("w-1")["w-1"][metric].value


# --- telemetry


def test_packed_batch_is_expanded_by_the_published_schema(registry, ingest):
    assert say(ingest, "telemetry", batch(1, 5, [(2150, 101325), (-50, 101300)], NOW)) == ["seen"]
    assert (value(registry, "temperature"), value(registry, "pressure")) == (-0.5, 101300.0)
    assert registry.telemetry.series("w-1", "temperature", (0, 2 * NOW)) == [
        (NOW, 21.5),
        (NOW + 1000, -0.5),
    ]
    assert registry.telemetry.flow("w-1").received == 2


def test_redelivered_batch_is_counted_not_stored(registry, ingest):
    one = batch(1, 0, [(1, 1)] * 4, NOW)
    for _ in range(3):
        say(ingest, "telemetry", one)
    flow = registry.telemetry.flow("w-1")
    assert (flow.received, flow.duplicates, flow.lost) == (4, 8, 0)


def test_overlapping_batch_stores_only_its_news(registry, ingest):
    say(ingest, "telemetry", batch(1, 0, [(1, 1), (2, 1), (3, 1)], NOW))
    say(ingest, "telemetry", batch(1, 2, [(9, 1), (4, 1)], NOW + 60_000))
    points = registry.telemetry.series("w-1", "temperature", (0, 2 * NOW))
    assert [round(p[1] * 100) for p in points] == [1, 2, 3, 4]


def test_thinned_batch_is_no_loss_but_is_counted(registry, ingest):
    coarse = record.decode(batch(1, 0, [(n, 1) for n in (0, 4, 8)], NOW))
    coarse.stride = 4
    say(ingest, "telemetry", record.encode(coarse))
    flow = registry.telemetry.flow("w-1")
    assert (flow.received, flow.lost) == (3, 0)
    assert registry.telemetry.counter("thinned", "w-1") == 6


def test_undated_batch_is_dated_by_what_is_known_of_its_boot(registry, ingest):
    say(ingest, "event", {"t": "boot", "boot": 3, "seq": 0, "up": 500, "b": {}}, now=NOW)
    say(ingest, "telemetry", batch(3, 0, [(1, 1)], 1500, dated=False), now=NOW + 9_000)
    assert registry.telemetry.latest("w-1")["w-1"]["pressure"].ts_ms == NOW + 1000


def test_undated_batch_of_an_unknown_boot_is_dated_by_its_arrival(registry, ingest):
    say(ingest, "telemetry", batch(3, 0, [(1, 1), (1, 1)], 500_000, dated=False))
    assert registry.telemetry.latest("w-1")["w-1"]["pressure"].ts_ms == NOW


@pytest.mark.parametrize("wrong_ms", [1_609_459_200_000, NOW + 2 * 86_400_000])
def test_batch_of_a_clock_that_is_wrong_is_dated_by_its_arrival(registry, ingest, wrong_ms):
    say(ingest, "telemetry", batch(3, 0, [(1, 1), (2, 2)], wrong_ms))
    assert registry.telemetry.series("w-1", "pressure", (0, 2 * NOW)) == [(NOW - 1000, 1.0),
                                                                         (NOW, 2.0)]
    assert registry.telemetry.counter("redated", "w-1") == 2


def test_missing_values_are_left_out(registry, ingest):
    found = record.decode(batch(1, 0, [(1, 1)], NOW))
    found.columns[0][0], found.quality[0][0] = None, 2
    say(ingest, "telemetry", record.encode(found))
    assert set(registry.telemetry.latest("w-1")["w-1"]) == {"pressure"}


def test_scaling_rounds_once():
    assert [telemetry.scaled(n, -2) for n in (1, 7, 110, 2153, -29)] == [
        0.01,
        0.07,
        1.1,
        21.53,
        -0.29,
    ]
    assert telemetry.scaled(3, 2) == 300.0


def test_senml_of_other_peoples_devices(registry, ingest):
    pack = [
        {"bn": "urn:dev:x:", "bt": NOW / 1000, "bu": "Cel", "n": "in", "v": 21.5},
        {"n": "out", "t": -60, "v": -3},
        {"n": "door", "u": "/", "vb": True},
        {"n": "note", "vs": "ok"},
    ]
    say(ingest, "telemetry", json.dumps(pack).encode())
    latest = registry.telemetry.latest("w-1")["w-1"]
    assert latest["urn:dev:x:in"].value == 21.5
    assert (latest["urn:dev:x:out"].ts_ms, latest["urn:dev:x:out"].unit) == (NOW - 60_000, "Cel")
    assert latest["urn:dev:x:door"].value == 1.0 and latest["urn:dev:x:note"].text == "ok"


def test_senml_cbor_uses_the_labels_of_the_rfc():
    pack = cbor2.dumps(
        [{-2: "dev:", -3: NOW // 1000, 0: "t", 1: "Cel", 2: 20.5}, {0: "x", 4: False}]
    )
    found = senml.from_cbor(pack, NOW)
    assert [(r.metric, r.value, r.unit) for r in found] == [
        ("dev:t", 20.5, "Cel"),
        ("dev:x", 0.0, ""),
    ]


def test_relative_times_count_from_now():
    assert senml.readings([{"n": "a", "v": 1, "t": -5}], NOW)[0].ts_ms == NOW - 5000


@pytest.mark.parametrize(
    "pack, code",
    [
        ({}, "senml-pack"),
        ([], "senml-pack"),
        ([1], "senml-record"),
        ([{"v": 1}], "senml-name"),
        ([{"n": "a", "v": "1"}], "senml-field"),
        ([{"n": "a", "v": True}], "senml-field"),
        ([{"n": "a", "v": float("nan")}], "senml-field"),
        ([{"n": "a", "v": 10**400}], "senml-field"),
        ([{"n": "a", "v": 1, "x_": 1}], "senml-mandatory"),
        ([{"n": "a b", "v": 1}], "senml-name"),
        ([{"n": "<script>", "v": 1}], "senml-name"),
        ([{"n": "a" * 200, "v": 1}], "senml-name"),
        ([{"n": "a", "v": 1, "t": 1e30}], "senml-time"),
        ([{"n": "a", "vb": 1}], "senml-field"),
        ([{"n": "a", "v": 1, "bver": 99}], "senml-version"),
        ([{"n": 1, "v": 1}], "senml-field"),
        ([{"n": "a", "vs": 1}], "senml-field"),
        ([{"n": "a", "v": 1, "bt": -1e300}], "senml-time"),
    ],
)
def test_bad_senml_has_its_code(pack, code):
    with pytest.raises(PayloadError) as caught:
        senml.readings(pack, NOW)
    assert caught.value.code == code


# --- what cannot be read

_BAD = {
    b"": "empty",
    b"\xff\x00": "unknown-format",
    b"\x01": "batch-short",
    b"\x01\xff": "batch-flags",
    b"[": "senml-json",
    b"[" * 60_000: "senml-json",
    b"\x81": "cbor",
    b"\x81\x01": "senml-record",
    b"\x80\x00": "cbor-trailing",
    b"\x81" * 60_000 + b"\x80": "cbor",
    cbor2.dumps([{0: "a", 2: 1}])[:-1]: "cbor",
}


@pytest.mark.parametrize("raw", _BAD)
def test_unreadable_telemetry_is_counted_and_kept(registry, ingest, raw):
    assert say(ingest, "telemetry", raw) == []
    assert registry.telemetry.counter("malformed", "w-1") == 1
    reject = registry.journal.rejects("w-1")[0]
    assert reject.code.startswith(_BAD[raw])
    assert reject.payload == raw[:4096] and reject.size == len(raw)


def test_batch_of_an_unpublished_schema_names_the_schema(registry, ingest):
    raw = bytearray(batch(1, 0, [(1, 1)], NOW))
    raw[2:6] = b"\xde\xad\xbe\xef"
    say(ingest, "telemetry", bytes(raw))
    reject = registry.journal.rejects()[0]
    assert (reject.code, reject.detail) == ("unknown-schema", "deadbeef")


def test_every_flipped_byte_and_every_cut_of_a_batch_is_stored_or_refused(registry, ingest):
    good = batch(1, 0, [(2150, 101325), (2160, 101300)], NOW)
    for index in range(len(good)):
        for mask in (1, 0x80, 0xFF):
            say(
                ingest, "telemetry", good[:index] + bytes([good[index] ^ mask]) + good[index + 1 :]
            )
        say(ingest, "telemetry", good[:index])
    assert registry.telemetry.counter("malformed", "w-1") > len(good)
    codes = {reject.code for reject in registry.journal.rejects("w-1")}
    assert "internal" not in codes


def test_cbor_that_contains_itself_is_refused():
    # 28(['x', 29(0)]): tag 29 refers back to the array it is in.
    with pytest.raises(PayloadError):
        payload.plain(bytes.fromhex("d81c82617 8d81d00".replace(" ", "")))


def test_cbor_that_unfolds_into_millions_of_items_is_refused_quickly():
    # Eight arrays, each ten references (tag 29) to the one before (tag 28).
    levels = ["d81c8100", *("d81c8a" + f"d81d{index:02x}" * 10 for index in range(7))]
    started = time.process_time()
    with pytest.raises(PayloadError) as caught:
        payload.plain(bytes.fromhex("88" + "".join(levels)))
    assert caught.value.code == "cbor-limit"
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "raw", ["c11a5f5e1000", "d82363282e2a", "c0613a", "d9010281", "f7", "a1f601", "a1830102030405"]
)
def test_cbor_tags_and_keys_with_a_life_of_their_own_are_refused(raw):
    with pytest.raises(PayloadError):
        payload.plain(bytes.fromhex(raw))


def test_unknown_topics_are_kept_too(registry, ingest):
    for topic in ("v1/w-1/up/other", "v2/w-1/up/event", "v1/w-1/event", "", "v1/../up/event/x"):
        assert ingest.accept(Message(topic, b"x", NOW)) == []
    assert [r.code for r in registry.journal.rejects()] == ["topic"] * 5


def test_unknown_and_retired_devices_are_written_down_and_ignored(registry, ingest):
    say(ingest, "status", {"on": True}, device="nobody")
    registry.devices.set_state("w-1", "decommissioned")
    say(ingest, "status", {"on": True, "heap": 1})
    assert [e.kind for e in registry.journal.security()] == ["retired-device", "unknown-device"]
    assert registry.devices.get("w-1").heartbeat == {}


# --- the rest


def test_event_is_stored_once_and_observed_once(registry, ingest):
    event = {
        "t": "update",
        "boot": 1,
        "seq": 7,
        "up": 10,
        "ts": NOW // 1000,
        "b": {"s": "verified", "release": b"\xaa" * 32},
    }
    assert say(ingest, "event", event) == ["seen", "update"]
    assert say(ingest, "event", event) == ["seen"]
    stored = registry.journal.events("w-1")
    assert [e.ts_ms for e in stored] == [NOW // 1000 * 1000]
    assert stored[0].body == {"s": "verified", "release": "aa" * 32}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"t": 1},
        {"t": ""},
        {"t": "x", "b": 1},
        {"t": "x", "boot": -1},
        {"t": "x", "seq": 2**32},
        {"t": "x", "boot": True},
        {"t": "x", "boot": "1"},
        [1],
        "text",
        {1: 2},
    ],
)
def test_misshapen_events_are_kept_as_rejects(registry, ingest, body):
    assert say(ingest, "event", body) == []
    assert registry.journal.events() == [] and len(registry.journal.rejects()) == 1


def test_clock_that_was_never_set_dates_nothing(registry, ingest):
    say(ingest, "event", {"t": "boot", "boot": 1, "seq": 1, "up": 5, "ts": 1_600, "b": {}})
    assert registry.journal.events()[0].ts_ms is None


def test_state_and_heartbeat_land_in_the_device(registry, ingest):
    say(
        ingest,
        "state",
        {
            "version": "1.0.0",
            "slot": "a",
            "epoch": 2,
            "release": b"\x01" * 32,
            "confirmed": True,
            "extra": [1],
        },
    )
    say(ingest, "status", {"on": True, "up": 60, "boot": 4, "rst": "watchdog", "heap": 9})
    found = registry.devices.get("w-1")
    assert (found.version, found.epoch, found.release) == ("1.0.0", 2, "01" * 32)
    assert (found.boot, found.reset_cause, found.heartbeat["heap"]) == (4, "watchdog", 9)
    assert found.confirmed and found.online and found.reported["extra"] == [1]


def test_retained_messages_are_no_sign_of_life(registry, ingest):
    assert say(ingest, "state", {"version": "1.0.0"}, retained=True) == ["state-retained"]
    say(ingest, "status", {"on": True, "heap": 1}, retained=True)
    found = registry.devices.get("w-1")
    assert (found.version, found.last_seen_ms, found.online) == ("1.0.0", None, False)
    assert say(ingest, "status", b"", retained=True) == [], "a cleared retained message"


def test_will_marks_offline(registry, ingest):
    say(ingest, "status", {"on": True})
    assert say(ingest, "status", {"on": False}, now=NOW + 5) == []
    found = registry.devices.get("w-1")
    assert (found.online, found.last_seen_ms) == (False, NOW)


def test_reply_answers_the_command_of_its_device_only(registry, ingest):
    registry.devices.add(identity("w-2"), 0)
    registry.commands.add(Command("c1", "w-1", "ping", {}, 0, 9))
    say(ingest, "reply", {"id": "c1", "ok": True, "r": {"n": b"\x01"}}, device="w-2")
    assert registry.commands.get("c1").ok is None
    say(ingest, "reply", {"id": "c1", "ok": True, "r": {"n": b"\x01"}})
    assert registry.commands.get("c1").reply["r"] == {"n": "01"}


def test_log_is_text_whatever_the_bytes(registry, ingest):
    say(ingest, "log", b"\xff\xfe hello \x1b[31m")
    assert "hello" in registry.journal.events(type="log")[0].body["text"]


# --- anything at all

_KINDS = st.sampled_from(["telemetry", "event", "state", "status", "reply", "log", "csr"])
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "t",
                    "b",
                    "boot",
                    "seq",
                    "up",
                    "ts",
                    "on",
                    "id",
                    "s",
                    "release",
                    "n",
                    "v",
                    0,
                    2,
                    6,
                    -3,
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kind=_KINDS, body=_VALUES.map(cbor2.dumps) | st.binary(max_size=80), retained=st.booleans())
def test_nothing_a_device_sends_raises(registry, ingest, kind, body, retained):
    ingest.accept(Message(f"v1/w-1/up/{kind}", body, NOW, retained))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pack=st.lists(
        st.dictionaries(
            st.sampled_from(["n", "bn", "v", "bt", "t", "u", "vs", "bver"]), _VALUES, max_size=5
        ),
        max_size=3,
    )
)
def test_no_senml_raises_anything_but_its_own_error(pack):
    try:
        for reading in senml.readings(pack, NOW):
            reading.metric.encode()
            reading.unit.encode()
            assert 0 <= reading.ts_ms < 2**63
    except PayloadError:
        pass
