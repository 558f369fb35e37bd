"""The Prometheus endpoint: a small HTTP server that whoever can reach it cannot make grow.

On a shared host every tenant can reach loopback, so connections are few and short, and what
they cost is paid by threads that the meter never waits for.
"""

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Thread
from typing import Any, Final, cast

from ...model.endpoint import Endpoint
from .errors import TelemetryUnusable

Render = Callable[[str], tuple[bytes, str]]
"""The page for an Accept header: (body, content type)."""

PATH: Final = "/metrics"
MOST_CONNECTIONS: Final = 8
SILENT_AFTER_S: Final = 5.0
"""A client that neither says nor takes anything for so long is let go."""


class ScrapeServer:
    """Serves one page from a thread of its own until ``close``."""

    def __init__(self, listen: Endpoint, render: Render) -> None:
        """Raises TelemetryUnusable, which names the key and the address."""
        kind = _ServerV6 if ":" in listen.host else _Server
        try:
            self._server = kind(listen, render)
        except OSError as error:
            raise _unusable(listen, error) from None
        self.address = Endpoint(listen.host, self._server.server_port)
        """Where it listens; the port is known even if 0 was asked for."""
        Thread(target=self._server.serve_forever, name="telemetry-scrape", daemon=True).start()

    def close(self) -> None:
        """Stops listening; waits for no client."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, listen: Endpoint, render: Render) -> None:
        self.render = render
        self._free = BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((listen.host, listen.port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for our name, which may take long and is of no use here.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENT_AFTER_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"metrics are at {PATH}")
            return
        body, content_type = cast(_Server, self.server).render(self.headers.get("Accept", ""))
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "gputally"

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no news."""


def _unusable(listen: Endpoint, error: OSError) -> TelemetryUnusable:
    return TelemetryUnusable(
        f"telemetry.prometheus: cannot listen on {listen}: {error.strerror}; "
        "give an address of this host that is free, or remove the key"
    )
