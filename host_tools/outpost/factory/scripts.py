"""What the station runs on a board: short MicroPython scripts that each print one literal.

Owns their text. They use the release that lies in slot /a, so the code that makes a key in the
factory is the code that will make its successor in the field. A private key is made, stored and
used on the board; no script prints one. Every script may be repeated at any time.
"""

_PATH = (
    "import sys\nsys.path[:] = ['.frozen', '/outpost', '/a']\n"
    "from node import packs\npacks.mount()\n"
)

IDENTIFY = """
import binascii, hashlib, os, sys
def _digest(path):
    h = hashlib.sha256()
    try:
        f = open(path, 'rb')
    except OSError:
        return ''
    b = bytearray(512)
    m = memoryview(b)
    while True:
        n = f.readinto(b)
        if not n:
            break
        h.update(m[:n])
    f.close()
    return binascii.hexlify(h.digest()).decode()
def _read(path):
    try:
        with open(path, 'rb') as f:
            return f.read(1024)
    except OSError:
        return b''
import machine
_v = os.statvfs('/')
print({'uid': binascii.hexlify(machine.unique_id()).decode(), 'machine': sys.implementation[2],
    'micropython': list(sys.implementation[1][:3]), 'board': _read('/outpost/board.cbor'),
    'manifest': _digest('/a/manifest.cose'), 'root': _digest('/outpost/root.cose'),
    'free': _v[0] * _v[3], 'block': _v[0],
    'files': {n: _digest('/data/' + n) for n in ('device.cbor', 'id/cert.der', 'id/ca.der')}})
"""

_IDENTITY = (
    _PATH
    + """
import os, machine
from node.hal.storage import Storage
from node.tasks.identity import Identity
_i = Identity(Storage(), os.urandom, machine.unique_id())
"""
)


def request(device_id: str) -> str:
    """Make a key unless one is waiting for its certificate; print the certificate request."""
    return _IDENTITY + f"print(_i.request({device_id!r}))\n"


def install(certificate: bytes, authority: bytes) -> str:
    """Store the certificate that belongs to the key made by `request`."""
    return _IDENTITY + f"_i.install({certificate!r}, {authority!r})\nprint(True)\n"


def write(path: str, data: bytes) -> str:
    """Replace one small file."""
    return f"""{_PATH}
from node.hal.storage import Storage
Storage().write_atomic({path!r}, {data!r})
print(True)
"""


def public_key() -> str:
    """Print the public point of the key in use, or of the one that waits for its certificate, or
    b''.
    """
    return (
        _PATH
        + """
from node.core import csr
_p = b''
for _n in ('key.der', 'key.next'):
    try:
        with open('/data/id/' + _n, 'rb') as _f:
            _p = csr.public_of(_f.read())
        break
    except (OSError, ValueError):
        pass
print(_p)
"""
    )


SELF_TEST = (
    _IDENTITY
    + """
import gc, tls
gc.collect()
_r = {'heap_free': gc.mem_free()}
_k, _c, _a = _i.credentials()
try:
    _t = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    _t.load_cert_chain(_c, _k)
    _t.load_verify_locations(_a)
    _r['tls'] = ''
except (ValueError, OSError) as e:
    _r['tls'] = repr(e)
_v = os.statvfs('/')
_r['free'] = _v[0] * _v[3]
_o = os.urandom(32)
_r['random'] = _o != os.urandom(32) and len(set(_o)) > 4
print(_r)
"""
)


def look_at_itself(board: str) -> str:
    """Print the report of node.parts.selftest: the firmware's own look at this board."""
    return (
        f"{_PATH}\nfrom node.parts import selftest\nprint(selftest.of_factory('/a', {board!r}))\n"
    )


def scan_i2c(board: str, buses: tuple[str, ...]) -> str:
    """Print {bus: [addresses that answered]}."""
    return (
        _PATH
        + f"""
from node.hal import board
_b = board.load('/a/board-{board}.cbor')
print({{n: _b.bus(n).scan() for n in {buses!r}}})
"""
    )
