"""Traces: one for each run, from its order to its swap, across all processes, and one for each request of the service.

Off unless the setting `otlp_endpoint` is set: then nothing of OpenTelemetry is imported, and a span costs nothing. A
process hands a trace on as a text, by W3C's format (https://www.w3.org/TR/trace-context/#traceparent-header): in the
record of a run, in the headers of a message, in those of a request.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from keydistill.errors import SettingsError
from keydistill.masking import shown_address

if TYPE_CHECKING:
    from keydistill.settings import Settings
    from keydistill.telemetry.otel import Tracer

Attribute = str | int | float | bool
SpanKind = Literal["internal", "server", "client", "producer", "consumer"]

_tracer: "Tracer | None" = None
_pid = 0


def begin_traces(settings: "Settings", role: str) -> None:
    """Send the spans of this process to the collector of the settings, if they name one. A fork begins its own.

    Args:
        settings: Settings in force.
        role: What the process is, such as "worker"; "serve" takes a share of the requests alone.

    Raises:
        SettingsError: The extra `otel` is not installed.
    """
    global _tracer, _pid
    if settings.otlp_endpoint is None or _pid == os.getpid():
        return
    try:
        from keydistill.telemetry.otel import Tracer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "keydistill":
            raise
        raise SettingsError(
            f"otlp_endpoint is {shown_address(settings.otlp_endpoint)}, and OpenTelemetry is not installed: "
            "pip install 'keydistill[otel]', or unset it"
        ) from None
    share = settings.serve_trace_share if role == "serve" else 1.0
    _tracer, _pid = Tracer(settings.otlp_endpoint, f"keydistill-{role}", share), os.getpid()


def end_traces() -> None:
    """Send the last spans; what cannot be sent within seconds is lost."""
    global _tracer, _pid
    if _tracer is not None and _pid == os.getpid():
        _tracer.close()
    _tracer, _pid = None, 0


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: SpanKind = "internal", **attributes: Attribute | None
) -> Iterator[dict[str, Attribute]]:
    """A span around the block, as a child of the span around it, or of one elsewhere.

    Args:
        name: What is done. Neither name nor attributes may hold texts of items or keyphrases.
        parent: A span elsewhere, as `carried` gave it. Where the span around the block is of its trace, that one is the
            parent.
        kind: Which side of a conversation it is.
        attributes: Values by the names that they get behind `keydistill.`; None is left out.

    Yields:
        Further attributes, by their whole names, which count at the end of the block.
    """
    late: dict[str, Attribute] = {}
    if _tracer is None:
        yield late
        return
    with _tracer.span(name, parent, kind, attributes, late):
        yield late


def past_span(name: str, began: float, seconds: float) -> None:
    """A span that is over, as a child of the present one.

    Args:
        name: What was done.
        began: Time on the monotonic clock.
        seconds: How long it took.
    """
    if _tracer is not None:
        _tracer.past_span(name, began, seconds)


def carried() -> str | None:
    """The present span as a text for another process; None where nothing is traced."""
    return None if _tracer is None else _tracer.carried()


def present_ids() -> Mapping[str, str]:
    """Ids of the present trace and span, for a line of the log."""
    return {} if _tracer is None else _tracer.present_ids()
