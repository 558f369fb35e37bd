"""Telemetry for stacks that exist already, through the OpenTelemetry SDK.

Nothing here imports OpenTelemetry until there is somewhere to send to: a daemon
that exports nothing carries none of it.
"""

import os
from collections.abc import Mapping
from typing import Protocol

from ...model.settings import BadSettings, Problem
from ..ports import Telemetry


class TelemetryTable(Protocol):
    """The table [telemetry] of the configuration."""

    @property
    def otlp(self) -> str | None: ...

    @property
    def prometheus(self) -> str | None: ...


def make_telemetry(config: TelemetryTable, host_id: str, environ: Mapping[str, str] = os.environ) -> Telemetry | None:
    """The telemetry that is configured; None if there is none.

    ``environ`` may hold OTEL_METRIC_EXPORT_INTERVAL; the other OTEL_* variables are read by the SDK.
    Raises BadSettings if a package is missing, TelemetryUnusable if an address cannot be listened on.
    """
    if config.otlp is None and config.prometheus is None:
        return None
    try:
        from .exporting import OtelTelemetry

        return OtelTelemetry(config.otlp, config.prometheus, host_id, environ)
    except ImportError as error:
        raise _missing(config, error) from None


def _missing(config: TelemetryTable, error: ImportError) -> BadSettings:
    named = "prometheus" in (error.name or "") or config.otlp is None
    key = "telemetry.prometheus" if named else "telemetry.otlp"
    what = f"needs {error.name}, which is not installed: pip install 'gputally[otel]', or remove the key"
    return BadSettings([Problem("", key, what)])
