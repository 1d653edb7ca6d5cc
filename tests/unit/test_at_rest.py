"""node.core.at_rest: what is sealed is opened by the same device only, and the outbox uses it."""

import unittest

from node.core import outbox, record
from node.core.at_rest import Seal, hmac
from test_outbox import Files, drain, numbered, packed, small

try:
    from cryptolib import aes
except ImportError:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    class aes:
        """cryptolib.aes in CBC mode (2), over `cryptography`."""

        def __init__(self, key, mode, iv):
            assert mode == 2
            self._cipher = Cipher(algorithms.AES(key), modes.CBC(iv))

        def encrypt(self, data):
            return self._cipher.encryptor().update(data)

        def decrypt(self, data):
            return self._cipher.decryptor().update(data)


def device(number):
    return Seal(bytes([number] * 32), aes)


class TestSeal(unittest.TestCase):
    def test_hmac(self):
        # RFC 4231, test cases 1 and 2
        self.assertEqual(hmac(b"\x0b" * 20, b"Hi There")[:8], b"\xb0\x34\x4c\x61\xd8\xdb\x38\x53")
        found = hmac(b"Jefe", b"what do ya want for nothing?")
        self.assertEqual(found[:8], b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e")

    def test_the_form(self):
        sealed = device(1).seal(b"a record of telemetry")
        self.assertEqual(len(sealed), 48)
        key = hmac(b"\1" * 32, b"outbox records: tag")
        self.assertEqual(sealed[:16], hmac(key, b"a record of telemetry")[:16])

    def test_every_length(self):
        seal = device(1)
        for size in range(70):
            payload = bytes(range(size))
            sealed = seal.seal(memoryview(payload))
            self.assertEqual(seal.open(memoryview(sealed)), payload)
            self.assertLess(len(sealed) - size, 33)
            self.assertGreater(len(sealed) - size, 16)

    def test_another_device_and_every_flipped_bit(self):
        sealed = device(1).seal(b"one record")
        self.assertIsNone(device(2).open(sealed))
        for at in range(len(sealed) * 8):
            changed = bytearray(sealed)
            changed[at >> 3] ^= 1 << (at & 7)
            self.assertIsNone(device(1).open(changed))
        for size in range(len(sealed)):
            self.assertIsNone(device(1).open(sealed[:size]))

    def test_nothing_of_a_record_is_readable(self):
        secret = b"readings of a customer"
        sealed = device(1).seal(secret * 4)
        for at in range(len(sealed) - 4):
            self.assertFalse(bytes(sealed[at : at + 5]) in secret)


class TestOutboxAtRest(unittest.TestCase):
    def test_flash_holds_nothing_readable_and_everything_arrives(self):
        files = Files()
        box = outbox.Outbox(files, small(), device(1))
        box.open()
        for payload in numbered(15):
            self.assertTrue(box.append(payload))
        box.flush()
        for data in files.files.values():
            self.assertFalse(b"xxxxxxxx" in data)
        again = outbox.Outbox(files, small(), device(1))
        again.open()
        self.assertEqual(drain(again), numbered(15))

    def test_records_of_another_device_are_not_sent_and_counted(self):
        files = Files()
        box = outbox.Outbox(files, small(), device(1))
        box.open()
        for payload in numbered(6):
            box.append(payload)
        box.flush()
        other = outbox.Outbox(files, small(), device(2))
        other.open()
        self.assertEqual(drain(other), [])
        self.assertEqual((other.depth, other.delivered, other.dropped), (0, 0, 6))

    def test_thinning_opens_and_seals(self):
        config, files = small(), Files()
        config.policy, config.segments = "thin", 6
        box = outbox.Outbox(files, config, device(1))
        box.open()
        for number in range(60):
            box.append(packed(12 * number), 12)
        self.assertGreater(box.thinned, 0)
        got = [record.decode(payload) for payload in drain(box)]
        self.assertEqual(sum(batch.samples for batch in got), box.delivered)
        self.assertEqual((box.taken, box.damaged, box.depth), (720, 0, 0))

    def test_thinning_without_room_drops(self):
        config, files = small(), Files()
        config.policy, config.segments = "thin", 6
        box = outbox.Outbox(files, config)
        box.open()
        for number in range(60):
            box.append(packed(12 * number), 12)
            files.room = sum(map(len, files.files.values())) + 300
        self.assertEqual(box.taken, 720)
