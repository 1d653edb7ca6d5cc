"""What a wipe finds on the flash afterwards: a secret in any place of a block, and no other."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

_MODULE = "node.hal.flash"
_BLOCK = 4096
_SECRET = bytes(range(1, 65))  # as long as a piece may be


class Partition:
    """Two blocks; reads as a chip's partition does."""

    TYPE_DATA = 1

    def __init__(self, content: bytes) -> None:
        self.content = content

    def find(self, kind: int, label: str) -> "list[Partition]":
        return [self] if label == "vfs" else []

    def ioctl(self, request: int, argument: int) -> int:
        assert request == 4
        return len(self.content) // _BLOCK

    def readblocks(self, number: int, buffer: bytearray, offset: int = 0) -> None:
        assert offset + len(buffer) <= _BLOCK
        start = number * _BLOCK + offset
        buffer[:] = self.content[start : start + len(buffer)]


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "machine", SimpleNamespace())
    sys.modules.pop(_MODULE, None)
    module = importlib.import_module(_MODULE)

    def held(content: bytes, *pieces: bytes) -> list[int]:
        chip = SimpleNamespace(Partition=Partition(content))
        monkeypatch.setitem(sys.modules, "esp32", chip)
        return list(module.found(pieces))

    yield held
    sys.modules.pop(_MODULE)  # it has seen another machine


def test_wherever_it_lies(flash: Any) -> None:
    for at in range(_BLOCK - len(_SECRET) + 1):
        second = bytearray(_BLOCK)
        second[at : at + len(_SECRET)] = _SECRET
        assert flash(bytes(_BLOCK) + bytes(second), _SECRET) == [0, 1], at


def test_each_counts_once_and_others_not(flash: Any) -> None:
    content = (_SECRET + _SECRET[:16]).ljust(_BLOCK, b"\xff") + bytes(_BLOCK)
    assert flash(content, _SECRET, _SECRET[:16], b"elsewhere") == [2, 0]
