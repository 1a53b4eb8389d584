"""Snapshots: the validated, normalised, merged, length-sorted copy of an inventory that a run works from.

A snapshot is a folder: `part-00000.parquet` and so on, `rejects.parquet`, and `manifest.json`. It appears complete or
not at all and never changes. The same rows make the same parts, byte for byte, in whatever order they came.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter, ValidationError

from keydistill.errors import InputError, TooManyRejectsError, first_problem
from keydistill.files import NewerFormatError, storage_errors, whole_file, whole_folder, without_stamp
from keydistill.ingest.inventory import STAGED_SCHEMA, Intake, merged_rows, sorted_rows, sorting_database
from keydistill.ingest.snapshot.parts import Part, PartWriter
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.settings import Settings
from keydistill.tables import RULES, Conventions, RejectLog, SourceRecord

MANIFEST = "manifest.json"
REJECTS = "rejects.parquet"
FORMAT = 2
# Snapshots of this format do not say by which rules they were made: the first.
_WITHOUT_RULES = 1

CountTokens = Callable[[Sequence[str]], Iterable[int]]


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """The settings that decide a snapshot, named as in `Settings`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    part_rows: int
    max_reject_share: float
    max_keyphrase_chars: int
    memory_mb: int
    decimal_comma: bool = False
    missing_values: tuple[str, ...] | None = None
    # Of how texts are normalised and cells are read: the same file is another snapshot under other rules.
    rules: int = RULES

    def same_rules(self, other: "SnapshotSettings") -> bool:
        """Whether the same rows come of the same file, however many are rejected and in whatever parts they are."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("max_keyphrase_chars", "decimal_comma", "missing_values", "rules")
        )

    @property
    def conventions(self) -> Conventions:
        """How the cells of the files are read."""
        return Conventions(self.decimal_comma, self.missing_values)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The part of all settings that a snapshot needs."""
        return cls(
            part_rows=settings.part_rows,
            max_reject_share=settings.max_reject_share,
            max_keyphrase_chars=settings.max_keyphrase_chars,
            memory_mb=settings.memory_mb,
            decimal_comma=settings.decimal_comma,
            missing_values=None if settings.missing_values is None else tuple(settings.missing_values),
        )


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """What a snapshot holds and where it came from.

    Attributes:
        rows_read: Number of data rows in all sources.
        rows_rejected: Number of rows that cannot be used; they stand in `rejects.parquet`.
        rows_merged: Number of accepted rows that another row of the same site and keyphrase absorbed.
        rows: Number of rows of the snapshot: `rows_read - rows_rejected - rows_merged`.
        without_category: Number of the snapshot's rows that only a query without a category filter finds.
        texts: Number of different keyphrases in the snapshot; each site has its own row.
        tokens: Number of tokens of all rows together.
        max_tokens: Number of tokens of the longest row.
        parts: Number of parts.
        bytes: Size of the parts on the disk.
        digest: SHA-256 of the rows in their order; the same for any `part_rows`.
        token_counter: Name of the tokenizer that counted the tokens.
        rejects_by_reason: Reasons, each with its number of rejected rows, the most frequent first.
        sources: The files that were read, sorted by name.
        categories: The file of the category tree.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    rows_read: int
    rows_rejected: int
    rows_merged: int
    rows: int
    without_category: int
    texts: int
    tokens: int
    max_tokens: int
    parts: int
    bytes: int
    digest: str
    token_counter: str
    rejects_by_reason: Mapping[str, int]
    sources: tuple[SourceRecord, ...]
    categories: SourceRecord | None


# Readers of a manifest. One with the fields of another version is refused.
_SETTINGS = TypeAdapter(SnapshotSettings)
_SUMMARY = TypeAdapter(SnapshotSummary)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete snapshot in a folder, as `Snapshot.open` and `build_snapshot` return it."""

    folder: Path
    settings: SnapshotSettings
    summary: SnapshotSummary
    parts: tuple[Part, ...]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The snapshot in a folder, checked by its manifest and the sizes of its files, not by every byte.

        Raises:
            InputError: There is no snapshot, it has another format, or a file is missing or has another size.
        """
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{folder} holds no complete snapshot: {MANIFEST} is missing; build it again") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / MANIFEST} cannot be read ({error}); build the snapshot again") from None
        if isinstance(manifest, dict):
            try:
                without_stamp(manifest, FORMAT)
            except NewerFormatError as error:
                raise InputError(f"{folder / MANIFEST} {error}") from None
            except ValueError:
                pass  # no number: see below
        if not isinstance(manifest, dict) or manifest.get("format") not in (FORMAT, _WITHOUT_RULES):
            raise InputError(f"{folder / MANIFEST} is not of format {FORMAT}; build the snapshot again")
        try:
            settings = manifest["settings"]
            if manifest["format"] == _WITHOUT_RULES:
                settings = {**settings, "rules": 1}
            snapshot = cls(
                folder,
                _SETTINGS.validate_python(settings),
                _SUMMARY.validate_python(manifest["summary"]),
                tuple(
                    Part(number, folder / part["file"], part["rows"], part["bytes"], part["sha256"])
                    for number, part in enumerate(manifest["parts"])
                ),
            )
        except (KeyError, TypeError, ValidationError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else error
            raise InputError(f"{folder / MANIFEST} is damaged ({reason}); build the snapshot again") from None
        snapshot._check_parts()
        return snapshot

    @property
    def rejects(self) -> Path:
        """The Parquet file of rejected rows, by `REJECT_SCHEMA`; it exists also when no row was rejected."""
        return self.folder / REJECTS

    def read(self, part_number: int) -> pa.Table:
        """The rows of one part, by `PART_SCHEMA`.

        Raises:
            InputError: The snapshot has no such part, or its bytes are not those that were written.
        """
        if not 0 <= part_number < len(self.parts):
            raise InputError(f"{self.folder} has parts 0 to {len(self.parts) - 1}, and no part {part_number}")
        part = self.parts[part_number]
        try:
            content = part.path.read_bytes()
        except OSError as error:
            raise InputError(f"{part.path} cannot be read ({error.strerror}); build the snapshot again") from None
        if sha256(content).hexdigest() != part.sha256:
            raise InputError(f"{part.path} is not what was written; build the snapshot again")
        # Without threads, for the reason that `read_parquet` gives.
        return pq.read_table(pa.BufferReader(content), use_threads=False, pre_buffer=False)

    def tables(self, first_part: int = 0) -> Iterator[tuple[Part, pa.Table]]:
        """Each part with its rows, from `first_part` on."""
        for part in self.parts[first_part:]:
            yield part, self.read(part.number)

    def _check_parts(self) -> None:
        if len(self.parts) != self.summary.parts or sum(part.rows for part in self.parts) != self.summary.rows:
            raise InputError(f"{self.folder / MANIFEST} contradicts itself; build the snapshot again")
        for part in self.parts:
            size = part.path.stat().st_size if part.path.is_file() else None
            if size != part.bytes:
                has = "is missing" if size is None else f"has {size:,} bytes, not {part.bytes:,}"
                raise InputError(f"{self.folder} is incomplete: {part.path.name} {has}; build the snapshot again")


def build_snapshot(
    files: Sequence[Path],
    out: Path,
    settings: SnapshotSettings,
    count_tokens: CountTokens,
    *,
    categories: Path | None = None,
    token_counter: str = "unnamed",
    progress: Progress = NO_PROGRESS,
) -> Snapshot:
    """Read an inventory and write its snapshot to the folder `out`, which must not exist or be empty.

    Memory is bounded by `settings.memory_mb`, some batches and one part, whatever the size of the inventory. When this
    is killed, the next call with the same `out` cleans up after it.

    Args:
        files: CSV, TSV, JSONL (each also with .gz) or Parquet.
        out: Folder to make.
        settings: Limits and the size of parts.
        count_tokens: Function from normalised keyphrases to their numbers of tokens, special tokens included.
        categories: File of the category tree, if `category_ids` are to get their ancestors.
        token_counter: Name of the tokenizer, for the summary.
        progress: Told of the step "snapshot", and advanced by the rows read.

    Raises:
        TooManyRejectsError: `max_reject_share` was exceeded. All rejects are then in `<out>.rejects.parquet`.
        InputError: A file cannot be used as a whole, or (InputChangedError) changed while it was being read.
        StorageError: The disk is full, `out` is there already, or another process is writing it.
    """
    kept_rejects = out.absolute().with_name(out.name + ".rejects.parquet")
    with whole_folder(out) as folder:
        work = folder / "work"
        work.mkdir()
        with RejectLog(folder / REJECTS) as rejects:
            intake = Intake(
                files,
                settings.max_keyphrase_chars,
                rejects,
                categories=categories,
                conventions=settings.conventions,
                hash_sources=True,
                progress=progress,
            )
            progress.start("snapshot", None, "rows")
            with pq.ParquetWriter(work / "staged.parquet", STAGED_SCHEMA, compression="lz4") as staged:
                for rows in intake.rows():
                    staged.write_table(_with_tokens(rows, count_tokens))
        try:
            intake.check_share(settings.max_reject_share, kept_rejects)
        except TooManyRejectsError:
            os.replace(folder / REJECTS, kept_rejects)
            raise
        writer = PartWriter(folder, settings.part_rows)
        with (
            sorting_database(work, settings.memory_mb) as database,
            sorted_rows(database, work / "staged.parquet") as batches,
        ):
            for rows in merged_rows(batches):
                writer.write(rows)
        writer.close()
        shutil.rmtree(work)
        _write_manifest(folder, settings, _summarise(intake, writer, token_counter), writer.parts)
    with storage_errors(out.absolute().parent):
        # Rejects of an earlier attempt, which this one makes obsolete.
        kept_rejects.unlink(missing_ok=True)
    return Snapshot.open(out)


def _with_tokens(rows: pa.Table, count_tokens: CountTokens) -> pa.Table:
    keyphrases = rows["keyphrase"].to_pylist()
    texts = list(dict.fromkeys(keyphrases))
    counts = [int(count) for count in count_tokens(texts)]
    if len(counts) != len(texts):
        raise ValueError(f"count_tokens gave {len(counts)} numbers for {len(texts)} texts")
    tokens = dict(zip(texts, counts, strict=True))
    column = np.fromiter((tokens[keyphrase] for keyphrase in keyphrases), np.int32, len(keyphrases))
    return rows.append_column(STAGED_SCHEMA.field("tokens"), pa.array(column))


def _summarise(intake: Intake, writer: PartWriter, token_counter: str) -> SnapshotSummary:
    return SnapshotSummary(
        rows_read=intake.rows_read,
        rows_rejected=intake.rejects.count,
        rows_merged=intake.rows_accepted - writer.rows,
        rows=writer.rows,
        without_category=writer.without_category,
        texts=writer.texts,
        tokens=writer.tokens,
        max_tokens=writer.max_tokens,
        parts=len(writer.parts),
        bytes=sum(part.bytes for part in writer.parts),
        digest=writer.digest,
        token_counter=token_counter,
        rejects_by_reason=intake.rejects.by_reason,
        sources=tuple(intake.sources),
        categories=intake.categories_source,
    )


def _write_manifest(folder: Path, settings: SnapshotSettings, summary: SnapshotSummary, parts: Sequence[Part]) -> None:
    manifest = {
        "format": FORMAT,
        "settings": asdict(settings),
        "summary": asdict(summary),
        "parts": [
            {"file": part.path.name, "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256} for part in parts
        ],
    }
    # Written last, because a folder without it is no snapshot.
    with whole_file(folder / MANIFEST) as draft:
        draft.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
