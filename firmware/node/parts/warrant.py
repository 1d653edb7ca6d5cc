"""Whether an ops key has signed for a command that cannot be taken back.

Apart from what carries it out, for verifying takes the most memory. Somebody else (a check for a
release) may have that at the moment: nothing is done yet, so it is tried again.
"""

import asyncio
import gc

from loader.cbor import VerifyError
from node.core.command import Refused
from node.hal import modules

_PATIENCE = 5  # attempts, between them _WAITS times _WAIT_MS
_WAITS = 50
_WAIT_MS = 100


async def authorise(node, command, beat) -> None:
    """Raises Refused, with a reason of the loader's; MemoryError when all was in vain."""
    await patiently(lambda: _authorise(node, command), beat)


async def patiently(step, beat):
    """What `step()` gives, as soon as there is memory for it."""
    attempts = 0
    while True:
        try:
            return step()
        except MemoryError:
            attempts += 1
            if attempts == _PATIENCE:
                raise
        finally:
            tidy()
        for _ in range(_WAITS):
            beat()
            await asyncio.sleep_ms(_WAIT_MS)


def tidy() -> None:
    """Forget what signs and what verifies."""
    for name in ("node.core.p256", "node.core.csr"):
        modules.drop(name)
    modules.forget_verifier()
    gc.collect()


def _authorise(node, command) -> None:
    if command.ops is None:
        raise Refused("ops_missing")
    from loader import trust

    root = getattr(node, "ops_root", None) or node.boot.root  # a Call has it, without the rest
    try:
        ops = trust.read_ops(root, command.ops, node.id, node.unix_s())
    except VerifyError as error:
        raise Refused(error.code)
    if (ops["id"], ops["command"]) != (command.id, command.verb):
        raise Refused("ops_other")
