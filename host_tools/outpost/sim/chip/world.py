"""What the world is like: named integers that the runner sets while the board runs."""

from . import layout, shared

_offsets = {}
_seen = 0


def get(name, default=0):
    """The value of `name`, or `default` while nobody has set it."""
    at = _offsets.get(name)
    if at is None:
        at = _find(name)
        if at is None:
            return default
    raw = shared.RAW
    value = raw[at] | raw[at + 1] << 8 | raw[at + 2] << 16 | raw[at + 3] << 24
    return value - (1 << 32) if value & 0x80000000 else value


def _find(name):
    """Look for a name that is new since the last look; values never move."""
    global _seen
    raw = shared.RAW
    count = raw[layout.WORLD_COUNT_AT] | raw[layout.WORLD_COUNT_AT + 1] << 8
    while _seen < count:
        at = layout.WORLD_AT + _seen * layout.WORLD_ENTRY_BYTES
        key = bytes(raw[at : at + layout.WORLD_NAME_BYTES]).rstrip(b"\0").decode()
        _offsets[key] = at + layout.WORLD_NAME_BYTES
        _seen += 1
    return _offsets.get(name)
