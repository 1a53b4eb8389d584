"""A collector of traces: an HTTP server that takes OTLP as OpenTelemetry's own does, and keeps the spans."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class CollectedSpan:
    name: str
    service: str
    pid: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    seconds: float


class Collector:
    """A running collector; leaving the block stops it."""

    def __init__(self) -> None:
        self._spans: list[CollectedSpan] = []
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                request = ExportTraceServiceRequest.FromString(body)
                collector.take(request)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def take(self, request: Any) -> None:
        with self._lock:
            for resource in request.resource_spans:
                of_process = _values(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self._spans += [
                        CollectedSpan(
                            span.name,
                            str(of_process["service.name"]),
                            int(of_process["process.pid"]),
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            _values(span.attributes),
                            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        )
                        for span in scope.spans
                    ]

    @property
    def spans(self) -> list[CollectedSpan]:
        with self._lock:
            return list(self._spans)

    def wait(self, until: Callable[[list[CollectedSpan]], bool], seconds: float = 30) -> list[CollectedSpan]:
        """The spans, as soon as they are as asked for: they come in batches."""
        deadline = time.monotonic() + seconds
        while not until(spans := self.spans):
            assert time.monotonic() < deadline, sorted(span.name for span in spans)
            time.sleep(0.02)
        return spans

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
