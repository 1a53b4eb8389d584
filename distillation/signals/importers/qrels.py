"""Relevance judgments of retrieval test collections: TREC qrels, and folders as BEIR lays them out.

The query is the keyphrase, the document the item. BEIR: https://github.com/beir-cellar/beir; TREC's four columns:
https://trec.nist.gov/data/qrels_eng/.
"""

import io
import re
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.distillation.signals.importers.judged import JudgedData, query_of
from keydistill.distillation.signals.importing import ImportSummary, ImportTarget, Tables, checked_site, run_import
from keydistill.distillation.signals.schemas import MAX_GRADE
from keydistill.distillation.signals.validation import category_cell
from keydistill.errors import InputError
from keydistill.tables import (
    ALIASES,
    MalformedRow,
    RawBatch,
    Reason,
    RejectedValueError,
    Source,
    id_cell,
    keyphrase_cell,
    open_source,
    plain_name,
    shown,
    text_cell,
)

_BEIR_HEADER = ("query-id", "corpus-id", "score")
_TREC_FIELDS = 4
_BATCH_ROWS = 8_192
_MAX_TITLE_CHARS = 500

_QUERY_ALIASES = {"id": ("_id", "query_id", "qid", "topic_id", "id"), "text": ("text", "query", "keyphrase", "title")}
_ITEM_ALIASES = {"item_id": ("_id", "item_id", "doc_id", "docno", "id"), "title": ("title", "text", "contents")}
# Texts of documents have paragraphs.
_MULTILINE = ("text", "contents")
_JUDGMENT_NAMES = {
    "query": ("query-id", "query_id", "qid", "topic"),
    "item": ("corpus-id", "item_id", "document"),
    "grade": ("score", "grade", "relevance", "label"),
}
_JUDGMENT_COLUMNS = [(*names, *ALIASES.get(names[1], ())) for names in _JUDGMENT_NAMES.values()]


def import_beir(
    folder: Path,
    target: ImportTarget,
    *,
    split: str | None = None,
    grades: Mapping[int, int] | None = None,
    relevant_grade: int = 1,
    site: str | None = None,
) -> ImportSummary:
    """Import a folder with `corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv` (each also with .gz).

    Args:
        folder: Folder of these files.
        target: Target of the import: where the signals folder goes.
        split: Split of which `qrels/SPLIT.tsv` is imported; None imports all files of qrels.
        grades: Grade in the files to grade from 0 to 3, for those that are not meant as they stand.
        relevant_grade: Grade, of 0 to 3, from which on the label is yes.
        site: Site of all pairs and items.

    Raises:
        InputError: A file is missing or damaged, a grade is above 3, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected.
    """
    files = sorted([*folder.glob(f"qrels/{split or '*'}.tsv"), *folder.glob(f"qrels/{split or '*'}.tsv.gz")])
    if not files:
        raise InputError(f"{folder} has no qrels/{split or '*'}.tsv; expected corpus.jsonl, queries.jsonl and qrels/")
    options = {"split": split, "grades": _as_json(grades), "relevant_grade": relevant_grade, "site": site}
    queries, corpus = _present(folder, "queries.jsonl"), _present(folder, "corpus.jsonl")
    return _imported("beir", target, options, files, [queries], [corpus], grades, relevant_grade, site)


def import_qrels(
    files: Sequence[Path],
    target: ImportTarget,
    *,
    queries: Sequence[Path],
    corpus: Sequence[Path],
    grades: Mapping[int, int] | None = None,
    relevant_grade: int = 1,
    site: str | None = None,
) -> ImportSummary:
    """Import qrels in TREC's four columns (query, iteration, document, grade) or in BEIR's three.

    Args:
        files: Files of qrels; the first line says which of the two they are.
        target: Target of the import: where the signals folder goes.
        queries: Files of queries: CSV, TSV, JSONL or Parquet with an id (`_id`, `query_id` or `id`) and a `text` or
            `query`.
        corpus: Files of documents in the same formats: an id (`_id`, `item_id`, `doc_id`, `docno` or `id`), and a
            `title` or `text`.
        grades: Grade in the files to grade from 0 to 3, for those that are not meant as they stand.
        relevant_grade: Grade, of 0 to 3, from which on the label is yes.
        site: Site of all pairs and items.

    Raises:
        InputError: A file cannot be read, a grade is above 3, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected.
    """
    options = {"grades": _as_json(grades), "relevant_grade": relevant_grade, "site": site}
    return _imported("qrels", target, options, files, queries, corpus, grades, relevant_grade, site)


def _imported(
    form: str,
    target: ImportTarget,
    options: Mapping[str, object],
    qrels: Sequence[Path],
    queries: Sequence[Path],
    corpus: Sequence[Path],
    grades: Mapping[int, int] | None,
    relevant_grade: int,
    site: str | None,
) -> ImportSummary:
    place = checked_site(site)
    scale = _Scale(grades or {})

    def build(reader: ImportReader) -> Tables:
        data = JudgedData(form, relevant_grade, reader.fields)
        texts: dict[str, str] = {}
        query = {"id": id_cell, "text": lambda value: keyphrase_cell(value, reader.max_keyphrase_chars)}
        for file in queries:
            for rows in reader.rows(file, query, aliases=_QUERY_ALIASES, headerless=("id", "text")):
                texts.update(zip(rows["id"], rows["text"], strict=True))
        item = {
            "item_id": id_cell,
            "title": lambda value: text_cell(value)[:_MAX_TITLE_CHARS],
            "category_path": category_cell,
        }
        for file in corpus:
            for rows in reader.item_rows(
                file, item, aliases=_ITEM_ALIASES, multiline=_MULTILINE, headerless=("item_id", "title")
            ):
                data.add_items({**rows, "site": [place] * len(rows["item_id"])})
        pair = {"query": lambda value: query_of(texts, value), "item": id_cell, "grade": _grade}
        for file in qrels:
            file_reader = None if _has_header(file) else _read_trec
            for rows in reader.rows(file, pair, aliases=_JUDGMENT_NAMES, kind="tsv", reader=file_reader):
                judgments = {"item_id": rows["item"], "keyphrase": rows["query"], "grade": scale.of(rows["grade"])}
                data.add_judgments({**judgments, "site": [place] * len(rows["item"])})
        scale.check(qrels)
        return data.tables()

    return run_import(form, target, options, build)


def _present(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder} has no {name}; expected corpus.jsonl, queries.jsonl and qrels/")


class _Scale:
    """Grades of a collection on our scale from 0 to 3.

    A grade below 0, which marks spam, is 0. One above 3 is on another scale, where 10 is not 100: what it means is the
    user's to say.
    """

    def __init__(self, grades: Mapping[int, int]) -> None:
        for grade, ours in grades.items():
            if not 0 <= ours <= MAX_GRADE:
                raise InputError(f"grade {grade} is mapped to {ours}; expected a grade from 0 to {MAX_GRADE}")
        self._grades = grades
        self._rows: Counter[int] = Counter()

    def of(self, grades: Sequence[int]) -> list[int]:
        """Our grade of each row."""
        self._rows.update(grades)
        return [min(max(self._grades.get(grade, grade), 0), MAX_GRADE) for grade in grades]

    def check(self, files: Sequence[Path]) -> None:
        """Check that the meaning of every grade is known.

        Raises:
            InputError: One is above 3 and not mapped. The message counts the rows of each grade.
        """
        unknown = sorted(grade for grade in self._rows if grade > MAX_GRADE and grade not in self._grades)
        if not unknown:
            return
        counts = ", ".join(f"{grade} ({rows:,} rows)" for grade, rows in sorted(self._rows.items(), reverse=True)[:20])
        example = ",".join(f"{grade}={max(0, MAX_GRADE - place)}" for place, grade in enumerate(unknown[::-1][:20]))
        raise InputError(
            f"{', '.join(map(str, files))}: grades above {MAX_GRADE} among {counts}; say what they mean on the scale "
            f"from 0 to {MAX_GRADE}, as in --grades {example}"
        )


def _as_json(grades: Mapping[int, int] | None) -> dict[str, int] | None:
    return None if grades is None else {str(grade): ours for grade, ours in grades.items()}


def _grade(value: object) -> int:
    """A grade as it stands in the file; `_Scale` says what it means."""
    try:
        # TREC and BEIR write whole numbers; pandas may have made "1.0" of them.
        grade = float(str(value).strip())
    except ValueError:
        grade = 0.5
    if not grade.is_integer():
        raise RejectedValueError(Reason.BAD_LABEL, "is no grade; expected a whole number")
    return int(grade)


def _has_header(path: Path) -> bool:
    """Whether the first line names columns of BEIR's, or others that we know; TREC's files have no header."""
    with open_source(path, "tsv") as source:
        first = source.stream.readline(1_000).decode("utf-8-sig", errors="replace")
    names = {plain_name(name) for name in re.split("[\t,;]", first)}
    return all(names & {plain_name(name) for name in known} for known in _JUDGMENT_COLUMNS)


@dataclass(slots=True)
class _Rows:
    rows: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    cells: list[tuple[str, ...]] = field(default_factory=list)
    malformed: list[MalformedRow] = field(default_factory=list)

    def raw(self) -> RawBatch:
        columns = zip(*self.cells, strict=True) if self.cells else [()] * len(_BEIR_HEADER)
        named = dict(zip(_BEIR_HEADER, columns, strict=True))
        return RawBatch(self.rows, self.lines, named, None, self.malformed)


def _read_trec(source: Source) -> Generator[RawBatch, None, None]:
    """Rows of four fields, separated by white space, without a header."""
    text = io.TextIOWrapper(source.stream, encoding="utf-8-sig", errors="surrogateescape")
    try:
        batch, row = _Rows(), 0
        for number, line in enumerate(text, start=1):
            fields = line.split()
            if not fields:
                continue
            row += 1
            if len(fields) == _TREC_FIELDS:
                batch.rows.append(row)
                batch.lines.append(number)
                batch.cells.append((fields[0], *fields[2:]))
            else:
                detail = f"has {len(fields)} field(s); expected {_TREC_FIELDS}: query, iteration, document, grade"
                batch.malformed.append(MalformedRow(row, number, detail, shown(line.rstrip("\r\n"))))
            if len(batch.rows) + len(batch.malformed) >= _BATCH_ROWS:
                yield batch.raw()
                batch = _Rows()
        yield batch.raw()
    finally:
        # The stream below belongs to the caller.
        text.detach()
    source.check_unchanged()
