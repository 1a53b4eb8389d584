"""ESCI's judged queries, divided into those that students learn from and those that they are measured on."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.evaluation import Evaluation, Measure
from keydistill.tables import normalize_keyphrase

_QUICK_KEYPHRASES = 1_000


@dataclass(frozen=True, slots=True)
class Fold:
    """Some of the judged queries, which nothing is learned of.

    Attributes:
        folder: Folder of the fold's signals and students.
        queries: The fold's queries, normalised.
    """

    folder: Path
    queries: frozenset[str]

    @property
    def train(self) -> Path:
        """The folder of the signals that students learn from."""
        return self.folder / "train"

    @property
    def test(self) -> Path:
        """The folder of the signals that students are measured on."""
        return self.folder / "test"

    def import_signals(self, data: Path, command: Callable[..., None], *, quick: bool) -> None:
        """Import what is learned and what is measured, if that was not done before.

        The folder to learn from has no query of the fold, and no item that is judged for one: neither among the pairs
        nor among the items, nor in the inventory.
        """
        if self.train.is_dir() and self.test.is_dir():
            return
        source = self.folder / "source"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(data, source, copy_function=shutil.copyfile)
        judged = pq.read_table(source / "judgments.parquet")
        in_fold = self._has_query(judged["query"])
        split = pc.if_else(in_fold, "test", "train")
        pq.write_table(
            judged.set_column(judged.column_names.index("split"), "split", split), source / "judgments.parquet"
        )
        if quick:
            keyphrases = pq.read_table(source / "keyphrases.parquet")
            pq.write_table(keyphrases.slice(0, _QUICK_KEYPHRASES), source / "keyphrases.parquet")
        command("signals", "import", "esci", source, "--split", "test", "--out", self.test, "--force")
        items = pc.unique(judged["item_id"].filter(in_fold).cast(pa.string()))
        for path in source.glob("*.parquet"):
            table = pq.read_table(path)
            for name in ("query", "keyphrase"):
                if name in table.column_names:
                    table = table.filter(pc.invert(self._has_query(table[name])))
            if "item_id" in table.column_names:
                table = table.filter(pc.invert(pc.is_in(table["item_id"].cast(pa.string()), value_set=items)))
            pq.write_table(table, path)
        command("signals", "import", "esci", source, "--split", "train", "--out", self.train, "--force")

    def _has_query(self, texts: pa.ChunkedArray) -> pa.Array:
        return pa.array([normalize_keyphrase(text) in self.queries for text in texts.to_pylist()])


def folds_of(data: Path, folder: Path, count: int | None) -> list[Fold]:
    """All judged queries in folds of equal size, by the hash of their text; with None, one of the split "test"."""
    judged = pq.read_table(data / "judgments.parquet", columns=["query", "split"])
    if count is None:
        test = judged.filter(pc.equal(judged["split"], "test"))["query"].to_pylist()
        return [Fold(folder, frozenset(map(normalize_keyphrase, test)))]
    queries = sorted({normalize_keyphrase(query) for query in judged["query"].to_pylist()}, key=_hash)
    return [Fold(folder / f"fold-{number}-of-{count}", frozenset(queries[number::count])) for number in range(count)]


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of the units of all folds, so that a resample draws from all queries; estimates are left out.

    An item that is judged for queries of two folds is two items.
    """
    items = np.cumsum([0, *(len(each.item_ids) for each in evaluations)])
    keyphrases = np.cumsum([0, *(len(each.keyphrases) for each in evaluations)])
    names = [name for name in evaluations[0].measures if all(name in each.measures for each in evaluations)]
    scored = [each.pairs for each in evaluations if each.pairs is not None]
    return replace(
        evaluations[0],
        estimates={},
        supports={},
        categories=(),
        dimensions={},
        histogram=None,
        samples=(),
        item_ids=tuple(f"{fold}: {item}" for fold, each in enumerate(evaluations) for item in each.item_ids),
        keyphrases=tuple(keyphrase for each in evaluations for keyphrase in each.keyphrases),
        measures={
            name: Measure(
                evaluations[0].measures[name].unit,
                np.concatenate([each.measures[name].numerators for each in evaluations]),
                np.concatenate([each.measures[name].denominators for each in evaluations]),
            )
            for name in names
        },
        pairs=replace(
            scored[0],
            items=np.concatenate([each.items + first for each, first in zip(scored, items[:-1], strict=True)]),
            keyphrases=np.concatenate(
                [each.keyphrases + first for each, first in zip(scored, keyphrases[:-1], strict=True)]
            ),
            scores=np.concatenate([each.scores for each in scored]),
            relevant=np.concatenate([each.relevant for each in scored]),
        ),
    )


def _hash(query: str) -> str:
    return hashlib.blake2b(query.encode(), digest_size=8, person=b"fold").hexdigest()
