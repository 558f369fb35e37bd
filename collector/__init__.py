"""The central process: intake, projector, usage API."""
