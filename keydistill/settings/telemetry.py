"""The settings of logs and traces, a part of the one settings object."""

from typing import Literal

from pydantic import BaseModel, Field


class TelemetrySettings(BaseModel):
    """What processes tell of their work; docs/monitoring.md says more."""

    log_format: Literal["text", "json"] | None = Field(
        default=None,
        description="form of what is written to standard error; unset: json by the service, text by all others",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="address of a collector of traces (OTLP over HTTP), as in http://localhost:4318; unset: no traces",
    )
