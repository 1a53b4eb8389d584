"""The settings of `keydistill serve`, a part of the one settings object."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

_SHA256 = r"^[0-9a-f]{64}$"


class ServiceSettings(BaseModel):
    """Address, limits, keys and logs of the HTTP service; docs/serving.md says more of each."""

    serve_host: str = Field(default="127.0.0.1", min_length=1, description="address that the service listens on")
    serve_port: int = Field(
        default=8077, ge=0, le=65_535, description="port that the service listens on; 0: a free one"
    )
    serve_processes: int = Field(
        default=1, ge=1, le=256, description="processes of the service behind its port; each loads a student"
    )
    serve_tls_cert: Path | None = Field(
        default=None, description="file of the service's certificate chain (PEM), which turns TLS on"
    )
    serve_tls_key: Path | None = Field(default=None, description="file of the private key of that certificate (PEM)")
    serve_keys: dict[str, Annotated[str, Field(pattern=_SHA256)]] = Field(
        default_factory=dict, description="API keys of the service: name to SHA-256 of the key, in hex"
    )
    serve_keys_file: Path | None = Field(
        default=None,
        description="file of further API keys, read again when it changes; unset: `serve-keys.json` in `home`",
    )
    serve_body_bytes: int = Field(
        default=1 << 20, ge=1_024, le=1 << 30, description="largest body of a request, in bytes"
    )
    serve_items: int = Field(default=100, ge=1, le=10_000, description="most items of one request")
    serve_title_chars: int = Field(default=1_000, ge=1, description="longest title of an item, in characters")
    serve_limit: int = Field(default=200, ge=1, le=10_000, description="most keyphrases per item")
    serve_exclude: int = Field(default=1_000, ge=0, description="most keyphrases that one item excludes")
    serve_conditions: int = Field(default=16, ge=0, le=1_000, description="most conditions in `where` of one filter")
    serve_condition_values: int = Field(default=256, ge=1, description="most values in `any_of` of one condition")
    serve_queue_items: int = Field(
        default=80,
        ge=1,
        description="items, waiting or being answered, from which on requests are refused with status 429",
    )
    serve_batch_items: int = Field(
        default=32, ge=1, le=10_000, description="items from which on a batch waits for no more requests"
    )
    serve_batch_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=1_000,
        description="longest time that a request waits for others to be embedded with, in milliseconds; "
        "0: those that came while a batch was computed make the next one",
    )
    serve_timeout_seconds: float = Field(
        default=10.0, gt=0, le=3_600, description="longest time of a request; a client may ask for less"
    )
    serve_drain_seconds: int = Field(
        default=30, ge=1, description="longest time that requests in flight get after SIGTERM"
    )
    serve_page: bool = Field(default=True, description="serve the page for people at `/`")
    serve_judgments: Path | None = Field(
        default=None, description="folder that takes the judgments of the page; unset: `judgments` in `home`"
    )
    serve_compare_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="time after which a generation that the page compared with the live one is let go of",
    )
    serve_log_texts: bool = Field(default=False, description="log the titles of items; they may be private")
    serve_trace_share: float = Field(
        default=1.0, ge=0, le=1, description="share of the requests without `traceparent` that are traced"
    )

    sample_items: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="items of a random sample of what the service is asked for, kept in `home` for gate, tune and "
        "mining; 0: no text is kept",
    )
    sample_days: float = Field(
        default=7.0, gt=0, le=3_650, description="days after which an item of that sample is forgotten"
    )
    shadow_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of requests that a candidate, which is not live, is asked, too; 0: none",
    )
    shadow_collection: str | None = Field(
        default=None, description="the candidate; unset: the collection of the newest run that is ready, but not live"
    )
    shadow_min_items: int = Field(default=100, ge=1, description="items from which on the shadow's rows are judged")
    shadow_min_overlap: float = Field(
        default=0.1, ge=0, le=1, description="least share of the live keyphrases that the candidate finds, too"
    )
