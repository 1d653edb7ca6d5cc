"""Desired state on the device: taken in, put in force in the running parts, and reported.

Most settings are read again by the part they belong to, so they hold at once and after a restart
alike; what the release's own configuration says counts where nothing is desired.
"""

from loader.cbor import VerifyError
from node.core.desired import DesiredState
from node.hal import data

PATH = "/data/desired.cbor"
_PROBATION_MS = 60000  # connected for so long, and the settings stay
_FAULTS = ("watchdog", "hard", "exception", "unhealthy")  # loader.layout: what ends a run badly
_DEFAULTS = (
    ("telemetry", "sample_s", 60),
    ("telemetry", "publish_s", 60),
    ("telemetry", "heartbeat_s", 60),
    ("update", "check_s", 3600),
    ("log", "level", 1),
)
_PREFIX = {"update": "update.", "log": "log."}


class Settings:
    """What handles `down/desired`; an empty payload ends the probation of what is in force."""

    def __init__(self, node) -> None:
        self._node = node
        self._state = DesiredState(node.storage, PATH)

    async def handle(self, payload: bytes, beat) -> None:
        if payload:
            self.take(payload)
        else:
            self._state.proven()

    def close(self) -> None:
        """The state is on flash."""

    def take(self, document: bytes) -> dict:
        """Apply a document; the report."""
        node, state = self._node, self._state
        try:
            code = state.apply(document, node.boot.digest if node.boot.trial else b"")
        except VerifyError as error:
            node.log.warning("settings: %s" % error.code)
            return dict(state.report(), code="malformed")
        if code in ("applied", "partly"):
            put_in_force(node, state.settings)
            node.unproven_ms = node.ticks.uptime_ms() + _PROBATION_MS
        node.log.info("settings: %s" % code)
        if node.desired != state.report():
            node.desired = state.report()
            node.reporter.state_changed()
        return dict(state.report(), code=code)


def started(node, cold: bool = True) -> None:
    """At the start, once the node is composed: what was desired before holds again."""
    boot = node.boot
    state = DesiredState(node.storage, PATH)
    if cold:
        trial = boot.digest if boot.trial else b""
        state.started(boot.cause in _FAULTS, trial, boot.failed)
    node.desired = state.report()
    if state.proving:
        node.unproven_ms = node.ticks.uptime_ms() + _PROBATION_MS
    if state.settings:
        put_in_force(node, state.settings)


def proven(node) -> None:
    """A battery node has delivered with them: the probation of the settings in force is over."""
    DesiredState(node.storage, PATH).proven()


def put_in_force(node, settings: dict) -> None:
    """Tell the running parts; `node` is a powered.Node or the Call of a battery node."""
    product = data.read_map(node.storage, node.boot.slot + "/product.cbor")
    wanted = {}
    for table, key, default in _DEFAULTS:
        value = product.get(table, {}).get(key, default)
        wanted[key] = settings.get(_PREFIX.get(table, "") + key, value)
    node.log.level = wanted["level"]
    if hasattr(node, "wake"):
        return  # a battery node plans its wakes by what is on flash, when the call is over
    node.reporter.interval_ms = wanted["heartbeat_s"] * 1000
    node.update_task.interval_s = wanted["check_s"]
    sense = node.sense
    sense.interval_ms = wanted["sample_s"] * 1000
    if sense.adaptive is not None:
        sense.adaptive.high_ms = sense.interval_ms
    node.sampler.batcher.age_ms = wanted["publish_s"] * 1000
