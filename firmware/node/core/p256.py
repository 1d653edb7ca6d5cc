"""P-256 keys and ECDSA signatures made on the device.

Owns the curve arithmetic a device needs to create its own identity: a private key from conditioned
entropy, its public point, and signatures. It does not verify: releases are signed with RSA, TLS
verifies in C.

Theory: a fixed-base comb (4 teeth, 64 bits apart). The 15 sums of G, 2^64 G, 2^128 G and 2^192 G
are stored, so k*G is 64 doublings and at most 64 mixed additions (Jacobian + affine, a = -3).
Nonces are RFC 6979: a weak random source at signing time cannot leak the key.

Invariants: scalars are 1..n-1. Not constant time: it guards against a remote peer, not against a
probe on the board. pow(x, -1, p) silently answers 0 on MicroPython 1.25, hence Fermat inverses.
"""

import binascii
import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Point = tuple[int, int, int]

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# Affine x || y of (b0 + b1 2^64 + b2 2^128 + b3 2^192) G for the index b3b2b1b0 = 1..15 (a test
# recomputes it).
_COMB = (
    b"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q+o"
    b"IrwoEaqlhJJZLjJuJd4pSTuqrWUffpDnXLSOFNtjv/RK6PXbqA1vStS8s98YizSxplBQ/oL15BEkVF9GLucwCku8"
    b"idZyb7JXwN6V4CeJ6WyY/Q018fqTORziCXmSr3Kqx+DQm0ZEfx3bJf8ePG9bse6tqdgGpapUopHAgSegRH1zm+7b"
    b"Xmf7mC/ViMZ2bvw1/33Cl+rDV8hPydeJvYUtSCWrg0Ex7uEunZU6Sq/3PTSblaf65QAMfjPJcuJbMu+VGTKKnHL/"
    b"3cYGi7kd/GDvf70rGgoRtxOUnJMqHTZ/YR6fw327LJvB7pgHAiwhnCMYOwiVyhdAGWA1p3N22KhVBmN5e1H12H3q"
    b"ZILhEji/KTbfXsbJvDbK4rGSC1f0vBVxZISK7LhRCvpAAY2dUOWfs9V229774UT/4hY0ipZM6113RbIRQeqi6PSD"
    b"9D5DkXzNhOcNcV8m5I7K//xc3gHq/XLr2+zBewmQ5qFYAGzuhfIs/ihEtkXKyRficxo0eabTlnenhJJ2Jzb/g0Qx"
    b"X8WWQ5WRo8a5SmzyD/sxNyi+Z0+EdJsLiBZmuLq9LSfs34JKkgwihAWb8rq4M8NX9fROdp52csndrTGFX324x/7b"
    b"dOAvCAIDpWst9IwEZ3yKPkK5kILegwZjHsAFcgaUcoH7muFvO5EipaTDYWW4JLuweIeO9hxs4E1/3BygCKHEeNH4"
    b"nnmcDOExbvlRUN2oaLm2yz9de3LDId5TFCwSMJ3vas5XDr3gjU+cYrkSH+DZdgyIvE1xaxKHWVxSIIEv/K5bgt1b"
    b"1U+0ln+ZHtLDGjVz3V3eo/OQHcYY0bWznATmqnyBgfTfJWTzOle/Y19IrKho80SvazF0Zu/gpCMIPknzQ6CijEK6"
    b"eS/pann7PnKtDDG5xAX4VAogYE7ZPCTWf/Nmi/wicfXGJs3+F9s/sk1KQFK/S29GHblmPGLD7brXoA0aEBROw5wo"
    b"02tHiaJYLn/+z01RkLD8YYYr5r1x1wzI5yTzOZm/zFsjWifDGI0l6x7duuLIAuQaEjICqPYr/3qv31zAhSanpHQ0"
    b"bBCh1M+sQxBNhlYOvPwMRfRSc9szoDbga35McBkXj6CvLdYD+ES0jia0hPeiHApKRvtqrzY6ZrDeMiXEdEuWFbUR"
    b"DR145frAFUBNTT2rZBMbzf7W9mjABOQEi3sPmAbrsPYhoBst"
)

# Raw bytes hashed into one key. The RP2040's urandom before MicroPython 1.28 is raw
# ring-oscillator bits, eight samples to the byte and unconditioned: 512 of them carry far more
# than the 256 bits needed.
_RAW_CHUNK = 64
_RAW_CHUNKS = 8


class EntropyError(Exception):
    """The random source repeats itself; no key is made from it."""

    code = "entropy-stuck"


def conditioned(urandom: "Callable[[int], bytes]", personal: bytes = b"") -> bytes:
    """32 bytes out of 512 raw ones, mixed with `personal` (a unique id: it separates devices, it
    adds no strength).
    """
    pool = hashlib.sha256(personal)
    last = b""
    for _ in range(_RAW_CHUNKS):
        chunk = urandom(_RAW_CHUNK)
        if len(chunk) != _RAW_CHUNK or chunk == last or chunk == chunk[:1] * _RAW_CHUNK:
            raise EntropyError(EntropyError.code)
        pool.update(chunk)
        last = chunk
    return pool.digest()


def private_key(urandom: "Callable[[int], bytes]", personal: bytes = b"") -> bytes:
    """A new private scalar, 32 bytes big-endian, uniform in 1..n-1 by rejection (FIPS 186-5
    A.2.2).
    """
    while True:
        candidate = conditioned(urandom, personal)
        if 0 < int.from_bytes(candidate, "big") < _N:
            return candidate


def public_key(private: bytes) -> bytes:
    """The uncompressed point 04 || x || y of `private`."""
    x, y = _times_g(int.from_bytes(private, "big"))
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign(private: bytes, digest: bytes) -> "tuple[int, int]":
    """ECDSA (r, s) over a SHA-256 digest, nonce by RFC 6979."""
    d = int.from_bytes(private, "big")
    e = int.from_bytes(digest, "big") % _N
    drbg = _Rfc6979(private, e.to_bytes(32, "big"))
    while True:
        k = drbg.next()
        r = _times_g(k)[0] % _N
        s = pow(k, _N - 2, _N) * (e + r * d) % _N
        if r and s:
            return r, s


class _Rfc6979:
    """The candidate nonces of RFC 6979 section 3.2 with HMAC-SHA-256 (qlen = hlen = 256)."""

    def __init__(self, private: bytes, message: bytes) -> None:
        self._k = bytes(32)
        self._v = b"\x01" * 32
        self._mix(b"\x00" + private + message)
        self._mix(b"\x01" + private + message)

    def _mix(self, data: bytes) -> None:
        self._k = hmac_sha256(self._k, self._v + data)
        self._v = hmac_sha256(self._k, self._v)

    def next(self) -> int:
        while True:
            self._v = hmac_sha256(self._k, self._v)
            k = int.from_bytes(self._v, "big")
            # Mixed in also after a good one: a caller that comes back had r or s = 0 (section
            # 3.4).
            self._k = hmac_sha256(self._k, self._v + b"\x00")
            candidate, self._v = k, hmac_sha256(self._k, self._v)
            if 0 < candidate < _N:
                return candidate


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, for keys of at most one block (64 bytes)."""
    padded = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded))
    inner.update(message)
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in padded))
    outer.update(inner.digest())
    return outer.digest()


def _times_g(k: int) -> "tuple[int, int]":
    """k*G as affine coordinates, for k in 1..n-1."""
    table = binascii.a2b_base64(_COMB)
    point = (0, 1, 0)
    for i in range(63, -1, -1):
        if point[2]:
            point = _double(point)
        digit = _comb_digit(k >> i)
        if digit:
            at = (digit - 1) * 64
            x = int.from_bytes(table[at : at + 32], "big")
            y = int.from_bytes(table[at + 32 : at + 64], "big")
            point = _add_affine(point, x, y)
    z_inverse = pow(point[2], _P - 2, _P)
    zz = z_inverse * z_inverse % _P
    return point[0] * zz % _P, point[1] * zz * z_inverse % _P


def _comb_digit(k: int) -> int:
    return (k & 1) | (k >> 64 & 1) << 1 | (k >> 128 & 1) << 2 | (k >> 192 & 1) << 3


def _double(point: "Point") -> "Point":
    # dbl-2001-b of the Explicit-Formulas Database, a = -3. The group has odd order: y is never 0
    # here.
    x, y, z = point
    delta = z * z % _P
    gamma = y * y % _P
    beta = x * gamma % _P
    alpha = 3 * (x - delta) * (x + delta) % _P
    x3 = (alpha * alpha - 8 * beta) % _P
    z3 = 2 * y * z % _P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % _P, z3


def _add_affine(point: "Point", x2: int, y2: int) -> "Point":
    # madd-2004-hmv. It fails for equal or opposite points, which a comb never adds: 2m = t for the
    # prefix m and the entry t would need odd lanes in 2m, and 2m + t = n a scalar above n.
    x1, y1, z1 = point
    if not z1:
        return x2, y2, 1
    zz = z1 * z1 % _P
    h = (x2 * zz - x1) % _P
    r = (y2 * zz % _P * z1 - y1) % _P
    hh = h * h % _P
    hhh = h * hh % _P
    v = x1 * hh % _P
    x3 = (r * r - hhh - 2 * v) % _P
    return x3, (r * (v - x3) - y1 * hhh) % _P, z1 * h % _P
