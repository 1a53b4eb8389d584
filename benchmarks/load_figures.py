"""What a load test measured: how much was done, and how long it took."""

import statistics
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_log import Log
from benchmarks.load_readers import Kept
from benchmarks.load_verdict import Move

_MARGIN_SECONDS = 0.1


def figures_of(
    log: Log, counts: dict[str, int], kept: list[Any], moved: list[Move], swaps: list[Move]
) -> dict[str, Any]:
    """Figures by name.

    Args:
        log: The events.
        counts: Of the verdict.
        kept: What the readers were answered.
        moved: Every move of the alias.
        swaps: Those of them from one student to the other.
    """
    followed = follow_seconds(kept, moved, swaps)
    during, steady, share = latencies(kept, swaps, followed)
    times = [seconds for seconds in followed if seconds is not None]
    failed = [event["text"] for event in log.events("build failed")]
    p99 = [float(np.quantile(took, 0.99)) for took in (steady, during)]
    early, late = memory(log)
    return {
        "queries": len(during) + len(steady) + counts["errors"],
        "errors": counts["errors"],
        "empty_answers": counts["empty"],
        "mixed_answers": counts["mixed"],
        "short_answers": counts["short"],
        "missed_by_the_graph": counts["missed_by_the_graph"],
        "answers_amid_a_sync": counts["amid_a_sync"],
        "kept_vectors_refused": counts["refused"],
        "swaps": len(swaps),
        "of_these_rollbacks": len(log.events("rolled back")),
        "syncs": len(log.events("synced")),
        "resumed_builds": len(log.events("resuming")),
        # Refused, as it must be, and taken up again: a new version of the file came while the old one was read.
        "builds_that_met_a_changing_file": len([text for text in failed if text.startswith("InputChangedError")]),
        "failed_builds": len([text for text in failed if not text.startswith("InputChangedError")]),
        "syncs_that_were_to_wait": len(log.events("sync waited")),
        "failed_syncs": len(log.events("sync failed")),
        "seconds_per_swap": statistics.median(np.diff([swap.ended for swap in swaps]).tolist()),
        "steady_p50_ms": float(np.quantile(steady, 0.5)),
        "steady_p99_ms": p99[0],
        "during_swaps_p50_ms": float(np.quantile(during, 0.5)),
        "during_swaps_p99_ms": p99[1],
        "ratio_of_p99": p99[1] / p99[0],
        "share_of_time_during_swaps": share,
        "seconds_until_all_readers_followed_median": statistics.median(times),
        "seconds_until_all_readers_followed_max": max(times),
        "mb_of_a_reader_after_ten_changes": early,
        "mb_of_a_reader_at_last": late,
        "growth_of_a_reader_percent": 100 * (late / early - 1),
    }


def memory(log: Log) -> tuple[float, float]:
    """MB of a reader that keeps no answer: the median from its tenth to its twentieth change, and of its last ten."""
    seen = [(event["changes"], event["anonymous_mb"]) for event in log.events("witnessed")]
    most = seen[-1][0]
    early = [mb for changes, mb in seen if min(10, most) <= changes <= 20]
    late = [mb for changes, mb in seen if changes >= most - 10]
    return statistics.median(early), statistics.median(late)


def follow_seconds(kept: list[Kept], moved: list[Move], swaps: list[Move]) -> list[float | None]:
    """Per swap the time until every reader was answered by what it put live, or by what came later; None: not seen."""
    came: dict[str, list[tuple[float, int]]] = {}
    for place, move in enumerate(moved):
        came.setdefault(move.after, []).append((move.began, place))
    reached = []
    for one in kept:
        collections = [collection for collection, _ in one.generations]
        places = [
            max((place for began, place in came.get(collections[row[2]], []) if began <= row[1]), default=-1)
            for row in one.rows
        ]
        reached.append((np.maximum.accumulate(places), np.array([row[1] for row in one.rows])))
    found: list[float | None] = []
    for swap in swaps:
        firsts = [int(np.searchsorted(places, moved.index(swap))) for places, _ in reached]
        if any(first == len(places) for first, (places, _) in zip(firsts, reached, strict=True)):
            found.append(None)
            continue
        last = max(float(ended[first]) for first, (_, ended) in zip(firsts, reached, strict=True))
        found.append(max(0.0, last - swap.ended))
    return found


def latencies(
    kept: list[Kept], swaps: list[Move], followed: list[float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Milliseconds of answers during swaps and of all others, and the share of time that was during swaps.

    During a swap is from a tenth of a second before the alias changed to a tenth after the last reader had followed.
    """
    rows = np.array([row[:2] for one in kept for row in one.rows])
    during = np.zeros(len(rows), dtype=np.bool_)
    clock = np.linspace(rows[:, 0].min(), rows[:, 1].max(), 100_000)
    covered = np.zeros(len(clock), dtype=np.bool_)
    for swap, seconds in zip(swaps, followed, strict=True):
        first, last = swap.began - _MARGIN_SECONDS, swap.ended + (seconds or 0.0) + _MARGIN_SECONDS
        during |= (rows[:, 1] >= first) & (rows[:, 0] <= last)
        covered |= (clock >= first) & (clock <= last)
    took = 1_000 * (rows[:, 1] - rows[:, 0])
    return took[during], took[~during], float(covered.mean())
