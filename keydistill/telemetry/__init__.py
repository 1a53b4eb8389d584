"""What a process tells of its work while it is at it: lines of a log, spans of traces. Metrics are the exporter's."""

from keydistill.telemetry.context import begin_log_context, log_context
from keydistill.telemetry.format import LogFormat, log_format
from keydistill.telemetry.lines import FIELDS, JsonLines, TextLines, log
from keydistill.telemetry.masks import masked_text, remember_secrets
from keydistill.telemetry.setup import configure_logs, in_json
from keydistill.telemetry.tracing import begin_traces, carried, end_traces, past_span, span

__all__ = [
    "FIELDS",
    "JsonLines",
    "LogFormat",
    "TextLines",
    "begin_log_context",
    "begin_traces",
    "carried",
    "configure_logs",
    "end_traces",
    "in_json",
    "log",
    "log_context",
    "log_format",
    "masked_text",
    "past_span",
    "remember_secrets",
    "span",
]
