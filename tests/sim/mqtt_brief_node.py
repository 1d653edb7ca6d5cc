"""Runs on the VM: short conversations one after another, as a device has them on its wakes. What
was not acknowledged is said again on the next. Settings as in mqtt_node.py."""

import gc
import json
import os
import sys
import time

sys.path.insert(0, os.getenv("NODE_FIRMWARE"))
SETTINGS = json.loads(os.getenv("NODE_SETTINGS"))

from node.core.errors import PeerError  # noqa: E402
from node.core.mqtt.brief import Brief  # noqa: E402
from node.core.mqtt.codec import Options  # noqa: E402
from node.hal.wake import Call  # noqa: E402


def read(name):
    with open(name, "rb") as file:
        return file.read()


def make_context():
    if not SETTINGS.get("tls"):
        return None
    import tls

    given = SETTINGS["tls"]
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(read(given["cert"]), read(given["key"]))
    context.load_verify_locations(read(given["anchors"][0]))
    return context


def wake(context, waiting):
    """One conversation about `waiting`; what is left of it."""
    call = None
    acked = []
    code = "ok"
    brief = Brief(Options("dev-1"))
    try:
        timeout_ms = SETTINGS.get("timeout_ms", 1000)
        call = Call(SETTINGS["host"], SETTINGS["port"], context, timeout_ms)
        for number in waiting:
            brief.add("v1/dev-1/up/telemetry", b"%d x" % number)
        call.say(brief)
    except (OSError, ValueError) as error:
        code = repr(error)
    except PeerError as error:
        code = error.code
    if call is not None:
        call.close()
    acked = [waiting[place] for place in brief.acked]
    print(json.dumps({"event": "wake", "code": code, "acked": acked}))
    return [number for number in waiting if number not in acked]


def main():
    context = make_context()
    waiting = list(range(SETTINGS["count"]))
    heaps = []
    for _ in range(SETTINGS.get("wakes", 12)):
        waiting = wake(context, waiting)
        gc.collect()
        heaps.append(gc.mem_alloc())
        if not waiting:
            break
        time.sleep_ms(SETTINGS.get("sleep_ms", 100))
    grown = heaps[-1] - heaps[0]
    print(json.dumps({"event": "done", "missing": len(waiting), "grown": grown}))


main()
