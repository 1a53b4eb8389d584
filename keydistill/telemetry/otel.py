"""Traces by OpenTelemetry, sent over HTTP. Importing this needs the extra `otel`."""

import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from keydistill.masking import shown_address

_log = logging.getLogger(__name__)

_W3C = TraceContextTextMapPropagator()
_HEADER = "traceparent"
# Whoever follows a run sees its spans soon; a collector that is away keeps no process from ending.
_BATCH_MS = 1_000
_SEND_SECONDS = 3.0
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
Attribute = str | int | float | bool


class _Ids(RandomIdGenerator):
    """Ids of the system's randomness: the library's come from `random`, which each training seeds alike."""

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1


class Tracer:
    """Makes the spans of one process, and sends them."""

    def __init__(self, endpoint: str, service: str, share: float) -> None:
        """Send to a collector.

        Args:
            endpoint: Its address without the path of traces, such as http://localhost:4318.
            service: Name of the service that the spans are of.
            share: Share of the traces begun here that are kept; those that others began are kept as they say.
        """
        exporter = _Exporter(endpoint)
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share),
            resource=Resource.create(
                {
                    "service.name": service,
                    "service.version": version("keydistill"),
                    "process.pid": os.getpid(),
                }
            ),
            id_generator=_Ids(),
            # `close` is called where a process ends; the library's own wait has no bound.
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_BATCH_MS))
        self._tracer = self._provider.get_tracer("keydistill")

    @contextmanager
    def span(
        self,
        name: str,
        parent: str | None,
        kind: str,
        attributes: Mapping[str, Attribute | None],
        late: Mapping[str, Attribute],
    ) -> Iterator[None]:
        """See `keydistill.telemetry.span`."""
        context = None
        if parent is not None:
            elsewhere = _W3C.extract({_HEADER: parent})
            theirs = trace.get_current_span(elsewhere).get_span_context()
            ours = trace.get_current_span().get_span_context()
            if theirs.is_valid and theirs.trace_id != ours.trace_id:
                context = elsewhere
        with self._tracer.start_as_current_span(
            name,
            context,
            kind=_KINDS[kind],
            attributes={f"keydistill.{key}": value for key, value in attributes.items() if value is not None},
            # A message may quote a row of the input.
            record_exception=False,
            set_status_on_exception=False,
        ) as present:
            try:
                yield
            except BaseException as error:
                present.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
            finally:
                present.set_attributes(dict(late))

    def past_span(self, name: str, began: float, seconds: float) -> None:
        """See `keydistill.telemetry.past_span`."""
        start = time.time_ns() - round((time.monotonic() - began) * 1e9)
        self._tracer.start_span(name, start_time=start).end(start + round(seconds * 1e9))

    def carried(self) -> str | None:
        """See `keydistill.telemetry.carried`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_HEADER)

    def present_ids(self) -> Mapping[str, str]:
        """See `keydistill.telemetry.tracing.present_ids`."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class _Exporter(OTLPSpanExporter):
    """Sends spans; says once that they cannot be sent, where the library says so for each batch, with a traceback."""

    def __init__(self, endpoint: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        super().__init__(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_SECONDS)
        self._place = shown_address(endpoint)
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that cannot be sent is lost."""
        result = super().export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            _log.warning("traces cannot be sent to %s; they are lost until they can", self._place)
        self._is_away = is_away
        return result
