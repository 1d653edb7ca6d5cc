"""UF2 files: what an RP2040 in BOOTSEL mode takes by drag and drop.

Owns the block format (github.com/microsoft/uf2: 512-byte blocks, 256 bytes of payload each). Every
page of an image is written, also blank ones: what a board held before must not survive its
re-flashing.
"""

import struct

from outpost.errors import ExitCode, OutpostError

FLASH_BASE = 0x10000000
RP2040_FAMILY = 0xE48BFF56
_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_FAMILY_PRESENT = 0x2000
_PAYLOAD = 256
_BLOCK = 512
_HEAD = struct.Struct("<8I")


def encode(data: bytes, address: int, family: int = RP2040_FAMILY) -> bytes:
    """`data` (a multiple of 256 bytes) to be written at flash `address`."""
    if len(data) % _PAYLOAD or address % _PAYLOAD:
        raise ValueError("UF2 wants whole pages of 256 bytes")
    count = len(data) // _PAYLOAD
    out = bytearray()
    for number in range(count):
        page = data[number * _PAYLOAD : (number + 1) * _PAYLOAD]
        place = address + number * _PAYLOAD
        out += _HEAD.pack(*_MAGIC, _FAMILY_PRESENT, place, _PAYLOAD, number, count, family)
        out += page.ljust(476, b"\x00") + struct.pack("<I", _MAGIC_END)
    return bytes(out)


def decode(uf2: bytes) -> dict[int, bytes]:
    """{address: page} of a UF2 file; OutpostError when it is not one."""
    if not uf2 or len(uf2) % _BLOCK:
        raise _not_uf2("its size is no multiple of 512")
    pages = {}
    for at in range(0, len(uf2), _BLOCK):
        head = _HEAD.unpack_from(uf2, at)
        end = struct.unpack_from("<I", uf2, at + _BLOCK - 4)[0]
        if head[:2] != _MAGIC or end != _MAGIC_END or head[4] > 476:
            raise _not_uf2(f"block {at // _BLOCK} is damaged")
        pages[head[3]] = uf2[at + 32 : at + 32 + head[4]]
    return pages


def join(*files: bytes) -> bytes:
    """One file of several: a runtime and a filesystem. Blocks are numbered anew; overlaps are
    refused.
    """
    pages: dict[int, bytes] = {}
    family = RP2040_FAMILY
    for uf2 in files:
        for address, page in decode(uf2).items():
            if address in pages:
                raise OutpostError(
                    "uf2-overlap",
                    f"runtime and filesystem both write 0x{address:x}",
                    "use the board's own runtime",
                    ExitCode.USAGE,
                )
            pages[address] = page
        family = _HEAD.unpack_from(uf2)[7]
    out = bytearray()
    for number, address in enumerate(sorted(pages)):
        page = pages[address]
        out += _HEAD.pack(*_MAGIC, _FAMILY_PRESENT, address, len(page), number, len(pages), family)
        out += page.ljust(476, b"\x00") + struct.pack("<I", _MAGIC_END)
    return bytes(out)


def _not_uf2(what: str) -> OutpostError:
    return OutpostError(
        "uf2", f"not a UF2 file: {what}", "use the .uf2 of the board", ExitCode.USAGE
    )
