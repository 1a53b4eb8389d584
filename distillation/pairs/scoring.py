"""Scores of the assistant for files of pairs: they are streamed, and resumed where a killed process stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.distillation.assistant import assistant_metrics
from keydistill.distillation.pairs.pairs import PAIR_SCHEMA, read_pairs
from keydistill.distillation.pairs.score_files import TRUST_COLUMNS
from keydistill.encoders import Assistant, Scores
from keydistill.errors import InputChangedError
from keydistill.files import check_no_input_is_replaced, file_digests, whole_file, work_folder
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, Conventions, RejectLog, check_output, open_table

SCORE_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("assistant", pa.string(), nullable=False),
        *(pa.field(name, pa.float32()) for name in TRUST_COLUMNS),
    ]
)
# Pairs per chunk: they are sorted by length among each other, and a killed process loses one chunk at the most.
CHUNK_PAIRS = 50_000
_SAMPLE_PAIRS = 512
_WARMING_PAIRS = 32


@dataclass(frozen=True, slots=True)
class ScoringSummary:
    """The result of `score_pairs`.

    Attributes:
        pairs: Number of rows of the output.
        computed: Number of pairs that were put to the assistant; equal ones of a chunk count once.
        reused: Number of rows that an earlier, interrupted attempt had scored.
        rejected: Number of rows that were no pairs.
        mean_score: Mean score over all pairs; 0 without any.
        rejects_file: File of the rejected rows; None where there were none.
    """

    pairs: int
    computed: int
    reused: int
    rejected: int
    mean_score: float
    rejects_file: Path | None


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """The plan of `score_pairs`.

    Attributes:
        pairs: Number of rows of the output.
        rejected: Number of rows that are no pairs.
        pairs_per_second: Speed, measured on some pairs just now.
        seconds: Estimated duration for all pairs.
    """

    pairs: int
    rejected: int
    pairs_per_second: float
    seconds: float


def plan_scoring(
    assistant: Assistant, files: Sequence[Path], *, items: Path | None = None, conventions: Conventions = USUAL
) -> ScoringPlan:
    """The plan of what `score_pairs` would do with the same arguments; changes nothing. It raises the same errors."""
    rejects = RejectLog()
    pairs, sample = 0, PAIR_SCHEMA.empty_table()
    for table in read_pairs(files, items, rejects, conventions=conventions):
        pairs += len(table)
        if len(sample) < _SAMPLE_PAIRS:
            sample = pa.concat_tables([sample, table]).slice(0, _SAMPLE_PAIRS)
    columns = [sample[name].to_pylist() for name in ("title", "keyphrase", "category_path")]
    # The first call pays for what is allocated and compiled once.
    assistant.score(*(column[:_WARMING_PAIRS] for column in columns))
    began = time.perf_counter()
    assistant.score(*columns)
    rate = len(sample) / max(time.perf_counter() - began, 1e-9)
    return ScoringPlan(pairs, rejects.count, rate, pairs / rate if pairs else 0.0)


def score_pairs(
    assistant: Assistant,
    files: Sequence[Path],
    out: Path,
    *,
    items: Path | None = None,
    chunk_pairs: int = CHUNK_PAIRS,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> ScoringSummary:
    """Score every pair; memory does not grow with the files.

    Finished chunks wait in a folder beside `out`. When the process is killed, the same call reads the files again and
    scores only the chunks that are not there; another assistant or changed files begin anew.

    Args:
        assistant: Assistant that scores the pairs.
        files: Files of pairs; see `keydistill.distillation.pairs.pairs.read_pairs`.
        out: CSV, JSONL or Parquet file with the columns of `SCORE_SCHEMA`, in the order of the pairs; it appears when
            it is complete. Rows that were no pairs go to a `.rejects.parquet` beside it.
        items: File with the titles of the items.
        chunk_pairs: Number of pairs per chunk.
        conventions: How the files are read, and how CSV is written.
        progress: Advanced by the number of pairs done, often.

    Raises:
        InputError: A file cannot be read, or `out` is one of them or has an unknown extension.
        InputChangedError: A file changed while it was being read.
        StorageError: Another process is writing the same output.
    """
    inputs = [*files, *([items] if items is not None else [])]
    check_no_input_is_replaced(out, inputs)
    key = {
        "assistant": assistant.version,
        "bf16": assistant.bf16,
        "chunk_pairs": chunk_pairs,
        "inputs": file_digests(inputs),
        "missing_values": conventions.missing_values,
    }
    rejects_path = out.with_name(out.name + ".rejects.parquet")
    check_output(out)
    with work_folder(out, "scoring", key) as work:
        with RejectLog(work / "rejects.parquet") as rejects:
            parts = _Parts(assistant, work, progress)
            pairs = read_pairs(files, items, rejects, conventions=conventions)
            for number, chunk in enumerate(_rechunked(pairs, chunk_pairs)):
                parts.add(number, chunk)
        # The chunks of an earlier attempt and of this one must be of the same files.
        if file_digests(inputs) != key["inputs"]:
            raise InputChangedError(f"{', '.join(map(str, inputs))}: a file changed while it was being read; run again")
        total = 0.0
        metrics = assistant_metrics(Path(assistant.source).expanduser())
        constants = {"assistant": assistant.version, **{name: metrics.get(name) for name in TRUST_COLUMNS}}
        with open_table(out, SCORE_SCHEMA, conventions) as write:
            for part in parts.files:
                table = pq.read_table(part)
                total += float(table["score"].to_numpy().astype(np.float64).sum())
                write([{**row, **constants} for row in table.to_pylist()])
        if rejects.count:
            os.replace(work / "rejects.parquet", rejects_path)
        else:
            rejects_path.unlink(missing_ok=True)
    return ScoringSummary(
        pairs=parts.pairs,
        computed=parts.computed,
        reused=parts.reused,
        rejected=rejects.count,
        mean_score=total / parts.pairs if parts.pairs else 0.0,
        rejects_file=rejects_path if rejects.count else None,
    )


class _Parts:
    """The scored chunks, one file each."""

    def __init__(self, assistant: Assistant, folder: Path, progress: Progress) -> None:
        self.files: list[Path] = []
        self.pairs = self.computed = self.reused = 0
        self._assistant = assistant
        self._folder = folder
        self._progress = progress

    def add(self, number: int, chunk: pa.Table) -> None:
        """Score a chunk unless that was done before."""
        part = self._folder / f"part-{number:06}.parquet"
        self.files.append(part)
        self.pairs += len(chunk)
        if part.is_file():
            self.reused += len(chunk)
            self._progress.advance(len(chunk))
        else:
            scores = self._scores(chunk)
            table = chunk.select(["item_id", "keyphrase", "site"]).append_column("score", pa.array(scores))
            with whole_file(part) as draft:
                pq.write_table(table, draft, compression="zstd")

    def _scores(self, chunk: pa.Table) -> Scores:
        """Scores of a chunk; what the assistant reads of equal pairs is equal, and read once."""
        columns = [chunk[name].to_pylist() for name in ("title", "keyphrase", "category_path")]
        distinct: dict[tuple[str, str, str | None], int] = {}
        places = [distinct.setdefault(pair, len(distinct)) for pair in zip(*columns, strict=True)]
        titles, keyphrases, categories = zip(*distinct, strict=True)
        self.computed += len(distinct)
        scores: Scores = self._assistant.score(titles, keyphrases, categories, self._progress)[places]
        self._progress.advance(len(chunk) - len(distinct))
        return scores


def _rechunked(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` rows, but for the last."""
    waiting: list[pa.Table] = []
    waiting_rows = 0
    for table in tables:
        waiting.append(table)
        waiting_rows += len(table)
        while waiting_rows >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            waiting = [joined.slice(rows)]
            waiting_rows -= rows
    if waiting_rows:
        yield pa.concat_tables(waiting)
