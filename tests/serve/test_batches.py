"""The queue and its threads: bounded, in time, and whatever is together harms nobody."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from keydistill.serve.batches import Batches, Job, Outcome
from keydistill.serve.problems import Problem


class Answers:
    """Answers batches once it is let."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, jobs: Sequence[Job]) -> list[Outcome | Exception]:
        self.batches.append([title for job in jobs for title in job.titles])
        assert self.go.wait(60)
        return [ValueError(job.titles[0]) if job.titles[0] == "bad" else outcome(job) for job in jobs]

    async def busy(self, batches: int) -> None:
        """Wait until so many batches were taken up."""
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)


def outcome(job: Job) -> Outcome:
    return Outcome(job.titles[0], "v", [np.zeros(2, np.float32)] * len(job.titles), [], job.taken - job.queued, 0, 0)


def job(*titles: str, seconds: float = 60) -> Job:
    return Job(titles, [None] * len(titles), [{}] * len(titles), None, time.monotonic() + seconds)


def opened(answers: Answers, *, most_items: int = 6, batch_items: int = 8, wait_seconds: float = 0) -> Batches:
    return Batches(answers, most_items=most_items, batch_items=batch_items, wait_seconds=wait_seconds)


async def kept_busy(batches: Batches, answers: Answers) -> list["asyncio.Task[Outcome]"]:
    """Both threads with a request each."""
    tasks = []
    for number in (1, 2):
        tasks.append(asyncio.create_task(batches.outcome(job(f"first {number}"))))
        await answers.busy(number)
    return tasks


def test_what_comes_while_all_are_busy_makes_one_batch() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers, most_items=100)
        first = await kept_busy(batches, answers)
        more = [asyncio.create_task(batches.outcome(job(f"more {number}", "and"))) for number in range(5)]
        await asyncio.sleep(0)
        answers.go.set()
        outcomes = await asyncio.gather(*first, *more)
        assert [each.collection for each in outcomes[2:]] == [f"more {number}" for number in range(5)]
        assert all(each.waited > 0 for each in outcomes)
        # Eight items are a batch; a request is never cut.
        assert sorted(map(len, answers.batches)) == [1, 1, 2, 8]
        batches.close(60)

    asyncio.run(run())


def test_who_waits_for_others_waits_no_longer_than_allowed() -> None:
    async def run() -> None:
        answers = Answers()
        answers.go.set()
        batches = opened(answers, most_items=100, batch_items=3, wait_seconds=60)
        # Full: it waits no more.
        await asyncio.gather(*(batches.outcome(job(str(number))) for number in range(3)))
        assert answers.batches == [["0", "1", "2"]]
        batches.close(60)
        batches = opened(answers, batch_items=3, wait_seconds=0.05)
        assert (await batches.outcome(job("alone"))).waited >= 0.05
        batches.close(60)

    asyncio.run(run())


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers)
        tasks = await kept_busy(batches, answers)
        tasks += [asyncio.create_task(batches.outcome(job("a", "b"))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="6 items wait or are being answered already") as refused:
            await batches.outcome(job("one too many"))
        assert refused.value.kind.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        with pytest.raises(Problem):
            batches.refuse_if_full()
        # What the service asks itself comes in, and first.
        tasks.append(asyncio.create_task(batches.outcome(job("probe"), first=True)))
        await asyncio.sleep(0)
        answers.go.set()
        await asyncio.gather(*tasks)
        assert answers.batches[2][0] == "probe"
        batches.refuse_if_full()
        batches.close(60)

    asyncio.run(run())


def test_what_is_answered_counts_until_the_loop_comes_to_it() -> None:
    async def run() -> None:
        answers = Answers()
        answers.go.set()
        batches = opened(answers, most_items=1)
        task = asyncio.create_task(batches.outcome(job("only")))
        await asyncio.sleep(0)
        # The threads are done with it while the loop stands still.
        batches.close(60)
        assert not batches.alive
        with pytest.raises(Problem, match="1 items wait or are being answered already"):
            batches.refuse_if_full()
        await task
        batches.refuse_if_full()

    asyncio.run(run())


def test_one_large_request_leaves_room_for_others_while_it_is_answered() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers, most_items=6, batch_items=2)
        large = asyncio.create_task(batches.outcome(job(*map(str, range(100)))))
        await answers.busy(1)
        # It counts as the two items of a batch.
        others = [asyncio.create_task(batches.outcome(job(f"other {number}"))) for number in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Problem):
            batches.refuse_if_full()
        answers.go.set()
        await asyncio.gather(large, *others)
        batches.refuse_if_full()
        batches.close(60)

    asyncio.run(run())


def test_who_waits_too_long_is_told_and_nothing_is_done_for_him() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers)
        tasks = await kept_busy(batches, answers)
        with pytest.raises(Problem, match="there was no answer within") as late:
            await batches.outcome(job("late", seconds=0.02))
        assert late.value.kind.status == 504
        answers.go.set()
        await asyncio.gather(*tasks)
        await batches.outcome(job("next"))
        assert ["late"] not in answers.batches
        assert answers.batches[-1] == ["next"]
        batches.close(60)

    asyncio.run(run())


def test_an_error_is_for_its_own_request() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers)
        tasks = await kept_busy(batches, answers)
        tasks += [asyncio.create_task(batches.outcome(job(title))) for title in ("bad", "good")]
        await asyncio.sleep(0)
        answers.go.set()
        *_, bad, good = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert isinstance(good, Outcome)
        batches.close(60)

    asyncio.run(run())


def test_closing_answers_what_waits() -> None:
    async def run() -> None:
        answers = Answers()
        batches = opened(answers)
        tasks = await kept_busy(batches, answers)
        tasks.append(asyncio.create_task(batches.outcome(job("waits"))))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batches.close, 60))
        answers.go.set()
        assert [each.collection for each in await asyncio.gather(*tasks)] == ["first 1", "first 2", "waits"]
        await closing
        assert not batches.alive

    asyncio.run(run())
