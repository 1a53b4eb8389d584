"""The gate: what is worse than the live collection is refused, for the right reason."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders import Assistant, Scores, Student
from keydistill.errors import GateRefusedError, InputError, RunStateError, VerificationError
from keydistill.execution import Reindexer
from keydistill.ingest.aliases import AliasChanges
from keydistill.ingest.filters.shapes import SHAPES
from keydistill.ingest.gate.gate import Gate
from keydistill.ingest.gate.items import gate_items
from keydistill.ingest.gate.report import GateReport, Row
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.snapshot.snapshot import Snapshot
from keydistill.ingest.steps import ReindexSteps
from keydistill.progress import NoProgress
from keydistill.runs import reindex_of
from keydistill.settings import load_settings
from keydistill.vectorstore import Engine, Filter, Hit, PointBatch, SearchParams, Vectors
from tests.support.catalogue import category_of, write_catalogue, write_items
from tests.support.front_process import FrontProcess
from tests.support.gate_bench import Bench, losing, only_loads, open_bench, report_of
from tests.support.inventories import write_inventory
from tests.support.redis_server import RedisServer
from tests.support.tiny_models import make_tiny_student

BASE = "sentence-transformers/all-MiniLM-L6-v2"
CUT = 24


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """The base student with the weights of every layer in another order."""
    import torch
    from sentence_transformers import SentenceTransformer

    from keydistill.encoders import find_model

    folder = tmp_path_factory.mktemp("shuffled") / "student"
    model = SentenceTransformer(str(find_model(BASE)), device="cpu")
    order = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=order)].reshape(weights.shape))
    model.save(str(folder))
    return Student.load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("catalogue") / "inventory.csv")


@pytest.fixture(scope="module", params=["embedded", "server"])
def opened(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    front: FrontProcess,
    student: Student,
    catalogue: Path,
) -> Iterator[Bench]:
    """The base student's collection of the catalogue, live."""
    with (
        pytest.MonkeyPatch.context() as patch,
        open_bench(request.param, tmp_path_factory.mktemp(request.param) / "home", front.url, BASE) as bench,
    ):
        only_loads(patch, student)
        bench.build(catalogue)
        yield bench


@pytest.fixture
def bench(opened: Bench, student: Student, shuffled: Student, monkeypatch: pytest.MonkeyPatch) -> Bench:
    only_loads(monkeypatch, student, shuffled)
    return opened


@pytest.fixture
def tiny(tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The embedded engine with the tiny student; nothing is live."""
    only_loads(monkeypatch, tiny_student)
    with open_bench("embedded", tmp_path / "home", "", str(tiny_folder)) as opened:
        yield opened


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", 200)


class CategoryReferee:
    """Stands in for an assistant that was trained: relevant is what is about the same."""

    version = "referee-1"

    def score(
        self,
        titles: Sequence[str],
        keyphrases: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: object = None,
    ) -> Scores:
        pairs = zip(titles, keyphrases, strict=True)
        return np.array([0.9 if category_of(title) == category_of(keyphrase) else 0.1 for title, keyphrase in pairs])


def refused(bench: Bench, build: Callable[[], object]) -> GateReport:
    """The report of a candidate that must be refused; nothing else may have happened."""
    live = bench.live
    with pytest.raises(GateRefusedError) as raised:
        build()
    run, report = bench.last, report_of(bench.last)
    assert (run.state, run.failed_in) == ("failed", "gating")
    assert bench.live == live
    assert bench.engine.count(run.collection) == run.rows
    line = str(raised.value)
    assert "\n" not in line
    assert all(name in line for name in report.failed)
    assert f"keydistill gate {run.id}" in line
    assert f"keydistill collections swap {run.id} --force --why REASON" in line
    return report


def test_a_student_with_shuffled_weights_is_refused(bench: Bench, catalogue: Path, shuffled: Student) -> None:
    report = refused(bench, lambda: bench.build(catalogue, student=shuffled.source))
    assert report.failed[0] == "same category@10"
    # Its vectors lie so close together that int8 may confuse them, too.
    assert all(name.startswith("recall@10") for name in report.failed[1:])
    (row,) = [row for row in report.rows if row.name == "same category@10"]
    assert row.value is not None
    assert row.live is not None
    assert row.value < 0.5 * row.live
    assert "no assistant judges" in row.note


def test_an_assistant_refuses_a_student_with_shuffled_weights(
    bench: Bench, catalogue: Path, shuffled: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Assistant, "load", lambda *_, **__: CategoryReferee())
    judging: dict[str, Any] = {"gate_items": write_items(tmp_path / "items.csv"), "assistant": str(tmp_path)}
    report = refused(bench, lambda: bench.build(catalogue, student=shuffled.source, **judging))
    assert report.failed[0] == "relevant@10"
    assert "same category@10" not in report.failed
    assert report.referee == "referee-1"
    rows = {row.name: row for row in report.rows}
    assert "difference -0." in rows["relevant@10"].note
    assert rows["same category@10"].note == "for information: an assistant judges"


def test_a_truncated_dimension_is_refused(bench: Bench, catalogue: Path, student: Student) -> None:
    report = refused(bench, lambda: bench.build(catalogue, dimension=CUT))
    assert "kept of the full dimension@10" in report.failed
    rows = {row.name: row for row in report.rows}
    assert (rows["dimension"].value, rows["dimension"].live) == (CUT, student.dimension)
    assert rows["dimension"].note == "cut from the student's 384; changed from 384"
    kept = rows["kept of the full dimension@10"].value
    assert kept is not None
    assert kept < 0.85


def test_one_in_a_hundred_points_missing_never_reaches_the_gate(
    bench: Bench, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, live = type(bench.engine), bench.live
    upsert = kind.upsert

    def forgetful(self: Engine, name: str, points: PointBatch) -> None:
        upsert(self, name, points)
        self.delete(name, points.ids[::100])

    monkeypatch.setattr(kind, "upsert", forgetful)
    with pytest.raises(VerificationError, match="has points 237, its snapshot says 240"):
        bench.build(catalogue, reuse_vectors=False)
    assert (bench.live, bench.last.gate) == (live, {})


def test_an_index_that_answers_one_filter_badly_is_refused(
    bench: Bench, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where HNSW has no edges for a filter: counts are right, exact search too, and the average hides it."""
    kind = type(bench.engine)
    query_batch = kind.query_batch
    fields = {"category_ids", "search_volume"}

    def holey(
        self: Engine,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        hits = query_batch(self, name, vectors, limit, filters, params)
        if params is not None and params.exact:
            return hits
        assert filters is not None
        fields_of = [{condition.field for condition in filter.must} if filter else set() for filter in filters]
        return [each[:1] + each[5:] if fields == of else each for of, each in zip(fields_of, hits, strict=True)]

    monkeypatch.setattr(kind, "query_batch", holey)
    report = refused(bench, lambda: bench.build(catalogue))
    assert report.failed == ("recall@10, category and volume",)


def test_a_good_candidate_is_put_live(bench: Bench, catalogue: Path) -> None:
    before = bench.live
    run = bench.build(catalogue)
    report = report_of(run)
    assert run.state == "live"
    assert not report.refused
    assert (report.live, report.live_student) == (before, report.student)
    assert {row.name for row in report.rows} >= {f"recall@10, {shape.name}" for shape in SHAPES}
    assert all(row.verdict == "pass" for row in report.rows if row.name != "relevant@10")


def test_a_first_build_has_absolute_thresholds(tiny: Bench, inventory: Path) -> None:
    report = report_of(tiny.build(inventory))
    assert report.against == "nothing is live: thresholds of a first build"
    assert (report.live, report.live_student) == (None, None)
    rows = {row.name: row for row in report.rows}
    assert rows["relevant@10"] == Row.not_measured("relevant@10", "no gate_items and no assistant in the settings")
    assert rows["same category@10"].note == "nothing to compare with"
    assert (rows["recall@10, site"].rule, rows["recall@10, site"].threshold) == (">=", 0.95)
    assert (rows["p99, ms"].rule, rows["p99, ms"].threshold) == ("<=", 1_000)
    assert rows["different keyphrases"].threshold == 0.05 * 200
    assert "keyphrases of the inventory stand in for items" in report.items


def test_a_first_build_that_an_assistant_finds_nothing_relevant_in_is_refused(
    tiny: Bench, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never(CategoryReferee):
        def score(
            self,
            titles: Sequence[str],
            keyphrases: Sequence[str],
            categories: Sequence[str | None] | None = None,
            progress: object = None,
        ) -> Scores:
            return np.zeros(len(titles), dtype=np.float32)

    monkeypatch.setattr(Assistant, "load", lambda *_, **__: Never())
    judging: dict[str, Any] = {"gate_items": write_items(tmp_path / "items.csv"), "assistant": str(tmp_path)}
    assert refused(tiny, lambda: tiny.build(inventory, **judging)).failed == ("relevant@10",)


def test_a_real_assistant_judges(tiny: Bench, inventory: Path, tmp_path: Path, tiny_assistant_folder: Path) -> None:
    judging: dict[str, Any] = {
        "gate_items": write_items(tmp_path / "items.csv"),
        "assistant": str(tiny_assistant_folder),
        "gate_min_relevant": 0,
    }
    tiny.build(inventory, **judging)
    report = report_of(tiny.build(inventory, **judging))
    rows = {row.name: row for row in report.rows}
    assert report.referee == Assistant.load(str(tiny_assistant_folder)).version
    assert rows["relevant@10"].value == rows["relevant@10"].live
    assert rows["relevant@10"].note.startswith("difference +0.000 [+0.000, +0.000]; judged by tiny-")
    assert report.items.startswith("48 items of ")


def test_the_live_student_is_asked_where_it_is_another(tiny: Bench, inventory: Path, tmp_path: Path) -> None:
    other = make_tiny_student(tmp_path / "other", seed=1)
    first = tiny.build(inventory)
    report = report_of(tiny.build(inventory, student=str(other)))
    assert report.live == first.collection
    assert report.live_student == first.student_version != report.student
    assert all(row.live is not None for row in report.rows if row.name.startswith("recall@10"))


def test_a_live_student_that_is_gone_is_said_and_not_compared_with(
    tiny: Bench, inventory: Path, tmp_path: Path
) -> None:
    gone = make_tiny_student(tmp_path / "gone", seed=1)
    first = tiny.build(inventory, student=str(gone))
    gone.rename(tmp_path / "elsewhere")
    run = tiny.build(inventory)
    report = report_of(run)
    assert run.state == "live"
    assert report.against.startswith(f"{first.collection} is live but cannot be asked (")
    assert report.against.endswith("thresholds of a first build")
    assert all(row.live is None for row in report.rows)


def test_the_same_inputs_make_the_same_report(tiny: Bench, inventory: Path) -> None:
    run = tiny.build(inventory, swap=False)
    sources = RunSources(tiny.settings, tiny.store)
    gate = Gate(tiny.settings, tiny.engine, tiny.store, sources, NoProgress())
    reports = [gate.report(run) for _ in range(2)]
    first, second = (
        replace(report, seconds=0, rows=tuple(row for row in report.rows if row.name != "p99, ms"))
        for report in reports
    )
    assert first == second
    assert GateReport.from_dict(first.as_dict()) == replace(
        first,
        rows=tuple(Row(**row) for row in first.as_dict()["rows"]),
    )


def test_items_are_the_same_in_any_order(tiny: Bench, inventory: Path, tmp_path: Path) -> None:
    run = tiny.build(inventory)
    snapshot = Snapshot.open(tiny.store.folder(run.id) / "snapshot")
    path = write_items(tmp_path / "items.csv")
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([header, *reversed(lines), ",no id,,"]) + "\n", encoding="utf-8")
    samples = [
        gate_items(tiny.settings.model_copy(update={"gate_items": file, "gate_sample": 20}), snapshot)
        for file in (path, turned)
    ]
    assert samples[0].queries == samples[1].queries
    assert len(samples[0].queries) == 20
    assert "1 rows of which were no items" in samples[1].about


def test_an_inventory_without_categories_and_sites_says_what_is_not_measured(tiny: Bench, tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("keyphrase\n" + "".join(f"lamp {row}\n" for row in range(30)), encoding="utf-8")
    rows = {row.name: row for row in report_of(tiny.build(path)).rows}
    assert rows["recall@10, no filter"].verdict == "pass"
    for name in ("recall@10, site", "recall@10, leaf category", "fewer than 10, in the leaf category"):
        assert rows[name].verdict == "not measured"


def test_a_file_of_items_that_is_not_there_can_be_put_there(tiny: Bench, inventory: Path, tmp_path: Path) -> None:
    missing = tmp_path / "items.csv"
    with pytest.raises(InputError, match=r"items\.csv"):
        tiny.build(inventory, gate_items=missing)
    assert tiny.last.failed_in == "gating"
    write_items(missing)
    settings = tiny.settings.model_copy(update={"gate_items": missing})
    assert Reindexer(settings, tiny.engine).resume(tiny.last.id).state == "live"


def test_a_refused_run_is_forced_only_with_a_reason(tiny: Bench, inventory: Path) -> None:
    changes = AliasChanges(tiny.settings, tiny.engine, tiny.store)
    tiny.build(inventory)
    refused(tiny, lambda: tiny.build(inventory, gate_min_coverage=2))
    run = tiny.last
    with pytest.raises(RunStateError, match=rf"is failed; .*see `keydistill gate {run.id}`"):
        changes.swap(run.id, "because")
    for reason in (None, " "):
        with pytest.raises(RunStateError, match="only for a reason, which is kept; give --why REASON"):
            changes.swap(run.id, reason, force=True)
    forced = changes.swap(run.id, "fewer keyphrases are meant", force=True)
    assert (forced.state, forced.forced, forced.error) == ("live", "fewer keyphrases are meant", None)
    assert report_of(forced).failed == ("different keyphrases",)
    assert tiny.live == run.collection
    last = tiny.store.history()[-1]
    assert (last.action, last.why, last.run) == ("swap", "fewer keyphrases are meant", run.id)


def test_what_was_not_verified_is_never_forced(tiny: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = type(tiny.engine).count
    monkeypatch.setattr(
        type(tiny.engine), "count", lambda self, name, filter=None: count(self, name, losing(filter, "site"))
    )
    with pytest.raises(VerificationError):
        tiny.build(inventory)
    monkeypatch.undo()
    changes = AliasChanges(tiny.settings, tiny.engine, tiny.store)
    with pytest.raises(RunStateError, match="failed while verifying, and it was not the gate that refused it"):
        changes.swap(tiny.last.id, "in a hurry", force=True)
    assert tiny.live is None


def test_a_ready_run_needs_no_force(tiny: Bench, inventory: Path) -> None:
    run = tiny.build(inventory, swap=False)
    assert run.gate["verdict"] == "passed"
    assert AliasChanges(tiny.settings, tiny.engine, tiny.store).swap(run.id).forced is None
    assert tiny.live == run.collection


def test_a_refused_run_can_be_asked_again(tiny: Bench, inventory: Path) -> None:
    tiny.build(inventory)
    refused(tiny, lambda: tiny.build(inventory, gate_min_coverage=2))
    run = Reindexer(tiny.settings, tiny.engine).resume(tiny.last.id)
    assert (run.state, run.gate["verdict"], run.error) == ("live", "passed", None)


def test_a_worker_that_is_refused_ends_the_run_and_does_not_try_again(
    tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch, inventory: Path
) -> None:
    from keydistill.execution.process import WorkerProcess
    from keydistill.execution.queued import advance, embed_part

    only_loads(monkeypatch, tiny_student)
    with RedisServer(tmp_path / "redis") as server:
        settings = load_settings(
            home=tmp_path / "home", student=str(tiny_folder), redis_url=server.url, gate_min_coverage=2
        )
        process = WorkerProcess(settings)
        Reindexer(settings, process.engine).start([inventory])
        steps = ReindexSteps(settings, process.engine, process.store)
        run = steps.new_run([inventory], executor="celery")
        process.store.add(run)
        waiting: list[tuple[str, tuple[Any, ...], str]] = [("keydistill.advance", (run.id,), "control")]
        sent = 0

        def send(task: str, *arguments: Any, queue: str) -> None:
            waiting.append((task, arguments, queue))

        while waiting:
            task, arguments, queue = waiting.pop(0)
            sent += 1
            if task == "keydistill.advance":
                (run_id,) = arguments
                advance(process, run_id, queue, send)
            else:
                run_id, part = arguments
                embed_part(process, run_id, part, send)
        ended = reindex_of(process.store.load(run.id))
        assert (ended.state, ended.failed_in, ended.gate["verdict"]) == ("failed", "gating", "refused")
        assert report_of(ended).failed == ("different keyphrases",)
        assert "the gate refused collection" in (ended.error or "")
        assert process.store.holder(run.lease_name) is None
        assert sent < 8
        process.engine.close()
