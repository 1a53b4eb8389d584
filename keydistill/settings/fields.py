"""Every setting, its default and its meaning."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keydistill.masking import masked
from keydistill.settings.config_file import config_file
from keydistill.settings.names import NAME
from keydistill.settings.schedules import Schedule
from keydistill.settings.service import ServiceSettings
from keydistill.settings.storage import StorageSettings
from keydistill.settings.telemetry import TelemetrySettings


class Settings(ServiceSettings, StorageSettings, TelemetrySettings, BaseSettings):
    """Every setting, its default and its meaning; `load_settings` makes one."""

    # An empty variable, as compose files pass on what is not set, counts as not set.
    model_config = SettingsConfigDict(env_prefix="KEYDISTILL_", env_ignore_empty=True, extra="forbid", frozen=True)

    home: Path = Field(
        default=Path("~/.local/share/keydistill"),
        description="folder of runs, snapshots and embedded collections",
    )
    home_group: str | None = Field(
        default=None, pattern=NAME, description="group that may read a new `home`, too; unset: its owner alone"
    )
    alias: str = Field(default="keyphrases", pattern=NAME, description="name behind which the live collection stands")

    student: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        description='student to build with: a folder, a model name, "promoted", or a version ("student/20261123")',
    )
    assistant: str | None = Field(
        default=None,
        description='assistant to score with: a folder, "promoted", or a version ("assistant/20261123")',
    )
    registry: Path | None = Field(
        default=None, description="folder of the registry of models; unset: `models` in `home`"
    )
    dimension: int | None = Field(
        default=None, ge=1, description="Matryoshka dimension to keep; unset: all of the student's"
    )
    threads: int | None = Field(
        default=None, ge=1, description="threads for the student's arithmetic; unset: one per core"
    )

    runtime: Literal[
        "auto", "torch", "torch-fp16", "openvino-fp32", "openvino-bf16", "openvino-int8", "native-int8", "numpy"
    ] = Field(
        default="auto",
        description="what computes vectors of builds and queries; auto: torch on a GPU, otherwise what is fastest "
        "here; torch: numpy where that is not installed",
    )

    judge_url: str | None = Field(
        default=None, description="address of the judge's chat endpoint, as in http://localhost:8000/v1"
    )
    judge_model: str | None = Field(default=None, description="name of the judge's model at that endpoint")
    judge_api_key: SecretStr | None = Field(
        default=None, description="API key of that endpoint; no other gets it but those of `judge_endpoints`"
    )
    judge_endpoints: tuple[str, ...] = Field(
        default=(), description="further endpoints that get the key, and that orders by message may name"
    )
    judge_prompt: Path | None = Field(
        default=None, description="prompt template of the judge, a TOML file; unset: the one that comes along"
    )
    judge_concurrency: int = Field(default=8, ge=1, le=1_024, description="requests to the judge in flight at once")
    judge_requests_per_minute: float | None = Field(default=None, gt=0, description="rate limit; unset: none")
    judge_tokens_per_minute: float | None = Field(
        default=None, gt=0, description="rate limit in tokens in and out, as estimated beforehand; unset: none"
    )
    judge_timeout_seconds: float = Field(default=60, gt=0, description="time limit of one request to the judge")
    judge_connect_seconds: float = Field(default=10, gt=0, description="time limit of connecting to the judge")
    judge_retries: int = Field(
        default=6, ge=0, le=100, description="times a request to the judge is repeated that failed for a passing reason"
    )
    judge_backoff_seconds: float = Field(
        default=0.5, ge=0, description="mean pause before the first repetition; it doubles with each"
    )
    judge_request: dict[str, Any] = Field(
        default_factory=dict,
        description='fields added to the body of requests to the judge; null drops one, as in {"top_logprobs": null}',
    )

    engine: Literal["embedded", "server"] = Field(
        default="embedded", description="Qdrant Edge in a folder of `home`, or a Qdrant server"
    )
    qdrant_url: str = Field(
        default="http://localhost:6333", description="REST address of the server; https turns TLS on"
    )
    qdrant_api_key: SecretStr | None = Field(default=None, description="API key of the server")
    qdrant_grpc: Literal["auto", "rest", "grpc"] = Field(
        default="auto", description="protocol; auto: gRPC where its port answers, else REST"
    )
    qdrant_grpc_port: int | None = Field(
        default=None, ge=1, le=65535, description="gRPC port of the server; unset: the one after that of qdrant_url"
    )
    qdrant_ca_certificate: Path | None = Field(
        default=None, description="file of the CA that signed the server's certificate; unset: those that are common"
    )
    qdrant_client_certificate: Path | None = Field(
        default=None, description="file of the certificate that the server asks clients for"
    )
    qdrant_client_key: Path | None = Field(default=None, description="file of the key of that certificate")
    qdrant_timeout_seconds: int = Field(default=60, ge=1, description="time limit of one request")
    qdrant_retries: int = Field(
        default=4, ge=0, description="times a request is repeated that failed for a passing reason"
    )
    qdrant_query_seconds: float = Field(
        default=10, gt=0, description="time limit of a query to the server, with its repeats"
    )
    qdrant_patience_seconds: float = Field(
        default=600,
        ge=0,
        description="how long builds and syncs wait for a server that is away; 0: no longer than others",
    )
    qdrant_lift_limits: bool = Field(
        default=False,
        description="change those limits of the server's strict mode, for our own collections, that no build can obey",
    )
    take_over: bool = Field(
        default=False, description="put a collection live although the alias belongs to another installation"
    )

    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis of runs, leases and queued tasks, redis://HOST:6379/0; rediss turns TLS on; "
        "unset: runs are files in `home`",
    )
    redis_ca_certificate: Path | None = Field(
        default=None, description="file of the CA that signed Redis' certificate; unset: those that the system trusts"
    )
    redis_client_certificate: Path | None = Field(
        default=None, description="file of the certificate that Redis asks clients for"
    )
    redis_client_key: Path | None = Field(default=None, description="file of the key of that certificate")
    executor: Literal["local", "celery"] = Field(
        default="local", description="who does the work: the process that was started, or Celery workers"
    )
    shared: str | None = Field(
        default=None,
        description="folder or fsspec URL through which workers on several machines share snapshots and students; "
        "unset: `home`",
    )
    order_paths: tuple[Path, ...] | None = Field(
        default=None, description="folders whose files and folders orders by message may name; unset: any"
    )
    lease_seconds: float = Field(
        default=60, ge=0.5, description="how long a process may stand still before another takes its run over"
    )
    grace_seconds: float = Field(
        default=3_600,
        ge=0,
        description="how long a collection stays after the alias left it: readers may hold it",
    )
    run_retention_days: int = Field(
        default=90, ge=0, description="days after which the record of a run that nothing needs is forgotten; 0: never"
    )
    alias_poll_seconds: float = Field(
        default=1.0, gt=0, description="how often a service looks whether the alias names another collection"
    )
    part_attempts: int = Field(
        default=5, ge=1, description="times that workers take up a part or step before its run fails"
    )
    part_seconds: int = Field(default=3_600, ge=1, description="longest time that a part may take a worker")
    watchdog_seconds: float = Field(
        default=60, ge=0.5, description="how often the watchdog looks for work that nobody does"
    )

    schedules: dict[Annotated[str, Field(pattern=NAME)], Schedule] = Field(
        default_factory=dict, description="runs that start by themselves: name to cron, task and kwargs"
    )
    schedule_timezone: str = Field(default="UTC", description="time zone of the schedules, as in Europe/Berlin")

    part_rows: int = Field(default=10_000, ge=1, description="rows per snapshot part: the unit of resuming")
    max_reject_share: float = Field(
        default=0.05, ge=0, le=1, description="share of rejected rows above which a run fails"
    )
    max_removed_share: float = Field(
        default=0.2, ge=0, le=1, description="share of the live keyphrases above which a sync that removes them fails"
    )
    decimal_comma: bool = Field(
        default=False, description="whether numbers in text are written as 1.234,5; otherwise as 1234.5"
    )
    missing_values: tuple[str, ...] | None = Field(
        default=None,
        description='texts of cells that stand for nothing, as in ["-", "null"]; unset: those of docs/inventory.md',
    )
    escape_formulas: bool = Field(
        default=False,
        description="whether CSV gets an apostrophe before texts that a spreadsheet would take for a formula",
    )
    max_keyphrase_chars: int = Field(default=200, ge=1, description="a longer keyphrase is rejected, in characters")
    memory_mb: int = Field(
        default=512, ge=64, description="memory that sorting a snapshot may take before it spills to disk"
    )

    payload_indexes: dict[str, Literal["keyword", "integer", "float", "bool"]] = Field(
        default_factory=dict, description="further payload fields to index for filters, and their types"
    )
    verify_rows: int = Field(
        default=100_000, ge=0, description="rows that a verification looks up, by chance where there are more; 0: all"
    )
    reuse_vectors: bool = Field(
        default=True, description="take the vectors of texts that the live collection has from there, if of one student"
    )
    build_rows_per_second: float = Field(
        default=0, ge=0, description="most rows that each process of a build or sync embeds and writes; 0: no limit"
    )
    upsert_batch: int = Field(default=1_000, ge=1, le=10_000, description="points per write")
    search_ef: int = Field(
        default=128, ge=1, le=10_000, description="candidates per query, where `keydistill tune` found no better"
    )
    search_oversampling: float = Field(
        default=2.0,
        ge=1,
        le=100,
        description="quantized candidates fetched per result, then rescored; where `keydistill tune` found no better",
    )

    gate_items: Path | None = Field(
        default=None,
        description="file of items that the gate asks with; unset: keyphrases of the inventory stand in for them",
    )
    gate_sample: int = Field(default=500, ge=1, le=100_000, description="items that the gate asks with, at the most")
    gate_tolerance: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="how much smaller the share of relevant keyphrases may be than the live one",
    )
    gate_min_relevant: float = Field(
        default=0.05, ge=0, le=1, description="least share of relevant keyphrases where nothing is live"
    )
    gate_min_recall: float = Field(
        default=0.95, ge=0, le=1, description="least recall@10 of the index against exact search, under every filter"
    )
    gate_max_short: float = Field(
        default=0.05, ge=0, le=1, description="how much greater the share of items with fewer than 10 results may be"
    )
    gate_min_coverage: float = Field(
        default=0.5, ge=0, description="least number of different keyphrases recommended, as a share of the live one"
    )
    gate_max_latency_ratio: float = Field(
        default=3.0, gt=0, description="most p99 latency, as a multiple of the live one"
    )
    gate_latency_floor_ms: float = Field(
        default=100.0, ge=0, description="p99 latency that is always good enough, in milliseconds"
    )
    gate_max_drift: float = Field(
        default=0.5, ge=0, le=2, description="how far the mean score of the best keyphrase may move"
    )
    gate_min_dimension_overlap: float = Field(
        default=0.85, ge=0, le=1, description="least share of neighbours that a cut to fewer dimensions keeps"
    )

    @property
    def runtime_cache(self) -> Path:
        """Folder of students that were exported for a runtime."""
        return self.home / "cache" / "runtimes"

    @property
    def judgments_folder(self) -> Path:
        """Folder of what people accepted and rejected on the page of the service."""
        return self.serve_judgments or self.home / "judgments"

    def shown(self) -> dict[str, Any]:
        """Every setting by its name, secrets masked; those of storage, logs, traces and the service last."""
        parts = (StorageSettings, TelemetrySettings, ServiceSettings)
        last = [name for part in parts for name in part.model_fields]
        names = sorted(type(self).model_fields, key=lambda name: last.index(name) if name in last else -1)
        return {name: masked(getattr(self, name), name) for name in names}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What `repr` and `str` show."""
        return self.shown().items()

    @field_validator("schedule_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is no time zone; expected a name such as Europe/Berlin") from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options, then environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())
