"""A release that brings its runtime is published with the chunks that a device asks for."""

from pathlib import Path

import pytest
from outpost.errors import OutpostError
from outpost.signing.repository import Repository

from tests.faults import inputs


@pytest.fixture(scope="module")
def ota() -> dict:
    return inputs.build_ota(inputs.Keys())


def _lay_out(folder: Path, release: dict, image: bytes) -> Path:
    for path, content in release["files"].items():
        (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / path).write_bytes(content)
    (folder / "runtime.bin").write_bytes(image)
    return folder / "files"


def test_every_chunk_is_there(tmp_path: Path, ota: dict) -> None:
    release = ota["releases"]["new"]
    files = _lay_out(tmp_path, release, inputs.runtime_image("runtime-2", 3))
    repository = Repository(tmp_path / "repository")
    assert repository.add_release(release["document"], files)
    table = release["files"]["chunks"]
    for at in range(0, len(table), 32):
        assert (tmp_path / "repository/blobs" / table[at : at + 32].hex()).is_file()
    assert not repository.add_release(release["document"], files)  # all of it is there


def test_another_image_is_refused(tmp_path: Path, ota: dict) -> None:
    release = ota["releases"]["new"]
    files = _lay_out(tmp_path, release, inputs.runtime_image("runtime-3", 3))
    with pytest.raises(OutpostError) as refused:
        Repository(tmp_path / "repository").add_release(release["document"], files)
    assert refused.value.code == "runtime-hash"
