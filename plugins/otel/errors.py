"""What can go wrong when telemetry starts."""


class TelemetryUnusable(Exception):
    """What the configuration asks for cannot be had here and now: exit 69 (EX_UNAVAILABLE)."""
