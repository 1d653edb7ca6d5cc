"""RTC: the chip's clock, and on ESP32 the memory that deep sleep and resets keep."""

from . import civil, clock, layout, power, shared


class RTC:
    def __init__(self, id=0):
        if power.board["rtc_memory"]:
            self.memory = self._memory

    def datetime(self, fields=None):
        if fields is None:
            ms = clock.rtc_ms()
            t = civil.fields(ms // 1000)
            micros = ms % 1000 * 1000 if power.board["port"] == "esp32" else 0
            return (t[0], t[1], t[2], t[6], t[3], t[4], t[5], micros)
        year, month, day, _, hour, minute, second, sub = fields
        when = civil.seconds(year, month, day, hour, minute, second)
        wanted = when * 1000 + (sub // 1000 if power.board["port"] == "esp32" else 0)
        shared.set_wide("rtc_set_ms", shared.wide("rtc_set_ms") + wanted - clock.rtc_ms())
        return None

    def init(self, fields):
        self.datetime(fields)

    def _memory(self, data=None):
        start = layout.RTC_MEMORY_AT
        if data is None:
            return bytes(shared.RAW[start : start + shared.S.rtc_len])
        if len(data) > power.board["rtc_memory"]:
            raise ValueError("buffer too long")
        shared.RAW[start : start + len(data)] = data
        shared.S.rtc_len = len(data)
        return None
