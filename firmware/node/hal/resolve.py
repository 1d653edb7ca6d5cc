"""Host names to addresses, within a deadline, and with a memory for when DNS is dead.

`Resolver.resolve` is what `hal.link.Ports` takes as its `resolve`.
"""

import asyncio
import os
import socket
import time

from micropython import const
from node.core import dns
from node.core.errors import LinkError, PeerError

_RETRY_MS = const(1500)
_POLL_MS = const(20)
_REMEMBERED = const(4)


class Resolver:
    """`servers()` gives the addresses of DNS servers, such as the one DHCP named. The last good
    address of a host is used again when no server answers: brokers seldom move, and DNS is down
    more often than they do. `known` keeps them for the next Resolver."""

    def __init__(self, servers, port: int = 53, known=None) -> None:
        self._servers = servers
        self._port = port
        self._known: dict = {} if known is None else known
        self.stale = 0  # answers from memory

    async def resolve(self, host: str, timeout_ms: int) -> str:
        if host.endswith(".local"):
            return host  # RFC 6762: multicast, which is the chip's own resolver's business
        try:
            address = await self._ask(host, timeout_ms)
        except (LinkError, PeerError, OSError) as error:
            if host in self._known:
                self.stale += 1
                return self._known[host]
            if isinstance(error, OSError):
                raise LinkError("dns", error.errno)
            raise LinkError(error.code, error.detail)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[host] = address
        return address

    async def _ask(self, host: str, timeout_ms: int) -> str:
        servers = [server for server in self._servers() if server and server != "0.0.0.0"]
        if not servers:
            raise LinkError("dns", "no server")
        raw = os.urandom(2)
        question = dns.query(host, raw[0] << 8 | raw[1])
        # half of the time is left for connecting, to what is remembered if need be
        end_ms = time.ticks_add(time.ticks_ms(), timeout_ms // 2)
        turn = 0
        while True:
            left_ms = time.ticks_diff(end_ms, time.ticks_ms())
            if left_ms <= 0:
                raise LinkError("dns_timeout")
            server = servers[turn % len(servers)]
            found = await self._try(server, question, min(left_ms, _RETRY_MS))
            if found is not None:
                return found
            turn += 1

    async def _try(self, server: str, question: bytes, wait_ms: int):
        """One question to one server, and a while to wait for its answer."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            address = socket.getaddrinfo(server, self._port)[0][-1]
            sock.sendto(question, address)
            for _ in range(1 + wait_ms // _POLL_MS):
                await asyncio.sleep_ms(_POLL_MS)
                data = _received(sock)
                found = dns.answer(data, question) if data else None
                if found is not None:
                    return found
            return None
        finally:
            sock.close()


def _received(sock):
    try:
        return sock.recv(512)
    except OSError:
        return None  # nothing yet, or an ICMP refusal: the deadline decides
