"""The board's console on the runner's side: whole lines for people, bytes for mpremote.

One client at a time on a loopback port.  A Ctrl-C goes to the VM as SIGINT while a program runs
and in-band while the REPL waits for input; several in a row are one, as a person means them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

_CTRL_C = 3
_QUIET_S = 0.05


class LineSplitter:
    """Bytes in, complete lines out; a line longer than `limit` is cut there."""

    def __init__(self, limit: int = 4096) -> None:
        self._buffer = b""
        self._limit = limit

    def feed(self, data: bytes) -> list[str]:
        self._buffer += data
        *whole, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > self._limit:
            whole.append(self._buffer)
            self._buffer = b""
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in whole]

    def rest(self) -> str:
        text, self._buffer = self._buffer, b""
        return text.decode("utf-8", "replace")


class ReplPort:
    """The listening socket behind `socket://127.0.0.1:<port>`."""

    def __init__(self, interrupt: Callable[[], None], reading: Callable[[], bool]) -> None:
        self._interrupt = interrupt
        self._reading = reading
        self._last_interrupt = 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        client, _ = self.listener.accept()
        self.drop()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = client

    def drop(self) -> None:
        if self.client:
            self.client.close()
            self.client = None

    def send(self, data: bytes) -> None:
        if self.client:
            try:
                self.client.sendall(data)
            except OSError:
                self.drop()

    def receive(self) -> bytes:
        """What the client sent for the VM's input; b"" also when it has gone."""
        if self.client is None:  # dropped while its event was on the way
            return b""
        try:
            data = self.client.recv(4096)
        except OSError:
            data = b""
        if not data:
            self.drop()
            return b""
        if _CTRL_C not in data or self._reading():
            return data
        now = time.monotonic()
        if now - self._last_interrupt > _QUIET_S:
            self._interrupt()
        self._last_interrupt = now
        return data.replace(b"\x03", b"")

    def close(self) -> None:
        self.drop()
        self.listener.close()
