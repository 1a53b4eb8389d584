"""The check of signals: all that is wrong with the files, and what they say together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.positions import EtaEstimate, PositionCurve, estimate_eta, position_curve
from keydistill.distillation.signals.readers import (
    MAX_KEYPHRASE_CHARS,
    read_clicks,
    read_items,
    read_judgments,
    read_search_relevance,
)
from keydistill.distillation.signals.schemas import EXACT
from keydistill.errors import InputError
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, CategoryHints, Conventions, Reject, RejectLog, total_rows


@dataclass(frozen=True, slots=True)
class SignalFiles:
    """The files of each table; empty where there is no such table."""

    items: Sequence[Path] = ()
    clicks: Sequence[Path] = ()
    search_relevance: Sequence[Path] = ()
    judgments: Sequence[Path] = ()

    @classmethod
    def of_folder(cls, folder: Path) -> "SignalFiles":
        """The tables in a signals folder, in a simulated marketplace, or in the folder that a page's judgments go to.

        A table is a Parquet file, or JSON lines, which the page appends to. Where there are both, and the last row of a
        pair or item counts, people come over the judge, and the seller's items over what somebody pasted.

        Raises:
            InputError: There is none.
        """
        files: dict[str, list[Path]] = {}
        for name in cls.__slots__:
            paths = [path for ending in (".parquet", ".jsonl") if (path := folder / f"{name}{ending}").is_file()]
            files[name] = paths[::-1] if name == "items" else paths
        if not any(paths for name, paths in files.items() if name != "items"):
            raise InputError(f"{folder} holds no signals; expected clicks, search_relevance or judgments.parquet in it")
        return cls(**files)


@dataclass(frozen=True, slots=True)
class TableReport:
    """The report on one table.

    Attributes:
        files: Names of the files.
        rows_read: Number of rows in the files.
        rows_rejected: Number of rows that cannot be used.
        rows_merged: Number of usable rows that were merged into another one about the same thing.
        rows: Number of rows that remain.
        keyphrases: Number of different keyphrases; None for items.
        unknown_item_share: Share of the rows whose item is not among the items; None without items.
        facts: Numbers that only this table has.
        rejects_by_reason: Number of rejects by reason, the most frequent first.
        examples: First few rejects of each reason.
    """

    files: tuple[str, ...]
    rows_read: int
    rows_rejected: int
    rows_merged: int
    rows: int
    keyphrases: int | None
    unknown_item_share: float | None
    facts: Mapping[str, float]
    rejects_by_reason: Mapping[str, int]
    examples: tuple[Reject, ...]

    @property
    def reject_share(self) -> float:
        """Rejected rows by rows read."""
        return self.rows_rejected / self.rows_read if self.rows_read else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("examples", "files")}
        return {
            "files": list(self.files),
            **plain,
            "reject_share": self.reject_share,
            "examples": [reject.as_dict() for reject in self.examples],
        }


@dataclass(frozen=True, slots=True)
class SignalsReport:
    """The report on all tables, and on what clicks say about positions."""

    tables: Mapping[str, TableReport]
    max_reject_share: float
    curve: PositionCurve | None = None
    eta: EtaEstimate | None = None
    hints: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether training would take these files."""
        return all(table.rows > 0 and table.reject_share <= self.max_reject_share for table in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "tables": {name: table.as_dict() for name, table in self.tables.items()},
            "max_reject_share": self.max_reject_share,
            "position_curve": None if self.curve is None else self.curve.rows(),
            "eta": None if self.eta is None else self.eta.as_dict(),
            "hints": list(self.hints),
            "passes": self.passes,
        }


def check_signals(
    files: SignalFiles,
    *,
    max_reject_share: float = 0.05,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    relevant_grade: int = EXACT,
    search_threshold: float | None = None,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> SignalsReport:
    """Read and validate signals as training would, and write nothing.

    Args:
        files: Files to read.
        max_reject_share: Share of rejected rows of one table above which the report does not pass.
        max_keyphrase_chars: Most characters of a keyphrase; a longer one is rejected.
        relevant_grade: Grade from which on the label is yes, where the file gives no label.
        search_threshold: Score from which on a pair passes the search filter, where the file does not say so.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Started for each table, with its number of rows where that is known, and advanced by the rows read.

    Raises:
        InputError: No file was named, or one cannot be used. Too many rejects are no error here: see `passes`.
    """
    check = _Check(progress)
    common = {"conventions": conventions}
    chars = {**common, "max_keyphrase_chars": max_keyphrase_chars}
    if files.items:
        check.read("items", files.items, read_items, common)
    if files.clicks:
        check.read("clicks", files.clicks, read_clicks, chars)
    if files.search_relevance:
        options = {**chars, "threshold": search_threshold}
        check.read("search_relevance", files.search_relevance, read_search_relevance, options)
    if files.judgments:
        check.read("judgments", files.judgments, read_judgments, {**chars, "relevant_grade": relevant_grade})
    if not check.reports:
        raise InputError("no file was named; expected clicks, search relevance, judgments or items")
    clicks = check.clicks
    if clicks is None or clicks.num_rows == 0:
        return SignalsReport(check.reports, max_reject_share, hints=check.hints.lines())
    return SignalsReport(
        check.reports, max_reject_share, position_curve(clicks), estimate_eta(clicks), check.hints.lines()
    )


@dataclass(slots=True)
class _Check:
    progress: Progress
    reports: dict[str, TableReport] = field(default_factory=dict)
    items: pa.Array | None = None
    clicks: pa.Table | None = None
    hints: CategoryHints = field(default_factory=CategoryHints)

    def read(self, name: str, files: Sequence[Path], reader: Callable[..., Any], options: Mapping[str, Any]) -> None:
        accepted = 0

        def counted() -> Any:
            nonlocal accepted
            for batch in reader(files, rejects, progress=self.progress, **options):
                accepted += batch.num_rows
                yield batch

        self.progress.start(name.replace("_", " "), total_rows([*files]), "rows")
        with RejectLog() as rejects:
            table = merged(name, counted())
        unknown = None
        if name == "items":
            self.items = table["item_id"].combine_chunks()
            for path in table["category_path"].to_pylist():
                self.hints.see([path] if path is not None else [])
        elif self.items is not None and table.num_rows:
            unknown = round(1 - pc.mean(pc.is_in(table["item_id"], value_set=self.items)).as_py(), 4)
        if name == "clicks":
            self.clicks = table
        self.reports[name] = TableReport(
            files=tuple(str(file) for file in files),
            rows_read=accepted + rejects.count,
            rows_rejected=rejects.count,
            rows_merged=accepted - table.num_rows,
            rows=table.num_rows,
            keyphrases=None if name == "items" else pc.count_distinct(table["keyphrase"]).as_py(),
            unknown_item_share=unknown,
            facts=_facts(name, table),
            rejects_by_reason=rejects.by_reason,
            examples=tuple(rejects.examples),
        )


def _facts(name: str, table: pa.Table) -> dict[str, float]:
    if not table.num_rows:
        return {}
    if name == "items":
        return {"without_category_share": round(table["category_path"].null_count / table.num_rows, 4)}
    if name == "clicks":
        shown, clicked = pc.sum(table["impressions"]).as_py(), pc.sum(table["clicks"]).as_py()
        return {
            "impressions": shown,
            "clicks": clicked,
            "click_through_rate": round(clicked / shown, 6),
            **({"sales": round(sold, 2)} if (sold := pc.sum(table["sales"]).as_py()) is not None else {}),
            "never_clicked_share": round(pc.mean(pc.equal(table["clicks"], 0)).as_py(), 4),
        }
    if name == "search_relevance":
        verdicts = table["passed"].drop_null()
        return {"passed_share": round(pc.mean(verdicts).as_py(), 4)} if len(verdicts) else {}
    return {"positive_share": round(pc.mean(table["label"]).as_py(), 4)}
