"""The sample of what services are asked for: fair, bounded, forgotten, private; and gate, tune and mining read it."""

import asyncio
import logging
import multiprocessing
import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs import MiningRecipe, mine
from keydistill.distillation.signals import SignalFiles, load_items
from keydistill.encoders import Student
from keydistill.ingest.tuning import Tuner, tuner
from keydistill.retrieval import Item, read_items
from keydistill.serve import SampledItem, SampleFile
from keydistill.serve.sample import Sample
from keydistill.serve.schemas import ServiceItem
from keydistill.settings import load_settings
from keydistill.tables import RejectLog
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.serve.conftest import TITLES, OpenBench
from tests.support.gate_bench import only_loads, report_of
from tests.support.gate_bench import open_bench as open_bench_on
from tests.support.inventories import write_inventory

WEEK = 7 * 86_400.0


def file_of(folder: Path, seconds: float = WEEK, **options: Any) -> SampleFile:
    return SampleFile(folder / "asked" / "keyphrases.jsonl", seconds, **options)


def asked(number: int, draw: float | None = None, at: float = 1_000.0) -> SampledItem:
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return SampledItem(
        f"i{number}", f"title {number}", None, None, None, when, random.random() if draw is None else draw
    )


def sampled(folder: Path, items: list[ServiceItem], most: int) -> list[SampledItem]:
    sample = Sample(file_of(folder), most)
    for item in items:
        sample.offer([item])
    sample.close()
    return file_of(folder).read()


def test_it_is_bounded_and_every_item_is_as_likely(tmp_path: Path) -> None:
    counts = [0] * 20
    for turn in range(50):
        kept = sampled(tmp_path / str(turn), [ServiceItem(id=str(n), title=f"t {n}") for n in range(20)], 8)
        assert len(kept) == 8
        for item in kept:
            counts[int(item.item_id)] += 1
    # 20 on average, with a standard deviation of 3.5.
    assert min(counts) > 0
    assert max(counts) < 42


def test_what_is_asked_often_is_in_it_once_and_likelier(tmp_path: Path) -> None:
    items = [ServiceItem(title="often")] * 200 + [ServiceItem(title=f"rare {n}") for n in range(20)]
    drawn = [sampled(tmp_path / str(turn), items, 2) for turn in range(20)]
    assert all(len({item.key for item in kept}) == 2 for kept in drawn)
    assert sum(any(item.title == "often" for item in kept) for kept in drawn) > 10


def test_samples_of_several_processes_are_merged_as_one(tmp_path: Path) -> None:
    offered = [asked(number) for number in range(60)]
    file = file_of(tmp_path, clock=lambda: 1_000.0)
    for start in (0, 20, 40):
        file.merge(offered[start : start + 20], 10)
    assert file.read() == sorted(offered, key=lambda item: item.draw)[:10]


def _merge_some(folder: Path, start: int) -> None:
    for number in range(start, start + 20):
        file_of(folder, clock=lambda: 1_000.0).merge([asked(number)], 1_000)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_merge_some, args=(tmp_path, start)) for start in (0, 20, 40)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(file_of(tmp_path, clock=lambda: 1_000.0).read()) == 60


def test_texts_are_gone_after_their_time(tmp_path: Path) -> None:
    now = [1_000.0]
    file = file_of(tmp_path, 60.0, clock=lambda: now[0])
    file.merge([asked(1, at=1_000.0), asked(2, at=1_030.0)], 5)
    now[0] = 1_070.0
    # Not even before the file is written again.
    assert [item.item_id for item in file.read()] == ["i2"]
    # Turned off, too.
    file.merge((), None)
    assert "title 1" not in file.path.read_text()
    now[0] = 1_200.0
    file.merge((), None)
    assert not file.path.exists()


def test_texts_are_for_the_owner_alone_and_a_killed_writer_leaves_none(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        file = file_of(tmp_path, clock=lambda: 1_000.0)
        file.merge([asked(1)], 5)
    finally:
        os.umask(umask)
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    left = file.path.with_name(".keyphrases.4711.jsonl")
    left.write_text("a text that nobody would forget")
    other = file.path.with_name(".keyphrases.eu.4711.jsonl")
    other.write_text("of another alias, whose lock this is not")
    file.merge([asked(2)], 5)
    assert not left.exists()
    assert other.exists()


def test_a_damaged_file_is_begun_anew_and_not_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = file_of(tmp_path, clock=lambda: 1_000.0)
    file.path.parent.mkdir(parents=True)
    file.path.write_text('{"item_id": "1", "title": "secret", "draw": "much"}\n')
    file.merge([asked(1)], 5)
    assert [item.item_id for item in file.read()] == ["i1"]
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "asked").write_text("a file where the folder should be")
    sample = Sample(file_of(tmp_path), 5)
    sample.offer([ServiceItem(title="t")])
    sample.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_the_service_samples_what_it_answered_and_only_by_option(
    open_bench: OpenBench, stub_home: tuple[EmbeddedEngine, Path, dict[str, str]]
) -> None:
    file = SampleFile.of(load_settings(home=stub_home[1]))
    body = {"items": [{"id": "a", "title": TITLES[0], "category_path": "Goods > tablet", "site": "us"}]}

    async def run(**options: Any) -> list[SampledItem]:
        async with open_bench(**options) as bench:
            assert (await bench.http.post("/v1/recommend", json=body)).status_code == 200
            assert (await bench.http.post("/v1/embed", json={"items": [{"title": TITLES[1]}]})).status_code == 200
            assert (await bench.http.post("/v1/embed", json={"items": [{"title": ""}]})).status_code == 422
        return file.read()

    assert asyncio.run(run()) == []
    try:
        items = {item.title: item for item in asyncio.run(run(sample_items=10))}
        assert set(items) == set(TITLES[:2])
        own = items[TITLES[0]]
        assert (own.item_id, own.category_path, own.site) == ("a", "Goods > tablet", "us")
    finally:
        file.forget()


@pytest.fixture
def written(tmp_path: Path) -> SampleFile:
    """A sample that a service wrote."""
    items = [
        ServiceItem(id=f"a{number}", title=f"red lamp {number}", category_path="Home > Lamps", site="us")
        for number in range(60)
    ]
    sampled(tmp_path, [*items, ServiceItem(title="blue\u2028sofa, 2\tseats", category_id="77")], 100)
    return file_of(tmp_path)


def test_the_readers_of_items_read_all_of_it(written: SampleFile) -> None:
    rejects = RejectLog()
    items = [item for batch in read_items([written.path], rejects) for item in batch]
    assert (len(items), rejects.count) == (61, 0)
    assert Item("a1", "red lamp 1", "Home > Lamps", "us") in items
    (sofa,) = [item for item in items if item.category == "77"]
    assert (sofa.item_id.startswith("asked-"), sofa.site) == (True, None)


def test_gate_and_tune_ask_with_it(
    written: SampleFile, tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_loads(monkeypatch, tiny_student)
    # As many as would be asked with take seconds.
    monkeypatch.setattr(tuner, "LEAST_ITEMS", 5)
    with open_bench_on("embedded", tmp_path / "home", "", str(tiny_folder)) as bench:
        inventory = write_inventory(tmp_path / "inventory.csv", 80)
        report = report_of(bench.build(inventory, gate_items=written.path))
        assert report.items == f"60 items of {written.path}"
        tuning = Tuner(bench.settings, bench.engine, bench.store).measure(items=written.path, queries=10)
        assert tuning.items == f"10 items of {written.path}"


def test_retrain_mines_pairs_of_a_copy_beside_the_signals(
    written: SampleFile, tmp_path: Path, tiny_student: Student
) -> None:
    signals = tmp_path / "signals"
    signals.mkdir()
    pq.write_table(pa.table({"item_id": ["a1"], "title": ["of the seller"], "site": ["us"]}), signals / "items.parquet")
    (signals / "judgments.parquet").touch()
    assert written.copy(signals / "items.jsonl") == 61
    items = load_items(SignalFiles.of_folder(signals).items, RejectLog())
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
    assert (len(titles), titles["a1"], titles["a2"]) == (61, "of the seller", "red lamp 2")
    inventory = pa.table({"keyphrase": [f"lamp {number}" for number in range(30)]})
    mined = mine(tiny_student, items, inventory, MiningRecipe(student_top=2, near_miss=0, random=0))
    assert set(titles) == set(mined.pairs["item_id"].to_pylist())


def test_items_that_differ_in_a_field_are_two(tmp_path: Path) -> None:
    brands: list[str | None] = ["a", "b", "a"]
    items = [*(ServiceItem(title="lamp", fields={"brand": brand}) for brand in brands), ServiceItem(title="lamp")]
    assert len({item.item_id for item in sampled(tmp_path, items, 10)}) == 3
