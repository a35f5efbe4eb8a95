"""A collector of traces: takes in over HTTP what services export by OTLP."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """A span, and the service that exported it; `traces` are the one that it belongs to and those that it links to."""

    service: str
    name: str
    traces: frozenset[str]


class Collector:
    """What has been exported so far; `url` is what services are told to export to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[Exported] = []

    def take(self, body: bytes) -> None:
        """Take in an export."""
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in told.resource.attributes}
            for span in (span for scope in told.scope_spans for span in scope.spans):
                traces = frozenset(item.trace_id.hex() for item in (span, *span.links))
                self._spans.append(Exported(names["service.name"], span.name, traces))

    def about(self, trace_id: str) -> list[Exported]:
        """Return the spans of a trace, and those that link to it."""
        return [span for span in list(self._spans) if trace_id in span.traces]


@contextmanager
def collecting() -> Generator[Collector]:
    """Yield a collector that listens on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
