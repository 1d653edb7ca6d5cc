"""What carries out commands, composed when one has come."""

import machine
from node.core.command import Gate
from node.hal import board
from node.tasks.command import Commands
from node.tasks.remote import Remote

_COMMANDS = "/data/commands.cbor"


def open_commands(node):
    gate = Gate(node.storage, _COMMANDS, node.boot_number)
    if node.gate_memory is not None:
        gate.recall(node.gate_memory)
    commands = Commands(node.connection, gate, node.ticks.uptime_ms, node.unix_s, node.log)
    Remote(node).register(commands)
    return commands


def open_light(node):
    wiring = board.load("%s/board-%s.cbor" % (node.boot.slot, node.boot.device["board"]))
    try:
        return wiring.pin("LED", machine.Pin.OUT).value
    except board.WiringError:
        node.log.info("identify: this board has no light")
        return lambda level: None
