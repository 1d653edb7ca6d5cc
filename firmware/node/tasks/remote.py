"""The remote hands: what each command does. Registered with the Commands by verb."""

import asyncio

from micropython import const
from node.core.command import Refused

_LOG_MAX = const(800)


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
        """Answer with the uptime: the whole path works, and how long it took is the sender's to see."""
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
        """The newest log lines, at most `bytes` of them."""
        limit = _bounded(command.args.get("bytes", _LOG_MAX), 1, _LOG_MAX)
        return {"log": self._node.log.tail(limit), "dropped": self._node.log.dropped}


def _bounded(value, low: int, high: int) -> int:
    if not isinstance(value, int) or not low <= value <= high:
        raise Refused("bad_argument")
    return value
