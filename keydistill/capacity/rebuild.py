"""A rebuild played through: workers take parts from a queue, one at a time, and some of them are killed."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What became of it.

    Attributes:
        seconds: Time until the last part was done.
        busy_share: Share of the workers' time that went into parts that were done.
        redone: Number of parts that were begun again.
        lost_seconds: Time that went into parts whose worker was killed.
    """

    seconds: float
    busy_share: float
    redone: int
    lost_seconds: float


def simulate_rebuild(
    part_seconds: Sequence[float],
    workers: int,
    *,
    kills: Sequence[float] = (),
    redelivery_seconds: float = 60.0,
    restart_seconds: float = 30.0,
) -> Rebuild:
    """Play through the embedding of a snapshot's parts, in their order.

    >>> simulate_rebuild([10.0, 10.0, 10.0], 2).seconds
    20.0
    >>> simulate_rebuild([10.0, 10.0, 10.0], 2, kills=[15.0], redelivery_seconds=5.0, restart_seconds=0.0)
    Rebuild(seconds=30.0, busy_share=0.5, redone=1, lost_seconds=5.0)

    Args:
        part_seconds: Time that each part takes a worker.
        workers: Number of workers, all of them as fast.
        kills: Times at which a worker is killed: the one that is in the middle of a part, of several the one that
            works on it for longest. Who is killed while all are idle has lost nothing.
        redelivery_seconds: Time from a kill until another worker gets the part.
        restart_seconds: Time from a kill until the worker is back.
    """
    # Parts that can be taken, the next one last; those of killed workers, by the time at which they can be taken.
    ready = list(range(len(part_seconds)))[::-1]
    later: list[tuple[float, int]] = []
    # Workers by the time at which they are free; those at work by the end of their part, with its beginning and number.
    free = [0.0] * workers
    busy: list[tuple[float, float, int]] = []
    upcoming = sorted(kills, reverse=True)
    now = finished = worked = lost = 0.0
    done = redone = 0
    while done < len(part_seconds):
        while later and later[0][0] <= now:
            ready.append(heapq.heappop(later)[1])
        while ready and free and free[0] <= now:
            heapq.heappop(free)
            part = ready.pop()
            heapq.heappush(busy, (now + part_seconds[part], now, part))
        now = max(now, min(_next_events(ready, later, free, busy, upcoming)))
        # A part that ends at the moment of a kill is done.
        while busy and busy[0][0] <= now:
            finished, began, _ = heapq.heappop(busy)
            worked += finished - began
            done += 1
            heapq.heappush(free, finished)
        if upcoming and upcoming[-1] <= now:
            upcoming.pop()
            if busy:
                hit = min(busy, key=lambda work: work[1])
                busy.remove(hit)
                heapq.heapify(busy)
                lost += now - hit[1]
                redone += 1
                heapq.heappush(later, (now + redelivery_seconds, hit[2]))
                heapq.heappush(free, now + restart_seconds)
    return Rebuild(finished, worked / (finished * workers) if finished else 1.0, redone, lost)


def _next_events(
    ready: Sequence[int],
    later: Sequence[tuple[float, int]],
    free: Sequence[float],
    busy: Sequence[tuple[float, float, int]],
    upcoming: Sequence[float],
) -> Iterator[float]:
    """The time of the next event of each kind."""
    if busy:
        yield busy[0][0]
    if later:
        yield later[0][0]
    if ready and free:
        yield free[0]
    if upcoming:
        yield upcoming[-1]
