"""The fleet's service levels for Prometheus, computed from the registry at each scrape."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from outpost.fleet import views

if TYPE_CHECKING:
    from outpost.fleet.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collector:
    def __init__(self, service: "Service") -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        figures = views.summary(self._service.registry)
        for name, text in (
            ("devices", "Devices enrolled."),
            ("online", "Devices connected now."),
            ("asleep", "Battery devices between two connections."),
            ("active", "Devices neither suspended nor retired."),
            ("alarms", "Devices that need a look."),
        ):
            yield GaugeMetricFamily(f"outpost_{name}", text, value=figures[name])
        for name, text in (
            ("received", "Telemetry records stored."),
            ("duplicates", "Telemetry records that came again."),
            ("malformed", "Payloads that could not be read."),
        ):
            yield CounterMetricFamily(f"outpost_{name}", text, value=figures[name])
        # A gauge: a record that comes late after all is no longer lost.
        yield GaugeMetricFamily(
            "outpost_lost", "Telemetry records missing.", value=figures["lost"]
        )
        yield GaugeMetricFamily(
            "outpost_ingest_backlog",
            "Messages waiting to be stored.",
            value=self._service.backlog(),
        )
        yield CounterMetricFamily(
            "outpost_broker_restarts",
            "Times the broker had to be started again.",
            value=self._service.restarts(),
        )
        yield CounterMetricFamily(
            "outpost_broker_dropped",
            "Messages the broker dropped because a queue was full.",
            value=self._service.dropped(),
        )
        yield self._rollouts()
        yield self._commands()
        yield self._settings()

    def _commands(self) -> Metric:
        family = GaugeMetricFamily("outpost_commands", "Commands by outcome.", labels=["outcome"])
        for outcome, count in self._service.registry.commands.counts().items():
            family.add_metric([outcome], count)
        return family

    def _settings(self) -> Metric:
        family = GaugeMetricFamily(
            "outpost_settings", "Devices by the state of their settings.", labels=["state"]
        )
        for state, count in views.settings_summary(self._service.registry).items():
            family.add_metric([state], count)
        return family

    def _rollouts(self) -> Metric:
        family = GaugeMetricFamily(
            "outpost_rollout_devices", "Devices by state.", labels=["rollout", "state"]
        )
        for rollout in self._service.rollouts.all()[:10]:
            for state, count in rollout["counts"].items():
                family.add_metric([rollout["id"], state], count)
        return family


def render(service: "Service") -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(service))
    return generate_latest(registry)
