"""The entry of a release: the loader imports it and calls `run`.

Small, because it stays in memory beside whatever it starts: `powered`, which is always connected,
`battery`, which sleeps between its readings, or `updating`, when the boot before has asked for it.
"""

import os

from loader import cbor


def run(boot) -> None:
    """Run the node; ends by a reset, or by raising, which the loader counts against a trial."""
    from node import packs

    packs.mount()
    if boot.device.get("runtime_max"):
        from node.hal import runtime  # shipped only to boards with a spare partition

        runtime.mark_valid()
    if _map("/outpost/wipe.cbor"):
        from node.parts import farewell

        farewell.finish(boot)
    if not boot.trial and _map("/data/update.cbor").get("go"):
        from node import updating

        updating.run(boot)
    if _on_battery(boot):
        from node import battery

        battery.run(boot)
        return
    from node import powered

    powered.run(boot)


def _on_battery(boot) -> bool:
    """Whether it sleeps between its readings on this board; not before it has an identity."""
    try:
        os.stat("/data/device.cbor")
        os.stat("/data/id/cert.der")
    except OSError:
        return False
    return _map("%s/board-%s.cbor" % (boot.slot, boot.device["board"]))["mode"] == "battery"


def _map(path: str) -> dict:
    try:
        with open(path, "rb") as file:
            found = cbor.decode(file.read())
    except (OSError, cbor.VerifyError):
        found = None
    return found if isinstance(found, dict) else {}
