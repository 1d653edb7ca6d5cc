"""Reading mosquitto's log: whom it refused, and why.

A state machine over lines, because mosquitto says a TLS refusal in two: the error first, the
connection it belonged to next.  Written against the texts of 2.0 and 2.1; a line it does not know
says nothing.  Subscribing is never refused by mosquitto's access file (it withholds the messages
instead), so a subscription outside the device's own subtree is recognised here.
"""

import re
from dataclasses import dataclass

_CONNECTED = re.compile(r"New connection from (\S+?):\d+ on port")
_TLS_ERROR = re.compile(r"OpenSSL Error\[\d+\]: error:[0-9A-Fa-f]+:[^:]*:[^:]*:(.+)\Z")
# The handshake failed within the very read that began it.
_AT_ONCE = re.compile(r"Client connection from (\S+) failed: error:[^:]*:[^:]*:[^:]*:(.+?)\.?\Z")
# A link that broke, a port scan, our own look whether it listens: nobody was refused.
_HUNG_UP = "unexpected eof"
_CLOSED = re.compile(r"Client (\S+)(?: \[([^]]+?):\d+\])? (?:disconnected|closed)")
_DENIED = re.compile(r"Denied (PUBLISH) from (\S+) \(.*?, '(.*)', \.\.\.")
_SUBSCRIBED = re.compile(r"\A([a-z0-9][a-z0-9-]*) [012] (\S+)\Z")
# Traffic, which is most of a debug log, is put aside before any pattern runs.
_TRAFFIC = ("Received P", "Sending P")


@dataclass(frozen=True)
class Refusal:
    """kind: `certificate` (TLS handshake), `publish` or `subscribe` (outside the own subtree)."""

    kind: str
    device: str
    address: str
    detail: str


class LogReader:
    """feed(line) -> a Refusal now and then."""

    def __init__(self) -> None:
        self._address = ""
        self._tls_error = ""

    def feed(self, line: str) -> Refusal | None:
        line = line.rstrip()
        stamp, colon, rest = line.partition(": ")
        if colon and stamp.isdigit():
            line = rest
        if line.startswith(_TRAFFIC):
            return None
        for pattern, read in (
            (_CONNECTED, self._connected),
            (_TLS_ERROR, self._failed),
            (_AT_ONCE, self._failed_at_once),
            (_DENIED, self._denied),
            (_CLOSED, self._closed),
            (_SUBSCRIBED, self._subscribed),
        ):
            match = pattern.search(line)
            if match:
                return read(match)
        return None

    def _connected(self, match: re.Match[str]) -> None:
        self._address = match[1]

    def _failed(self, match: re.Match[str]) -> None:
        if not match[1].startswith(_HUNG_UP):
            self._tls_error = match[1]

    def _failed_at_once(self, match: re.Match[str]) -> Refusal | None:
        if match[2].startswith(_HUNG_UP):
            return None
        return Refusal("certificate", "", match[1], match[2])

    def _denied(self, match: re.Match[str]) -> Refusal:
        return Refusal("publish", match[2], "", match[3])

    def _subscribed(self, match: re.Match[str]) -> Refusal | None:
        if match[2].startswith(f"v1/{match[1]}/down/"):
            return None
        return Refusal("subscribe", match[1], "", match[2])

    def _closed(self, match: re.Match[str]) -> Refusal | None:
        error, self._tls_error = self._tls_error, ""
        if not error:
            return None
        return Refusal("certificate", "", match[2] or self._address, error)
