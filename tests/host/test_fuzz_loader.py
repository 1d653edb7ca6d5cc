"""Fuzzing the loader's parsers: whatever comes, a VerifyError or a value, never anything else.

tests/unit flips every bit and cuts every prefix, on the VM, too; here hypothesis looks for what
nobody thought of: random bytes, and well-formed CBOR of the wrong shape under a good signature.
"""

from __future__ import annotations

from typing import Any

import toykeys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loader import cbor, record, trust
from loader.cbor import VerifyError

RUNS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
KEYS = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(max_size=8), st.binary(max_size=8))
SCALARS = st.one_of(KEYS, st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
FIELDS = {
    "root": toykeys.root_map(),
    "head": toykeys.head_map(),
    "release": toykeys.release_map(),
    "ops": {"device": "dev-1", "id": "c1", "command": "wipe", "expires": 200},
}


def code_of(call: Any, *args: Any) -> str:
    """The reason of a refusal; anything but a VerifyError escapes and fails the test."""
    try:
        call(*args)
    except VerifyError as error:
        assert error.code
        return str(error.code)
    return ""


@RUNS
@given(st.binary(max_size=200))
def test_any_bytes_are_one_value_or_none(data: bytes) -> None:
    if not code_of(cbor.decode, data):
        assert cbor.encode(cbor.decode(data)) == data
    code_of(cbor.decode, data, True)


@RUNS
@given(VALUES)
def test_every_value_has_one_encoding(value: Any) -> None:
    encoded = cbor.encode(value)
    if not code_of(cbor.decode, encoded):
        assert cbor.encode(cbor.decode(encoded)) == encoded


@RUNS
@given(st.sampled_from(sorted(FIELDS)), st.binary(max_size=300))
def test_any_bytes_as_a_document(role: str, data: bytes) -> None:
    root = toykeys.root()
    assert code_of(trust.verify, root, role, data)
    assert code_of(trust.verify, root, role, b"\xd8\x62" + data)
    assert code_of(trust.stored_root, data)


def read(role: str, document: bytes) -> None:
    """What a device does with a document of this role."""
    root = toykeys.root(root=(1, (1, 2), 0))
    if role == "root":
        trust.next_root(root, document)
    elif role == "head":
        trust.read_head(root, document, "stable", [0, 0], 100)
    elif role == "ops":
        trust.read_ops(root, document, "dev-1", 100)
    else:
        release = trust.parse_release(trust.verify(root, "release", document))
        trust.check_release(release, toykeys.DEVICE)


SIGNER = {"root": 1, "head": toykeys.HEAD, "release": toykeys.RELEASE, "ops": toykeys.OPS}


@RUNS
@given(st.sampled_from(sorted(FIELDS)), VALUES)
def test_any_value_under_a_good_signature(role: str, value: Any) -> None:
    assert code_of(read, role, toykeys.sign(role, cbor.encode(value), SIGNER[role]))


@RUNS
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_any_field_of_any_value(role: str, data: st.DataObject) -> None:
    value = dict(FIELDS[role])
    name = data.draw(st.sampled_from(sorted(value)))
    value[name] = data.draw(VALUES)
    code_of(read, role, toykeys.sign(role, cbor.encode(value), SIGNER[role]))


@RUNS
@given(st.data())
def test_any_entry_of_the_file_list(data: st.DataObject) -> None:
    value = toykeys.release_map()
    value["files"] = data.draw(st.lists(VALUES, max_size=3)) + value["files"]
    value["runtime"] = data.draw(st.one_of(st.none(), VALUES))
    code_of(read, "release", toykeys.sign("release", value, toykeys.RELEASE))


@RUNS
@given(st.data())
def test_any_entry_of_a_root(data: st.DataObject) -> None:
    value = toykeys.root_map(2)
    part = data.draw(st.sampled_from(["keys", "roles"]))
    value[part] = {**value[part], **data.draw(st.dictionaries(KEYS, VALUES, max_size=2))}
    role = data.draw(st.sampled_from(sorted(FIELDS)))
    value["roles"] = {**value["roles"], role: data.draw(VALUES)}
    assert code_of(read, "root", toykeys.sign("root", value, 1, 2))


@RUNS
@given(st.binary(max_size=100))
def test_any_bytes_as_a_record(data: bytes) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot.cbor"
        path.write_bytes(data)
        assert record.load(str(path)) == record.load("/nowhere")
