"""OpenTelemetry: what the host sees, for stacks that exist already."""
