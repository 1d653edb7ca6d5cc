"""The node's Connection over TLS, ten messages. Names in capitals are filled in."""

import asyncio

from node.core.mqtt.codec import Options
from node.hal.link import Ports
from node.hal.tls import Tls
from node.tasks.connect import Config, Connection


def read(name):
    with open(name, "rb") as file:
        return file.read()


class Source:
    left = missing = 10

    def pull(self, connection):
        while self.left and connection.publish("telemetry", bytes(66)):
            self.left -= 1

    def acked(self, token):
        self.missing -= 1


async def main():
    options = Options("dev-1")
    options.window_bytes = 512
    options.max_packet = 128
    options.few = True
    tls = Tls(read("CERT"), read("KEY"), [read("CA")])
    connection = Connection(Config("localhost", "PORT", options), Ports(tls))
    source = Source()
    connection.add_source(source)
    asyncio.create_task(connection.run(lambda: None))
    while source.missing:
        await asyncio.sleep_ms(5)
    print("ten acknowledged")


asyncio.run(main())
