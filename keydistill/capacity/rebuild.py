"""A rebuild played through: workers take parts from a queue, one at a time, and some of them are killed."""

import heapq
from collections.abc import Sequence
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
    # Parts that can be taken at once, the first of them first, and those that can be taken later.
    ready = list(enumerate(part_seconds))
    ready.reverse()
    later: list[tuple[float, int]] = []
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    # Per busy worker: end of the part, its beginning, its number.
    busy: dict[int, tuple[float, float, int]] = {}
    upcoming = sorted(kills, reverse=True)
    now = finished = worked = lost = 0.0
    done = redone = 0
    while done < len(part_seconds):
        while later and later[0][0] <= now:
            _, part = heapq.heappop(later)
            ready.append((part, part_seconds[part]))
        while ready and free and free[0][0] <= now:
            _, worker = heapq.heappop(free)
            part, seconds = ready.pop()
            busy[worker] = now + seconds, now, part
        events = [end for end, _, _ in busy.values()]
        if later:
            events.append(later[0][0])
        if ready and free:
            events.append(free[0][0])
        if upcoming:
            events.append(upcoming[-1])
        now = max(now, min(events))
        # A part that ends at the moment of a kill is done.
        for worker in [worker for worker, (end, _, _) in busy.items() if end <= now]:
            end, began, _ = busy.pop(worker)
            worked += end - began
            finished = end
            done += 1
            heapq.heappush(free, (end, worker))
        if upcoming and upcoming[-1] <= now:
            upcoming.pop()
            if busy:
                worker = min(busy, key=lambda worker: busy[worker][1])
                _, began, part = busy.pop(worker)
                lost += now - began
                redone += 1
                heapq.heappush(later, (now + redelivery_seconds, part))
                heapq.heappush(free, (now + restart_seconds, worker))
    return Rebuild(finished, worked / (finished * workers) if finished else 1.0, redone, lost)
