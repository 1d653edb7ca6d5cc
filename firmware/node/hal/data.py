"""What the application keeps under /data, apart from what has a module of its own."""

from loader import cbor

_BUFFER_BYTES = 1024  # a batch is not larger (core.batcher)
_BOOTS = "/data/boots.cbor"


def read_map(storage, path: str) -> dict:
    """A CBOR map from flash; empty when it is missing or damaged."""
    found = storage.read(path)
    if not found:
        return {}
    try:
        found = cbor.decode(found)
    except cbor.VerifyError:
        return {}
    return found if isinstance(found, dict) else {}


def settings(storage) -> dict:
    """The desired state in force, by name, as `core.desired` keeps it; may be empty."""
    found = storage.read("/data/desired.cbor")
    try:
        return cbor.decode(found)[1] if found else {}
    except (cbor.VerifyError, TypeError, IndexError):
        return {}


def count_boot(storage) -> int:
    """One more boot: its number."""
    number = read_map(storage, _BOOTS).get("n", 0) + 1
    storage.write_atomic(_BOOTS, cbor.encode({"n": number}))
    return number


def open_outbox(storage, product, secret: bytes):
    """The outbox as the product (the map of product.cbor) wants it, what it holds found again.

    `secret` is the device's: records are sealed with it when the product asks for that.
    """
    from node.core.outbox import Outbox, OutboxConfig

    wanted = product.get("outbox", {})
    settings = OutboxConfig()
    settings.buffer_bytes = _BUFFER_BYTES
    settings.segments = wanted.get("max_kib", 64) * 1024 // settings.segment_bytes
    settings.policy = "thin" if wanted.get("policy") == "thin" else "drop"
    settings.keep = wanted.get("keep", 2)
    settings.flush_ms = 1000 * wanted.get("flush_s", 300)
    outbox = Outbox(storage, settings, _seal(secret) if wanted.get("sealed") else None)
    outbox.open()
    return outbox


def _seal(secret: bytes):
    import cryptolib
    from node.core.at_rest import Seal

    return Seal(secret, cryptolib.aes)
