"""Factory images: mounted by the VM's own littlefs, and refused when they cannot work."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from loader import layout, trust
from outpost import build
from outpost.boards import load_board
from outpost.build import image, release, volume
from outpost.errors import OutpostError
from outpost.signing import cose
from outpost.signing.ceremony import Ceremony

from tests.host import signed_build

BOARDS = ("esp32_generic", "rpi_pico_w")

# Mounts an image read-only and prints {path: SHA-256} of every file.
READER = """
import sys, vfs, os, hashlib, binascii, json
class Flash:
    def __init__(self, path, block):
        self.f = open(path, 'rb')
        self.block = block
        self.count = os.stat(path)[6] // block
    def readblocks(self, n, buf, off=0):
        self.f.seek(n * self.block + off)
        self.f.readinto(buf)
    def writeblocks(self, n, buf, off=0):
        raise OSError(30)
    def ioctl(self, op, arg):
        return {4: self.count, 5: self.block}.get(op, 0)
fs = vfs.VfsLfs2(Flash(sys.argv[1], 4096), progsize=int(sys.argv[2]))
vfs.mount(fs, '/img')
found = {}
def walk(path):
    for entry in os.ilistdir(path):
        full = path + '/' + entry[0]
        if entry[1] == 0x4000:
            walk(full)
        else:
            with open(full, 'rb') as f:
                found[full[4:]] = binascii.hexlify(hashlib.sha256(f.read()).digest()).decode()
walk('/img')
print(json.dumps(found))
"""


def mounted(vm: Path, path: Path, prog_bytes: int, tmp_path: Path) -> dict[str, str]:
    script = tmp_path / "reader.py"
    script.write_text(READER)
    run = subprocess.run(
        [str(vm), str(script), str(path), str(prog_bytes)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module")
def weather() -> signed_build.SignedBuild:
    return signed_build.weather()


@pytest.mark.vm
@pytest.mark.parametrize("name", BOARDS)
def test_the_vm_reads_every_file(
    name: str, vm: Path, tmp_path: Path, weather: signed_build.SignedBuild
) -> None:
    board = load_board(name)
    path = weather.image(name)
    assert path.stat().st_size == board.filesystem.bytes
    found = mounted(vm, path, board.filesystem.prog_bytes, tmp_path)
    slot = release.read_tree(weather.result.folder / "files")
    device = release.read_tree(weather.result.folder / "device")
    expected = {f"/a/{n}": d for n, d in slot.items()} | {f"/{n}": d for n, d in device.items()}
    expected["/a/manifest.cose"] = weather.result.signed.read_bytes()
    expected["/outpost/root.cose"] = weather.root.read_bytes()
    hashes = {n: hashlib.sha256(d).hexdigest() for n, d in expected.items()}
    assert {n: h for n, h in found.items() if n != layout.BOARD} == hashes
    assert layout.BOARD in found


@pytest.mark.parametrize("name", BOARDS)
def test_the_same_bytes_each_time(name: str, weather: signed_build.SignedBuild) -> None:
    assert weather.image(name).read_bytes() == weather.image(name).read_bytes()


def test_the_geometry_is_the_stock_one(weather: signed_build.SignedBuild) -> None:
    # RPI_PICO_W/mpconfigboard.h: 848 KiB; ports/esp32/partitions-4MiB.csv: 2 MiB.
    assert weather.image("rpi_pico_w").stat().st_size == 848 * 1024
    assert weather.image("esp32_generic").stat().st_size == 2048 * 1024


def test_disk_version_2_0(weather: signed_build.SignedBuild) -> None:
    """The superblock: "littlefs", then version, block size, block count (littlefs SPEC.md)."""
    head = weather.image("rpi_pico_w").read_bytes()[:128]
    at = head.index(b"littlefs") + 8 + 4
    words = [int.from_bytes(head[at + 4 * n : at + 4 * n + 4], "little") for n in range(3)]
    assert words == [0x00020000, 4096, 212]


def documented_fields() -> set[tuple[str, str]]:
    """The rows of BOARD_FIELDS in the loader's own description of its formats."""
    table = (layout.__doc__ or "").partition("BOARD_FIELDS:")[2].partition("RECORD_FIELDS:")[0]
    rows = [line.split() for line in table.splitlines()[1:] if line.startswith("    ")]
    return {(row[0], row[1]) for row in rows if "optional:" not in row}


def test_board_facts_admit_the_release(weather: signed_build.SignedBuild) -> None:
    parsed = trust.parse_release(weather.result.payload.read_bytes())
    for name in BOARDS:
        facts = image.board_facts(load_board(name), "weather", 1, 10**6)
        assert documented_fields() <= {(key, type(value).__name__) for key, value in facts.items()}
        assert parsed["boards"][facts["board"]] == []
        assert 0 < facts["wdt_ms"] <= 8388


def copied(tmp_path: Path, weather: signed_build.SignedBuild) -> Path:
    folder = tmp_path / "build"
    shutil.copytree(weather.result.folder, folder)
    return folder


def refused(folder: Path, board: str, root: Path) -> OutpostError:
    with pytest.raises(OutpostError) as caught:
        build.factory_image(folder, board, root)
    assert not (folder / "factory" / f"{board}.img").exists()
    return caught.value


def test_an_unsigned_release(tmp_path: Path, weather: signed_build.SignedBuild) -> None:
    folder = copied(tmp_path, weather)
    shutil.rmtree(folder / "factory", ignore_errors=True)
    (folder / "release.cose").unlink()
    assert refused(folder, "rpi_pico_w", weather.root).code == "not-signed"


def test_a_release_signed_by_strangers(tmp_path: Path, weather: signed_build.SignedBuild) -> None:
    folder = copied(tmp_path, weather)
    shutil.rmtree(folder / "factory", ignore_errors=True)
    other = Ceremony.create(tmp_path / "other", plain=True)
    error = refused(folder, "rpi_pico_w", other.root_path(1))
    assert (error.code, error.exit_code) == ("signer", 5)


def test_the_signature_of_another_build(tmp_path: Path, weather: signed_build.SignedBuild) -> None:
    folder = copied(tmp_path, weather)
    shutil.rmtree(folder / "factory", ignore_errors=True)
    other = build.build(signed_build.WEATHER, tmp_path / "out", "9.9.9", source="test")
    key = weather.ceremony.key("release")
    cose.sign_file("release", other.payload, folder / "release.cose", key)
    assert refused(folder, "rpi_pico_w", weather.root).code == "digest"


def test_a_board_it_is_not_built_for(tmp_path: Path, weather: signed_build.SignedBuild) -> None:
    folder = copied(tmp_path, weather)
    error = refused(folder, "esp32_generic_ota", weather.root)
    assert (error.code, error.exit_code) == ("board-not-built", 2)


def test_too_large_is_refused_with_figures(tmp_path: Path) -> None:
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "ballast.bin").write_bytes(bytes(range(256)) * 1200)
    built = build.build(signed_build.WEATHER, tmp_path / "out", overlay=tmp_path / "overlay")
    signed_build.sign(built, signed_build.ceremony())
    root = signed_build.ceremony().root_path(1)
    error = refused(built.folder, "rpi_pico_w", root)
    assert (error.code, error.exit_code) == ("slot-budget", 2)
    assert "848 KiB" in error.message and "too much" in error.message
    assert build.factory_image(built.folder, "esp32_generic", root).exists()


def test_the_figures_are_the_volumes_own(weather: signed_build.SignedBuild) -> None:
    """Both slots filled with the release, and the state, still fit: the promise of Room.spare."""
    board = load_board("rpi_pico_w")
    figures = release.read_build(weather.result.folder)
    slot = {f"/a/{n}": d for n, d in release.read_tree(weather.result.folder / "files").items()}
    device = {f"/{n}": d for n, d in release.read_tree(weather.result.folder / "device").items()}
    space = image.room(board, figures, (device, slot))
    second = {f"/b{name[2:]}": data for name, data in slot.items()}
    used = volume.used_blocks(board, {**device, **slot, **second})
    assert space.spare >= 0
    assert used <= space.total - space.outbox - image._STATE_BLOCKS


def test_a_volume_that_is_full() -> None:
    board = load_board("rpi_pico_w")
    with pytest.raises(OutpostError) as caught:
        volume.format_image(board, {"/big": bytes(board.filesystem.bytes)})
    assert caught.value.code == "volume-full"
