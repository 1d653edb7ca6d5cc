"""Puts the modules of a release into packs, as `firmware/node/packs.py` reads them.

A change of one module changes one pack, and costs a device the download of that pack: so what
belongs together and changes together is one group, and a group is a few kilobytes. Invariant: the
same modules give the same packs, and a module that stays stays in its pack.
"""

import binascii
import struct
from collections.abc import Iterable

from outpost.errors import OutpostError

# Found without packs: the entry, and what reads the packs.
OUTSIDE = frozenset({"node/main.mpy", "node/packs.mpy"})

_UPDATE = (
    "core/check core/conditions core/errand core/fetch core/filetable core/http core/image"
    " core/inflate core/staging core/update core/url hal/runtime hal/slotfiles parts/check"
    " tasks/download"
)
_MQTT = "hal/link hal/memory hal/resolve hal/tls hal/tls_codes tasks/connect"
_IDENTITY = "core/csr core/p256 tasks/identity"
_TELEMETRY = (
    "core/anomaly core/at_rest core/batcher core/config core/filter core/frame core/lane"
    " core/lanecare core/model core/outbox core/pack core/quality core/record core/sampler"
    " core/segment core/smooth core/thin tasks/publish tasks/sense tasks/stations"
)
_GROUPS = {
    **{f"node/{stem}.mpy": "update" for stem in _UPDATE.split()},
    **{f"node/{stem}.mpy": "mqtt" for stem in _MQTT.split()},
    **{f"node/{stem}.mpy": "telemetry" for stem in _TELEMETRY.split()},
    **{f"node/{stem}.mpy": "identity" for stem in _IDENTITY.split()},
}
_MAX_MODULES = 255
_MAX_BYTES = 1 << 24


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    """`files` of a slot, with the application's modules in `node/<group>.pack`.

    Raises OutpostError("pack") where a module's place could be mistaken.
    """
    groups: dict[str, dict[str, bytes]] = {}
    found: dict[str, bytes] = {}
    for path in sorted(files):
        if path.startswith("node/") and path.endswith(".mpy") and path not in OUTSIDE:
            groups.setdefault(group_of(path), {})[path[len("node") :]] = files[path]
        else:
            found[path] = files[path]
    _refuse_doubtful([path for group in groups.values() for path in group])
    for name, modules in groups.items():
        found[f"node/{name}.pack"] = _pack(modules)
    return dict(sorted(found.items()))


def group_of(path: str) -> str:
    """The pack that a module's file goes to."""
    if path in _GROUPS:
        return _GROUPS[path]
    folders = path.split("/")[1:-1]
    if folders[:2] == ["core", "mqtt"]:
        return "mqtt"
    return folders[0] if folders else "modes"


def opened_at(names: Iterable[str]) -> dict[str, str]:
    """{"node/core/log.py": "/node/core/log.mpy"}: where a device's importer finds a module."""
    paths = {name: name.removesuffix(".py") + ".mpy" for name in names}
    return {name: f"/{path}" for name, path in paths.items() if path not in OUTSIDE}


def key_of(path: str) -> int:
    """What a pack knows a path by: 24 bits of CRC-32."""
    return binascii.crc32(path.encode()) & 0xFFFFFF


def _pack(modules: dict[str, bytes]) -> bytes:
    folders = sorted({folder for path in modules for folder in _folders(path)})
    count = len(folders) + len(modules)
    at = 1 + 6 * count
    rows = [(key_of(folder), 0) for folder in folders]
    for path, content in modules.items():
        rows.append((key_of(path), at))
        at += len(content)
    if count > _MAX_MODULES or at > _MAX_BYTES:
        raise OutpostError("pack", "too many modules for one pack", "drop some drivers")
    head = b"".join(struct.pack("<I", key)[:3] + struct.pack("<I", at)[:3] for key, at in rows)
    return bytes([count]) + head + b"".join(modules.values())


def _folders(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]


def _refuse_doubtful(paths: list[str]) -> None:
    """Every path that an import asks for must be known for what it is: there, or not there."""
    present = {*paths, *(folder for path in paths for folder in _folders(path))}
    by_key: dict[int, str] = {}
    for path in sorted(present):
        other = by_key.setdefault(key_of(path), path)
        if other != path:
            raise _doubtful(path, other)
    for asked in _asked_for(present):
        other = by_key.get(key_of(asked), asked)
        if asked not in present and other != asked:
            raise _doubtful(asked, other)


def _asked_for(present: set[str]) -> Iterable[str]:
    """What MicroPython looks for on its way to a module (py/builtinimport.c)."""
    for path in present:
        stem = path.removesuffix(".mpy")
        for ending in ("", ".py", ".mpy", "/__init__.py", "/__init__.mpy"):
            yield stem + ending


def _doubtful(path: str, other: str) -> OutpostError:
    message = f"{path} and {other} have the same key in a pack"
    return OutpostError("pack", message, "give one of the modules another name", exit_code=2)
