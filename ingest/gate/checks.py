"""The checks of the gate, as a table: each makes its rows of the report from the evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keydistill.ingest.filters import SHAPES, K
from keydistill.ingest.gate.items import GateItems
from keydistill.ingest.gate.measures import LISTS, Measured, Short, Side
from keydistill.ingest.gate.report import Row
from keydistill.settings import Settings

if TYPE_CHECKING:
    from keydistill.distillation.evaluation import Difference

# Thresholds where nothing is live. Quality is not among them, unless an assistant judges (`gate_min_relevant`).
_FIRST_AVOIDABLE_SHORT = 0.01
_FIRST_COVERAGE = 0.05
_FIRST_P99_MS = 1_000.0
# The category stands in for a referee, and refuses only where the difference is plain: a student with shuffled weights
# keeps a fifth to a third of the live one's share. One that was distilled well, and is better by the truth, keeps nine
# tenths where the queries are items and 0.71 where keyphrases stand in for them (`make demo`).
_LEAST_CATEGORY_RATIO = 0.5
_SEED = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Per query and side, the number of relevant hits and the number of all hits, with the referee that judged them."""

    referee: str
    candidate: tuple[Floats, Floats]
    live: tuple[Floats, Floats] | None


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What a cut to fewer dimensions costs.

    Attributes:
        full: Dimension of the uncut student.
        overlap: Share of the uncut student's nearest keyphrases, in a pool of the inventory, that the cut one finds
            too; None where nothing was cut.
        pool: Number of keyphrases in the pool.
    """

    full: int
    overlap: float | None
    pool: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was measured; `live` is None where the candidate is compared with nothing."""

    settings: Settings
    items: GateItems
    side: Side
    candidate: Measured
    live_side: Side | None
    live: Measured | None
    judged: Judged | str
    dimensions: Dimensions

    @property
    def same_student(self) -> bool:
        """Whether both sides were built by one version of the student."""
        return self.live_side is not None and self.live_side.student.version == self.side.student.version


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name, the question that it answers, and the function that makes its rows."""

    name: str
    question: str
    rows: Callable[[Evidence], list[Row]]


def _relevant(evidence: Evidence) -> list[Row]:
    name = f"relevant@{K}"
    if isinstance(evidence.judged, str):
        return [Row.not_measured(name, evidence.judged)]
    settings, judged = evidence.settings, evidence.judged
    value = _ratio(judged.candidate)
    if value is None:
        return [Row.not_measured(name, "no item got a keyphrase")]
    by = f"judged by {judged.referee}"
    live = None if judged.live is None else _ratio(judged.live)
    if judged.live is None or live is None:
        return [Row.compared(name, value, ">=", settings.gate_min_relevant, note=f"nothing to compare with; {by}")]
    gap = _difference(judged.live, judged.candidate)
    return [_not_worse(name, value, live, gap, settings.gate_tolerance, by)]


def _same_category(evidence: Evidence) -> list[Row]:
    name = f"same category@{K}"
    candidate_counts = _in_category(evidence.items, evidence.candidate)
    value = _ratio(candidate_counts)
    if value is None:
        return [Row.not_measured(name, "no item has a category")]
    live = None if evidence.live is None else _ratio(live_counts := _in_category(evidence.items, evidence.live))
    if live is None:
        return [Row.reported(name, value, note="nothing to compare with")]
    if not isinstance(evidence.judged, str):
        return [Row.reported(name, value, live, "for information: an assistant judges")]
    if evidence.same_student:
        return [Row.reported(name, value, live, "for information: the same student")]
    gap = _difference(live_counts, candidate_counts)
    return [_not_worse(name, value, live, gap, (1 - _LEAST_CATEGORY_RATIO) * live, "no assistant judges")]


def _recall(evidence: Evidence) -> list[Row]:
    rows = []
    for shape in SHAPES:
        name = f"recall@{K}, {shape.name}"
        value = evidence.candidate.recall.get(shape.name)
        if value is None:
            rows.append(Row.not_measured(name, "no item has what this filter asks for"))
            continue
        live = None if evidence.live is None else evidence.live.recall.get(shape.name)
        rows.append(Row.compared(name, value, ">=", evidence.settings.gate_min_recall, live))
    return rows


def _short(evidence: Evidence) -> list[Row]:
    rows = []
    for list_name in LISTS:
        name = f"fewer than {K}, {list_name}"
        short: Short | None = evidence.candidate.short.get(list_name)
        if short is None:
            rows.append(Row.not_measured(name, "no item has a category"))
            continue
        note = f"the collection holds no {K} for {short.unavoidable:.1%}"
        if evidence.live is None:
            most = min(1.0, short.unavoidable + _FIRST_AVOIDABLE_SHORT)
            rows.append(Row.compared(name, short.share, "<=", most, note=note))
            continue
        live = evidence.live.short[list_name].share
        most = min(1.0, live + evidence.settings.gate_max_short)
        rows.append(Row.compared(name, short.share, "<=", most, live, note))
    return rows


def _coverage(evidence: Evidence) -> list[Row]:
    name = "different keyphrases"
    value = _distinct_keyphrases(evidence.candidate)
    if evidence.live is not None:
        live = _distinct_keyphrases(evidence.live)
        least = evidence.settings.gate_min_coverage * live
        return [Row.compared(name, value, ">=", least, live, f"{value / max(live, 1):.2f} of the live ones")]
    possible = min(len(evidence.items.queries) * K, evidence.items.profile.rows)
    return [Row.compared(name, value, ">=", _FIRST_COVERAGE * possible, note=f"of {possible:,} that could be")]


def _latency(evidence: Evidence) -> list[Row]:
    name = "p99, ms"
    # The best repeat: whatever else the machine does only adds to it.
    value = min(evidence.candidate.p99_ms)
    if evidence.live is None:
        return [Row.compared(name, value, "<=", _FIRST_P99_MS)]
    live = min(evidence.live.p99_ms)
    settings = evidence.settings
    most = max(settings.gate_latency_floor_ms, settings.gate_max_latency_ratio * live)
    return [Row.compared(name, value, "<=", most, live, f"{value / max(live, 1e-9):.2f} of the live one")]


def _drift(evidence: Evidence) -> list[Row]:
    name = "mean top score"
    value = _top_score(evidence.candidate)
    if value is None:
        return [Row.not_measured(name, "no item got a keyphrase")]
    live = None if evidence.live is None else _top_score(evidence.live)
    if live is None:
        return [Row.reported(name, value, note="nothing to compare with")]
    return [Row.compared(name, value, "+-", evidence.settings.gate_max_drift, live, f"drifted by {value - live:+.3f}")]


def _dimension(evidence: Evidence) -> list[Row]:
    size, full = evidence.side.dimension, evidence.dimensions.full
    live = None if evidence.live_side is None else evidence.live_side.dimension
    note = f"all of the student's {full}" if size == full else f"cut from the student's {full}"
    if live is not None and live != size:
        note += f"; changed from {live}"
    rows = [Row.reported("dimension", float(size), None if live is None else float(live), note)]
    overlap = evidence.dimensions.overlap
    if overlap is not None:
        name = f"kept of the full dimension@{K}"
        pool = f"in a pool of {evidence.dimensions.pool:,} keyphrases"
        if live is not None and live <= size:
            rows.append(Row.reported(name, overlap, note=f"{pool}; the live collection has no more dimensions"))
        else:
            least = evidence.settings.gate_min_dimension_overlap
            rows.append(Row.compared(name, overlap, ">=", least, note=f"neighbours that the cut left, {pool}"))
    return rows


CHECKS: tuple[Check, ...] = (
    Check("relevance", "Does the assistant find as much relevant among the first ten as in the live ones?", _relevant),
    Check("category", "Without a referee: do they lie in the item's category as often?", _same_category),
    Check("recall", "Does the index find what exact search finds, under every filter?", _recall),
    Check("short lists", "Do items get as many as they ask for?", _short),
    Check("coverage", "Are as many different keyphrases recommended?", _coverage),
    Check("latency", "Is it as fast?", _latency),
    Check("drift", "Did the scores move?", _drift),
    Check("dimension", "If vectors were cut to fewer dimensions: do they find the same?", _dimension),
)


def _ratio(counts: tuple[Floats, Floats]) -> float | None:
    total = float(counts[1].sum())
    return float(counts[0].sum()) / total if total else None


def _difference(live: tuple[Floats, Floats], candidate: tuple[Floats, Floats]) -> "Difference":
    """The difference of the ratios by a paired bootstrap over items: every resample draws the same items for both."""
    from keydistill.distillation.evaluation import paired_difference, ratios

    values = [_ratio(live), _ratio(candidate)]
    draws = [ratios(top[:, None], total[:, None], _SEED)[:, 0] for top, total in (live, candidate)]
    return paired_difference(values[0] or 0.0, values[1] or 0.0, draws[0], draws[1])


def _not_worse(name: str, value: float, live: float, gap: "Difference", tolerance: float, by: str) -> Row:
    """A row that fails where the value is surely worse (the interval lies below zero) and by more than `tolerance`."""
    assert gap.low is not None
    assert gap.high is not None
    note = f"difference {value - live:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]; {by}"
    row = Row.compared(name, value, ">=", live - tolerance, live, note)
    if row.verdict == "fail" and gap.high >= 0:
        return Row(name, value, live, ">=", row.threshold, "pass", f"{note}; not surely worse")
    return row


def _in_category(items: GateItems, side: Measured) -> tuple[Floats, Floats]:
    inside, total = np.zeros(len(items.queries)), np.zeros(len(items.queries))
    for place, (query, hits) in enumerate(zip(items.queries, side.lists, strict=True)):
        if query.leaf is not None:
            inside[place] = sum(query.leaf in hit.payload.get("category_ids", ()) for hit in hits)
            total[place] = len(hits)
    return inside, total


def _distinct_keyphrases(side: Measured) -> float:
    return float(len({hit.payload.get("keyphrase") for hits in side.lists for hit in hits}))


def _top_score(side: Measured) -> float | None:
    scores: Sequence[float] = [hits[0].score for hits in side.lists if hits]
    return float(np.mean(scores)) if scores else None
