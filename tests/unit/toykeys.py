"""Signing keys that need no secret, so that tests that sign run on the VM as they do on CPython.

An RSA modulus made of many small primes p with p - 1 | L has a private exponent of a few dozen
bits (x ** (e * d) == x whenever L | e * d - 1), so signing is as fast as verifying and anybody can
factor it. To a verifier it is an RSA-3072 key like any other. Keys are made when a test asks for
them, in milliseconds, from a seed; real keys and an independent implementation are in tests/host.
"""

import hashlib

from loader import cbor, trust

E = 65537
BITS = 3072
_L_FACTORS = ((2, 6), (3, 4), (5, 2), (7, 1), (11, 1), (13, 1), (17, 1), (19, 1), (23, 1))
_WITNESSES = (2, 3, 5, 7, 11, 13, 17)  # enough below 3.4e14 (Jaeschke)


def sha256(data):
    return hashlib.sha256(data).digest()


def _is_prime(n):
    if n < 20 or not n & 1:
        return n in (2, 3, 5, 7, 11, 13, 17, 19)
    odd, twos = n - 1, 0
    while not odd & 1:
        odd >>= 1
        twos += 1
    for witness in _WITNESSES:
        x = pow(witness, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def _divisors():
    found = [1]
    for prime, power in _L_FACTORS:
        found = [d * prime**k for d in found for k in range(power + 1)]
    return sorted(found)


def _size(n):
    count = 0
    while n:
        n >>= 1
        count += 1
    return count


class _Field:
    """L, the private exponent that suits every key, and the primes that keys are made of."""

    def __init__(self):
        self.l = 1
        phi = 1
        for prime, power in _L_FACTORS:
            self.l *= prime**power
            phi *= (prime - 1) * prime ** (power - 1)
        self.d = pow(E, phi - 1, self.l)  # Euler: the inverse of E modulo L
        self.primes = [
            d + 1 for d in _divisors() if d > 1 << 16 and d + 1 != E and _is_prime(d + 1)
        ]


_made = []


def _field():
    if not _made:
        _made.append(_Field())
    return _made[0]


class Key:
    """A key from a seed; the same on every interpreter."""

    def __init__(self, seed):
        field = _field()
        state = seed + 1
        fitting = []
        while not fitting:
            primes = [p for p in field.primes if p < 1 << 21]
            n = 1
            while _size(n) < BITS - 38:
                state = (state * 1103515245 + 12345) % 2147483648
                n *= primes.pop(state % len(primes))
            # the last prime brings the modulus to exactly 3072 bits
            low = (1 << (BITS - 1)) // n
            fitting = [p for p in field.primes if low < p < 2 * low and n % p]
        n *= fitting[state % len(fitting)]
        assert _size(n) == BITS
        self.n = n
        self.d = field.d
        self.modulus = n.to_bytes(BITS // 8, "big")
        self.kid = sha256(self.modulus)[:8]

    def sign(self, message, salt=None):
        """RSASSA-PSS-SIGN with SHA-256 (RFC 8017 section 8.1.1); the salt is fixed by default."""
        salt = sha256(message) if salt is None else salt
        h = sha256(bytes(8) + sha256(message) + salt)
        size = BITS // 8 - 33
        block = bytes(size - len(salt) - 1) + b"\x01" + salt
        mask = b"".join([sha256(h + i.to_bytes(4, "big")) for i in range(12)])[:size]
        masked = bytearray([a ^ b for a, b in zip(block, mask)])
        masked[0] &= 0x7F
        return self.raw(bytes(masked) + h + b"\xbc")

    def raw(self, em):
        """The private operation on a block of the modulus' length."""
        return pow(int.from_bytes(em, "big"), self.d, self.n).to_bytes(BITS // 8, "big")


_keys = {}


def key(seed):
    """The key of this seed, made once."""
    if seed not in _keys:
        _keys[seed] = Key(seed)
    return _keys[seed]


def entry(role, payload, signer):
    """One signature of a COSE_Sign document (RFC 9052 section 4.1), built by hand."""
    protected = cbor.encode({1: -37, 4: signer.kid})
    header = cbor.encode({3: "outpost/" + role})
    message = cbor.encode(["Signature", header, protected, b"", payload])
    return [protected, {}, signer.sign(message)]


def assemble(role, payload, entries):
    header = cbor.encode({3: "outpost/" + role})
    return b"\xd8\x62" + cbor.encode([header, {}, payload, entries])


def sign(role, value, *seeds):
    """A document of this role; `value` is a payload, or what to encode into one."""
    payload = value if isinstance(value, bytes) else cbor.encode(value)
    return assemble(role, payload, [entry(role, payload, key(seed)) for seed in seeds])


# The world of most tests: root keys 1 and 2 (both must sign), release key 3, head key 4, ops key 5
ROOT, RELEASE, HEAD, OPS = (1, 2), 3, 4, 5


def root_map(version=1, **roles):
    """A root's payload; a role is (threshold, seeds, era)."""
    table = {
        "root": (2, ROOT, 0),
        "release": (1, (RELEASE,), 0),
        "head": (1, (HEAD,), 0),
        "ops": (1, (OPS,), 0),
    }
    table.update(roles)
    keys = {}
    for _, seeds, _ in table.values():
        for seed in seeds:
            keys[key(seed).kid] = key(seed).modulus
    entries = {
        role: [threshold, [key(seed).kid for seed in seeds], era]
        for role, (threshold, seeds, era) in table.items()
    }
    return {"version": version, "keys": keys, "roles": entries}


def root(**roles):
    return trust.parse_root(cbor.encode(root_map(**roles)))


DEVICE = {
    "product": "weather",
    "board": "rpi_pico_w",
    "chip": "rp2040",
    "hw": 2,
    "slot_budget": 200000,
    "wdt_ms": 8000,
    "mpy": 6,
    "micropython": [1, 25, 0],
    "build": "3.4.0; MicroPython v1.25.0",
    "floor": [0, 0],
    "failed": [],
    "era": 0,
}


def release_map(files=None, **fields):
    """A release's payload, right for DEVICE; `files` is {path: content}."""
    files = {"node/main.mpy": b"main"} if files is None else files
    value = {
        "product": "weather",
        "version": "1.0.0",
        "epoch": 1,
        "boards": {"rpi_pico_w": [1, 2], "esp32_generic": []},
        "chips": ["rp2040", "esp32"],
        "mpy": 6,
        "micropython": [1, 25, 0],
        "loader": 1,
        "budget": 100000,
        "health": {"deadline_s": 60, "publishes": 1, "heap_floor": 0, "connected": True},
        "files": [[path, len(files[path]), sha256(files[path])] for path in sorted(files)],
        "config": bytes(32),
        "sbom": bytes(32),
        "source": "test",
    }
    value.update(fields)
    return value


def head_map(**fields):
    value = {
        "name": "stable",
        "release": bytes(32),
        "sequence": 1,
        "issued": 1000,
        "expires": 2000,
        "root": 1,
    }
    value.update(fields)
    return value
