"""Metrics of runs: when each kind last succeeded and failed, how long its steps took, and what is unfinished."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily

from keydistill.exporter.families import counts, gauge, seconds_of
from keydistill.runs import ReindexRun, RetrainRun, Run, SyncRun, has_succeeded, subject_of, unfinished_runs

_KEY = ("kind", "alias")
# What a retrain notes of its judge, the metric of it, and what that is.
_OF_THE_JUDGE = (
    ("asked", "judge_asked_pairs", "Pairs that the judge was asked about, as others were known,"),
    ("labelled", "judge_labelled_pairs", "Pairs that the judge labelled"),
    ("unlabelled", "judge_unlabelled_pairs", "Pairs whose answer from the judge could not be read"),
    ("unjudged", "judge_unjudged_pairs", "Pairs that the judge's budget did not reach"),
    ("malformed", "judge_malformed_answers", "Answers of the judge that were neither yes nor no"),
    ("tokens", "judge_tokens", "Tokens that the judge used"),
)


def run_metrics(runs: Sequence[Run]) -> Iterator[GaugeMetricFamily]:
    """Metrics of all records of runs."""
    yield gauge(
        "runs",
        "Records of runs, by state.",
        (*_KEY, "state"),
        counts((*subject_of(run), run.state) for run in runs),
    )
    succeeded = _latest(run for run in runs if has_succeeded(run))
    yield gauge(
        "run_last_success_timestamp_seconds",
        "Time at which the latest run that succeeded was ordered.",
        _KEY,
        {key: seconds_of(run.created_at) for key, run in succeeded.items()},
    )
    failed = _latest(run for run in runs if run.state == "failed")
    yield gauge(
        "run_last_failure_timestamp_seconds",
        "Time of the latest failure that nobody has resumed.",
        _KEY,
        {key: seconds_of(run.updated_at) for key, run in failed.items()},
    )
    yield gauge(
        "run_step_duration_seconds",
        "Time that each step of the latest successful run took.",
        (*_KEY, "step"),
        {(*key, step): taken for key, run in succeeded.items() for step, taken in run.timings.items()},
    )
    yield gauge(
        "run_rows",
        "Keyphrases in the inventory of the latest successful run.",
        _KEY,
        {key: run.rows for key, run in succeeded.items() if isinstance(run, ReindexRun | SyncRun)},
    )
    builds = {key: run for key, run in succeeded.items() if isinstance(run, ReindexRun)}
    yield gauge(
        "run_rejected_rows",
        "Rows of the inventory that the latest successful run could not use.",
        _KEY,
        {key: run.rejected for key, run in succeeded.items() if isinstance(run, ReindexRun | SyncRun)},
    )
    yield gauge(
        "run_parts", "Parts of the latest successful build.", _KEY, {key: run.parts for key, run in builds.items()}
    )
    yield gauge(
        "run_rows_per_second",
        "Keyphrases embedded and written per second by each process of the latest successful build.",
        _KEY,
        {key: run.rows / took for key, run in builds.items() if (took := run.timings.get("embedding", 0.0)) > 0},
    )
    yield from _unfinished(unfinished_runs(runs))
    yield from _gates(runs)
    yield from _judgments([run for run in succeeded.values() if isinstance(run, RetrainRun)])


def _unfinished(runs: Sequence[Run]) -> Iterator[GaugeMetricFamily]:
    labels = (*_KEY, "run", "state")
    yield gauge(
        "unfinished_run_changed_timestamp_seconds",
        "Time at which the record of an unfinished run last changed.",
        labels,
        {(*subject_of(run), run.id, run.state): seconds_of(run.updated_at) for run in runs},
    )
    yield gauge(
        "unfinished_run_paused_timestamp_seconds",
        "Time at which an unfinished run was paused, of those that are, and who paused it.",
        (*_KEY, "run", "by"),
        {(*subject_of(run), run.id, run.paused.by): seconds_of(run.paused.at) for run in runs if run.paused},
    )
    builds = [run for run in runs if isinstance(run, ReindexRun)]
    yield gauge(
        "unfinished_run_parts",
        "Parts of an unfinished build, 0 before its snapshot.",
        ("alias", "run"),
        {(run.alias, run.id): run.parts for run in builds},
    )
    yield gauge(
        "unfinished_run_parts_done",
        "Parts of an unfinished build whose every point is written.",
        ("alias", "run"),
        {(run.alias, run.id): len(run.parts_done) for run in builds},
    )


def _gates(runs: Sequence[Run]) -> Iterator[GaugeMetricFamily]:
    yield gauge(
        "gate_runs",
        "Records of builds that the gate looked at, by its verdict.",
        ("alias", "verdict"),
        _verdicts(run for run in runs if isinstance(run, ReindexRun)),
    )
    gated = _latest(run for run in runs if isinstance(run, ReindexRun) and run.gate)
    yield gauge(
        "gate_checks",
        "Rows of the latest report of the gate, by their verdicts.",
        ("alias", "verdict"),
        counts(
            (alias, str(row["verdict"]))
            for (_, alias), run in gated.items()
            if isinstance(run, ReindexRun)
            for row in run.gate["rows"]
        ),
    )
    yield gauge(
        "gate_refused",
        "Whether the gate refused the latest collection that it looked at.",
        ("alias",),
        {
            (alias,): any(row["verdict"] == "fail" for row in run.gate["rows"])
            for (_, alias), run in gated.items()
            if isinstance(run, ReindexRun)
        },
    )


def _verdicts(runs: Iterable[ReindexRun]) -> dict[tuple[str, ...], float]:
    return counts((run.alias, "forced" if run.forced else run.gate["verdict"]) for run in runs if "verdict" in run.gate)


def _judgments(retrains: Sequence[RetrainRun]) -> Iterator[GaugeMetricFamily]:
    results = retrains[0].results.get("judge", {}) if retrains else {}
    for name, metric, help_text in _OF_THE_JUDGE:
        yield gauge(
            metric, f"{help_text} in the latest successful retrain.", (), {(): results[name]} if name in results else {}
        )
    yield gauge(
        "judge_tokens_by_direction",
        "Tokens that the judge read and wrote in the latest successful retrain; prices differ.",
        ("direction",),
        {(name,): results[f"tokens_{name}"] for name in ("in", "out") if f"tokens_{name}" in results},
    )


def _latest(runs: Iterator[Run]) -> dict[tuple[str, str], Run]:
    """The latest run of each kind and alias."""
    return {subject_of(run): run for run in sorted(runs, key=lambda run: run.created_at)}
