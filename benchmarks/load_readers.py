"""Readers of a load test: processes with a live retriever each, whose threads ask and keep what they were answered."""

import os
import pickle
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from benchmarks.load_log import Log
from benchmarks.load_world import LIMIT, Answered
from benchmarks.watched import own_mb
from keydistill.errors import CollectionNotFoundError, KeydistillError, StudentMismatchError
from keydistill.retrieval import Answer, LiveRetriever, QueryVector
from keydistill.settings import load_settings
from keydistill.vectorstore import SearchParams
from keydistill.vectorstore.factory import open_engine


@dataclass(slots=True)
class Kept:
    """What one thread was answered; what repeats itself is kept once.

    Attributes:
        rows: Began, ended, place of the generation in `generations`, title, place in `answers`.
        generations: Collection and student version, as the answers said.
        answers: Different answers.
        checks: Places in `rows`, and what the question got a moment later: as before, and compared with all points.
        errors: Texts of errors.
        refused: Kept vectors of another student that were refused, and embedded again.
    """

    rows: list[tuple[float, float, int, int, int]] = field(default_factory=list)
    generations: dict[tuple[str, str], int] = field(default_factory=dict)
    answers: dict[Answered, int] = field(default_factory=dict)
    checks: list[tuple[int, Answered, Answered]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: int = 0

    def keep(self, began: float, ended: float, title: int, answer: Answer[Any]) -> bool:
        """Keep an answer; returns whether there was none like it before."""
        before = len(self.answers)
        place = self.answers.setdefault(_answered(answer.found[0]), before)
        generation = self.generations.setdefault((answer.collection, answer.student_version), len(self.generations))
        self.rows.append((began, ended, generation, title, place))
        return place == before


def read(folder: Path, number: int, threads: int, options: dict[str, Any], asked: list[str], pause: float) -> None:
    """A reader process: ask until the log says stop, then write what was answered to `readers-NUMBER.pickle`.

    Every fourth thread keeps the vectors of its items, as a service with a cache does, and embeds them again when they
    are refused. The others leave it all to `recommend`.
    """
    log = Log(folder)
    settings = load_settings(**options)
    kept = [Kept() for _ in range(threads)]
    over = threading.Event()
    engine = open_engine(settings)
    with LiveRetriever.open(settings, engine) as retriever:

        def ask(place: int) -> None:
            chance = random.Random(1_000 * number + place)
            put = _from_vectors(retriever, asked, kept[place]) if place % 4 == 3 else _by_title(retriever, asked)
            while not over.is_set():
                title = chance.randrange(len(asked))
                began = time.monotonic()
                try:
                    answer = put(title)
                except Exception as error:
                    kept[place].errors.append(f"{type(error).__name__}: {error}")
                else:
                    new = kept[place].keep(began, time.monotonic(), title, answer)
                    if engine.changes_in_place and new:
                        _check(retriever, kept[place], asked[title], answer)
                over.wait(chance.uniform(0.5, 1.5) * pause)

        workers = [threading.Thread(target=ask, args=(place,)) for place in range(threads)]
        for worker in workers:
            worker.start()
        log.note("reading", process=number)
        # Also when whoever started this was killed.
        while not log.is_over and parent_lives():
            time.sleep(0.1)
        over.set()
        for worker in workers:
            worker.join()
        status = retriever.status()
        log.note("read", process=number, changes=status.changes, failure=status.failure)
    engine.close()
    with (folder / f"readers-{number}.pickle").open("wb") as file:
        pickle.dump(kept, file)


def witness(folder: Path, threads: int, options: dict[str, Any], asked: list[str], pause: float) -> None:
    """A reader that keeps no answer, so that what grows in it is the product's; notes its memory twice a second."""
    log = Log(folder)
    settings = load_settings(**options)
    over = threading.Event()
    engine = open_engine(settings)
    with LiveRetriever.open(settings, engine) as retriever:

        def ask(place: int) -> None:
            chance = random.Random(place)
            while not over.is_set():
                # Errors are counted by the readers that keep what they are answered.
                with suppress(KeydistillError):
                    retriever.recommend([chance.choice(asked)], LIMIT)
                over.wait(chance.uniform(0.5, 1.5) * pause)

        workers = [threading.Thread(target=ask, args=(place,)) for place in range(threads)]
        for worker in workers:
            worker.start()
        while not log.is_over and parent_lives():
            log.note("witnessed", changes=retriever.status().changes, anonymous_mb=own_mb(os.getpid()))
            time.sleep(0.5)
        over.set()
        for worker in workers:
            worker.join()
    engine.close()


def _check(retriever: LiveRetriever, kept: Kept, title: str, answer: Answer[Any]) -> None:
    """Ask again at once, also without the graph: tells what the graph misses from what is not there."""
    with retriever.generation() as generation, suppress(CollectionNotFoundError):
        if generation.collection == answer.collection:
            exact = replace(generation, params=SearchParams(exact=True), tuned={})
            again, compared = (_answered(each.recommend([title], LIMIT)[0]) for each in (generation, exact))
            kept.checks.append((len(kept.rows) - 1, again, compared))


def _answered(hits: Sequence[Any]) -> Answered:
    texts = tuple(hit.keyphrase if hasattr(hit, "keyphrase") else hit.payload["keyphrase"] for hit in hits)
    return texts, tuple(round(hit.score, 6) for hit in hits)


def _by_title(retriever: LiveRetriever, asked: list[str]) -> Callable[[int], Answer[Any]]:
    return lambda title: retriever.recommend([asked[title]], LIMIT)


def _from_vectors(retriever: LiveRetriever, asked: list[str], kept: Kept) -> Callable[[int], Answer[Any]]:
    vectors: dict[int, QueryVector] = {}

    def put(title: int) -> Answer[Any]:
        if title not in vectors:
            vectors[title] = retriever.embed([asked[title]])[0]
        while True:
            try:
                return retriever.query([vectors[title]], LIMIT)
            except StudentMismatchError:
                kept.refused += 1
                vectors[title] = retriever.embed([asked[title]])[0]

    return put


def parent_lives() -> bool:
    """Whether the process that started this one is there still."""
    parent = parent_process()
    return parent is None or parent.is_alive()
