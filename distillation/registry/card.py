"""The model card of a version: what a person who finds its folder wants to know first."""

from collections.abc import Iterable, Mapping
from typing import Any

from keydistill.distillation.registry.lineage import Lineage, flattened

_USE = {
    "student": "embeds buyers' keyphrases and sellers' items into one space (bi-encoder)",
    "assistant": "scores how relevant a keyphrase is to an item (cross-encoder)",
}
_LOAD = {
    "student": 'from keydistill.encoders import Student\n\nstudent = Student.load("<this folder>")',
    "assistant": 'from keydistill.encoders import Assistant\n\nassistant = Assistant.load("<this folder>")',
}


def model_card(full_name: str, created_at: str, lineage: Lineage, metrics: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    Args:
        full_name: Kind and name, "student/20261123-ab12cd34ef56".
        created_at: Time at which it was published.
        lineage: Lineage: what it was made from.
        metrics: Metrics that were measured of it.
    """
    kind = full_name.partition("/")[0]
    sections = [
        f"---\nlibrary_name: sentence-transformers\ntags:\n- keydistill\n- {kind}\n---",
        f"# {full_name}",
        f"A keydistill {kind}: it {_USE[kind]}. Published {created_at}"
        + (f"; continues {lineage.parent}." if lineage.parent else "."),
        f"```python\n{_LOAD[kind]}\n```",
        "## Measured\n\n" + (_table(("metric", "value"), flattened(metrics).items()) or "Nothing was measured."),
        "## Made from\n\n"
        + (
            _table(
                ("input", "rows", "SHA-256", "file"),
                (
                    (file.role, "-" if file.rows is None else f"{file.rows:,}", file.sha256[:16], file.path)
                    for file in lineage.inputs
                ),
            )
            or "No files are recorded."
        ),
        "## Settings\n\n"
        + (_table(("setting", "value"), {"seed": lineage.seed, **flattened(lineage.settings)}.items())),
        "## Packages\n\n" + (_table(("package", "version"), lineage.packages.items()) or "None are recorded."),
        "`manifest.json` has the SHA-256 of every file; `keydistill models verify` compares them.",
    ]
    return "\n\n".join(sections) + "\n"


def _table(headers: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers), *lines])


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
    # Anything may stand in a setting; a row must stay one row.
    return " ".join(text.replace("|", "\\|").split())
