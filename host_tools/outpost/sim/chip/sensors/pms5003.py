"""Model of a Plantower PMS5003 (data manual version 2.3): active and passive mode, sleep.

World: pm1_ug, pm2_5_ug, pm10_ug (ug/m3). `deaf` in the description: a clone that ignores commands.
A byte takes its time: 9600 baud, 10 bits.
"""

from struct import pack

from ..bus import FAULT_ABSENT, FAULT_CRC, FAULT_IMPLAUSIBLE, FAULT_STUCK, UartPart

_PERIOD_MS = 1000
_BYTES_PER_S = 960


def frame(words):
    body = pack(">BBH", 0x42, 0x4D, 2 * len(words) + 2)
    body += b"".join(pack(">H", word) for word in words)
    return body + pack(">H", sum(body))


class Part(UartPart):
    def __init__(self, surroundings, config):
        UartPart.__init__(self, surroundings, config)
        self._active = True
        self._asleep = False
        self._command = b""
        self._line = b""  # bytes on their way, the first of them leaves at _line_ms
        self._line_ms = 0
        self._next_ms = 0

    def received(self, data):
        if self.config.get("deaf"):
            return
        self._command += data
        while len(self._command) >= 7:
            command, self._command = self._command[:7], self._command[7:]
            if command[:2] == b"\x42\x4d" and sum(command[:5]) == command[5] << 8 | command[6]:
                self._obey(command[2], command[4])

    def _obey(self, code, value):
        if code == 0xE1:
            self._active = bool(value)
            self._send(pack(">BBHBB", 0x42, 0x4D, 4, code, value))
        elif code == 0xE2 and not self._active and not self._asleep:
            self._measured()
        elif code == 0xE4:
            self._asleep = not value

    def _send(self, data):
        if len(data) < 32:
            data += pack(">H", sum(data))
        if not self._line:
            self._line_ms = self.now_ms()
        self._line += data

    def pending(self, now_ms):
        if self.fault in (FAULT_ABSENT, FAULT_STUCK):
            self._line = b""
            return b""
        if self._active and not self._asleep and now_ms >= self._next_ms:
            self._next_ms = now_ms + _PERIOD_MS
            self._measured()
        count = min(len(self._line), (now_ms - self._line_ms) * _BYTES_PER_S // 1000)
        out, self._line = self._line[:count], self._line[count:]
        self._line_ms += count * 1000 // _BYTES_PER_S
        return out

    def _measured(self):
        pm = [self.world(name, default) for name, default in _WORLD]
        if self.fault == FAULT_IMPLAUSIBLE:
            pm = [65535, 65535, 65535]
        cf1 = [value * 3 // 2 & 0xFFFF for value in pm]  # differs, so that a mix-up shows
        data = frame(cf1 + pm + [600, 200, 30, 4, 1, 0, 0x9700])
        if self.fault == FAULT_CRC:
            data = data[:-1] + bytes((data[-1] ^ 1,))
        self._send(data)


_WORLD = (("pm1_ug", 5), ("pm2_5_ug", 9), ("pm10_ug", 12))
