"""What can go wrong when telemetry starts."""

from os import EX_UNAVAILABLE


class TelemetryUnusable(Exception):
    """What the configuration asks for cannot be had here and now. The message names the key and the cure."""

    exit_code = EX_UNAVAILABLE
