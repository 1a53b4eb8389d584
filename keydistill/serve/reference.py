"""The reference of the HTTP API, made from its OpenAPI document: `python -m keydistill.serve.reference`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from keydistill.serve.app import create_app
from keydistill.serve.openapi import document
from keydistill.settings import Settings

Json = Mapping[str, Any]

_HEADER = """# HTTP API

Made from the OpenAPI document by `make docs`; a test holds the two together. A running service has the document at
`/openapi.json`. [Serving](serving.md#over-http) says how to use it, and what to do about each status.

"""
# Names of limits in JSON Schema, as they are shown.
_LIMITS = {
    "minimum": "from {}",
    "maximum": "to {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "maxLength": "at most {} characters",
}
# Bounds of 64 bits and of doubles: nobody is helped by reading them.
_WIDE = 1e15


def reference() -> str:
    """The whole page, Markdown."""
    content = document(create_app(Settings(), keys_required=False))
    paths = "".join(
        _operation(method, path, operation)
        for path, methods in content["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(_schema(name, schema) for name, schema in content["components"]["schemas"].items())
    return f"{_HEADER}{paths}## Bodies\n\nA field that has no default is needed.\n\n{schemas}".rstrip() + "\n"


def _operation(method: str, path: str, operation: Json) -> str:
    lines = [f"## {method.upper()} {path}\n", f"{operation['description']}\n"]
    body = operation.get("requestBody")
    lines.append("Needs a key where there are keys.\n" if operation.get("security") else "Needs no key.\n")
    headers = operation.get("parameters", ())
    lines.extend(f"Header `{header['name']}`: {header['description']}.\n" for header in headers)
    if body:
        lines.append(f"Body: {_content(body['content'])}\n")
    lines.append("| status | answers |\n|---|---|")
    for status, answer in sorted(operation["responses"].items()):
        shown = _content(answer["content"])
        said = answer.get("description", "")
        lines.append(f"| {status} | {shown if status == '200' else f'{said}: {shown}'} |")
    return "\n".join(lines) + "\n\n"


def _content(content: Json) -> str:
    # A route that answers text has it behind what FastAPI takes for granted.
    media_type, media = list(content.items())[-1]
    return f"{_type(media['schema'])} (`{media_type}`)"


def _schema(name: str, schema: Json) -> str:
    needed = schema.get("required", ())
    lines = [f"### {name}\n", f"{schema['description']}\n", "| field | type | default | meaning |", "|---|---|---|---|"]
    for field, values in schema["properties"].items():
        default = "" if field in needed else _default(values)
        lines.append(f"| `{field}` | {_type(values)} | {default} | {values.get('description', '')} |")
    example = next(iter(schema.get("examples", ())), None)
    if example is not None:
        lines.append(f"\n```json\n{json.dumps(example, ensure_ascii=False, indent=1)}\n```")
    return "\n".join(lines) + "\n\n"


def _default(values: Json) -> str:
    default = values.get("default")
    if default is not None:
        return f"`{json.dumps(default)}`"
    return "none"


def _type(values: Json) -> str:
    """What a value may be, in words.

    >>> _type({"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1})
    'list of text (at most 5 characters) (at least 1 of them)'
    """
    if "$ref" in values:
        name = values["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in values:
        kinds = [_type(kind) for kind in values["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in values:
        return ", ".join(f"`{value}`" for value in values["enum"])
    if "const" in values:
        return f"`{values['const']}`"
    return _kind(values) + "".join(f" ({limit})" for limit in _limits(values))


def _kind(values: Json) -> str:
    if values.get("type") == "array":
        return f"list of {_type(values['items'])}"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return names.get(values.get("type", ""), "object")


def _limits(values: Json) -> Iterator[str]:
    shown = [text.format(values[name]) for name, text in _LIMITS.items() if abs(values.get(name, _WIDE)) < _WIDE]
    if shown:
        yield ", ".join(shown)


if __name__ == "__main__":
    # The page is what this module is started for.
    import sys

    sys.stdout.write(reference())
