"""What carries out what arrives on `down/`, composed when something has come.

`open_hands(node, kind)` gives an object with `handle(payload, beat)` and `close()`. What a rare
command needs is imported by its handler: it is forgotten with the rest.
"""

from node.core.command import STARTED, Gate, Refused
from node.tasks.command import Commands
from node.tasks.remote import Remote

_COMMANDS = "/data/commands.cbor"


def open_hands(node, kind: str):
    if kind == "desired":
        from node.parts.settings import Settings

        return Settings(node)
    if kind == "certificate":
        from node.parts.papers import Papers

        return Papers(node)
    return Hands(node)


class Hands(Commands):
    """The commands of a node."""

    def __init__(self, node) -> None:
        gate = Gate(node.storage, _COMMANDS, node.boot_number)
        if node.gate_memory is not None:
            gate.recall(node.gate_memory)
        super().__init__(node.connection, gate, node.ticks.uptime_ms, node.unix_s, node.log)
        self._node = node
        Remote(node).register(self)
        self.register("set-config", self.set_config)
        self.register("self-test", self.self_test)
        self.register("rotate-certificate", self.rotate_certificate)
        self.register("wipe", self.wipe)
        self.register("decommission", self.wipe)

    def close(self) -> None:
        self._node.gate_memory = self.gate.memory()

    async def set_config(self, command) -> dict:
        """Desired state as a command: `v` and `set` as on `down/desired`; what became of it."""
        from loader import cbor
        from node.parts.settings import Settings

        report = Settings(self._node).take(cbor.encode(command.args))
        if report["code"] not in ("applied", "partly", "current"):
            raise Refused(report["code"])
        return report

    async def self_test(self, command) -> dict:
        """What the node finds when it looks at itself."""
        from node.parts import selftest

        return selftest.of_node(self._node)

    async def rotate_certificate(self, command) -> dict:
        """Make a key and ask for its certificate; the rest happens when the answer comes."""
        from node.parts.papers import Papers

        await Papers(self._node).ask(self.beat)
        return {}

    async def wipe(self, command) -> dict:
        """Forget who this is, on the word of an ops key: see parts.farewell."""
        from node.parts import warrant

        await warrant.authorise(self._node, command, self.beat)
        from node.parts.farewell import Farewell

        farewell = Farewell(self._node, command)
        result = await farewell.carry_out(self.beat)
        self.after_reply(farewell.done)
        return result


def interrupted(node) -> None:
    """Answer the commands that a reset or a power cut has ended half-way: they will not be run
    again."""
    gate = Gate(node.storage, _COMMANDS, node.boot_number)
    for command_id, outcome in gate.rows():
        if outcome == STARTED:
            node.reporter.event("command", {"id": command_id, "code": "interrupted"})
            gate.finished(command_id, "interrupted")


def open_light(node):
    import machine
    from node.hal import board

    wiring = board.load("%s/board-%s.cbor" % (node.boot.slot, node.boot.device["board"]))
    try:
        return wiring.pin("LED", machine.Pin.OUT).value
    except board.WiringError:
        node.log.info("identify: this board has no light")
        return lambda level: None
