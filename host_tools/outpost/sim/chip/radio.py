"""The link, Wi-Fi or wired: what is in reach, joining, losing, and what that does to sockets.

The runner describes networks once; signal and outages are world values it changes while the board
runs: "wifi.up" (all networks), "wifi.<n>.up", "wifi.<n>.rssi_dbm", "wifi.join_ms", "net.up" (what
lies behind the access point), "dns.up", "ntp.up". Of a board with Ethernet "eth.up" says whether
the cable is plugged in; the rest of a link is the same, so it is the same code: `WIRE` stands for
an access point that needs no key.

A lost link does not close sockets, exactly as on a chip: their bytes go nowhere until it is back.
`Holes` does that to the host's descriptors.
"""

from . import clock, layout, libc, power, world

OFF, IDLE, CONNECTING, JOINED, NO_AP, WRONG_KEY, FAILED = range(7)
_TICK_MS = 250
_RETRY_MS = 3000
_SEEN_MS = 2000  # beacons missed before a station notices
WIRE = -1

state = OFF
point = None  # index of the access point joined
_wanted = None  # (ssid, key, bssid)
_due_ms = 0
_lost_ms = -1
static_ip = None
saving = True
_rssi_keys = []
_up_keys = []
_timer = None


def _points():
    return power.board["access_points"]


def power_up():
    """Build the names of the world values once: the tick must not allocate."""
    for index in range(len(_points())):
        _rssi_keys.append("wifi.%d.rssi_dbm" % index)
        _up_keys.append("wifi.%d.up" % index)


def rssi(index):
    return world.get(_rssi_keys[index], _points()[index]["rssi_dbm"])


def _in_reach(index):
    if index == WIRE:
        return bool(world.get("eth.up", 1))
    if not world.get("wifi.up", 1) or not world.get(_up_keys[index], 1):
        return False
    return rssi(index) >= power.board["radio"]["sensitivity_dbm"]


def scan():
    """Indices of the networks a scan finds; takes the time a scan takes."""
    power.radio(layout.RADIO_CONNECTING)
    clock.sleep_ms(1500)
    _account()
    return [index for index in range(len(_points())) if _in_reach(index)]


def activate(on):
    global _timer
    if on and state == OFF:
        _set(IDLE)
        _timer = clock.at(clock.now_ms() + _TICK_MS, _tick)
    elif not on:
        disconnect()
        _set(OFF)


def plug_in():
    """The driver of a wired interface starts: link, then an address."""
    activate(True)
    connect(WIRE, "", None)


def linked():
    """A wired interface notices its cable at once, and keeps its address without it."""
    update()
    return state == JOINED and _in_reach(point)


def connect(ssid, key, bssid):
    global _wanted
    _wanted = (ssid, key, bssid)
    _begin()


def disconnect():
    global _wanted
    _wanted = None
    if state != OFF:
        _set(IDLE)


def update():
    """Bring `state` up to virtual now."""
    global _lost_ms
    now = clock.now_ms()
    if state == CONNECTING and now >= _due_ms:
        _finish()
    elif state == JOINED:
        if point == WIRE or _in_reach(point):
            _lost_ms = -1
        elif _lost_ms < 0:
            _lost_ms = now
        elif now - _lost_ms >= _SEEN_MS:
            lose()
    elif now >= _due_ms and _tries_again():
        _begin()
    holes.set(not carries())


def _tries_again():
    """esp32's driver does, by itself and for ever; cyw43's leaves it to the program."""
    waiting = _wanted and state in (NO_AP, FAILED, WRONG_KEY)
    return waiting and power.board["port"] == "esp32"


def carries():
    """Whether a packet sent now would get anywhere."""
    return state == JOINED and _in_reach(point) and bool(world.get("net.up", 1))


def _tick(_):
    update()
    if state != OFF:
        clock.again(_timer, clock.now_ms() + _TICK_MS)


def _begin():
    global _due_ms
    wait = world.get("wifi.join_ms", 0)
    if not wait:
        radio = power.board["radio"]
        wait = radio["join_static_ms"] if static_ip else radio["join_ms"]
        if _wanted[2]:
            wait = wait * 2 // 3  # no scan over all channels
        index = _find()
        if index is not None and index != WIRE and rssi(index) < -70:
            wait += wait * (-70 - rssi(index)) // 10  # retries
    _due_ms = clock.now_ms() + wait
    _set(CONNECTING)


def _find():
    if _wanted[0] == WIRE:
        return WIRE if _in_reach(WIRE) else None
    best = None
    for index, entry in enumerate(_points()):
        if entry["ssid"] != _wanted[0] or not _in_reach(index):
            continue
        if _wanted[2] and bytes.fromhex(entry["bssid"]) != _wanted[2]:
            continue
        if best is None or rssi(index) > rssi(best):
            best = index
    return best


def _finish():
    global point, _due_ms, _lost_ms
    found = _find()
    _due_ms = clock.now_ms() + _RETRY_MS
    if found is None:
        _set(CONNECTING if _wanted[0] == WIRE else NO_AP)
    elif found != WIRE and _points()[found]["psk"] != (_wanted[1] or ""):
        _set(WRONG_KEY)
    else:
        point = found
        _lost_ms = -1
        _set(JOINED)


def lose():
    """The access point does not know this station any more."""
    global _due_ms
    _due_ms = clock.now_ms() + _RETRY_MS
    _set(FAILED)


def _set(new):
    global state
    state = new
    _account()
    holes.set(not carries())


def _account():
    if state == OFF:
        power.radio(layout.RADIO_OFF)
    elif state == CONNECTING:
        power.radio(layout.RADIO_CONNECTING)
    elif state == JOINED and saving:
        power.radio(layout.RADIO_IDLE)
    else:
        power.radio(layout.RADIO_ON)


class Holes:
    """Puts a black hole behind open descriptors, and takes it away with what was written kept.

    While the link is down the descriptor is one end of a socket pair that nobody answers: writes
    fill its small buffer, reads find nothing.  When the link is back, the real connection returns
    under the same number and gets those bytes, as TCP would have retransmitted them.
    """

    _SMALL = 4608

    def __init__(self):
        self.fds = {}  # fd -> None, or (real, far)
        self.dark = False

    def add(self, fd):
        self.fds[fd] = None
        if self.dark:
            self._swallow(fd)

    def drop(self, fd):
        pair = self.fds.pop(fd, None)
        if pair:
            libc.close(pair[0])
            libc.close(pair[1])

    def set(self, dark):
        if dark == self.dark:
            return
        self.dark = dark
        for fd in list(self.fds):
            if dark:
                self._swallow(fd)
            else:
                self._release(fd)

    def _swallow(self, fd):
        ends = bytearray(8)
        if libc.socketpair(1, 1, 0, ends) or self.fds[fd]:
            return
        near = ends[0] | ends[1] << 8
        far = ends[4] | ends[5] << 8
        size = self._SMALL.to_bytes(4, "little")
        libc.setsockopt(near, 1, 7, size, 4)  # SOL_SOCKET, SO_SNDBUF
        self.fds[fd] = (libc.dup(fd), far)
        libc.dup2(near, fd)
        libc.close(near)
        libc.fcntl(fd, 4, libc.O_NONBLOCK)

    def _release(self, fd):
        pair = self.fds[fd]
        if not pair:
            return
        self.fds[fd] = None
        real, far = pair
        libc.dup2(real, fd)
        libc.close(real)
        kept = bytearray(16384)
        size = libc.recv(far, kept, len(kept), libc.MSG_DONTWAIT)
        libc.close(far)
        if size > 0:
            libc.send(fd, kept, size, libc.MSG_NOSIGNAL)


holes = Holes()
