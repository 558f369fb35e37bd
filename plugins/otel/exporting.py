"""The plug itself: the SDK's provider, its exporters, and the hand-over between the meter and their threads.

The meter's calls put an immutable value where the exporters find it and return. Whatever an exporter
does, hang included, it does in its own thread.
"""

import platform
from collections.abc import Mapping
from threading import Lock, Thread
from typing import Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from ... import __version__
from ...model.endpoint import Endpoint, parse_endpoint
from ...model.reading import HostReading
from ...model.usage import Batch
from .instruments import create_instruments
from .quiet import quieten
from .scrape import Render, ScrapeServer
from .sums import Sums
from .target import OtlpTarget, parse_otlp
from .view import HostView

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
EXPORT_EVERY_MS: Final = 15_000
_INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_EXPORT_WITHIN_S: Final = 5
_FLUSH_WITHIN_MS: Final = 500
_CLOSE_WITHIN_S: Final = 0.8


class OtelTelemetry:
    """Implements the port Telemetry. ``address`` is where Prometheus may scrape, if it may."""

    def __init__(self, otlp: str | None, prometheus: str | None, host_id: str, environ: Mapping[str, str]) -> None:
        """Raises ValueError for an address that is none, ImportError, TelemetryUnusable."""
        self._view, self._sums = HostView(), Sums()
        self._server: ScrapeServer | None = None
        # What may be refused comes first: the readers start threads.
        exporter = _otlp_exporter(parse_otlp(otlp)) if otlp is not None else None
        quieten()
        readers: list[MetricReader] = []
        if prometheus is not None:
            reader, render = _prometheus()
            self._server = ScrapeServer(parse_endpoint(prometheus, lowest_port=0), render)
            readers.append(reader)
        if exporter is not None:
            readers.append(_periodic(exporter, environ))
        self._provider = MeterProvider(readers, _describe_host(host_id), shutdown_on_exit=False)
        create_instruments(self._provider.get_meter("gputally", __version__, SCHEMA_URL), self._view, self._sums)

    @property
    def address(self) -> Endpoint | None:
        return self._server.address if self._server else None

    def observe(self, reading: HostReading) -> None:
        self._view.put(reading)

    def account(self, batch: Batch) -> None:
        self._sums.add(batch)

    def alarm(self, devices: Mapping[str, int]) -> None:
        self._view.alarms = dict(devices)

    def close(self) -> None:
        """Gives the last values a short chance, then leaves the exporter's thread to its fate."""
        stopping = Thread(target=self._stop, name="telemetry-stop", daemon=True)
        stopping.start()
        stopping.join(_CLOSE_WITHIN_S)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._provider.shutdown(_FLUSH_WITHIN_MS)


def _describe_host(host_id: str) -> Resource:
    """The resource that all metrics belong to; OTEL_RESOURCE_ATTRIBUTES adds to it."""
    return Resource.create(
        {
            "service.name": "gputallyd",
            "service.version": __version__,
            "service.instance.id": host_id,
            "host.id": host_id,
            "host.name": platform.node(),
        }
    )


def _periodic(exporter: MetricExporter, environ: Mapping[str, str]) -> MetricReader:
    # Where the operator set the standard variable, the SDK reads it.
    every_ms = None if _INTERVAL_VARIABLE in environ else EXPORT_EVERY_MS
    return PeriodicExportingMetricReader(exporter, every_ms)


def _otlp_exporter(target: OtlpTarget) -> MetricExporter:
    if target.over_http:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

        return Http(target.url, timeout=_EXPORT_WITHIN_S)
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

    return Grpc(target.url, insecure=not target.is_secure, timeout=_EXPORT_WITHIN_S)


def _prometheus() -> tuple[MetricReader, Render]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry, one_at_a_time = CollectorRegistry(), Lock()

    def render(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        with one_at_a_time:  # two scrapes at once would take each other's data from the reader
            return encode(registry), content_type

    return PrometheusMetricReader(registry=registry, scope_info_enabled=False), render
