"""The files that judging leaves behind: judgments, pairs without a label, rows that were no pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from keydistill.distillation.pairs.judgment_cache import JudgmentCache
from keydistill.distillation.pairs.pairs import PAIR_SCHEMA, read_pairs
from keydistill.encoders.judge import Judge, Pair, Problem
from keydistill.tables import USUAL, Conventions, open_table, rejects_file

JUDGMENT_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("label", pa.bool_(), nullable=False),
        pa.field("probability", pa.float32()),
        pa.field("judge", pa.string(), nullable=False),
        pa.field("prompt_version", pa.string(), nullable=False),
    ]
)
# A file of pairs again, so that it can be judged later.
UNLABELLED_SCHEMA = pa.schema(
    [
        *PAIR_SCHEMA,
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
EXTENSIONS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were written, and the number of rows in each; see `JudgingSummary`."""

    rejected: int
    labelled: int
    yes: int
    unlabelled: int
    unjudged: int
    unlabelled_file: Path | None
    rejects_file: Path | None


def pairs_of(tables: Iterable[pa.Table]) -> Iterator[Pair]:
    """The rows of tables by `PAIR_SCHEMA`, one by one."""
    for table in tables:
        columns = (table[name].to_pylist() for name in ("item_id", "keyphrase", "title", "category_path", "site"))
        for row in zip(*columns, strict=True):
            yield Pair(*row)


def write_judgments(
    judge: Judge,
    files: Sequence[Path],
    out: Path,
    *,
    cache: JudgmentCache,
    items: Path | None,
    problems: Mapping[bytes, Problem],
    conventions: Conventions = USUAL,
) -> Written:
    """Write the judgments that the cache has of all pairs, in the order of the files; see `judge_pairs`.

    Args:
        judge: Judge whose judgments are written.
        files: Files of pairs.
        out: File to write, by `JUDGMENT_SCHEMA`.
        cache: Cache that has the judgments.
        items: File of titles.
        problems: Reasons why pairs have no judgment, by key; a pair that has neither is beyond the budget.
        conventions: How the files are read, and how CSV is written.
    """
    labelled = yes = unlabelled = unjudged = 0
    unlabelled_file = out.with_name(out.name + ".unlabelled.parquet")
    rejects_path = out.with_name(out.name + ".rejects.parquet")
    with (
        rejects_file(rejects_path) as rejects,
        open_table(unlabelled_file, UNLABELLED_SCHEMA) as write_unlabelled,
        open_table(out, JUDGMENT_SCHEMA, conventions) as write,
    ):
        for table in read_pairs(files, items, rejects, conventions=conventions):
            rows: list[dict[str, Any]] = []
            unlabelled_rows: list[dict[str, Any]] = []
            for pair, row in zip(pairs_of([table]), table.to_pylist(), strict=True):
                key = judge.key(pair)
                label_and_probability = cache.get(key)
                if label_and_probability is not None:
                    yes += label_and_probability[0]
                    rows.append(_judgment_row(judge, pair, *label_and_probability))
                elif key in problems:
                    unlabelled += 1
                    problem = problems[key]
                    unlabelled_rows.append({**row, "reason": problem.kind, "detail": problem.detail})
                else:
                    unjudged += 1
                    unlabelled_rows.append({**row, "reason": "budget", "detail": None})
            labelled += len(rows)
            write(rows)
            write_unlabelled(unlabelled_rows)
    if not unlabelled + unjudged:
        unlabelled_file.unlink()
    return Written(
        rejected=rejects.count,
        labelled=labelled,
        yes=yes,
        unlabelled=unlabelled,
        unjudged=unjudged,
        unlabelled_file=unlabelled_file if unlabelled + unjudged else None,
        rejects_file=rejects_path if rejects.count else None,
    )


def _judgment_row(judge: Judge, pair: Pair, label: bool, probability: float | None) -> dict[str, Any]:
    return {
        "item_id": pair.item_id,
        "keyphrase": pair.keyphrase,
        "site": pair.site,
        "label": label,
        "probability": probability,
        "judge": judge.name,
        "prompt_version": judge.prompt_version,
    }
