"""Carries out commands, one at a time, and answers on `up/reply`.

Loaded when a command has come, forgotten when all are answered (see tasks.watch). A handler is
`async def handler(command) -> dict` (the result) registered by verb; it raises
`core.command.Refused(code)` to answer a refusal. An answer that finds no room on the link waits.
"""

import asyncio

from loader import cbor
from micropython import const
from node.core.command import Refused, parse

_POLL_MS = const(50)
_MAX_REPLY = const(1024)
_TAKEN_MS = const(5000)
_CLOCK_MS = const(15000)
_PATIENCE = const(10)
_MEMORY_MS = const(1000)


class Commands:
    """`link` is the Connection; `gate` a core.command.Gate; `unix_s()` the time or None."""

    def __init__(self, link, gate, uptime_ms, unix_s, log) -> None:
        self.gate = gate
        self._link = link
        self._uptime_ms = uptime_ms
        self._unix_s = unix_s
        self._log = log
        self._handlers: dict = {}
        self._after = None
        self.beat = None

    def register(self, verb: str, handler) -> None:
        self._handlers[verb] = handler

    def after_reply(self, action) -> None:
        """Call `action()` once the answer to the current command has been taken by the broker."""
        self._after = action

    async def handle(self, payload: bytes, beat) -> None:
        self.beat = beat  # for handlers that take their time
        try:
            command = parse(payload)
        except Refused as error:
            self._log.warning("command: %s" % error.code)
            if error.id is not None:
                await self._reply(error.id, error.code, None, beat)
            return
        self._after = None
        code, result = await self._admit_and_run(command)
        await self._reply(command.id, code, result, beat)
        if self._after is not None:
            await self._taken(beat)
            self._after()

    async def _admit_and_run(self, command):
        handler = self._handlers.get(command.verb)
        if handler is None:
            return "unknown_command", None
        if command.exp is not None:
            await self._know_the_time()
        try:
            await self._admit(command)
        except Refused as error:
            if error.code == "duplicate":
                return "duplicate", {"was": self.gate.outcome(command.id)}
            return error.code, None
        self._log.info("command: %s %s" % (command.verb, command.id))
        code, result = await self._run(handler, command)
        try:
            self.gate.finished(command.id, code)
        except MemoryError:
            self._log.warning("command %s: outcome not kept" % command.id)
        return code, result

    async def _admit(self, command) -> None:
        for _ in range(_PATIENCE):
            try:
                return self.gate.admit(command, self._unix_s(), self._uptime_ms())
            except MemoryError:  # somebody else has it, and gives it back soon
                self.beat()
                await asyncio.sleep_ms(_MEMORY_MS)
        raise Refused("no_memory")

    async def _know_the_time(self) -> None:
        """Commands that waited at the broker arrive with the connection, the time comes later."""
        waited_ms = 0
        while self._unix_s() is None and waited_ms < _CLOCK_MS:
            self.beat()
            await asyncio.sleep_ms(_POLL_MS)
            waited_ms += _POLL_MS

    async def _run(self, handler, command):
        try:
            return "ok", await handler(command)
        except Refused as error:
            return error.code, None
        except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            self._log.error("command %s: %r" % (command.verb, error))
            return "failed", {"why": repr(error)[:120]}

    async def _taken(self, beat) -> None:
        """Until the broker has acknowledged the answer, or has had time to."""
        waited_ms = 0
        while not self._link.idle() and waited_ms < _TAKEN_MS:
            beat()
            await asyncio.sleep_ms(_POLL_MS)
            waited_ms += _POLL_MS

    async def _reply(self, command_id: str, code: str, result, beat) -> None:
        answer = {"id": command_id, "ok": code == "ok", "code": code}
        if result is not None:
            answer["r"] = result
        payload = cbor.encode(answer)
        if len(payload) > _MAX_REPLY:
            payload = cbor.encode({"id": command_id, "ok": code == "ok", "code": "reply_too_long"})
        while not self._link.publish("reply", payload):
            beat()
            await asyncio.sleep_ms(_POLL_MS)
