"""The host process: actors, their supervisor, the uplink, the wiring."""

import os

# Read by gRPC when it is first imported. Its fork handlers stall a process that starts children, and
# its own lines on stderr would tell a second time, less clearly, what the uplink says once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
