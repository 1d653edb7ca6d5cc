"""What a node says first: what started it, what went wrong before, how the last update went."""

from node.core.errand import Errand


def say(node) -> None:
    """`node` is a powered.Node or the Call of a battery node."""
    boot, event = node.boot, node.reporter.event
    body = {"version": boot.version, "slot": boot.slot, "cause": boot.cause}
    body["reason"] = boot.reason
    body["mode"] = boot.mode
    event("boot", body)
    evidence = boot.evidence()
    last = len(evidence) - 1
    for index, entry in enumerate(evidence):
        event("evidence", entry, boot.evidence_reported if index == last else None)
    told = Errand(node.storage).told
    last = len(told) - 1
    for index, body in enumerate(told):
        event("update", body, _all_told(node.storage) if index == last else None)


def _all_told(storage):
    """What is called when the fleet knows how the update went, long after this is forgotten."""

    def done() -> None:
        from node.hal import modules

        modules.briefly("node.parts.hello", "forget_told", storage)

    return done


def powered_on(storage) -> None:
    """Somebody has switched it off and on: what came to nothing before may be tried again."""
    Errand(storage).powered_on()


def must_wait(call) -> bool:
    """What came to nothing is tried again later and later."""
    return call.ticks.uptime_ms() < Errand(call.storage).wait_s() * 1000


def forget_told(storage) -> None:
    Errand(storage).all_told()
