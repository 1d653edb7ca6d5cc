"""What mosquitto writes, line by line as 2.0 writes it, and what is made of it."""

import pytest
from outpost.fleet.brokerlog import LogReader, Refusal


def read(*lines):
    reader = LogReader()
    return [found for line in lines if (found := reader.feed(line))]


CONNECTION = "1795227411: New connection from 192.0.2.7:48801 on port 18883."
CLOSED = "1795227411: Client <unknown> disconnected: Protocol error."


@pytest.mark.parametrize(
    "reason", ["certificate verify failed", "peer did not return a certificate", "http request"]
)
def test_failed_handshake_has_its_address_and_reason(reason):
    error = f"1795227411: OpenSSL Error[0]: error:0A000086:SSL routines::{reason}"
    assert read(CONNECTION, error, CLOSED) == [Refusal("certificate", "", "192.0.2.7", reason)]


def test_handshake_that_fails_at_once_comes_in_one_line():
    line = (
        "1795229202: Client connection from 192.0.2.7 failed: "
        "error:0A000086:SSL routines::certificate verify failed."
    )
    assert read(line) == [Refusal("certificate", "", "192.0.2.7", "certificate verify failed")]


def test_address_of_newer_brokers_wins():
    error = "1: OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed"
    closed = "1: Client <unknown> [198.51.100.9:40000] disconnected: Protocol error."
    assert read(CONNECTION, error, closed)[0].address == "198.51.100.9"


def test_link_that_breaks_is_no_refusal():
    eof = "error:0A000126:SSL routines::unexpected eof while reading"
    assert read(CONNECTION, f"1: OpenSSL Error[0]: {eof}", CLOSED) == []
    assert read(f"1: Client connection from 127.0.0.1 failed: {eof}.") == []


def test_denied_publish_names_device_and_topic():
    line = "1: Denied PUBLISH from w-1 (d0, q1, r0, m2, 'v1/w-2/up/telemetry', ... (1 bytes))"
    assert read(line) == [Refusal("publish", "w-1", "", "v1/w-2/up/telemetry")]
    quoted = "1: Denied PUBLISH from w-1 (d0, q1, r0, m2, 'v1/o'x', (d0, '/up', ... (1 bytes))"
    assert read(quoted)[0].detail == "v1/o'x', (d0, '/up"


def test_subscriptions_outside_the_own_subtree():
    lines = [
        "1: w-1 1 v1/w-1/down/#",
        "1: w-1 1 v1/w-2/down/#",
        "1: w-1 0 #",
        "1: _ingest 1 v1/+/up/#",
    ]
    assert [(r.kind, r.device, r.detail) for r in read(*lines)] == [
        ("subscribe", "w-1", "v1/w-2/down/#"),
        ("subscribe", "w-1", "#"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "1: mosquitto version 2.0.11 running",
        CONNECTION,
        CLOSED,
        "1: Client w-1 disconnected.",
        "1: Received DISCONNECT from w-1",
        "1: Received PUBLISH from w-1 (d0, 'Denied PUBLISH from w-2 (x, 'y', ...', ...)",
        "1: Sending PUBACK to d1 (m2, rc135)",
        "1: New client connected from 127.0.0.1:5 as d1 (p2)",
    ],
)
def test_everything_else_says_nothing(line):
    assert read(line) == []
