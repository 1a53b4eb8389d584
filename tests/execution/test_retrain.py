"""A retrain as a run: its record, and what happens to it when something or somebody comes in between."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill import telemetry
from keydistill.distillation.registry import Lineage, Registry
from keydistill.distillation.retrain import STAGES, Retrain, RetrainResult, StageResult
from keydistill.errors import (
    InputError,
    LeaseLostError,
    RedisUnavailableError,
    RunBusyError,
    RunStateError,
    SettingsError,
)
from keydistill.errors import TrainingError as Untrainable
from keydistill.execution import retrain as retrain_run
from keydistill.execution.retrain import Retrainer, new_retrain
from keydistill.execution.retrain_order import RetrainOrder
from keydistill.files import file_lock
from keydistill.runs import RetrainRun, RunStore, open_store, retrain_of
from keydistill.runs.recorded_progress import RecordedProgress
from keydistill.runs.redis_store import RedisRunStore
from keydistill.settings import Settings, load_settings
from tests.support.chat_server import ChatServer
from tests.support.collector import Collector
from tests.support.places import ROOT
from tests.support.present import present
from tests.support.redis_server import RedisServer
from tests.support.retrains import small_market, small_models, without_judgments
from tests.support.warm_processes import WarmProcess, warm_command

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Told:
    """Progress that does something when a step begins."""

    def __init__(self, step: str = "", then: Callable[[], None] = lambda: None) -> None:
        self.steps: list[str] = []
        self._step = step
        self._then = then

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.steps.append(step)
        if step.startswith(self._step) and self._step:
            self._then()

    def advance(self, count: int) -> None:
        pass


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_market(tmp_path_factory.mktemp("market") / "market")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    small_models(monkeypatch, tiny_folder)
    return load_settings(home=tmp_path / "home", student=str(tiny_folder), threads=1)


@pytest.fixture
def redis_settings(settings: Settings, redis: RedisServer) -> Settings:
    redis.flush()
    return load_settings(**{**settings.model_dump(exclude_unset=True), "redis_url": redis.url, "lease_seconds": 5})


@pytest.fixture
def order(market: Path) -> RetrainOrder:
    return RetrainOrder.of({"signals": market, "simulation": market})


def retrainer(settings: Settings, progress: Told | None = None) -> Retrainer:
    return Retrainer(settings, open_store(settings), progress or Told(), lambda _: None)


def only_run(store: RunStore) -> RetrainRun:
    (run,) = store.all()
    assert isinstance(run, RetrainRun)
    return run


def fail(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_a_run_goes_through_its_states_in_one_trace(settings: Settings, market: Path, collector: Collector) -> None:
    store = open_store(settings)
    seen: list[RetrainRun] = []
    with ChatServer() as endpoint:
        order = RetrainOrder.of({"signals": market, "endpoint": endpoint.url, "model": "m", "promote": True})
        telemetry.begin_traces(load_settings(otlp_endpoint=collector.url), "test")
        try:
            ended = retrainer(settings, Told("student", lambda: seen.append(only_run(store)))).start(order)
        finally:
            telemetry.end_traces()
    (training,) = seen
    assert (training.state, training.stages_done) == ("training", STAGES[:4])
    assert store.holder("retrain") is None
    assert ended == store.load(ended.id)
    assert (ended.state, ended.kind, ended.stages_done) == ("done", "retrain", STAGES)
    assert set(ended.timings) == set(ended.results) == set(STAGES)
    assert (ended.error, ended.attempts, ended.progress) == (None, {}, None)
    assert (Path(ended.report or "") / "index.html").is_file()
    registry = Registry.of(settings)
    for kind in ("student", "assistant"):
        assert f"{kind}/{registry.promoted_name(kind)}" == getattr(ended, kind)
    with pytest.raises(RunStateError, match="is done: there is nothing to resume"):
        retrainer(settings).resume(ended.id)

    assert ended.trace is not None
    spans = collector.spans
    assert {span.trace_id for span in spans} == {ended.trace.split("-")[1]}
    names = {span.span_id: span.name for span in spans}
    below = {(names.get(span.parent_id), span.name) for span in spans}
    assert below == {
        (None, "order retrain"),
        ("order retrain", "retrain"),
        *(("retrain", f"stage {stage}") for stage in STAGES),
        ("stage judge", "judge pairs"),
        ("stage judge_lists", "judge pairs"),
        ("judge pairs", "ask judge"),
    }
    asked = [span for span in spans if span.name == "ask judge"]
    assert len(asked) == len(endpoint.asked)
    assert {tuple(span.attributes.items()) for span in asked} == {(("keydistill.model", "m"),)}
    # No texts.
    shown = json.dumps([span.attributes for span in spans])
    assert not any(text in shown for pair in endpoint.asked for text in pair)


@pytest.mark.parametrize("clearly_worse", [True, False])
@pytest.mark.parametrize("reason", [None, "the old one recommends what is banned"])
def test_a_student_that_is_clearly_worse_is_promoted_only_for_a_reason(
    settings: Settings,
    order: RetrainOrder,
    monkeypatch: pytest.MonkeyPatch,
    tiny_folder: Path,
    tiny_assistant_folder: Path,
    reason: str | None,
    clearly_worse: bool,
) -> None:
    registry = Registry.of(settings)
    student = registry.publish("student", tiny_folder, lineage=Lineage(), metrics={})
    assistant = registry.publish("assistant", tiny_assistant_folder, lineage=Lineage(), metrics={})
    figures = {"measure": "recall@10", "new": 0.4, "present": 0.5, "difference": -0.1, "low": -0.15, "high": -0.05}
    evaluated = {
        "judged_by": "people",
        "comparison": {**figures, "pairs": 900, "items": 40, "clearly_worse": clearly_worse},
    }
    stages = tuple(StageResult(name, settings.home, "", evaluated, 1.0, skipped=False) for name in STAGES)

    def trained(_: Retrain, progress: object, **__: object) -> RetrainResult:
        return RetrainResult(student, assistant, stages, settings.home)

    monkeypatch.setattr(Retrain, "run", trained)
    ended = retrainer(settings).start(order.model_copy(update={"promote": True, "promote_worse": reason}))
    assert (ended.state, ended.student) == ("done", student.full_name)
    text = "recall@10 of 40 items by people 0.400, the present student 0.500: -0.100 [-0.150, -0.050]"
    if clearly_worse and reason is None:
        assert text in present(ended.error)
        assert f"`keydistill models promote {student.full_name} --reason REASON`" in present(ended.error)
        assert registry.promoted_name("student") is registry.promoted_name("assistant") is None
        return
    assert ended.error is None
    for kind in ("student", "assistant"):
        (promotion,) = registry.history(kind)
        expected = f"retrain {ended.id}" + (f", although clearly worse ({text}): {reason}" if clearly_worse else "")
        assert promotion.reason == expected
    assert ended.order["promote_worse"] == reason


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), Untrainable("no\ngradient")])
def test_what_was_done_is_not_done_again(settings: Settings, order: RetrainOrder, error: BaseException) -> None:
    store = open_store(settings)
    with pytest.raises(type(error)) as caught:
        retrainer(settings, Told("score", fail(error))).start(order)
    left = only_run(store)
    assert left.stages_done == STAGES[:3]
    assert store.holder("retrain") is None
    if isinstance(error, KeyboardInterrupt):
        assert (left.state, left.error) == ("training", None)
    else:
        assert (left.state, left.failed_in) == ("failed", "training")
        assert left.error == ("no gradient" if str(error) else "MemoryError")
    if isinstance(error, Untrainable):
        assert f"run {left.id} failed while training: no gradient; mend it, then" in str(caught.value)
        assert f"`keydistill retrain --resume {left.id}`" in str(caught.value)

    progress = Told()
    ended = retrainer(settings, progress).resume(left.id[:12])
    assert (ended.id, ended.state, ended.error) == (left.id, "done", None)
    assert progress.steps[:2] == ["read", "score"]
    assert Registry.of(settings).promoted_name("student") is None
    assert len(store.all()) == 1


def test_a_stage_whose_input_changed_is_done_again(settings: Settings, order: RetrainOrder, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.csv"
    inventory.write_text("keyphrase\n" + "".join(f"shoe {number}\n" for number in range(50)), encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        retrainer(settings, Told("assistant", fail(KeyboardInterrupt()))).start(
            order.model_copy(update={"inventory": (inventory,)})
        )
    run = only_run(open_store(settings))
    assert run.stages_done == ("mine", "judge")
    with inventory.open("a", encoding="utf-8") as file:
        file.write("boot\n")
    with pytest.raises(KeyboardInterrupt):
        retrainer(settings, Told("mine", fail(KeyboardInterrupt()))).resume(run.id)
    # Whoever sends it on sends it to those who mine.
    assert only_run(open_store(settings)).stages_done == ()


def test_the_second_of_two_is_told_of_the_first(settings: Settings, order: RetrainOrder) -> None:
    store = open_store(settings)
    messages: list[str] = []

    def start_another() -> None:
        begins: list[Callable[[], object]] = [
            lambda: retrainer(settings).start(order),
            lambda: retrainer(settings).resume(only_run(store).id),
        ]
        for begin in begins:
            with pytest.raises(RunBusyError) as refused:
                begin()
            messages.append(str(refused.value))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrainer(settings, Told("mine", start_another)).start(order)
    run = only_run(store)
    assert f"run {run.id} holds 'retrain'" in messages[0]
    assert f"another process is working on run {run.id}" in messages[1]


def test_nobody_works_in_the_folder_of_a_process_that_still_does(settings: Settings, order: RetrainOrder) -> None:
    store = open_store(settings)
    with pytest.raises(Untrainable):
        retrainer(settings, Told("mine", fail(Untrainable("no")))).start(order)
    failed = only_run(store)
    with (
        file_lock(settings.home / "retrains" / failed.id / ".lock"),
        pytest.raises(RunBusyError, match="another process still works in"),
    ):
        retrainer(settings).resume(failed.id)
    assert store.load(failed.id) == failed


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["in the stage", "before the next stage"])
def test_a_cancelled_run_stops(
    settings: Settings, order: RetrainOrder, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(retrain_run, "_SECONDS_BETWEEN_CHECKS", seconds)
    store = open_store(settings)

    def cancel() -> None:
        store.update(only_run(store).id, lambda run: run.moved("cancelled"))

    progress = Told("judge", cancel)
    with pytest.raises(RunStateError, match="is cancelled: it stops here"):
        retrainer(settings, progress).start(order)
    run = only_run(store)
    assert (run.state, progress.steps[-1]) == ("cancelled", "judge")
    assert run.stages_done == (("mine", "judge") if seconds else ("mine",))
    with pytest.raises(RunStateError, match="is cancelled: there is nothing to resume"):
        retrainer(settings).resume(run.id)
    assert not Registry.of(settings).versions()


def test_a_process_that_lost_its_lease_changes_nothing(
    redis_settings: Settings, order: RetrainOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain_run, "_SECONDS_BETWEEN_CHECKS", 0.0)
    store = open_store(redis_settings)
    assert isinstance(store, RedisRunStore)

    def lose(then: Callable[[], None]) -> Callable[[], None]:
        def lost() -> None:
            store.call(lambda redis: redis.delete("keydistill:lease:retrain"))
            store.acquire("retrain", only_run(store).id)
            then()

        return lost

    with pytest.raises(LeaseLostError):
        retrainer(redis_settings, Told("judge", lose(lambda: None))).start(order)
    run = only_run(store)
    assert (run.state, run.stages_done) == ("training", ("mine",))
    store.call(lambda redis: redis.delete("keydistill:lease:retrain"))

    # Nor does it call the run failed, which another process goes on with.
    with pytest.raises(LeaseLostError) as caught:
        retrainer(redis_settings, Told("judge", lose(fail(Untrainable("no"))))).resume(run.id)
    assert isinstance(caught.value.__cause__, Untrainable)
    assert (only_run(store).state, only_run(store).error) == ("training", None)


def test_a_run_that_redis_lost_is_taken_up(redis_settings: Settings, order: RetrainOrder, redis: RedisServer) -> None:
    with pytest.raises(KeyboardInterrupt):
        retrainer(redis_settings, Told("assistant", fail(KeyboardInterrupt()))).start(order)
    run = only_run(open_store(redis_settings))
    redis.flush()
    progress = Told("assistant", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        retrainer(redis_settings, progress).resume(run.id)
    assert "mine" not in progress.steps
    assert only_run(open_store(redis_settings)).stages_done == ("mine", "judge")


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"signals": "/not/there"}, InputError, "/not/there is no folder"),
        ({"signals": None}, InputError, "retrain, 'signals': Input is not a valid path for <class 'pathlib.Path'>"),
        ({"epochs": 0}, InputError, "retrain, 'epochs': Input should be greater than 0; it takes signals, judgments"),
        ({"epochs": float("inf")}, InputError, "retrain, 'epochs': Input should be a finite number"),
        ({"layers": "many"}, InputError, "retrain, 'layers': Input should be a valid integer"),
        ({"distillation_loss": "hinge"}, InputError, "retrain, 'distillation_loss': Input should be 'pearson'"),
        ({"held_out": 0.6}, InputError, "retrain, 'held_out': Input should be less than or equal to 0.5"),
        ({"promote_worse": "why"}, SettingsError, "--promote-worse gives a reason for --promote; give both"),
        ({"promote": True, "promote_worse": " "}, SettingsError, "say why a student that is clearly worse"),
        ({"colour": 1}, InputError, "retrain, 'colour': Extra inputs are not permitted"),
        ({"inventory": ["/not/there"]}, InputError, "/not/there is not there"),
        ({"assistant_size": "huge"}, Untrainable, "huge"),
        (
            {"simulation": None, "signals": "unjudged"},
            SettingsError,
            "there is no judge; give --endpoint and --model",
        ),
        ({"local": "."}, SettingsError, "give --local or --simulation, not both"),
        ({"simulation": None, "endpoint": "http://host/v1"}, SettingsError, "the judge has no model"),
        ({"simulation": None, "endpoint": "http://me:secret@host/v1", "model": "m"}, SettingsError, "judge_api_key"),
    ],
)
def test_bad_orders_are_refused_before_there_is_a_run(
    settings: Settings,
    market: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    error: type[BaseException],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    without_judgments(market, tmp_path / "unjudged")
    with pytest.raises(error) as caught:
        retrainer(settings).start(RetrainOrder.of({"signals": market, "simulation": market, **values}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert open_store(settings).all() == []


def test_the_fields_that_a_student_is_to_read_must_be_there(settings: Settings, market: Path) -> None:
    order = RetrainOrder.of({"signals": market, "simulation": market, "item_text": "{title} {brnd}"})
    with pytest.raises(InputError, match=r"items\.parquet has no column 'brnd'; found: item_id, title, category_path"):
        order.inputs(settings, lambda _: None)


def test_the_record_says_who_judges_and_keeps_no_key(
    settings: Settings, market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(market.parent)
    with_judge = settings.model_copy(update={"judge_url": "http://host/v1", "judge_model": "m"})
    with_judge = load_settings(**{**with_judge.model_dump(exclude_unset=True), "judge_api_key": "top-secret"})
    run = new_retrain(with_judge, RetrainOrder.of({"signals": market.name, "epochs": 2}))
    assert run.order["signals"] == str(market)
    assert (run.order["endpoint"], run.order["model"]) == ("http://host/v1", "m")
    assert "top-secret" not in json.dumps(run.as_dict())
    assert RetrainOrder.of(json.loads(json.dumps(run.order))).signals == market


def test_progress_is_written_now_and_then_and_never_in_the_way(
    settings: Settings, order: RetrainOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(settings)
    run = store.add(new_retrain(settings, order))
    progress = RecordedProgress(store, run.id)
    progress.advance(1)
    progress.start("mine", 10, "texts")
    progress.advance(3)
    begun = store.load(run.id).progress
    assert begun is not None
    assert begun.done == 0
    time.sleep(1.1)
    progress.advance(4)
    recorded = store.load(run.id).progress
    assert recorded is not None
    assert (recorded.step, recorded.total, recorded.unit, recorded.done) == ("mine", 10, "texts", 7)

    loaded_ids: list[str] = []

    def away(run_id: str, *_: object) -> None:
        loaded_ids.append(run_id)
        raise RedisUnavailableError("away")

    monkeypatch.setattr(store, "update", away)
    progress.start("judge", None, "")
    time.sleep(1.1)
    progress.advance(1)
    assert loaded_ids == [run.id]


class TestChild:
    """The process that a worker starts for the stages of its queue."""

    @pytest.fixture
    def run(self, redis_settings: Settings, market: Path) -> RetrainRun:
        small = {"judged_pairs": 150, "assistant_size": "bert-mini", "assistant_epochs": 0.2, "mined_items": 20}
        order = RetrainOrder.of({"signals": market, "simulation": market, **small})
        run = open_store(redis_settings).add(new_retrain(redis_settings, order, executor="celery").traced(TRACE))
        assert isinstance(run, RetrainRun)
        return run

    def child(self, settings: Settings, run_id: str, queue: str, collector: str = "") -> WarmProcess:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KEYDISTILL_HOME": str(settings.home),
            "KEYDISTILL_STUDENT": settings.student,
            "KEYDISTILL_LEASE_SECONDS": "2",
            "KEYDISTILL_THREADS": "1",
            "KEYDISTILL_OTLP_ENDPOINT": collector,
        }
        if settings.redis_url is not None:
            environment["KEYDISTILL_REDIS_URL"] = settings.redis_url.get_secret_value()
        folder = settings.home.parent / "children"
        return warm_command([run_id, "--queue", queue], environment, folder, "keydistill.execution.retrain_child")

    def ended(self, child: WarmProcess) -> tuple[int | None, str]:
        _, stderr = child.communicate(timeout=120)
        return child.returncode, stderr

    def wait(self, store: RunStore, run_id: str, until: Callable[[RetrainRun], object]) -> None:
        deadline = time.monotonic() + 60
        while not until(store.load(run_id)):  # type: ignore[arg-type]
            assert time.monotonic() < deadline, store.load(run_id)
            time.sleep(0.02)

    def test_each_queue_does_its_own_stages_also_after_a_kill(
        self, redis_settings: Settings, run: RetrainRun, collector: Collector
    ) -> None:
        store = open_store(redis_settings)
        assert isinstance(store, RedisRunStore)
        killed = self.child(redis_settings, run.id, "train")
        self.wait(store, run.id, lambda run: run.progress and run.progress.step == "mine")
        killed.send_signal(signal.SIGKILL)
        assert self.ended(killed)[0] == -signal.SIGKILL
        assert (store.load(run.id).state, store.holder("retrain")) == ("training", run.id)
        # Its lease outlives it by a moment.
        deadline = time.monotonic() + 10
        while store.owner("retrain"):
            assert time.monotonic() < deadline
            time.sleep(0.1)

        assert self.ended(self.child(redis_settings, run.id, "train", collector.url)) == (0, "")
        assert retrain_of(store.load(run.id)).stages_done == ("mine",)
        # Nobody works, and no other run may begin.
        assert (store.holder("retrain"), store.owner("retrain")) == (run.id, None)
        assert self.ended(self.child(redis_settings, run.id, "judge", collector.url)) == (0, "")
        assert retrain_of(store.load(run.id)).stages_done == ("mine", "judge")
        # Each process sent its own stage, in the trace of the order.
        spans = collector.spans
        stages = [span for span in spans if span.name.startswith("stage ")]
        judged, mined, skipped = sorted(stages, key=lambda span: (span.name, span.attributes["keydistill.skipped"]))
        assert (mined.name, skipped.name, judged.name) == ("stage mine", "stage mine", "stage judge")
        assert mined.pid != skipped.pid == judged.pid
        assert {(span.service, span.trace_id) for span in spans} == {("keydistill-retrain", TRACE.split("-")[1])}
        children = [span for span in spans if span.parent_id == TRACE.split("-")[2]]
        assert [span.attributes["keydistill.run_id"] for span in children] == [run.id] * 2
        assert self.ended(self.child(redis_settings, run.id, "judge")) == (0, "")
        assert retrain_of(store.load(run.id)).stages_done == ("mine", "judge")

    def test_a_failure_is_in_the_record_and_one_line(
        self, redis_settings: Settings, run: RetrainRun, tmp_path: Path
    ) -> None:
        store = open_store(redis_settings)
        (redis_settings.home / "retrains" / run.id).mkdir(parents=True)
        (redis_settings.home / "retrains" / run.id / "mine").write_text("a file where a folder belongs")
        code, stderr = self.ended(self.child(redis_settings, run.id, "train"))
        assert code == 1
        assert stderr.splitlines()[-1].startswith("error: ")
        failed = store.load(run.id)
        assert failed.state == "failed"
        assert failed.error
        assert store.holder("retrain") is None

    def test_it_says_what_it_lacks(self, settings: Settings, redis_settings: Settings, run: RetrainRun) -> None:
        assert self.ended(self.child(settings, run.id, "train")) == (
            1,
            "error: redis_url is not set; workers and schedules share their runs in Redis: set "
            "KEYDISTILL_REDIS_URL=redis://HOST:6379/0\n",
        )
        code, stderr = self.ended(self.child(redis_settings, "none", "train"))
        assert (code, stderr) == (1, "error: run 'none': there is none; `keydistill runs list` shows them all\n")
