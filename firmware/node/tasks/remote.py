"""The remote hands: what each command does. Registered with the Commands by verb."""

import asyncio

from micropython import const
from node.core.command import Refused

_LOG_MAX = const(4096)  # more than any ring holds
_PIECE = const(1000)
_POLL_MS = const(50)


class Remote:
    """`node` is the composition root: the parts a command may touch."""

    def __init__(self, node) -> None:
        self._node = node

    def register(self, commands) -> None:
        self._commands = commands
        commands.register("ping", self.ping)
        commands.register("identify", self.identify)
        commands.register("reboot", self.reboot)
        commands.register("check-update", self.check_update)
        commands.register("defer-update", self.defer_update)
        commands.register("log-pull", self.log_pull)

    async def ping(self, command) -> dict:
        """Answer with the uptime: the whole path works. How long it took the sender can see."""
        return {"up": self._node.ticks.uptime_ms() // 1000, "version": self._node.boot.version}

    async def identify(self, command) -> dict:
        """Blink the board's light so that a person finds the device among its like."""
        times = _bounded(command.args.get("times", 10), 1, 60)
        light = self._node.light()
        for _ in range(times):
            light(1)
            await asyncio.sleep_ms(150)
            light(0)
            await asyncio.sleep_ms(150)
        return {"blinked": times}

    async def reboot(self, command) -> dict:
        """Reset, after the answer has gone out."""
        node = self._node
        self._commands.after_reply(lambda: node.stop("command"))
        return {}

    async def check_update(self, command) -> dict:
        """Ask for an update now instead of at the next interval."""
        self._node.update_task.check_now()
        return {}

    async def defer_update(self, command) -> dict:
        """Put the release `release` off by `seconds`, as far as the product lets a person."""
        digest = command.args.get("release")
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise Refused("bad_argument")
        seconds = _bounded(command.args.get("seconds"), 0, 90 * 86400)
        return {"seconds": self._node.defer_update(digest, seconds)}

    async def log_pull(self, command) -> dict:
        """Send the newest log lines on `up/log`, at most `bytes` of them, of `level` and above."""
        limit = _bounded(command.args.get("bytes", _LOG_MAX), 1, _LOG_MAX)
        level = _bounded(command.args.get("level", 0), 0, 3)
        log = self._node.log
        text = _newest(_of_level(log.tail(_LOG_MAX), level), limit)
        at = 0
        while at < len(text):
            end = text.rfind(b"\n", at, at + _PIECE) + 1  # a line is shorter than a piece
            while not self._node.connection.publish("log", text[at:end]):
                self._commands.beat()
                await asyncio.sleep_ms(_POLL_MS)
            at = end
        return {"bytes": len(text), "dropped": log.dropped}


def _of_level(text: bytes, level: int) -> bytes:
    """The lines, `<uptime> <letter> ...`, whose letter is that of `level` or of a higher one."""
    letters = b"DIWE"[level:]
    lines = [line for line in text.split(b"\n") if line]
    return b"".join([line + b"\n" for line in lines if line.split(b" ")[1] in letters])


def _newest(text: bytes, limit: int) -> bytes:
    """Whole lines from the end, at most `limit` bytes."""
    if len(text) <= limit:
        return text
    return text[text.find(b"\n", len(text) - limit - 1) + 1 :]


def _bounded(value, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused("bad_argument")
    return value
