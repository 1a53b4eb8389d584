"""One process that answers parts of a batch, all by the same generation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.children import die_with_parent
from keydistill.files import whole_file
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.retrieval.batch.output import part_schema, rows_of
from keydistill.retrieval.batch.request import BatchRequest
from keydistill.retrieval.generation import Generation, student_loader
from keydistill.retrieval.item_filters import item_filter
from keydistill.retrieval.items import Item
from keydistill.retrieval.lists import Reranker
from keydistill.retrieval.reranking import reranker_of
from keydistill.settings import Settings
from keydistill.vectorstore import Engine, Filter, open_engine, search_params_of

_SUMMARY = b"keydistill.part"
# Number of items per forward pass and batched query.
_BATCH_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Items of a batch that are answered together.

    Attributes:
        path: File for the answers.
        items: The items.
        excluded: For each item the keyphrases that its list must not have; None where the batch excludes none.
    """

    path: Path
    items: Sequence[Item]
    excluded: Sequence[Sequence[str]] | None


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What stands in a part's file: who answered, and how many items and keyphrases, and how many items got too few."""

    collection: str
    items: int
    recommendations: int
    short: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """The summary in a part's file."""
        return cls(**json.loads(pq.read_schema(path).metadata[_SUMMARY]))

    def metadata(self) -> dict[bytes, str]:
        """The summary as the metadata of a part's file."""
        return {_SUMMARY: json.dumps(asdict(self))}


class Answering:
    """A generation, and the assistant where it is needed, that answer parts."""

    def __init__(self, generation: Generation, request: BatchRequest, reranker: Reranker | None) -> None:
        self._generation, self._request, self._reranker = generation, request, reranker
        self._schema = part_schema(request.options)

    @classmethod
    def load(cls, settings: Settings, engine: Engine, collection: str, request: BatchRequest, texts: int) -> Self:
        """The generation of a collection, loaded for `texts` items, and the assistant if it is to rerank."""
        generation = Generation.load(
            engine, collection, student_loader(settings, texts=texts), untuned=search_params_of(settings)
        )
        reranker = reranker_of(settings) if request.options is not None and request.options.rerank else None
        return cls(generation, request, reranker)

    def answer(self, part: Part, progress: Progress = NO_PROGRESS) -> PartSummary:
        """Answer the items of a part, and write its file, which appears whole."""
        tables, short = [self._schema.empty_table()], 0
        for start in range(0, len(part.items), _BATCH_ITEMS):
            items = part.items[start : start + _BATCH_ITEMS]
            lists = self._generation.recommend(
                [item.title for item in items],
                self._request.limit,
                [self._filter(item) for item in items],
                categories=[item.category for item in items],
                fields=[item.fields for item in items],
                options=self._request.options,
                excluded=None if part.excluded is None else part.excluded[start : start + _BATCH_ITEMS],
                reranker=self._reranker,
            )
            tables.append(pa.Table.from_pylist(rows_of(items, lists, self._schema), schema=self._schema))
            short += sum(len(recommendations) < self._request.limit for recommendations in lists)
            progress.advance(len(items))
        table = pa.concat_tables(tables)
        summary = PartSummary(self._generation.collection, len(part.items), len(table), short)
        with whole_file(part.path) as draft:
            pq.write_table(table.replace_schema_metadata(summary.metadata()), draft, compression="zstd")
        return summary

    def _filter(self, item: Item) -> Filter:
        return item_filter(
            item,
            match_category=self._request.match_category,
            min_search_volume=self._request.min_search_volume,
        )


# Of a process that was started for a batch.
_own: Answering | None = None


def start_process(settings: Settings, collection: str, request: BatchRequest, texts: int) -> None:
    """Prepare a process that was started for parts of a batch; everything it opens ends with it."""
    global _own
    die_with_parent()
    _own = Answering.load(settings, open_engine(settings), collection, request, texts)


def answer_in_process(part: Part) -> PartSummary:
    """Answer a part in a process that `start_process` prepared."""
    assert _own is not None
    return _own.answer(part)
