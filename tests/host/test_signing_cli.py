"""outpost keys, sign, verify, publish: a release from keys to a served directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host.signed_build import weather

Outpost = Callable[..., Any]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder of keys that this test may change."""
    import shutil

    folder = tmp_path / "keys"
    shutil.copytree(weather().ceremony.folder, folder)
    return folder


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """An unsigned build folder."""
    import shutil

    folder = tmp_path / "weather"
    shutil.copytree(weather().result.folder, folder, ignore=shutil.ignore_patterns("*.cose"))
    return folder


def test_from_keys_to_a_served_directory(
    outpost: Outpost, keys: Path, built: Path, tmp_path: Path
) -> None:
    key = str(keys / "keys" / "release.pem")
    signed = outpost("sign", "release", str(built), "--key", key, "--json")
    assert signed.exit_code == 0 and len(signed.json["result"]["signers"]) == 1
    again = outpost("sign", "release", str(built), "--key", key, "--json")
    assert again.exit_code == 7 and again.json["ok"]
    verified = outpost(
        "verify", str(built), "--root", str(keys), "--board", "rpi_pico_w", "--json"
    )
    assert verified.exit_code == 0 and verified.json["result"]["verified"]
    head = tmp_path / "stable.cose"
    assert not outpost(
        "sign", "head", "--name", "stable", "--release", str(built / "release.cose"),
        "--sequence", "1", "--root-version", "1", "--key", str(keys / "keys" / "head.pem"),
        "--out", str(head),
    ).exit_code  # fmt: skip
    publish = ("publish", str(built), "--root", str(keys), "--head", str(head))
    target = tmp_path / "www"
    dry = outpost(*publish, "--to", str(target), "--dry-run", "--json")
    assert dry.exit_code == 0 and dry.json["result"]["dry_run"] and not target.exists()
    assert outpost(*publish, "--to", str(target)).exit_code == 0
    assert (target / "heads" / "stable.cose").read_bytes() == head.read_bytes()
    assert outpost(*publish, "--to", str(target)).exit_code == 7


def test_to_a_fleet(outpost: Outpost, keys: Path, built: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    made = outpost("fleet", "init", "--dir", str(fleet), "--trust", str(keys))
    assert made.exit_code == 0, made.stderr
    key = str(keys / "keys" / "release.pem")
    assert outpost("sign", "release", str(built), "--key", key).exit_code == 0
    publish = ("publish", str(built), "--root", str(keys), "--fleet", str(fleet), "--json")
    assert outpost(*publish, "--dry-run").exit_code == 0
    done = outpost(*publish)
    assert done.exit_code == 0 and done.json["result"]["changed"]
    assert outpost(*publish).exit_code == 7
    assert outpost("publish", str(built), "--root", str(keys)).exit_code == 2
    (built / "release.cose").unlink()
    outpost("sign", "release", str(built), "--key", str(keys / "keys" / "ops.pem"))
    assert outpost(*publish).exit_code == 5


def test_refusals_have_their_reason_and_exit_code_5(
    outpost: Outpost, keys: Path, built: Path, tmp_path: Path
) -> None:
    def verify(*more: str) -> Any:
        done = outpost("verify", str(built), "--root", str(keys), "--json", *more)
        return done.exit_code, done.json["error"]["code"] if done.exit_code else ""

    assert (
        outpost("sign", "release", str(built), "--key", str(keys / "keys/ops.pem")).exit_code == 0
    )
    assert verify() == (5, "signer")
    (built / "release.cose").unlink()
    outpost("sign", "release", str(built), "--key", str(keys / "keys/release.pem"))
    assert verify() == (0, "")
    assert verify("--board", "rpi_pico_w", "--product", "pump") == (5, "product")
    assert verify("--board", "rpi_pico_w", "--epoch-floor", "9") == (5, "epoch")
    document = (built / "release.cose").read_bytes()
    for data, code in (
        (document[:-1], "cbor-short"),
        (document[:-9] + bytes([document[-9] ^ 1]) + document[-8:], "signature"),
        (b"", "cose-shape"),
        (b"x" * 9000, "doc-size"),
    ):
        (built / "release.cose").write_bytes(data)
        assert verify() == (5, code)
    (built / "release.cose").write_bytes(document)
    (built / "files" / "node" / "main.mpy").write_bytes(b"")
    assert verify() == (5, "slot-hash")


def test_a_rebuilt_release_starts_without_signatures(
    outpost: Outpost, keys: Path, built: Path
) -> None:
    from outpost.signing import cose

    key = keys / "keys" / "release.pem"
    cose.replace(built / "release.cose", weather().result.signed.read_bytes())
    payload = (built / "release.cbor").read_bytes().replace(b"1.0.0", b"1.0.1")
    (built / "release.cbor").write_bytes(payload)
    assert outpost("sign", "release", str(built), "--key", str(key)).exit_code == 0
    assert cose.signatures_of("release", (built / "release.cose").read_bytes())[0] == payload


def test_a_ceremony(outpost: Outpost, keys: Path, tmp_path: Path) -> None:
    public = str(tmp_path / "fresh.pub.json")
    assert outpost("keys", "new", str(tmp_path / "fresh.pem"), "--plain").exit_code == 0
    rotate = ("keys", "rotate", str(keys), "--role", "release", "--public", public)
    assert outpost(*rotate, "--dry-run", "--json").json["result"]["dry_run"]
    assert outpost("keys", "show", str(keys), "--json").json["result"]["pending"] is None
    assert outpost(*rotate).exit_code == 0
    for name, version in (("root-1", 1), ("root-2", 2)):
        key = str(keys / "keys" / f"{name}.pem")
        assert outpost("sign", "root", str(keys), "--key", key).exit_code == 0
        shown = outpost("keys", "show", str(keys), "--json").json["result"]
        assert shown["version"] == version
    assert outpost("sign", "root", str(keys), "--key", key).exit_code == 7
    assert outpost("keys", "revoke", str(keys), "ff" * 8).exit_code == 2
    assert outpost("keys", "revoke", str(keys), "zz").exit_code == 2
    kid = shown["roles"]["root"]["keys"][0]
    assert outpost("keys", "revoke", str(keys), kid, "--json").json["result"]["version"] == 3


def test_passphrases(
    outpost: Outpost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Path
) -> None:
    path = tmp_path / "secret.pem"
    assert outpost("keys", "new", str(path)).exit_code == 2  # nobody to ask
    file = tmp_path / "passphrase"
    file.write_text("open sesame\n")
    made = outpost("keys", "new", str(path), "--passphrase-file", str(file))
    assert made.exit_code == 0 and "sesame" not in made.stdout + made.stderr
    sign = ("sign", "release", str(built), "--key", str(path))
    assert outpost(*sign).exit_code == 2
    monkeypatch.setenv("OUTPOST_PASSPHRASE", "wrong")
    refused = outpost(*sign)
    assert refused.exit_code == 2 and "passphrase" in refused.stderr
    monkeypatch.setenv("OUTPOST_PASSPHRASE", "open sesame")
    assert outpost(*sign).exit_code == 0
