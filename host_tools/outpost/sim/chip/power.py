"""Ends of a boot, sleep states, the watchdog and the meter's inputs.

The chip does not meter: it keeps the milliseconds spent in each state of CPU, radio and sensor
rails of this boot in shared words, and the runner multiplies by the board's currents.  Whatever
ends the boot, also a kill, the last state and its start are there to be completed.
"""

from . import clock, layout, libc, shared

board = {}  # the description the runner sent; filled in by power_on


def die(status):
    """End this boot here and now; nothing in the program can catch it."""
    account()
    libc.exit_now(status)


def account():
    """Write the running state's time into the shared words."""
    state = shared.S
    now = clock.now_ms()
    cpu = now - state.cpu_since_ms
    shared.add_i32(layout.CPU_MS_AT + 4 * state.cpu_state, cpu)
    if state.cpu_state == layout.CPU_SLOW:
        index = board["freq"]["allowed_mhz"].index(state.freq_mhz)
        shared.add_i32(layout.CLOCK_MS_AT + 4 * index, cpu)
    state.cpu_since_ms = now
    shared.add_i32(layout.RADIO_MS_AT + 4 * state.radio_state, now - state.radio_since_ms)
    state.radio_since_ms = now
    rails = state.rails_on
    for rail in range(layout.RAILS):
        if rails >> rail & 1:
            shared.add_i32(layout.RAIL_MS_AT + 4 * rail, now - state.rails_since_ms)
    state.rails_since_ms = now


def cpu(state):
    account()
    shared.S.cpu_state = state


def radio(state):
    if shared.S.radio_state != state:
        account()
        shared.S.radio_state = state


def rail(index, on):
    account()
    mask = 1 << index
    shared.S.rails_on = shared.S.rails_on | mask if on else shared.S.rails_on & ~mask


def active_state():
    fast = board["freq"]["default_mhz"]
    return layout.CPU_ACTIVE if shared.S.freq_mhz >= fast else layout.CPU_SLOW


def work(amount):
    """What takes the CPU `amount` at its default clock, at the one it has."""
    return amount * board["freq"]["default_mhz"] // shared.S.freq_mhz


def set_clock(mhz):
    account()
    shared.S.freq_mhz = mhz
    shared.S.cpu_state = active_state()


def reset():
    die(layout.EXIT_RESET)


def soft_reset():
    account()
    libc.exit_now(layout.EXIT_SOFT_RESET)


def deepsleep(time_ms=-1):
    """Ask the runner for the sleep: it skips the time and starts the next boot."""
    cap = board["quirks"].get("lightsleep_cap_ms", 0)
    if cap and board["quirks"].get("deepsleep_is_lightsleep"):
        time_ms = cap if time_ms < 0 else min(time_ms, cap)
    shared.set_wide("sleep_ms", time_ms)
    die(layout.EXIT_DEEPSLEEP)


def lightsleep(time_ms=-1):
    """RAM is kept; time passes at the sleep current, and is skipped like a deep sleep's."""
    cap = board["quirks"].get("lightsleep_cap_ms", 0)
    if cap:
        time_ms = cap if time_ms < 0 else min(time_ms, cap)
    cpu(layout.CPU_LIGHT)
    if time_ms < 0:
        while not shared.S.pin_events:
            clock.sleep_ms(10)
    else:
        clock.sleep_ms(time_ms)
    if board["port"] == "rp2":  # modmachine.c brings the clocks up again as after a reset
        set_clock(board["freq"]["default_mhz"])
    cpu(active_state())


class Watchdog:
    """WDT: virtual time bites in `clock.check`, the host's alarm bites a loop that never asks."""

    def __init__(self, id=0, timeout=5000):
        quirks = board["wdt"]
        if timeout < quirks["min_ms"]:
            raise ValueError("WDT timeout too short")
        if quirks["max_ms"] and timeout > quirks["max_ms"]:
            raise ValueError("timeout exceeds %d" % quirks["max_ms"])
        state = shared.S
        if not state.wdt_ms or quirks["reconfigurable"]:
            state.wdt_ms = timeout
            state.wdt_due_ms = clock.now_ms() + timeout  # feed looks at the old one first
        self.feed()

    def feed(self):
        clock.check()
        state = shared.S
        state.wdt_due_ms = clock.now_ms() + state.wdt_ms
        state.wdt_fed += 1
        libc.alarm_ms(state.wdt_ms)


def pause_watchdog():
    """CTRL.ENABLE of an RP2040 is cleared."""
    shared.S.wdt_ms = 0
    libc.alarm_ms(0)
