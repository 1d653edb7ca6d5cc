"""Signing with a PKCS#11 token: SoftHSM2, as it is installed, else as apt can fetch it for the
machine's own release (once, unpacked into .tools/softhsm, with nothing installed). A skip says why
there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from loader import trust
from outpost import debian
from outpost.errors import OutpostError
from outpost.paths import project_root
from outpost.signing import cose, documents, sign
from outpost.signing.hsm import MODULE_ENV, PIN_ENV, TOKEN_ENV, TokenKey
from outpost.signing.keys import PublicKey

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
FETCHED = project_root() / ".tools/softhsm/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"


@pytest.fixture(scope="module")
def module() -> Path:
    """SoftHSM's library."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install 'outpost[hsm]'")
    for place in (os.environ.get("SOFTHSM2_MODULE"), *PLACES, FETCHED):
        if place and Path(place).is_file():
            return Path(place)
    fetch()
    return FETCHED


def fetch() -> None:
    """Debian's own package, unpacked; its library is loaded into this Python, beside this libc."""
    prefix = FETCHED.parents[3]
    with tempfile.TemporaryDirectory(dir=prefix.parent) as folder:
        scratch = Path(folder)
        try:
            if not debian.available():
                raise OutpostError("no-apt", "there is no apt here")
            architecture = debian.host_architecture()
            archive = debian.Archive(scratch / "apt", architecture, own_release=True)
            archive.unpack("softhsm2", scratch / "softhsm")
            if not prefix.exists():
                (scratch / "softhsm").rename(prefix)
        except (OutpostError, OSError, subprocess.SubprocessError) as error:
            if not FETCHED.is_file():  # by another worker meanwhile
                pytest.skip(f"SoftHSM2 is missing (apt install softhsm2), cannot be had: {error}")


def utility(module: Path) -> str:
    """softhsm2-util: on the path, or beside the library."""
    beside = module.parents[2] / "bin" / "softhsm2-util"
    found = shutil.which("softhsm2-util") or (str(beside) if beside.is_file() else None)
    return found or pytest.skip("softhsm2-util is missing: apt install softhsm2")


@pytest.fixture(scope="module")
def token(module: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A token with an RSA-3072 key `release` and an RSA-2048 key `small`."""
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    pin_file = folder / "pin"
    pin_file.write_text(PIN + "\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    order = ["--init-token", "--free", "--label", "outpost", "--pin", PIN, "--so-pin", "5678"]
    subprocess.run([utility(module), *order, "--module", str(module)], check=True)
    import pkcs11

    token = pkcs11.lib(str(module)).get_token(token_label="outpost")
    with token.open(user_pin=PIN, rw=True) as session:
        for label, bits in (("release", 3072), ("small", 2048)):
            session.generate_keypair(
                pkcs11.KeyType.RSA, bits, label=label, store=True, id=label.encode()
            )
    return pin_file


@pytest.fixture
def environment(module: Path, token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE_ENV, str(module))
    monkeypatch.setenv(PIN_ENV, str(token))
    monkeypatch.setenv(TOKEN_ENV, "outpost")


def test_a_tokens_signature_is_one_like_any_other(environment: None) -> None:
    key = TokenKey.open("release")
    message = b"message"
    signature = key.sign(message)
    PublicKey(key.modulus).verify(message, signature)
    assert trust.pss_verify(key.modulus, trust.sha256(message), signature)
    payload = documents.head("stable", bytes(32), 1, (0, 1), 1)
    document = sign("head", payload, key)
    public = PublicKey(key.modulus)
    roles = {role: documents.Role(1, (public,)) for role in ("root", "release", "head", "ops")}
    root = trust.parse_root(documents.root(1, roles))
    assert bytes(trust.verify(root, "head", document)) == payload
    assert cose.signatures_of("head", document)[1][0][0] == public.kid
    assert repr(key) == f"TokenKey({public.kid.hex()})"


def test_what_a_token_cannot_do_is_said(
    environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def code(label: str) -> tuple[str, int]:
        with pytest.raises(OutpostError) as error:
            TokenKey.open(label)
        assert PIN not in str(error.value)
        return error.value.code, error.value.exit_code

    assert code("small") == ("key-kind", 2)
    assert code("absent") == ("hsm", 9)
    wrong = tmp_path / "pin"
    wrong.write_text("9999")
    monkeypatch.setenv(PIN_ENV, str(wrong))
    assert code("release") == ("hsm", 9)
    monkeypatch.setenv(TOKEN_ENV, "another")
    assert code("release") == ("hsm", 3)
    monkeypatch.delenv(PIN_ENV)
    assert code("release") == ("hsm", 2)
