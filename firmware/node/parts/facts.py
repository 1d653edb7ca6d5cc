"""What a node says of itself: loaded for each report, forgotten after it."""

import gc

_FINE = 1024


def state(node) -> dict:
    """The reported state, retained by the broker."""
    boot = node.boot
    return {
        "version": boot.version,
        "slot": boot.slot,
        "epoch": boot.release["epoch"],
        "release": boot.digest,
        "board": boot.device["board"],
        "confirmed": not boot.trial,
        "root": node.root_version,
        "desired": node.desired,
        "cert": node.cert_id,
    }


def heartbeat(node) -> dict:
    """The heartbeat's fields; what becomes due while the node is connected is set going too."""
    _chores(node)
    blk = largest_block()
    box = node.outbox
    return {
        "on": True,
        "up": node.ticks.uptime_ms() // 1000,
        "boot": node.boot_number,
        "rst": node.boot.cause,
        "heap": gc.mem_free(),
        "blk": blk,
        "rssi": node.station.rssi(),
        "restarts": node.supervisor.restarts,
        "mqtt": mqtt(node.connection),
        "wifi": [node.radio.joins, node.radio.losses],
        "q": box.depth,
        "box": [box.taken, box.delivered, box.dropped],
        "sensors": node.sense.errors,
        "lost_log": node.log.dropped,
    }


def mqtt(connection) -> dict:
    """The connection's counters."""
    session = connection.session
    inbound = session.inbound
    return {
        "connects": connection.connects,
        "failures": connection.failures,
        "acked": connection.acks,
        "received": connection.received,
        "sub_refused": connection.sub_refused,
        "resent": session.resent,
        "strays": session.strays,
        "oversized": connection.oversized + (inbound.oversized if inbound is not None else 0),
    }


def _chores(node) -> None:
    if 0 <= node.unproven_ms < node.ticks.uptime_ms():
        node.unproven_ms = -1
        node.inbox.put("desired", b"")
    now_s = node.unix_s()
    if node.renew_s is not None and now_s is not None and now_s >= node.renew_s:
        node.inbox.put("certificate", b"")


def update_moved(node, state: str, digest: bytes, code: str) -> None:
    body = {"s": state, "release": digest, "fetched": node.updater.fetched}
    body["blobs"] = node.updater.blobs
    if code:
        body["code"] = code
    node.reporter.event("update", body)


def largest_block() -> int:
    """Bytes of heap in one piece, as near as a few attempts tell: what TLS needs is a piece."""
    gc.collect()
    size, found = gc.mem_free() // 2, 0
    step = size
    while step >= _FINE:
        step //= 2
        try:
            bytearray(size)
            found = size
            size += step
        except MemoryError:
            size -= step
    return found
