"""SenML packs (RFC 8428) in JSON and CBOR, from other people's devices, to readings.

Base fields, the relative-time rule of section 4.5.3 and the CBOR labels of section 6 are handled;
sums (`s`), links and unknown optional fields are ignored; a field ending in `_` that is not known
must be refused (section 4.4).  Whatever is wrong raises `PayloadError` with a stable code.
"""

import json
import math
from typing import Any

from node.core.config import is_name

from outpost.fleet.payload import PayloadError, jsonable, plain
from outpost.fleet.registry.telemetry import Reading

MAX_RECORDS = 4096
MAX_NAME = 128
MAX_TEXT = 256
_RELATIVE_BELOW_S = 2**28  # section 4.5.3
_YEAR_MS = 366 * 86_400_000
_LABELS: dict[object, str] = {
    -1: "bver",
    -2: "bn",
    -3: "bt",
    -4: "bu",
    -5: "bv",
    -6: "bs",
    0: "n",
    1: "u",
    2: "v",
    3: "vs",
    4: "vb",
    5: "s",
    6: "t",
    7: "ut",
    8: "vd",
}
_NUMBERS = ("bt", "bv", "v", "t")
_TEXTS = ("bn", "bu", "n", "u")

Record = dict[str, Any]


def from_json(payload: bytes, now_ms: int) -> list[Reading]:
    try:
        pack = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PayloadError("senml-json", str(error)) from None
    return readings(pack, now_ms)


def from_cbor(payload: bytes, now_ms: int) -> list[Reading]:
    pack = plain(payload)
    if isinstance(pack, list):
        pack = [
            {_LABELS.get(key, str(key)): value for key, value in record.items()}
            if isinstance(record, dict)
            else record
            for record in pack
        ]
    return readings(pack, now_ms)


def readings(pack: object, now_ms: int) -> list[Reading]:
    """The resolved records (section 4.6) that carry a value."""
    if not isinstance(pack, list) or not 0 < len(pack) <= MAX_RECORDS:
        raise PayloadError("senml-pack", "not an array of 1 to 4096 records")
    base: Record = {"bn": "", "bt": 0, "bu": "", "bv": 0}
    result = []
    for record in pack:
        _check(record)
        base.update((key, record[key]) for key in base if key in record)
        reading = _resolve(base, record, now_ms)
        if reading:
            result.append(reading)
    return result


def _check(record: object) -> None:
    if not isinstance(record, dict):
        raise PayloadError("senml-record", "a record is not a map")
    for key in _NUMBERS:
        _number(record.get(key, 0), key)
    for key in _TEXTS:
        if not isinstance(record.get(key, ""), str):
            raise PayloadError("senml-field", f"{key} is not text")
    unknown = [key for key in record if isinstance(key, str) and key.endswith("_")]
    if unknown:
        raise PayloadError("senml-mandatory", f"unknown field {unknown[0][:40]!r}")
    if record.get("bver", 10) not in range(1, 11):
        raise PayloadError("senml-version", "a version above 10")


def _number(value: object, key: str) -> float:
    """JSON and CBOR integers are unbounded; a reading is a double, and a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError("senml-field", f"{key} is not a number")
    try:
        result = float(value)
    except OverflowError:
        raise PayloadError("senml-field", f"{key} is out of range") from None
    if not math.isfinite(result):
        raise PayloadError("senml-field", f"{key} is not finite")
    return result


def _resolve(base: Record, record: Record, now_ms: int) -> Reading | None:
    name = base["bn"] + record.get("n", "")
    if len(name) > MAX_NAME or not is_name(name):
        raise PayloadError("senml-name", "a name is empty, too long or has other characters")
    value, text = _value(base, record)
    if value is None and text is None:
        return None
    time_s = _number(base["bt"], "bt") + _number(record.get("t", 0), "t")
    unit = str(jsonable(record.get("u", base["bu"])))[:16]
    return Reading(name, _to_ms(time_s, now_ms), value, unit, text)


def _value(base: Record, record: Record) -> tuple[float | None, str | None]:
    if "v" in record or "bv" in record:
        return _number(_number(base["bv"], "bv") + record.get("v", 0), "v"), None
    if "vb" in record:
        if not isinstance(record["vb"], bool):
            raise PayloadError("senml-field", "vb is not a boolean")
        return float(record["vb"]), None
    for key in ("vs", "vd"):
        if key in record:
            content = record[key]
            if not isinstance(content, str | bytes):
                raise PayloadError("senml-field", f"{key} is not text")
            return None, str(jsonable(content))[:MAX_TEXT]
    return None, None


def _to_ms(time_s: float, now_ms: int) -> int:
    ms = now_ms + time_s * 1000 if time_s < _RELATIVE_BELOW_S else time_s * 1000
    if not 0 <= ms <= now_ms + _YEAR_MS:
        raise PayloadError("senml-time", "a time before 1970 or more than a year ahead")
    return round(ms)
