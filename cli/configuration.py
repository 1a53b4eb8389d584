"""The reference of all settings, made from the settings object: `python -m keydistill.cli.configuration`."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from keydistill.settings import Settings

_HEADER = """# Configuration

Made from the settings object by `make docs`; a test holds the two together.

A setting `name` is given as `KEYDISTILL_NAME` in the environment, or as `name = ...` in a file: `keydistill.toml` in
the folder where a command is started, or the one that `KEYDISTILL_CONFIG` names. Options of commands come over the
environment, and the environment over the file. Lists and tables are JSON in the environment, as in
`KEYDISTILL_PAYLOAD_INDEXES='{"brand": "keyword"}'`, and TOML in the file. An empty variable counts as not set. A name
that is not known, and a value out of its range, are refused in one line. `keydistill settings` prints what is in force,
secrets masked. Secrets belong into the environment: files are copied.
"""

# Sections: heading, and how the names of its settings begin. The first that fits takes a setting.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Home and models": ("home", "alias", "student", "assistant", "registry", "dimension", "threads", "runtime"),
    "Engine": ("engine", "qdrant_", "take_over"),
    "Reading files": ("max_reject", "max_removed", "decimal_", "missing_", "escape_", "max_keyphrase", "memory_"),
    "Collections and runs": ("grace_", "run_retention", "build_", "verify_", "reuse_", "upsert_", "part_rows"),
    "Index and search": ("payload_indexes", "quantization", "hnsw_", "search_"),
    "Storage of collections": ("shards", "replicas", "write_", "placement", "tenant", "strict_mode"),
    "Gate": ("gate_",),
    "Judge": ("judge_",),
    "Redis and workers": ("redis_", "executor", "shared", "order_", "lease_", "part_", "watchdog_"),
    "Schedules": ("schedule",),
    "Service": ("serve_", "sample_", "shadow_"),
    "Logs and traces": ("log_format", "otlp_"),
}
_REST = "Others"

# End of a name -> unit.
_UNITS = {
    "_seconds": "seconds",
    "_wait_ms": "milliseconds",
    "_floor_ms": "milliseconds",
    "_days": "days",
    "_bytes": "bytes",
    "_mb": "MB",
    "_chars": "characters",
    "_requests_per_minute": "requests per minute",
    "_tokens_per_minute": "tokens per minute",
    "_rows_per_second": "rows per second",
    "_rows": "rows",
    "_share": "share, 0 to 1",
    "_items": "items",
    "upsert_batch": "points",
    "gate_sample": "items",
}

_TYPES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "text, secret",
    Any: "anything",
}
_LIMITS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


def reference() -> str:
    """The whole page, Markdown."""
    sections: dict[str, list[str]] = {heading: [] for heading in (*_SECTIONS, _REST)}
    for name, field in Settings.model_fields.items():
        sections[_section_of(name)].append(_row(name, field))
    return _HEADER + "".join(_section(heading, rows) for heading, rows in sections.items() if rows)


def _section_of(name: str) -> str:
    """The heading under which a setting stands."""
    fitting = (heading for heading, beginnings in _SECTIONS.items() if name.startswith(beginnings))
    return next(fitting, _REST)


def _section(heading: str, rows: list[str]) -> str:
    head = "| setting, variable | type | default | unit | meaning |\n|---|---|---|---|---|\n"
    return f"\n## {heading}\n\n{head}" + "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    kind, limits = type_of(field.annotation), _limits_of(field)
    cells = (
        f"`{name}`<br>`KEYDISTILL_{name.upper()}`",
        f"{kind} ({limits})" if limits else kind,
        _default_of(field),
        next((unit for end, unit in _UNITS.items() if "number" in kind and name.endswith(end)), ""),
        field.description or "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def type_of(annotation: Any) -> str:
    """What a value may be, in words.

    >>> type_of(int | None), type_of(tuple[str, ...]), type_of(dict[str, int]), type_of(Literal["a", "b"])
    ('whole number', 'list of text', 'table of whole number', '`a`, `b`')
    """
    kind, arguments = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return type_of(arguments[0])
    if kind is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if kind is tuple:
        return f"list of {type_of(arguments[0])}"
    if kind is dict:
        return f"table of {type_of(arguments[1])}"
    if arguments:
        return " or ".join(type_of(argument) for argument in arguments if argument is not NoneType)
    return _TYPES.get(annotation, getattr(annotation, "__name__", "").lower())


def _limits_of(field: FieldInfo) -> str:
    limits = {name: getattr(limit, name) for limit in field.metadata for name in _LIMITS if hasattr(limit, name)}
    return " ".join(_LIMITS[name].format(f"{limit:,}") for name, limit in limits.items())


def _default_of(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    if isinstance(default, str | Path):
        return f"`{default}`"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
