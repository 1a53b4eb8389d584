"""A file of items, answered by one generation."""

import dataclasses
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.encoders import Student
from keydistill.errors import CollectionNotFoundError, InputError, StorageError, StudentError
from keydistill.progress import NoProgress
from keydistill.retrieval import BatchRequest, Generation, ListOptions, recommend_file
from keydistill.retrieval.batch.answering import Answering, Part, PartSummary
from keydistill.settings import Settings, load_settings
from keydistill.storage import SharedStorage, share_student
from keydistill.vectorstore import CollectionSpec, Engine, PointBatch, open_engine
from tests.support.corpus import point_id

NOUNS = ("tablet", "phone", "lamp", "shoe", "watch")
TITLES = [f"{noun} number {number}" for number, noun in enumerate(NOUNS * 5)]
KEYPHRASES = [f"{noun} {word}" for noun in NOUNS for word in ("case", "cases", "red")]
Row = tuple[str, int, str, float]
OPTIONS = ListOptions(merge_variants=True, diversity=0.2, explain=True)


@dataclasses.dataclass
class Shop:
    settings: Settings
    engine: Engine
    items: Path
    student: Student

    def build(self, name: str) -> str:
        metadata = {"student": str(self.student.source), "student_version": self.student.version}
        self.engine.create(name, CollectionSpec(self.student.dimension, quantization="none"), metadata)
        payloads = [{"keyphrase": text, "search_volume": len(text)} for text in KEYPHRASES]
        vectors = self.student.embed_keyphrases(KEYPHRASES)
        self.engine.upsert(name, PointBatch([point_id(text) for text in KEYPHRASES], vectors, payloads))
        self.engine.finish(name)
        self.engine.swap_alias(self.settings.alias, name, self.engine.aliases().get(self.settings.alias))
        return name

    def online(self, request: BatchRequest, excluded: dict[str, list[str]]) -> list[Row]:
        generation = Generation.live(self.settings, self.engine)
        rows = []
        for number, title in enumerate(TITLES):
            own = excluded.get(f"i{number}", [])
            found = generation.recommend(
                [title], request.limit, options=request.options, excluded=[own] if excluded else None
            )
            rows += [(f"i{number}", rank, one.keyphrase, round(one.score, 6)) for rank, one in enumerate(found[0], 1)]
        return rows


@pytest.fixture
def shop(tmp_path: Path, tiny_student: Student) -> Iterator[Shop]:
    settings = load_settings(home=tmp_path / "home", student=str(tiny_student.source), runtime="numpy", threads=1)
    items = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": [f"i{number}" for number in range(len(TITLES))], "title": TITLES}), items)
    engine = open_engine(settings)
    own = Shop(settings, engine, items, tiny_student)
    own.build("keyphrases-a")
    yield own
    engine.close()


def assert_alike(rows: Sequence[Row], others: Sequence[Row]) -> None:
    """The same answers, but for what arithmetic on other shapes changes in the seventh digit, and the order of ties."""
    assert [row[:2] for row in rows] == [row[:2] for row in others]
    assert [row[3] for row in rows] == pytest.approx([row[3] for row in others], abs=1e-5)
    for row, other in zip(rows, others, strict=True):
        tied = {one[2] for one in others if one[0] == row[0] and abs(one[3] - row[3]) < 2e-5}
        assert row[2] in tied | {other[2]}


def rows_of(out: Path) -> list[Row]:
    return [
        (row["item_id"], row["rank"], row["keyphrase"], round(row["score"], 6))
        for row in pq.read_table(out).to_pylist()
    ]


@pytest.mark.parametrize("options", [None, OPTIONS])
def test_each_item_gets_what_it_would_get_alone(shop: Shop, tmp_path: Path, options: ListOptions | None) -> None:
    request = BatchRequest(limit=4, options=options)
    out = tmp_path / "out.parquet"
    summary = recommend_file(shop.settings, shop.engine, [shop.items], out, request, part_items=7)
    expected = shop.online(request, {})
    assert_alike(rows_of(out), expected)
    assert (summary.items, summary.recommendations, summary.reused) == (len(TITLES), len(expected), 0)
    assert summary.collection == "keyphrases-a"
    assert summary.peak_bytes > 10_000_000
    assert {"variants", "value", "ranks"} & set(pq.read_schema(out).names) == (
        set() if options is None else {"variants", "value", "ranks"}
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "items.parquet", "out.parquet"]


def test_what_is_bid_on_already_is_left_out(shop: Shop, tmp_path: Path) -> None:
    pairs = tmp_path / "bids.csv"
    pairs.write_text("item_id,keyphrase\ni0,Tablet  CASE\ni0,tablet red\ni3,\n", encoding="utf-8")
    request = BatchRequest(limit=4, options=ListOptions())
    out = tmp_path / "out.parquet"
    summary = recommend_file(shop.settings, shop.engine, [shop.items], out, request, exclude=[pairs])
    expected = shop.online(request, {"i0": ["tablet case", "tablet red"]})
    assert_alike(rows_of(out), expected)
    assert {"tablet case", "tablet red"}.isdisjoint(keyphrase for item, _, keyphrase, _ in rows_of(out) if item == "i0")
    # The pair without a keyphrase is in the rejects.
    assert summary.rejected == 1
    assert summary.rejects_file is not None


def test_an_interrupted_batch_goes_on_by_the_generation_that_began_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    answer = Answering.answer
    answered: list[Part] = []

    def fail_at_the_third(self: Answering, part: Part, progress: NoProgress) -> PartSummary:
        if len(answered) == 2:
            raise KeyboardInterrupt
        answered.append(part)
        return answer(self, part, progress)

    monkeypatch.setattr(Answering, "answer", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        recommend_file(shop.settings, shop.engine, [shop.items], out, part_items=7)
    assert not out.exists()
    monkeypatch.setattr(Answering, "answer", answer)
    shop.build("keyphrases-b")
    summary = recommend_file(shop.settings, shop.engine, [shop.items], out, part_items=7)
    assert (summary.collection, summary.items, summary.reused) == ("keyphrases-a", len(TITLES), 14)
    assert [row[0] for row in rows_of(out)] == [f"i{number}" for number in range(len(TITLES)) for _ in range(10)]
    again = recommend_file(shop.settings, shop.engine, [shop.items], out, part_items=7)
    assert (again.collection, again.reused) == ("keyphrases-b", 0)


@pytest.mark.parametrize("change", ["request", "collection gone"])
def test_another_question_or_a_deleted_collection_begins_anew(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    out = tmp_path / "out.parquet"
    answer = Answering.answer

    def once(self: Answering, part: Part, progress: NoProgress) -> PartSummary:
        monkeypatch.setattr(Answering, "answer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        return answer(self, part, progress)

    monkeypatch.setattr(Answering, "answer", once)
    with pytest.raises(KeyboardInterrupt):
        recommend_file(shop.settings, shop.engine, [shop.items], out, part_items=7)
    monkeypatch.setattr(Answering, "answer", answer)
    if change == "collection gone":
        shop.build("keyphrases-b")
        shop.engine.drop("keyphrases-a")
    limit = 2 if change == "request" else 10
    summary = recommend_file(shop.settings, shop.engine, [shop.items], out, BatchRequest(limit=limit), part_items=7)
    assert (summary.reused, summary.items) == (0, len(TITLES))
    assert summary.collection == ("keyphrases-b" if change == "collection gone" else "keyphrases-a")


def test_several_processes_answer_alike_and_a_killed_one_is_one_line(shop: Shop, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    request = BatchRequest(limit=4, options=OPTIONS)
    recommend_file(shop.settings, shop.engine, [shop.items], one, request, part_items=7)
    summary = recommend_file(shop.settings, shop.engine, [shop.items], two, request, processes=2, part_items=7)
    assert_alike(rows_of(two), rows_of(one))
    assert summary.items == len(TITLES)

    class Killer(NoProgress):
        def advance(self, count: int) -> None:
            for child in multiprocessing.active_children():
                child.kill()

    three = tmp_path / "three.parquet"
    with pytest.raises(StorageError, match="was killed") as refused:
        recommend_file(
            shop.settings, shop.engine, [shop.items], three, request, processes=2, part_items=1, progress=Killer()
        )
    assert "\n" not in str(refused.value)
    again = recommend_file(shop.settings, shop.engine, [shop.items], three, request, part_items=1)
    assert again.reused >= 1
    assert_alike(rows_of(three), rows_of(one))


def test_nothing_live_and_an_output_over_an_input_are_refused(shop: Shop, tmp_path: Path) -> None:
    other = shop.settings.model_copy(update={"alias": "nobody"})
    with pytest.raises(CollectionNotFoundError, match="names no collection yet"):
        recommend_file(other, shop.engine, [shop.items], tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"items\.parquet"):
        recommend_file(shop.settings, shop.engine, [shop.items], shop.items)


def test_a_killed_command_is_taken_up(shop: Shop, tmp_path: Path) -> None:
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keydistill import load_settings, open_engine\n"
        "from keydistill.retrieval import recommend_file\n"
        "home, student, items, out = sys.argv[1:]\n"
        "settings = load_settings(home=home, student=student, runtime='numpy', threads=1)\n"
        "class Told:\n"
        "    def start(self, step, total, unit): ...\n"
        "    def advance(self, count):\n"
        "        print(count, flush=True)\n"
        "        sys.stdin.readline()\n"
        "recommend_file(settings, open_engine(settings), [Path(items)], Path(out), part_items=7, progress=Told())\n"
    )
    arguments = [shop.settings.home, shop.student.source, shop.items, out]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        # A part's file is there once the next part tells of itself.
        for _ in range(2):
            assert child.stdout.readline() == "7\n"
            child.stdin.write("\n")
            child.stdin.flush()
        assert child.stdout.readline() == "7\n"
        child.kill()
    assert not out.exists()
    summary = recommend_file(shop.settings, shop.engine, [shop.items], out, part_items=7)
    assert summary.reused == 14
    recommend_file(shop.settings, shop.engine, [shop.items], whole, part_items=7)
    assert_alike(rows_of(out), rows_of(whole))


def test_the_student_comes_from_the_shared_storage(shop: Shop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / Path(shop.student.source).name
    shop.engine.set_metadata("keyphrases-a", {"student": str(elsewhere)})
    out = tmp_path / "out.parquet"
    with pytest.raises(StudentError, match="elsewhere"):
        recommend_file(shop.settings, shop.engine, [shop.items], out)
    shared = str(tmp_path / "shared")
    share_student(SharedStorage(shared, tmp_path), str(shop.student.source), shop.student.version)
    settings = shop.settings.model_copy(update={"shared": shared})
    assert recommend_file(settings, shop.engine, [shop.items], out).items == len(TITLES)
