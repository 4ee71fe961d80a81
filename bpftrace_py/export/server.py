"""`MetricsServer`: the metrics of a session at http://ADDRESS:PORT/metrics, formatted by `prometheus_client`.

The session's thread accepts connections in its event loop; a thread for each answers it. The maps are read when somebody
asks, by the session's thread, and events cost nothing more than before.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from http.server import BaseHTTPRequestHandler

from bpftrace_py import messages
from bpftrace_py.diagnostics import BpftraceError, host_error

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from bpftrace_py.export.families import Family
    from bpftrace_py.runtime.session import Session

DEFAULT_ADDRESS = "127.0.0.1"  # what a script counts may be nobody else's business
ANSWER_WITHIN = 10.0  # seconds in which the session must have read its maps, and a client sent its request
MOST_CLIENTS = 16  # at a time


def parse(text: str) -> tuple[str, int]:
    """Address and port of `prometheus:PORT`, `prometheus:ADDRESS:PORT` or `prometheus:[IPv6]:PORT`. Raises `HostError`,
    with the exit status of bad usage."""
    system, _, place = text.partition(":")
    address, colon, port = place.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    elif ":" in address:
        colon, port = "", ""
    if (
        system != "prometheus"
        or not port.isascii()
        or not port.isdigit()
        or int(port[:6]) > 0xFFFF
        or (colon and not address)
    ):
        error = host_error(messages.BAD_EXPORT, text=text, hint="--export prometheus:9435 serves this machine alone")
        error.exit_code = 2
        raise error
    return address or DEFAULT_ADDRESS, int(port)


class MetricsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens once it is made; answers once it serves a session. Raises `HostError` where it cannot listen, or without
    prometheus_client."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    timeout = 0  # handle_request() takes a connection that waits, or none

    def __init__(self, address: str, port: int) -> None:
        try:
            import prometheus_client  # noqa: F401
        except ImportError as error:
            hint = "apt-get install python3-prometheus-client, or pip install prometheus-client"
            raise host_error(messages.EXPORT_LIBRARY, hint=hint) from error
        self._collect: Callable[[], list[Family]] | None = None
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)
        try:
            found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], _Handler)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise host_error(messages.EXPORT_ADDRESS, address=_shown(address, port), reason=reason) from error
        self.socket.setblocking(False)

    @property
    def url(self) -> str:
        """Where the metrics are, with the port that was found if 0 was asked for."""
        return f"http://{_shown(*self.socket.getsockname()[:2])}/metrics"

    def serve(self, session: Session, most: int) -> None:
        """Answer from now on as long as the session's event loop runs. `most`: label sets of a map."""
        from bpftrace_py.export.families import Exported

        exported = Exported(session.loaded.unit, session.texts, most)
        handover = session.handover()

        def collect() -> list[Family]:
            future = handover.submit(lambda: exported.collect(session.maps, session.totals()))
            try:
                return future.result(ANSWER_WITHIN)  # type: ignore[no-any-return]
            finally:
                future.cancel()

        self._collect = collect
        session.loop.watch(self.socket.fileno(), self.handle_request)

    def page(self) -> bytes:
        """The metrics as text. For the threads of clients."""
        from prometheus_client import generate_latest

        assert self._collect is not None
        return generate_latest(_Registry(self._collect()))

    def verify_request(self, request: object, client_address: object) -> bool:
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is none of our user's business."""


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version, sys_version = "bpftrace-py", ""
    timeout = ANSWER_WITHIN

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404, explain="The metrics are at /metrics.")
            return
        try:
            page = self.server.page()
        except (TimeoutError, CancelledError):
            self.send_error(503, explain="The session is busy, or about to end.")
        except BpftraceError as error:
            self.send_error(500, explain=error.diagnostics[0].text)
        except Exception as error:
            self.send_error(500, explain=f"{type(error).__name__}: {error}: this is a bug in bpftrace-py")
        else:
            from prometheus_client import CONTENT_TYPE_LATEST

            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Registry:
    """What prometheus_client formats: families once collected."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import Metric

        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for suffix, labels, value in family.samples:
                metric.add_sample(family.name + suffix, labels, value)
            yield metric


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
