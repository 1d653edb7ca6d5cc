"""Battery mode: whether a release on trial meets its health contract."""

import gc

from node.core.health import FAILED, HEALTHY, HealthContract


def judge(call) -> None:
    """Across wakes: the deadline counts the time awake. `call` is a `parts.call.Call`."""
    gc.collect()
    boot, state = call.boot, call.wake.state
    contract = HealthContract(boot.release["health"])
    acked = state.acked + (call.connection.acks if call.connection is not None else 0)
    awake_ms = state.awake_ms + call.wake.awake_ms()
    verdict = contract.judge(acked > 0, acked, gc.mem_free(), awake_ms)
    if verdict == HEALTHY:
        _confirm(call)
    elif verdict == FAILED:
        boot.fail("unhealthy", "health", contract.why)
        boot.reset()


def _confirm(call) -> None:
    boot = call.boot
    boot.confirm()
    call.log.info("release %s confirmed" % boot.version)
    if call.connection is not None:
        call.reporter.event("update", {"s": "confirmed", "release": boot.digest})
        call.reporter.state_changed()
