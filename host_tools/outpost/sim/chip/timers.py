"""Timer on virtual time; callbacks run where the program looks at the clock."""

from . import clock


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id=-1, **options):
        self._entry = None
        if options:
            self.init(**options)

    def init(self, mode=1, period=-1, callback=None, freq=None, tick_hz=1000, hard=False):
        self.deinit()
        self._period = max(1, int(1000 / freq) if freq else period * 1000 // tick_hz)
        self._mode = mode
        self._callback = callback
        self._entry = clock.at(clock.now_ms() + self._period, self._fire)

    def _fire(self, _):
        due = self._entry[0] + self._period
        self._entry = clock.at(due, self._fire) if self._mode == Timer.PERIODIC else None
        if self._callback:
            self._callback(self)

    def value(self):
        return max(0, self._entry[0] - clock.now_ms()) if self._entry else 0

    def deinit(self):
        if self._entry:
            clock.cancel(self._entry)
            self._entry = None
