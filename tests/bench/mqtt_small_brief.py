"""A wake's short conversation over TLS, ten messages. Names in capitals are filled in."""

import tls


def read(name):
    with open(name, "rb") as file:
        return file.read()


context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.load_cert_chain(read("CERT"), read("KEY"))
context.load_verify_locations(read("CA"))

# TLS first, the rest after: it wants its blocks in one piece.
from node.hal.wake import Call  # noqa: E402

call = Call("localhost", "PORT", context)

from node.core.mqtt.brief import Brief  # noqa: E402
from node.core.mqtt.codec import Options  # noqa: E402

brief = Brief(Options("dev-1"))
for _ in range(10):
    brief.add("v1/dev-1/up/telemetry", bytes(66))
    call.say(brief)
call.close()
if len(brief.acked) == 10:
    print("ten acknowledged")
