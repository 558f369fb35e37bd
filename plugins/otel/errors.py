"""What can go wrong when telemetry starts."""

from ...model.exits import Exit


class TelemetryUnusable(Exception):
    """What the configuration asks for cannot be had here and now. The message names the key and the cure."""

    exit_code = Exit.UNAVAILABLE
