"""The runtime image: what is written to the spare partition, and what is not."""

import hashlib
import unittest

from loader.cbor import VerifyError
from node.core.image import CHUNK, Image
from update_bench import MemoryFiles, noise, sha, stored


class Partitions:
    def __init__(self, chunks, running=b""):
        self.spare = bytearray(b"\xff" * (chunks * CHUNK))
        self.running = bytearray(running + b"\xff" * (chunks * CHUNK - len(running)))
        self.writes = []

    def read(self, chunk, buf):
        buf[:] = self.spare[chunk * CHUNK : (chunk + 1) * CHUNK]

    def read_running(self, chunk, buf):
        buf[:] = self.running[chunk * CHUNK : (chunk + 1) * CHUNK]

    def write(self, chunk, buf):
        self.writes.append(chunk)
        self.spare[chunk * CHUNK : (chunk + 1) * CHUNK] = buf


def chunks_of(image):
    return [image[at : at + CHUNK] for at in range(0, len(image), CHUNK)]


class TestImage(unittest.TestCase):
    def setUp(self):
        self.image = noise(3 * CHUNK + 100)
        self.files = MemoryFiles()
        self.parts = Partitions(5)
        self.asked = []
        self.blobs = {sha(part): stored(part) for part in chunks_of(self.image)}

    def fill(self, digest=None):
        table = b"".join([sha(part) for part in chunks_of(self.image)])
        self.files.data["/b/chunks"] = table
        runtime = {"size": len(self.image), "sha256": digest or sha(self.image)}
        machine = Image(self.parts, self.files, "/b/chunks", runtime)
        for _ in machine.fill(self.fetch):
            pass
        return machine

    def fetch(self, digest, limit):
        self.asked.append(digest)
        yield 0
        return self.blobs[digest]

    def code(self, digest=None):
        try:
            self.fill(digest)
        except VerifyError as error:
            return error.code
        return ""

    def test_all_of_it(self):
        self.fill()
        self.assertEqual(bytes(self.parts.spare[: len(self.image)]), self.image)
        self.assertEqual(self.parts.writes, [0, 1, 2, 3])
        self.assertEqual(self.parts.spare[len(self.image)], 0xFF)

    def test_what_is_there_is_left_alone(self):
        self.fill()
        self.parts.writes.clear()
        self.asked.clear()
        self.fill()
        self.assertEqual((self.parts.writes, self.asked), ([], []))

    def test_what_the_running_image_has_is_copied(self):
        self.parts.running[CHUNK : 2 * CHUNK] = self.image[CHUNK : 2 * CHUNK]
        machine = self.fill()
        self.assertEqual((len(self.asked), machine.written), (3, 4))

    def test_a_torn_chunk_is_written_again(self):
        self.fill()
        self.parts.spare[CHUNK + 5] ^= 1
        self.parts.writes.clear()
        self.fill()
        self.assertEqual(self.parts.writes, [1])

    def test_nothing_is_written_before_its_hash_is_right(self):
        second = sha(chunks_of(self.image)[1])
        for blob, code in (
            (stored(noise(CHUNK, 9)), "blob-hash"),
            (stored(noise(CHUNK - 1, 9)), "blob-hash"),
            (stored(chunks_of(self.image)[1] + b"!"), ""),  # what is too long is not read
            (b"\xff" * 60, "blob-data"),
            (stored(chunks_of(self.image)[1])[:-200], "blob-data"),
        ):
            self.setUp()
            self.blobs[second] = blob
            self.assertEqual(self.code(), code)
            self.assertEqual(self.parts.writes, [0] if code else [0, 1, 2, 3])

    def test_chunks_that_are_another_image(self):
        self.assertEqual(self.code(hashlib.sha256(b"other").digest()), "runtime-hash")


if __name__ == "__main__":
    unittest.main()
