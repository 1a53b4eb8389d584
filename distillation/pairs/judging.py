"""Judgments for files of pairs: every pair asked about once, whatever happens in between."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from keydistill.distillation.pairs.judgment_cache import JudgmentCache
from keydistill.distillation.pairs.judgment_files import EXTENSIONS, pairs_of, write_judgments
from keydistill.distillation.pairs.pairs import read_pairs
from keydistill.encoders.judge import Judge, Judgment, Pair, Problem, Usage
from keydistill.errors import InputError, JudgeError, JudgeUnavailableError
from keydistill.files import check_no_input_is_replaced
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, Conventions, RejectLog
from keydistill.telemetry import span

# Pairs that are looked up before they are asked about. While answers are on their way nothing else may take long.
_SLICE = 4_096
# Requests in a row that fail for good: so many mean that the endpoint is at fault and not the pairs.
_FAILURES_IN_A_ROW = 5
# Pairs in a row without a yes or a no: so many mean that this model does not answer as it is asked to.
_UNUSABLE_IN_A_ROW = 50


@dataclass(frozen=True, slots=True)
class JudgingPlan:
    """The plan of `judge_pairs`.

    Attributes:
        pairs: Number of rows that are pairs.
        rejected: Number of rows that are none.
        new: Number of different pairs that would be asked about.
        cached: Number of different pairs whose judgment is there already.
        usage: Estimated tokens for the new pairs.
    """

    pairs: int
    rejected: int
    new: int
    cached: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class JudgingSummary:
    """The result of `judge_pairs`; `labelled`, `unlabelled` and `unjudged` together are `pairs`.

    Attributes:
        judge: Name of the judge.
        prompt_version: Version of the judge's prompt.
        pairs: Number of rows that are pairs.
        rejected: Number of rows that are none; they are in `rejects_file`.
        labelled: Number of rows of the output.
        yes: Number of rows of the output with the label yes.
        unlabelled: Number of rows whose pair got no usable answer; they are in `unlabelled_file` with the reason.
        unjudged: Number of rows whose pair the budget did not reach; they are in `unlabelled_file` too.
        asked: Number of different pairs that the judge was asked about in this run.
        malformed: Number of answers in this run that were neither yes nor no.
        usage: Tokens that this run took.
        example: Why one of the pairs without a label has none; None if every pair has one that was asked about.
        unlabelled_file: File of the pairs without a label; None if every pair has one.
        rejects_file: File of the rejected rows; None if no row was rejected.
    """

    judge: str
    prompt_version: str
    pairs: int
    rejected: int
    labelled: int
    yes: int
    unlabelled: int
    unjudged: int
    asked: int
    malformed: int
    usage: Usage
    example: str | None
    unlabelled_file: Path | None
    rejects_file: Path | None


@dataclass(slots=True)
class _Run:
    """The state of a run: what it has asked so far, and what it may still ask."""

    budget_pairs: int | None
    budget_tokens: int | None
    asked: int = 0
    answered: int = 0
    malformed: int = 0
    failed_in_a_row: int = 0
    unusable_in_a_row: int = 0
    reserved: int = 0
    usage: Usage = field(default_factory=Usage)
    stopped: bool = False
    problems: dict[bytes, Problem] = field(default_factory=dict)

    def admit(self, estimate: Usage) -> bool:
        """Whether one more pair may be asked about; once it may not, none may."""
        tokens = self.usage.total + self.reserved + estimate.total
        if (self.budget_pairs is not None and self.asked >= self.budget_pairs) or (
            self.budget_tokens is not None and tokens > self.budget_tokens
        ):
            self.stopped = True
            return False
        self.asked += 1
        self.reserved += estimate.total
        return True


def plan_judging(
    judge: Judge,
    files: Sequence[Path],
    *,
    cache: JudgmentCache,
    items: Path | None = None,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> JudgingPlan:
    """Count what `judge_pairs` would ask, without asking; reads the files once.

    Raises:
        InputError: A file cannot be read.
    """
    pairs = new = 0
    keys: set[bytes] = set()
    usage = Usage()
    with RejectLog() as rejects:
        for pair in pairs_of(read_pairs(files, items, rejects, conventions=conventions)):
            pairs += 1
            key = judge.key(pair)
            if key not in keys:
                keys.add(key)
                if cache.get(key) is None:
                    new += 1
                    usage += judge.estimate(pair)
            progress.advance(1)
    return JudgingPlan(pairs, rejects.count, new, len(keys) - new, usage)


def judge_pairs(
    judge: Judge,
    files: Sequence[Path],
    out: Path,
    *,
    cache: JudgmentCache,
    items: Path | None = None,
    budget_pairs: int | None = None,
    budget_tokens: int | None = None,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> JudgingSummary:
    """Judge all pairs that are not in the cache yet, then write the judgments of all, in the order of the files.

    Every judgment is in the cache before the next is taken, so that this can be interrupted or killed and called again:
    only what was in flight is asked again. Memory does not grow with the files, but for the items (see `read_pairs`).

    Args:
        judge: Judge to ask.
        files: Files of pairs, see `read_pairs`; they are read twice.
        out: CSV, JSONL or Parquet file to write, by `JUDGMENT_SCHEMA`. It appears whole. Pairs without a label go to an
            `.unlabelled.parquet` beside it, rows that are no pairs to a `.rejects.parquet`.
        cache: Cache of the judgments that are there already, which takes the new ones.
        items: File of titles, for pairs without a title.
        budget_pairs: Most pairs to ask about in this run.
        budget_tokens: Most tokens to use in this run, as estimated before each pair. Answers that take more than that
            (a malformed one is asked for again) may exceed it by what is in flight.
        conventions: How the files are read, and how CSV is written.
        progress: Advanced by the number of rows done.

    Raises:
        InputError: A file cannot be read, or `out` is one of them or has an unknown extension.
        JudgeError: The judge cannot work; everything that it judged is in the cache.
        StorageError: The cache cannot be used.
    """
    if out.suffix not in EXTENSIONS:
        raise InputError(f"{out} has an unknown extension; expected one of {', '.join(EXTENSIONS)}")
    check_no_input_is_replaced(out, [*files, *([] if items is None else [items])])
    run = _Run(budget_pairs, budget_tokens)
    any_cached = False
    chunk: dict[bytes, Pair] = {}
    with RejectLog() as rejects:
        for pair in pairs_of(read_pairs(files, items, rejects, conventions=conventions)):
            key = judge.key(pair)
            is_cached = cache.get(key) is not None
            any_cached |= is_cached
            if is_cached or key in run.problems or key in chunk:
                progress.advance(1)
                continue
            chunk[key] = pair
            if len(chunk) == _SLICE:
                _ask(judge, chunk, cache, run, progress, proven=any_cached)
                chunk.clear()
            if run.stopped:
                break
        _ask(judge, chunk, cache, run, progress, proven=any_cached)
    output = write_judgments(
        judge, files, out, cache=cache, items=items, problems=run.problems, conventions=conventions
    )
    return JudgingSummary(
        judge=judge.name,
        prompt_version=judge.prompt_version,
        pairs=output.labelled + output.unlabelled + output.unjudged,
        rejected=output.rejected,
        labelled=output.labelled,
        yes=output.yes,
        unlabelled=output.unlabelled,
        unjudged=output.unjudged,
        asked=run.asked,
        malformed=run.malformed,
        usage=run.usage,
        example=next((problem.detail for problem in run.problems.values()), None),
        unlabelled_file=output.unlabelled_file,
        rejects_file=output.rejects_file,
    )


def _ask(
    judge: Judge,
    chunk: dict[bytes, Pair],
    cache: JudgmentCache,
    run: _Run,
    progress: Progress,
    *,
    proven: bool,
) -> None:
    if not chunk:
        return
    estimates: dict[bytes, int] = {}

    def admitted() -> Iterator[Pair]:
        for key, pair in chunk.items():
            # Another process may have judged it since it was looked up.
            if cache.get(key) is not None:
                progress.advance(1)
                continue
            estimate = judge.estimate(pair)
            if not run.admit(estimate):
                return
            estimates[key] = estimate.total
            yield pair

    with span("judge pairs", pairs=len(chunk)), closing(judge.judge_many(admitted())) as judgments:
        for pair, judgment in judgments:
            key = judge.key(pair)
            run.reserved -= estimates.pop(key)
            run.usage += judgment.usage
            run.malformed += judgment.malformed
            if judgment.problem is None:
                cache.put(key, judgment, judge.name, judge.prompt_version)
            else:
                run.problems[key] = judgment.problem
            _check_health(run, pair, judgment, proven=proven)
            progress.advance(1)


def _check_health(run: _Run, pair: Pair, judgment: Judgment, *, proven: bool) -> None:
    """Tell a pair that the judge cannot take from a judge that takes nothing.

    Raises:
        JudgeUnavailableError: Requests fail although they were repeated.
        JudgeError: Requests are refused, or answers are never yes or no.
    """
    problem = judgment.problem
    if problem is None or problem.kind == "not_in_table":
        run.answered += 1
        run.failed_in_a_row = run.unusable_in_a_row = 0
        return
    where = f"item {pair.item_id!r} with {pair.keyphrase!r}: {problem.detail}"
    advice = f"{run.answered:,} judgments of this run are kept, and are not asked for again"
    if problem.kind == "malformed_answer":
        run.failed_in_a_row = 0
        run.unusable_in_a_row += 1
        if run.unusable_in_a_row >= _UNUSABLE_IN_A_ROW:
            raise JudgeError(
                f"the judge said neither yes nor no of {run.unusable_in_a_row} pairs in a row, last of {where}; "
                f"docs/judge.md says which answers count; {advice}"
            )
        return
    run.failed_in_a_row += 1
    if (proven or run.answered or run.malformed) and run.failed_in_a_row < _FAILURES_IN_A_ROW:
        return
    error_class = JudgeUnavailableError if problem.kind == "unreachable" else JudgeError
    raise error_class(f"the judge gave no answer for {where}; {advice}")
