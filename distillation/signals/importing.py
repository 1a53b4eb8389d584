"""The import of another format into a signals folder, which is there completely or not at all.

OUT/items.parquet       by `ITEMS`
OUT/clicks.parquet      by `CLICKS`; or judgments.parquet by `JUDGMENTS`
OUT/inventory.parquet   the keyphrases, fit for `keydistill reindex`
OUT/rejects.parquet     rows that could not be used, if there are any
OUT/signals.json        where it comes from; written last
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.distillation.signals.readers import MAX_KEYPHRASE_CHARS, free_fields
from keydistill.distillation.signals.schemas import INVENTORY
from keydistill.encoders import ItemText
from keydistill.errors import InputError, StudentError, TooManyRejectsError
from keydistill.files import FolderKind, whole_folder
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, Conventions, Reject, RejectedValueError, RejectLog, SourceRecord, label_cell

FOLDER = FolderKind("signals folder", "signals.json")
REJECTS = "rejects.parquet"

Tables = Mapping[str, pa.Table]
# A keyphrase as an inventory has it: a site, or None where there are no sites, and the normalised text.
SiteKeyphrase = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """The target of an import, and what the import may do.

    Attributes:
        out: Signals folder to write.
        force: Whether to replace `out` if it is an earlier signals folder.
        dry_run: Whether to read everything and write nothing.
        max_reject_share: Share of rejected rows above which nothing is written.
        max_keyphrase_chars: Most characters of a keyphrase; a longer one is rejected.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Advanced by the number of rows read.
        fields: Columns of the items to keep as free fields, besides those that the format is known to have.
    """

    out: Path
    force: bool = False
    dry_run: bool = False
    max_reject_share: float = 0.05
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS
    conventions: Conventions = USUAL
    progress: Progress = NO_PROGRESS
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """The summary of an import; all but `out` and `examples` is in the manifest.

    Attributes:
        out: Signals folder; None after a dry run.
        format: Name of the format: "ubi", "esci", ...
        options: The importer's options.
        sources: Records of the files that were read.
        rows_read: Number of rows in the files.
        rows: Number of rows by table.
        rows_rejected: Number of rows that could not be used.
        rejects_by_reason: Number of rejects by reason.
        unknown_item_share: Share of the pairs whose item has no title here.
        ignored: Number of rows that do not belong to the import, by what they are.
        examples: First few rejects of each reason.
    """

    out: Path | None
    format: str
    options: Mapping[str, Any]
    sources: tuple[SourceRecord, ...]
    rows_read: int
    rows: Mapping[str, int]
    rows_rejected: int
    rejects_by_reason: Mapping[str, int]
    unknown_item_share: float
    ignored: Mapping[str, int]
    examples: tuple[Reject, ...]

    def as_dict(self) -> dict[str, Any]:
        """The manifest, fit for JSON."""
        return {
            "format": self.format,
            "keydistill": _version(),
            "options": dict(self.options),
            "sources": [asdict(source) for source in self.sources],
            "rows_read": self.rows_read,
            "rows": dict(self.rows),
            "rows_rejected": self.rows_rejected,
            "rejects_by_reason": dict(self.rejects_by_reason),
            "unknown_item_share": self.unknown_item_share,
            "ignored": dict(self.ignored),
        }


def run_import(
    form: str, target: ImportTarget, options: Mapping[str, Any], build: Callable[[ImportReader], Tables]
) -> ImportSummary:
    """Let `build` read the files, then write the tables that it made.

    Args:
        form: Name of the format.
        target: Target of the import.
        options: Options of the importer, for the manifest.
        build: Function that makes the tables: "items", "inventory", and "clicks" or "judgments".

    Raises:
        InputError: A file cannot be used; the files have no pair, no click or no title of any pair's item; or
            `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected; they are kept beside `target.out`.
    """
    FOLDER.check_target(target.out, target.force)
    _check_fields(target.fields)
    with tempfile.TemporaryDirectory(prefix="keydistill-") as name:
        work = Path(name)
        with RejectLog(work / REJECTS) as rejects:
            reader = ImportReader(
                rejects, work, target.max_keyphrase_chars, target.conventions, target.progress, fields=target.fields
            )
            tables = build(reader)
        summary = _summary(form, target, options, reader, tables)
        _check(summary, target, work / REJECTS)
        _check_use(summary, tables)
        items = _without_empty_fields(tables["items"], target.fields)
        tables = {**tables, "items": items}
        summary = replace(summary, options={**summary.options, "fields": free_fields(items)})
        if not target.dry_run:
            with whole_folder(target.out, FOLDER, force=target.force) as folder:
                for table, rows in tables.items():
                    pq.write_table(rows, folder / f"{table}.parquet", compression="zstd")
                if rejects.count:
                    shutil.copyfile(work / REJECTS, folder / REJECTS)
                text = json.dumps(summary.as_dict(), indent=2, ensure_ascii=False)
                (folder / FOLDER.manifest).write_text(text + "\n", encoding="utf-8")
    return summary


def checked_site(site: str | None) -> str | None:
    """The site that an option names, spelled as in the inventory.

    Raises:
        InputError: It is damaged or too long.
    """
    try:
        return label_cell(site)
    except RejectedValueError as problem:
        raise InputError(f"the site {problem.detail}; name another one") from None


def inventory_table(
    keyphrases: Iterable[SiteKeyphrase],
    categories: Mapping[SiteKeyphrase, str | None],
    volumes: Mapping[SiteKeyphrase, int] | None = None,
) -> pa.Table:
    """A table of keyphrases by `INVENTORY`, each once, in the order given."""
    distinct = list(dict.fromkeys(keyphrases))
    columns = {
        "keyphrase": [keyphrase for _, keyphrase in distinct],
        "category_path": [categories.get(site_keyphrase) for site_keyphrase in distinct],
        "site": [site for site, _ in distinct],
        "search_volume": [None if volumes is None else volumes.get(site_keyphrase) for site_keyphrase in distinct],
    }
    return pa.table(columns, schema=INVENTORY)


def keyphrases_in(pairs: pa.Table) -> Iterator[SiteKeyphrase]:
    """The (site, keyphrase) of every row of a table of pairs."""
    return zip(pairs["site"].to_pylist(), pairs["keyphrase"].to_pylist(), strict=True)


def _summary(
    form: str, target: ImportTarget, options: Mapping[str, Any], reader: ImportReader, tables: Tables
) -> ImportSummary:
    pairs = _pairs(tables)
    unknown = pc.invert(pc.is_in(pairs["item_id"], value_set=tables["items"]["item_id"].combine_chunks()))
    return ImportSummary(
        out=None if target.dry_run else target.out,
        format=form,
        options=options,
        sources=tuple(reader.sources),
        rows_read=reader.rows_read,
        rows={name: table.num_rows for name, table in tables.items()},
        rows_rejected=reader.rejects.count,
        rejects_by_reason=reader.rejects.by_reason,
        unknown_item_share=round(pc.mean(unknown).as_py() or 0.0, 4),
        ignored=reader.ignored,
        examples=tuple(reader.rejects.examples),
    )


def _check(summary: ImportSummary, target: ImportTarget, rejects: Path) -> None:
    # Lines of bulk files and rows of other kinds carry nothing that could be wrong.
    rows = max(summary.rows_read - sum(summary.ignored.values()), summary.rows_rejected)
    share = summary.rows_rejected / rows if rows else 0.0
    if share > target.max_reject_share:
        where = ""
        if not target.dry_run:
            rejects_copy = target.out.with_name(target.out.name + ".rejects.parquet")
            rejects_copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(rejects, rejects_copy)
            where = f"; all of them: {rejects_copy}"
        first = summary.examples[0]
        raise TooManyRejectsError(
            f"{summary.rows_rejected:,} of {rows:,} rows were rejected ({share:.2%}), more than "
            f"max_reject_share allows ({target.max_reject_share:.2%}); the first: {first.source} row {first.row:,}, "
            f"{first.column or 'the row'} {first.detail}{where}; nothing was written"
        )
    if not any(rows for name, rows in summary.rows.items() if name in ("clicks", "judgments")):
        names = ", ".join(source.path for source in summary.sources)
        raise InputError(f"{names}: no pair of a keyphrase and an item was found; check the options and the files")


def _check_fields(fields: Sequence[str]) -> None:
    for name in fields:
        try:
            free = ItemText(f"{{title}} {{{name}}}").free_fields
        except StudentError:
            free = ()
        if free != (name,):
            raise InputError(
                f"{name!r} cannot be kept as a field: the name has another meaning in --item-text, or is no plain one; "
                "name another column of the items, such as brand"
            )


def _without_empty_fields(items: pa.Table, asked: Sequence[str]) -> pa.Table:
    """The items with those free fields that one of them has.

    Raises:
        InputError: None has a field that was asked for.
    """
    kept = items.drop_columns([name for name in free_fields(items) if items[name].null_count == items.num_rows])
    for name in asked:
        if name not in kept.column_names:
            raise InputError(f"none of {items.num_rows:,} items has anything in a column {name!r}; check the name")
    return kept


def _check_use(summary: ImportSummary, tables: Tables) -> None:
    """Check that something can be learned from what was imported.

    Raises:
        InputError: No result was clicked, or no item of any pair has a title.
    """
    ignored = ", ".join(f"{rows:,} {description}" for description, rows in summary.ignored.items())
    if "clicks" in tables and not pc.sum(tables["clicks"]["clicks"]).as_py():
        actions = " or ".join(map(repr, summary.options.get("click_actions", ())))
        raise InputError(
            f"no result was clicked: no event that could be used has the action {actions}"
            f"{f' (ignored: {ignored})' if ignored else ''}; name the actions that are clicks with --click-action"
        )
    if summary.unknown_item_share == 1:
        raise InputError(
            f"none of the items of {_pairs(tables).num_rows:,} pairs is one of the {tables['items'].num_rows:,} items "
            "that have a title; give the file of these items, with the same ids"
        )


def _pairs(tables: Tables) -> pa.Table:
    return tables["clicks"] if "clicks" in tables else tables["judgments"]


def _version() -> str:
    try:
        return version("keydistill")
    except PackageNotFoundError:
        return "unknown"
