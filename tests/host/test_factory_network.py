"""`outpost wifi` without a board: what it asks of people, and what it says to a board."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loader import cbor
from outpost.errors import OutpostError
from outpost.factory import network
from outpost.factory.link import BoardError
from outpost.factory.network import Change, Network, Wifi


class Board:
    """Runs the scripts of `network.apply` on CPython, over a folder."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None) -> None:
        self.folder = folder
        self.file = folder / "device.cbor"
        self.resets = 0
        if settings is not None:
            self.file.write_bytes(cbor.encode(settings))
            (folder / "ap.cbor").write_bytes(b"cached")

    def ask(self, what: str, script: str) -> Any:
        said: list[str] = []
        text = script.replace("/data/", f"{self.folder}/").replace("import sys\n", "")
        text = text.replace("sys.path[:] = ['.frozen', '/outpost']\n", "")
        try:
            exec(text, {"print": lambda value: said.append(repr(value))})  # noqa: S102
        except FileNotFoundError as error:
            raise BoardError(what, "OSError: [Errno 2] ENOENT") from error
        return ast.literal_eval(said[0])

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = cbor.decode(self.file.read_bytes())
        return found


OLD = {
    "id": "w-1",
    "broker": {"host": "b", "port": 1},
    "wifi": [{"ssid": "old", "psk": "12345678"}],
}


def test_networks_are_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    board = Board(tmp_path, OLD)
    change = Change((Wifi("new", "password"),), Network(country="DE"))
    assert network.apply(board, change) == ("w-1", ("new",))
    assert board.settings() == {
        **OLD,
        "wifi": [{"ssid": "new", "psk": "password"}],
        "country": "DE",
    }
    assert board.resets == 1
    assert not (tmp_path / "ap.cbor").exists(), "the cached access point is of the old network"


def test_networks_are_added_and_one_of_the_same_name_replaced(tmp_path: Path) -> None:
    board = Board(tmp_path, OLD)
    assert network.apply(board, Change((Wifi("new", "password"),), add=True))[1] == ("new", "old")
    again = Change((Wifi("old", "87654321"),), add=True)
    assert network.apply(board, again)[1] == ("old", "new")
    assert [entry["psk"] for entry in board.settings()["wifi"]] == ["87654321", "password"]


def test_a_board_without_settings_is_left_alone(tmp_path: Path) -> None:
    board = Board(tmp_path, None)
    with pytest.raises(OutpostError) as caught:
        network.apply(board, Change((Wifi("new", "password"),)))
    assert (caught.value.code, caught.value.exit_code) == ("not-provisioned", 6)
    assert not board.file.exists()


def test_the_password_is_in_no_argument_and_no_message(
    outpost: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OUTPOST_WIFI_PSK", raising=False)
    asked = outpost("wifi", "--port", "/dev/none", "--ssid", "plant", "--json")
    assert (asked.exit_code, asked.json["error"]["code"]) == (2, "no-password")
    assert not any(
        "psk" in name for name in outpost("wifi", "--help").stdout.split() if "--" in name
    )
    monkeypatch.setenv("OUTPOST_WIFI_PSK", "short")
    refused = outpost("wifi", "--port", "/dev/none", "--ssid", "plant", "--json")
    assert (refused.exit_code, refused.json["error"]["code"]) == (2, "site-invalid")
    assert "short" not in refused.stdout + refused.stderr
    both = outpost("wifi", "--port", "x", "--ssid", "plant", "--file", "y", "--json")
    assert (both.exit_code, both.json["error"]["code"]) == (2, "usage")
    file = tmp_path / "net.toml"
    file.write_text('wifi = [{ ssid = "plant", psk = "secret words" }]\n')
    file.chmod(0o644)
    readable = outpost("wifi", "--port", "x", "--file", str(file), "--json")
    assert "chmod 600" in readable.json["error"]["fix"]
    file.write_text("broker = 1\n")
    strange = outpost("wifi", "--port", "x", "--file", str(file), "--json")
    assert "unknown key broker" in strange.json["error"]["message"]
