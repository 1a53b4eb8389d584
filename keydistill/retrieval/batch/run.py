"""A batch from its files to its output."""

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from keydistill.errors import InputChangedError, StorageError
from keydistill.files import check_no_input_is_replaced, file_digests, work_folder
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.retrieval.batch.answering import Answering, Part, PartSummary, answer_in_process, start_process
from keydistill.retrieval.batch.exclusions import Exclusions
from keydistill.retrieval.batch.output import schema_of
from keydistill.retrieval.batch.request import BatchRequest, BatchSummary
from keydistill.retrieval.generation import alias_target, item_fields_read
from keydistill.retrieval.items import Item, read_items
from keydistill.settings import Settings
from keydistill.tables import USUAL, CategoryHints, Conventions, check_output, open_table, rejects_file
from keydistill.vectorstore import Engine

PART_ITEMS = 2_048
# Bytes of an item in a file, roughly: nothing is exported for a few of them.
_ITEM_BYTES = 100
# Parts that wait for a process, so that none has to wait for the files to be read.
_PARTS_AHEAD = 2


def recommend_file(
    settings: Settings,
    engine: Engine,
    files: Sequence[Path],
    out: Path,
    request: BatchRequest | None = None,
    *,
    exclude: Sequence[Path] = (),
    processes: int = 1,
    part_items: int = PART_ITEMS,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> BatchSummary:
    """Recommend keyphrases for every item of the files, by the generation that is live when it begins.

    Finished parts wait in a folder beside `out`. When the process is killed, the same call reads the files again and
    answers only the parts that are not there, by the collection that answered the others, also if another one is live
    by then. Another request, changed files, or a collection that was deleted meanwhile begin anew. Each item gets what
    it would get if it were asked alone. Memory grows with `exclude`, and by a hash per item.

    Args:
        settings: Settings of the student, of searching, and of the assistant if it is to rerank.
        engine: Engine with the collections.
        files: Files of items, as `read_items` reads them.
        out: CSV, JSONL or Parquet file; it appears when it is complete. Rows that were no items go to a
            `.rejects.parquet` beside it.
        request: The question that is asked of every item.
        exclude: Files of pairs (item_id, keyphrase) that must not be in the answers, such as what is bid on already.
        processes: Number of processes that answer; each loads the student.
        part_items: Number of items per part.
        conventions: How the files are read, and how CSV is written.
        progress: Advanced by the number of items done.

    Raises:
        InputError: A file cannot be read, or `out` is one of them or has an unknown extension.
        InputChangedError: A file changed while it was being read.
        StorageError: Another process is writing the same output, or a process that was started ended.
        CollectionNotFoundError: Nothing is live yet.
    """
    began = time.monotonic()
    request = request or BatchRequest()
    inputs = [*files, *exclude]
    check_no_input_is_replaced(out, inputs)
    check_output(out)
    key = {
        "request": asdict(request),
        "conventions": conventions.as_dict(),
        "part_items": part_items,
        "inputs": file_digests(inputs),
        "files": len(files),
    }
    rejects_path = out.with_name(out.name + ".rejects.parquet")
    with work_folder(out, "recommending", key) as work, rejects_file(rejects_path) as rejects:
        collection = _collection(work, settings, engine)
        exclusions = Exclusions.read(exclude, rejects, conventions) if exclude else None
        seen = _Seen()
        fields = item_fields_read(settings, engine, collection)
        batches = map(seen.see, read_items(files, rejects, fields=fields, conventions=conventions))
        parts = _parts(batches, part_items, work, exclusions)
        tally = _Tally(progress)
        texts = sum(file.stat().st_size for file in files) // _ITEM_BYTES
        with _answerer(settings, engine, collection, request, texts, processes, progress) as answerer:
            loaded = time.monotonic()
            answerer.answer_all(parts, tally)
        answering_seconds = time.monotonic() - loaded
        # The parts of an earlier attempt and of this one must be of the same files.
        if file_digests(inputs) != key["inputs"]:
            raise InputChangedError(f"{', '.join(map(str, inputs))}: a file changed while it was being read; run again")
        with open_table(out, schema_of(request.options), conventions) as write:
            for path in tally.paths:
                write(pq.read_table(path).to_pylist())
    return BatchSummary(
        collection=collection,
        items=tally.items,
        reused=tally.reused,
        rejected=rejects.count,
        recommendations=tally.recommendations,
        short=tally.short,
        repeated=tally.items - len(seen.ids),
        rejects_file=rejects_path if rejects.count else None,
        seconds=time.monotonic() - began,
        items_per_second=(tally.items - tally.reused) / answering_seconds if answering_seconds else 0.0,
        peak_bytes=_peak_bytes(),
        hints=seen.hints.lines(),
    )


class _Seen:
    """What is noticed of the items while they are read."""

    def __init__(self) -> None:
        self.hints = CategoryHints()
        self.ids: set[int] = set()

    def see(self, items: list[Item]) -> list[Item]:
        """Look at items on their way."""
        for item in items:
            self.hints.see([] if item.category is None else [item.category])
            self.ids.add(hash((item.site, item.item_id)))
        return items


class _Tally:
    """The parts in the order of the items, and what they add up to."""

    def __init__(self, progress: Progress) -> None:
        self.paths: list[Path] = []
        self.items = self.reused = self.recommendations = self.short = 0
        self._progress = progress

    def is_done(self, part: Part) -> bool:
        """Note a part, and whether an interrupted call has answered it."""
        self.paths.append(part.path)
        if not part.path.is_file():
            return False
        self.add(PartSummary.read(part.path))
        self.reused += len(part.items)
        self._progress.advance(len(part.items))
        return True

    def add(self, summary: PartSummary) -> None:
        """Add a part's numbers."""
        self.items += summary.items
        self.recommendations += summary.recommendations
        self.short += summary.short


class _Answerer(Protocol):
    def answer_all(self, parts: Iterable[Part], tally: _Tally) -> None: ...


class _Here:
    """Answers in this process."""

    def __init__(self, answering: Answering, progress: Progress) -> None:
        self._answering, self._progress = answering, progress

    def answer_all(self, parts: Iterable[Part], tally: _Tally) -> None:
        for part in parts:
            if not tally.is_done(part):
                tally.add(self._answering.answer(part, self._progress))


class _InProcesses:
    """Answers in processes of its own."""

    def __init__(self, pool: ProcessPoolExecutor, ahead: int, progress: Progress) -> None:
        self._pool, self._ahead, self._progress = pool, ahead, progress

    def answer_all(self, parts: Iterable[Part], tally: _Tally) -> None:
        under_way: list[Future[PartSummary]] = []
        try:
            for part in parts:
                if tally.is_done(part):
                    continue
                under_way.append(self._pool.submit(answer_in_process, part))
                if len(under_way) > self._ahead:
                    self._take(under_way, tally)
            while under_way:
                self._take(under_way, tally)
        except BrokenProcessPool:
            raise StorageError(
                "a process of the batch was killed, perhaps for want of memory; what is answered is kept, and the same "
                "command goes on from there, with fewer --processes if need be"
            ) from None

    def _take(self, under_way: list[Future[PartSummary]], tally: _Tally) -> None:
        summary = under_way.pop(0).result()
        tally.add(summary)
        self._progress.advance(summary.items)


@contextmanager
def _answerer(
    settings: Settings,
    engine: Engine,
    collection: str,
    request: BatchRequest,
    texts: int,
    processes: int,
    progress: Progress,
) -> Iterator[_Answerer]:
    if processes == 1:
        yield _Here(Answering.load(settings, engine, collection, request, texts), progress)
        return
    # Not forked: threads of torch and of the engine do not survive a fork.
    threads = max(1, (settings.threads or os.cpu_count() or 1) // processes)
    own = settings.model_copy(update={"threads": threads})
    with ProcessPoolExecutor(
        processes,
        get_context("spawn"),
        initializer=start_process,
        initargs=(own, collection, request, texts // processes),
    ) as pool:
        try:
            yield _InProcesses(pool, processes * _PARTS_AHEAD, progress)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collection(work: Path, settings: Settings, engine: Engine) -> str:
    """The collection that answered before an interruption; if there was none, or it is gone, the live one."""
    answered = sorted(work.glob("part-*.parquet"))
    if answered:
        collection = PartSummary.read(answered[0]).collection
        if collection in engine.collections():
            return collection
        for part in answered:
            part.unlink()
    return alias_target(engine, settings.alias)


def _parts(batches: Iterable[list[Item]], part_items: int, work: Path, exclusions: Exclusions | None) -> Iterator[Part]:
    items = (item for batch in batches for item in batch)
    number = 0
    while chunk := list(islice(items, part_items)):
        excluded = None if exclusions is None else [exclusions.of(item) for item in chunk]
        yield Part(work / f"part-{number:06}.parquet", chunk, excluded)
        number += 1


def _peak_bytes() -> int:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    # In kilobytes, but for macOS (getrusage(2)).
    return int(largest if sys.platform == "darwin" else largest * 1_024)
