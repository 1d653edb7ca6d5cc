"""The fleet's API for the command line: finds the server, sends the token, explains failures.

Where the server is: `--server`, else OUTPOST_SERVER, else running.json of the fleet's folder.
The token: OUTPOST_TOKEN_FILE, else `token` in that folder; sent only with changes and to servers
that are not on loopback.
"""

import http.client
import json
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

from outpost.errors import ExitCode, OutpostError

SERVER_ENV = "OUTPOST_SERVER"
TOKEN_ENV = "OUTPOST_TOKEN_FILE"
TIMEOUT_S = 10
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_EXIT_OF_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_AUTHORISED,
    404: ExitCode.DEVICE_NOT_FOUND,
    409: ExitCode.ALREADY_DONE,
    422: ExitCode.VERIFICATION_FAILED,
}
_CONTROL = re.compile(r"[^\n -~\u00a1-\ud7ff\ue000-\uffef\U00010000-\U0010ffff]")


def printable(text: object) -> str:
    """Device text on a terminal: no escape sequences, no bidirectional tricks."""
    return re.sub("[\u2028-\u202e\u2066-\u2069\u200b-\u200f]", "·", _CONTROL.sub("·", str(text)))


class FleetClient:
    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OutpostError(
                "server-url",
                f"{url!r} is not an http address",
                "for example http://127.0.0.1:8080",
                ExitCode.USAGE,
            )
        self.url = url.rstrip("/")
        self._parts = parts
        self._token = token

    @classmethod
    def find(cls, folder: Path, server: str | None = None) -> "FleetClient":
        url = server or os.environ.get(SERVER_ENV)
        if not url:
            from outpost.fleet.server import running

            url = running(folder).url
        return cls(url, _token(folder))

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        given = {key: value for key, value in query.items() if value is not None}
        return self._ask("GET", path + ("?" + urllib.parse.urlencode(given) if given else ""))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if self._token is None:
            raise OutpostError(
                "token",
                "changing the fleet needs its token",
                f"name the file in {TOKEN_ENV}, or give --dir",
                ExitCode.NOT_AUTHORISED,
            )
        return self._ask("POST", path, json.dumps(body or {}))

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        headers = {"accept": "application/json"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(
                method, f"{self._parts.path.rstrip('/')}/api/v1{path}", body, headers
            )
            response = connection.getresponse()
            raw, status = response.read(MAX_ANSWER_BYTES), response.status
        except (OSError, http.client.HTTPException) as error:
            raise OutpostError(
                "unreachable",
                f"no answer from {self.url}: {error}",
                "is `outpost fleet serve` running?",
                ExitCode.SERVER_UNREACHABLE,
            ) from None
        finally:
            connection.close()
        return _result(status, raw)

    def _connection(self) -> http.client.HTTPConnection:
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)


def quoted(part: str) -> str:
    """A device or rollout id as one segment of a path."""
    return urllib.parse.quote(part, safe="")


def _result(status: int, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
        if body["ok"]:
            del body["ok"]
            return dict(body)
        error = body["error"]
        code, message, fix = error["code"], error["message"], error.get("fix")
    except (ValueError, KeyError, TypeError):
        raise OutpostError(
            "not-a-fleet",
            f"the server's answer ({status}) is not a fleet's",
            "check the address",
            ExitCode.SERVER_UNREACHABLE,
        ) from None
    raise OutpostError(code, message, fix, _EXIT_OF_STATUS.get(status, ExitCode.FAILED))


def _token(folder: Path) -> str | None:
    from outpost.fleet.files import read_private

    named = os.environ.get(TOKEN_ENV)
    path = Path(named) if named else folder / "token"
    if not named and not path.exists():
        return None
    try:
        return read_private(path).decode().strip()
    except OSError as error:
        raise OutpostError(
            "token", f"the token cannot be read: {error}", f"correct {TOKEN_ENV}", ExitCode.USAGE
        ) from None
