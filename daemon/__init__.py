"""The host process: actors, their supervisor, the uplink, the wiring."""
