"""A new certificate: asked for, taken in, tried, and kept or given up.

The pair in use stays on flash until a session has been opened with its successor
(`tasks.identity`). In powered mode the successor is tried here and now, between two sessions:
three attempts, then the old pair; and only when the old pair does connect is the new one given
up, so that a broker that is away proves nothing. In battery mode the next wakes are the attempts.
"""

import asyncio
import gc
import os

import machine
from loader import cbor
from loader.cbor import VerifyError, sha256
from node.core import certificate
from node.hal import modules
from node.tasks.identity import Identity, IdentityError

_RENEW_S = 30 * 86400  # before the certificate ends; the fleet answers without being told to
_RETRY_S = 86400
_ATTEMPT_MS = 90000
_POLL_MS = 100


def identity_of(node):
    return Identity(node.storage, os.urandom, machine.unique_id())


def go_on(node) -> None:
    """At the start: know the certificate in use, and try the next one if there is one."""
    own = identity_of(node)
    introduce(node, own.credentials()[1])
    if own.rotating:
        node.inbox.put("certificate", b"")


def introduce(node, certificate_der: bytes) -> None:
    """What the device says of its certificate, and when it will want another."""
    node.cert_id = sha256(certificate_der)[:8]
    try:
        node.renew_s = certificate.not_after(certificate_der) - _RENEW_S
    except ValueError:
        node.renew_s = None


class Papers:
    """What handles `down/certificate`; an empty payload: go on with what is under way."""

    def __init__(self, node) -> None:
        self._node = node
        self.own = identity_of(node)

    def close(self) -> None:
        """All of it is on flash."""

    async def handle(self, payload: bytes, beat) -> None:
        if payload and not self._take(payload):
            return
        if self.own.rotating:
            await self._change_over(beat)
        elif self.due():
            self._node.renew_s += _RETRY_S
            await self.ask(beat)

    def due(self) -> bool:
        """Whether the certificate in use ends soon."""
        renew_s, now_s = self._node.renew_s, self._node.unix_s()
        return renew_s is not None and now_s is not None and now_s >= renew_s

    async def ask(self, beat) -> None:
        """Send a request for a certificate; asked again before the answer, for the same key."""
        node = self._node
        request = self.own.request(node.id)
        beat()
        while not node.connection.publish("csr", request):
            beat()
            await asyncio.sleep_ms(_POLL_MS)
        node.log.info("certificate: asked for another")

    def _take(self, payload: bytes) -> bool:
        try:
            answer = cbor.check(cbor.decode(payload), "cert bytes ca bytes")
            certificate.split(answer["ca"])
            self.own.install(answer["cert"], answer["ca"])
        except (VerifyError, IdentityError, ValueError) as error:
            code = getattr(error, "code", "malformed")
            self._node.log.warning("certificate: refused (%s)" % code)
            self._node.reporter.event("certificate", {"s": "refused", "code": code})
            return False
        finally:
            for name in ("node.core.p256", "node.core.csr"):
                modules.drop(name)  # TLS wants their memory in a moment
        return True

    async def _change_over(self, beat) -> None:
        node, own = self._node, self.own
        if not hasattr(node, "tls"):
            return  # battery mode: the next wake makes its link with the new pair
        outcome = ""
        while own.rotating:
            pair = own.credentials()
            if await self._connects(pair, beat):
                outcome = own.connected(pair[1])
                node.log.info("certificate: %s" % (outcome or "unchanged"))
                self._not_again_today()
            else:
                own.failed(pair[1])
                if node.connection.fault == "tls_memory":
                    node.stop("certificate")  # a fresh heap is the next attempt
                    break
        if outcome:
            tell(node, outcome)

    def _not_again_today(self) -> None:
        """A certificate that ends soon from the start must not be renewed without a pause."""
        node, now_s = self._node, self._node.unix_s()
        if node.renew_s is not None and now_s is not None:
            node.renew_s = max(node.renew_s, now_s + _RETRY_S)

    async def _connects(self, pair, beat) -> bool:
        """Whether a session is opened with this pair."""
        node = self._node
        connection = node.connection
        if node.cert_id != sha256(pair[1])[:8] and not await self._use(pair):
            return False
        failures, left_ms = connection.failures, _ATTEMPT_MS
        while left_ms > 0 and connection.failures == failures and not connection.connected:
            beat()
            await asyncio.sleep_ms(_POLL_MS)
            left_ms -= _POLL_MS if node.ports.online() else 0
        return connection.connected

    async def _use(self, pair) -> bool:
        """Have the next links made with this pair; False when TLS does not take it."""
        from node.hal.tls_context import context_of

        node = self._node
        key, own, authority = pair
        try:
            context = context_of(own, key, [authority] if authority else [])
        except (ValueError, OSError) as error:
            node.log.warning("certificate: %r" % error)
            return False
        finally:
            modules.drop("node.hal.tls_context")
        await node.connection.pause()
        node.tls.use(context)
        introduce(node, own)
        node.connection.resume()
        gc.collect()
        return True


def settle(node, certificate_der: bytes, connected: bool) -> None:
    """Battery mode: this wake's connection with this certificate has been opened, or has not."""
    own = identity_of(node)
    if not own.rotating:
        return
    if not connected:
        own.failed(certificate_der)
        return
    outcome = own.connected(certificate_der)
    if outcome:
        tell(node, outcome)


def tell(node, outcome: str) -> None:
    """The fleet hears which certificate is in use; then it may revoke the one before."""
    node.reporter.event("certificate", {"s": outcome})
    node.reporter.state_changed()
