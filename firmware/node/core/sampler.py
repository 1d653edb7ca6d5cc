"""From readings to records: calibration, filters, rows, batches, alarms. Pure.

One `Sampler` serves all sensors of a product. Per round: `reading` for each sensor (or `failed`),
then `finish`, which writes a row when any channel asks for one. A row holds every column, because
a delta of 0 costs one byte. Sequence numbers count rows, so `taken` here is what the fleet
expects.
"""

from loader import cbor
from node.core import quality
from node.core.batcher import Batcher
from node.core.filter import ChannelFilter
from node.core.pack import VALUE_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.config import ProductConfig, SensorConfig
    from node.core.model import Model

_ROWS_PER_CAPTURE = 30
_ROWS_BEFORE = 8
_ALARMS_MAX = 8


class _Channel:
    def __init__(
        self, name: str, config: "ProductConfig", sensor: "SensorConfig", key: str
    ) -> None:
        settings = config.filter_of(name)
        self.name = name
        self.gain_ppm, self.offset = sensor.calibration.get(key, (1000000, 0))
        self.filter = ChannelFilter(settings)
        self.anomaly = None
        if settings.anomaly:
            from node.core.anomaly import Anomaly

            self.anomaly = Anomaly(settings.anomaly)
        limits = settings.low is not None or settings.high is not None
        self.alarming = bool(limits or settings.anomaly or settings.rate)
        self.alarm = ""

    def take(self, value: "int | None", code: int, now_ms: int) -> bool:
        """A raw value with its quality; True when it asks for a row."""
        if value is None or not quality.has_value(code):
            return self.filter.take(0, code or quality.ABSENT, now_ms)
        if self.gain_ppm != 1000000:
            value = (value * self.gain_ppm + 500000) // 1000000
        value += self.offset
        if not -VALUE_MAX <= value <= VALUE_MAX:
            value, code = max(-VALUE_MAX, min(VALUE_MAX, value)), quality.CLIPPED
        due = self.filter.take(value, code, now_ms)
        alarm = self.filter.alarm
        if self.anomaly is not None and self.anomaly.take(value):
            alarm = alarm or "anomaly"
        self._note(alarm)
        return due or self.news != ""

    def _note(self, alarm: str) -> None:
        """An alarm is news when it begins, not while it lasts."""
        self.news = alarm if alarm != self.alarm else ""
        self.alarm = alarm

    news = ""


class _Watch:
    """The trained model over its columns' latest values; an alarm like a channel's."""

    def __init__(self, model: "Model", channels: "list[_Channel]") -> None:
        named = {channel.name: channel for channel in channels}
        self._channels = [named[name] for name in model.columns]
        self._row = [0] * len(self._channels)
        self._model = model
        self._unusual = False

    @property
    def value(self) -> int:
        return self._model.score

    def look(self) -> bool:
        """True when the round that ends is the first of an unusual stretch."""
        for at in range(len(self._channels)):
            found = self._channels[at].filter
            if not quality.has_value(found.quality):
                return False
            self._row[at] = found.value
        before, self._unusual = self._unusual, self._model.take(self._row)
        return self._unusual and not before


class Sampler:
    """`channels[i]` are the driver's channels of `config.sensors[i]`."""

    def __init__(
        self,
        config: "ProductConfig",
        channels: "list[tuple[tuple[str, str, int], ...]]",
        identity: "tuple[bytes, int]",
    ) -> None:
        self._channels: list[list[_Channel]] = []
        columns = 0
        for index in range(len(channels)):
            sensor, row = config.sensors[index], []
            for key, _, _ in channels[index]:
                channel = _Channel(sensor.name + "_" + key, config, sensor, key)
                columns += 4 if channel.filter.window else 1
                row.append(channel)
            self._channels.append(row)
        limits = (config.batch, config.publish_ms)
        self.batcher = Batcher(identity[0], identity[1], columns, limits)
        self._boot = identity[1]
        self._values: list[int | None] = [None] * columns
        self._codes = [0] * columns
        self._due = False
        self._capture = 0
        self._alarms: list[tuple[str, str, int]] = []  # column, alarm, value
        self._watch: _Watch | None = None
        self._before: list[tuple[int, list[int | None], list[int]]] = []
        self._alarming = any(channel.alarming for row in self._channels for channel in row)
        self.event_seq = 0

    def watch(self, model: "Model") -> None:
        """Let a trained model look at each round. KeyError: it is of other columns."""
        every = [channel for row in self._channels for channel in row]
        self._watch = _Watch(model, every)
        self._alarming = True

    @property
    def taken(self) -> int:
        """Rows of this boot: each was given a sequence number."""
        return self.batcher.next_seq

    @property
    def alarmed(self) -> bool:
        """Whether an alarm waits to be told."""
        return bool(self._alarms)

    @property
    def values(self) -> "list[int | None]":
        """The last row, by column."""
        return self._values

    @property
    def capturing(self) -> bool:
        """Whether an alarm has asked for a row of every round, and for rounds at a high rate."""
        return self._capture > 0

    def reading(self, sensor: int, values: "list[int]", codes: "bytearray", now_ms: int) -> None:
        """What a driver has filled in: `values` and their quality."""
        row = self._channels[sensor]
        for index in range(len(row)):
            if row[index].take(values[index], codes[index], now_ms):
                self._due = True
            if row[index].news:
                self._alarm(row[index].name, row[index].news, row[index].filter.value)

    def _alarm(self, name: str, alarm: str, value: int) -> None:
        if len(self._alarms) < _ALARMS_MAX:
            self._alarms.append((name, alarm, value))

    def failed(self, sensor: int, code: int, now_ms: int) -> None:
        """A sensor that gave nothing: its columns say why."""
        for channel in self._channels[sensor]:
            if channel.take(None, code, now_ms):
                self._due = True

    def finish(self, now_ms: int) -> bool:
        """End of a round; True when a row was written."""
        if self._watch is not None and self._watch.look():
            self._alarm("", "model", self._watch.value)
        if self._capture:
            self._capture -= 1
        if self._alarms:
            self._capture = _ROWS_PER_CAPTURE
            self._tell_before()
        if not (self._due or self._capture):
            if self._alarming:
                self._remember(now_ms)
            return False
        self._due = False
        self._before.clear()
        at = 0
        for row in self._channels:
            for channel in row:
                at = channel.filter.fill(self._values, self._codes, at)
                channel.filter.emitted(now_ms)
        self.batcher.add(self._values, self._codes, now_ms)
        return True

    def _remember(self, now_ms: int) -> None:
        """Keep a round that was not worth a row: should an alarm follow, it is."""
        if len(self._before) == _ROWS_BEFORE:
            self._before.pop(0)
        values: list[int | None] = []
        codes: list[int] = []
        for row in self._channels:
            for channel in row:
                channel.filter.peek(values, codes)
        self._before.append((now_ms, values, codes))

    def _tell_before(self) -> None:
        """The rounds since the last row, as rows: how it came to the alarm."""
        for up_ms, values, codes in self._before:
            if self.batcher.room > 1:  # the round that raised the alarm needs one as well
                self.batcher.add(values, codes, up_ms)
        self._before.clear()

    def next_event(self, now_ms: int, unix_s: "int | None") -> "bytes | None":
        """The next alarm as an event record (topic up/event), or None."""
        if not self._alarms:
            return None
        name, alarm, value = self._alarms.pop(0)
        body = {"column": name, "alarm": alarm, "value": value, "seq": self.batcher.next_seq}
        event = {"t": "alarm", "boot": self._boot, "seq": self.event_seq, "up": now_ms, "b": body}
        if unix_s is not None:
            event["ts"] = unix_s
        self.event_seq += 1
        return cbor.encode(event)
