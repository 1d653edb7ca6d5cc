"""Keeps the device's one MQTT connection: connects, pumps, reconnects, and tells its sources.

Theory. `_turn` is the whole pump: read what came, write what waits, pull the sources, without
ever waiting. It runs when the socket has something to read (`_listen`), when somebody publishes,
and at each tick; while acknowledgements are on their way it spins through asyncio for a few ms,
because a PUBACK on a good link is faster than a sleep. Failures end the link, never the task:
the backoff decides when the next attempt is made, and `window` carries over what was not
acknowledged.
"""

import asyncio

from micropython import const
from node.core.errors import LinkError, PeerError
from node.core.mqtt.backoff import Backoff
from node.core.mqtt.codec import Options
from node.core.mqtt.session import ACKED, CONNECTED, MESSAGE, SUBSCRIBED, Session

_TICK_MS = const(200)
_BURST_MS = const(8)  # for which the pump keeps the processor while acknowledgements are due
_IDLE_TURNS = const(16)
_TICKS = const(0x3FFFFFFF)
_RECEIVE_BYTES = const(256)


class Config:
    """Where to connect, as whom (`options` has the client id), and how to be patient."""

    open_timeout_ms = 20000
    backoff_ms = 1000
    backoff_cap_ms = 120000
    stable_ms = 30000
    resubscribe = True  # False on a wake whose session already has them

    def __init__(self, host: str, port: int, options: Options) -> None:
        self.host = host
        self.port = port
        self.options = options
        self.up = "v1/%s/up/" % options.client_id
        self.down = "v1/%s/down/" % options.client_id


class Connection:
    """`ports` is a hal.link.Ports, or anything with its attributes."""

    beat_ms = 60000
    # What most connections never change takes no room in each.
    fault = ""  # code of the last failure
    failures = sub_refused = 0  # these and the others are for the heartbeat (parts.facts)
    oversized = 0  # of the inbound halves that were forgotten
    _asked = False

    def __init__(self, config: Config, ports, log=None) -> None:
        self.config = config
        self.session = Session(config.options)
        self._window = self.session.window
        self.connected = False
        self.connects = self.acks = self.received = 0
        self._ports = ports
        self._log = log
        self._link = None
        self._live = False  # the link takes bytes
        self._topics: dict = {}
        self._handlers: dict = {}
        self.hearing = True  # False: what the broker sends from now on stays unread, before a stop
        self._forget = getattr(ports, "forget", None)  # frees a module that rests, by its name
        self._sources: list = []
        self._received = bytearray(_RECEIVE_BYTES)
        self._backoff = Backoff(
            ports.below, config.backoff_ms, config.backoff_cap_ms, config.stable_ms
        )
        self._paused = self._stopping = self._pulling = False
        self._error = None

    # For the other tasks.

    def publish(self, suffix, payload, qos=1, retain=False, token=0) -> bool:
        """Send `payload` to up/<suffix>. False: not connected or no room, try again later."""
        window = self._window
        if not self._live or qos and window.count >= window.limit:
            return False
        topic = self._topics.get(suffix)
        if topic is None:
            topic = self._topics[suffix] = window.topic(self.config.up + suffix)
        done = window.publish(topic, payload, qos, retain, token)
        if done and self._pulling:
            return True  # what a source publishes is written together
        if done or window.loose or not qos:
            self._try_write()
            if not done:
                return window.publish(topic, payload, qos, retain, token)
        return done

    def subscribe(self, suffix: str, handler) -> None:
        """From now on, and after each reconnect, give down/<suffix> to handler(memoryview)."""
        name = self.config.down + suffix
        self._handlers[name.encode()] = handler
        if self.connected:
            self.session.need_inbound().subscribe(self.session, [(name, 1)])
            self._try_write()

    def add_source(self, source) -> None:
        """`source.pull(connection)` publishes what it has while there is room; returning is how
        it says that it has no more. `source.acked(token)`: the broker has it."""
        self._sources.append(source)

    def remove_source(self, source) -> None:
        """It has nothing more to say and no message on its way."""
        self._sources.remove(source)

    def kick(self) -> None:
        """A source has something new: pull now, not at the next tick."""
        if self.connected and not self._pulling:
            self._pull()
            self._try_write()

    def room(self) -> bool:
        window = self.session.window
        return self._live and window.count < window.limit

    def idle(self) -> bool:
        """Connected, and nothing waits for an acknowledgement."""
        return self.connected and not self.session.window.count and not self.session.output()

    async def pause(self) -> None:
        """Step aside: close the link (cleanly) and stay away until resume()."""
        self._paused = True
        while self._link is not None:
            await asyncio.sleep_ms(10)

    def resume(self) -> None:
        self._paused = False

    async def stop(self) -> None:
        """Send DISCONNECT, close, and let run() return: before sleep or reset."""
        self._stopping = True
        while self._link is not None:
            await asyncio.sleep_ms(5)

    # The task.

    async def run(self, beat) -> None:
        self._stopping = False
        while not self._stopping:
            beat()
            if self._paused or not self._online():
                await asyncio.sleep_ms(_TICK_MS)
                continue
            started = self._ports.ticks_ms()
            connects = self.connects
            try:
                await self._one_link(beat)
            except (LinkError, PeerError, MemoryError) as error:
                if isinstance(error, MemoryError):
                    error = LinkError("memory")
                self._failed(error)
                if self.connects > connects:
                    self._backoff.lasted((self._ports.ticks_ms() - started) & _TICKS)
                await self._wait(self._backoff.next_ms(), beat)

    def _online(self) -> bool:
        return self._ports.online is None or self._ports.online()

    async def _wait(self, pause_ms: int, beat) -> None:
        while pause_ms > 0 and not self._stopping and not self._paused:
            beat()
            await asyncio.sleep_ms(min(pause_ms, _TICK_MS))
            pause_ms -= _TICK_MS

    def _failed(self, error) -> None:
        self.fault = error.code
        self.failures += 1
        if self._log is not None:
            self._log.warning("mqtt: %s %s" % (error.code, error.detail))

    async def _one_link(self, beat) -> None:
        """One connection, from DNS to its end; leaves no socket and no task behind."""
        config = self.config
        self._link = link = self._ports.link()
        listener = None
        try:
            await link.open(config.host, config.port, self._ports.tls, config.open_timeout_ms)
            self._begin()
            session = self.session
            count = session.output()
            session.wrote(await link.start(session.out, session.out_at, count))
            self._live = True
            self._error = None
            listener = asyncio.create_task(self._listen(link))
            await self._tend(beat)
        finally:
            self.connected = self._live = False
            self.session.closed()
            if listener is not None:
                listener.cancel()
            link.close()
            self._link = None

    def _begin(self) -> None:
        """CONNECT, and what may travel with it."""
        session = self.session
        session.connect(self._ports.ticks_ms())
        if self.config.options.version == 5:
            self._topics.clear()  # their format depends on what the broker took
        if session.pipeline:
            self._live = True  # publishes queue up behind CONNECT
            self._pull()
            self._live = False  # until CONNECT is out

    def _rest(self) -> None:
        """Nothing came for a while: the incoming half is loaded again when something does."""
        inbound = self.session.inbound
        if inbound is not None and self._forget is not None and inbound.resting():
            self.oversized += inbound.oversized
            self.session.inbound = None
            self._forget("node.core.mqtt.inbound")

    async def _tend(self, beat) -> None:
        while self._error is None:
            beat()
            self._rest()
            self._turn()
            left_ms = self.session.tick(self._ports.ticks_ms())
            self._flush()
            if self._stopping or self._paused or not self._online():
                return await self._leave()
            await asyncio.sleep_ms(max(1, min(left_ms, _TICK_MS)))
        raise self._error

    async def _leave(self) -> None:
        """A clean end."""
        self.session.disconnect()
        for _ in range(50):
            self._flush()
            if not self.session.output():
                return
            await asyncio.sleep_ms(10)

    async def _listen(self, link) -> None:
        """Runs beside _tend: the pump, woken by the socket. While acknowledgements are due it
        looks again at once, because on a good link they are faster than a turn of asyncio."""
        window = self.session.window
        ticks_ms = self._ports.ticks_ms
        turn = self._turn
        waiting = link.waiting
        idle = 0
        try:
            while True:
                started = ticks_ms()
                while (ticks_ms() - started) & _TICKS < _BURST_MS:
                    idle = 0 if turn() else idle + 1
                    if not window.count and idle or not self._live:
                        break
                    waiting(1)
                if idle < _IDLE_TURNS:
                    await asyncio.sleep_ms(0)
                elif self.session.output():
                    await link.writable()
                else:
                    await link.readable()
        except Exception as error:  # noqa: BLE001 (_tend raises it, in the task that is watched)
            self._error = error

    def _turn(self) -> bool:
        """Read, write, pull, without waiting. True when there may be more to read."""
        session = self.session
        received = self._received
        moved = session.more
        if moved:
            self._events()
        if not session.more and self.hearing:
            count = self._link.recv_into(received)
            if count is not None:
                if not count:
                    raise LinkError("eof")
                moved = True
                session.feed(received, count)
                self._events()
        if self.connected:
            self._pull()
        if self._live:
            self._write()
        return moved

    def _pull(self) -> None:
        self._pulling = True
        for source in self._sources:
            source.pull(self)
        self._pulling = False

    def _flush(self) -> None:
        if self._live and not self._pulling:
            self._write()

    def _try_write(self) -> None:
        """For callers from other tasks: a broken link is the connection's trouble, not theirs."""
        if self._live:
            try:
                self._write()
            except (LinkError, MemoryError) as error:
                self._error = error
                self._live = False

    def _write(self) -> None:
        session = self.session
        count = session.output()
        while count:
            took = self._link.send(session.out, session.out_at, count)
            if not took:
                return
            session.wrote(took)
            count = session.output()

    def _events(self) -> None:
        session = self.session
        event = session.next_event()
        while True:
            if event == ACKED:
                self.acks += 1
                for source in self._sources:
                    source.acked(session.window.token)
                if not session.more:
                    return
            elif event == MESSAGE:
                self._message(session)
            elif event == CONNECTED:
                self._opened(session)
            elif event == SUBSCRIBED:
                self.sub_refused += session.reason
            elif not session.more:
                return
            else:  # replies fill the queue: write some before more is taken in
                self._flush()
                if session.control:
                    return
            event = session.next_event()

    def _message(self, session) -> None:
        self.received += 1
        handler = self._handlers.get(session.inbound.topic)
        if handler is None:
            return
        try:
            handler(session.inbound.payload)
        except Exception as error:  # noqa: BLE001 (one bad message would come again and again)
            self._failed(PeerError("handler", error))

    def _opened(self, session) -> None:
        self.connected = True
        self.connects += 1
        wanted = not self._asked and self.config.resubscribe
        if self._handlers and (wanted or not session.present):
            filters = [(name.decode(), 1) for name in self._handlers]
            session.need_inbound().subscribe(session, filters)
            self._asked = True
